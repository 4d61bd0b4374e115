"""Drives the published cntrlnode-sdk, unmodified, through all it offers for
state but subscriptions. Arguments: host:port, and a workflow of the caller's own."""
import asyncio
import sys

from cntrlnode import CntrlNodeClient, CntrlNodeError


async def main(host: str, workflow: str) -> None:
    async with CntrlNodeClient(host=host) as client:
        state = client.state
        assert await state.get(workflow, "absent") is None
        assert await state.list(workflow) == []

        assert await state.set(workflow, "status", {"step": "researching"}) == 1
        assert await state.get(workflow, "status") == ({"step": "researching"}, 1)
        assert await state.set(workflow, "status", None, ttl=3600) == 2
        assert await state.get(workflow, "status") == (None, 2)

        assert await state.set_with_version(workflow, "status", [1, 2.5, "ü"], 2) == 3
        try:
            await state.set_with_version(workflow, "status", "late", 2)
            raise AssertionError("a stale version was accepted")
        except CntrlNodeError as e:
            assert (e.code, e.status_code) == ("VERSION_CONFLICT", 409), e.code
            assert str(e)
        assert await state.set_with_version(workflow, "fresh", "new", 0) == 1

        await state.set(workflow, "tool:weather:tc_123", 1)
        await state.set(workflow, "with ttl", 1, ttl=60)
        keys = await state.list(workflow)
        assert [k.key for k in keys] == ["fresh", "status", "tool:weather:tc_123", "with ttl"], keys
        assert [k.version for k in keys] == [1, 3, 1, 1], keys
        assert all(k.created_at <= k.updated_at for k in keys), keys
        assert [bool(k.expires_at) for k in keys] == [False, False, False, True], keys

        await state.delete(workflow, "status")
        await state.delete(workflow, "status")
        assert await state.get(workflow, "status") is None
        # A version never comes back: 3 was its last, the deletion took 4.
        assert await state.set(workflow, "status", "again") == 5


asyncio.run(main(*sys.argv[1:]))

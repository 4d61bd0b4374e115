"""Drives the published cntrlnode-sdk, unmodified, through all it offers for
state. Arguments: host:port, a workflow of the caller's own, and an API key if one is
asked for."""
import asyncio
import contextlib
import sys

from cntrlnode import CntrlNodeClient, CntrlNodeError


async def main(host: str, workflow: str, key: str | None = None) -> None:
    async with CntrlNodeClient(host=host, api_key=key) as client:
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

        await subscription(state, workflow)


async def subscription(state, workflow: str) -> None:
    events = asyncio.Queue()

    async def follow():
        async for event in state.subscribe(workflow, "tool:watched"):
            events.put_nowait(event)

    follower = asyncio.create_task(follow())
    # The client does not tell when it is subscribed: its first event does.
    while events.empty():
        assert not follower.done(), follower.exception()
        last = await state.set(workflow, "tool:watched", "are you there")
        await asyncio.sleep(0.05)
    await state.set(workflow, "tool:watched", {"n": [1.5, "ü"]})
    await state.set(workflow, "tool:other", 1)
    await state.set_with_version(workflow, "tool:watched", None, last + 1)
    await state.delete(workflow, "tool:watched")

    event = await events.get()
    while event.version < last:
        version = event.version
        event = await asyncio.wait_for(events.get(), 10)
        assert event.version == version + 1, event
    for value, version, old in [
        ({"n": [1.5, "ü"]}, last + 1, "are you there"),
        (None, last + 2, {"n": [1.5, "ü"]}),
        (None, last + 3, None),
    ]:
        event = await asyncio.wait_for(events.get(), 10)
        assert (event.workflow_id, event.key) == (workflow, "tool:watched"), event
        assert (event.value, event.version, event.old_value) == (value, version, old), event
    assert events.empty()
    follower.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await follower


asyncio.run(main(*sys.argv[1:]))

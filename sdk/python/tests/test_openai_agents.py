"""The session of the OpenAI Agents SDK, against a cluster."""

from __future__ import annotations

import asyncio
import json
import sys
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from typing import Any

import pytest
from agents.memory import Session, SessionSettings

from stateraft import AsyncClient, Op, OpResult
from stateraft.openai_agents import StateraftSession

from .conftest import Cluster

WRITER = """
import asyncio, json, sys
from stateraft import AsyncClient
from stateraft.openai_agents import StateraftSession

async def main(endpoints, session_id, writer, writers, appends):
    async with AsyncClient(endpoints=endpoints) as client:
        session = StateraftSession(session_id, client)
        async def write(task):
            for n in range(appends):
                await session.add_items([{"role": "user", "content": f"{writer}-{task}-{n}-{part}"} for part in "ab"])
        await asyncio.gather(*(write(task) for task in range(writers)))

asyncio.run(main(*json.loads(sys.argv[1])))
"""


@pytest.fixture
async def client(cluster: Cluster) -> AsyncIterator[AsyncClient]:
    async with AsyncClient(endpoints=cluster.endpoints) as c:
        yield c


@pytest.fixture
def session(client: AsyncClient) -> StateraftSession:
    return StateraftSession(f"session {uuid.uuid4()}", client)


def message(content: str) -> Any:
    return {"role": "user", "content": content}


async def contents(session: StateraftSession, limit: int | None = None) -> list[Any]:
    return [item["content"] for item in await session.get_items(limit)]  # type: ignore[typeddict-item]


async def test_is_a_session(session: StateraftSession) -> None:
    assert isinstance(session, Session)


async def test_a_prefix_with_a_colon_is_refused(client: AsyncClient) -> None:
    with pytest.raises(ValueError, match="colon"):
        StateraftSession("c", client, prefix="a:b")  # which would be the session b:c of the prefix a


async def test_items_keep_their_order(session: StateraftSession) -> None:
    await session.add_items([message("1"), message("2")])
    await session.add_items([])
    await session.add_items([message("3")])
    assert await contents(session) == ["1", "2", "3"]


@pytest.mark.parametrize(("limit", "want"), [(0, []), (1, ["3"]), (2, ["2", "3"]), (9, ["1", "2", "3"])])
async def test_limit(session: StateraftSession, limit: int, want: list[str]) -> None:
    await session.add_items([message("1"), message("2")])
    await session.add_items([message("3")])
    assert await contents(session, limit) == want
    session.session_settings = SessionSettings(limit=limit)
    assert await contents(session) == want


async def test_more_than_a_page(session: StateraftSession) -> None:
    for n in range(120):
        await session.add_items([message(str(n))])
    assert await contents(session) == [str(n) for n in range(120)]


async def test_pop(session: StateraftSession) -> None:
    await session.add_items([message("1"), message("2")])
    await session.add_items([message("3")])
    assert [await session.pop_item() for _ in range(4)] == [message("3"), message("2"), message("1"), None]
    await session.add_items([message("4")])
    assert await contents(session) == ["4"]


async def test_pops_at_once_get_different_items(session: StateraftSession) -> None:
    await session.add_items([message(str(n)) for n in range(5)])
    for n in range(5, 20):
        await session.add_items([message(str(n))])
    popped = await asyncio.gather(*(session.pop_item() for _ in range(20)))
    assert sorted(item["content"] for item in popped) == sorted(str(n) for n in range(20))  # type: ignore
    assert await session.get_items() == []


async def test_clear(session: StateraftSession, client: AsyncClient) -> None:
    await session.add_items([message("x" * 2_000_000)])
    for n in range(150):
        await session.add_items([message(str(n))])
    other = StateraftSession(f"{session.session_id}-2", client)
    await other.add_items([message("other")])
    await session.clear_session()
    assert await session.get_items() == []
    assert (await client.state.list(session._workflow)).keys == []
    assert await contents(other) == ["other"]


@pytest.mark.parametrize("more", [0, 600_000], ids=["short", "long"])
async def test_items_with_half_a_surrogate_pair(session: StateraftSession, more: int) -> None:
    halves = ["\ud83d" + "x" * more, "\ude00", "a whole one: \U0001f600", r"none: \ud83d"]
    await session.add_items([message(half) for half in halves])
    assert await contents(session) == halves
    assert await session.pop_item() == message(halves[-1])
    assert await contents(session) == halves[:-1]


async def test_items_beyond_the_limit_of_a_value(session: StateraftSession) -> None:
    long = '"\\é' * 1_000_000
    await session.add_items([message("short"), message(long)])
    await session.add_items([message("last")])
    assert await contents(session) == ["short", long, "last"]
    assert await session.pop_item() == message("last")
    assert await session.pop_item() == message(long)
    assert await contents(session) == ["short"]


class Disturbed(StateraftSession):
    """A session before one of whose writes something else happens."""

    def __init__(
        self, session: StateraftSession, client: AsyncClient, moment: int, happens: Callable[[], Awaitable[object]]
    ) -> None:
        super().__init__(session.session_id, client)
        self._left = moment
        self._happens = happens

    async def _write(self, ops: Sequence[Op]) -> Sequence[OpResult]:
        self._left -= 1
        if self._left == -1:
            await self._happens()
        return await super()._write(ops)


LONG = "x" * 600_000  # is in pieces, which are written first


@pytest.mark.parametrize("moment", [0, 1])
async def test_a_session_that_is_cleared_while_a_long_list_is_added(
    session: StateraftSession, client: AsyncClient, moment: int
) -> None:
    await session.add_items([message("before")])
    await Disturbed(session, client, moment, session.clear_session).add_items([message(LONG)])
    assert await contents(session) == [LONG]
    assert await session.pop_item() == message(LONG)
    await session.clear_session()
    assert (await client.state.list(session._workflow)).keys == []


@pytest.mark.parametrize("moment", [0, 1])
async def test_a_session_that_is_cleared_while_an_item_of_a_long_list_is_popped(
    session: StateraftSession, client: AsyncClient, moment: int
) -> None:
    await session.add_items([message(LONG), message("last")])
    assert await Disturbed(session, client, moment, session.clear_session).pop_item() is None
    await session.clear_session()
    assert (await client.state.list(session._workflow)).keys == []


async def test_a_long_list_is_complete_just_when_its_session_is_cleared(
    session: StateraftSession, client: AsyncClient
) -> None:
    """Its last write comes after what is to be removed was listed, and before it is."""
    begun, go_on = asyncio.Event(), asyncio.Event()

    async def wait() -> None:
        begun.set()
        await go_on.wait()

    writing = asyncio.create_task(Disturbed(session, client, 1, wait).add_items([message(LONG)]))
    await begun.wait()

    async def finish() -> None:
        go_on.set()
        await writing

    await Disturbed(session, client, 0, finish).clear_session()
    assert await contents(session) == []
    assert (await client.state.list(session._workflow)).keys == []


async def test_writers_of_two_processes_lose_nothing(session: StateraftSession, cluster: Cluster) -> None:
    writers, appends = 8, 10
    arguments = [[cluster.endpoints, session.session_id, w, writers, appends] for w in range(2)]
    processes = [await asyncio.create_subprocess_exec(sys.executable, "-c", WRITER, json.dumps(a)) for a in arguments]
    assert [await process.wait() for process in processes] == [0, 0]
    found = await contents(session)
    assert len(found) == len(set(found)) == 2 * writers * appends * 2
    # What was added together is together, and a writer's own appends are in its order.
    pairs = list(zip(found[::2], found[1::2], strict=True))
    assert all(first[:-1] == second[:-1] and second.endswith("b") for first, second in pairs)
    by_writer: dict[str, list[int]] = {}
    for first, _ in pairs:
        writer, task, n, _ = first.split("-")
        by_writer.setdefault(f"{writer}-{task}", []).append(int(n))
    assert list(by_writer.values()) == [list(range(appends))] * (2 * writers)

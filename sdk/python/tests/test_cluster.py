"""Both clients against a cluster of which a node is killed."""

from __future__ import annotations

import asyncio
import threading
import time
import uuid
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import pytest

from stateraft import (
    AsyncClient,
    Client,
    DeleteOp,
    Event,
    NotFoundError,
    SetOp,
    StateraftError,
    Subscription,
    VersionConflictError,
)

from .conftest import Cluster

WRITES = 60  # of each writer
WRITERS = 3  # of each kind
PATIENCE = 60  # seconds
WORKFLOW = "workflow"


def leader_first(cluster: Cluster) -> list[str]:
    """Return the endpoints, the leader's first: it is the one that everybody uses and that is killed."""
    end = time.monotonic() + PATIENCE
    while True:
        status = httpx.get(cluster.endpoints[0] + "/v1/cluster", trust_env=False).json()
        leader = next((f"http://{node['http']}" for node in status["nodes"] if node["leader"]), None)
        if leader:
            return [leader, *(endpoint for endpoint in cluster.endpoints if endpoint != leader)]
        assert time.monotonic() < end, "no node leads"
        time.sleep(0.05)


class Seen:
    """The events of a subscriber, until it has seen the last write of each writer."""

    def __init__(self, keys: set[str]) -> None:
        self.events: list[Event] = []
        self._missing = set(keys)
        self.complete = threading.Event()

    def take(self, event: Event) -> None:
        self.events.append(event)
        if event.new_value == WRITES:
            self._missing.discard(event.key or "")
            if not self._missing:
                self.complete.set()

    def check(self, keys: set[str]) -> None:
        assert self.complete.wait(PATIENCE)
        revisions = [event.revision or 0 for event in self.events]
        assert revisions == sorted(set(revisions)), "an event is out of order, or told twice"
        for key in keys:
            told = [(event.old_value, event.new_value, event.version) for event in self.events if event.key == key]
            assert told == [(n - 1 or None, n, n) for n in range(1, WRITES + 1)]


def write(client: Client, key: str, halfway: threading.Barrier) -> None:
    for n in range(WRITES):
        if n == WRITES // 3:
            halfway.wait()
        assert client.state.set_with_version(WORKFLOW, key, n + 1, n, idempotency_key=f"{key}-{n}") == n + 1
        assert client.state.get(WORKFLOW, key, consistency="stale").value == n + 1


async def write_async(client: AsyncClient, key: str, halfway: threading.Barrier) -> None:
    for n in range(WRITES):
        if n == WRITES // 3:
            await asyncio.to_thread(halfway.wait)
        assert await client.state.set_with_version(WORKFLOW, key, n + 1, n, idempotency_key=f"{key}-{n}") == n + 1
        assert (await client.state.get(WORKFLOW, key, consistency="stale")).value == n + 1


def iterate(subscription: Subscription, seen: Seen) -> None:
    for event in subscription:
        seen.take(event)


async def iterate_async(client: AsyncClient, seen: Seen) -> None:
    async with await client.state.subscribe_workflow(WORKFLOW, from_revision=0) as subscription:
        async for event in subscription:
            seen.take(event)


async def run_async(endpoints: list[str], seen: list[Seen], halfway: threading.Barrier, ready: threading.Event) -> None:
    """Write and subscribe in an event loop of its own."""
    async with AsyncClient(endpoints=endpoints) as client:
        subscription = await client.state.subscribe_workflow(WORKFLOW, seen[0].take)
        iterating = asyncio.create_task(iterate_async(client, seen[1]))
        ready.set()
        await asyncio.gather(*(write_async(client, f"async-{n}", halfway) for n in range(WRITERS)))
        for subscriber in seen:
            await asyncio.to_thread(subscriber.complete.wait, PATIENCE)
        await subscription.close()
        iterating.cancel()


def test_a_node_is_killed(mortal_cluster: Cluster) -> None:
    """Writers and subscribers of both kinds go on: no error, no event lost or told twice or out of order."""
    endpoints = leader_first(mortal_cluster)
    keys = {f"{kind}-{n}" for kind in ("sync", "async") for n in range(WRITERS)}
    seen = [Seen(keys) for _ in range(4)]
    halfway = threading.Barrier(2 * WRITERS + 1, timeout=PATIENCE)
    ready = threading.Event()
    with Client(endpoints=endpoints) as client, ThreadPoolExecutor() as pool:
        told = client.state.subscribe_workflow(WORKFLOW, seen[2].take)
        iterated = client.state.subscribe_workflow(WORKFLOW)
        iterating = pool.submit(iterate, iterated, seen[3])
        running = [pool.submit(asyncio.run, run_async(endpoints, seen[:2], halfway, ready))]
        assert ready.wait(PATIENCE)
        running += [pool.submit(write, client, f"sync-{n}", halfway) for n in range(WRITERS)]
        halfway.wait()
        mortal_cluster.kill(endpoints[0])
        with Client(endpoints[0], max_attempts=1) as alone, pytest.raises(StateraftError):
            alone.health()
        for done in running:
            done.result(PATIENCE)
        for subscriber in seen:
            subscriber.check(keys)
        told.close()
        iterated.close()
        iterating.result(PATIENCE)
        assert client.revision >= len(keys) * WRITES


@pytest.fixture
def client(cluster: Cluster) -> Any:
    with Client(endpoints=cluster.endpoints) as c:
        yield c


def test_many_lists_in_one(client: Client) -> None:
    workflow = str(uuid.uuid4())
    client.state.atomic(workflow, [SetOp(f"k{n:03}", n) for n in range(128)])
    pages = list(client.state.pages(workflow, limit=50, values=True))
    assert [len(page.keys) for page in pages] == [50, 50, 28]
    assert [entry.value for page in pages for entry in page.entries or []] == list(range(128))
    client.state.atomic(workflow, [DeleteOp(f"k{n:03}") for n in range(128)])
    assert client.state.list(workflow).keys == []


def test_agent_state(client: Client) -> None:
    subject = f"Zoë {uuid.uuid4()}"
    assert client.agent.set(subject, "task", {"step": 1}, 60, session="run-1") == 1
    entry = client.agent.get(subject, "task")
    assert (entry.value, entry.session, entry.version) == ({"step": 1}, "run-1", 1)
    with pytest.raises(VersionConflictError):
        client.agent.set(subject, "task", {"step": 2}, if_version=7)
    client.agent.delete(subject, "task")
    with pytest.raises(NotFoundError):
        client.agent.get(subject, "task")


def test_a_stale_read_of_another_process_covers_what_this_one_has_written(client: Client, cluster: Cluster) -> None:
    workflow = str(uuid.uuid4())
    client.state.set(workflow, "k", 1)
    with Client(cluster.endpoints[2]) as other:
        read = other.state.get(workflow, "k", consistency="stale", min_revision=client.revision)
    assert read.value == 1


async def test_an_iteration_that_is_cancelled_loses_no_event(cluster: Cluster) -> None:
    workflow = str(uuid.uuid4())
    async with AsyncClient(endpoints=cluster.endpoints) as client:
        subscription = await client.state.subscribe(workflow, "k")
        for n in range(5):
            with pytest.raises(asyncio.TimeoutError):
                await asyncio.wait_for(anext(subscription), 0.02)
            await client.state.set(workflow, "k", n)
            assert (await anext(subscription)).new_value == n
        await subscription.close()


async def test_closing_ends_an_iteration_that_waits(cluster: Cluster) -> None:
    async with AsyncClient(endpoints=cluster.endpoints) as client:
        subscription = await client.state.subscribe("wf", str(uuid.uuid4()))
        waiting = asyncio.create_task(anext(subscription, None))
        await asyncio.sleep(0)
        await subscription.close()
        assert await waiting is None


def test_closing_ends_an_iteration_of_another_thread(client: Client) -> None:
    subscription = client.state.subscribe("wf", str(uuid.uuid4()))
    with ThreadPoolExecutor() as pool:
        waiting = pool.submit(list, subscription)
        time.sleep(0.05)  # it waits in a read, most likely
        subscription.close()
        assert waiting.result(PATIENCE) == []


def test_a_subscription_gives_up() -> None:
    with Client("http://127.0.0.1:1") as client, pytest.raises(Exception, match="UNREACHABLE"):
        client.state.subscribe("wf", "k", give_up_after=0.1)


def test_what_a_callback_raises_ends_its_subscription(client: Client) -> None:
    workflow, ended = str(uuid.uuid4()), threading.Event()
    errors: list[Exception] = []

    def fail(_: Event) -> None:
        raise ValueError("no")

    def on_error(e: Exception) -> None:
        errors.append(e)
        ended.set()

    client.state.subscribe(workflow, "k", fail, on_error=on_error)
    client.state.set(workflow, "k", 1)
    client.state.set(workflow, "k", 2)
    assert ended.wait(PATIENCE)
    assert [str(e) for e in errors] == ["no"]


async def test_what_an_awaited_callback_raises_ends_its_subscription(cluster: Cluster) -> None:
    workflow, ended = str(uuid.uuid4()), asyncio.Event()
    errors: list[Exception] = []

    async def fail(_: Event) -> None:
        raise ValueError("no")

    async def on_error(e: Exception) -> None:
        errors.append(e)
        ended.set()

    async with AsyncClient(endpoints=cluster.endpoints) as client:
        subscription = await client.state.subscribe(workflow, "k", fail, on_error=on_error)
        await client.state.set(workflow, "k", 1)
        await client.state.set(workflow, "k", 2)
        await asyncio.wait_for(ended.wait(), PATIENCE)
        await subscription.close()
    assert [str(e) for e in errors] == ["no"]

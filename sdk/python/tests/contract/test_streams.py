"""Every subscription of the contract, by both clients, iterated over and with a callback."""

from __future__ import annotations

import asyncio
import contextlib
import queue
import threading
from typing import Any

import pytest

from stateraft import AsyncClient, Client, Event, StateraftError, Subscription, Tx

from .files import BEYOND_PYTHON, arguments, cases, client_options, method, snake
from .script import Script, Server
from .test_calls import assert_error
from .wires import Clock, async_client, client

PATIENCE = 10  # seconds, for what should be there at once

Told = Event | StateraftError | None  # None: the subscription has ended by itself without an error


class Sync:
    """A subscription that puts what it tells into a queue."""

    def __init__(self, clock: Clock, case: dict[str, Any], urls: list[str], with_callback: bool) -> None:
        self.told: queue.SimpleQueue[Told] = queue.SimpleQueue()
        self._client = client(clock, endpoints=urls, **client_options(case))
        self._subscription: Subscription | None = None
        self._thread = threading.Thread(target=self._follow, args=(case["subscribe"], with_callback), daemon=True)
        self._subscribed = threading.Event()
        self._thread.start()

    def _follow(self, subscribe: dict[str, Any], with_callback: bool) -> None:
        args = arguments(subscribe["args"])
        if with_callback:
            args |= {"callback": self.told.put, "on_error": self.told.put}
        try:
            self._subscription = method(self._client, subscribe["method"])(**args)
            self._subscribed.set()
            if not with_callback:
                for event in self._subscription:
                    self.told.put(event)
                self.told.put(None)
        except StateraftError as e:
            self.told.put(e)
            self._subscribed.set()

    def close(self) -> None:
        assert self._subscribed.wait(PATIENCE)
        if self._subscription:
            self._subscription.close()
            self._subscription.close()
        self._thread.join(PATIENCE)
        assert not self._thread.is_alive()
        self._client.close()


class Async:
    """Likewise, in an event loop of its own."""

    def __init__(self, clock: Clock, case: dict[str, Any], urls: list[str], with_callback: bool) -> None:
        self.told: queue.SimpleQueue[Told] = queue.SimpleQueue()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()
        self._closing = asyncio.Event()
        following = self._follow(clock, case, urls, with_callback)
        self._done = asyncio.run_coroutine_threadsafe(following, self._loop)

    async def _follow(self, clock: Clock, case: dict[str, Any], urls: list[str], with_callback: bool) -> None:
        subscribe, args = case["subscribe"], arguments(case["subscribe"]["args"])
        if with_callback:
            args |= {"callback": self.told.put, "on_error": self.told.put}
        async with async_client(clock, endpoints=urls, **client_options(case)) as client:
            try:
                subscription = await method(client, subscribe["method"])(**args)
            except StateraftError as e:
                self.told.put(e)
                return
            iterating = asyncio.create_task(self._iterate(subscription)) if not with_callback else None
            await self._closing.wait()
            await subscription.close()
            await subscription.close()
            if iterating:
                await iterating

    async def _iterate(self, subscription: Any) -> None:
        try:
            async for event in subscription:
                self.told.put(event)
            self.told.put(None)
        except StateraftError as e:
            self.told.put(e)

    def close(self) -> None:
        self._loop.call_soon_threadsafe(self._closing.set)
        self._done.result(PATIENCE)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(PATIENCE)
        self._loop.close()


@pytest.mark.parametrize("with_callback", [False, True], ids=["iterator", "callback"])
@pytest.mark.parametrize("kind", [Sync, Async])
@pytest.mark.parametrize("case", cases("streams/events.json", "streams/parsing.json", "streams/resume.json"))
def test_stream(case: dict[str, Any], kind: type[Sync | Async], with_callback: bool) -> None:
    unknown = case.keys() - {"name", "about", "client", "subscribe", "server", "connections", "events", "error"}
    assert not unknown, f"unknown members of a case: {unknown}"
    script = Script(case["connections"])
    script.is_stream = True
    with Server(script, case.get("client", {}).get("endpoints", 1)) as server:
        follower = kind(Clock(script, server.urls), case, server.urls, with_callback)
        try:
            for want in case["events"]:
                assert_event(want, follower.told.get(timeout=PATIENCE))
            if "error" in case:
                e = follower.told.get(timeout=PATIENCE)
                assert isinstance(e, StateraftError)
                assert_error(case["error"], e)
            else:
                assert script.sent.wait(PATIENCE)
        finally:
            follower.close()
        with contextlib.suppress(queue.Empty):
            assert follower.told.get(timeout=0.01) is None
            assert not with_callback
        if case["connections"][-1]["response"].get("end") == "open":
            assert script.closed.wait(PATIENCE), "the connection stays open"
        script.finish()


def assert_event(want: dict[str, Any], got: Told) -> None:
    """Compare all members of an event; values are listed, or their texts alone."""
    assert isinstance(got, Event), got
    members = {snake(name): value for name, value in want.items() if name != "raw"}
    if "tx" in members:
        members["tx"] = Tx(**members["tx"])
    texts = {f"raw_{snake(name)}": text for name, text in want.get("raw", {}).items()}
    unlisted = {snake(name) for name in want.get("raw", {})}
    for name, value in vars(got).items():
        if name in unlisted:
            continue
        if not name.startswith("raw_"):
            assert value == members.pop(name, None), name
        elif name in texts:
            assert value == texts.pop(name)
    assert not members
    assert not texts


@pytest.mark.parametrize("with_callback", [False, True], ids=["iterator", "callback"])
@pytest.mark.parametrize("kind", [Sync, Async])
@pytest.mark.parametrize("raw", BEYOND_PYTHON)
def test_a_value_beyond_python(raw: str, kind: type[Sync | Async], with_callback: bool) -> None:
    """It is told, and so is what comes after it."""
    case = {
        "name": "",
        "subscribe": {"method": "state.subscribe", "args": {"workflow": "wf", "key": "k"}},
        "connections": [_subscribed(_change(5, raw), _change(6, "1"))],
        "events": [
            {"type": "set", "workflow": "wf", "key": "k", "version": 5, "revision": 5, "raw": {"newValue": raw}},
            {"type": "set", "workflow": "wf", "key": "k", "version": 6, "revision": 6, "newValue": 1},
        ],
    }
    test_stream(case, kind, with_callback)


def _subscribed(*chunks: str) -> dict[str, Any]:
    return {
        "request": {"method": "GET", "path": "/v1/state/wf/k/stream"},
        "response": {"status": 200, "chunks": ["retry: 1000\nid: 4\n\n", *chunks], "end": "open"},
    }


def _change(revision: int, value: str) -> str:
    names = f'"type":"set","workflowId":"wf","key":"k","newValue":{value},"version":{revision},"revision":{revision}'
    return f"id: {revision}\ndata: {{{names}}}\n\n"


READ = {
    "request": {"method": "GET", "path": "/v1/state/wf/k"},
    "response": {"status": 200, "body": '{"value":1,"version":1}'},
}


def test_a_stream_leaves_the_endpoint_where_it_is() -> None:
    """That it ends its connection is no sign of a node that is about to end itself."""
    script = Script([_subscribed(), READ])
    script.is_stream = True
    with Server(script, 2) as server, Client(endpoints=server.urls) as c, c.state.subscribe("wf", "k"):
        script.is_stream = False
        c.state.get("wf", "k")
    script.finish()


async def test_an_async_stream_leaves_the_endpoint_where_it_is() -> None:
    script = Script([_subscribed(), READ])
    script.is_stream = True
    with Server(script, 2) as server:
        async with AsyncClient(endpoints=server.urls) as c, await c.state.subscribe("wf", "k"):
            script.is_stream = False
            await c.state.get("wf", "k")
    script.finish()

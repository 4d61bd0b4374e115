"""The client for asyncio."""

from __future__ import annotations

import asyncio
import functools
import inspect
import logging
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Generator, Iterable, Sequence
from contextlib import suppress
from typing import Any, Concatenate, Generic, ParamSpec, TypeVar

import httpx

from ._agent import AgentCalls
from ._call import probe
from ._follow import Feed
from ._model import Event
from ._session import Session
from ._state import StateCalls
from ._steps import Answer, Body, Close, Open, Pause, Read, Reply, Send, Step, Steps
from ._wire import LIMITS, MOUNTS, Deadline, build, certificates, failure, ring
from .errors import StateraftError, error

C = TypeVar("C")
P = ParamSpec("P")
T = TypeVar("T")
A = TypeVar("A")

logger = logging.getLogger("stateraft")

MOST_CALLS = 32  # of one operation that makes many


class AsyncStream:
    """An answer that goes on."""

    def __init__(self, response: httpx.Response, silence: float) -> None:
        self._response = response
        self._chunks = response.aiter_bytes()
        self._silence = silence

    async def read(self, timeout: float) -> bytes | StateraftError:
        chunk = anext(self._chunks, b"")
        try:
            # httpx bounds each read by the silence alone.
            return await (chunk if timeout >= self._silence else asyncio.wait_for(chunk, timeout))
        except asyncio.TimeoutError:
            return error("NO_ANSWER", "the node is silent")
        except httpx.HTTPError as e:
            return failure(e)

    async def close(self) -> None:
        with suppress(httpx.HTTPError):
            await self._response.aclose()


class AsyncWire:
    """All that takes time."""

    def __init__(self, http: httpx.AsyncClient) -> None:
        self._http = http

    def now(self) -> float:
        return time.monotonic()

    async def pause(self, seconds: float) -> None:
        await asyncio.sleep(seconds)

    async def send(self, step: Send) -> Answer | StateraftError:
        deadline = Deadline(step.timeout)
        try:
            response = await self._http.send(build(self._http, step, deadline), stream=True, follow_redirects=False)
            try:
                body = Body(response.status_code)
                async for piece in response.aiter_bytes():
                    body.add(piece)
                    deadline.check()
            finally:
                await response.aclose()
        except httpx.HTTPError as e:
            return failure(e)
        except StateraftError as e:
            return e
        return Answer(response.status_code, response.headers, body.bytes())

    async def open(self, step: Open) -> tuple[AsyncStream, Answer] | StateraftError:
        deadline = Deadline(step.timeout)
        try:
            response = await self._http.send(build(self._http, step, deadline), stream=True, follow_redirects=False)
        except httpx.HTTPError as e:
            return failure(e)
        except StateraftError as e:
            return e
        deadline.bound_silence(step.silence)
        return AsyncStream(response, step.silence), Answer(response.status_code, response.headers)


class AsyncSubscription:
    """The changes of a key, or of the keys of a workflow or a subject.

    Iterate over it, in one task, unless it has a callback. Any task of its loop may
    close it, which ends an iteration that waits. An iteration that is cancelled
    while it waits loses no event: it may go on.
    """

    def __init__(self, wire: AsyncWire, feed: Feed) -> None:
        self._wire = wire
        self._feed = feed
        self._reply: Reply = None
        self._stream: AsyncStream | None = None
        self._step: asyncio.Task[Reply] | None = None  # under way
        self._ended: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._teller: asyncio.Task[None] | None = None

    async def _begin(self) -> AsyncSubscription:
        try:
            await self._advance(until_begun=True)
        except BaseException:  # cancelled, say: nobody else can close it
            await self.close()
            raise
        if self._feed.callback:
            self._teller = asyncio.create_task(self._tell(), name="stateraft-subscription")
        return self

    def __aiter__(self) -> AsyncIterator[Event]:
        return self

    async def __anext__(self) -> Event:
        event = await self._advance()
        if event is None:
            raise StopAsyncIteration
        return event

    async def __aenter__(self) -> AsyncSubscription:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def close(self) -> None:
        """End the subscription. It may be called again."""
        self._end()
        if self._step:
            self._step.cancel()
            await asyncio.wait({self._step})
        await self._close_stream()

    def _end(self) -> None:
        if not self._ended.done():
            self._ended.set_result(None)

    async def _advance(self, until_begun: bool = False) -> Event | None:
        """Carry out steps up to the next event, or until the stream has begun."""
        try:
            while not self._ended.done():
                if self._step:
                    waiting: set[asyncio.Future[Any]] = {self._step, self._ended}
                    await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
                    if self._ended.done():
                        break
                    self._reply = self._step.result()
                    self._step = None
                step = self._feed.events.send(self._reply)
                self._reply = None
                if isinstance(step, Event):
                    return step
                if step is None and until_begun:
                    return None
                if step:
                    self._step = asyncio.create_task(self._do(step))
        except Exception:
            self._end()
            await self._close_stream()
            raise
        return None

    async def _do(self, step: Step) -> Reply:
        if isinstance(step, Pause):
            await self._wire.pause(step.seconds)
        elif isinstance(step, Close):
            await self._close_stream()
        elif isinstance(step, Read):
            assert self._stream
            return await self._stream.read(step.timeout)
        elif isinstance(step, Open):
            opened = await self._wire.open(step)
            if isinstance(opened, StateraftError):
                return opened
            self._stream, answer = opened
            return answer
        return None

    async def _close_stream(self) -> None:
        if self._stream:
            stream, self._stream = self._stream, None
            await stream.close()

    async def _tell(self) -> None:
        assert self._feed.callback
        try:
            async for event in self:
                await _call_back(self._feed.callback, event)
        except Exception as e:
            await self.close()
            if self._feed.on_error:
                await _call_back(self._feed.on_error, e)
            else:
                logger.exception("a subscription has ended")


async def _call_back(callback: Callable[[T], object], told: T) -> None:
    done = callback(told)
    if inspect.isawaitable(done):
        await done


async def map_concurrently(call: Callable[[A], Awaitable[T]], items: Iterable[A]) -> list[T]:
    """Return what ``call`` makes of each item. At most MOST_CALLS are under way at a time.

    The first that raises cancels the others.
    """
    room = asyncio.Semaphore(MOST_CALLS)

    async def call_in_turn(item: A) -> T:
        async with room:
            return await call(item)

    tasks = [asyncio.create_task(call_in_turn(item)) for item in items]
    try:
        return await asyncio.gather(*tasks)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


class AsyncPart(Generic[C]):
    """A part of the API, whose calls C builds."""

    def __init__(self, client: AsyncClient, calls: C) -> None:
        self._client = client
        self._calls = calls


def _call(
    build: Callable[Concatenate[C, P], Steps[T]],
) -> Callable[Concatenate[AsyncPart[C], P], Coroutine[Any, Any, T]]:
    @functools.wraps(build)
    async def method(self: AsyncPart[C], /, *args: P.args, **kwargs: P.kwargs) -> T:
        return await self._client._run(build(self._calls, *args, **kwargs))

    return method


def _pages(
    build: Callable[Concatenate[C, P], Generator[Steps[T], T, None]],
) -> Callable[Concatenate[AsyncPart[C], P], AsyncIterator[T]]:
    @functools.wraps(build)
    async def method(self: AsyncPart[C], /, *args: P.args, **kwargs: P.kwargs) -> AsyncIterator[T]:
        turns = build(self._calls, *args, **kwargs)
        with suppress(StopIteration):
            steps = next(turns)
            while True:
                page = await self._client._run(steps)
                yield page
                steps = turns.send(page)

    return method


def _subscribe(
    build: Callable[Concatenate[C, P], Feed],
) -> Callable[Concatenate[AsyncPart[C], P], Coroutine[Any, Any, AsyncSubscription]]:
    @functools.wraps(build)
    async def method(self: AsyncPart[C], /, *args: P.args, **kwargs: P.kwargs) -> AsyncSubscription:
        feed = build(self._calls, *args, **kwargs)
        return await AsyncSubscription(self._client._wire, feed)._begin()

    return method


class AsyncState(AsyncPart[StateCalls]):
    """The State Store: versioned JSON values under (workflow, key)."""

    get = _call(StateCalls.get)
    set = _call(StateCalls.set)
    set_with_version = _call(StateCalls.set_with_version)
    delete = _call(StateCalls.delete)
    list = _call(StateCalls.list)
    pages = _pages(StateCalls.pages)
    atomic = _call(StateCalls.atomic)
    subscribe = _subscribe(StateCalls.subscribe)
    subscribe_workflow = _subscribe(StateCalls.subscribe_workflow)


class AsyncAgent(AsyncPart[AgentCalls]):
    """Agent State: versioned JSON values under (subject, key)."""

    get = _call(AgentCalls.get)
    set = _call(AgentCalls.set)
    delete = _call(AgentCalls.delete)
    list = _call(AgentCalls.list)
    pages = _pages(AgentCalls.pages)
    subscribe = _subscribe(AgentCalls.subscribe)
    subscribe_subject = _subscribe(AgentCalls.subscribe_subject)


class AsyncClient:
    """Does as `Client` does, for the tasks of one event loop.

    Calls are awaited, and so is a subscription; `pages` is iterated over with
    ``async for``. ``callback`` and ``on_error`` may be coroutine functions. A call
    that is cancelled may have had its effect.
    """

    _wire_type = AsyncWire

    def __init__(
        self,
        base_url: str | None = None,
        *,
        endpoints: Sequence[str] | None = None,
        api_key: str | None = None,
        timeout: float = 30.0,
        attempt_timeout: float = 5.0,
        max_attempts: int = 8,
        read_your_writes: bool = True,
        http_client: httpx.AsyncClient | None = None,
    ) -> None:
        self._owns_http = http_client is None
        self._http = http_client or httpx.AsyncClient(verify=certificates(), limits=LIMITS, mounts=MOUNTS)
        self._wire = self._wire_type(self._http)
        self._session = Session(
            ring(base_url, endpoints), self._wire.now, api_key, timeout, attempt_timeout, max_attempts, read_your_writes
        )
        self.state = AsyncState(self, StateCalls(self._session))
        self.agent = AsyncAgent(self, AgentCalls(self._session))

    @property
    def revision(self) -> int:
        """The highest revision of the cluster that this client has seen; 0: none yet."""
        return self._session.revision.seen

    async def health(self) -> None:
        """Return if the endpoint in use is alive, whether or not it can serve. It is asked once."""
        await self._run(probe(self._session, "/health"))

    async def ready(self) -> None:
        """Return if the endpoint in use can serve: it knows a leader and has caught up. It is asked once."""
        await self._run(probe(self._session, "/ready"))

    async def aclose(self) -> None:
        """Close the connections. Subscriptions are to be closed before."""
        if self._owns_http:
            await self._http.aclose()

    async def __aenter__(self) -> AsyncClient:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.aclose()

    async def _run(self, steps: Steps[T]) -> T:
        reply: Reply = None
        try:
            while True:
                step = steps.send(reply)
                reply = await self._do(step)
        except StopIteration as done:
            result: T = done.value
            return result

    async def _do(self, step: Step) -> Reply:
        if isinstance(step, Send):
            return await self._wire.send(step)
        assert isinstance(step, Pause)
        await self._wire.pause(step.seconds)
        return None

"""The client for threads."""

from __future__ import annotations

import functools
import logging
import threading
import time
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import suppress
from socket import SHUT_RDWR
from typing import Concatenate, Generic, ParamSpec, TypeVar

import httpx

from ._agent import AgentCalls
from ._call import probe
from ._follow import Feed
from ._model import Event
from ._session import Session
from ._state import StateCalls
from ._steps import Answer, Body, Close, Open, Pause, Read, Reply, Send, Step, Steps
from ._wire import LIMITS, MOUNTS, Deadline, build, certificates, failure, ring
from .errors import StateraftError

C = TypeVar("C")
P = ParamSpec("P")
T = TypeVar("T")

logger = logging.getLogger("stateraft")


class Stream:
    """An answer that goes on."""

    def __init__(self, response: httpx.Response, silence: float) -> None:
        self._response = response
        self._chunks = response.iter_bytes()
        self._silence = silence

    def read(self, timeout: float) -> bytes | StateraftError:
        # httpx bounds each read by the silence alone.
        timer = threading.Timer(timeout, self.abort) if timeout < self._silence else None
        if timer:
            timer.daemon = True
            timer.start()
        try:
            return next(self._chunks, b"")
        except httpx.HTTPError as e:
            return failure(e)
        finally:
            if timer:
                timer.cancel()

    def abort(self) -> None:
        """End a read that another thread waits in."""
        connection = self._response.extensions.get("network_stream")
        with suppress(OSError, AttributeError):
            connection.get_extra_info("socket").shutdown(SHUT_RDWR)  # type: ignore[union-attr]

    def close(self) -> None:
        with suppress(httpx.HTTPError):
            self._response.close()


class Wire:
    """All that takes time."""

    def __init__(self, http: httpx.Client) -> None:
        self._http = http

    def now(self) -> float:
        return time.monotonic()

    def pause(self, seconds: float, ended: threading.Event | None = None) -> None:
        if ended:
            ended.wait(seconds)
        else:
            time.sleep(seconds)

    def send(self, step: Send) -> Answer | StateraftError:
        deadline = Deadline(step.timeout)
        try:
            response = self._http.send(build(self._http, step, deadline), stream=True, follow_redirects=False)
            try:
                body = Body(response.status_code)
                for piece in response.iter_bytes():
                    body.add(piece)
                    deadline.check()
            finally:
                response.close()
        except httpx.HTTPError as e:
            return failure(e)
        except StateraftError as e:
            return e
        return Answer(response.status_code, response.headers, body.bytes())

    def open(self, step: Open) -> tuple[Stream, Answer] | StateraftError:
        deadline = Deadline(step.timeout)
        try:
            response = self._http.send(build(self._http, step, deadline), stream=True, follow_redirects=False)
        except httpx.HTTPError as e:
            return failure(e)
        except StateraftError as e:
            return e
        deadline.bound_silence(step.silence)
        return Stream(response, step.silence), Answer(response.status_code, response.headers)


class Subscription:
    """The changes of a key, or of the keys of a workflow or a subject.

    Iterate over it, in one thread, unless it has a callback. Any thread may close
    it, which ends an iteration that waits. A callback in progress is not waited for.
    """

    def __init__(self, wire: Wire, feed: Feed) -> None:
        self._wire = wire
        self._feed = feed
        self._reply: Reply = None
        self._stream: Stream | None = None
        self._ended = threading.Event()
        self._working = threading.Lock()  # held by whoever carries steps out
        self._advance(until_begun=True)
        if feed.callback:
            threading.Thread(target=self._tell, name="stateraft-subscription", daemon=True).start()

    def __iter__(self) -> Iterator[Event]:
        return self

    def __next__(self) -> Event:
        event = self._advance()
        if event is None:
            raise StopIteration
        return event

    def __enter__(self) -> Subscription:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """End the subscription. It may be called again."""
        self._ended.set()
        stream = self._stream  # whoever carries steps out may close it meanwhile
        if stream:
            stream.abort()
        if self._working.acquire(blocking=False):
            try:
                self._close_stream()
            finally:
                self._working.release()

    def _advance(self, until_begun: bool = False) -> Event | None:
        """Carry out steps up to the next event, or until the stream has begun."""
        with self._working:
            try:
                while not self._ended.is_set():
                    step = self._feed.events.send(self._reply)
                    if isinstance(step, Event):
                        self._reply = None
                        return step
                    if step is None and until_begun:
                        self._reply = None
                        return None
                    self._reply = self._do(step) if step else None
            except BaseException:
                self._ended.set()
                self._close_stream()
                raise
            self._close_stream()
            return None

    def _do(self, step: Step) -> Reply:
        if isinstance(step, Pause):
            self._wire.pause(step.seconds, self._ended)
        elif isinstance(step, Close):
            self._close_stream()
        elif isinstance(step, Read):
            assert self._stream
            return self._stream.read(step.timeout)
        elif isinstance(step, Open):
            opened = self._wire.open(step)
            if isinstance(opened, StateraftError):
                return opened
            self._stream, answer = opened
            return answer
        return None

    def _close_stream(self) -> None:
        if self._stream:
            self._stream.close()
            self._stream = None

    def _tell(self) -> None:
        assert self._feed.callback
        try:
            for event in self:
                self._feed.callback(event)
        except Exception as e:
            self.close()
            if self._feed.on_error:
                self._feed.on_error(e)
            else:
                logger.exception("a subscription has ended")


class Part(Generic[C]):
    """A part of the API, whose calls C builds."""

    def __init__(self, client: Client, calls: C) -> None:
        self._client = client
        self._calls = calls


def _call(build: Callable[Concatenate[C, P], Steps[T]]) -> Callable[Concatenate[Part[C], P], T]:
    @functools.wraps(build)
    def method(self: Part[C], /, *args: P.args, **kwargs: P.kwargs) -> T:
        return self._client._run(build(self._calls, *args, **kwargs))

    return method


def _pages(
    build: Callable[Concatenate[C, P], Generator[Steps[T], T, None]],
) -> Callable[Concatenate[Part[C], P], Iterator[T]]:
    @functools.wraps(build)
    def method(self: Part[C], /, *args: P.args, **kwargs: P.kwargs) -> Iterator[T]:
        turns = build(self._calls, *args, **kwargs)
        with suppress(StopIteration):
            steps = next(turns)
            while True:
                page = self._client._run(steps)
                yield page
                steps = turns.send(page)

    return method


def _subscribe(build: Callable[Concatenate[C, P], Feed]) -> Callable[Concatenate[Part[C], P], Subscription]:
    @functools.wraps(build)
    def method(self: Part[C], /, *args: P.args, **kwargs: P.kwargs) -> Subscription:
        return Subscription(self._client._wire, build(self._calls, *args, **kwargs))

    return method


class State(Part[StateCalls]):
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


class Agent(Part[AgentCalls]):
    """Agent State: versioned JSON values under (subject, key)."""

    get = _call(AgentCalls.get)
    set = _call(AgentCalls.set)
    delete = _call(AgentCalls.delete)
    list = _call(AgentCalls.list)
    pages = _pages(AgentCalls.pages)
    subscribe = _subscribe(AgentCalls.subscribe)
    subscribe_subject = _subscribe(AgentCalls.subscribe_subject)


class Client:
    """Talks to one cluster. Any number of threads may share it.

    ``endpoints`` are base URLs of nodes of one cluster: the first is asked first,
    the others when it fails. ``base_url`` is one alone; without either it is
    http://127.0.0.1:7474.

    ``timeout`` bounds a call with all its attempts, ``attempt_timeout`` one
    attempt, both in seconds; ``max_attempts`` bounds how often a call is sent.
    ``read_your_writes=False`` lets stale reads go back behind what this client
    has seen.

    ``http_client`` sends the requests in place of a client of its own, for a
    proxy or certificates, say; `close` leaves it open.
    """

    _wire_type = Wire

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
        http_client: httpx.Client | None = None,
    ) -> None:
        self._owns_http = http_client is None
        self._http = http_client or httpx.Client(verify=certificates(), limits=LIMITS, mounts=MOUNTS)
        self._wire = self._wire_type(self._http)
        self._session = Session(
            ring(base_url, endpoints), self._wire.now, api_key, timeout, attempt_timeout, max_attempts, read_your_writes
        )
        self.state = State(self, StateCalls(self._session))
        self.agent = Agent(self, AgentCalls(self._session))

    @property
    def revision(self) -> int:
        """The highest revision of the cluster that this client has seen; 0: none yet.

        Given to another client as ``min_revision``, it carries read-your-writes
        from one process to another.
        """
        return self._session.revision.seen

    def health(self) -> None:
        """Return if the endpoint in use is alive, whether or not it can serve. It is asked once."""
        self._run(probe(self._session, "/health"))

    def ready(self) -> None:
        """Return if the endpoint in use can serve: it knows a leader and has caught up. It is asked once."""
        self._run(probe(self._session, "/ready"))

    def close(self) -> None:
        """Close the connections. Subscriptions are to be closed before."""
        if self._owns_http:
            self._http.close()

    def __enter__(self) -> Client:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _run(self, steps: Steps[T]) -> T:
        reply: Reply = None
        try:
            while True:
                step = steps.send(reply)
                reply = self._do(step)
        except StopIteration as done:
            result: T = done.value
            return result

    def _do(self, step: Step) -> Reply:
        if isinstance(step, Send):
            return self._wire.send(step)
        assert isinstance(step, Pause)
        self._wire.pause(step.seconds)
        return None

"""The clients' input and output, by a clock that only pauses and silences move."""

from __future__ import annotations

import dataclasses
import threading
from typing import Any

from stateraft import AsyncClient, Client, StateraftError
from stateraft._async import AsyncStream, AsyncWire
from stateraft._steps import Answer, Open, Send
from stateraft._sync import Stream, Wire

from .script import Script, closed_port

# What silences take on the machine's clock, however long they are by the test's: of
# a node that never answers, and of a stream that has told something before. A busy
# machine may take some of it until the node has the request.
REAL_FAILURE = 1.0
REAL_SILENCE = 2.0


class Clock:
    """Compares the time between attempts with the script's."""

    def __init__(self, script: Script, urls: list[str]) -> None:
        self._script = script
        self._urls = urls
        self._time = 0.0
        self._last_end: float | None = None

    def now(self) -> float:
        return self._time

    def pass_time(self, seconds: float) -> None:
        self._time += seconds

    def prepare(self, step: Send) -> tuple[Any, dict[str, Any]]:
        """Check when and how an attempt is made; return it as it is to be sent, and its response."""
        exchange = self._script.upcoming()
        request, response = exchange["request"], exchange["response"]
        self._check_pause(request.get("pauseMs") or [0, 0])
        told = float(step.headers["X-Stateraft-Timeout"])
        if abs(told - step.timeout * 0.9) > 0.001:
            self._script.problems.append(f"X-Stateraft-Timeout: {told} of {step.timeout} s")
        if response.get("failure") == "refused":
            if step.endpoint != self._urls[request.get("endpoint", 0)]:
                self._script.problems.append(f"endpoint {step.endpoint} in place of {request.get('endpoint', 0)}")
            self._script.pass_over()
            step = dataclasses.replace(step, endpoint=closed_port())
        if response.get("failure") == "silent":
            step = dataclasses.replace(step, timeout=REAL_FAILURE)
        if response.get("end") == "silent":
            assert isinstance(step, Open)
            step = dataclasses.replace(step, silence=REAL_SILENCE)
        return step, response

    def _check_pause(self, limits: list[float]) -> None:
        if self._last_end is None:
            return
        paused = (self._time - self._last_end) * 1000
        if not limits[0] - 0.001 <= paused <= limits[1] + 0.001:
            self._script.problems.append(f"a pause of {paused} ms, want {limits}")

    def attempted(self, step: Send, response: dict[str, Any], reply: object) -> None:
        """Take note of how an attempt ended."""
        if response.get("failure") == "silent":
            assert isinstance(reply, StateraftError)
            self.pass_time(step.timeout)
        self._last_end = self._time

    def has_read(self, timeout: float, response: dict[str, Any], reply: object) -> None:
        if response.get("end") == "silent" and isinstance(reply, StateraftError):
            assert timeout * 1000 == response["silentMs"]
            self.pass_time(timeout)
        self._last_end = self._time


class ScriptedStream:
    def __init__(self, clock: Clock, stream: Stream, response: dict[str, Any]) -> None:
        self._clock, self._stream, self._response = clock, stream, response
        self.abort, self.close = stream.abort, stream.close

    def read(self, timeout: float) -> bytes | StateraftError:
        reply = self._stream.read(REAL_SILENCE if self._response.get("end") == "silent" else timeout)
        self._clock.has_read(timeout, self._response, reply)
        return reply


class AsyncScriptedStream:
    def __init__(self, clock: Clock, stream: AsyncStream, response: dict[str, Any]) -> None:
        self._clock, self._stream, self._response = clock, stream, response
        self.close = stream.close

    async def read(self, timeout: float) -> bytes | StateraftError:
        reply = await self._stream.read(REAL_SILENCE / 2 if self._response.get("end") == "silent" else timeout)
        self._clock.has_read(timeout, self._response, reply)
        return reply


def client(clock: Clock, **options: Any) -> Client:
    class ScriptedWire(Wire):
        def now(self) -> float:
            return clock.now()

        def pause(self, seconds: float, ended: threading.Event | None = None) -> None:  # noqa: ARG002
            clock.pass_time(seconds)

        def send(self, step: Send) -> Answer | StateraftError:
            scripted, response = clock.prepare(step)
            reply = super().send(scripted)
            clock.attempted(step, response, reply)
            return reply

        def open(self, step: Open) -> Any:
            scripted, response = clock.prepare(step)
            reply = super().open(scripted)
            clock.attempted(step, response, reply)
            if isinstance(reply, StateraftError):
                return reply
            return ScriptedStream(clock, reply[0], response), reply[1]

    class ScriptedClient(Client):
        _wire_type = ScriptedWire

    return ScriptedClient(**options)


def async_client(clock: Clock, **options: Any) -> AsyncClient:
    class ScriptedWire(AsyncWire):
        def now(self) -> float:
            return clock.now()

        async def pause(self, seconds: float) -> None:
            clock.pass_time(seconds)

        async def send(self, step: Send) -> Answer | StateraftError:
            scripted, response = clock.prepare(step)
            reply = await super().send(scripted)
            clock.attempted(step, response, reply)
            return reply

        async def open(self, step: Open) -> Any:
            scripted, response = clock.prepare(step)
            reply = await super().open(scripted)
            clock.attempted(step, response, reply)
            if isinstance(reply, StateraftError):
                return reply
            return AsyncScriptedStream(clock, reply[0], response), reply[1]

    class ScriptedClient(AsyncClient):
        _wire_type = ScriptedWire

    return ScriptedClient(**options)

"""A server that says what a contract file says, and what it was asked instead."""

from __future__ import annotations

import base64
import contextlib
import queue
import socket
import struct
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qsl, unquote_to_bytes

CHECKED = (
    "authorization",
    "if-match",
    "if-none-match",
    "idempotency-key",
    "x-subject-id",
    "x-session-id",
    "x-stateraft-min-revision",
    "last-event-id",
)


@dataclass
class Received:
    """A request as it came over the wire."""

    endpoint: int
    method: str
    target: str
    headers: dict[str, str]
    body: bytes


class Script:
    """The exchanges of a case, in their order, of which each is answered once.

    `problems` has what was asked otherwise; `closed` is set when the client has
    closed a stream that was left open.
    """

    def __init__(self, exchanges: list[dict[str, Any]]) -> None:
        self.exchanges = _filled(exchanges)
        self.is_stream = False
        self.at = 0
        self.problems: list[str] = []
        self.sent = threading.Event()  # all chunks of a stream that stays open
        self.closed = threading.Event()

    def upcoming(self) -> dict[str, Any]:
        """Return the exchange that the next attempt is for."""
        return self.exchanges[self.at] if self.at < len(self.exchanges) else {"request": {}, "response": {}}

    def take(self, received: Received) -> dict[str, Any] | None:
        """Compare a request with what should come, and return how to answer."""
        if self.at == len(self.exchanges):
            self.problems.append(f"one request too many: {received}")
            return None
        exchange = self.exchanges[self.at]
        self.at += 1
        self.problems += differences(exchange["request"], received)
        response: dict[str, Any] = exchange["response"]
        return response

    def pass_over(self) -> None:
        """Count an attempt that no server sees."""
        self.at += 1

    def finish(self) -> None:
        """Fail unless all exchanges took place, and as they should."""
        if self.at != len(self.exchanges):
            self.problems.append(f"{len(self.exchanges) - self.at} exchanges are left out")
        assert not self.problems, self.problems


def _filled(exchanges: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Repeat the request where an exchange has none; endpoint and pause are its own."""
    filled: list[dict[str, Any]] = []
    for exchange in exchanges:
        unknown = exchange.keys() - {"request", "response", "endpoint", "pauseMs"}
        assert not unknown, f"unknown members of an exchange: {unknown}"
        request = dict(exchange["request"]) if "request" in exchange else dict(filled[-1]["request"])
        if "request" not in exchange:
            request |= {"endpoint": exchange.get("endpoint", 0), "pauseMs": exchange.get("pauseMs")}
        unknown = request.keys() - {"method", "path", "body", "headers", "endpoint", "pauseMs"}
        assert not unknown, f"unknown members of a request: {unknown}"
        filled.append({"request": request, "response": exchange["response"]})
    return filled


def differences(want: dict[str, Any], got: Received) -> Iterator[str]:
    yield from _differ("endpoint", want.get("endpoint", 0), got.endpoint)
    yield from _differ("method", want["method"], got.method)
    yield from _differ("path", _decoded(want["path"]), _decoded(got.target))
    yield from _differ("body", want.get("body", "").encode(), got.body)
    headers = {name.lower(): value for name, value in want.get("headers", {}).items()}
    yield from _differ("headers", headers, {name: got.headers[name] for name in CHECKED if name in got.headers})
    yield from _differ("content type", "application/json" if "body" in want else None, got.headers.get("content-type"))
    yield from _differ("user agent", "stateraft-python", got.headers.get("user-agent"))
    if want["path"] not in ("/health", "/ready") and "x-stateraft-timeout" not in got.headers:
        yield f"{got.target}: no X-Stateraft-Timeout"


def _differ(what: str, want: object, got: object) -> Iterator[str]:
    if want != got:
        yield f"{what}: {got!r}, want {want!r}"


def _decoded(target: str) -> tuple[list[bytes], list[tuple[str, str]]]:
    path, _, query = target.partition("?")
    segments = [unquote_to_bytes(segment) for segment in path.split("/")]
    return segments, sorted(parse_qsl(query, keep_blank_values=True))


class Server:
    """Some endpoints that follow one script."""

    def __init__(self, script: Script, endpoints: int) -> None:
        self._script = script
        self._listeners = [socket.create_server(("127.0.0.1", 0)) for _ in range(endpoints)]
        self.urls = [f"http://127.0.0.1:{listener.getsockname()[1]}" for listener in self._listeners]
        self._ended = threading.Event()
        self._connections: queue.SimpleQueue[socket.socket] = queue.SimpleQueue()
        for endpoint, listener in enumerate(self._listeners):
            threading.Thread(target=self._accept, args=(endpoint, listener), daemon=True).start()

    def __enter__(self) -> Server:
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        for listener in self._listeners:
            with contextlib.suppress(OSError):
                listener.shutdown(socket.SHUT_RDWR)
            listener.close()
        while not self._connections.empty():
            with contextlib.suppress(OSError):
                self._connections.get().shutdown(socket.SHUT_RDWR)

    def _accept(self, endpoint: int, listener: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while True:
                connection, _ = listener.accept()
                connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                self._connections.put(connection)
                threading.Thread(target=self._serve, args=(endpoint, connection), daemon=True).start()

    def _serve(self, endpoint: int, connection: socket.socket) -> None:
        with connection, contextlib.suppress(OSError), connection.makefile("rb") as reader:
            while (received := _read_request(endpoint, reader)) is not None:
                response = self._script.take(received)
                if response is None or not self._answer(connection, received, response):
                    return

    def _answer(self, connection: socket.socket, received: Received, response: dict[str, Any]) -> bool:
        """Answer, and tell whether the connection can be used again."""
        accept = received.headers.get("accept", "")
        is_stream = self._script.is_stream
        if (accept == "text/event-stream") != is_stream:
            self._script.problems.append(f"Accept: {accept}")
        unknown = response.keys() - {"status", "headers", "body", "failure", "chunks", "end", "silentMs"}
        assert not unknown, f"unknown members of a response: {unknown}"
        failure = response.get("failure")
        if failure == "silent":
            self._ended.wait()
        elif failure is None and "chunks" in response:
            self._stream(connection, response)
        elif failure in (None, "torn"):
            head, body = _answer_bytes(response)
            connection.sendall(head + (body[: len(body) // 2] if failure else body))
            return failure is None
        return False

    def _stream(self, connection: socket.socket, response: dict[str, Any]) -> None:
        """Send a stream, which ends its connection, as those of a node do. Chunks keep its pieces apart."""
        headers = {"Content-Type": "text/event-stream", "Connection": "close", "Transfer-Encoding": "chunked"}
        connection.sendall(_head(response["status"], headers | response.get("headers", {})))
        for chunk in response["chunks"]:
            data = base64.b64decode(chunk["base64"]) if isinstance(chunk, dict) else chunk.encode()
            connection.sendall(f"{len(data):x}\r\n".encode() + data + b"\r\n")
        end = response["end"]
        if end == "eof":
            connection.sendall(b"0\r\n\r\n")
        elif end == "reset":
            # A reset may overtake what was sent before it.
            self._ended.wait(0.05)
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        else:
            assert end in ("open", "silent"), end
            self._script.sent.set()
            with contextlib.suppress(ConnectionError):
                connection.recv(1)
            self._script.closed.set()


def _answer_bytes(response: dict[str, Any]) -> tuple[bytes, bytes]:
    body = response["body"].encode()
    headers = {"Content-Type": "application/json"} | response.get("headers", {})
    if response["status"] != 204:
        headers["Content-Length"] = str(len(body))
    return _head(response["status"], headers), body


def _head(status: int, headers: dict[str, str]) -> bytes:
    lines = [f"HTTP/1.1 {status} Said", *(f"{name}: {value}" for name, value in headers.items()), "", ""]
    return "\r\n".join(lines).encode()


def _read_request(endpoint: int, reader: Any) -> Received | None:
    line = reader.readline().decode()
    if not line:
        return None
    method, target, _ = line.split(" ")
    headers = {}
    while (line := reader.readline().decode().rstrip("\r\n")) != "":
        name, _, value = line.partition(": ")
        headers[name.lower()] = value
    body = reader.read(int(headers.get("content-length", 0)))
    return Received(endpoint, method, target, headers, body)


def closed_port() -> str:
    """Return the URL of a port at which nobody listens."""
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return f"http://127.0.0.1:{s.getsockname()[1]}"

"""What both kinds of input and output share: httpx's settings and its errors."""

from __future__ import annotations

import functools
import math
import ssl
import time
from collections.abc import Sequence
from typing import Any

import httpx

from ._request import encode_headers
from ._session import DEFAULT_ENDPOINT, Endpoints
from ._steps import Send
from .errors import StateraftError, error

CONNECT_TIMEOUT = 2.0  # there are other endpoints
LEAST_TIMEOUT = 0.001  # a socket refuses what is below 0, and does not wait at all with 0

# Idle connections are dropped before nodes do so, after 2 minutes.
LIMITS = httpx.Limits(max_connections=None, max_keepalive_connections=512, keepalive_expiry=90)

# Loopback is never reached through the environment's proxy.
MOUNTS = {f"all://{host}": None for host in ("localhost", "127.0.0.1", "[::1]")}


@functools.cache
def certificates() -> ssl.SSLContext:
    """Return the settings for TLS, which all clients of a process share: they take long to read."""
    return httpx.create_ssl_context()


_NOTHING_SENT = (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout, httpx.ProxyError)


class Deadline(dict[str, float]):
    """The time limits of a request, which httpx asks for before each thing that it does.

    Each is what is left of ``seconds``, but never less than 1 ms, so that they bound
    the request as a whole.
    """

    def __init__(self, seconds: float) -> None:
        seconds = max(seconds, LEAST_TIMEOUT)
        super().__init__(connect=min(CONNECT_TIMEOUT, seconds), read=seconds, write=seconds, pool=seconds)
        self._end = time.monotonic() + seconds

    def left(self) -> float:
        return max(self._end - time.monotonic(), LEAST_TIMEOUT)

    def get(self, key: str, default: Any = None) -> Any:
        return min(super().get(key, default), self.left())

    def bound_silence(self, seconds: float) -> None:
        """Let the rest go on for ever, if the other side is never silent for that long."""
        self["read"], self._end = seconds, math.inf

    def check(self) -> None:
        if time.monotonic() > self._end:
            raise httpx.ReadTimeout("the answer goes on for too long")


def ring(base_url: str | None, urls: Sequence[str] | None) -> Endpoints:
    if base_url is not None and urls is not None:
        raise ValueError("base_url and endpoints exclude each other")
    return Endpoints(urls if urls is not None else [base_url or DEFAULT_ENDPOINT])


def build(http: httpx.Client | httpx.AsyncClient, step: Send, timeout: Deadline) -> httpx.Request:
    """Return the request of a step. Raises INVALID_REQUEST if its URL is none for httpx."""
    try:
        return http.build_request(
            step.method,
            step.endpoint + step.target,
            headers=encode_headers(step.headers),
            content=None if step.body is None else step.body.encode(),
            extensions={"timeout": timeout},
        )
    except httpx.InvalidURL as e:  # it is longer than 64 KiB, with a key that no node takes
        raise error("INVALID_REQUEST", str(e)) from e


def failure(e: httpx.HTTPError) -> StateraftError:
    """Tell a connection that was never made, so that nothing was sent, from one that broke."""
    message = str(e) or type(e).__name__
    if isinstance(e, _NOTHING_SENT):
        return error("UNREACHABLE", message)
    return error("NO_ANSWER", message, outcome="unknown")

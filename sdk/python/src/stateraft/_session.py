"""What the calls of a client share."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Protocol
from urllib.parse import urlsplit

from ._request import fits_header

DEFAULT_ENDPOINT = "http://127.0.0.1:7474"
USER_AGENT = "stateraft-python"


class Headers(Protocol):
    def get(self, key: str, /) -> str | None: ...


class Endpoints:
    """A ring of base URLs with the one in use. Any number of threads may use it."""

    def __init__(self, urls: Sequence[str]) -> None:
        if not urls:
            raise ValueError("a client needs an endpoint")
        self.urls = [_parse(url) for url in urls]
        self._at = 0
        self._lock = threading.Lock()

    def __len__(self) -> int:
        return len(self.urls)

    def current(self) -> tuple[str, int]:
        """Return the endpoint in use and its place in the ring."""
        at = self._at
        return self.urls[at], at

    def leave(self, at: int) -> None:
        """Move on from a place. Of many calls that fail there together one moves."""
        with self._lock:
            if self._at == at:
                self._at = (at + 1) % len(self.urls)


def _parse(url: str) -> str:
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ValueError(f"endpoint {url!r}: want http://host:port or https://host:port")
    if parts.query or parts.fragment or "@" in parts.netloc:
        raise ValueError(f"endpoint {url!r}: a query, a fragment or a user has no place in it")
    return url.rstrip("/")


class Revision:
    """How much of the cluster's history has been seen. Any number of threads may use it."""

    def __init__(self) -> None:
        self.seen = 0
        self._lock = threading.Lock()

    def observe(self, headers: Headers) -> None:
        """Take note of the revision that an answer is from."""
        text = headers.get("X-Stateraft-Revision")
        if text and text.isascii() and text.isdigit():
            self.advance(int(text))

    def advance(self, revision: int) -> None:
        with self._lock:
            self.seen = max(self.seen, revision)

    def forget(self, revision: int) -> None:
        """Drop a revision that the cluster does not know. One seen since is kept."""
        with self._lock:
            if self.seen == revision:
                self.seen = 0


@dataclass
class Session:
    endpoints: Endpoints
    now: Callable[[], float]  # seconds, from whenever
    api_key: str | None = None
    timeout: float = 30.0
    attempt_timeout: float = 5.0
    max_attempts: int = 8
    read_your_writes: bool = True
    revision: Revision = field(default_factory=Revision)

    def __post_init__(self) -> None:
        if self.timeout <= 0 or self.attempt_timeout <= 0 or self.max_attempts < 1:
            raise ValueError("timeout, attempt_timeout and max_attempts are above 0")
        if self.api_key is not None and not (self.api_key and fits_header(self.api_key)):
            raise ValueError("api_key is empty, or has control characters or white space at an end")

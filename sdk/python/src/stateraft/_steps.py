"""What a call or a subscription asks of whoever does its input and output.

The logic of calls lives in generators that know no socket and no clock. They
yield the steps below and are sent their replies; a failed step's reply is a
StateraftError. `_sync` and `_async` carry the steps out.
"""

from __future__ import annotations

from collections.abc import Generator, Mapping
from dataclasses import dataclass
from typing import TypeVar

from ._session import Headers
from .errors import StateraftError, error

T = TypeVar("T")

# A list without a limit can be longer: `pages` reads it in pieces.
MAX_ANSWER_BYTES = 64 << 20


@dataclass(frozen=True)
class Send:
    """Send a request within ``timeout`` seconds. The reply is an Answer."""

    endpoint: str
    method: str
    target: str
    headers: Mapping[str, str]
    body: str | None
    timeout: float


@dataclass(frozen=True)
class Open(Send):
    """Likewise, up to the head of the answer; its body is what Read returns.

    ``silence`` bounds the seconds that a Read waits, if it does not say less.
    """

    silence: float


@dataclass(frozen=True)
class Read:
    """Read of what was opened. The reply is bytes; none are the end."""

    timeout: float


@dataclass(frozen=True)
class Close:
    """Close what was opened, if anything is open."""


@dataclass(frozen=True)
class Pause:
    seconds: float


@dataclass(frozen=True)
class Answer:
    status: int
    headers: Headers
    body: bytes = b""


Step = Send | Open | Read | Close | Pause
Reply = Answer | bytes | StateraftError | None
Steps = Generator[Step, Reply, T]


class Body:
    """Collects the body of an answer."""

    def __init__(self, status: int) -> None:
        self._status = status
        self._pieces: list[bytes] = []
        self._size = 0

    def add(self, piece: bytes) -> None:
        """Take a piece. Raises BAD_RESPONSE if it becomes too long."""
        self._size += len(piece)
        if self._size > MAX_ANSWER_BYTES:
            text = "the answer is too long; a limit makes it shorter"
            raise error("BAD_RESPONSE", text, outcome="unknown", status=self._status)
        self._pieces.append(piece)

    def bytes(self) -> bytes:
        return b"".join(self._pieces)

"""What is sent again, and after which pause: the only place that decides it."""

from __future__ import annotations

import enum
import random
from typing import NamedTuple

from ._request import Kind
from .errors import StateraftError, error


class Failure(enum.Enum):
    """What an attempt that failed has proven."""

    ANSWERED = "answered"  # an answer for good: 4xx, 500, 507, or an unreadable one
    UNREACHABLE = "unreachable"  # no connection was made, so nothing was sent
    UNAVAILABLE = "unavailable"  # 503: the node said that it did nothing
    OVERLOADED = "overloaded"  # 429: likewise; its queues are full
    LOST = "lost"  # sent, then no answer, half of one, OUTCOME_UNKNOWN, or a proxy's 502, 503, 504


class Rule(NamedTuple):
    """What is sent again; ``next``: the client goes on to the next endpoint."""

    again: frozenset[Kind]
    next: bool


_ANY = frozenset({Kind.READ, Kind.WRITE, Kind.VERSIONED, Kind.KEYED})

# A plain write that was lost is never sent again: its error says that the
# outcome is unknown.
RULES = {
    Failure.ANSWERED: Rule(frozenset(), next=False),
    Failure.UNREACHABLE: Rule(_ANY, next=True),
    Failure.UNAVAILABLE: Rule(_ANY, next=True),
    Failure.OVERLOADED: Rule(_ANY, next=False),
    Failure.LOST: Rule(_ANY - {Kind.WRITE}, next=True),
}

FIRST_PAUSE = 0.05
MOST_PAUSE = 2.0
PAUSE_FACTOR = 2


def classify(e: StateraftError) -> Failure:
    if e.code == "UNREACHABLE":
        return Failure.UNREACHABLE
    if e.code == "NO_ANSWER":
        return Failure.LOST
    if e.status == 429 and e.outcome == "not_applied":
        return Failure.OVERLOADED
    if e.status == 503 and e.outcome == "not_applied":
        return Failure.UNAVAILABLE
    if e.status in (502, 503, 504):
        return Failure.LOST
    return Failure.ANSWERED


def delay(attempt: int, endpoints: int, failure: Failure, e: StateraftError) -> float:
    """Return the seconds to wait after an attempt, counted from 1.

    The first round of the endpoints is without a pause, unless the node is
    overloaded and asked again. Then each pause is twice the one before, less up
    to half of it by chance, and not shorter than a Retry-After, plus up to half
    of that by chance: whoever was refused together does not come back together.
    """
    turn = attempt - 1 if failure is Failure.OVERLOADED else attempt - endpoints
    if turn < 0:
        return 0.0
    pause: float = min(FIRST_PAUSE * PAUSE_FACTOR ** min(turn, 10), MOST_PAUSE)
    return max(pause * random.uniform(0.5, 1), (e.retry_after or 0) * random.uniform(1, 1.5))


def settle(kind: Kind, e: StateraftError, uncertain: bool) -> StateraftError:
    """Give an error the outcome of all attempts together.

    An earlier one that is uncertain stays so, unless ``e`` is the answer kept
    under an idempotency key. A conflict proves nothing then: it may be with that
    very attempt.
    """
    if kind in (Kind.READ, Kind.PROBE):
        e.outcome = "not_applied"
    elif uncertain and e.code != "VERSION_CONFLICT":
        e.outcome = "unknown"
    elif uncertain and kind is not Kind.KEYED:
        return _conflict_with_whom(e)
    return e


def _conflict_with_whom(e: StateraftError) -> StateraftError:
    unknown = error(
        "OUTCOME_UNKNOWN",
        f"an attempt was lost, and the next one met another version: {e.message}",
        outcome="unknown",
        status=e.status,
        endpoint=e.endpoint,
        expected_version=e.expected_version,
        current_version=e.current_version,
        current_value=e.current_value,
        op=e.op,
    )
    unknown.attempts = e.attempts
    return unknown

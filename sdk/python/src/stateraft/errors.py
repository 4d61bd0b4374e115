"""Errors of calls.

    StateraftError
    ├── InvalidRequestError       INVALID_REQUEST, INVALID_KEY, INVALID_TTL,
    │                             VALUE_REQUIRED, METHOD_NOT_ALLOWED
    ├── UnauthorizedError         UNAUTHORIZED
    ├── ForbiddenError            FORBIDDEN
    ├── NotFoundError             NOT_FOUND
    ├── VersionConflictError      VERSION_CONFLICT
    ├── RefusedError              REFUSED
    ├── RevisionUnknownError      REVISION_UNKNOWN
    ├── TooLargeError             TOO_LARGE
    ├── IdempotencyMismatchError  IDEMPOTENCY_MISMATCH
    ├── OverloadedError           OVERLOADED
    ├── InternalError             INTERNAL
    ├── UnavailableError          NO_LEADER, BEHIND, NOT_READY
    ├── OutcomeUnknownError       OUTCOME_UNKNOWN
    ├── DiskFullError             DISK_FULL
    ├── UnreachableError          UNREACHABLE: no connection, nothing was sent
    ├── NoAnswerError             NO_ANSWER: sent, then the connection broke or time ran out
    ├── BadResponseError          BAD_RESPONSE: an answer that is not of the contract
    └── ClosedError               CLOSED: a subscription that its own side ended

A code that this version does not know is a plain ``StateraftError``.
"""

from __future__ import annotations

from typing import Any, Literal

Outcome = Literal["not_applied", "unknown"]


class StateraftError(Exception):
    """Why a call failed. Every failure of a call is one.

    ``code`` says what went wrong, ``message`` says it to people and may change.

    ``outcome`` is what became of a write, over all attempts together:
    ``"not_applied"`` if it had and will have no effect, ``"unknown"`` if it may
    have had its effect, or may yet. A read's is ``"not_applied"``.

    ``status`` is that of the last answer, ``None`` if there was none; ``endpoint``
    was asked last; ``attempts`` counts how often the call was sent.

    With ``VERSION_CONFLICT``: ``expected_version``, ``current_version`` (0 stands
    for an absent key), ``current_value`` if ``return_current`` asked for it (with an
    idempotency key only while it is that of ``current_version``), and ``op``, the
    index of the operation of an atomic write that did not hold.

    With ``OVERLOADED``: ``retry_after`` in seconds, and ``current`` and ``limit``
    if a limit of the node is why.
    """

    def __init__(
        self,
        code: str,
        message: str,
        *,
        outcome: Outcome = "not_applied",
        status: int | None = None,
        endpoint: str | None = None,
        expected_version: int | None = None,
        current_version: int | None = None,
        current_value: Any = None,
        op: int | None = None,
        retry_after: int | None = None,
        current: int | None = None,
        limit: int | None = None,
    ) -> None:
        super().__init__(code, message)
        self.code = code
        self.message = message
        self.outcome: Outcome = outcome
        self.status = status
        self.endpoint = endpoint
        self.attempts = 0
        self.expected_version = expected_version
        self.current_version = current_version
        self.current_value = current_value
        self.op = op
        self.retry_after = retry_after
        self.current = current
        self.limit = limit

    def __str__(self) -> str:
        text = f"{self.code}: {self.message}"
        if self.endpoint and self.status is None:
            text += f" ({self.endpoint})"
        if self.outcome == "unknown":
            text += "; the outcome of the write is unknown"
        return text


class InvalidRequestError(StateraftError):
    """The call breaks a rule, which the message names."""


class UnauthorizedError(StateraftError):
    """No API key, or one that is unknown, revoked or has run out."""


class ForbiddenError(StateraftError):
    """The API key lacks the scope, or is for other prefixes."""


class NotFoundError(StateraftError):
    """The key does not exist, was deleted or has expired."""


class VersionConflictError(StateraftError):
    """The key is not at the version that the write is for."""


class RefusedError(StateraftError):
    """An administrative request that would do harm."""


class RevisionUnknownError(StateraftError):
    """The cluster was restored from before the least revision asked for."""


class TooLargeError(StateraftError):
    """A value or body is over its limit."""


class IdempotencyMismatchError(StateraftError):
    """The idempotency key came with another request before."""


class OverloadedError(StateraftError):
    """The node has no room for the request."""


class InternalError(StateraftError):
    """A bug of the node, whose log has more."""


class UnavailableError(StateraftError):
    """The node cannot serve for the time being, and did nothing."""


class OutcomeUnknownError(StateraftError):
    """The write may have happened, or may yet."""


class DiskFullError(StateraftError):
    """A disk is nearly full; deletes still work."""


class UnreachableError(StateraftError):
    """No connection was made, so nothing was sent."""


class NoAnswerError(StateraftError):
    """The request was sent, and the connection broke or time ran out."""


class BadResponseError(StateraftError):
    """An answer that is not of the contract, of a proxy say."""


class ClosedError(StateraftError):
    """A subscription that its own side ended."""


CLASSES: dict[str, type[StateraftError]] = {
    "INVALID_REQUEST": InvalidRequestError,
    "INVALID_KEY": InvalidRequestError,
    "INVALID_TTL": InvalidRequestError,
    "VALUE_REQUIRED": InvalidRequestError,
    "METHOD_NOT_ALLOWED": InvalidRequestError,
    "UNAUTHORIZED": UnauthorizedError,
    "FORBIDDEN": ForbiddenError,
    "NOT_FOUND": NotFoundError,
    "VERSION_CONFLICT": VersionConflictError,
    "REFUSED": RefusedError,
    "REVISION_UNKNOWN": RevisionUnknownError,
    "TOO_LARGE": TooLargeError,
    "IDEMPOTENCY_MISMATCH": IdempotencyMismatchError,
    "OVERLOADED": OverloadedError,
    "INTERNAL": InternalError,
    "NO_LEADER": UnavailableError,
    "BEHIND": UnavailableError,
    "NOT_READY": UnavailableError,
    "OUTCOME_UNKNOWN": OutcomeUnknownError,
    "DISK_FULL": DiskFullError,
    "UNREACHABLE": UnreachableError,
    "NO_ANSWER": NoAnswerError,
    "BAD_RESPONSE": BadResponseError,
    "CLOSED": ClosedError,
}

# The codes of Agent State that are not those of the State Store in lower case.
AGENT_CODES = {
    "invalid_json_body": "INVALID_REQUEST",
    "missing_subject_id": "INVALID_REQUEST",
    "invalid_ttl_seconds": "INVALID_TTL",
    "value_too_large": "TOO_LARGE",
    "usage_limit_exceeded": "OVERLOADED",
}


def error(code: str, message: str, **details: Any) -> StateraftError:
    """Return an error of the class that belongs to ``code``."""
    return CLASSES.get(code, StateraftError)(code, message, **details)

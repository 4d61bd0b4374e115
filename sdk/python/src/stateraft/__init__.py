"""The Python client of Stateraft: a replicated store of agents' state.

    client = Client("http://127.0.0.1:7474")
    client.state.set("wf-1", "status", {"step": "researching"}, ttl=3600)
    client.state.get("wf-1", "status").value

`Client` is for threads, `AsyncClient` for asyncio: the same methods and errors.
"""

from ._async import AsyncAgent, AsyncClient, AsyncState, AsyncSubscription
from ._json import RawJson
from ._model import (
    AgentEntry,
    AgentPage,
    CheckOp,
    Consistency,
    DeleteOp,
    Entry,
    Event,
    EventType,
    Op,
    OpResult,
    Page,
    SetOp,
    Tx,
)
from ._sync import Agent, Client, State, Subscription
from .errors import (
    BadResponseError,
    ClosedError,
    DiskFullError,
    ForbiddenError,
    IdempotencyMismatchError,
    InternalError,
    InvalidRequestError,
    NoAnswerError,
    NotFoundError,
    OutcomeUnknownError,
    OverloadedError,
    RefusedError,
    RevisionUnknownError,
    StateraftError,
    TooLargeError,
    UnauthorizedError,
    UnavailableError,
    UnreachableError,
    VersionConflictError,
)

__all__ = [
    "Agent",
    "AgentEntry",
    "AgentPage",
    "AsyncAgent",
    "AsyncClient",
    "AsyncState",
    "AsyncSubscription",
    "BadResponseError",
    "CheckOp",
    "Client",
    "ClosedError",
    "Consistency",
    "DeleteOp",
    "DiskFullError",
    "Entry",
    "Event",
    "EventType",
    "ForbiddenError",
    "IdempotencyMismatchError",
    "InternalError",
    "InvalidRequestError",
    "NoAnswerError",
    "NotFoundError",
    "Op",
    "OpResult",
    "OutcomeUnknownError",
    "OverloadedError",
    "Page",
    "RawJson",
    "RefusedError",
    "RevisionUnknownError",
    "SetOp",
    "State",
    "StateraftError",
    "Subscription",
    "TooLargeError",
    "Tx",
    "UnauthorizedError",
    "UnavailableError",
    "UnreachableError",
    "VersionConflictError",
]

"""What calls take and return."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

from ._json import Object

Consistency = Literal["linearizable", "stale"]


@dataclass(frozen=True)
class Entry:
    """A key of the State Store as it was read.

    In a value, an integer of more digits than Python makes an int of (4,300) is a
    Decimal; a value that is nested too deeply for Python (about 1,000 levels) is a
    RawJson.
    """

    key: str
    value: Any
    raw: str  # the value's exact text
    version: int
    updated_at: datetime | None  # None if the node did not tell
    expires_at: datetime | None  # None: no end


@dataclass(frozen=True)
class Page:
    """A piece of a list of keys."""

    keys: list[str]
    entries: list[Entry] | None  # with values=True
    next: str | None  # goes into ``after`` for the next page; None: this is the last


@dataclass(frozen=True)
class AgentEntry:
    """A key of Agent State as it was read, with its value as in an Entry."""

    key: str
    value: Any
    raw: str  # the value's exact text
    version: int
    session: str | None  # of the last writer
    created_at: datetime | None
    updated_at: datetime | None
    expires_at: datetime | None  # None: no end


@dataclass(frozen=True)
class AgentPage:
    """A piece of a list of entries."""

    entries: list[AgentEntry]
    next: str | None  # goes into ``after`` for the next page; None: this is the last


@dataclass(frozen=True)
class SetOp:
    """Store ``value`` under ``key``, with a TTL in seconds.

    With ``expected_version`` only if the key is at that version; 0: if it is absent.
    """

    key: str
    value: Any
    ttl: float | None = None
    expected_version: int | None = None


@dataclass(frozen=True)
class DeleteOp:
    """Remove ``key``, with ``expected_version`` only if it is at that version."""

    key: str
    expected_version: int | None = None


@dataclass(frozen=True)
class CheckOp:
    """Let the others happen only if ``key`` is at that version; 0: if it is absent."""

    key: str
    expected_version: int


Op = SetOp | DeleteOp | CheckOp


@dataclass(frozen=True)
class OpResult:
    """What one operation did."""

    version: int  # of the key afterwards, or at which a delete ended it
    deleted: bool | None = None  # of a delete: whether the key was there


@dataclass(frozen=True)
class Tx:
    """The revisions of an atomic write, whose changes became visible together."""

    first: int
    last: int


EventType = Literal["set", "delete", "expire", "resync", "snapshot", "synced"]


@dataclass(frozen=True)
class Event:
    """What a subscription tells. Members that a type does not have are None.

    ``set``, ``delete`` and ``expire`` are changes of a key. The state from the
    start, where it is asked for or the history no longer reaches back, is
    ``resync``, which voids all that was told, then a ``snapshot`` for each
    present key, then ``synced``: it is complete, as of ``revision``. Values are as
    in an Entry.
    """

    type: EventType
    workflow: str | None = None  # in the State Store
    subject: str | None = None  # in Agent State
    key: str | None = None
    old_value: Any = None
    new_value: Any = None
    version: int | None = None  # of the key, with this change
    revision: int | None = None  # of the cluster; each change has its own
    tx: Tx | None = None
    raw_old_value: str | None = None  # exact texts
    raw_new_value: str | None = None


def entry(members: Object, key: str | None = None) -> Entry:
    value = members["value"]
    return Entry(
        key=members["key"].value if key is None else key,
        value=value.value,
        raw=value.raw,
        version=members["version"].value,
        updated_at=_instant(members, "updatedAt"),
        expires_at=_instant(members, "expiresAt"),
    )


def page(members: Object) -> Page:
    entries = _get(members, "entries")
    return Page(
        keys=members["keys"].value,
        entries=None if entries is None else [entry(e) for e in entries],
        next=_get(members, "next"),
    )


def agent_entry(members: Object) -> AgentEntry:
    value = members["value"]
    return AgentEntry(
        key=members["key"].value,
        value=value.value,
        raw=value.raw,
        version=members["version"].value,
        session=_get(members, "session_id"),
        created_at=_instant(members, "created_at"),
        updated_at=_instant(members, "updated_at"),
        expires_at=_instant(members, "expires_at"),
    )


def agent_page(members: Object) -> AgentPage:
    return AgentPage([agent_entry(e) for e in members["data"].value], _get(members, "next"))


def op_results(members: Object) -> list[OpResult]:
    return [OpResult(r["version"], r.get("deleted")) for r in members["results"].value]


def event(members: Object) -> Event:
    """Return a change, or a key of a snapshot."""
    tx: Mapping[str, int] | None = _get(members, "tx")
    return Event(
        type=members["type"].value,
        workflow=_get(members, "workflowId"),
        subject=_get(members, "subject_id"),
        key=members["key"].value,
        old_value=_get(members, "oldValue"),
        new_value=_get(members, "newValue"),
        version=_get(members, "version"),
        revision=_get(members, "revision"),
        tx=Tx(tx["first"], tx["last"]) if tx else None,
        raw_old_value=members["oldValue"].raw if "oldValue" in members else None,
        raw_new_value=members["newValue"].raw if "newValue" in members else None,
    )


def _get(members: Object, name: str) -> Any:
    return members[name].value if name in members else None


def _instant(members: Object, name: str) -> datetime | None:
    text: str | None = _get(members, name)
    return datetime.fromisoformat(text.replace("Z", "+00:00")) if text else None

"""The calls of Agent State: versioned JSON values under (subject, key).

A subject is a user or an agent. Its keys are others than those of the State
Store; the limits are the same.
"""

from __future__ import annotations

from collections.abc import Callable, Generator
from typing import Any

from ._call import perform
from ._follow import Feed, follow
from ._json import encode, join
from ._model import AgentEntry, AgentPage, Consistency, Event, agent_entry, agent_page
from ._options import (
    PAGE_LIMIT,
    advances,
    condition,
    conditional_kind,
    idempotency,
    list_query,
    read_query,
    ttl_member,
)
from ._request import AGENT_PATH, Kind, Request, agent_path, fits_header, subject_header
from ._session import Session
from ._steps import Steps
from .errors import error


class AgentCalls:
    """What `Agent` and `AsyncAgent` do."""

    def __init__(self, session: Session) -> None:
        self._session = session

    def get(
        self, subject: str, key: str, *, consistency: Consistency = "linearizable", min_revision: int = 0
    ) -> Steps[AgentEntry]:
        """Read a key. An absent one is a NotFoundError. The options are those of `State.get`."""
        query, least = read_query(self._session, consistency, min_revision)
        request = Request(Kind.READ, "GET", agent_path(key), query, subject_header(subject), min_revision=least)
        return perform(self._session, request, agent_entry)

    def set(
        self,
        subject: str,
        key: str,
        value: Any,
        ttl: float | None = None,
        *,
        session: str | None = None,
        if_version: int | None = None,
        if_exists: bool = False,
        if_absent: bool = False,
        idempotency_key: str | None = None,
    ) -> Steps[int]:
        """Store a value and return the key's new version. It replaces value, TTL and session.

        ``session`` (at most 256 bytes) says which run writes: it is kept with the
        key, whose name it is no part of. The other options are those of `State.set`.
        """
        headers = subject_header(subject) | condition(if_version, if_exists, if_absent)
        headers |= idempotency(idempotency_key)
        if session:
            if not fits_header(session):
                raise error("INVALID_REQUEST", "session has control characters, or white space at an end")
            headers["X-Session-ID"] = session
        request = Request(
            conditional_kind(idempotency_key, if_version),
            "PUT",
            agent_path(key),
            headers=headers,
            body=join([("value", encode(value)), *ttl_member("ttl_seconds", ttl)]),
        )
        return perform(self._session, request, lambda members: int(members["version"].value))

    def delete(
        self,
        subject: str,
        key: str,
        *,
        if_version: int | None = None,
        if_exists: bool = False,
        if_absent: bool = False,
        idempotency_key: str | None = None,
    ) -> Steps[None]:
        """Remove a key. That there is none is no error. The options are those of `State.set`."""
        headers = subject_header(subject) | condition(if_version, if_exists, if_absent)
        headers |= idempotency(idempotency_key)
        kind = conditional_kind(idempotency_key, if_version)
        request = Request(kind, "DELETE", agent_path(key), headers=headers)
        return perform(self._session, request, lambda _: None)

    def list(
        self,
        subject: str,
        *,
        prefix: str = "",
        after: str = "",
        limit: int | None = None,
        session: str | None = None,
        consistency: Consistency = "linearizable",
        min_revision: int = 0,
    ) -> Steps[AgentPage]:
        """Read one page of a subject's entries, in the order of their keys' bytes.

        ``limit`` is at most 10,000, and 1,000 if it is not given. ``session``
        leaves those that another session wrote last out; ``""``: that any did.
        """
        query, least = read_query(self._session, consistency, min_revision)
        query |= list_query(prefix=prefix, after=after, limit=limit, reverse=False, values=False)
        if session is not None:
            query["session_id"] = session
        request = Request(
            Kind.READ, "GET", AGENT_PATH, query, subject_header(subject), min_revision=least, lists=("data",)
        )
        return perform(self._session, request, agent_page)

    def pages(
        self,
        subject: str,
        *,
        prefix: str = "",
        after: str = "",
        limit: int | None = None,
        session: str | None = None,
        consistency: Consistency = "linearizable",
        min_revision: int = 0,
    ) -> Generator[Steps[AgentPage], AgentPage, None]:
        """Read a list to its end, page by page, as `State.pages` does."""
        at: str | None = after
        while at is not None:
            piece = yield self.list(
                subject,
                prefix=prefix,
                after=at,
                limit=limit or PAGE_LIMIT,
                session=session,
                consistency=consistency,
                min_revision=min_revision,
            )
            at = advances(at, piece.next)

    def subscribe(
        self,
        subject: str,
        key: str,
        callback: Callable[[Event], object] | None = None,
        *,
        snapshot: bool = False,
        from_revision: int | None = None,
        give_up_after: float | None = None,
        on_error: Callable[[Exception], object] | None = None,
    ) -> Feed:
        """Tell the changes of a key, as `State.subscribe` does."""
        events = follow(
            self._session,
            agent_path(key),
            headers=subject_header(subject),
            snapshot=snapshot,
            from_revision=from_revision,
            give_up_after=give_up_after,
        )
        return Feed(events, callback, on_error)

    def subscribe_subject(
        self,
        subject: str,
        callback: Callable[[Event], object] | None = None,
        *,
        prefix: str = "",
        snapshot: bool = False,
        from_revision: int | None = None,
        give_up_after: float | None = None,
        on_error: Callable[[Exception], object] | None = None,
    ) -> Feed:
        """Do as `subscribe` does, for all keys of a subject that begin with ``prefix``."""
        events = follow(
            self._session,
            AGENT_PATH,
            headers=subject_header(subject),
            prefix=prefix,
            snapshot=snapshot,
            from_revision=from_revision,
            give_up_after=give_up_after,
        )
        return Feed(events, callback, on_error)

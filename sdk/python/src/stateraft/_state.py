"""The calls of the State Store: versioned JSON values under (workflow, key).

Keys are 1 to 512 bytes of UTF-8, workflows 1 to 256; values are any JSON up to
1 MiB, unless the cluster is configured otherwise. What breaks these limits is
an InvalidRequestError or a TooLargeError.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from typing import Any

from ._call import perform
from ._follow import Feed, follow
from ._json import encode, join
from ._model import CheckOp, Consistency, Entry, Event, Op, OpResult, Page, SetOp, entry, op_results, page
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
from ._request import Kind, Request, key_path, workflow_path
from ._session import Session
from ._steps import Steps


class StateCalls:
    """What `State` and `AsyncState` do."""

    def __init__(self, session: Session) -> None:
        self._session = session

    def get(
        self, workflow: str, key: str, *, consistency: Consistency = "linearizable", min_revision: int = 0
    ) -> Steps[Entry]:
        """Read a key. An absent one is a NotFoundError.

        A ``stale`` read is answered by the node at hand from what it has, and is
        never older than what this client has seen. ``min_revision`` has the node
        answer only from that revision of the cluster on; see `Client.revision`.
        """
        query, least = read_query(self._session, consistency, min_revision)
        request = Request(Kind.READ, "GET", key_path(workflow, key), query, min_revision=least)
        return perform(self._session, request, lambda members: entry(members, key))

    def set(
        self,
        workflow: str,
        key: str,
        value: Any,
        ttl: float | None = None,
        *,
        if_version: int | None = None,
        if_exists: bool = False,
        if_absent: bool = False,
        idempotency_key: str | None = None,
        return_current: bool = False,
    ) -> Steps[int]:
        """Store a value and return the key's new version. It replaces value and TTL.

        ``ttl`` is in seconds; None or 0: no end. Of the conditions at most one is
        given; one that does not hold is a VersionConflictError, which
        ``return_current`` has carry the present value. ``if_version=0`` is
        ``if_absent``.

        ``idempotency_key`` (1 to 255 visible ASCII characters) makes the write
        safe to send again: for 10 minutes the same key and request get the first
        answer and have no second effect.
        """
        headers = condition(if_version, if_exists, if_absent) | idempotency(idempotency_key)
        request = Request(
            conditional_kind(idempotency_key, if_version),
            "POST",
            key_path(workflow, key),
            {"returnCurrent": "true"} if return_current else {},
            headers,
            join([("value", encode(value)), *ttl_member("ttl", ttl)]),
        )
        return perform(self._session, request, _version)

    def set_with_version(
        self,
        workflow: str,
        key: str,
        value: Any,
        expected_version: int,
        *,
        ttl: float | None = None,
        idempotency_key: str | None = None,
        return_current: bool = False,
    ) -> Steps[int]:
        """Store a value if the key is at that version (0: absent), and return the new one.

        Else it is a VersionConflictError, which tells the current version. The
        options are those of `set`.
        """
        members = [("value", encode(value)), *ttl_member("ttl", ttl), ("expectedVersion", encode(expected_version))]
        request = Request(
            conditional_kind(idempotency_key, expected_version),
            "POST",
            key_path(workflow, key) + "/version",
            {"returnCurrent": "true"} if return_current else {},
            idempotency(idempotency_key),
            join(members),
        )
        return perform(self._session, request, _version)

    def delete(
        self,
        workflow: str,
        key: str,
        *,
        if_version: int | None = None,
        if_exists: bool = False,
        if_absent: bool = False,
        idempotency_key: str | None = None,
        return_current: bool = False,
    ) -> Steps[bool]:
        """Remove a key, and return whether it was there. The options are those of `set`."""
        request = Request(
            conditional_kind(idempotency_key, if_version),
            "DELETE",
            key_path(workflow, key),
            {"returnCurrent": "true"} if return_current else {},
            condition(if_version, if_exists, if_absent) | idempotency(idempotency_key),
        )
        return perform(self._session, request, lambda members: bool(members["deleted"].value))

    def list(
        self,
        workflow: str,
        *,
        prefix: str = "",
        after: str = "",
        limit: int | None = None,
        reverse: bool = False,
        values: bool = False,
        consistency: Consistency = "linearizable",
        min_revision: int = 0,
    ) -> Steps[Page]:
        """Read one page of a workflow's keys, in the order of their bytes.

        Keys begin with ``prefix`` and come behind ``after`` in the direction of
        the list. Without a ``limit`` a page has all keys, or 1,000 with
        ``values``, which adds entries: 10,000 or 4 MiB of them at most.
        """
        query, least = read_query(self._session, consistency, min_revision)
        query |= list_query(prefix=prefix, after=after, limit=limit, reverse=reverse, values=values)
        path = workflow_path(workflow)
        request = Request(Kind.READ, "GET", path, query, min_revision=least, lists=("entries",))
        return perform(self._session, request, page)

    def pages(
        self,
        workflow: str,
        *,
        prefix: str = "",
        after: str = "",
        limit: int | None = None,
        reverse: bool = False,
        values: bool = False,
        consistency: Consistency = "linearizable",
        min_revision: int = 0,
    ) -> Generator[Steps[Page], Page, None]:
        """Read a list to its end, page by page, of 1,000 keys unless ``limit`` is given.

        Each page is read when it is asked for, so keys that change meanwhile may
        be seen as they were or as they became; each comes at most once.
        """
        at: str | None = after
        while at is not None:
            piece = yield self.list(
                workflow,
                prefix=prefix,
                after=at,
                limit=limit or PAGE_LIMIT,
                reverse=reverse,
                values=values,
                consistency=consistency,
                min_revision=min_revision,
            )
            at = advances(at, piece.next)

    def atomic(
        self,
        workflow: str,
        ops: Sequence[Op],
        *,
        idempotency_key: str | None = None,
        return_current: bool = False,
    ) -> Steps[Sequence[OpResult]]:
        """Carry out up to 128 operations of at most 4 MiB on different keys.

        All or none happen, and are visible together. A condition that does not
        hold is a VersionConflictError, whose ``op`` is the index of the first
        such operation. Results are in the order of ``ops``.
        """
        # It can happen once at most if one of its operations ends the version that it is for.
        once = any(op.expected_version for op in ops if not isinstance(op, CheckOp))
        request = Request(
            conditional_kind(idempotency_key, 1 if once else None),
            "POST",
            workflow_path(workflow),
            {"returnCurrent": "true"} if return_current else {},
            idempotency(idempotency_key),
            join([("ops", "[" + ",".join(map(_op, ops)) + "]")]),
        )
        return perform(self._session, request, op_results)

    def subscribe(
        self,
        workflow: str,
        key: str,
        callback: Callable[[Event], object] | None = None,
        *,
        snapshot: bool = False,
        from_revision: int | None = None,
        give_up_after: float | None = None,
        on_error: Callable[[Exception], object] | None = None,
    ) -> Feed:
        """Tell the changes of a key, which need not exist: each once, whole and in order.

        Without a callback the subscription is iterated over. It tells what comes
        after this has returned; with ``snapshot`` first the present state, or
        what came after ``from_revision``.

        A stream that breaks is resumed, at another endpoint if there is one. That
        no node is within reach ends it only after ``give_up_after`` seconds, if
        that is given; an answer that asking again would not change does at once.
        What ends it goes to ``on_error``, or is logged, or is raised by the
        iteration. Close the subscription, or use it in a ``with``.
        """
        path = key_path(workflow, key) + "/stream"
        events = follow(
            self._session, path, snapshot=snapshot, from_revision=from_revision, give_up_after=give_up_after
        )
        return Feed(events, callback, on_error)

    def subscribe_workflow(
        self,
        workflow: str,
        callback: Callable[[Event], object] | None = None,
        *,
        prefix: str = "",
        snapshot: bool = False,
        from_revision: int | None = None,
        give_up_after: float | None = None,
        on_error: Callable[[Exception], object] | None = None,
    ) -> Feed:
        """Do as `subscribe` does, for all keys of a workflow that begin with ``prefix``."""
        events = follow(
            self._session,
            workflow_path(workflow),
            prefix=prefix,
            snapshot=snapshot,
            from_revision=from_revision,
            give_up_after=give_up_after,
        )
        return Feed(events, callback, on_error)


def _version(members: Any) -> int:
    version: int = members["version"].value
    return version


def _op(op: Op) -> str:
    name = "set" if isinstance(op, SetOp) else "check" if isinstance(op, CheckOp) else "delete"
    members = [("op", encode(name)), ("key", encode(op.key))]
    if isinstance(op, SetOp):
        members += [("value", encode(op.value)), *ttl_member("ttl", op.ttl)]
    if op.expected_version is not None:
        members.append(("expectedVersion", encode(op.expected_version)))
    return join(members)

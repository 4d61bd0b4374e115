"""Options that several calls have."""

from __future__ import annotations

import math

from ._json import encode
from ._model import Consistency
from ._request import Kind, fits_header
from ._session import Session
from .errors import error

PAGE_LIMIT = 1000


def read_query(session: Session, consistency: Consistency, min_revision: int) -> tuple[dict[str, str], int]:
    """Return the query and the least revision of a read."""
    if consistency == "linearizable":
        return {}, min_revision
    if consistency != "stale":
        raise error("INVALID_REQUEST", f"consistency is linearizable or stale, not {consistency!r}")
    seen = session.revision.seen if session.read_your_writes else 0
    return {"consistency": "stale"}, max(min_revision, seen)


def list_query(*, prefix: str, after: str, limit: int | None, reverse: bool, values: bool) -> dict[str, str]:
    query = {"prefix": prefix, "after": after, "limit": str(limit or "")}
    query |= {"reverse": "true" if reverse else "", "values": "true" if values else ""}
    return {name: value for name, value in query.items() if value}


def advances(after: str, following: str | None) -> str | None:
    """Return where the next page begins. A list that stands still would never end."""
    if following is not None and following == after:
        raise error("BAD_RESPONSE", "the list does not advance")
    return following


def condition(if_version: int | None, if_exists: bool, if_absent: bool) -> dict[str, str]:
    """Return the header that the key must satisfy."""
    if (if_version is not None) + if_exists + if_absent > 1:
        raise error("INVALID_REQUEST", "if_version, if_exists and if_absent exclude each other")
    if if_absent or if_version == 0:
        return {"If-None-Match": "*"}
    if if_exists:
        return {"If-Match": "*"}
    return {} if if_version is None else {"If-Match": f'"{if_version}"'}


def idempotency(key: str | None) -> dict[str, str]:
    if key is None:
        return {}
    if not key or not fits_header(key):
        raise error(
            "INVALID_REQUEST", "an idempotency key is empty, or has control characters or white space at an end"
        )
    return {"Idempotency-Key": key}


def conditional_kind(idempotency_key: str | None, version: int | None) -> Kind:
    """Return the kind of a write that is for one version, unless that is None or 0."""
    if idempotency_key:
        return Kind.KEYED
    return Kind.VERSIONED if version else Kind.WRITE


def ttl_member(name: str, ttl: float | None) -> list[tuple[str, str]]:
    """Return the member for a TTL in seconds, in steps of 1 ms, rounded up; None and 0 are no end."""
    if not ttl:
        return []
    if ttl > 0 and math.isfinite(ttl):
        ttl = math.ceil(ttl * 1000) / 1000
    return [(name, encode(int(ttl) if math.isfinite(ttl) and ttl == int(ttl) else ttl))]

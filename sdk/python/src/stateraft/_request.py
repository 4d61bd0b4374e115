"""Requests, and what of a call may go into one."""

from __future__ import annotations

import enum
from collections.abc import Mapping
from dataclasses import dataclass, field
from urllib.parse import quote, urlencode

from .errors import StateraftError, error

AGENT_PATH = "/api/v1/state"
EVENT_STREAM = "text/event-stream"

# Half of a surrogate pair has no UTF-8: it goes out as it is, for the node to refuse.
_ERRORS = "surrogatepass"


class Kind(enum.Enum):
    """What would come of sending a call twice."""

    READ = "read"
    WRITE = "write"  # it could happen twice, or undo what came between
    VERSIONED = "versioned"  # on condition of one version, which never comes back: once at most
    KEYED = "keyed"  # with an idempotency key: the second time, it gets the first answer
    PROBE = "probe"  # a question to one node, asked once


@dataclass(frozen=True)
class Request:
    """One call, however often it is sent."""

    kind: Kind
    method: str
    path: str  # escaped
    query: Mapping[str, str] = field(default_factory=dict)
    headers: Mapping[str, str] = field(default_factory=dict)
    body: str | None = None
    min_revision: int = 0
    lists: tuple[str, ...] = ()  # members of the answer that are lists of objects

    @property
    def target(self) -> str:
        return f"{self.path}?{urlencode(self.query, errors=_ERRORS)}" if self.query else self.path


def workflow_path(workflow: str) -> str:
    return "/v1/state/" + _segment("workflow", workflow)


def key_path(workflow: str, key: str) -> str:
    return workflow_path(workflow) + "/" + _segment("key", key)


def agent_path(key: str) -> str:
    """Return the path of a key, none of whose segments may be ``.`` or ``..``."""
    for segment in key.split("/"):
        if segment:
            _check("a segment of the key", segment)
    return AGENT_PATH + "/" + _segment("key", key)


def subject_header(subject: str) -> dict[str, str]:
    """Refuse what is no subject, or would be another one once it has travelled."""
    _check("subject", subject)
    if not fits_header(subject):
        raise _invalid_key("subject has control characters, or white space at an end")
    return {"X-Subject-ID": subject}


def fits_header(text: str) -> bool:
    """Tell whether a text arrives as it is when it travels in a header."""
    return text.strip(" \t") == text and not any(c < " " or c == "\x7f" for c in text)


def encode_headers(headers: Mapping[str, str]) -> list[tuple[bytes, bytes]]:
    return [(name.encode(), value.encode(errors=_ERRORS)) for name, value in headers.items()]


def _segment(member: str, text: str) -> str:
    _check(member, text)
    return quote(text, safe="", errors=_ERRORS)


def _check(member: str, text: str) -> None:
    """Refuse what a server on the way could take for another path."""
    if text in ("", ".", ".."):
        raise _invalid_key(f"{member} is empty" if not text else f"{member} is {text!r}, which is not allowed")


def _invalid_key(message: str) -> StateraftError:
    return error("INVALID_KEY", message)

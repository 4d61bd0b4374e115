"""How a thread lies in the store.

A thread is a workflow. In its keys NS is a checkpoint namespace:

    h/NS                  the head: {"id"} of the checkpoint that was put last; null: the first is still to come
    c/NS/ID               a checkpoint without its channels' values
    b/NS/CHANNEL/VERSION  a channel's value
    w/NS/ID/TASK/INDEX    a pending write of a checkpoint
    x/TOKEN/N             a piece of a document, see _documents

The threads themselves are the keys of one more workflow.
"""

from __future__ import annotations

import base64
import hashlib
from urllib.parse import quote


def head_key(ns: str) -> str:
    return f"h/{_segment(ns)}"


def checkpoint_key(ns: str, checkpoint_id: str) -> str:
    return f"c/{_segment(ns)}/{_segment(checkpoint_id)}"


def blob_key(ns: str, channel: str, version: object) -> str:
    return f"b/{_segment(ns)}/{_segment(channel)}/{_segment(str(version))}"


def writes_prefix(ns: str, checkpoint_id: str, task_id: str | None = None) -> str:
    prefix = f"w/{_segment(ns)}/{_segment(checkpoint_id)}/"
    return prefix if task_id is None else f"{prefix}{_segment(task_id)}/"


def _segment(text: str) -> str:
    """Return a text as a piece of a key, which has 512 bytes in all."""
    escaped = quote(text, safe=":|")
    return escaped if len(escaped) <= 120 else "%" + hashlib.sha256(text.encode()).hexdigest()


def to_json(typed: tuple[str, bytes]) -> list[str]:
    return [typed[0], base64.b64encode(typed[1]).decode()]


def from_json(typed: list[str]) -> tuple[str, bytes]:
    return typed[0], base64.b64decode(typed[1])

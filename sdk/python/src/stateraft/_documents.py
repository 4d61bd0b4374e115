"""Documents of any size, and writes of any number of operations, within a node's limits.

A document that is too long for one value lies in pieces, under keys x/TOKEN/N,
that are written before what refers to them and never change.
"""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from ._json import RawJson
from ._model import DeleteOp, Entry, Op, SetOp

# Values have 1 MiB, which a text of quotes and backslashes reaches at twice its
# length; atomic writes have 128 operations and 4 MiB.
PIECE_CHARS = 480 << 10
MOST_OPS = 128
MOST_CHARS = 3 << 20

Document = Any  # what JSON can hold


class RemovedError(ValueError):
    """Something is missing of what was being read: it was removed meanwhile."""


def put_document(key: str, document: Document) -> tuple[SetOp, list[SetOp]]:
    """Return what stores a document, and the pieces that must be there before."""
    text = json.dumps(document, separators=(",", ":"))
    if len(text) <= PIECE_CHARS:
        # Half of a surrogate pair has no UTF-8, and travels as an escape, as it does in pieces.
        return SetOp(key, RawJson(text) if r"\ud" in text else document), []
    token = uuid.uuid4().hex
    pieces = [text[i : i + PIECE_CHARS] for i in range(0, len(text), PIECE_CHARS)]
    keys = piece_keys({"token": token, "pieces": len(pieces)})
    return SetOp(key, {"token": token, "pieces": len(pieces)}), [SetOp(*op) for op in zip(keys, pieces, strict=True)]


def piece_keys(stored: Document) -> list[str]:
    """Return where the pieces of a document are; none if it is whole."""
    if not isinstance(stored, dict) or "token" not in stored:
        return []
    return [f"x/{stored['token']}/{n}" for n in range(stored["pieces"])]


def batches(ops: Iterable[Op]) -> Iterator[list[Op]]:
    """Divide operations into as many as one atomic write takes."""
    batch: list[Op] = []
    size = 0
    for op in ops:
        length = op_chars(op)
        if batch and (len(batch) == MOST_OPS or size + length > MOST_CHARS):
            yield batch
            batch, size = [], 0
        batch.append(op)
        size += length
    if batch:
        yield batch


def op_chars(op: Op) -> int:
    length = 0
    if isinstance(op, SetOp):
        length = len(op.value.text if isinstance(op.value, RawJson) else json.dumps(op.value))
    return length + 2 * len(op.key) + 100


def deletes(keys: Iterable[str]) -> list[DeleteOp]:
    return [DeleteOp(key) for key in keys]


def join_pieces(pieces: Sequence[Entry | None]) -> Document:
    """Raises RemovedError if pieces are missing: what is left may look like a document."""
    there = [piece.value for piece in pieces if piece]
    if len(there) < len(pieces):
        raise RemovedError("pieces of a document are missing")
    return json.loads("".join(there))

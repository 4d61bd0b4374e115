"""JSON with the exact text of values."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, NamedTuple, NoReturn

from .errors import error


@dataclass(frozen=True)
class RawJson:
    """A value as JSON text, which is stored with every digit, member and escape.

    It stands in place of a whole value, not within one. A value that is nested too
    deeply for Python is read as one.
    """

    text: str


class Member(NamedTuple):
    """A member of an object that was parsed."""

    value: Any
    raw: str  # the value's text


Object = dict[str, Member]


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is no JSON")


def _integer(digits: str) -> int | Decimal:
    """Return an integer; as a Decimal if it has more digits than Python makes an int of."""
    try:
        return int(digits)
    except ValueError:
        return Decimal(digits)


_DECODER = json.JSONDecoder(parse_constant=_refuse_constant, parse_int=_integer)
# Checks a text without making numbers of it, however many digits they have.
_CHECKER = json.JSONDecoder(parse_constant=_refuse_constant, parse_int=str, parse_float=str)
_SPACE = re.compile(r"[ \t\n\r]*")
_STRING_OR_BRACKET = re.compile(r'"[^"\\]*(?:\\.[^"\\]*)*"|[][{}]')
_DEEPER = {"[": 1, "{": 1, "]": -1, "}": -1}


def encode(value: Any) -> str:
    """Return the JSON text of a value. One that has none is INVALID_REQUEST."""
    try:
        if isinstance(value, RawJson):
            _CHECKER.decode(value.text)
            text = value.text
        else:
            text = json.dumps(value, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
        text.encode()  # a lone surrogate has no UTF-8
    except (TypeError, ValueError, RecursionError) as e:
        raise error("INVALID_REQUEST", f"encode value: {e}") from e
    return text


def join(members: Iterable[tuple[str, str]]) -> str:
    """Return the object whose members have these names and texts."""
    return "{" + ",".join(f'"{name}":{text}' for name, text in members) + "}"


def parse(body: bytes, *lists: str) -> Object:
    """Parse a body that is an object; members named in ``lists`` are lists of objects.

    Raises ValueError or RecursionError if it is something else.
    """
    text = body.decode()
    members, end = _object(text, _skip(text, 0), lists)
    if _skip(text, end) != len(text):
        raise ValueError("more than one value")
    return members


def _object(text: str, at: int, lists: tuple[str, ...]) -> tuple[Object, int]:
    """Parse the object that begins at ``at``; return it and where it ends."""
    members: Object = {}
    at = _expect(text, at, "{")
    while not text.startswith("}", at):
        if members:
            at = _expect(text, at, ",")
        name, at = _DECODER.raw_decode(text, at)
        if not isinstance(name, str):
            raise ValueError(f"no name at {at}")
        begin = at = _expect(text, _skip(text, at), ":")
        if name in lists and text.startswith("[", at):
            value, at = _list(text, at)
        else:
            value, at = _value(text, at)
        members[name] = Member(value, text[begin:at])
        at = _skip(text, at)
    return members, at + 1


def _list(text: str, at: int) -> tuple[list[Object], int]:
    items: list[Object] = []
    at = _expect(text, at, "[")
    while not text.startswith("]", at):
        if items:
            at = _expect(text, at, ",")
        item, at = _object(text, at, ())
        items.append(item)
        at = _skip(text, at)
    return items, at + 1


def _value(text: str, at: int) -> tuple[Any, int]:
    """Parse the value that begins at ``at``; one that is nested too deeply for Python stays text."""
    try:
        return _DECODER.raw_decode(text, at)
    except RecursionError:
        end = _nested_end(text, at)
        return RawJson(text[at:end]), end


def _nested_end(text: str, at: int) -> int:
    """Return where the object or list that begins at ``at`` ends."""
    depth = 0
    for token in _STRING_OR_BRACKET.finditer(text, at):
        depth += _DEEPER.get(token[0], 0)
        if depth == 0:
            return token.end()
    raise ValueError(f"no end of the value at {at}")


def _expect(text: str, at: int, sign: str) -> int:
    """Pass over a sign and the white space behind it."""
    if not text.startswith(sign, at):
        raise ValueError(f"{sign!r} is missing at {at}")
    return _skip(text, at + 1)


def _skip(text: str, at: int) -> int:
    return _SPACE.match(text, at).end()  # type: ignore[union-attr]  # it always matches

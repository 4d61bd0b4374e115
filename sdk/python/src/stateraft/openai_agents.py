"""A session of the OpenAI Agents SDK on Stateraft: ``pip install stateraft[openai-agents]``.

    async with AsyncClient("http://127.0.0.1:7474") as client:
        session = StateraftSession("conversation-1", client)
        await Runner.run(agent, "Hello", session=session)

Any number of processes may share a session. The items of one `add_items` stay
together, and come after all that was added before it was called.

A session is a workflow, with these keys:

    i/NUMBER    a list of items that were added together
    x/TOKEN/N   a piece of a list that is too long for one value, see _documents

The first piece of a list comes together with what refers to it, the others before:
without the first they are of a list that is being added, or that never was.
"""

from __future__ import annotations

import asyncio
import random
import uuid
from collections.abc import AsyncIterator, Sequence
from typing import Any

from agents.items import TResponseInputItem
from agents.memory import SessionSettings
from agents.memory.session_settings import resolve_session_limit

from ._async import AsyncClient, map_concurrently
from ._documents import batches, deletes, join_pieces, piece_keys, put_document
from ._model import CheckOp, DeleteOp, Entry, Op, OpResult, SetOp
from ._names import check_prefix
from .errors import StateraftError, VersionConflictError, error

__all__ = ["StateraftSession"]

# A write that is refused makes way for another one that was not.
MOST_TRIES = 1000
MOST_PAUSE = 0.2  # seconds between them

_PAGE = 100
_ITEMS = "i/"


class StateraftSession:
    """The items of one conversation, of at most 240 bytes as its name.

    ``prefix`` begins the name of its workflow, and has no colon: sessions with
    different prefixes share nothing. The client stays the caller's to close.
    """

    def __init__(
        self,
        session_id: str,
        client: AsyncClient,
        *,
        prefix: str = "openai-agents",
        session_settings: SessionSettings | None = None,
    ) -> None:
        self.session_id = session_id
        self.session_settings = session_settings or SessionSettings()
        self._state = client.state
        self._workflow = f"{check_prefix(prefix)}:{session_id}"

    async def get_items(self, limit: int | None = None) -> list[TResponseInputItem]:
        """Return the last ``limit`` items, or those that the settings say, or all, the oldest first."""
        most = resolve_session_limit(limit, self.session_settings)
        lists: list[list[TResponseInputItem]] = []
        found = 0
        async for entry in self._newest_first():
            if most is not None and found >= most:
                break
            lists.append(await self._items(entry))
            found += len(lists[-1])
        items = [item for together in reversed(lists) for item in together]
        return items if most is None else items[max(len(items) - most, 0) :]

    async def add_items(self, items: list[TResponseInputItem]) -> None:
        """Add items behind all others, all or none. Of writers at the same time each gets its turn."""
        if not items:
            return
        stored, others = await self._put_pieces(items)
        for attempt in range(MOST_TRIES):
            try:
                await self._write([SetOp(await self._next_key(), stored, expected_version=0), *others])
            except VersionConflictError as e:
                if e.op:  # the key was free, but the session was cleared, and the pieces with it
                    stored, others = await self._put_pieces(items)
                await _make_way(attempt)
            else:
                return
        raise _crowded()

    async def pop_item(self) -> TResponseInputItem | None:
        """Remove the last item and return it; None if there is none."""
        for attempt in range(MOST_TRIES):
            page = await self._state.list(self._workflow, prefix=_ITEMS, reverse=True, limit=1, values=True)
            if not page.entries:
                return None
            entry = page.entries[0]
            items = await self._items(entry)
            try:
                await self._replace(entry, items[:-1])
            except VersionConflictError:
                await _make_way(attempt)
            else:
                return items[-1]
        raise _crowded()

    async def clear_session(self) -> None:
        """Remove all items. Those that are added meanwhile may stay."""
        for attempt in range(MOST_TRIES):
            page = await self._state.list(self._workflow)
            try:
                for batch in batches(_removal(page.keys)):
                    await self._write(batch)
            except VersionConflictError:
                await _make_way(attempt)
            else:
                return
        raise _crowded()

    async def _newest_first(self) -> AsyncIterator[Entry]:
        async for page in self._state.pages(self._workflow, prefix=_ITEMS, reverse=True, values=True, limit=_PAGE):
            for entry in page.entries or []:
                yield entry

    async def _next_key(self) -> str:
        page = await self._state.list(self._workflow, prefix=_ITEMS, reverse=True, limit=1)
        last = int(page.keys[0].removeprefix(_ITEMS)) if page.keys else 0
        return f"{_ITEMS}{last + 1:016}"

    async def _items(self, entry: Entry) -> list[TResponseInputItem]:
        keys = piece_keys(entry.value)
        if not keys:
            whole: list[TResponseInputItem] = entry.value
            return whole
        pieces = await map_concurrently(lambda key: self._state.get(self._workflow, key), keys)
        joined: list[TResponseInputItem] = join_pieces(pieces)
        return joined

    async def _replace(self, entry: Entry, items: list[TResponseInputItem]) -> None:
        """Put a list in place of one that was read, and is still there. Its pieces stay for who reads them."""
        if items:
            stored, others = await self._put_pieces(items)
            await self._write([SetOp(entry.key, stored, expected_version=entry.version), *others])
        else:
            await self._write([DeleteOp(entry.key, expected_version=entry.version)])

    async def _put_pieces(self, items: list[TResponseInputItem]) -> tuple[Any, list[Op]]:
        """Write all pieces of a list but the first, if it is in pieces.

        Return what refers to the list, and what has to be written with that: the first
        piece, if the second is still there.
        """
        main, pieces = put_document(_ITEMS, list(items))
        if not pieces:
            return main.value, []
        first, *early = pieces
        written = [await self._write(batch) for batch in batches(early)]
        return main.value, [first, CheckOp(early[0].key, written[0][0].version)]

    async def _write(self, ops: Sequence[Op]) -> Sequence[OpResult]:
        return await self._state.atomic(self._workflow, ops, idempotency_key=uuid.uuid4().hex)


def _removal(keys: Sequence[str]) -> list[Op]:
    """Return what removes keys, lists before their pieces.

    From a list that is being added the second piece goes first, if the first has not
    come yet: that list is refused then.
    """
    there = set(keys)
    ops: list[Op] = []
    for key in keys:
        token, _, number = key.rpartition("/")
        if key.startswith("x/") and number == "1" and f"{token}/0" not in there:
            ops += [CheckOp(f"{token}/0", 0), DeleteOp(key)]
            there.remove(key)
    return ops + deletes(key for key in keys if key in there)


def _crowded() -> StateraftError:
    return error("VERSION_CONFLICT", f"other writers were first {MOST_TRIES} times in a row")


async def _make_way(attempt: int) -> None:
    await asyncio.sleep(random.uniform(0, min(0.002 * 2 ** min(attempt, 10), MOST_PAUSE)))

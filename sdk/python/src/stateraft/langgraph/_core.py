"""What the savers do, without input and output.

A plan yields batches of calls that do not depend on each other, and is sent
their results: None for a key that is not there.
"""

from __future__ import annotations

import copy
import random
import threading
import uuid
from collections import OrderedDict
from collections.abc import Callable, Generator, Iterable, Mapping, Sequence
from contextlib import suppress
from functools import partial
from typing import Any, TypeVar, cast
from urllib.parse import unquote

from langchain_core.runnables import RunnableConfig
from langgraph.checkpoint.base import (
    WRITES_IDX_MAP,
    BaseCheckpointSaver,
    ChannelVersions,
    Checkpoint,
    CheckpointMetadata,
    CheckpointTuple,
    DeltaChannelHistory,
    PendingWrite,
    get_checkpoint_id,
    get_serializable_checkpoint_metadata,
    writes_sort_key,
)
from langgraph.checkpoint.serde.base import SerializerProtocol
from langgraph.checkpoint.serde.types import TASKS

from .._documents import (
    MOST_CHARS,
    MOST_OPS,
    Document,
    RemovedError,
    batches,
    deletes,
    join_pieces,
    op_chars,
    piece_keys,
    put_document,
)
from .._model import CheckOp, DeleteOp, Entry, Op, OpResult, Page, SetOp
from .._names import check_prefix
from .._state import StateCalls
from .._steps import Steps
from ..errors import VersionConflictError, error
from ._layout import blob_key, checkpoint_key, from_json, head_key, to_json, writes_prefix

T = TypeVar("T")
Plan = Generator[list[Steps[Any]], list[Any], T]
Config = RunnableConfig | dict[str, Any]

MOST_REMEMBERED = 10_000
MOST_TRIES = 10  # of a removal that finds a head moved, or a read that something is removed from
_ORDER = ("h/", "c/", "w/", "b/", "x/")  # what refers to something, before what it refers to


class _Heads:
    """The versions of heads as writers have seen them.

    A writer goes on from a checkpoint that it has read or put, and has seen the
    version of the head with it. Its next checkpoint is for that version: if
    another writer has put one meanwhile, it is refused.
    """

    def __init__(self) -> None:
        self._seen: OrderedDict[tuple[str, str, str | None], int] = OrderedDict()
        self._lock = threading.Lock()

    def remember(self, thread: str, ns: str, checkpoint_id: str | None, version: int) -> None:
        with self._lock:
            self._seen[thread, ns, checkpoint_id] = version
            if len(self._seen) > MOST_REMEMBERED:
                self._seen.popitem(last=False)

    def forget(self, thread: str, ns: str, checkpoint_id: str | None) -> None:
        with self._lock:
            self._seen.pop((thread, ns, checkpoint_id), None)

    def seen(self, thread: str, ns: str, *checkpoint_ids: str | None) -> int | None:
        """Return the version seen with the first of the checkpoints that one was seen with."""
        with self._lock:
            versions = (self._seen.get((thread, ns, checkpoint_id)) for checkpoint_id in checkpoint_ids)
            return next((version for version in versions if version is not None), None)


class Core(BaseCheckpointSaver[str]):
    """The plans of a saver."""

    def __init__(self, calls: StateCalls, prefix: str, serde: SerializerProtocol | None) -> None:
        super().__init__(serde=serde)
        self._calls = calls
        self._prefix = check_prefix(prefix)
        self._heads = _Heads()

    def get_next_version(self, current: str | int | None, channel: None) -> str:  # noqa: ARG002
        """Return a version that another writer does not give to another value."""
        number = current if isinstance(current, int) else int(current.partition(".")[0]) if current else 0
        return f"{number + 1:032}.{random.random():016}"

    # Reading

    def get_delta_channel_history(
        self, *, config: RunnableConfig, channels: Sequence[str]
    ) -> Mapping[str, DeltaChannelHistory]:
        return BaseCheckpointSaver.get_delta_channel_history(self._onlooker(), config=config, channels=channels)

    async def aget_delta_channel_history(
        self, *, config: RunnableConfig, channels: Sequence[str]
    ) -> Mapping[str, DeltaChannelHistory]:
        return await BaseCheckpointSaver.aget_delta_channel_history(self._onlooker(), config=config, channels=channels)

    def _onlooker(self) -> Core:
        """Return a saver that reads what this one does, and lets nobody go on from it."""
        onlooker = copy.copy(self)
        onlooker._heads = _Heads()
        return onlooker

    def _plan_get(self, config: Config) -> Plan[CheckpointTuple | None]:
        if _thread(config) is None:
            return None
        return (yield from self._again(partial(self._get_tuple, config)))

    def _get_tuple(self, config: Config) -> Plan[CheckpointTuple | None]:
        thread, ns = _place(config)
        wanted = get_checkpoint_id(cast(RunnableConfig, config))
        head = (yield [self._get(thread, head_key(ns))])[0]
        version = head.version if head else 0
        checkpoint_id = wanted or (head.value["id"] if head else None)
        self._heads.remember(thread, ns, checkpoint_id, version)
        if checkpoint_id is None:
            return None
        self._heads.forget(thread, ns, None)  # the thread is not empty any more
        record = (yield from self._documents(thread, [checkpoint_key(ns, checkpoint_id)]))[0]
        if not record and not wanted:
            raise RemovedError(f"the checkpoint of the head is missing: {checkpoint_id}")
        return (yield from self._tuple(thread, checkpoint_id, record)) if record else None

    def _tuple(self, thread: str, checkpoint_id: str, record: Document) -> Plan[CheckpointTuple]:
        """Read what belongs to a checkpoint. Raises RemovedError if it is removed meanwhile."""
        ns, parent = record["ns"], record["parent"]
        checkpoint: Checkpoint = self._load(record["checkpoint"])
        pending = yield from self._writes(thread, ns, checkpoint_id)
        channels = list(checkpoint["channel_versions"].items())
        blobs = yield from self._documents(thread, [blob_key(ns, *channel) for channel in channels])
        # A channel may have a version and no value. But values also go with their checkpoint, after it.
        if None in blobs and not (yield [self._get(thread, checkpoint_key(ns, checkpoint_id))])[0]:
            raise RemovedError(f"the checkpoint is removed: {checkpoint_id}")
        values = {
            channel: self._load(blob) for (channel, _), blob in zip(channels, blobs, strict=True) if blob is not None
        }
        if checkpoint["v"] < 4 and parent:
            yield from self._take_sends(thread, ns, parent, checkpoint, values)
        return CheckpointTuple(
            config=_config(thread, ns, checkpoint_id),
            checkpoint=cast(Checkpoint, {**checkpoint, "channel_values": values}),
            metadata=self._load(record["metadata"]),
            parent_config=_config(thread, ns, parent) if parent else None,
            pending_writes=pending,
        )

    def _take_sends(
        self, thread: str, ns: str, parent: str, checkpoint: Checkpoint, values: dict[str, Any]
    ) -> Plan[None]:
        """Take what the parent has sent into the values: checkpoints before format 4 left it there."""
        sends = [value for _, channel, value in (yield from self._writes(thread, ns, parent)) if channel == TASKS]
        if sends:
            versions = checkpoint["channel_versions"]
            values[TASKS] = sends
            versions[TASKS] = max(versions.values(), key=str) if versions else self.get_next_version(None, None)

    def _writes(self, thread: str, ns: str, checkpoint_id: str) -> Plan[list[PendingWrite]]:
        entries = yield from self._entries(thread, writes_prefix(ns, checkpoint_id))
        stored = yield from self._whole(thread, [entry.value for entry in entries])
        stored.sort(key=lambda w: writes_sort_key(w["path"], w["task"], w["index"]))
        return [(w["task"], w["channel"], self._load(w["value"])) for w in stored]

    def _plan_found(self, config: Config | None, before: Config | None) -> Plan[list[tuple[str, str]]]:
        """Return thread and key of the checkpoints in question, the newest first. Without a thread all are searched."""
        configurable = (config or {}).get("configurable") or {}
        thread = _thread(config or {})
        threads = (yield from self._threads()) if thread is None else [thread]
        ns, wanted = configurable.get("checkpoint_ns"), configurable.get("checkpoint_id")
        end = get_checkpoint_id(cast(RunnableConfig, before)) if before else None
        found: list[tuple[str, str, str]] = []
        for thread in threads:
            prefix = "c/" if ns is None else checkpoint_key(ns, "")
            for key in (yield from self._keys(thread, prefix)):
                checkpoint_id = unquote(key.rpartition("/")[2])
                if (not wanted or checkpoint_id == wanted) and (not end or checkpoint_id < end):
                    found.append((checkpoint_id, thread, key))
        return [(thread, key) for _, thread, key in sorted(found, key=lambda f: f[0], reverse=True)]

    def _plan_match(self, thread: str, key: str, matching: Mapping[str, Any] | None) -> Plan[CheckpointTuple | None]:
        """Read a checkpoint, if its metadata has all members of ``matching``."""
        return (yield from self._again(partial(self._match, thread, key, matching)))

    def _match(self, thread: str, key: str, matching: Mapping[str, Any] | None) -> Plan[CheckpointTuple | None]:
        record = (yield from self._documents(thread, [key]))[0]
        if not record:
            return None
        metadata = self._load(record["metadata"]) if matching else {}
        if any(metadata.get(name) != value for name, value in (matching or {}).items()):
            return None
        return (yield from self._tuple(thread, record["id"], record))

    def _plan_replay(
        self, config: Config, before: Config, matching: Mapping[str, Any] | None
    ) -> Plan[CheckpointTuple | None]:
        """Read the latest checkpoint before another one, and remember the head with it.

        So LangGraph reads a subgraph's state when it goes back in time, to go on from there.
        """
        thread, ns = _place(config)
        head = (yield [self._get(thread, head_key(ns))])[0]
        found: CheckpointTuple | None = None
        for place in (yield from self._plan_found(config, before)):
            found = yield from self._plan_match(*place, matching)
            if found:
                break
        checkpoint_id = found.checkpoint["id"] if found else None
        self._heads.remember(thread, ns, checkpoint_id, head.version if head else 0)
        return found

    # Writing

    def _plan_put(
        self, config: Config, checkpoint: Checkpoint, metadata: CheckpointMetadata, new_versions: ChannelVersions
    ) -> Plan[RunnableConfig]:
        """Put a checkpoint: long values first, the head and the checkpoint last, and together.

        Before the long values of a first checkpoint comes a head without one, so that
        no removal takes them from the checkpoint: either finds that the head has moved.
        """
        thread, ns = _place(config)
        parent, checkpoint_id = get_checkpoint_id(cast(RunnableConfig, config)), checkpoint["id"]
        bare = {name: value for name, value in checkpoint.items() if name != "channel_values"}
        record = {
            "id": checkpoint_id,
            "ns": ns,
            "parent": parent,
            "checkpoint": self._dump(bare),
            "metadata": self._dump(get_serializable_checkpoint_metadata(cast(RunnableConfig, config), metadata)),
        }
        main, early = put_document(checkpoint_key(ns, checkpoint_id), record)
        last: list[SetOp] = [main]
        for channel, version in new_versions.items():
            if channel in checkpoint["channel_values"]:
                op, pieces = put_document(
                    blob_key(ns, channel, version), self._dump(checkpoint["channel_values"][channel])
                )
                early += pieces
                last.append(op)
        while len(last) > 1 and (len(last) >= MOST_OPS or sum(map(op_chars, last)) > MOST_CHARS):
            early.append(last.pop())
        fork = metadata.get("source") == "fork"
        version = yield from self._expected(thread, ns, parent, checkpoint_id, fork)
        begins = not version
        if begins:
            yield from self._register(thread)
            if early:
                version = yield from self._move_head(config, version, None, [])
        yield from self._write(thread, early)
        version = yield from self._move_head(config, version, checkpoint_id, last)
        self._heads.remember(thread, ns, checkpoint_id, version)
        if begins:
            yield from self._keep_registered(thread)
        return _config(thread, ns, checkpoint_id)

    def _move_head(self, config: Config, version: int, checkpoint_id: str | None, ops: list[SetOp]) -> Plan[int]:
        """Move a head from a version to a checkpoint, together with ``ops``; return its new version."""
        thread, ns = _place(config)
        head = SetOp(head_key(ns), {"id": checkpoint_id}, expected_version=version)
        try:
            results = (yield [self._atomic(thread, [head, *ops])])[0]
        except VersionConflictError as e:
            raise _superseded(thread, ns, get_checkpoint_id(cast(RunnableConfig, config)), e) from e
        moved: int = results[0].version
        return moved

    def _expected(self, thread: str, ns: str, parent: str | None, checkpoint_id: str, fork: bool) -> Plan[int]:
        """Return the version of the head that a checkpoint is for.

        A writer that has seen none may go on from the head alone, or begin anew. A fork that
        LangGraph calls one is meant: a copy's parent is that of what it copies, which nobody has read.
        """
        seen = None if fork else self._heads.seen(thread, ns, checkpoint_id, parent)
        if seen is not None:
            return seen
        head = (yield [self._get(thread, head_key(ns))])[0]
        if head and not fork and parent not in (None, head.value["id"]):
            raise _superseded(thread, ns, parent, None)
        return head.version if head else 0

    def _plan_put_writes(
        self, config: Config, writes: Sequence[tuple[str, Any]], task_id: str, task_path: str
    ) -> Plan[None]:
        """Put pending writes: ordinary ones if they are absent, special ones over what is there."""
        thread, ns = _place(config)
        prefix = writes_prefix(ns, config["configurable"]["checkpoint_id"], task_id)
        mains: list[SetOp] = []
        early: list[SetOp] = []
        # A task that was resumed several times has several RESUMEs, the last of which has them all.
        last = {WRITES_IDX_MAP.get(channel, place): (channel, value) for place, (channel, value) in enumerate(writes)}
        for index, (channel, value) in last.items():
            document = {"task": task_id, "path": task_path, "channel": channel, "index": index}
            main, pieces = put_document(f"{prefix}{index}", document | {"value": self._dump(value)})
            mains.append(SetOp(main.key, main.value, expected_version=0 if index >= 0 else None))
            early += pieces
        yield from self._write(thread, early)
        for batch in batches(mains):
            yield from self._put_absent(thread, prefix, batch)

    def _put_absent(self, thread: str, prefix: str, ops: list[Op]) -> Plan[None]:
        """Carry out operations, but those for absent keys that are there."""
        while ops:
            try:
                yield [self._atomic(thread, ops)]
            except VersionConflictError:
                there = set((yield from self._keys(thread, prefix)))
                ops = [op for op in ops if op.expected_version is None or op.key not in there]
            else:
                return

    # Deleting

    def _plan_delete_thread(self, thread: str) -> Plan[None]:
        """Remove a thread, its heads first: all at once, if it has up to 127 checkpoints and namespaces."""
        # Before the heads: whoever begins the thread anew finds none, and registers it.
        yield [self._calls.delete(self._index, thread, idempotency_key=uuid.uuid4().hex)]
        yield from self._again(partial(self._delete_all, thread))

    def _delete_all(self, thread: str) -> Plan[None]:
        heads = yield from self._entries(thread, "h/")
        # All are listed before any goes: what is put after the heads went is of the thread begun anew.
        keys = yield from self._keys(thread, "")
        ops: list[Op] = [DeleteOp(head.key, head.version) for head in heads]
        ours = {key for key in keys if key.startswith(_ORDER)}
        rest = sorted(ours - {head.key for head in heads}, key=lambda key: _ORDER.index(key[:2]))
        ops += [CheckOp(key, 0) if key.startswith("h/") else DeleteOp(key) for key in rest]  # one begun since then
        yield from self._write(thread, ops)

    def _plan_delete_for_runs(self, run_ids: Iterable[str]) -> Plan[None]:
        runs = set(run_ids)
        for thread in (yield from self._threads()) if runs else []:
            yield from self._again(partial(self._delete_runs, thread, runs))

    def _delete_runs(self, thread: str, runs: set[str]) -> Plan[None]:
        heads = yield from self._entries(thread, "h/")
        records = yield from self._records(thread)
        gone = [r for r in records if self._load(r["metadata"]).get("run_id") in runs]
        yield from self._remove(thread, heads, records, gone)

    def _plan_prune(self, threads: Iterable[str], strategy: str) -> Plan[None]:
        if strategy not in ("keep_latest", "delete"):
            raise ValueError(f"strategy is keep_latest or delete, not {strategy!r}")
        for thread in threads:
            if strategy == "delete":
                yield from self._plan_delete_thread(thread)
            else:
                yield from self._again(partial(self._keep_latest, thread))

    def _keep_latest(self, thread: str) -> Plan[None]:
        heads = yield from self._entries(thread, "h/")
        records = yield from self._records(thread)
        kept = {entry.value["id"] for entry in heads}
        for latest in [r for r in records if r["id"] in kept]:
            kept |= yield from self._delta_chain(thread, latest, records)
        yield from self._remove(thread, heads, records, [r for r in records if r["id"] not in kept])

    def _delta_chain(self, thread: str, latest: Document, records: list[Document]) -> Plan[set[str]]:
        """Return the ancestors from whose writes the latest checkpoint's delta channels are made."""
        by_id = {r["id"]: r for r in records if r["ns"] == latest["ns"]}
        missing = set(self._load(latest["metadata"]).get("counters_since_delta_snapshot") or ())
        chain: set[str] = set()
        at = latest
        while at is not None:
            versions = self._load(at["checkpoint"])["channel_versions"]
            channels = [channel for channel in missing if channel in versions]
            blobs = yield [self._get(thread, blob_key(at["ns"], c, versions[c])) for c in channels]
            missing -= {channel for channel, blob in zip(channels, blobs, strict=True) if blob}
            at = by_id.get(at["parent"]) if missing else None
            if at:
                chain.add(at["id"])
        return chain

    def _remove(self, thread: str, heads: list[Entry], records: list[Document], gone: list[Document]) -> Plan[None]:
        """Remove checkpoints, their writes, and the values that no other one has.

        Heads were read before records: if none has moved since, the records are all there are.
        """
        if not gone:
            return
        ids = {(r["ns"], r["id"]) for r in gone}
        left = [r for r in records if (r["ns"], r["id"]) not in ids]
        keys = [checkpoint_key(*place) for place in ids]
        for place in ids:
            keys += yield from self._keys(thread, writes_prefix(*place))
        keys += self._blob_keys(gone) - self._blob_keys(left)
        stored = yield [self._get(thread, key) for key in keys]
        keys += [piece for entry in stored if entry for piece in piece_keys(entry.value)]
        yield from self._write(thread, [*_move_heads(heads, ids, left), *deletes(keys)])

    def _blob_keys(self, records: Iterable[Document]) -> set[str]:
        return {
            blob_key(r["ns"], channel, version)
            for r in records
            for channel, version in self._load(r["checkpoint"])["channel_versions"].items()
        }

    def _plan_copy_thread(self, source: str, target: str) -> Plan[None]:
        """Copy a thread to one that is not there: what is referred to first, the heads last.

        Before all that come heads without a checkpoint, so that no removal takes it from the heads to come.
        """
        if (yield from self._keys(target, "h/")):
            raise error("VERSION_CONFLICT", f"thread {target!r} is there already")
        heads = yield from self._entries(source, _ORDER[0])
        if not heads:
            return
        copied: list[list[SetOp]] = []
        for prefix in _ORDER[1:]:
            entries = yield from self._entries(source, prefix)
            copied.append([SetOp(e.key, e.value) for e in entries])
        yield from self._register(target)
        begun = yield from self._write(target, [SetOp(head.key, {"id": None}, expected_version=0) for head in heads])
        for ops in reversed(copied):
            yield from self._write(target, ops)
        ready = [SetOp(h.key, h.value, expected_version=b.version) for h, b in zip(heads, begun, strict=True)]
        yield from self._write(target, ready)
        yield from self._keep_registered(target)

    # Calls

    def _again(self, plan: Callable[[], Plan[T]]) -> Plan[T]:
        """Carry out a plan, anew if a checkpoint was put or removed while it read."""
        for _ in range(MOST_TRIES - 1):
            with suppress(VersionConflictError, RemovedError):
                return (yield from plan())
        return (yield from plan())

    @property
    def _index(self) -> str:
        return f"{self._prefix}-threads"

    def _workflow(self, thread: str) -> str:
        return f"{self._prefix}:{thread}"

    def _register(self, thread: str) -> Plan[None]:
        yield [self._calls.set(self._index, thread, True, idempotency_key=uuid.uuid4().hex)]

    def _keep_registered(self, thread: str) -> Plan[None]:
        """Register a thread that has a head now, if a removal before that took it out again."""
        if not (yield [self._calls.get(self._index, thread)])[0]:
            yield from self._register(thread)

    def _get(self, thread: str, key: str) -> Steps[Entry]:
        return self._calls.get(self._workflow(thread), key)

    def _atomic(self, thread: str, ops: Sequence[Op]) -> Steps[Any]:
        return self._calls.atomic(self._workflow(thread), ops, idempotency_key=uuid.uuid4().hex)

    def _write(self, thread: str, ops: Iterable[Op]) -> Plan[list[OpResult]]:
        results: list[OpResult] = []
        for batch in batches(ops):
            results += (yield [self._atomic(thread, batch)])[0]
        return results

    def _threads(self) -> Plan[list[str]]:
        page: Page = (yield [self._calls.list(self._index)])[0]
        return page.keys

    def _keys(self, thread: str, prefix: str) -> Plan[list[str]]:
        page: Page = (yield [self._calls.list(self._workflow(thread), prefix=prefix)])[0]
        return page.keys

    def _entries(self, thread: str, prefix: str) -> Plan[list[Entry]]:
        entries: list[Entry] = []
        after: str | None = ""
        while after is not None:
            page: Page = (
                yield [self._calls.list(self._workflow(thread), prefix=prefix, after=after, limit=1000, values=True)]
            )[0]
            entries += page.entries or []
            after = page.next
        return entries

    def _records(self, thread: str) -> Plan[list[Document]]:
        entries = yield from self._entries(thread, "c/")
        return (yield from self._whole(thread, [entry.value for entry in entries]))

    def _documents(self, thread: str, keys: Sequence[str]) -> Plan[list[Document]]:
        entries = yield [self._get(thread, key) for key in keys]
        return (yield from self._whole(thread, [entry.value if entry else None for entry in entries]))

    def _whole(self, thread: str, stored: list[Document]) -> Plan[list[Document]]:
        """Put documents together that are in pieces."""
        documents: list[Document] = []
        for document in stored:
            keys = piece_keys(document)
            pieces = yield [self._get(thread, key) for key in keys]
            documents.append(join_pieces(pieces) if keys else document)
        return documents

    def _dump(self, value: Any) -> list[str]:
        return to_json(self.serde.dumps_typed(value))

    def _load(self, typed: list[str]) -> Any:
        return self.serde.loads_typed(from_json(typed))


def _thread(config: Config) -> str | None:
    thread = (config.get("configurable") or {}).get("thread_id")
    return None if thread is None or thread == "" else str(thread)


def names_subgraph(config: Config) -> bool:
    """Tell whether a config names a thread and a subgraph's namespace."""
    return _thread(config) is not None and bool(config["configurable"].get("checkpoint_ns"))


def _place(config: Config) -> tuple[str, str]:
    """Return thread and namespace. Raises ValueError without a thread."""
    thread = _thread(config)
    if thread is None:
        raise ValueError("config has no configurable thread_id")
    return thread, config["configurable"].get("checkpoint_ns") or ""


def _config(thread: str, ns: str, checkpoint_id: str) -> RunnableConfig:
    return {"configurable": {"thread_id": thread, "checkpoint_ns": ns, "checkpoint_id": checkpoint_id}}


def _move_heads(heads: list[Entry], gone: set[tuple[str, str]], left: list[Document]) -> list[Op]:
    """Return what points heads that are going to the newest checkpoints left, if no head has moved."""
    read = {entry.key: entry for entry in heads}
    ops: list[Op] = []
    for ns in sorted({ns for ns, _ in gone}):
        key = head_key(ns)
        head = read.get(key)
        rest = [r["id"] for r in left if r["ns"] == ns]
        if head is None or (ns, head.value["id"]) not in gone:
            ops.append(CheckOp(key, head.version if head else 0))
        elif rest:
            ops.append(SetOp(key, {"id": max(rest)}, expected_version=head.version))
        else:
            ops.append(DeleteOp(key, head.version))
    return ops


def _superseded(thread: str, ns: str, parent: str | None, e: VersionConflictError | None) -> Exception:
    place = f"thread {thread!r}" + (f", namespace {ns!r}," if ns else "")
    return error(
        "VERSION_CONFLICT",
        f"{place} has a newer checkpoint of another writer than {parent}: read it and go on from there",
        status=e.status if e else None,
        expected_version=e.expected_version if e else None,
        current_version=e.current_version if e else None,
    )

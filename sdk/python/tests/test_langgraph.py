"""What the savers promise beyond LangGraph's conformance suite, against a cluster."""

from __future__ import annotations

import asyncio
import itertools
import json
import operator
import subprocess
import sys
import uuid
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import suppress
from typing import Annotated, Any, TypedDict

import pytest
from langgraph.checkpoint.base import CheckpointTuple, empty_checkpoint
from langgraph.checkpoint.base.id import uuid6
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.graph import END, START, StateGraph
from langgraph.types import Command, interrupt

from stateraft import AsyncClient, Client, StateraftError, VersionConflictError
from stateraft._async import MOST_CALLS, AsyncWire
from stateraft._steps import Answer, Send
from stateraft.langgraph import AsyncStateraftSaver, StateraftSaver

from .conftest import Cluster

# Reads the thread, says so, waits for a word, and puts the next checkpoint.
WRITER = """
import json, sys
from langgraph.checkpoint.base import empty_checkpoint
from stateraft import Client, VersionConflictError
from stateraft.langgraph import StateraftSaver

endpoints, config = json.loads(sys.argv[1])
with Client(endpoints=endpoints) as client:
    saver = StateraftSaver(client)
    found = saver.get_tuple(config)
    print("read", flush=True)
    sys.stdin.readline()
    try:
        saver.put(found.config if found else config, empty_checkpoint(), {"source": "loop", "step": 1}, {})
        print("put", flush=True)
    except VersionConflictError as e:
        print(e, flush=True)
"""


@pytest.fixture
def client(cluster: Cluster) -> Iterator[Client]:
    with Client(endpoints=cluster.endpoints) as c:
        yield c


@pytest.fixture
def saver(client: Client) -> StateraftSaver:
    return StateraftSaver(client)


@pytest.fixture
async def async_saver(cluster: Cluster) -> AsyncIterator[AsyncStateraftSaver]:
    async with AsyncClient(endpoints=cluster.endpoints) as c:
        yield AsyncStateraftSaver(c)


@pytest.fixture
def config() -> Any:
    return {"configurable": {"thread_id": f"thread {uuid.uuid4()}", "checkpoint_ns": ""}}


def put(saver: StateraftSaver, config: Any, parents: Any = None, **values: Any) -> Any:
    versions = {channel: saver.get_next_version(None, None) for channel in values}
    checkpoint = empty_checkpoint()
    checkpoint["channel_values"] = values
    checkpoint["channel_versions"] = {**(parents or {}), **versions}
    return saver.put(config, checkpoint, {"source": "loop", "step": 0}, versions)  # type: ignore[arg-type]


def read(saver: StateraftSaver, config: Any) -> CheckpointTuple:
    found = saver.get_tuple(config)
    assert found is not None
    return found


@pytest.mark.parametrize("begun", [False, True], ids=["an empty thread", "a thread"])
def test_of_two_processes_one_is_refused(saver: StateraftSaver, config: Any, cluster: Cluster, begun: bool) -> None:
    if begun:
        put(saver, config)
    arguments = [sys.executable, "-c", WRITER, json.dumps([cluster.endpoints, config])]
    pipes: dict[str, Any] = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    with subprocess.Popen(arguments, **pipes) as first, subprocess.Popen(arguments, **pipes) as second:
        assert first.stdout
        assert second.stdout
        assert [first.stdout.readline(), second.stdout.readline()] == ["read\n", "read\n"]
        said = [process.communicate("go on\n", timeout=30)[0] for process in (first, second)]
    assert said[0] == "put\n"
    assert said[1].startswith("VERSION_CONFLICT: thread")
    assert len(list(saver.list(config))) == 1 + begun


def test_of_two_runs_in_a_process_one_is_refused(saver: StateraftSaver, config: Any) -> None:
    put(saver, config)
    first, second = read(saver, config), read(saver, config)
    put(saver, first.config)
    with pytest.raises(VersionConflictError, match="another writer"):
        put(saver, second.config)


def test_of_two_runs_that_begin_a_thread_one_is_refused(saver: StateraftSaver, config: Any) -> None:
    assert saver.get_tuple(config) is None
    put(saver, config)
    with pytest.raises(VersionConflictError):
        put(saver, config)


def test_a_superseded_writer_may_read_and_go_on(client: Client, config: Any) -> None:
    one, other = StateraftSaver(client), StateraftSaver(client)
    begin = put(one, config)
    read(other, config)
    put(other, begin)
    with pytest.raises(VersionConflictError):
        put(one, begin)
    put(one, read(one, config).config)
    assert len(list(one.list(config))) == 3


def test_a_fork_that_is_meant_is_none_to_refuse(client: Client, config: Any) -> None:
    saver = StateraftSaver(client)
    first = put(saver, config, a=1)
    put(saver, first, a=2)
    again = StateraftSaver(client)
    fork = put(again, read(again, first).config, a=3)
    latest = read(again, config)
    assert latest.config == fork
    assert latest.parent_config == first
    assert [t.checkpoint["channel_values"]["a"] for t in saver.list(config)] == [3, 2, 1]


def test_a_writer_that_has_read_nothing_goes_on_from_the_head_alone(client: Client, config: Any) -> None:
    saver = StateraftSaver(client)
    first = put(saver, config)
    second = put(saver, first)
    with pytest.raises(VersionConflictError):
        put(StateraftSaver(client), first)
    put(StateraftSaver(client), second)


@pytest.mark.parametrize("size", [100_000, 900_000, 5_000_000])
def test_values_of_any_size(saver: StateraftSaver, config: Any, size: int) -> None:
    values = {"long": '\\"é' * (size // 3), "other": list(range(10))}
    stored = put(saver, config, **values)
    saver.put_writes(stored, [("long", values["long"]), ("short", 1)], "task")
    found = read(saver, config)
    assert found.checkpoint["channel_values"] == values
    assert found.pending_writes == [("task", "long", values["long"]), ("task", "short", 1)]


def test_more_channels_than_an_atomic_write_has_operations(saver: StateraftSaver, config: Any) -> None:
    values = {f"channel {n}": n for n in range(300)}
    stored = put(saver, config, **values)
    saver.put_writes(stored, list(values.items()), "task")
    found = read(saver, config)
    assert found.checkpoint["channel_values"] == values
    assert found.pending_writes == [("task", channel, n) for channel, n in values.items()]


def test_a_refused_checkpoint_leaves_no_trace(client: Client, config: Any) -> None:
    one, other = StateraftSaver(client), StateraftSaver(client)
    begin = put(one, config, a="1")
    read(other, config)
    put(other, begin, a="2")
    with pytest.raises(VersionConflictError):
        put(one, begin, a="3" * 5_000_000, **{f"c{n}": n for n in range(200)})
    assert [t.checkpoint["channel_values"] for t in one.list(config)] == [{"a": "2"}, {"a": "1"}]


def test_unchanged_channels_are_found(saver: StateraftSaver, config: Any) -> None:
    first = put(saver, config, kept="k", changed=1)
    versions = read(saver, config).checkpoint["channel_versions"]
    put(saver, first, versions, changed=2)
    assert read(saver, config).checkpoint["channel_values"] == {"kept": "k", "changed": 2}


def test_ordinary_writes_stay_and_special_ones_are_replaced(saver: StateraftSaver, config: Any) -> None:
    stored = put(saver, config)
    saver.put_writes(stored, [("a", 1), ("__interrupt__", "once")], "task", "path-2")
    saver.put_writes(stored, [("a", 2), ("__interrupt__", "twice"), ("b", 3)], "task", "path-2")
    saver.put_writes(stored, [("c", 4)], "other task", "path-1")
    assert read(saver, stored).pending_writes == [
        ("other task", "c", 4),
        ("task", "__interrupt__", "twice"),
        ("task", "a", 1),
        ("task", "b", 3),
    ]


def test_the_last_of_several_special_writes_counts(saver: StateraftSaver, config: Any) -> None:
    stored = put(saver, config)
    saver.put_writes(stored, [("__resume__", ["1"]), ("a", 1), ("__resume__", ["1", "2"]), ("a", 2)], "task")
    assert read(saver, stored).pending_writes == [
        ("task", "__resume__", ["1", "2"]),
        ("task", "a", 1),
        ("task", "a", 2),
    ]


def test_list_over_namespaces_and_threads(client: Client) -> None:
    saver = StateraftSaver(client, prefix=uuid.uuid4().hex)
    places = [("t1", ""), ("t2", ""), ("t1", "child|" + "x" * 300), ("t1", "")]
    configs = [put(saver, {"configurable": {"thread_id": t, "checkpoint_ns": ns}}) for t, ns in places]
    assert [t.config for t in saver.list(None)] == configs[::-1]
    assert [t.config for t in saver.list({"configurable": {"thread_id": "t1"}})] == [configs[n] for n in (3, 2, 0)]
    assert [t.config for t in saver.list(configs[2])] == [configs[2]]
    saver.delete_thread("t1")
    assert [t.config for t in saver.list(None)] == [configs[1]]


def test_delete_thread_leaves_nothing(saver: StateraftSaver, client: Client, config: Any) -> None:
    stored = config
    for n in range(70):
        stored = put(saver, stored, a=n)
        saver.put_writes(stored, [("a", n), ("b", "x" * 600_000 if n == 0 else n)], "task")
    thread = config["configurable"]["thread_id"]
    client.state.set(f"langgraph:{thread}", "note", "of somebody else")
    saver.delete_thread(thread)
    assert client.state.list(f"langgraph:{thread}").keys == ["note"]
    assert saver.get_tuple(config) is None
    with pytest.raises(VersionConflictError):  # the run that was under way
        put(saver, stored)


def test_copy_of_long_values(saver: StateraftSaver, config: Any) -> None:
    put(saver, config, long="x" * 2_000_000)
    target = {"configurable": {"thread_id": str(uuid.uuid4())}}
    saver.copy_thread(config["configurable"]["thread_id"], target["configurable"]["thread_id"])
    saver.delete_thread(config["configurable"]["thread_id"])
    assert read(saver, target).checkpoint["channel_values"] == {"long": "x" * 2_000_000}
    with pytest.raises(VersionConflictError):
        saver.copy_thread(target["configurable"]["thread_id"], target["configurable"]["thread_id"])


def test_a_copy_whose_thread_is_deleted_meanwhile(client: Client) -> None:
    """Before each of the copy's calls in turn: what there is then is among all threads."""
    for moment in itertools.count():
        prefix = uuid.uuid4().hex
        other = StateraftSaver(client, prefix=prefix)
        put(other, {"configurable": {"thread_id": "source"}}, a=1)
        copier = Disturbed(client, prefix, moment, lambda other=other: other.delete_thread("target"))  # type: ignore[misc]
        with suppress(VersionConflictError):
            copier.copy_thread("source", "target")
        found = other.get_tuple({"configurable": {"thread_id": "target"}})
        listed = [t.config for t in other.list(None) if t.config["configurable"]["thread_id"] == "target"]
        assert listed == ([found.config] if found else []), moment
        if copier.over:
            return


def test_prune_keeps_what_is_shared_and_no_more(saver: StateraftSaver, client: Client, config: Any) -> None:
    first = put(saver, config, kept="k", changed="x" * 2_000_000)
    put(saver, first, read(saver, config).checkpoint["channel_versions"], changed=2)
    thread = config["configurable"]["thread_id"]
    saver.prune([thread])
    assert [t.checkpoint["channel_values"] for t in saver.list(config)] == [{"kept": "k", "changed": 2}]
    assert [key[:2] for key in client.state.list(f"langgraph:{thread}").keys] == ["b/", "b/", "c/", "h/"]
    with pytest.raises(ValueError, match="strategy"):
        saver.prune([thread], strategy="all")


def test_delta_chains_survive_a_prune(saver: StateraftSaver, config: Any) -> None:
    """The delta channel has a value in the second of four checkpoints, and writes in all."""
    version = saver.get_next_version(None, None)
    stored = config
    for n in range(4):
        checkpoint = empty_checkpoint()
        versions = {"delta": version.replace("0", str(n), 1)}
        checkpoint["channel_versions"] = versions  # type: ignore[typeddict-item]
        checkpoint["channel_values"] = {"delta": ["seed"]} if n == 1 else {}
        metadata: Any = {"source": "loop", "step": n, "counters_since_delta_snapshot": {"delta": (n, n)}}
        stored = saver.put(stored, checkpoint, metadata, versions)  # type: ignore[arg-type]
        saver.put_writes(stored, [("delta", n), ("other", n)], f"task {n}")
    before = saver.get_delta_channel_history(config=stored, channels=["delta"])
    assert before == {"delta": {"seed": ["seed"], "writes": [("task 1", "delta", 1), ("task 2", "delta", 2)]}}
    saver.prune([config["configurable"]["thread_id"]])
    assert saver.get_delta_channel_history(config=stored, channels=["delta"]) == before
    assert [t.metadata["step"] for t in saver.list(config)] == [3, 2, 1]


async def test_who_walks_along_ancestors_forks_from_none(
    client: Client, async_saver: AsyncStateraftSaver, config: Any
) -> None:
    saver, other = StateraftSaver(client), StateraftSaver(client)
    first = put(saver, config)
    latest = put(other, put(other, first))
    saver.get_delta_channel_history(config=latest, channels=["delta"])
    with pytest.raises(VersionConflictError):
        put(saver, first)
    await async_saver.aget_delta_channel_history(config=latest, channels=["delta"])
    with pytest.raises(VersionConflictError):
        await async_saver.aput(first, empty_checkpoint(), {"source": "loop", "step": 1}, {})


def test_old_formats_find_what_their_parent_has_sent(saver: StateraftSaver, config: Any) -> None:
    stored = put(saver, config)
    saver.put_writes(stored, [("__pregel_tasks", "sent"), ("a", 1)], "task")
    put(saver, stored)
    assert read(saver, config).checkpoint["channel_values"] == {"__pregel_tasks": ["sent"]}


def test_deleting_runs_moves_the_head(saver: StateraftSaver, config: Any) -> None:
    first = put(saver, config)
    saver.put(first, empty_checkpoint(), {"source": "loop", "step": 1, "run_id": "r"}, {})
    saver.delete_for_runs(["r"])
    assert read(saver, config).config == first


class Disturbed(StateraftSaver):
    """A saver before one of whose calls something else happens."""

    def __init__(self, client: Client, prefix: str, moment: int, happens: Callable[[], object]) -> None:
        super().__init__(client, prefix=prefix)
        self._left = moment
        self._happens = happens

    def _result(self, steps: Any) -> Any:
        if self._left == 0:
            self._happens()
        self._left -= 1
        return super()._result(steps)

    @property
    def over(self) -> bool:
        """Whether it was through before the moment came."""
        return self._left >= 0


def begin_run(saver: StateraftSaver, config: Any) -> CheckpointTuple:
    """Put two checkpoints with the same values, the second in the run r, and return that one."""
    put(saver, config, kept="k", changed=1)
    first = read(saver, config)
    checkpoint = empty_checkpoint()
    checkpoint["channel_versions"] = first.checkpoint["channel_versions"]
    saver.put(first.config, checkpoint, {"source": "loop", "step": 1, "run_id": "r"}, {})
    return read(saver, config)


@pytest.mark.parametrize(("remove", "what"), [("prune", ["t"]), ("delete_for_runs", ["r"]), ("delete_thread", "t")])
@pytest.mark.parametrize("ns", ["", "child"])
def test_what_is_put_while_others_are_removed(client: Client, remove: str, what: Any, ns: str) -> None:
    """Before each of the calls in turn another writer goes on from the head, or begins a namespace."""
    thread: Any = {"configurable": {"thread_id": "t", "checkpoint_ns": ""}}
    place: Any = {"configurable": {"thread_id": "t", "checkpoint_ns": ns}}
    for moment in itertools.count():
        prefix = uuid.uuid4().hex
        other = StateraftSaver(client, prefix=prefix)
        head = begin_run(other, thread)
        stored: list[Any] = []

        def go_on(other: Any = other, head: Any = head, stored: list[Any] = stored) -> None:
            with suppress(VersionConflictError):  # of a head that went
                parents = {} if ns else head.checkpoint["channel_versions"]
                stored.append(put(other, place if ns else head.config, parents, changed=2))

        remover = Disturbed(client, prefix, moment, go_on)
        getattr(remover, remove)(what)
        if remover.over:
            return
        left = other.get_tuple(place)
        keys = client.state.list(f"{prefix}:t").keys
        if left is None:
            assert remove == "delete_thread" or not stored, moment
            assert remove != "delete_thread" or keys == [], moment
            continue
        values = {"changed": 2} if ns else {"kept": "k", "changed": 2}
        if stored:
            assert left.config == stored[0], moment
            assert left.checkpoint["channel_values"] == values, moment
        if remove == "delete_thread":
            assert [key[:2] for key in keys] == ["b/", "c/", "h/"], moment
            assert ns, moment


@pytest.mark.parametrize(("remove", "what"), [("delete_for_runs", ["r"]), ("delete_thread", "t")])
@pytest.mark.parametrize("size", [10, 1_100_000], ids=["short", "long"])
def test_what_is_read_while_it_is_removed(client: Client, remove: str, what: Any, size: int) -> None:
    """Before each of the calls in turn: it is whole, or not there; the head's is that which is left."""
    thread: Any = {"configurable": {"thread_id": "t", "checkpoint_ns": ""}}
    values = [{"a": "x" * size}, {"a": "y" * size}]
    for read_by in ("get_tuple", "get_tuple by id", "list"):
        for moment in itertools.count():
            prefix = uuid.uuid4().hex
            other = StateraftSaver(client, prefix=prefix)
            first = put(other, thread, **values[0])
            checkpoint: Any = {**empty_checkpoint(), "channel_values": values[1], "channel_versions": {"a": "2"}}
            second = other.put(first, checkpoint, {"source": "loop", "step": 1, "run_id": "r"}, {"a": "2"})
            reader = Disturbed(client, prefix, moment, lambda other=other: getattr(other, remove)(what))  # type: ignore[misc]
            if read_by == "list":
                found = [t.checkpoint["channel_values"] for t in reader.list(thread)]
                left = [values[1:], []] if remove == "delete_thread" else [values[:1]]
                assert found in [values[::-1], *left], moment
            else:
                latest = reader.get_tuple(second if read_by == "get_tuple by id" else thread)
                if latest:
                    assert latest.checkpoint["channel_values"] in values, moment
                else:
                    assert remove == "delete_thread" or read_by == "get_tuple by id", moment
            if reader.over:
                break


def test_a_piece_in_the_middle_that_is_missing(saver: StateraftSaver, client: Client, config: Any) -> None:
    stored = put(saver, config, long="x" * 1_100_000)
    workflow = f"langgraph:{config['configurable']['thread_id']}"
    pieces = client.state.list(workflow, prefix="x/").keys
    assert len(pieces) == 3
    client.state.delete(workflow, pieces[1])
    for place in (config, stored):
        with pytest.raises(ValueError, match="pieces of a document are missing"):
            saver.get_tuple(place)
    with pytest.raises(ValueError, match="pieces of a document are missing"):
        list(saver.list(config))


class Busy(StateraftSaver):
    """A saver before each of whose atomic writes another one goes on from the head."""

    def __init__(self, client: Client, config: Any) -> None:
        super().__init__(client, prefix="busy")
        self.other = StateraftSaver(client, prefix="busy")
        self._config = config

    def _atomic(self, thread: str, ops: Any) -> Any:
        put(self.other, read(self.other, self._config).config)
        return super()._atomic(thread, ops)


def test_a_thread_on_which_all_the_time_something_is_put_stays(client: Client, config: Any) -> None:
    remover = Busy(client, config)
    put(remover.other, put(remover.other, config))
    thread = config["configurable"]["thread_id"]
    with pytest.raises(VersionConflictError):
        remover.prune([thread])
    with pytest.raises(VersionConflictError):
        remover.delete_thread(thread)
    assert len(list(remover.other.list(config))) == 22


def test_a_thread_begun_anew_while_it_is_deleted_stays(client: Client) -> None:
    """Another writer begins it before each of the calls in turn that finds it gone."""
    config: Any = {"configurable": {"thread_id": "t"}}
    for moment in itertools.count():
        prefix = uuid.uuid4().hex
        other = StateraftSaver(client, prefix=prefix)
        stored = config
        for n in range(130):  # more than are deleted at once
            stored = put(other, stored, value=n)
        begun: list[Any] = []

        def begin(other: Any = other, begun: list[Any] = begun) -> None:
            if other.get_tuple(config) is None:
                begun.append(put(other, config, value="anew"))

        remover = Disturbed(client, prefix, moment, begin)
        remover.delete_thread("t")
        if remover.over:
            assert moment > 4
            return
        if begun:
            latest = read(other, config)
            assert latest.config == begun[0], moment
            assert latest.checkpoint["channel_values"] == {"value": "anew"}, moment
            assert len(list(other.list(None))) == 1, moment


def gradually(saver: StateraftSaver, plan: Any) -> Iterator[None]:
    """Carry out the calls of a plan, one each time."""
    batch = next(plan)
    with suppress(StopIteration):
        while True:
            yield
            batch = plan.send([saver._result(steps) for steps in batch])


@pytest.mark.parametrize("before", range(6))
def test_a_thread_that_is_deleted_while_its_first_checkpoint_is_put(client: Client, before: int) -> None:
    """That many calls of the put come before the removal, the others before each of its calls in turn."""
    config: Any = {"configurable": {"thread_id": "t"}}
    values = {"long": "x" * 600_000}
    versions = {"long": "1"}
    for moment in itertools.count():
        writer = StateraftSaver(client, prefix=uuid.uuid4().hex)
        checkpoint: Any = {**empty_checkpoint(), "channel_values": values, "channel_versions": versions}
        putting = gradually(writer, writer._plan_put(config, checkpoint, {}, versions))  # type: ignore[arg-type]
        for _ in range(before + 1):
            next(putting)

        def go_on(putting: Iterator[None] = putting) -> None:
            with suppress(VersionConflictError):
                list(putting)

        remover = Disturbed(client, writer._prefix, moment, go_on)
        remover.delete_thread("t")
        go_on()
        reader = StateraftSaver(client, prefix=writer._prefix)
        found = reader.get_tuple(config)
        assert found is None or found.checkpoint["channel_values"] == values, moment
        assert [t.config for t in reader.list(None)] == ([found.config] if found else []), moment
        if remover.over:
            return


def test_a_first_checkpoint_that_was_not_completed(client: Client, config: Any) -> None:
    writer = StateraftSaver(client)
    checkpoint: Any = {**empty_checkpoint(), "channel_values": {"long": "x" * 600_000}}
    putting = gradually(writer, writer._plan_put(config, checkpoint, {}, {"long": "1"}))
    for _ in range(5):  # it is about to put it
        next(putting)
    saver = StateraftSaver(client)
    assert saver.get_tuple(config) is None
    assert list(saver.list(config)) == []
    stored = put(saver, config, a=1)
    assert read(saver, config).config == stored
    with pytest.raises(VersionConflictError):
        list(putting)


class CountingWire(AsyncWire):
    """Counts the requests that are under way."""

    under_way = 0
    most = 0

    async def send(self, step: Send) -> Answer | StateraftError:
        self.under_way += 1
        self.most = max(self.most, self.under_way)
        try:
            return await super().send(step)
        finally:
            self.under_way -= 1


class CountingClient(AsyncClient):
    _wire_type = CountingWire


async def test_the_requests_of_a_removal_are_bounded(saver: StateraftSaver, config: Any, cluster: Cluster) -> None:
    stored = config
    for n in range(200):
        stored = put(saver, stored, a=n)
    async with CountingClient(endpoints=cluster.endpoints) as client:
        await AsyncStateraftSaver(client).aprune([config["configurable"]["thread_id"]])
        wire = client._wire
    assert isinstance(wire, CountingWire)
    assert 1 < wire.most <= MOST_CALLS == 32
    assert [t.config for t in saver.list(config)] == [stored]


def test_a_thread_whose_id_is_0(client: Client) -> None:
    saver = StateraftSaver(client, prefix=uuid.uuid4().hex)
    config: Any = {"configurable": {"thread_id": 0}}
    stored = put(saver, config)
    assert read(saver, config).config == stored
    assert [t.config for t in saver.list(config)] == [stored]


def test_a_list_of_no_thread_is_of_all(client: Client) -> None:
    saver = StateraftSaver(client, prefix=uuid.uuid4().hex)
    stored = [put(saver, {"configurable": {"thread_id": thread}}) for thread in ("a", "b")]
    assert [t.config for t in saver.list({"configurable": {}})] == stored[::-1]


def test_a_prefix_with_a_colon_is_refused(client: Client) -> None:
    with pytest.raises(ValueError, match="colon"):
        StateraftSaver(client, prefix="a:b")  # whose thread c would be the thread b:c of the prefix a


def test_without_a_thread(saver: StateraftSaver) -> None:
    assert saver.get_tuple({"configurable": {}}) is None
    assert saver.get_tuple({"configurable": {"thread_id": ""}}) is None
    with pytest.raises(ValueError, match="thread_id"):
        put(saver, {"configurable": {}})


class Counted(TypedDict):
    steps: Annotated[list[str], operator.add]


def graph() -> Any:
    builder = StateGraph(Counted)
    builder.add_node("a", lambda _: {"steps": ["a"]})
    builder.add_node("b", lambda _: {"steps": ["b"]})
    builder.add_edge(START, "a")
    builder.add_edge("a", "b")
    builder.add_edge("b", END)
    return builder


def trip() -> Any:
    builder = StateGraph(Counted)
    builder.add_node("ask", lambda _: {"steps": [interrupt("from?"), interrupt("to?")]})
    builder.add_edge(START, "ask")
    builder.add_edge("ask", END)
    return builder


def test_a_node_of_two_interrupts(saver: StateraftSaver, config: Any) -> None:
    app = trip().compile(checkpointer=saver)
    app.invoke({"steps": ["begin"]}, config)
    app.invoke(Command(resume="Basel"), config)
    app.invoke(Command(resume="Oslo"), config)
    assert app.get_state(config).values == {"steps": ["begin", "Basel", "Oslo"]}


async def test_a_node_of_two_interrupts_that_is_awaited(async_saver: AsyncStateraftSaver, config: Any) -> None:
    app = trip().compile(checkpointer=async_saver)
    await app.ainvoke({"steps": ["begin"]}, config)
    await app.ainvoke(Command(resume="Basel"), config)
    await app.ainvoke(Command(resume="Oslo"), config)
    assert (await app.aget_state(config)).values == {"steps": ["begin", "Basel", "Oslo"]}


@pytest.mark.parametrize("at", range(4))
def test_a_checkpoint_is_copied(client: Client, config: Any, at: int) -> None:
    """By the saver that put the thread and by another one, and the run goes on from the copy."""
    saver = StateraftSaver(client)
    graph().compile(checkpointer=saver).invoke({"steps": ["begin"]}, config)
    for one in (saver, StateraftSaver(client)):
        app = graph().compile(checkpointer=one)
        original = list(app.get_state_history(config))[-1 - at]
        copy = app.get_state(app.update_state(original.config, None, as_node="__copy__"))
        assert copy.values == original.values
        assert copy.parent_config == original.parent_config
        assert app.invoke(None, config)["steps"] == ["begin", "a", "b"]


def with_subgraph() -> Any:
    """Return a graph with a subgraph whose state outlasts a run."""
    inner = StateGraph(Counted)
    inner.add_node("in", lambda state: {"steps": [f"in {len(state['steps'])}"]})
    inner.add_edge(START, "in")
    outer = StateGraph(Counted)
    outer.add_node("out", lambda _: {"steps": ["out"]})
    outer.add_node("inner", inner.compile(checkpointer=True))
    outer.add_edge(START, "out")
    outer.add_edge("out", "inner")
    return outer


@pytest.mark.parametrize(("runs", "to"), [(1, 1), (2, 1), (2, 2)])
def test_time_travel_with_a_stateful_subgraph(client: Client, runs: int, to: int) -> None:
    """It goes as with LangGraph's own saver, for the saver that put the thread and for another one."""
    saver = StateraftSaver(client)
    steps = []
    for first, second in [(InMemorySaver(),) * 2, (saver, saver), (saver, StateraftSaver(client))]:
        thread: Any = {"configurable": {"thread_id": f"thread {uuid.uuid4()}"}}
        app, again = (with_subgraph().compile(checkpointer=one) for one in (first, second))
        for run in range(runs):
            app.invoke({"steps": [f"run {run}"]}, thread)
        before = [state.config for state in app.get_state_history(thread) if state.next == ("inner",)]
        again.invoke(None, before[to - 1])
        steps.append(again.invoke({"steps": ["last"]}, thread)["steps"])
    assert steps[1:] == steps[:1] * 2


async def test_time_travel_with_a_stateful_subgraph_that_is_awaited(
    async_saver: AsyncStateraftSaver, config: Any
) -> None:
    app = with_subgraph().compile(checkpointer=async_saver)
    await app.ainvoke({"steps": ["one"]}, config)
    await app.ainvoke({"steps": ["two"]}, config)
    before = [state.config async for state in app.aget_state_history(config) if state.next == ("inner",)]
    for at in before:
        assert await app.ainvoke(None, at)


def test_a_graph_goes_on_in_another_process(cluster: Cluster, config: Any) -> None:
    for n in (1, 2):
        with Client(endpoints=cluster.endpoints[n:]) as client:
            app = graph().compile(checkpointer=StateraftSaver(client), interrupt_before=["b"])
            app.invoke({"steps": [f"begin {n}"]}, config)
            app.invoke(None, config)
            values = app.get_state(config).values
    assert values == {"steps": ["begin 1", "a", "b", "begin 2", "a", "b"]}


async def test_a_graph_that_is_awaited(async_saver: AsyncStateraftSaver, config: Any) -> None:
    app = graph().compile(checkpointer=async_saver)
    await app.ainvoke({"steps": ["begin"]}, config)
    assert (await app.aget_state(config)).values == {"steps": ["begin", "a", "b"]}
    assert len([t async for t in app.aget_state_history(config)]) == 4


async def test_of_two_runs_of_a_graph_one_is_refused(async_saver: AsyncStateraftSaver, config: Any) -> None:
    app = graph().compile(checkpointer=async_saver)
    await app.ainvoke({"steps": ["begin"]}, config)
    runs = [app.ainvoke({"steps": [name]}, config) for name in ("one", "other")]
    ended = await asyncio.gather(*runs, return_exceptions=True)
    refused = [e for e in ended if isinstance(e, VersionConflictError)]
    assert len(refused) == 1
    parents = [t.parent_config async for t in async_saver.alist(config)]
    assert len({json.dumps(parent) for parent in parents}) == len(parents), "the chain is forked"


def test_ids_are_in_the_order_of_time() -> None:
    """The order of checkpoints is that of their ids: LangGraph's own promise, on which lists rely."""
    ids = [str(uuid6()) for _ in range(100)]
    assert ids == sorted(ids)

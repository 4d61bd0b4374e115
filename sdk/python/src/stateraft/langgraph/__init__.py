"""A LangGraph checkpointer on Stateraft: ``pip install stateraft[langgraph]``.

    with Client("http://127.0.0.1:7474") as client:
        graph = builder.compile(checkpointer=StateraftSaver(client))

Of two processes that go on from one checkpoint of a thread, one wins: the other's
next checkpoint is refused with a VersionConflictError. A fork that is meant, from
an older checkpoint that was read by its id, is none.

A thread's id has at most 240 bytes; a state of any size may be put. Threads with
up to 127 checkpoints and namespaces are deleted at once, longer ones piecemeal.
What is put meanwhile is kept, or refused: `delete_thread`, `delete_for_runs` and
`prune` begin anew if they find that, and raise a VersionConflictError after ten times.
If `delete_thread` fails it may be called again; until then the thread may be missing
among all threads. A fork from an old checkpoint that `prune` or `delete_for_runs`
removes meanwhile may lack values that it did not change.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator, Sequence
from typing import Any, TypeVar

from langchain_core.runnables import RunnableConfig
from langgraph.checkpoint.base import ChannelVersions, Checkpoint, CheckpointMetadata, CheckpointTuple
from langgraph.checkpoint.serde.base import SerializerProtocol

from .._async import AsyncClient, map_concurrently
from .._steps import Steps
from .._sync import Client
from ..errors import NotFoundError, StateraftError
from ._core import Core, Plan, names_subgraph

T = TypeVar("T")

__all__ = ["AsyncStateraftSaver", "StateraftSaver"]


class StateraftSaver(Core):
    """A checkpointer for graphs that are invoked.

    ``prefix`` begins the names of its workflows, and has no colon: savers with
    different prefixes share nothing. The client stays the caller's to close.
    """

    def __init__(self, client: Client, *, prefix: str = "langgraph", serde: SerializerProtocol | None = None) -> None:
        super().__init__(client.state._calls, prefix, serde)
        self._client = client

    def get_tuple(self, config: RunnableConfig) -> CheckpointTuple | None:
        return self._carry_out(self._plan_get(config))

    def list(
        self,
        config: RunnableConfig | None,
        *,
        filter: dict[str, Any] | None = None,  # noqa: A002
        before: RunnableConfig | None = None,
        limit: int | None = None,
    ) -> Iterator[CheckpointTuple]:
        if config and before and limit == 1 and names_subgraph(config):
            latest = self._carry_out(self._plan_replay(config, before, filter))
            if latest:
                yield latest
            return
        for place in self._carry_out(self._plan_found(config, before)):
            if limit is not None and limit <= 0:
                return
            match = self._carry_out(self._plan_match(*place, filter))
            if match:
                yield match
                limit = None if limit is None else limit - 1

    def put(
        self,
        config: RunnableConfig,
        checkpoint: Checkpoint,
        metadata: CheckpointMetadata,
        new_versions: ChannelVersions,
    ) -> RunnableConfig:
        return self._carry_out(self._plan_put(config, checkpoint, metadata, new_versions))

    def put_writes(
        self, config: RunnableConfig, writes: Sequence[tuple[str, Any]], task_id: str, task_path: str = ""
    ) -> None:
        self._carry_out(self._plan_put_writes(config, writes, task_id, task_path))

    def delete_thread(self, thread_id: str) -> None:
        self._carry_out(self._plan_delete_thread(thread_id))

    def delete_for_runs(self, run_ids: Sequence[str]) -> None:
        self._carry_out(self._plan_delete_for_runs(run_ids))

    def copy_thread(self, source_thread_id: str, target_thread_id: str) -> None:
        self._carry_out(self._plan_copy_thread(source_thread_id, target_thread_id))

    def prune(self, thread_ids: Sequence[str], *, strategy: str = "keep_latest") -> None:
        self._carry_out(self._plan_prune(thread_ids, strategy))

    def _carry_out(self, plan: Plan[T]) -> T:
        try:
            batch = next(plan)
            while True:
                try:
                    results = [self._result(steps) for steps in batch]
                except StateraftError as e:
                    batch = plan.throw(e)
                else:
                    batch = plan.send(results)
        except StopIteration as done:
            result: T = done.value
            return result

    def _result(self, steps: Steps[Any]) -> Any:
        try:
            return self._client._run(steps)
        except NotFoundError:
            return None


class AsyncStateraftSaver(Core):
    """A checkpointer for graphs that are awaited, as `StateraftSaver` otherwise."""

    def __init__(
        self, client: AsyncClient, *, prefix: str = "langgraph", serde: SerializerProtocol | None = None
    ) -> None:
        super().__init__(client.state._calls, prefix, serde)
        self._client = client

    async def aget_tuple(self, config: RunnableConfig) -> CheckpointTuple | None:
        return await self._carry_out(self._plan_get(config))

    async def alist(
        self,
        config: RunnableConfig | None,
        *,
        filter: dict[str, Any] | None = None,  # noqa: A002
        before: RunnableConfig | None = None,
        limit: int | None = None,
    ) -> AsyncIterator[CheckpointTuple]:
        if config and before and limit == 1 and names_subgraph(config):
            latest = await self._carry_out(self._plan_replay(config, before, filter))
            if latest:
                yield latest
            return
        for place in await self._carry_out(self._plan_found(config, before)):
            if limit is not None and limit <= 0:
                return
            match = await self._carry_out(self._plan_match(*place, filter))
            if match:
                yield match
                limit = None if limit is None else limit - 1

    async def aput(
        self,
        config: RunnableConfig,
        checkpoint: Checkpoint,
        metadata: CheckpointMetadata,
        new_versions: ChannelVersions,
    ) -> RunnableConfig:
        return await self._carry_out(self._plan_put(config, checkpoint, metadata, new_versions))

    async def aput_writes(
        self, config: RunnableConfig, writes: Sequence[tuple[str, Any]], task_id: str, task_path: str = ""
    ) -> None:
        await self._carry_out(self._plan_put_writes(config, writes, task_id, task_path))

    async def adelete_thread(self, thread_id: str) -> None:
        await self._carry_out(self._plan_delete_thread(thread_id))

    async def adelete_for_runs(self, run_ids: Sequence[str]) -> None:
        await self._carry_out(self._plan_delete_for_runs(run_ids))

    async def acopy_thread(self, source_thread_id: str, target_thread_id: str) -> None:
        await self._carry_out(self._plan_copy_thread(source_thread_id, target_thread_id))

    async def aprune(self, thread_ids: Sequence[str], *, strategy: str = "keep_latest") -> None:
        await self._carry_out(self._plan_prune(thread_ids, strategy))

    async def _carry_out(self, plan: Plan[T]) -> T:
        try:
            batch = next(plan)
            while True:
                try:
                    results = await map_concurrently(self._result, batch)
                except StateraftError as e:
                    batch = plan.throw(e)
                else:
                    batch = plan.send(results)
        except StopIteration as done:
            result: T = done.value
            return result

    async def _result(self, steps: Steps[Any]) -> Any:
        try:
            return await self._client._run(steps)
        except NotFoundError:
            return None

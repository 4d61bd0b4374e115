"""LangGraph's own conformance suite, whole."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import AsyncGenerator

import pytest
from langgraph.checkpoint.conformance import checkpointer_test, validate
from langgraph.checkpoint.conformance.capabilities import ALL_CAPABILITIES
from langgraph.checkpoint.conformance.report import CapabilityReport

from stateraft import AsyncClient, Client
from stateraft.langgraph import AsyncStateraftSaver, StateraftSaver

from .conftest import Cluster


class InThreads(StateraftSaver):
    """The saver for threads with the coroutines that the suite calls."""

    async def aget_tuple(self, config):  # type: ignore[no-untyped-def]
        return await asyncio.to_thread(self.get_tuple, config)

    async def alist(self, config, **options):  # type: ignore[no-untyped-def]
        for match in await asyncio.to_thread(lambda: list(self.list(config, **options))):
            yield match

    async def aput(self, *args):  # type: ignore[no-untyped-def]
        return await asyncio.to_thread(self.put, *args)

    async def aput_writes(self, *args, **options):  # type: ignore[no-untyped-def]
        return await asyncio.to_thread(lambda: self.put_writes(*args, **options))

    async def adelete_thread(self, thread_id):  # type: ignore[no-untyped-def]
        return await asyncio.to_thread(self.delete_thread, thread_id)

    async def adelete_for_runs(self, run_ids):  # type: ignore[no-untyped-def]
        return await asyncio.to_thread(self.delete_for_runs, run_ids)

    async def acopy_thread(self, *args):  # type: ignore[no-untyped-def]
        return await asyncio.to_thread(self.copy_thread, *args)

    async def aprune(self, thread_ids, **options):  # type: ignore[no-untyped-def]
        return await asyncio.to_thread(lambda: self.prune(thread_ids, **options))


async def test_async_saver(cluster: Cluster) -> None:
    @checkpointer_test(name="AsyncStateraftSaver")
    async def checkpointer() -> AsyncGenerator[AsyncStateraftSaver, None]:
        async with AsyncClient(endpoints=cluster.endpoints) as client:
            yield AsyncStateraftSaver(client, prefix=uuid.uuid4().hex)

    check(await validate(checkpointer))


async def test_saver(cluster: Cluster) -> None:
    @checkpointer_test(name="StateraftSaver")
    async def checkpointer() -> AsyncGenerator[StateraftSaver, None]:
        with Client(endpoints=cluster.endpoints) as client:
            yield InThreads(client, prefix=uuid.uuid4().hex)

    check(await validate(checkpointer))


def check(report: CapabilityReport) -> None:
    report.print_report()
    failures = {name: result.failures for name, result in report.results.items() if result.failures}
    assert failures == {}
    assert report.passed_all()
    assert report.results.keys() == {capability.value for capability in ALL_CAPABILITIES}
    for name, result in report.results.items():
        assert result.passed, name
        assert result.tests_skipped == 0, name
    if not report.passed_all_base():
        pytest.fail("a base capability is missing")

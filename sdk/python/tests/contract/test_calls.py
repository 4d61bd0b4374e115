"""Every call of the contract, by both clients."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from datetime import datetime
from typing import Any

import pytest

from stateraft import StateraftError, errors

from .files import BEYOND_PYTHON, arguments, cases, client_options, method
from .script import Script, Server
from .wires import Clock, async_client, client

FILES = [
    f"calls/{name}.json"
    for name in ("state", "names", "list", "atomic", "consistency", "idempotency", "errors", "agent")
]

Call = Callable[[str, dict[str, Any]], Any]


class Sync:
    def __init__(self, clock: Clock, **options: Any) -> None:
        self.client = client(clock, **options)

    def call(self, name: str, args: dict[str, Any]) -> Any:
        result = method(self.client, name)(**arguments(args))
        return list(result) if name.endswith("pages") else result

    def close(self) -> None:
        self.client.close()


class Async:
    def __init__(self, clock: Clock, **options: Any) -> None:
        self.client = async_client(clock, **options)
        self._loop = asyncio.new_event_loop()

    def call(self, name: str, args: dict[str, Any]) -> Any:
        return self._loop.run_until_complete(self._call(name, args))

    async def _call(self, name: str, args: dict[str, Any]) -> Any:
        called = method(self.client, name)(**arguments(args))
        return [page async for page in called] if name.endswith("pages") else await called

    def close(self) -> None:
        self._loop.run_until_complete(self.client.aclose())
        self._loop.close()


@pytest.mark.parametrize("kind", [Sync, Async])
@pytest.mark.parametrize("case", cases("retries.json", *FILES))
def test_call(case: dict[str, Any], kind: type[Sync | Async]) -> None:
    unknown = case.keys() - {"name", "about", "client", "given", "server", "steps"}
    assert not unknown, f"unknown members of a case: {unknown}"
    script = Script([exchange for step in case["steps"] for exchange in step.get("exchanges", [])])
    with Server(script, case.get("client", {}).get("endpoints", 1)) as server:
        caller = kind(Clock(script, server.urls), endpoints=server.urls, **client_options(case))
        try:
            for step in case["steps"]:
                check(step, caller)
        finally:
            caller.close()
        script.finish()


def check(step: dict[str, Any], caller: Sync | Async) -> None:
    unknown = step.keys() - {"call", "exchanges", "result", "error", "revision"}
    assert not unknown, f"unknown members of a step: {unknown}"
    name, args = step["call"]["method"], step["call"]["args"]
    if "error" in step:
        with pytest.raises(StateraftError) as caught:
            caller.call(name, args)
        assert_error(step["error"], caught.value)
    else:
        assert_result(name, step["result"], caller.call(name, args))
    if "revision" in step:
        assert caller.client.revision == step["revision"]


def assert_error(want: dict[str, Any], got: StateraftError) -> None:
    assert type(got) is errors.CLASSES.get(want["code"], StateraftError)
    names = {
        "code": "code",
        "status": "status",
        "outcome": "outcome",
        "attempts": "attempts",
        "expectedVersion": "expected_version",
        "currentVersion": "current_version",
        "currentValue": "current_value",
        "op": "op",
        "retryAfter": "retry_after",
        "current": "current",
        "limit": "limit",
    }
    assert {name: getattr(got, names[name]) for name in want} == want
    if "status" not in want and want["code"] in ("UNREACHABLE", "NO_ANSWER"):
        assert got.status is None


def assert_result(name: str, want: dict[str, Any], got: Any) -> None:
    if want == {}:
        assert got is None
    elif "pages" in want:
        assert len(got) == len(want["pages"])
        for want_page, page in zip(want["pages"], got, strict=True):
            assert_result("", want_page, page)
    elif want.keys() in ({"version"}, {"deleted"}) and name:
        assert got == next(iter(want.values()))
    elif "results" in want:
        assert [_members(result) for result in got] == want["results"]
    else:
        assert_object(want, got)


def _members(result: Any) -> dict[str, Any]:
    return {name: value for name, value in vars(result).items() if value is not None}


def assert_object(want: dict[str, Any], got: Any) -> None:
    """Compare all members of an object; a value is listed, or its text alone."""
    names = {"updatedAt": "updated_at", "expiresAt": "expires_at", "createdAt": "created_at"}
    members = dict(vars(got))
    if "raw" in want and "value" not in want:
        del members["value"]
    assert members.keys() == {names.get(name, name) for name in want}
    for name, value in want.items():
        found = members[names.get(name, name)]
        if name == "entries" and value is not None:
            assert len(found) == len(value)
            for want_entry, entry in zip(value, found, strict=True):
                assert_object(want_entry, entry)
        elif name in names and value is not None:
            assert found == datetime.fromisoformat(value.replace("Z", "+00:00"))
            assert found.utcoffset() is not None
        else:
            assert found == value
            assert type(found) is type(value)


@pytest.mark.parametrize("kind", [Sync, Async])
@pytest.mark.parametrize("raw", BEYOND_PYTHON)
def test_a_value_beyond_python(raw: str, kind: type[Sync | Async]) -> None:
    step = {
        "call": {"method": "state.get", "args": {"workflow": "wf", "key": "k"}},
        "exchanges": [
            {
                "request": {"method": "GET", "path": "/v1/state/wf/k"},
                "response": {"status": 200, "body": f'{{"value":{raw},"version":1}}'},
            }
        ],
        "result": {"key": "k", "raw": raw, "version": 1, "updatedAt": None, "expiresAt": None},
    }
    test_call({"name": "", "steps": [step]}, kind)


def test_the_driver_finds_what_differs() -> None:
    """A test that cannot fail proves nothing: each of these calls breaks its script."""
    exchange = {
        "request": {"method": "POST", "path": "/v1/state/wf/k", "body": '{"value":1}', "headers": {"If-Match": '"2"'}},
        "response": {"status": 200, "body": '{"version":3}'},
    }
    calls: Iterator[dict[str, Any]] = iter(
        [
            {"workflow": "wf", "key": "k", "value": 1},
            {"workflow": "wf", "key": "k", "value": 2, "ifVersion": 2},
            {"workflow": "wf", "key": "other", "value": 1, "ifVersion": 2},
            {"workflow": "wf", "key": "k", "value": 1, "ifVersion": 2, "returnCurrent": True},
        ]
    )
    for args in calls:
        case = {
            "name": "",
            "steps": [
                {"call": {"method": "state.set", "args": args}, "exchanges": [exchange], "result": {"version": 3}}
            ],
        }
        with pytest.raises(AssertionError):
            test_call(case, Sync)

"""The contract's tables are the client's."""

from __future__ import annotations

import inspect
from typing import Any

import pytest

import stateraft
from stateraft import AsyncClient, Client, _retry, errors
from stateraft._request import Kind
from stateraft._retry import Failure

from .contract.files import load, method, snake


def test_errors() -> None:
    table = load("errors.json")
    assert table["base"] == "StateraftError"
    assert {row["code"]: row["class"] for row in table["errors"]} == {
        code: cls.__name__ for code, cls in errors.CLASSES.items()
    }
    for row in table["errors"]:
        for agent in row["agent"]:
            assert errors.AGENT_CODES.get(agent, agent.upper()) == row["code"]
        assert getattr(stateraft, row["class"]) is errors.CLASSES[row["code"]]


def test_retries() -> None:
    table = load("retries.json")
    assert [row["kind"] for row in table["kinds"]] == [kind.value for kind in Kind]
    assert [row["failure"] for row in table["table"]] == [failure.value for failure in Failure]
    for row in table["table"]:
        rule = _retry.RULES[Failure(row["failure"])]
        assert rule.next == row["next"]
        assert {kind.value: kind in rule.again for kind in Kind if kind is not Kind.PROBE} == {
            kind: row[kind] for kind in ("read", "write", "versioned", "keyed")
        }
        assert Kind.PROBE not in rule.again


def test_pauses() -> None:
    table = load("retries.json")["pauses"]
    assert table == {
        "firstMs": _retry.FIRST_PAUSE * 1000,
        "mostMs": _retry.MOST_PAUSE * 1000,
        "factor": _retry.PAUSE_FACTOR,
        "lessUpToHalfByChance": True,
        "noneInTheFirstRoundOfEndpoints": True,
    }


@pytest.mark.parametrize("kind", [Client, AsyncClient])
def test_defaults(kind: type[Client | AsyncClient]) -> None:
    defaults = {p.name: p.default for p in inspect.signature(kind).parameters.values()}
    table = load("retries.json")["defaults"]
    assert defaults["timeout"] * 1000 == table["timeoutMs"]
    assert defaults["attempt_timeout"] * 1000 == table["attemptTimeoutMs"]
    assert defaults["max_attempts"] == table["maxAttempts"]


@pytest.mark.parametrize("client", [Client(), AsyncClient()], ids=["Client", "AsyncClient"])
@pytest.mark.parametrize("row", load("methods.json")["methods"], ids=lambda row: row["method"])
def test_methods(row: dict[str, Any], client: Client | AsyncClient) -> None:
    """Each has the arguments of the table, in its order, the options as keywords."""
    signature = inspect.signature(method(client, row["method"]))
    own = {"callback", "on_error", "give_up_after"} if row["kind"] == "stream" else set()
    assert [name for name in signature.parameters if name not in own] == [snake(arg) for arg in row["args"]]
    positional = row["python"].partition("(")[2].rstrip(")").split(", ") if row["args"] else []
    names = {argument.partition("=")[0] for argument in positional} - {"**options"}
    keywords = {p.name for p in signature.parameters.values() if p.kind is p.KEYWORD_ONLY}
    assert keywords.isdisjoint(names)
    assert signature.parameters.keys() - keywords == names | (own & {"callback"})


def test_both_clients_have_the_same_methods() -> None:
    def public(kind: type) -> set[str]:
        return {name for name in vars(kind) if not name.startswith("_")}

    assert public(Client) - {"close"} == public(AsyncClient) - {"aclose"}
    assert public(stateraft.State) == public(stateraft.AsyncState)
    assert public(stateraft.Agent) == public(stateraft.AsyncAgent)
    assert public(stateraft.Subscription) == public(stateraft.AsyncSubscription)


def test_exports() -> None:
    assert sorted(stateraft.__all__) == stateraft.__all__
    classes = {cls.__name__ for cls in errors.CLASSES.values()}
    assert classes < set(stateraft.__all__)
    assert all(inspect.getdoc(getattr(stateraft.State, name)) for name in vars(stateraft.State) if name[0] != "_")

"""The contract files, and what their names are in Python."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from stateraft import CheckOp, DeleteOp, RawJson, SetOp

FOLDER = Path(__file__).parents[4] / "docs" / "contract"

# Names in Python, and how many of the file's units one of Python's has.
CLIENT_OPTIONS = {
    "token": ("api_key", None),
    "maxAttempts": ("max_attempts", None),
    "timeoutMs": ("timeout", 1000),
    "attemptTimeoutMs": ("attempt_timeout", 1000),
    "readYourWrites": ("read_your_writes", None),
}


# Values that a node takes, and Python's json does not read.
BEYOND_PYTHON = [
    pytest.param("-" + "9" * 5_000, id="digits"),
    pytest.param("[" * 10_000 + "]" * 10_000, id="levels"),
]


def load(name: str) -> Any:
    return json.loads((FOLDER / name).read_text())


def cases(*names: str) -> list[Any]:
    return [pytest.param(case, id=f"{name}: {case['name']}") for name in names for case in load(name)["cases"]]


def snake(name: str) -> str:
    return re.sub(r"[A-Z]", lambda m: "_" + m.group().lower(), name)


def client_options(case: dict[str, Any]) -> dict[str, Any]:
    options = {}
    for given, value in case.get("client", {}).items():
        if given != "endpoints":
            name, unit = CLIENT_OPTIONS[given]
            options[name] = value / unit if unit else value
    return options


def arguments(args: dict[str, Any]) -> dict[str, Any]:
    """Return keyword arguments for the args of a call."""
    translated = {snake(name): value for name, value in args.items() if name not in ("raw", "ops")}
    if "raw" in args:
        translated["value"] = RawJson(args["raw"])
    if "ops" in args:
        translated["ops"] = [_op(op) for op in args["ops"]]
    return translated


def _op(op: dict[str, Any]) -> SetOp | DeleteOp | CheckOp:
    kinds: dict[str, type[SetOp | DeleteOp | CheckOp]] = {"set": SetOp, "delete": DeleteOp, "check": CheckOp}
    return kinds[op["op"]](**arguments({name: value for name, value in op.items() if name != "op"}))


def method(client: Any, name: str) -> Any:
    for part in name.split("."):
        client = getattr(client, snake(part))
    return client

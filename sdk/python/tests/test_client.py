"""What the contract files cannot say of a client."""

from __future__ import annotations

import asyncio
import importlib.metadata
import importlib.resources
import math
import threading
from contextlib import suppress
from decimal import Decimal
from typing import Any

import httpx
import pytest

from stateraft import (
    AsyncClient,
    BadResponseError,
    Client,
    InvalidRequestError,
    RawJson,
    SetOp,
    UnreachableError,
    VersionConflictError,
)
from stateraft._async import MOST_CALLS, AsyncWire, map_concurrently
from stateraft._json import Member, encode, parse
from stateraft._retry import Failure, delay
from stateraft._sse import Decoder
from stateraft._sync import Wire
from stateraft._wire import Deadline
from stateraft.errors import error


def test_types_are_told() -> None:
    assert importlib.resources.files("stateraft").joinpath("py.typed").is_file()


def test_httpx_is_the_only_dependency() -> None:
    required = importlib.metadata.requires("stateraft") or []
    assert [r for r in required if "extra ==" not in r] == ["httpx<1,>=0.27"]


@pytest.mark.parametrize(
    "options",
    [
        {"base_url": "127.0.0.1:7474"},
        {"base_url": "ftp://host"},
        {"base_url": "http://user@host"},
        {"base_url": "http://host/?q=1"},
        {"endpoints": []},
        {"base_url": "http://a", "endpoints": ["http://b"]},
        {"api_key": "a\nb"},
        {"api_key": ""},
        {"timeout": 0},
        {"attempt_timeout": -1},
        {"max_attempts": 0},
    ],
)
def test_what_makes_no_client(options: dict[str, Any]) -> None:
    with pytest.raises(ValueError):
        Client(**options)


@pytest.mark.parametrize(
    "call",
    [
        lambda state: state.set("wf", "k", object()),
        lambda state: state.set("wf", "k", math.nan),
        lambda state: state.set("wf", "k", "\ud800"),
        lambda state: state.set("wf", "k", RawJson("1,")),
        lambda state: state.set("wf", "k", RawJson('1,"ttl":5')),
        lambda state: state.set("wf", "k", RawJson("NaN")),
        lambda state: state.set("wf", "k", {"nested": RawJson("1")}),
        lambda state: state.set("wf", "k", 1, math.inf),
        lambda state: state.set("wf", "k", 1, if_absent=True, if_exists=True),
        lambda state: state.set("wf", "k", 1, if_version=0, if_absent=True),
        lambda state: state.set("wf", "k", 1, idempotency_key=""),
        lambda state: state.get("wf", "k", consistency="strong"),
        lambda state: state.atomic("wf", [SetOp("k", {1, 2})]),
        lambda state: state.subscribe("wf", "k", snapshot=True, from_revision=1),
        lambda state: state.get("wf", "k" * 70_000),
        lambda state: state.list("wf", prefix="k" * 70_000),
        lambda state: state.subscribe("wf", "k" * 70_000),
    ],
)
def test_what_is_refused_before_anything_is_sent(call: Any) -> None:
    with Client("http://127.0.0.1:1", max_attempts=1) as client, pytest.raises(InvalidRequestError):
        call(client.state)


async def test_a_url_beyond_httpx_is_refused() -> None:
    async with AsyncClient("http://127.0.0.1:1", max_attempts=1) as client:
        with pytest.raises(InvalidRequestError):
            await client.state.get("wf", "k" * 70_000)
        with pytest.raises(InvalidRequestError):
            await client.state.subscribe("wf", "k" * 70_000)


def test_a_ttl_never_becomes_none() -> None:
    from stateraft._options import ttl_member

    assert ttl_member("ttl", 1e-9) == [("ttl", "0.001")]
    assert ttl_member("ttl", 90.0) == [("ttl", "90")]


def test_numbers_of_any_length_are_exact() -> None:
    digits = "9" * 5000
    assert encode(RawJson(digits)) == digits
    assert encode(int("9" * 400)) == "9" * 400


@pytest.mark.parametrize(
    "text",
    [
        *["", "1", "[]", "{", '{"a":1', '{"a":1,}', '{"a":1}1', '{"a" 1}', "{1:1}", '{"a":NaN}', "\xff"],
        pytest.param('{"a":' + "[" * 100_000, id="levels"),
    ],
)
def test_what_is_no_object(text: str) -> None:
    with pytest.raises(ValueError):
        parse(text.encode("latin-1"))


def test_white_space_between_tokens_is_no_part_of_a_value() -> None:
    members = parse(b' { "a" : [ 1 ,2] , "list":[ {"b" : 1.10 } , {} ] } ', "list")
    assert members["a"].raw == "[ 1 ,2]"
    assert members["list"].value[0]["b"].raw == "1.10"


def test_an_integer_of_many_digits_is_a_decimal() -> None:
    digits = "9" * 5_000
    value = parse(f'{{"a":[1,{digits}]}}'.encode())["a"].value
    assert value == [1, Decimal(digits)]
    assert [type(number) for number in value] == [int, Decimal]


def test_a_value_of_many_levels_is_text() -> None:
    levels = 100_000
    nested = r'[{"]":"\"}"},' * levels + "1" + "]" * levels
    members = parse(f'{{"a":{nested} ,"b":2}}'.encode())
    assert members == {"a": Member(RawJson(nested), nested), "b": Member(2, "2")}


def test_a_block_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("stateraft._sse.MAX_BLOCK_BYTES", 100)
    decoder = Decoder()
    assert [block.data for block in decoder.feed(b"data: " + b"x" * 90 + b"\n\n" + b"data: y\n\n")] == [b"x" * 90, b"y"]
    with pytest.raises(ValueError, match="longer"):
        list(decoder.feed(b"data: " + b"x" * 101))


def test_a_line_end_may_be_cut_anywhere() -> None:
    stream = b"id: 5\r\ndata: x\r\ndata: y\r\n\r\n"
    for cut in range(len(stream)):
        decoder = Decoder()
        blocks = [*decoder.feed(stream[:cut]), *decoder.feed(stream[cut:])]
        assert [(block.id, block.data) for block in blocks] == [(b"5", b"x\ny")], cut


def test_a_long_answer_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    from stateraft._steps import Body

    monkeypatch.setattr("stateraft._steps.MAX_ANSWER_BYTES", 10)
    body = Body(200)
    body.add(b"x" * 10)
    with pytest.raises(Exception, match="too long"):
        body.add(b"x")


def test_an_error_says_what_happened() -> None:
    e = error("NO_ANSWER", "reset", outcome="unknown", endpoint="http://a")
    assert str(e) == "NO_ANSWER: reset (http://a); the outcome of the write is unknown"
    assert isinstance(error("VERSION_CONFLICT", ""), VersionConflictError)


def test_those_that_were_refused_together_do_not_come_back_together() -> None:
    refused = error("OVERLOADED", "", status=429, retry_after=1)
    pauses = {delay(1, 1, Failure.OVERLOADED, refused) for _ in range(100)}
    assert len(pauses) > 1
    assert all(1 <= pause <= 1.5 for pause in pauses)


def test_a_call_whose_pause_lasted_too_long_ends_with_its_last_error() -> None:
    class Overslept(Wire):
        slept = 0.0

        def now(self) -> float:
            return self.slept

        def pause(self, seconds: float, ended: threading.Event | None = None) -> None:  # noqa: ARG002
            self.slept += 3600

    class Late(Client):
        _wire_type = Overslept

    with Late("http://127.0.0.1:1") as client, pytest.raises(UnreachableError) as caught:
        client.state.set("wf", "k", 1)
    assert (caught.value.outcome, caught.value.attempts) == ("not_applied", 1)


async def test_an_awaited_call_whose_pause_lasted_too_long_ends_with_its_last_error() -> None:
    class Overslept(AsyncWire):
        slept = 0.0

        def now(self) -> float:
            return self.slept

        async def pause(self, seconds: float) -> None:  # noqa: ARG002
            self.slept += 3600

    class Late(AsyncClient):
        _wire_type = Overslept

    async with Late("http://127.0.0.1:1") as client:
        with pytest.raises(UnreachableError) as caught:
            await client.state.set("wf", "k", 1)
    assert (caught.value.outcome, caught.value.attempts) == ("not_applied", 1)


def test_a_time_limit_is_never_below_a_millisecond() -> None:
    assert Deadline(-1).get("connect") == 0.001


class Moved(httpx.MockTransport):
    """Redirects every request to what a write would take for its answer."""

    def __init__(self) -> None:
        super().__init__(self._redirect)
        self.asked: list[str] = []

    def _redirect(self, request: httpx.Request) -> httpx.Response:
        self.asked.append(request.url.path)
        if request.url.path == "/elsewhere":
            return httpx.Response(200, json={"version": 1})
        return httpx.Response(302, headers={"Location": "/elsewhere"})


REDIRECTED = [
    pytest.param(lambda state: state.set("wf", "k", 1), "/v1/state/wf/k", id="call"),
    pytest.param(lambda state: state.subscribe("wf", "k"), "/v1/state/wf/k/stream", id="stream"),
]


@pytest.mark.parametrize(("call", "path"), REDIRECTED)
def test_no_redirection_is_followed(call: Any, path: str) -> None:
    moved = Moved()
    with httpx.Client(transport=moved, follow_redirects=True) as http, pytest.raises(BadResponseError) as caught:
        call(Client("http://node", http_client=http).state)
    assert (caught.value.status, caught.value.outcome) == (302, "not_applied")
    assert moved.asked == [path]


@pytest.mark.parametrize(("call", "path"), REDIRECTED)
async def test_no_redirection_is_followed_by_an_async_client(call: Any, path: str) -> None:
    moved = Moved()
    async with httpx.AsyncClient(transport=moved, follow_redirects=True) as http:
        with pytest.raises(BadResponseError) as caught:
            await call(AsyncClient("http://node", http_client=http).state)
    assert (caught.value.status, caught.value.outcome) == (302, "not_applied")
    assert moved.asked == [path]


async def test_the_first_call_that_fails_cancels_the_others() -> None:
    cancelled: set[int] = set()

    async def call(n: int) -> None:
        if n == 5:
            raise ValueError("no")
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            cancelled.add(n)
            raise

    with pytest.raises(ValueError, match="no"):
        await map_concurrently(call, range(100))
    assert cancelled >= set(range(MOST_CALLS)) - {5}


async def test_a_subscription_that_is_cancelled_before_it_began_leaves_no_stream() -> None:
    asked, go_on, ended = asyncio.Event(), asyncio.Event(), asyncio.Event()

    async def node(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        asked.set()
        await go_on.wait()
        with suppress(ConnectionError):
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n")
            await reader.read()
        ended.set()
        writer.close()

    async with await asyncio.start_server(node, "127.0.0.1", 0) as server:
        host, port = server.sockets[0].getsockname()
        async with AsyncClient(f"http://{host}:{port}", attempt_timeout=60) as client:
            subscribing = asyncio.create_task(client.state.subscribe("w", "k"))
            await asyncio.wait_for(asked.wait(), 60)
            subscribing.cancel()
            await asyncio.wait({subscribing})
            go_on.set()
            await asyncio.wait_for(ended.wait(), 30)
        assert subscribing.cancelled()

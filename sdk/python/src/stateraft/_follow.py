"""A subscription: one stream after the other, each event once and in order."""

from __future__ import annotations

import random
from collections.abc import Callable, Generator, Mapping
from dataclasses import dataclass, field

from ._call import headers, response_error
from ._json import parse
from ._model import Event, event
from ._request import EVENT_STREAM, Kind, Request
from ._session import Session
from ._sse import Block, Decoder
from ._steps import Answer, Body, Close, Open, Pause, Read, Reply, Step, Steps
from .errors import StateraftError, error

# Yields events beside its steps, and None each time that a stream has begun.
Events = Generator[Step | Event | None, Reply, None]

SILENCE = 45.0  # three of the keep-alives that a node sends every 15 s
DEFAULT_RETRY = 1.0  # what a node is taken to have said that said no retry
MOST_RETRY = 60.0  # bounds what nodes may ask for
# Keeps the streams of a node that ends from arriving at the next one all at once.
SPREAD = 0.1
MOST_PAUSE = 5.0  # bounds the pauses that grow, unless nodes ask for longer


@dataclass(frozen=True)
class Feed:
    """The events of a subscription, and who is to hear of them."""

    events: Events
    callback: Callable[[Event], object] | None
    on_error: Callable[[Exception], object] | None


def follow(
    session: Session,
    path: str,
    *,
    headers: Mapping[str, str] | None = None,
    prefix: str = "",
    snapshot: bool = False,
    from_revision: int | None = None,
    give_up_after: float | None = None,
) -> Events:
    """Tell the changes of what is at a path. The generator ends with an error only."""
    if snapshot and from_revision is not None:
        raise error("INVALID_REQUEST", "a snapshot is of the present: from_revision excludes it")
    query = {"prefix": prefix} if prefix else {}
    follower = _Follower(session, path, query, dict(headers or {}), snapshot, give_up_after, from_revision)
    return follower.run()


@dataclass
class _Follower:
    session: Session
    path: str
    query: dict[str, str]
    headers: dict[str, str]
    snapshot: bool
    give_up_after: float | None
    cursor: int | None  # all up to here has been told; None: nothing to resume from

    syncing: bool = False  # the stream tells the state; there is no cursor until it is complete
    partial: bool = False  # the caller holds a piece of that state

    retry: float = DEFAULT_RETRY  # how long nodes ask to be left alone once they have failed
    failures: int = 0  # in a row
    down_since: float = field(init=False)  # the first of them
    opened: float | None = None  # when the stream began

    def __post_init__(self) -> None:
        self.down_since = self.session.now()

    def run(self) -> Events:
        while True:
            self.syncing = self.cursor is None and (self.snapshot or self.partial)
            request = self._request()
            endpoint, at = self.session.endpoints.current()
            self.opened = None
            e = yield from self._stream(request, endpoint)
            yield Close()
            e.endpoint = endpoint
            if e.code == "REVISION_UNKNOWN":
                self.session.revision.forget(request.min_revision)
            self._count(e)
            pause = self._pause(e)
            down = self.session.now() - self.down_since
            if is_final(e) or (self.give_up_after is not None and down + pause >= self.give_up_after):
                raise e
            self.session.endpoints.leave(at)
            yield Pause(pause)

    def _request(self) -> Request:
        """Ask for a stream from the cursor on."""
        query, headers, least = dict(self.query), dict(self.headers), 0
        headers["Accept"] = EVENT_STREAM
        if self.syncing:
            query["snapshot"] = "true"
        if self.cursor is not None:
            headers["Last-Event-ID"] = str(self.cursor)
        elif self.session.read_your_writes:
            least = self.session.revision.seen
        return Request(Kind.READ, "GET", self.path, query, headers, min_revision=least)

    def _stream(self, request: Request, endpoint: str) -> Generator[Step | Event | None, Reply, StateraftError]:
        """Tell the events of one stream. Its result is what ended it."""
        limit = self.session.attempt_timeout
        sent = headers(self.session, request, limit)
        answer = yield Open(endpoint, request.method, request.target, sent, None, limit, SILENCE)
        if isinstance(answer, StateraftError):
            return answer
        assert isinstance(answer, Answer)
        self.session.revision.observe(answer.headers)  # that a stream ends its connection says nothing of the node
        if not _is_stream(answer):
            return (yield from _refusal(answer, limit))
        decoder = Decoder()
        while True:
            chunk = yield Read(SILENCE if self.opened is not None else limit)
            if isinstance(chunk, StateraftError):
                return chunk
            assert isinstance(chunk, bytes)
            if not chunk:
                return error("NO_ANSWER", "the stream ended")
            try:
                for block in decoder.feed(chunk):
                    yield from self._tell(block)
            except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as e:
                return error("BAD_RESPONSE", f"the stream is not of the contract: {e}", status=answer.status)

    def _tell(self, block: Block) -> Generator[Event | None, Reply, None]:
        if block.retry:
            self.retry = min(block.retry, MOST_RETRY)
        if self.opened is None:
            if not block.id and block.data is None:
                return  # it does not say yet where the stream is
            self.opened = self.session.now()
            yield None
            if self.partial:  # what comes begins from the start
                self.partial = False
                yield Event("resync")
        told = self._take(block)
        if told:
            yield told

    def _take(self, block: Block) -> Event | None:
        """Return the event that a block tells, if it tells one."""
        revision = int(block.id) if block.id.isdigit() and len(block.id) <= 20 else None
        if block.event == "resync":
            self.cursor, self.syncing, self.partial = None, True, True
            return Event("resync")
        if block.event == "synced" and revision is not None:
            self.cursor, self.syncing, self.partial = None, False, False
            self._advance(revision)
            return Event("synced", revision=revision)
        if not block.event and block.data is not None:
            return self._unnamed(event(parse(block.data)))
        if revision is not None and not self.syncing:
            self._advance(revision)
        return None

    def _unnamed(self, told: Event) -> Event | None:
        """Take a change, or a key of a snapshot. A change told before is passed over."""
        if self.syncing:
            self.partial = True
            return told
        if told.revision is None:
            raise ValueError("a change without a revision")
        if self.cursor is not None and told.revision <= self.cursor:
            return None
        self._advance(told.revision)
        return told

    def _advance(self, revision: int) -> None:
        """Move the cursor, never backwards."""
        self.cursor = max(revision, self.cursor or 0)
        self.session.revision.advance(self.cursor)

    def _count(self, e: StateraftError) -> None:
        """Take note of a failure. One of a stream that lasted is the first."""
        now = self.session.now()
        if self.opened is not None and now - self.opened >= self.retry:
            self.failures, self.down_since = 0, now
        self.failures += 1
        e.attempts = self.failures

    def _pause(self, e: StateraftError) -> float:
        """Return the seconds until the next endpoint may be asked.

        The first round of the endpoints is asked with but a little spread. Then,
        before any is asked again, each pause is twice the one before, beginning
        with what nodes ask for, plus up to half of it by chance.
        """
        turn = self.failures - len(self.session.endpoints)
        if turn < 0:
            return random.uniform(0, SPREAD)
        asked = max(self.retry, min(e.retry_after or 0, MOST_RETRY))
        pause: float = max(asked, min(self.retry * 2 ** min(turn, 10), MOST_PAUSE))
        return pause * random.uniform(1, 1.5)


def is_final(e: StateraftError) -> bool:
    """Tell whether asking again would bring no other answer."""
    if e.status is None:
        return e.code not in ("UNREACHABLE", "NO_ANSWER")
    return e.status < 500 and e.status != 429 and e.code != "REVISION_UNKNOWN"


def _is_stream(answer: Answer) -> bool:
    media = (answer.headers.get("Content-Type") or "").partition(";")[0].strip().lower()
    return answer.status == 200 and media == EVENT_STREAM


def _refusal(answer: Answer, limit: float) -> Steps[StateraftError]:
    """Read the rest of an answer that is no stream."""
    body = Body(answer.status)
    while True:
        piece = yield Read(limit)
        if isinstance(piece, StateraftError):
            return piece
        assert isinstance(piece, bytes)
        if not piece:
            return response_error(Answer(answer.status, answer.headers, body.bytes()))
        try:
            body.add(piece)
        except StateraftError as e:
            return e

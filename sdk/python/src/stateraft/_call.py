"""One call: attempts until one is answered for good."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any, TypeVar

from ._json import Object, parse
from ._request import Kind, Request
from ._retry import RULES, Failure, classify, delay, settle
from ._session import USER_AGENT, Headers, Session
from ._steps import Answer, Pause, Send, Steps
from .errors import AGENT_CODES, Outcome, StateraftError, error

T = TypeVar("T")


def perform(session: Session, request: Request, decode: Callable[[Object], T]) -> Steps[T]:
    """Make a call. Its result is what ``decode`` makes of the answer."""
    deadline = session.now() + session.timeout
    uncertain = False  # an earlier attempt may have had its effect
    for attempt in itertools.count(1):
        endpoint, at = session.endpoints.current()
        timeout = min(session.attempt_timeout, deadline - session.now())
        answer = yield send(session, request, endpoint, timeout)
        e = answer if isinstance(answer, StateraftError) else None
        if isinstance(answer, Answer):
            note(session, answer, at)
            try:
                return result(answer, request, decode)
            except StateraftError as failed:
                e = failed
        assert e is not None
        e.endpoint, e.attempts = endpoint, attempt
        failure = classify(e)
        draw_consequences(session, request, failure, e, at)
        again = attempt < session.max_attempts and request.kind in RULES[failure].again
        if not again or not (yield from wait(session, delay(attempt, len(session.endpoints), failure, e), deadline)):
            raise settle(request.kind, e, uncertain)
        uncertain = uncertain or e.outcome == "unknown"
    raise AssertionError  # the loop has no end


def wait(session: Session, pause: float, deadline: float) -> Steps[bool]:
    """Pause, unless that would outlast the call. Its result is whether there is time for an attempt."""
    if session.now() + pause >= deadline:
        return False
    if pause:
        yield Pause(pause)
    return session.now() < deadline


def send(session: Session, request: Request, endpoint: str, timeout: float) -> Send:
    return Send(endpoint, request.method, request.target, headers(session, request, timeout), request.body, timeout)


def headers(session: Session, request: Request, timeout: float) -> dict[str, str]:
    all_headers = dict(request.headers)
    all_headers["User-Agent"] = USER_AGENT
    all_headers["Accept-Encoding"] = "identity"  # values are small, and CPU is what nodes run short of
    # Nine tenths, so that the node's answer is here before this side hangs up.
    all_headers["X-Stateraft-Timeout"] = f"{min(max(timeout * 0.9, 0.001), 60):.3f}"
    if request.body is not None:
        all_headers["Content-Type"] = "application/json"
    if session.api_key:
        all_headers["Authorization"] = f"Bearer {session.api_key}"
    if request.min_revision:
        all_headers["X-Stateraft-Min-Revision"] = str(request.min_revision)
    return all_headers


def note(session: Session, answer: Answer, at: int) -> None:
    """Learn from the answer to a call, whatever it says."""
    session.revision.observe(answer.headers)
    if answer.headers.get("Connection") == "close":
        session.endpoints.leave(at)  # a node that ends its connections is about to end itself


def draw_consequences(session: Session, request: Request, failure: Failure, e: StateraftError, at: int) -> None:
    """See to it that the calls to come do not fail likewise."""
    if RULES[failure].next:
        session.endpoints.leave(at)
    if e.code == "REVISION_UNKNOWN":
        session.revision.forget(request.min_revision)


def result(answer: Answer, request: Request, decode: Callable[[Object], T]) -> T:
    """Return what an answer says, or raise the error that it is."""
    if not 200 <= answer.status < 300:
        raise response_error(answer)
    try:
        return decode(parse(answer.body, *request.lists))
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as e:
        text = f"the answer is not of the contract: {e}"
        raise error("BAD_RESPONSE", text, outcome="unknown", status=answer.status) from e


def response_error(answer: Answer) -> StateraftError:
    """Return the error that an answer is. It need not come from a node: a proxy's page has no code."""
    outcome: Outcome = "not_applied" if answer.status < 500 else "unknown"
    retry_after = _retry_after(answer.headers)
    try:
        told = parse(answer.body)
        code = _code(told)
    except (ValueError, KeyError, AttributeError, RecursionError):
        text = f"status {answer.status} without an error of the contract"
        return error("BAD_RESPONSE", text, outcome=outcome, status=answer.status, retry_after=retry_after)

    def member(*names: str) -> Any:
        return next((told[name].value for name in names if name in told), None)

    return error(
        code,
        member("message") or "",
        outcome=member("outcome") or outcome,
        status=answer.status,
        expected_version=member("expectedVersion", "expected_version"),
        current_version=member("currentVersion", "current_version"),
        current_value=member("currentValue"),
        op=member("op"),
        retry_after=retry_after,
        current=member("current"),
        limit=member("limit"),
    )


def _code(told: Object) -> str:
    """Return the State Store's code, whichever part of the API the error is of."""
    if "code" in told:
        return str(told["code"].value)
    code: str = told["error"].value
    return AGENT_CODES.get(code, code.upper())


def _retry_after(headers: Headers) -> int | None:
    text = headers.get("Retry-After") or ""
    return int(text) if text.isascii() and text.isdigit() and len(text) < 6 else None


def probe(session: Session, path: str) -> Steps[None]:
    """Ask a node once whether it is well."""
    return perform(session, Request(Kind.PROBE, "GET", path), lambda _: None)

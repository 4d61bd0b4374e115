"""Drives the published mnexium, unmodified, through all it offers for state.
Arguments: the base URL, a subject of the caller's own, and the URLs of other
nodes, comma-separated."""
import sys
from datetime import datetime, timedelta, timezone

from mnexium import APIError, Mnexium
from mnexium.types import AgentStateSetOptions


def main(base_url: str, subject: str, others: str) -> None:
    mnx = Mnexium(api_key="any", base_url=base_url, max_retries=0)
    elsewhere = [Mnexium(api_key="any", base_url=url, max_retries=0) for url in others.split(",")]
    of_subject(mnx, elsewhere, subject)
    top_level(mnx, subject + "-top")
    mistakes(mnx, subject)


def of_subject(mnx: Mnexium, elsewhere: list, subject: str) -> None:
    state = mnx.subject(subject).state
    assert state.get("current_task") is None
    value = {"status": "in_progress", "steps": ["research", 1.5, None, "ü"]}
    answer = state.set("current_task", value, ttl_seconds=3600)
    assert answer["ok"] is True and answer["version"] == 1, answer
    for client in [mnx, *elsewhere]:
        got = client.subject(subject).state.get("current_task")
        assert (got["key"], got["value"], got["subject_id"]) == ("current_task", value, subject), got
        assert got["ttl"] == got["expires_at"] == answer["ttl"], got
        left = instant(got["ttl"]) - instant(got["updated_at"])
        assert left == timedelta(hours=1), left
        assert abs(instant(got["updated_at"]) - datetime.now(timezone.utc)) < timedelta(minutes=1), got
        assert client.subject(subject + "x").state.get("current_task") is None

    # Whatever JSON can hold, and keys in every form that the client can send.
    for value in [None, "text", "", 0, False, [], {}, 10**30]:
        state.set("any", value)
        assert state.get("any")["value"] == value and state.get("any")["ttl"] is None
    for key in ["tool:weather:tc_123", "flow/checkout/step 2", "ends/", "ü+%41"]:
        assert state.set(key, key)["key"] == key.replace("%41", "A")
        assert state.get(key)["value"] == key

    # A delete is seen at once everywhere, and may be repeated.
    state.delete("current_task")
    for client in [mnx, *elsewhere]:
        assert client.subject(subject).state.get("current_task") is None
    state.delete("current_task")
    assert state.set("current_task", "anew")["version"] == 3


def top_level(mnx: Mnexium, subject: str) -> None:
    answer = mnx.state.set(AgentStateSetOptions(key="task:onboarding", value=[1], subject_id=subject, ttl_seconds=60))
    assert answer["ok"] is True, answer
    assert mnx.state.get("task:onboarding", subject)["value"] == [1]
    mnx.state.delete("task:onboarding", subject)
    assert mnx.state.get("task:onboarding", subject) is None


def mistakes(mnx: Mnexium, subject: str) -> None:
    for code, call in [
        ("missing_subject_id", lambda: mnx.state.set(AgentStateSetOptions(key="k", value=1))),
        ("missing_subject_id", lambda: mnx.state.get("k")),
        ("missing_subject_id", lambda: mnx.state.delete("k")),
        ("invalid_ttl_seconds", lambda: mnx.subject(subject).state.set("k", 1, ttl_seconds=-1)),
        ("invalid_key", lambda: mnx.subject(subject).state.set("", 1)),
        ("invalid_request", lambda: mnx.subject(subject).state.set("a?b", 1)),
        ("value_too_large", lambda: mnx.subject(subject).state.set("k", "v" * (1 << 20))),
    ]:
        try:
            call()
        except APIError as e:
            assert e.code == code and str(e), (e.code, e)
        else:
            raise AssertionError(f"{code}: not refused")
    assert mnx.subject(subject).state.get("k") is None


def instant(text: str) -> datetime:
    return datetime.fromisoformat(text.replace("Z", "+00:00"))


main(*sys.argv[1:])

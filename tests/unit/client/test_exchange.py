"""What the clients share: paths, retries, errors, the stream of events, and waiting. No I/O."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import Any, Final

import pytest
from hypothesis import given
from hypothesis import strategies as st

from actors.client import (
    AnswerError,
    ConflictError,
    DeadlineError,
    Event,
    ForbiddenError,
    InvalidError,
    NotFoundError,
    ProblemError,
    UnavailableError,
    UnreachableError,
    calls,
    run_calls,
)
from actors.client.call import Call
from actors.client.exchange import DEFAULT_URL, Again, Answer, Done, Exchange, Options, Retries, options
from actors.client.feed import Feed, Lines, Told
from actors.client.run_records import Run
from actors.client.waiting import Patience
from actors.settings import load_settings

TWICE = Options("http://h", "secret-token-0123456789", Retries(attempts=2))
RUN: Final[dict[str, Any]] = {
    "runId": "run-1", "workflowSlug": "w", "status": "running", "trigger": {}, "parameters": {}, "partitionKey": None,
    "createdAt": "2026-11-23T10:00:00.000Z", "startedAt": None, "endedAt": None, "error": None, "colour": "new",
}  # fmt: skip


def problem(status: int, **more: Any) -> Answer:
    body = {"type": "urn:x", "title": "T", "status": status, "detail": "D", "instance": "/i", **more}
    return Answer(status, {}, json.dumps(body).encode())


def exchange(call: Call[Any], options_: Options = TWICE) -> Exchange[Any]:
    return Exchange(call, options_)


@pytest.mark.parametrize(
    ("call", "target"),
    [
        (calls.asset("orders/daily ü", partition_key="a&b"), "/api/v1/assets/orders%2Fdaily%20%C3%BC?partition=a%26b"),
        (calls.asset(".."), "/api/v1/assets/%2E%2E"),
        (calls.asset("a%2Fb"), "/api/v1/assets/a%252Fb"),
        (calls.unpause("asset:a/b"), "/api/v1/pauses/asset%3Aa%2Fb"),
        (run_calls.runs(limit=3), "/api/v1/runs?limit=3"),
    ],
)
def test_ids_and_filters_are_written_so_that_they_arrive(call: Call[Any], target: str) -> None:
    assert call.target == target


def test_a_newer_service_may_say_more() -> None:
    run = exchange(Call("GET", "/x", Run.model_validate_json)).answered(Answer(200, {}, json.dumps(RUN).encode()))
    assert isinstance(run, Done)
    assert (run.value.run_id, run.value.created_at) == ("run-1", datetime(2026, 11, 23, 10, tzinfo=UTC))
    assert run.value.model_extra == {"colour": "new"}


def test_what_may_be_repeated_is_sent_again_while_the_service_cannot() -> None:
    sent = exchange(run_calls.runs())
    again = sent.answered(Answer(503, {"retry-after": "3"}, b""))
    assert again == Again(3.0)
    assert sent.answered(Answer(200, {}, b"[]")) == Done([])


def test_it_is_sent_as_often_as_was_said() -> None:
    sent = exchange(run_calls.runs())
    assert sent.failed(OSError("refused")).wait_seconds <= Retries().most_seconds
    with pytest.raises(UnreachableError, match=r"no answer from http://h \(refused\)"):
        sent.failed(OSError("refused"))
    sent = exchange(run_calls.runs())
    sent.answered(problem(429))
    with pytest.raises(UnavailableError):
        sent.answered(problem(503))


def test_what_may_not_be_repeated_is_sent_once() -> None:
    with pytest.raises(UnreachableError):
        exchange(run_calls.run_workflow("w")).failed(OSError("reset"))
    with pytest.raises(UnavailableError):
        exchange(run_calls.run_workflow("w")).answered(problem(503))


@given(st.integers(1, 60))
def test_waits_grow_up_to_a_bound(attempt: int) -> None:
    waited = Retries().wait_seconds(attempt)
    whole = min(5.0, 0.2 * 2.0 ** (attempt - 1))
    assert whole / 2 <= waited <= whole


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (401, ForbiddenError),
        (403, ForbiddenError),
        (404, NotFoundError),
        (409, ConflictError),
        (413, InvalidError),
        (422, InvalidError),
        (504, UnavailableError),
        (500, ProblemError),
        (418, ProblemError),
    ],
)
def test_a_problem_is_an_exception_of_its_kind(status: int, kind: type[ProblemError]) -> None:
    faults = [{"path": "$.slug", "reason": "is bad"}]
    with pytest.raises(ProblemError) as caught:
        exchange(run_calls.cancel("r")).answered(problem(status, errors=faults, leader={"pid": 7}))
    error = caught.value
    assert type(error) is kind
    assert (error.status, error.title, error.detail, error.type) == (status, "T", "D", "urn:x")
    assert error.leader == {"pid": 7}
    assert str(error) == f"{status} T: D\n  $.slug: is bad"


def test_what_is_no_answer_of_ours_is_told_as_it_is() -> None:
    with pytest.raises(ProblemError, match="405 Method Not Allowed: <html>nginx"):
        exchange(run_calls.cancel("r")).answered(Answer(405, {}, b"<html>nginx"))
    with pytest.raises(AnswerError, match=r"http://h/api/v1/runs.*not understood.*hello"):
        exchange(run_calls.runs()).answered(Answer(200, {}, b"hello"))
    with pytest.raises(ProblemError, match="302 Found"):
        exchange(run_calls.runs()).answered(Answer(302, {}, b""))


def test_the_token_is_sent_and_never_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HEADWATER_TOKEN", "of-the-environment-0123")
    monkeypatch.delenv("HEADWATER_URL", raising=False)
    told = options(None, None, 3)
    assert (told.base_url, told.token) == (DEFAULT_URL, "of-the-environment-0123")
    assert exchange(run_calls.runs(), told).headers["Authorization"] == "Bearer of-the-environment-0123"
    assert options("https://h/deep/", "given", 3).token == "given"
    assert (
        exchange(run_calls.runs(limit=1), options("https://h/deep/", "t", 1)).url
        == "https://h/deep/api/v1/runs?limit=1"
    )
    assert "environment" not in repr(told)
    with pytest.raises(ValueError, match="no address of a service"):
        options("h:8080", None, 3)


def test_the_client_s_variables_are_no_settings_of_the_service() -> None:
    load_settings([], {"HEADWATER_URL": "http://h", "HEADWATER_TOKEN": "of-the-environment-0123"})


def test_an_event_keeps_its_id_and_its_time() -> None:
    at = datetime(2026, 11, 23, 10, tzinfo=UTC)
    told = Event.produced("a", partition_key="k", produced_at=at, data_version="8f2c", id="load-1").to_json()
    assert told == {
        "specversion": "1.0", "id": "load-1", "source": "/headwater-client/a%40k", "type": "asset.produced",
        "time": "2026-11-23T10:00:00+00:00",
        "data": {"assetId": "a", "partitionKey": "k", "dataVersion": "8f2c", "producedAt": "2026-11-23T10:00:00+00:00"},
    }  # fmt: skip
    assert Event.produced("a").id != Event.produced("a").id
    assert Event.produced("a", id="1").source != Event.produced("b", id="1").source
    with pytest.raises(ValueError, match="no timezone"):
        Event.produced("a", produced_at=datetime(2026, 11, 23))


def test_a_pause_says_how_long() -> None:
    assert json.loads(calls.pause(lasting=timedelta(hours=1, milliseconds=1)).body or b"") == {
        "scope": "all",
        "for": "3600001ms",
    }
    with pytest.raises(ValueError, match="no timezone"):
        calls.pause(until=datetime(2026, 11, 23))


STREAM = (
    ': listening\n\nevent: decision\ndata: {"a":\ndata: 1}\nid: 7\n\nevent: end\r\ndata: over\r\n\r\n: nothing new\n\n'
)


@given(st.lists(st.integers(0, len(STREAM)), max_size=8))
def test_events_are_whole_however_the_text_is_cut(cuts: list[int]) -> None:
    lines, places = Lines(), [0, *sorted(cuts), len(STREAM)]
    pieces = (STREAM[start:end] for start, end in pairwise(places))
    heard = [event for piece in pieces for event in lines.feed(piece)]
    assert heard == [Told(kind="decision", data='{"a":\n1}'), Told(kind="end", data="over")]
    assert lines.last_id == "7"


DECISION = 'id: 9\nevent: decision\ndata: {"at": null, "decision": "wait", "reason": "debounce", "cause": "x"}\n\n'


def test_a_stream_that_ends_is_begun_again_from_where_it_was() -> None:
    gaps: list[str] = []
    feed = Feed("a", None, TWICE, gaps.append)
    assert feed.url == "http://h/api/v1/decisions?asset=a"
    (heard,) = feed.told(DECISION)
    assert heard.reason == "debounce"
    assert list(feed.told('event: end\ndata: {"reason": "it stops"}\n\n')) == []
    assert feed.broken() > 0
    assert gaps == ["it stops"]
    assert feed.headers["Last-Event-ID"] == "9"
    # It answered in between, so the count begins anew.
    list(feed.told(": listening\n\n"))
    feed.broken(OSError("reset"))
    assert gaps == ["it stops", "reset"]
    with pytest.raises(UnreachableError, match="nobody answered 2 times"):
        feed.broken(OSError("reset"))


def test_a_stream_that_is_refused_for_good_is_not_asked_for_again() -> None:
    feed = Feed(None, None, TWICE, None)
    with pytest.raises(ForbiddenError):
        feed.refused(problem(403))
    assert feed.refused(problem(503)) > 0
    with pytest.raises(UnavailableError):
        feed.refused(problem(503))


def looks(timeout_seconds: float | None, until: float) -> Iterator[float]:
    """At which times a run is looked at that does not end before `until`."""
    patience, now = Patience("run-1", 100.0, timeout_seconds), 100.0
    while now - 100 < until:
        yield now - 100
        now += patience.wait_seconds(Run.model_validate(RUN), now)


def test_waiting_looks_often_first_and_gives_up_at_the_deadline() -> None:
    times = list(looks(None, 60.0))
    assert times[1] == pytest.approx(0.05)
    assert max(after - before for before, after in pairwise(times)) == pytest.approx(2.0)
    assert len(times) < 45
    seen: list[float] = []
    with pytest.raises(DeadlineError, match="run run-1 is running after 5 s"):
        seen.extend(looks(5.0, 60.0))
    assert seen[-1] == pytest.approx(5.0)


def test_without_httpx_the_error_says_what_to_install() -> None:
    code = "import sys; sys.modules['httpx'] = None; import actors.client"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.stderr.splitlines()[-1].endswith("pip install 'headwater[client]'")

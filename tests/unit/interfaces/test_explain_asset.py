"""Why an asset is, or is not, being made, in words."""

from __future__ import annotations

from typing import Any

import pytest

from actors.catalog.store import AssetRecord, HistoryEntry
from actors.core.graph import AssetSpec, Graph
from actors.core.run_queue import Capacity
from actors.core.state import FailureRecord, Materialization
from actors.interfaces.explain_asset import Facts, explain_partition
from actors.interfaces.explain_queue import Queue
from actors.interfaces.explain_view import MOST_PARTITIONS, explanation_lines
from tests.unit.interfaces.definitions import definition

NOON = 1_772_366_400_000
WORKFLOW = definition("daily", "d", "u", "v", autoMaterialize={"onUpstreamUpdate": True, "pool": "p"}).to_spec()
(SPEC,) = WORKFLOW.assets


def facts(spec: AssetSpec | None = SPEC, **more: Any) -> Facts:
    given: dict[str, Any] = {
        "record": AssetRecord(),
        "upstreams": {"u": AssetRecord(latest={None: Materialization(7, 7, NOON - 9_000)}, counter=7)},
        "history": [],
        "queue": None,
        "pause": None,
        "errors": {"run-9": "step 'make': no luck\nand more"},
        "now_ms": NOON,
    }
    return Facts(asset_id="d", spec=spec, **{**given, **more})


def partition(state: str, reason: str, **more: Any) -> dict[str, Any]:
    return {
        "partitionKey": None,
        "state": state,
        "reason": reason,
        "version": 3,
        "producedAt": "2026-03-01T11:59:00.000Z",
        "inputs": {"u": {"read": 6, "latest": 7, "stale": True}, "v": {"read": None, "latest": None, "stale": False}},
        "failures": 0,
        "budgetLeft": 5,
        "decisions": [],
        **more,
    }


def explained(given: dict[str, Any], known: Facts | None = None) -> dict[str, Any]:
    return dict(explain_partition(given, known or facts()))


def queue(active: list[str], *, wanted: bool = True, **limits: Any) -> Queue:
    capacity = Capacity(**{"max_runs": 10, **limits})
    status: Any = {
        "active": [
            {"runId": f"run-{n}", "workflowSlug": slug, "partitionKey": str(n)} for n, slug in enumerate(active)
        ],
        "wanted": [
            {"workflowSlug": "other", "partitionKey": None},
            *([{"workflowSlug": "daily", "partitionKey": None}] if wanted else []),
        ],
    }
    return Queue(status, Graph([WORKFLOW]), capacity, 60_000)


@pytest.mark.parametrize(
    ("active", "limits", "said"),
    [
        (["other", "other"], {"max_runs": 2}, "2 runs are active, the limit of all runs; 1 wait before it"),
        (["daily"], {"workflows": {"daily": 1}}, "workflow daily, which is limited to 1 runs"),
        (["daily", "daily"], {"pools": {"p": 2}}, "pool p, which is limited to 2 runs"),
        ([], {}, "there is room"),
    ],
)
def test_a_wanted_run_names_the_limit_that_holds_it(active: list[str], limits: dict[str, Any], said: str) -> None:
    told = explained(partition("stale", "upstream-updated"), facts(queue=queue(active, **limits)))
    assert told["waitsFor"]["kind"] == "slot"
    assert said in told["waitsFor"]["text"]
    assert "an upstream has a newer version" in told["verdict"]


def test_a_run_that_is_not_in_the_queue_any_more_is_being_started() -> None:
    told = explained(partition("stale", "expired"), facts(queue=queue([], wanted=False)))
    assert told["waitsFor"]["kind"] == "submission"
    assert told["verdict"].startswith("what was made has expired; ")


def test_an_expiry_that_is_over_is_no_next_look() -> None:
    told = explained(partition("expired", "expired", expiresAt="2026-03-01T11:59:30.000Z", expiryRule="ttl"))
    assert told["nextLook"] is None
    assert {"at": "2026-03-01T11:59:30.000Z", "what": "expired by ttl"} in told["timeline"]


def test_without_a_service_that_is_what_it_waits_for() -> None:
    told = explained(partition("missing", "upstream-updated", version=None))
    assert told["waitsFor"]["kind"] == "service"
    assert told["verdict"].startswith("it has never been made, and an upstream has changed; it waits for a service")
    assert told["toMakeItRun"][0] == "start a service: python run.py"


def test_backoff_says_until_when_and_after_how_many_failures() -> None:
    record = AssetRecord(failures={None: FailureRecord(2, NOON - 1_000, "run-9")})
    given = partition("backoff", "backoff", failures=2, budgetLeft=3, nextEligibleAt="2026-03-01T12:00:04.000Z")
    told = explained(given, facts(record=record))
    assert told["waitsFor"]["until"] == told["nextLook"] == "2026-03-01T12:00:04.000Z"
    assert "2 failures in a row; 3 more suspend it" in told["waitsFor"]["text"]
    line = {"at": "2026-03-01T11:59:59.000Z", "what": "run run-9 failed (2 times in a row now): step 'make': no luck"}
    assert line in told["timeline"]
    assert told["verdict"].startswith("what was made has expired; it waits for the backoff")
    updated = {**given, "pendingCauses": [{"assetId": "u", "partitionKey": None, "version": 7}], "failures": 1}
    assert explained(updated)["verdict"].startswith("it is stale: an upstream has a newer version")
    assert "after a failure; 3 more" in explained(updated)["waitsFor"]["text"]


def test_suspension_says_how_to_resume() -> None:
    told = explained(partition("suspended", "suspended", partitionKey="x", failures=5))
    assert "somebody to resume it; its failure budget is used up (5 in a row)" in told["waitsFor"]["text"]
    assert told["toMakeItRun"][0] == "resume it, to go on at once: python run.py resume d --partition x"
    cooling = explained(partition("suspended", "suspended", failures=5, nextEligibleAt="2026-03-01T12:09:00.000Z"))
    assert cooling["nextLook"] == "2026-03-01T12:09:00.000Z"
    assert "the end of its cool-off" in cooling["waitsFor"]["text"]


@pytest.mark.parametrize(
    ("scope", "until", "way"),
    [
        ("all", None, "end the pause: python run.py unpause --all"),
        ("workflow:daily", "2026-03-01T13:00:00.000Z", "end the pause: python run.py unpause --workflow daily"),
        ("asset:a:b", None, "end the pause: python run.py unpause --asset a:b"),
    ],
)
def test_a_pause_says_whose_it_is_and_how_to_end_it(scope: str, until: str | None, way: str) -> None:
    pause = {"scope": scope, "since": None, "until": until, "reason": "moving"}
    told = explained(partition("paused", "paused"), facts(pause=pause))
    assert told["waitsFor"]["until"] == until
    assert f"of {scope}, because: moving" in told["waitsFor"]["text"]
    assert way in told["toMakeItRun"]
    by_time = f"nothing but time: it goes on by itself at {until}"
    assert (by_time in told["toMakeItRun"]) == (until is not None)


def test_a_wave_names_the_upstreams_that_are_pending() -> None:
    pending = [{"assetId": "u", "partitionKey": None}, {"assetId": "v", "partitionKey": "x"}]
    decisions = [{"at": "2026-03-01T11:59:58.000Z", "decision": "wait", "reason": "upstream-pending", "cause": "news"}]
    decisions[0]["until"] = "2026-03-01T13:00:00.000Z"
    told = explained(partition("stale", "upstream-pending", pendingUpstreams=pending, decisions=decisions))
    assert told["waitsFor"]["text"].endswith(": u, v@x")
    assert told["waitsFor"]["until"] == "2026-03-01T13:00:00.000Z"


def test_debounce_ends_when_the_last_decision_says() -> None:
    entry = {"at": "2026-03-01T11:59:58.000Z", "decision": "wait", "reason": "debounce", "cause": "asset.produced u v7"}
    told = explained(partition("stale", "debounce", decisions=[{**entry, "until": "2026-03-01T12:00:03.000Z"}]))
    assert told["nextLook"] == "2026-03-01T12:00:03.000Z"
    assert any("decided to wait: debounce" in line["what"] for line in told["timeline"])


def test_quiet_hours_end_is_known_without_a_decision() -> None:
    quiet = {"quietHours": {"windows": [{"start": "11:00", "end": "12:30"}], "timezone": "UTC"}}
    (spec,) = definition("daily", "d", "u", autoMaterialize={"onUpstreamUpdate": True, **quiet}).to_spec().assets
    told = explained(partition("paused", "quiet-hours"), facts(spec))
    assert told["waitsFor"]["until"] == "2026-03-01T12:30:00.000Z"


def test_what_is_fresh_says_what_would_make_it_run() -> None:
    told = explained(partition("fresh", "fresh", expiresAt="2026-03-01T12:10:00.000Z", expiryRule="ttl"))
    assert told["waitsFor"] is None
    assert told["toMakeItRun"] == [
        "a new version of any of u, v with other data",
        "its expiry by ttl at 2026-03-01T12:10:00.000Z",
        "ask for it by hand, through all waits but limits: python run.py trigger daily",
    ]
    assert told["timeline"][-1] == {"at": "2026-03-01T12:10:00.000Z", "what": "expires by ttl"}


def test_what_nobody_makes_is_told_of_from_outside() -> None:
    told = explained(partition("fresh", "no-producer"), facts(None))
    assert "it comes from outside" in told["verdict"]
    assert told["toMakeItRun"] == [
        "tell of it when it is produced: python run.py emit asset.produced --asset d",
    ]


def test_the_timeline_is_in_the_order_of_time() -> None:
    made = Materialization(3, 3, NOON - 60_000, run_id="run-1", inputs={"u": 6})
    other = HistoryEntry("d", "x", Materialization(2, 2, NOON - 70_000), "daily", "make", None)
    told = explained(
        partition("stale", "upstream-updated", pendingCauses=[{"assetId": "u", "partitionKey": None, "version": 7}]),
        facts(history=[HistoryEntry("d", None, made, "daily", "make", None), other]),
    )
    assert [line["what"] for line in told["timeline"]] == [
        "v3 was made by run run-1 from u v6",
        "u v7 was produced; it was not made from that",
        "now: stale (upstream-updated)",
    ]


def test_what_it_was_made_from_is_set_against_the_latest() -> None:
    told = explained(partition("stale", "upstream-updated"))
    assert told["madeFrom"]["upstreams"][0] == {
        "assetId": "u",
        "read": 6,
        "latest": 7,
        "newest": 7,
        "isNewer": True,
        "counts": True,
    }


def test_of_many_partitions_the_page_shows_those_with_something_to_say() -> None:
    keys = [f"k{n:02}" for n in range(MOST_PARTITIONS + 5)]
    calm = [explained(partition("fresh", "fresh", partitionKey=key)) for key in keys]
    stale = explained(partition("suspended", "suspended", partitionKey="zz", failures=5))
    page: Any = {"assetId": "d", "workflowSlug": "daily", "live": True, "partitions": [*calm, stale]}
    lines = [str(line) for line in explanation_lines(page, NOON)]
    assert lines[2].startswith("d@zz  suspended")
    assert lines[-1].startswith("6 more partitions are left out")
    empty = explanation_lines({"assetId": "d", "workflowSlug": None, "live": False, "partitions": []}, NOON)
    assert [str(line) for line in empty] == [
        "d  made outside  (told by the catalog alone)",
        "  nothing has happened to it yet",
    ]

"""`explain` and `plan` on a real catalog, with a service and without."""

from __future__ import annotations

from typing import Any

import pytest
from redis import Redis

from actors.catalog.redis_store import RedisStore
from actors.catalog.store import Limits, NewMaterialization, NewRun, RunStatus
from actors.interfaces.explain_run import MOST_DEEP, story_json, tell_story
from actors.interfaces.explain_story import story_lines
from actors.setting_groups import HistorySettings
from tests.integration.cli.conftest import Place

pytestmark = pytest.mark.integration

T0 = 1_764_000_000_000


def _everything(client: Redis, prefix: str) -> dict[str, Any]:
    """Every key of the catalog with what it holds."""
    return {key: client.dump(key) for key in sorted(client.scan_iter(f"{prefix}:*", count=1000))}


@pytest.fixture
def raw(server_url: str) -> Any:
    client = Redis(unix_socket_path=server_url.removeprefix("unix://"))
    yield client
    client.close()


def _upstream_updated(asset_id: str, *causes: tuple[str, int]) -> dict[str, Any]:
    return {
        "type": "auto-materialize",
        "reason": "upstream-updated",
        "assetId": asset_id,
        "partitionKey": None,
        "upstream": [{"assetId": a, "partitionKey": None, "version": version} for a, version in causes],
        "attempt": 1,
    }


def _ran(store: RedisStore, run_id: str, asset_id: str, trigger: dict[str, Any]) -> None:
    """A run of a workflow named as its asset, from beginning to end."""
    store.submit([NewRun(run_id, asset_id, None, {}, trigger, T0, Limits(100))])
    store.start_run(run_id, upstreams=(), now_ms=T0 + 1)
    store.record(NewMaterialization(asset_id, None, T0 + 2, run_id=run_id, step_id="make"))
    store.finish_run(run_id, RunStatus.SUCCEEDED, now_ms=T0 + 3)


def test_a_plan_touches_nothing(filled: Place, raw: Redis, prefix: str) -> None:
    filled.ok("emit", "asset.produced", "--asset", "orders.daily")
    filled.ok("trigger", "failing")
    before = _everything(raw, prefix)
    answer = filled.ok("plan", "--produced", "orders.raw", "--expired", "orders.daily", "--json")
    filled.ok("plan", "--minutes", "1")
    assert _everything(raw, prefix) == before
    plan = answer.json
    assert (plan["isServiceRunning"], plan["isComplete"]) == (False, True)
    assert [(e["event"], e["assetId"], e["version"]) for e in plan["events"]] == [
        ("asset.produced", "orders.raw", 1),
        ("asset.expired", "orders.daily", 1),
    ]
    # One run for both events: the asset asks once.
    assert [(r["workflowSlug"], r["reason"], r["at"] == plan["beginsAt"]) for r in plan["runs"]] == [
        ("failing", "manual", True),
        ("daily", "upstream-updated", True),
    ]
    assert plan["runs"][1]["makes"] == [{"assetId": "orders.daily", "partitionKey": None, "version": 2}]


def test_a_plan_beside_a_service_says_what_the_service_then_does(place: Place) -> None:
    with place.service():
        (planned,) = place.ok("plan", "--produced", "orders.raw", "--json").json["runs"]
        assert place.ok("runs", "--json").json == []
        place.ok("emit", "asset.produced", "--asset", "orders.raw")
        (run,) = place.until(lambda runs: bool(runs) and runs[0]["endedAt"] is not None, "runs")
        assert (run["workflowSlug"], run["trigger"]["reason"]) == (planned["workflowSlug"], planned["reason"])
        assert run["trigger"]["upstream"][0]["version"] == planned["becauseOf"][0]["version"]
        assert planned["becauseOf"][0]["by"] == "event"
        again = place.ok("plan", "--produced", "orders.raw", "--json").json
        assert (again["isServiceRunning"], again["runs"][0]["durationSamples"]) == (True, 1)
        assert "WORKFLOW" in place.ok("plan", "--produced", "orders.raw").out


def test_a_plan_without_runs_says_so(filled: Place) -> None:
    answer = filled.ok("plan", "--minutes", "5")
    assert answer.out.startswith("no run would start\n")
    assert "note: looked 5 min ahead; 0 runs would start" in answer.out


@pytest.mark.parametrize(
    ("args", "code", "said"),
    [
        (("plan", "--expired", "orders.daily"), 1, "orders.daily was never produced"),
        (("plan", "--produced", "orders.store@c"), 2, "partition key 'c' is unknown"),
        (("plan", "--produced", "@x"), 2, "write ASSET or ASSET@PARTITION"),
        (("explain",), 2, "name an asset, or a run with --run"),
        (("explain", "orders.daily", "--run", "run-1"), 2, "and not both"),
        (("explain", "--run", "run-1", "--partition", "x"), 2, "leave it out with --run"),
        (("explain", "--run", "run-none"), 1, "there is no run 'run-none'"),
        (("explain", "orders.dayly"), 1, "did you mean 'orders.daily'"),
        (("explain", "orders.daily", "--partition", "x"), 1, "has no partition 'x'"),
    ],
)
def test_a_refusal_says_what_to_do(filled: Place, args: tuple[str, ...], code: int, said: str) -> None:
    answer = filled.run(*args)
    assert (answer.code, answer.out) == (code, "")
    assert said in answer.err


def test_without_a_service_the_catalog_explains(filled: Place) -> None:
    filled.ok("emit", "asset.produced", "--asset", "orders.raw")
    answer = filled.ok("explain", "orders.daily", "--json")
    assert "no service is running" in answer.err
    (partition,) = answer.json["partitions"]
    assert (answer.json["live"], partition["waitsFor"]["kind"]) == (False, "service")
    assert "told by the catalog alone" in filled.ok("explain", "orders.daily").out
    filled.ok("pause", "--asset", "orders.daily", "--reason", "moving")
    (paused,) = filled.ok("explain", "orders.daily", "--json").json["partitions"]
    assert (paused["reason"], paused["waitsFor"]["kind"]) == ("paused", "paused")
    assert paused["toMakeItRun"][0] == "end the pause: python run.py unpause --asset orders.daily"
    notes = filled.ok("plan", "--json").json
    assert notes["runs"] == []
    assert any(text.startswith("paused: asset:orders.daily until it is unpaused") for text in notes["notes"])


def test_a_running_service_explains_a_suspension_and_a_run(place: Place) -> None:
    with place.service():
        place.ok("emit", "asset.produced", "--asset", "luck")
        place.until(lambda a: a["partitions"][0]["state"] == "suspended", "explain", "fortune")
        told = place.ok("explain", "fortune", "--json").json
        (partition,) = told["partitions"]
        assert (told["live"], partition["waitsFor"]["kind"]) == (True, "suspended")
        assert partition["toMakeItRun"][0] == "resume it, to go on at once: python run.py resume fortune"
        assert any(d["decision"] == "materialize" for d in partition["decisions"])
        (run,) = place.ok("runs", "--json").json
        story = place.ok("explain", "--run", run["runId"], "--json").json
        (origin,) = story["run"]["because"]
        assert (origin["kind"], origin["assetId"], origin["note"]) == ("upstream", "luck", "produced outside")
        assert (story["made"], story["followedBy"]) == ([], [])
        assert "it made nothing" in place.ok("explain", "--run", run["runId"]).out
        fresh = place.ok("explain", "orders.raw", "--json").json["partitions"]
        assert fresh == []


def test_a_run_is_explained_back_to_every_first_cause(store: RedisStore) -> None:
    _ran(store, "run-a", "a", {"type": "manual", "reason": "cli"})
    store.record(NewMaterialization("outside", None, T0))
    expiry: dict[str, Any] = {
        "type": "auto-materialize",
        "reason": "expired",
        "assetId": "e",
        "partitionKey": None,
        "upstream": [],
    }
    _ran(store, "run-e", "e", {**expiry, "expiry": {"expiresAtMs": T0, "reason": "ttl"}})
    _ran(store, "run-b", "b", _upstream_updated("b", ("a", 1), ("outside", 1), ("e", 1)))
    _ran(store, "run-c", "c", _upstream_updated("c", ("a", 1), ("b", 1)))
    record = store.run("run-b")
    assert record is not None
    told: Any = story_json(tell_story(store, record))
    because = told["run"]["because"]
    assert [b["madeBy"] and b["madeBy"]["runId"] for b in because] == ["run-a", None, "run-e"]
    assert [b["madeBy"]["because"][0]["kind"] for b in because if b["madeBy"]] == ["manual", "expiry"]
    assert because[2]["madeBy"]["because"][0]["text"] == "e expired by its ttl"
    assert told["made"] == [{"assetId": "b", "partitionKey": None, "version": 1}]
    assert [run["runId"] for run in told["followedBy"]] == ["run-c"]

    last = store.run("run-c")
    assert last is not None
    lines = story_lines(tell_story(store, last), T0)
    # a is a cause of c and of b, and its own cause is told once.
    assert sum("asked for by hand (cli)" in line for line in lines) == 1
    assert sum("told elsewhere here" in line for line in lines) == 1
    assert lines[-1] == "no run followed from it"


def test_history_that_is_trimmed_is_said(client: Redis, prefix: str) -> None:
    store = RedisStore(client, prefix=prefix, history=HistorySettings(materializations=1, runs=1))
    _ran(store, "run-a", "a", {"type": "manual", "reason": "cli"})
    _ran(store, "run-b", "b", _upstream_updated("b", ("a", 1)))
    run_b = store.run("run-b")
    assert run_b is not None
    (origin,) = tell_story(store, run_b).origins
    assert origin.note == "made by run run-a, of which the catalog knows nothing (any more)"
    store.record(NewMaterialization("a", None, T0))
    (trimmed,) = tell_story(store, run_b).origins
    assert trimmed.note == "its history is trimmed: who made it is not known any more"


def test_a_long_way_and_a_circle_end(store: RedisStore) -> None:
    for n in range(MOST_DEEP + 5):
        _ran(store, f"run-{n}", "a", _upstream_updated("a", ("a", n)) if n else {"type": "manual", "reason": "cli"})
    last = store.run(f"run-{MOST_DEEP + 4}")
    assert last is not None
    lines = story_lines(tell_story(store, last), T0)
    assert sum("not followed further here" in line for line in lines) == 1
    assert sum("─ because " in line for line in lines) == MOST_DEEP
    # No real run can follow from what it made itself; a catalog that says so must not be followed for ever.
    _ran(store, "run-loop", "loop", _upstream_updated("loop", ("loop", 1)))
    loop = store.run("run-loop")
    assert loop is not None
    assert any("told elsewhere here" in line for line in story_lines(tell_story(store, loop), T0))

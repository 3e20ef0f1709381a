"""What a plan says would follow."""

from __future__ import annotations

import pytest

from actors.catalog.store import AssetRecord, RunStatus
from actors.core.freshness import FreshnessPolicy
from actors.core.pauses import Pause
from actors.core.run_queue import Capacity
from actors.core.state import FailureRecord
from actors.interfaces.commands.plan import named_partition
from actors.interfaces.plan_view import plan_json, plan_notes, plan_rows
from actors.planning.plan import NothingToExpire
from actors.planning.snapshot import RunTime, run_times
from tests.unit.interfaces.definitions import definition
from tests.unit.planning.worlds import NOON, expired, follower, known, made, planned, produced, run, starts

DIAMOND = [
    follower("make-b", "b", "a"),
    follower("make-c", "c", "a", priority=5),
    follower("make-d", "d", "b", "c"),
]


def test_a_diamond_runs_its_end_once_after_both_and_names_the_runs_it_follows_from() -> None:
    plan = planned(DIAMOND, produced("a"), run_times={"make-b": RunTime(3_000, 5)})
    assert starts(plan) == [(0, "make-c"), (0, "make-b"), (3, "make-d")]
    first, second, last = plan.starts
    assert [(c.asset_id, c.version, c.is_given) for c in first.causes] == [("a", 1, True)]
    assert {(c.asset_id, c.by_run) for c in last.causes} == {("b", second.run.number), ("c", first.run.number)}
    assert (first.priority, second.priority) == (5, 100)
    assert plan.guessed == ("make-c", "make-d")


def test_nothing_follows_from_time_alone_where_all_is_fresh() -> None:
    plan = planned(DIAMOND)
    assert (plan.starts, plan.is_cut, plan.end_ms) == ((), False, NOON + 600_000)


def test_expiry_comes_when_it_is_due_and_again_after_each_run() -> None:
    fresh = definition("make-a", "a", freshness={"ttlMs": 120_000}, autoMaterialize={})
    plan = planned([fresh], assets={"a": known(at_ms=NOON - 60_000)}, minutes=5)
    # Produced a minute ago it expires in one; made a second later it expires two minutes after that.
    assert starts(plan) == [(60, "make-a"), (181, "make-a")]
    assert [c.rule for s in plan.starts for c in s.causes] == ["ttl", "ttl"]
    assert not any(c.is_given for s in plan.starts for c in s.causes)


def test_an_expiry_that_is_given_is_told_from_one_by_time() -> None:
    plan = planned([definition("make-a", "a", autoMaterialize={})], expired("a"), assets={"a": known()})
    assert starts(plan) == [(0, "make-a")]
    assert [(c.kind, c.rule, c.is_given) for c in plan.starts[0].causes] == [("expiry", "manual", True)]


@pytest.mark.parametrize(
    ("assets", "said"),
    [({}, "was never produced"), ({"a": known(expired_version=1)}, "has expired already")],
)
def test_what_cannot_expire_is_refused(assets: dict[str, AssetRecord], said: str) -> None:
    with pytest.raises(NothingToExpire, match=said):
        planned([definition("make-a", "a")], expired("a"), assets=assets)


def test_limits_delay_and_the_better_priority_goes_first() -> None:
    workflows = [follower("late", "l", "a", priority=9), follower("soon", "s", "a", priority=1)]
    plan = planned(workflows, produced("a"), capacity=Capacity(1), run_times={"soon": RunTime(4_000, 1)})
    assert starts(plan) == [(0, "soon"), (4, "late")]


def test_what_still_waits_at_the_end_is_said() -> None:
    workflows = [follower("late", "l", "a", priority=9), follower("soon", "s", "a", priority=1)]
    plan = planned(workflows, produced("a"), capacity=Capacity(1), run_times={"soon": RunTime(120_000, 1)}, minutes=1)
    assert plan.waiting == (("late", None),)
    assert any("late still waits" in text for text in plan_notes(plan, is_service_running=True, limit=500))
    assert plan.starts[0].run.made == []


def test_debounce_and_backoff_are_waited_for() -> None:
    failed = AssetRecord(failures={None: FailureRecord(2, NOON - 500, "run-1")})
    workflows = [follower("calm", "c", "a", debounceMs=5_000), follower("tired", "t", "a")]
    plan = planned(workflows, produced("a"), assets={"t": failed})
    # Two failures wait two seconds, of which half of one is over.
    assert starts(plan) == [(1.5, "tired"), (5, "calm")]


def test_a_suspended_asset_does_not_run() -> None:
    failed = AssetRecord(failures={None: FailureRecord(3, NOON - 500, "run-1")})
    assert planned([follower("tired", "t", "a")], produced("a"), assets={"t": failed}).starts == ()


def test_an_active_run_goes_on_and_what_it_makes_counts() -> None:
    active = run("run-1", "make-b", RunStatus.RUNNING, started_at_ms=NOON - 2_000, inputs={"a": 1})
    chain = [follower("make-b", "b", "a"), follower("make-c", "c", "b")]
    plan = planned(chain, assets={"a": known()}, runs=[active], run_times={"make-b": RunTime(5_000, 3)})
    assert [(a.run_id, a.ends_at_ms - NOON) for a in plan.active] == [("run-1", 3_000)]
    assert starts(plan) == [(3, "make-c")]


def test_without_a_service_an_active_run_is_lost_and_retried() -> None:
    active = run("run-1", "make-b", RunStatus.RUNNING, started_at_ms=NOON - 2_000, inputs={"a": 1})
    plan = planned([follower("make-b", "b", "a")], assets={"a": known()}, runs=[active], is_service_running=False)
    assert (plan.lost, plan.active) == (1, ())
    assert starts(plan) == [(1, "make-b")]


def test_without_a_service_runs_of_workers_elsewhere_go_on_unless_nobody_renews_them() -> None:
    held = run("run-1", "make-b", RunStatus.RUNNING, started_at_ms=NOON - 2_000, inputs={"a": 1})
    waits = run("run-2", "make-c", RunStatus.ENQUEUED)
    gone = run("run-3", "make-d", RunStatus.RUNNING, started_at_ms=NOON - 2_000, inputs={"a": 1})
    plan = planned(
        [follower(f"make-{name}", name, "a") for name in "bcd"],
        assets={"a": known()},
        runs=[held, waits, gone],
        run_times={"make-b": RunTime(5_000, 3)},
        is_service_running=False,
        runs_go_on=True,
        silent=["run-3"],
    )
    assert [(a.run_id, a.ends_at_ms - NOON) for a in plan.active] == [("run-1", 3_000), ("run-2", 1_000)]
    assert plan.lost == 1
    assert [slug for _, slug in starts(plan)] == ["make-d"]


def test_a_run_asked_for_by_hand_goes_too() -> None:
    plan = planned([definition("make-a", "a")], runs=[run("run-1", "make-a", RunStatus.QUEUED)])
    (start,) = plan.starts
    assert (start.run.run_id, start.priority, start.causes[0].kind) == ("run-1", 0, "manual")


def test_the_bound_on_runs_is_said_only_when_it_is_hit() -> None:
    workflows = [follower("make-b", "b", "a"), follower("make-c", "c", "b"), follower("make-d", "d", "c")]
    cut = planned(workflows, produced("a"), most_runs=2)
    assert (len(cut.starts), cut.is_cut) == (2, True)
    assert "the limit of 2 runs was hit" in plan_notes(cut, is_service_running=True, limit=2)[0]
    whole = planned(workflows, produced("a"), most_runs=3)
    assert (len(whole.starts), whole.is_cut) == (3, False)


def test_the_same_catalog_at_the_same_instant_gives_the_same_plan() -> None:
    one, two = (planned(DIAMOND, produced("a"), minutes=5) for _ in range(2))
    notes = plan_notes(one, is_service_running=True, limit=500)
    assert plan_json(one, notes, is_service_running=True) == plan_json(two, notes, is_service_running=True)


def test_the_rows_and_the_json_say_why() -> None:
    plan = planned(DIAMOND, produced("a"))
    rows = plan_rows(plan)
    assert [row[5] for row in rows[:2]] == ["a v1 (this event)", "a v1 (this event)"]
    assert rows[0][1] == "now (2026-03-01T12:00:00.000Z)"
    assert rows[2][1] == "+1 s (2026-03-01T12:00:01.000Z)"
    told = plan_json(plan, [], is_service_running=True)
    runs = told["runs"]
    assert isinstance(runs, list)
    assert runs[2]["afterMs"] == 1_000
    assert {(c["assetId"], c["by"], c["run"]) for c in runs[2]["becauseOf"]} == {("b", "run", 2), ("c", "run", 1)}
    assert runs[2]["makes"] == [{"assetId": "d", "partitionKey": None, "version": 1}]


def test_a_run_takes_the_median_of_the_newest_that_succeeded() -> None:
    durations = [7_000, 1_000, 3_000, *[90_000] * 30]
    runs = [
        run(f"run-{n}", "w", RunStatus.SUCCEEDED, started_at_ms=NOON, ended_at_ms=NOON + ms)
        for n, ms in enumerate(durations[:3])
    ]
    assert run_times(runs) == {"w": RunTime(3_000, 3)}
    many = [
        run(f"run-{n}", "w", RunStatus.SUCCEEDED, started_at_ms=NOON, ended_at_ms=NOON + ms)
        for n, ms in enumerate([1_000] * 20 + [90_000] * 30)
    ]
    assert run_times(many) == {"w": RunTime(1_000, 20)}


def test_a_policy_that_came_with_a_production_is_taken_to_come_again() -> None:
    own = AssetRecord(latest={None: made(at_ms=NOON - 1_000, freshness=FreshnessPolicy(ttl_ms=60_000))}, counter=1)
    plan = planned([definition("make-a", "a", autoMaterialize={})], assets={"a": own}, minutes=2.5)
    assert starts(plan) == [(59, "make-a"), (120, "make-a")]


def test_a_pause_holds_back_until_it_ends_and_then_runs_once() -> None:
    pause = Pause("asset:b", NOON - 1, NOON + 60_000)
    plan = planned(DIAMOND, produced("a"), pauses={"asset:b": pause})
    # c and d do not wait for what is paused; both follow when b is made.
    assert starts(plan) == [(0, "make-c"), (1, "make-d"), (60, "make-b"), (61, "make-d")]
    assert any(text.startswith("paused: asset:b until") for text in plan_notes(plan, is_service_running=True, limit=9))


def test_quiet_hours_are_waited_for() -> None:
    quiet = {"quietHours": {"windows": [{"start": "11:00", "end": "12:05"}], "timezone": "UTC"}}
    assert starts(planned([follower("make-b", "b", "a", **quiet)], produced("a"))) == [(300, "make-b")]


def test_windows_begin_with_time() -> None:
    hourly = definition(
        "make-h",
        "h",
        partitioning={"type": "timeWindow", "granularity": "hour", "timezone": "UTC"},
        autoMaterialize={"onMissing": True},
    )
    plan = planned([hourly], minutes=90)
    assert [(s.run.at_ms - NOON, s.run.partition_key) for s in plan.starts] == [
        (0, "2026-03-01T12"),
        (3_600_000, "2026-03-01T13"),
    ]


def test_a_workflow_that_closes_a_circle_is_left_out_and_named() -> None:
    plan = planned([follower("make-a", "a", "b"), follower("make-b", "b", "a")], produced("a"))
    assert plan.starts == ()
    assert plan.refused[0].startswith("workflow make-b is left out: workflows feed each other in a circle")


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("a", ("a", None)),
        ("a@x", ("a", "x")),
        ("a@x@y", ("a", "x@y")),
        ("mail@host", ("mail@host", None)),
        ("mail@host@x", ("mail@host", "x")),
        ("new@x@y", ("new", "x@y")),
    ],
)
def test_the_partition_is_what_follows_a_known_asset(text: str, found: tuple[str, str | None]) -> None:
    assert named_partition("--produced", text, {"a", "mail@host", "mail"}) == found


@pytest.mark.parametrize(
    ("is_running", "silent_ms", "hours"),
    [(True, 7_200_000, ["T10", "T11"]), (False, 7_200_000, ["T11"]), (False, 60_000, ["T10", "T11"])],
)
def test_a_service_that_starts_after_a_long_outage_passes_older_windows_over(
    is_running: bool, silent_ms: int, hours: list[str]
) -> None:
    hourly = {"type": "timeWindow", "granularity": "hour"}
    source = definition("make-a", "a", partitioning=hourly)
    below = definition("make-b", "b", "a", partitioning=hourly, autoMaterialize={"onUpstreamUpdate": True})
    a = AssetRecord(latest={"2026-03-01T10": made(1), "2026-03-01T11": made(2)}, counter=2)
    plan = planned([source, below], assets={"a": a}, is_service_running=is_running, silent_ms=silent_ms)
    assert sorted(str(start.run.partition_key)[-3:] for start in plan.starts) == hours

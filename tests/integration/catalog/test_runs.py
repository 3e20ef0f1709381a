"""The life of a run: claim, limits, start, steps, end, and what its end does to the assets it should have made."""

from __future__ import annotations

from collections.abc import Mapping

import pytest
from redis import Redis

from actors.catalog import events as wire
from actors.catalog.redis_store import RedisStore
from actors.catalog.store import (
    ActiveRun,
    Basis,
    BasisOutdated,
    Busy,
    Gone,
    LimitReached,
    Limits,
    Produced,
    RunFenced,
    RunRecord,
    RunStatus,
    StepRecord,
    StepStatus,
    Submitted,
)
from actors.core.state import Dismissal, FailureRecord
from actors.setting_groups import HistorySettings
from tests.integration.catalog.builders import (
    AUTO,
    MANUAL,
    T0,
    end,
    event_types,
    events,
    made,
    on_every_server,
    start,
    wanted,
)

pytestmark = on_every_server


def failures(store: RedisStore, asset_id: str) -> Mapping[str | None, FailureRecord]:
    return store.read_assets([asset_id])[asset_id].failures


def dismissals(store: RedisStore, asset_id: str) -> Mapping[str | None, Dismissal]:
    return store.read_assets([asset_id])[asset_id].dismissals


def test_a_run_from_claim_to_end(store: RedisStore, client: Redis, prefix: str) -> None:
    store.record(made("up"))
    run = wanted("r", "orders", "2026-11-23", upstreams=("up",), parameters={"days": [], "deep": {"x": None}})
    assert store.submit([run]) == [Submitted("r")]
    assert store.active_runs() == [ActiveRun("r", "orders", "2026-11-23", RunStatus.ENQUEUED)]
    assert store.start_run("r", upstreams=["up", "other"], now_ms=T0 + 1) == {"up": 1, "other": 0}
    assert store.active_runs() == [ActiveRun("r", "orders", "2026-11-23", RunStatus.RUNNING)]
    store.record(made("a", "2026-11-23", run_id="r", step_id="s", upstreams=("up",)))
    assert store.finish_run("r", RunStatus.SUCCEEDED, now_ms=T0 + 2, expected=[("a", "2026-11-23")])
    assert store.active_runs() == []
    assert store.run("r") == RunRecord(
        run_id="r",
        workflow_slug="orders",
        partition_key="2026-11-23",
        status=RunStatus.SUCCEEDED,
        parameters={"days": [], "deep": {"x": None}},
        trigger=AUTO,
        created_at_ms=T0,
        started_at_ms=T0 + 1,
        ended_at_ms=T0 + 2,
        inputs={"up": 1, "other": 0},
        produced=(Produced("a", "2026-11-23", 1),),
    )
    assert event_types(client, prefix) == [
        "asset.produced",
        "workflow.run.enqueued",
        "workflow.run.started",
        "asset.produced",
        "workflow.run.succeeded",
    ]
    *_, started, _, ended = events(client, prefix)
    assert isinstance(started, wire.RunStarted)
    assert isinstance(ended, wire.RunSucceeded)
    assert started.inputs == {"up": 1, "other": 0}
    assert (ended.run_id, ended.workflow_slug, ended.partition_key) == ("r", "orders", "2026-11-23")
    assert (ended.trigger, ended.at_ms, ended.unmade) == (AUTO, T0 + 2, ())


def test_a_submit_that_is_sent_again_claims_once(store: RedisStore, client: Redis, prefix: str) -> None:
    run = wanted("r", pools=("db",))
    assert store.submit([run]) == [Submitted("r")]
    assert store.submit([run, run]) == [Submitted("r")] * 2
    store.start_run("r", upstreams=[], now_ms=T0)
    assert store.submit([run]) == [Submitted("r")]
    assert len(store.active_runs()) == 1
    assert event_types(client, prefix).count("workflow.run.enqueued") == 1
    assert len(store.audit()) == 1


def test_a_submit_of_a_run_that_is_over_is_gone(store: RedisStore) -> None:
    start(store, "r")
    end(store, "r", RunStatus.CANCELED)
    assert store.submit([wanted("r")]) == [Gone("the run is canceled already")]
    assert store.active_runs() == []


def test_a_claim_is_of_one_workflow_and_partition(store: RedisStore) -> None:
    runs = [
        wanted("r1", "orders", "x"),
        wanted("r2", "orders", "x"),
        wanted("r3", "orders", "y"),
        wanted("r4", "orders", None),
        wanted("r5", "other", "x"),
    ]
    assert store.submit(runs) == [
        Submitted("r1"),
        Busy("r1"),
        Submitted("r3"),
        Submitted("r4"),
        Submitted("r5"),
    ]


@pytest.mark.parametrize("status", [RunStatus.SUCCEEDED, RunStatus.FAILED, RunStatus.CANCELED, RunStatus.LOST])
def test_an_end_frees_the_claim_and_every_slot(store: RedisStore, status: RunStatus) -> None:
    limits = Limits(max_runs=1, max_workflow_runs=1, max_pool_runs={"db": 1})
    start(store, "r1", pools=("db",), limits=limits)
    end(store, "r1", status)
    assert store.submit([wanted("r2", pools=("db",), limits=limits)]) == [Submitted("r2")]


def test_limits_name_what_is_full(store: RedisStore) -> None:
    def limited(run_id: str, workflow: str, key: str, *pools: str) -> object:
        limits = Limits(max_runs=4, max_workflow_runs=2, max_pool_runs={"db": 1, "gpu": 5})
        return store.submit([wanted(run_id, workflow, key, pools=pools, limits=limits)])[0]

    assert limited("r1", "a", "1", "db", "gpu") == Submitted("r1")
    assert limited("r2", "b", "1", "db") == LimitReached("pool:db")
    assert limited("r3", "a", "2", "gpu", "unlimited") == Submitted("r3")
    assert limited("r4", "a", "3") == LimitReached("workflow")
    assert limited("r5", "b", "1") == Submitted("r5")
    assert limited("r6", "c", "1") == Submitted("r6")
    assert limited("r7", "d", "1") == LimitReached("global")
    end(store, "r1")
    assert limited("r7", "d", "1", "db") == Submitted("r7")


def test_a_refused_run_leaves_nothing_behind(store: RedisStore, client: Redis, prefix: str) -> None:
    store.submit([wanted("r1")])
    store.submit([wanted("r2"), wanted("r3", "other", limits=Limits(max_runs=1))])
    assert store.run("r2") is None
    assert store.run("r3") is None
    assert [run.run_id for run in store.runs()] == ["r1"]
    assert event_types(client, prefix) == ["workflow.run.enqueued"]
    end(store, "r1", RunStatus.CANCELED)
    assert store.submit([wanted("r3", "other")]) == [Submitted("r3")]


def test_a_request_is_refused_when_its_assets_moved_on(store: RedisStore) -> None:
    store.record(made("a", "x"))
    current, behind = Basis("a", "x", 1, 0), Basis("a", "x", 0, 0)
    never, failed = Basis("b", None, 0, 0), Basis("b", None, 0, 1)
    assert store.submit([wanted("r1", basis=(behind, never))]) == [BasisOutdated(("a",))]
    assert store.submit([wanted("r1", basis=(behind, failed))]) == [BasisOutdated(("a", "b"))]
    assert store.submit([wanted("r1", basis=(current, never))]) == [Submitted("r1")]
    store.finish_run("r1", RunStatus.FAILED, now_ms=T0, expected=[("b", None)])
    assert store.submit([wanted("r2", basis=(current, never))]) == [BasisOutdated(("b",))]
    assert store.submit([wanted("r2", basis=(current, failed))]) == [Submitted("r2")]


def test_an_outdated_basis_is_told_before_a_busy_claim_and_that_before_a_limit(store: RedisStore) -> None:
    store.submit([wanted("r1")])
    full = Limits(max_runs=1)
    outdated = Basis("a", None, 7, 0)
    assert store.submit([wanted("r2", basis=(outdated,), limits=full)]) == [BasisOutdated(("a",))]
    assert store.submit([wanted("r2", limits=full)]) == [Busy("r1")]


def test_starting_fences_out_every_other_worker(store: RedisStore) -> None:
    store.submit([wanted("r")])
    store.start_run("r", upstreams=[], now_ms=T0)
    with pytest.raises(RunFenced, match="running"):
        store.start_run("r", upstreams=[], now_ms=T0)
    with pytest.raises(RunFenced, match="not known"):
        store.start_run("nobody", upstreams=[], now_ms=T0)
    end(store, "r", RunStatus.CANCELED)
    with pytest.raises(RunFenced, match="canceled"):
        store.start_run("r", upstreams=[], now_ms=T0)


def test_ending_twice_ends_once(store: RedisStore, client: Redis, prefix: str) -> None:
    start(store, "r")
    assert store.finish_run("r", RunStatus.FAILED, now_ms=T0, expected=[("a", None)])
    assert not store.finish_run("r", RunStatus.CANCELED, now_ms=T0, expected=[("a", None)])
    assert not store.finish_run("nobody", RunStatus.FAILED, now_ms=T0)
    run = store.run("r")
    assert run is not None
    assert run.status is RunStatus.FAILED
    assert failures(store, "a")[None].failures == 1
    assert dismissals(store, "a") == {}
    assert event_types(client, prefix)[-1] == "workflow.run.failed"


def test_a_run_cannot_end_as_running(store: RedisStore) -> None:
    start(store, "r")
    with pytest.raises(ValueError, match="running"):
        store.finish_run("r", RunStatus.RUNNING, now_ms=T0)


def test_failures_in_a_row_are_counted_for_what_was_not_made(store: RedisStore, client: Redis, prefix: str) -> None:
    for number, status in enumerate((RunStatus.FAILED, RunStatus.LOST, RunStatus.SUCCEEDED), start=1):
        start(store, f"r{number}")
        store.record(made("done", run_id=f"r{number}", step_id="s"))
        store.finish_run(
            f"r{number}",
            status,
            now_ms=T0 + number,
            error="disk full",
            expected=[("done", None), ("a", "x"), ("a", "x")],
        )
    assert failures(store, "a") == {"x": FailureRecord(3, T0 + 3, "r3")}
    assert failures(store, "done") == {}

    ends = [e for e in events(client, prefix) if isinstance(e, wire.RunFailed | wire.RunSucceeded)]
    assert [[(u.asset_id, u.partition_key, u.failures) for u in e.unmade] for e in ends] == [
        [("a", "x", 1)],
        [("a", "x", 2)],
        [("a", "x", 3)],
    ]
    failed, lost, _ = ends
    assert isinstance(failed, wire.RunFailed)
    assert isinstance(lost, wire.RunFailed)
    assert (failed.lost, lost.lost, failed.error) == (False, True, "disk full")
    assert failed.unmade[0].last_failure_at_ms == T0 + 1


def test_canceling_a_started_run_dismisses_what_it_had_read(store: RedisStore, client: Redis, prefix: str) -> None:
    store.record(made("up"))
    store.record(made("a", "x"))
    start(store, "r", upstreams=("up",))
    store.record(made("up"))
    store.finish_run("r", RunStatus.CANCELED, now_ms=T0, expected=[("a", "x"), ("b", None)])
    assert dismissals(store, "a") == {"x": Dismissal(1, {"up": 1})}
    assert dismissals(store, "b") == {None: Dismissal(0, {"up": 1})}
    assert failures(store, "a") == {}
    *_, told = events(client, prefix)
    assert isinstance(told, wire.RunCanceled)
    assert [(u.asset_id, u.dismissed and u.dismissed.inputs) for u in told.unmade] == [
        ("a", {"up": 1}),
        ("b", {"up": 1}),
    ]


def test_canceling_an_enqueued_run_dismisses_what_it_would_have_read(store: RedisStore) -> None:
    store.submit([wanted("r", upstreams=("up", "never"))])
    store.record(made("up"))
    store.finish_run("r", RunStatus.CANCELED, now_ms=T0, expected=[("a", None)])
    assert dismissals(store, "a") == {None: Dismissal(0, {"up": 1, "never": 0})}


def test_a_cancel_keeps_the_failures_before_it(store: RedisStore, client: Redis, prefix: str) -> None:
    for run_id, status in (("r1", RunStatus.FAILED), ("r2", RunStatus.CANCELED)):
        start(store, run_id)
        store.finish_run(run_id, status, now_ms=T0 + 7, expected=[("a", None)])
    assert failures(store, "a") == {None: FailureRecord(1, T0 + 7, "r1")}
    *_, told = events(client, prefix)
    assert isinstance(told, wire.RunCanceled)
    assert (told.unmade[0].failures, told.unmade[0].last_failure_at_ms) == (1, T0 + 7)


def test_steps_are_kept_in_the_order_in_which_they_began(store: RedisStore) -> None:
    start(store, "r")
    names = [f"{letter}{'x' * 100}" for letter in "zyxwvutsrq"]
    for name in names:
        store.put_step("r", StepRecord(name, StepStatus.RUNNING, 1, started_at_ms=T0))
    final = StepRecord(
        names[0],
        StepStatus.FAILED,
        3,
        started_at_ms=T0,
        ended_at_ms=T0 + 1,
        error="käse",
        result={"assets": []},
        stdout_tail="out\n",
        stderr_tail="err\n",
    )
    store.put_step("r", final)
    run = store.run("r")
    assert run is not None
    assert [step.step_id for step in run.steps] == names
    assert run.steps[0] == final


def test_a_step_of_an_unknown_run_is_not_kept(store: RedisStore, client: Redis, prefix: str) -> None:
    store.put_step("nobody", StepRecord("s", StepStatus.RUNNING, 1))
    assert list(client.scan_iter(f"{prefix}:*")) == []


def put_workflow(client: Redis, prefix: str, slug: str = "orders") -> None:
    """Only that it is known matters to a queued run."""
    client.hset(f"{prefix}:workflows", slug, "{}")


def test_a_run_asked_for_by_hand_waits_and_keeps_its_parameters(store: RedisStore, client: Redis, prefix: str) -> None:
    put_workflow(client, prefix)
    asked = wanted("r", "orders", "x", trigger=MANUAL, parameters={"full": True})
    store.queue_run(asked)
    store.queue_run(asked)
    (queued,) = store.queued_runs()
    assert (queued.run_id, queued.status, queued.partition_key) == ("r", RunStatus.QUEUED, "x")
    assert store.active_runs() == []
    claim = wanted("r", "orders", "x", queued=True, parameters={"other": 1}, pools=("db",), at_ms=T0 + 9)
    assert store.submit([claim]) == [Submitted("r")]
    assert store.queued_runs() == []
    assert client.zcard(f"{prefix}:queued") == 0
    run = store.run("r")
    assert run is not None
    assert (run.status, run.parameters, run.trigger) == (RunStatus.ENQUEUED, {"full": True}, MANUAL)
    assert run.created_at_ms == T0
    assert store.audit() == [], "it was not auto-triggered"
    assert event_types(client, prefix) == ["workflow.run.requested", "workflow.run.enqueued"]
    full = Limits(max_runs=9, max_pool_runs={"db": 1})
    assert store.submit([wanted("r2", "other", pools=("db",), limits=full)]) == [LimitReached("pool:db")]


def test_a_queued_run_that_must_wait_stays_queued(store: RedisStore, client: Redis, prefix: str) -> None:
    put_workflow(client, prefix)
    store.submit([wanted("r1")])
    store.queue_run(wanted("r2", trigger=MANUAL))
    assert store.submit([wanted("r2", queued=True)]) == [Busy("r1")]
    assert [run.run_id for run in store.queued_runs()] == ["r2"]


def test_canceling_a_queued_run_leaves_the_claim_of_the_active_one(
    store: RedisStore, client: Redis, prefix: str
) -> None:
    put_workflow(client, prefix)
    store.submit([wanted("r1")])
    store.queue_run(wanted("r2", trigger=MANUAL))
    store.cancel_queued("r2", now_ms=T0)
    assert store.submit([wanted("r3")]) == [Busy("r1")]


def test_a_queued_run_claims_what_was_asked_for(store: RedisStore, client: Redis, prefix: str) -> None:
    put_workflow(client, prefix)
    store.queue_run(wanted("r1", partition_key="x", trigger=MANUAL))
    store.submit([wanted("r1", partition_key="y", queued=True)])
    assert store.submit([wanted("r2", partition_key="x")]) == [Busy("r1")]
    end(store, "r1", RunStatus.CANCELED)
    assert store.submit([wanted("r2", partition_key="x")]) == [Submitted("r2")]


def test_queued_runs_are_oldest_first(store: RedisStore) -> None:
    for run_id, at_ms in (("late", T0 + 2), ("early", T0), ("middle", T0 + 1)):
        store.queue_run(wanted(run_id, trigger=MANUAL, at_ms=at_ms))
    assert [run.run_id for run in store.queued_runs()] == ["early", "middle", "late"]


def test_a_queued_run_can_be_canceled_until_it_is_claimed(store: RedisStore, client: Redis, prefix: str) -> None:
    put_workflow(client, prefix)
    store.queue_run(wanted("r1", trigger=MANUAL))
    assert store.cancel_queued("r1", now_ms=T0 + 1)
    assert not store.cancel_queued("r1", now_ms=T0 + 1)
    assert store.queued_runs() == []
    assert store.submit([wanted("r1", queued=True)]) == [Gone("the run is canceled already")]
    assert event_types(client, prefix) == ["workflow.run.requested", "workflow.run.canceled"]

    store.queue_run(wanted("r2", trigger=MANUAL))
    store.submit([wanted("r2", queued=True)])
    assert not store.cancel_queued("r2", now_ms=T0 + 1)
    assert not store.cancel_queued("nobody", now_ms=T0 + 1)


def test_a_queued_run_of_a_removed_workflow_is_gone(store: RedisStore, client: Redis, prefix: str) -> None:
    put_workflow(client, prefix)
    store.queue_run(wanted("r", trigger=MANUAL))
    store.remove_workflow("orders")
    assert store.submit([wanted("r", queued=True)]) == [Gone("workflow orders was removed")]
    assert store.submit([wanted("unheard-of", queued=True)]) == [Gone("the run is not known any more")]


def test_runs_are_listed_newest_first_and_filtered(store: RedisStore, client: Redis, prefix: str) -> None:
    store.submit([wanted(f"a{n}", "orders", str(n), at_ms=T0 + n) for n in range(4)])
    store.queue_run(wanted("m", "other", trigger=MANUAL, at_ms=T0 + 10))
    store.start_run("a2", upstreams=[], now_ms=T0)
    store.put_step("a2", StepRecord("s", StepStatus.RUNNING, 1))

    def listed(**filters: object) -> list[str]:
        return [run.run_id for run in store.runs(**filters)]  # type: ignore[arg-type]

    assert listed() == ["m", "a3", "a2", "a1", "a0"]
    assert listed(limit=2) == ["m", "a3"]
    assert listed(workflow="orders", limit=2) == ["a3", "a2"]
    assert listed(trigger="manual") == ["m"]
    assert listed(status=RunStatus.RUNNING) == ["a2"]
    assert listed(status=RunStatus.ENQUEUED, workflow="other") == []
    assert all(run.steps == () for run in store.runs())


def test_a_filter_looks_past_the_first_batch(store: RedisStore) -> None:
    store.submit([wanted("old", "rare", at_ms=T0)])
    store.submit([wanted(f"r{n}", "orders", str(n), at_ms=T0 + 1 + n, limits=Limits(9_999)) for n in range(1_100)])
    assert [run.run_id for run in store.runs(workflow="rare")] == ["old"]
    assert len(store.active_runs()) == 1_101


def test_every_auto_triggered_run_has_an_audit_line(store: RedisStore) -> None:
    trigger: dict[str, object] = {**AUTO, "assetId": "a", "upstream": [], "note": None}
    store.submit([wanted("r1", "orders", "x", trigger=trigger, at_ms=T0 + 1)])
    store.submit([wanted("r2", "orders", None, trigger=AUTO, at_ms=T0 + 2)])
    store.submit([wanted("r3", "other", trigger=MANUAL)])
    newest, oldest = store.audit()
    assert (newest.run_id, newest.partition_key, newest.at_ms) == ("r2", None, T0 + 2)
    assert (oldest.run_id, oldest.workflow_slug, oldest.partition_key) == ("r1", "orders", "x")
    assert oldest.trigger == trigger
    assert [entry.run_id for entry in store.audit(limit=1)] == ["r2"]
    assert store.audit(limit=0) == []


def test_ended_runs_over_the_limit_are_dropped_oldest_end_first(client: Redis, prefix: str) -> None:
    store = RedisStore(client, prefix=prefix, history=HistorySettings(runs=2))
    start(store, "active", partition_key="active")
    for number in range(4):
        run_id = f"r{number}"
        start(store, run_id, partition_key=run_id)
        store.record(made("a", run_id, run_id=run_id, step_id="s"))
        store.put_step(run_id, StepRecord("s", StepStatus.SUCCEEDED, 1))
        end(store, run_id, at_ms=T0 + number)
    assert {run.run_id for run in store.runs()} == {"active", "r2", "r3"}
    assert store.run("r0") is None
    assert list(client.scan_iter(f"{prefix}:*:r0")) == []
    assert [run.run_id for run in store.active_runs()] == ["active"]
    end(store, "active", at_ms=T0 + 10)
    assert {run.run_id for run in store.runs()} == {"active", "r3"}


def test_a_lowered_limit_is_worked_off_in_bounded_steps(client: Redis, prefix: str) -> None:
    wide = RedisStore(client, prefix=prefix)
    for number in range(130):
        start(wide, f"r{number}")
        end(wide, f"r{number}", at_ms=T0 + number)
    narrow = RedisStore(client, prefix=prefix, history=HistorySettings(runs=1))
    counts = []
    for number in range(130, 133):
        start(narrow, f"r{number}")
        end(narrow, f"r{number}", at_ms=T0 + number)
        counts.append(len(narrow.runs(limit=1_000)))
    assert counts == [31, 1, 1]


def test_all_scripts_of_a_batch_run_when_the_server_forgot_them(store: RedisStore, client: Redis) -> None:
    store.submit([wanted("r0", partition_key="0")])
    client.script_flush()
    runs = [wanted(f"r{n}", partition_key=str(n)) for n in range(1, 50)]
    assert store.submit(runs) == [Submitted(run.run_id) for run in runs]
    assert store.submit([]) == []

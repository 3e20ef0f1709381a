"""Leases: who works on a run, what is overdue, and that nobody else can write. Time is the server's, and passes."""

from __future__ import annotations

import pytest
from redis import Redis

from actors.catalog.redis_store import RedisStore
from actors.catalog.store import Overdue, OverdueRun, Renewal, RunFenced, RunStatus, StepRecord, StepStatus
from actors.core.state import FailureRecord
from actors.setting_groups import HistorySettings
from tests.integration.catalog.builders import T0, end, eventually, made, on_every_server, start, together, wanted

pytestmark = on_every_server

LONG_MS = 60_000
NEVER_MS = 3_600_000
STEP = StepRecord("s", StepStatus.RUNNING, 1)


def begin(store: RedisStore, run_id: str, *, lease_ms: int = LONG_MS, token: str = "ours") -> None:
    store.submit([wanted(run_id, partition_key=run_id)])
    store.start_run(run_id, upstreams=[], now_ms=T0, token=token, worker="host:1", lease_ms=lease_ms)


def overdue(store: RedisStore, *, start_timeout_ms: int = NEVER_MS) -> list[OverdueRun]:
    return list(store.overdue_runs(start_timeout_ms=start_timeout_ms).runs)


def wait_overdue(store: RedisStore, run_id: str) -> OverdueRun:
    eventually(lambda: any(run.run_id == run_id for run in overdue(store)), what=f"{run_id} is overdue")
    return next(run for run in overdue(store) if run.run_id == run_id)


class TestLease:
    def test_a_run_is_overdue_when_its_lease_has_ended_and_not_before(self, store: RedisStore) -> None:
        begin(store, "short", lease_ms=1)
        begin(store, "long")
        found = wait_overdue(store, "short")
        assert [run.run_id for run in overdue(store)] == ["short"]
        assert (found.kind, found.worker, found.workflow_slug, found.partition_key) == (
            "lease",
            "host:1",
            "orders",
            "short",
        )
        assert found.seen_at_ms + 1 == found.since_ms

    def test_times_are_the_server_s(self, store: RedisStore, client: Redis) -> None:
        begin(store, "r", lease_ms=1)
        found = wait_overdue(store, "r")
        seconds, _ = client.time()
        assert abs(found.since_ms - int(seconds) * 1_000) < 30_000
        assert store.overdue_runs(start_timeout_ms=0).server_ms >= found.since_ms

    def test_a_renewal_extends_it_even_after_its_end(self, store: RedisStore) -> None:
        begin(store, "r", lease_ms=1)
        wait_overdue(store, "r")
        assert store.renew_runs({"r": "ours"}, lease_ms=LONG_MS) == {"r": Renewal.HELD}
        assert overdue(store) == []

    def test_many_are_renewed_at_once_and_each_is_answered(self, store: RedisStore) -> None:
        begin(store, "held")
        begin(store, "taken", token="another's")
        begin(store, "ended")
        end(store, "ended", RunStatus.LOST)
        store.submit([wanted("waiting", partition_key="waiting")])
        tokens = dict.fromkeys(("held", "taken", "ended", "waiting", "nobody"), "ours")
        fenced = dict.fromkeys(("taken", "ended", "waiting", "nobody"), Renewal.FENCED)
        assert store.renew_runs(tokens, lease_ms=1_000) == {"held": Renewal.HELD, **fenced}

    @pytest.mark.parametrize("status", [RunStatus.SUCCEEDED, RunStatus.LOST, RunStatus.CANCELED])
    def test_an_end_removes_it(self, store: RedisStore, client: Redis, prefix: str, status: RunStatus) -> None:
        begin(store, "r", lease_ms=1)
        end(store, "r", status)
        assert not client.exists(f"{prefix}:leases")
        assert store.renew_runs({"r": "ours"}, lease_ms=LONG_MS) == {"r": Renewal.FENCED}
        assert not client.exists(f"{prefix}:leases")

    def test_a_run_without_one_is_never_overdue(self, store: RedisStore) -> None:
        start(store, "r")
        assert overdue(store, start_timeout_ms=0) == []


class TestFence:
    def test_of_two_workers_with_one_run_the_one_that_started_it_writes(self, store: RedisStore) -> None:
        begin(store, "r")
        with pytest.raises(RunFenced, match="running"):
            store.start_run("r", upstreams=[], now_ms=T0, token="theirs")
        with pytest.raises(RunFenced, match="another worker"):
            store.record(made("a", run_id="r", step_id="s", start_token="theirs"))
        with pytest.raises(RunFenced, match="not ours"):
            store.put_step("r", STEP, token="theirs")
        assert not store.finish_run("r", RunStatus.FAILED, now_ms=T0, expected=[("a", None)], token="theirs")
        known = store.read_assets(["a"])["a"]
        assert (known.latest, known.failures) == ({}, {})

        store.put_step("r", STEP, token="ours")
        assert store.record(made("a", run_id="r", step_id="s", start_token="ours")).version == 1
        assert store.finish_run("r", RunStatus.SUCCEEDED, now_ms=T0, token="ours")

    def test_a_start_is_repeated_with_the_same_token_only(self, store: RedisStore) -> None:
        store.record(made("up"))
        store.submit([wanted("r")])
        first = store.start_run("r", upstreams=["up"], now_ms=T0, token="ours", lease_ms=LONG_MS)
        store.record(made("up"))
        assert store.start_run("r", upstreams=["up"], now_ms=T0, token="ours", lease_ms=LONG_MS) == first == {"up": 1}

    def test_of_many_workers_one_starts_and_one_records(self, store: RedisStore) -> None:
        store.submit([wanted("r")])

        def work(index: int) -> bool:
            token = f"worker-{index}"
            try:
                store.start_run("r", upstreams=[], now_ms=T0, token=token, lease_ms=LONG_MS)
                store.record(made("a", run_id="r", step_id="s", start_token=token))
            except RunFenced:
                return False
            return True

        assert sorted(together(8, work)) == [False] * 7 + [True]
        assert store.read_assets(["a"])["a"].counter == 1

    def test_a_run_that_was_given_up_takes_nothing_more(self, store: RedisStore) -> None:
        """Its workflow runs again under a new id meanwhile."""
        begin(store, "old", lease_ms=1)
        assert store.end_overdue(wait_overdue(store, "old"), RunStatus.LOST, now_ms=T0, expected=[("a", None)])
        begin(store, "new", token="new")
        with pytest.raises(RunFenced, match="lost"):
            store.record(made("a", run_id="old", step_id="s", start_token="ours"))
        with pytest.raises(RunFenced, match="lost"):
            store.put_step("old", STEP, token="ours")
        assert not store.finish_run("old", RunStatus.SUCCEEDED, now_ms=T0, token="ours")
        assert store.record(made("a", run_id="new", step_id="s", start_token="new")).version == 1
        run = store.run("old")
        assert run is not None
        assert (run.status, run.steps, run.produced) == (RunStatus.LOST, (), ())

    def test_a_worker_is_no_outsider_once_its_run_is_dropped(self, client: Redis, prefix: str) -> None:
        store = RedisStore(client, prefix=prefix, history=HistorySettings(runs=1))
        for run_id in ("old", "new"):
            begin(store, run_id)
            end(store, run_id, RunStatus.LOST, at_ms=T0 + (run_id == "new"))
        assert store.run("old") is None
        with pytest.raises(RunFenced, match="dropped"):
            store.record(made("a", run_id="old", step_id="s", start_token="ours"))
        with pytest.raises(RunFenced, match="dropped"):
            store.put_step("old", STEP, token="ours")
        assert store.history("a") == []
        assert list(client.scan_iter(f"{prefix}:*:old")) == []

    def test_who_has_not_started_a_run_may_end_it_only_before_its_start(self, store: RedisStore) -> None:
        store.submit([wanted("r1", partition_key="1"), wanted("r2", partition_key="2")])
        assert store.finish_run("r1", RunStatus.FAILED, now_ms=T0, token="ours")
        store.start_run("r2", upstreams=[], now_ms=T0, token="theirs")
        assert not store.finish_run("r2", RunStatus.FAILED, now_ms=T0, token="ours")


class TestUnstarted:
    def test_a_run_that_nobody_starts_is_overdue_after_the_timeout(self, store: RedisStore) -> None:
        store.submit([wanted("r", "orders", "x")])
        assert overdue(store) == []
        (found,) = overdue(store, start_timeout_ms=0)
        assert (found.kind, found.run_id, found.workflow_slug, found.partition_key) == ("start", "r", "orders", "x")
        assert (found.launches, found.worker) == (1, "")

    def test_a_queued_run_is_waited_for_from_its_claim(self, store: RedisStore, client: Redis, prefix: str) -> None:
        client.hset(f"{prefix}:workflows", "orders", "{}")
        store.queue_run(wanted("r"))
        assert overdue(store, start_timeout_ms=0) == []
        store.submit([wanted("r", queued=True)])
        assert [run.run_id for run in overdue(store, start_timeout_ms=0)] == ["r"]

    @pytest.mark.parametrize("end_it", [True, False])
    def test_a_start_and_an_end_take_it_out(self, store: RedisStore, client: Redis, prefix: str, end_it: bool) -> None:
        store.submit([wanted("r")])
        if end_it:
            end(store, "r", RunStatus.CANCELED)
        else:
            store.start_run("r", upstreams=[], now_ms=T0)
        assert not client.exists(f"{prefix}:unstarted")
        assert not store.await_start("r", is_launched=True)

    def test_a_launch_is_counted_and_the_wait_begins_anew(self, store: RedisStore) -> None:
        store.submit([wanted("r")])
        (before,) = overdue(store, start_timeout_ms=0)
        assert store.await_start("r", is_launched=False)
        (waiting,) = overdue(store, start_timeout_ms=0)
        assert store.await_start("r", is_launched=True)
        (launched,) = overdue(store, start_timeout_ms=0)
        assert (before.launches, waiting.launches, launched.launches) == (1, 1, 2)
        assert before.since_ms <= waiting.since_ms <= launched.since_ms


class TestEndOverdue:
    def test_a_failure_is_counted(self, store: RedisStore) -> None:
        begin(store, "r", lease_ms=1)
        found = wait_overdue(store, "r")
        assert store.end_overdue(found, RunStatus.LOST, now_ms=T0, error="gone", expected=[("a", "r")])
        run = store.run("r")
        assert run is not None
        assert (run.status, run.error) == (RunStatus.LOST, "gone")
        assert store.read_assets(["a"])["a"].failures == {"r": FailureRecord(1, T0, "r")}

    def test_a_run_that_was_renewed_since_is_left_alone(self, store: RedisStore) -> None:
        begin(store, "r", lease_ms=1)
        found = wait_overdue(store, "r")
        store.renew_runs({"r": "ours"}, lease_ms=LONG_MS)
        assert not store.end_overdue(found, RunStatus.LOST, now_ms=T0)
        assert [run.status for run in store.active_runs()] == [RunStatus.RUNNING]

    def test_a_run_that_was_started_since_is_left_alone(self, store: RedisStore) -> None:
        store.submit([wanted("r")])
        (found,) = overdue(store, start_timeout_ms=0)
        store.start_run("r", upstreams=[], now_ms=T0, token="ours", lease_ms=LONG_MS)
        assert not store.end_overdue(found, RunStatus.LOST, now_ms=T0)
        assert store.renew_runs({"r": "ours"}, lease_ms=LONG_MS) == {"r": Renewal.HELD}

    def test_a_run_that_nobody_started_is_ended(self, store: RedisStore) -> None:
        store.submit([wanted("r")])
        (found,) = overdue(store, start_timeout_ms=0)
        assert store.end_overdue(found, RunStatus.LOST, now_ms=T0)
        with pytest.raises(RunFenced, match="lost"):
            store.start_run("r", upstreams=[], now_ms=T0, token="late")


class TestAsking:
    def test_a_worker_learns_at_its_renewal_what_it_is_asked(self, store: RedisStore) -> None:
        begin(store, "r")
        assert store.ask_run("r", "stop")
        assert store.renew_runs({"r": "ours"}, lease_ms=1) == {"r": Renewal.STOP}
        assert store.ask_run("r", "cancel")
        assert store.renew_runs({"r": "ours"}, lease_ms=1) == {"r": Renewal.CANCEL}
        assert wait_overdue(store, "r").is_cancel_asked

    def test_a_service_that_stops_does_not_undo_a_user_s_cancel(self, store: RedisStore) -> None:
        begin(store, "r")
        store.ask_run("r", "cancel")
        store.ask_run("r", "stop")
        assert store.renew_runs({"r": "ours"}, lease_ms=1) == {"r": Renewal.CANCEL}

    def test_only_a_running_run_has_a_worker_to_ask(self, store: RedisStore) -> None:
        store.submit([wanted("r")])
        assert not store.ask_run("r", "cancel")
        assert not store.ask_run("nobody", "cancel")


def test_L12_a_look_costs_what_is_overdue(store: RedisStore) -> None:
    """However many runs go on, the answer holds none of them; and one look is bounded when very many are overdue."""
    store.submit([wanted(f"r{n}", partition_key=str(n)) for n in range(90)])
    for number in range(45):
        store.start_run(f"r{number}", upstreams=[], now_ms=T0, token="t", lease_ms=LONG_MS)
    assert overdue(store) == []
    found: Overdue = store.overdue_runs(start_timeout_ms=0)
    assert {run.run_id for run in found.runs} == {f"r{n}" for n in range(45, 90)}

"""Runs whose worker gives no sign of life: what their worker does, and what the service does."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import pytest
import structlog
from redis import Redis

from actors.catalog.redis_store import RedisStore
from actors.catalog.store import (
    CatalogUnavailable,
    Overdue,
    Renewal,
    RunFenced,
    RunStatus,
    StepRecord,
    StepStatus,
    Store,
)
from actors.execution.cancel import CancelReason, CancelToken
from actors.execution.jobs import JobRegistry
from actors.execution.launcher import LaunchFailed, RunOrder
from actors.execution.leases import Hold, LeaseKeeper
from actors.execution.local import LocalLauncher
from actors.execution.reaper import Reaper
from actors.runtime.clock import VirtualClock
from tests.integration.execution.workflows import (
    ended,
    eventually,
    is_gone,
    now_ms,
    pids_of,
    step,
    step_of,
    submit,
    workflow,
)
from tests.unit.doubles import RecordingObserver

pytestmark = pytest.mark.integration

LEASE_MS = 1_000
MAKES = [{"assetId": "orders"}]


def held(store: Store, keeper: LeaseKeeper, *, slug: str = "made") -> tuple[RunOrder, str]:
    """A run that a worker has started, and the worker's token."""
    order = submit(store, workflow(step("make", "echo", produces=MAKES), slug=slug))
    hold = keeper.hold()
    store.start_run(
        order.run_id, upstreams=(), now_ms=now_ms(), token=hold.token, worker=hold.worker, lease_ms=hold.lease_ms
    )
    return order, hold.token


class TestLeaseKeeper:
    @pytest.fixture
    def keeper(self, store: Store) -> Iterator[LeaseKeeper]:
        keeper = LeaseKeeper(store, lease_ms=LEASE_MS)
        keeper.start()
        yield keeper
        keeper.stop()

    @pytest.mark.parametrize(
        ("asked", "reason"), [("cancel", CancelReason.CANCELED), ("stop", CancelReason.LOST), ("", CancelReason.FENCED)]
    )
    def test_a_run_learns_that_it_is_to_end(
        self, store: Store, keeper: LeaseKeeper, asked: str, reason: CancelReason
    ) -> None:
        order, _ = held(store, keeper)
        hold = keeper.hold()
        other = submit(store, workflow(step("make", "echo"), slug="other"))
        store.start_run(other.run_id, upstreams=(), now_ms=1, token=hold.token, lease_ms=hold.lease_ms)
        cancel, told = CancelToken(), threading.Event()
        with cancel.calling(told.set), keeper.renewing(other.run_id, hold, cancel):
            if asked == "cancel":
                store.ask_run(other.run_id, "cancel")
            elif asked == "stop":
                store.ask_run(other.run_id, "stop")
            else:
                store.finish_run(other.run_id, RunStatus.LOST, now_ms=1)
            assert told.wait(20)
        assert cancel.reason is reason
        assert [run.run_id for run in store.active_runs() if run.run_id == order.run_id] == [order.run_id]

    def test_a_lease_is_renewed_for_as_long_as_the_run_goes_on(self, store: Store, keeper: LeaseKeeper) -> None:
        order = submit(store, workflow(step("make", "echo")))
        hold = keeper.hold()
        store.start_run(order.run_id, upstreams=(), now_ms=1, token=hold.token, lease_ms=hold.lease_ms)
        began_ms = store.overdue_runs(start_timeout_ms=LEASE_MS).server_ms
        with keeper.renewing(order.run_id, hold, CancelToken()):

            def later() -> Overdue | None:
                seen = store.overdue_runs(start_timeout_ms=60_000)
                assert seen.runs == ()
                return seen if seen.server_ms > began_ms + 2 * LEASE_MS else None

            eventually(later, "two leases have passed")
        eventually(lambda: store.overdue_runs(start_timeout_ms=60_000).runs, "nobody renews it any more")


class AwayStore(RedisStore):
    """The real store, which cannot be reached for a while when a lease is to be renewed."""

    tries = 0
    is_away = False

    def renew_runs(self, tokens: Mapping[str, str], *, lease_ms: int) -> dict[str, Renewal]:
        self.tries += 1
        if self.is_away:
            raise CatalogUnavailable("it is away")
        return super().renew_runs(tokens, lease_ms=lease_ms)


def test_an_outage_is_told_once_and_used_up_at_once(client: Redis, prefix: str) -> None:
    """Five renewals' worth of tries in less than the time between two renewals."""
    store = AwayStore(client, prefix=prefix)
    keeper = LeaseKeeper(store, lease_ms=3_000)
    order, token = held(store, keeper)
    store.is_away = True
    with structlog.testing.capture_logs() as told:
        keeper.start()
        with keeper.renewing(order.run_id, Hold(token, "w", 3_000), CancelToken()):
            eventually(lambda: store.tries >= 6, "it tries again and again")
            assert store.overdue_runs(start_timeout_ms=60_000).runs == (), "all that while the lease goes on"
            store.is_away = False
            eventually(lambda: any(line["event"] == "leases.renewed_again" for line in told), "it is renewed")
        keeper.stop()
    assert [line["event"] for line in told] == ["leases.wait_for_catalog", "leases.renewed_again"]


def test_a_run_that_was_given_up_stops_and_writes_nothing(store: Store, jobs: JobRegistry, tmp_path: Path) -> None:
    """It is not the end of the job that tells it, but the next renewal."""
    launcher = LocalLauncher(store, jobs, processes=1, lease_ms=LEASE_MS)
    launcher.start()
    try:
        parameters = {"folder": str(tmp_path), "child": True, "asset": "orders"}
        order = submit(store, workflow(step("wait", "hold", produces=MAKES, parameters=parameters)))
        launcher.launch(order)
        pids = pids_of(tmp_path, "wait")
        assert store.finish_run(order.run_id, RunStatus.LOST, now_ms=1, expected=[("orders", None)])
        eventually(lambda: not launcher.owns(order.run_id), "the launcher has let go of the run")
        assert all(is_gone(pid) for pid in pids)
        record = ended(store, order)
        assert step_of(record, "wait").status is StepStatus.RUNNING, "as it was when the run was given up"
        assert store.history("orders") == []
    finally:
        launcher.stop(0)


@dataclass
class Launches:
    """A `RunLauncher` that executes nothing, and notes what it was given."""

    orders: list[RunOrder] = field(default_factory=list)
    waiting: set[str] = field(default_factory=set)
    is_refusing: bool = False

    def start(self) -> None:
        return

    def launch(self, order: RunOrder) -> None:
        if self.is_refusing:
            raise LaunchFailed("not now")
        self.orders.append(order)

    def cancel(self, run_id: str) -> bool:
        return False

    def owns(self, run_id: str) -> bool:
        return run_id in self.waiting

    def stop(self, grace_seconds: float) -> None:
        return


class JumpingStore(RedisStore):
    """The real store, as it will be seen when the server's clock has gone on."""

    ahead_ms = 0

    def overdue_runs(self, *, start_timeout_ms: int) -> Overdue:
        seen = super().overdue_runs(start_timeout_ms=start_timeout_ms - self.ahead_ms)
        return Overdue(seen.server_ms + self.ahead_ms, seen.runs)


class TornStore(RedisStore):
    """The real store; of what a reaper counts the answer, or the request, is lost once."""

    torn: Literal["request", "answer"] | None = None

    def await_start(self, run_id: str, *, is_launched: bool) -> bool:
        torn, self.torn = self.torn, None
        if torn != "request":
            answer = super().await_start(run_id, is_launched=is_launched)
        if torn is not None:
            raise CatalogUnavailable("cut off")
        return answer


class TestReaper:
    @pytest.fixture
    def launches(self) -> Launches:
        return Launches()

    @pytest.fixture
    def observer(self) -> RecordingObserver:
        return RecordingObserver()

    def reaper(
        self,
        store: Store,
        launches: Launches,
        observer: RecordingObserver,
        *,
        start_timeout_ms: int = 60_000,
        takes_over: bool = False,
    ) -> Reaper:
        return Reaper(
            store,
            launches,
            VirtualClock(now_ms()),
            observer,
            is_waiting=lambda order: launches.owns(order.run_id),
            lease_ms=LEASE_MS,
            start_timeout_ms=start_timeout_ms,
            takes_over=takes_over,
        )

    def test_a_run_whose_worker_is_gone_is_lost_and_counts_as_a_failure(
        self, store: Store, launches: Launches, observer: RecordingObserver
    ) -> None:
        order, token = held(store, LeaseKeeper(store, lease_ms=LEASE_MS))
        reaper = self.reaper(store, launches, observer)
        reaper.start()
        try:
            record = ended(store, order)
        finally:
            reaper.stop()
        assert record.status is RunStatus.LOST
        assert "was last heard of at 2" in (record.error or "")
        assert store.read_assets(["orders"])["orders"].failures[None].failures == 1
        assert [said for called, said in observer.calls if called == "run_lost"] == [
            {"run_id": order.run_id, "error": record.error}
        ]
        with pytest.raises(RunFenced):
            store.put_step(order.run_id, StepRecord("make", StepStatus.RUNNING, 1), token=token)

    def test_a_run_that_is_renewed_is_left_alone(
        self, store: Store, launches: Launches, observer: RecordingObserver
    ) -> None:
        order, _ = held(store, LeaseKeeper(store, lease_ms=60_000))
        reaper = self.reaper(store, launches, observer)
        gone, _ = held(store, LeaseKeeper(store, lease_ms=LEASE_MS), slug="gone")
        reaper.start()
        try:
            ended(store, gone)
        finally:
            reaper.stop()
        assert [run.run_id for run in store.active_runs()] == [order.run_id]

    def test_a_canceled_run_whose_worker_is_gone_is_canceled(
        self, store: Store, launches: Launches, observer: RecordingObserver
    ) -> None:
        order, _ = held(store, LeaseKeeper(store, lease_ms=LEASE_MS))
        store.ask_run(order.run_id, "cancel")
        reaper = self.reaper(store, launches, observer)
        reaper.start()
        try:
            assert ended(store, order).status is RunStatus.CANCELED
        finally:
            reaper.stop()
        assert store.read_assets(["orders"])["orders"].failures == {}

    def test_after_a_gap_every_worker_gets_the_time_to_renew(
        self, client: Redis, prefix: str, launches: Launches, observer: RecordingObserver
    ) -> None:
        """The server, or this process, stood still for so long that every lease has ended meanwhile."""
        store = JumpingStore(client, prefix=prefix)
        order, _ = held(store, LeaseKeeper(store, lease_ms=LEASE_MS))
        reaper = self.reaper(store, launches, observer)

        def look(seconds: float) -> RunStatus:
            store.ahead_ms += int(seconds * 1_000)
            reaper.look()
            record = store.run(order.run_id)
            assert record is not None
            return record.status

        eventually(lambda: store.overdue_runs(start_timeout_ms=60_000).runs, "the lease has ended")
        assert look(0) is RunStatus.RUNNING, "it has only begun to watch"
        assert {look(60) for _ in range(4)} == {RunStatus.RUNNING}, "hardly any of these minutes was watched"
        looks = list(iter(lambda: look(0.1), RunStatus.LOST))
        assert len(looks) >= 1, "the rest of a lease was watched before"

    def test_a_run_that_nobody_started_is_launched_once_more_and_then_lost(
        self, store: Store, launches: Launches, observer: RecordingObserver
    ) -> None:
        order = submit(store, workflow(step("make", "echo", produces=MAKES)))
        reaper = self.reaper(store, launches, observer, start_timeout_ms=0)
        reaper.look()
        assert launches.orders == [order]
        reaper.look()
        assert launches.orders == [order]
        record = ended(store, order)
        assert record.status is RunStatus.LOST
        assert "launched 2 times" in (record.error or "")
        assert store.read_assets(["orders"])["orders"].failures[None].failures == 1
        assert [called for called, _ in observer.calls] == ["run_relaunched", "run_lost"]

    def test_a_run_that_was_launched_again_is_waited_for_anew(
        self, store: Store, launches: Launches, observer: RecordingObserver
    ) -> None:
        order = submit(store, workflow(step("make", "echo")))
        self.reaper(store, launches, observer, start_timeout_ms=0).look()
        self.reaper(store, launches, observer).look()
        assert [run.run_id for run in store.active_runs()] == [order.run_id]

    def test_a_run_that_waits_for_room_is_not_counted(
        self, store: Store, launches: Launches, observer: RecordingObserver
    ) -> None:
        order = submit(store, workflow(step("make", "echo")))
        launches.waiting.add(order.run_id)
        reaper = self.reaper(store, launches, observer, start_timeout_ms=0)
        before = store.overdue_runs(start_timeout_ms=0).runs
        for _ in range(3):
            reaper.look()
        after = store.overdue_runs(start_timeout_ms=0).runs
        assert launches.orders == []
        assert observer.calls == []
        assert after[0].since_ms >= before[0].since_ms
        assert after[0].launches == 1

    def test_a_launcher_that_refuses_is_not_asked_for_ever(
        self, store: Store, launches: Launches, observer: RecordingObserver
    ) -> None:
        launches.is_refusing = True
        order = submit(store, workflow(step("make", "echo")))
        reaper = self.reaper(store, launches, observer, start_timeout_ms=0)
        reaper.look()
        reaper.look()
        assert ended(store, order).status is RunStatus.LOST

    @pytest.mark.parametrize("torn", ["request", "answer"])
    def test_a_launch_that_could_not_be_counted_was_made(
        self,
        client: Redis,
        prefix: str,
        launches: Launches,
        observer: RecordingObserver,
        torn: Literal["request", "answer"],
    ) -> None:
        store = TornStore(client, prefix=prefix)
        order = submit(store, workflow(step("make", "echo", produces=MAKES)))
        reaper = self.reaper(store, launches, observer, start_timeout_ms=0)
        store.torn = torn
        with pytest.raises(CatalogUnavailable):
            reaper.look()
        assert launches.orders == [order], "or the run would be lost without ever having been handed over again"
        for _ in range(2):
            reaper.look()
        assert ended(store, order).status is RunStatus.LOST, "nobody has started it"
        assert len(launches.orders) == (2 if torn == "request" else 1)

    def test_who_takes_over_launches_what_was_launched_by_those_before(
        self, store: Store, launches: Launches, observer: RecordingObserver
    ) -> None:
        """What was handed over beside a service that died went with it, however often that was."""
        order = submit(store, workflow(step("make", "echo", produces=MAKES)))
        for _ in range(3):
            self.reaper(store, launches, observer, takes_over=True).look()
        assert launches.orders == [order] * 3
        assert [run.run_id for run in store.active_runs()] == [order.run_id]

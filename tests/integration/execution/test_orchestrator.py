"""The orchestrator over the real store, with jobs that are plain functions, and a store that fails when told to."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from actors.catalog.redis_store import RedisStore
from actors.catalog.store import CatalogUnavailable, NewMaterialization, Recorded, RunStatus, StepRecord, StepStatus
from actors.execution.cancel import CancelReason, CancelToken
from actors.execution.jobs import Job, JobRegistry, PythonFunction
from actors.execution.launcher import RunOrder
from actors.execution.orchestrator import Orchestrator
from actors.execution.step_runner import FailureKind, JobContext, JobOutcome
from actors.runtime.clock import VirtualClock
from tests.integration.execution.workflows import now_ms, step, step_of, submit, workflow

pytestmark = pytest.mark.integration

Work = Callable[[JobContext, CancelToken], JobOutcome]
DONE = JobOutcome(result={})


class Functions:
    """A `StepRunner` whose jobs are functions of the test; it notes what it was asked to do."""

    def __init__(self, **jobs: Work) -> None:
        self.jobs = jobs
        self.calls: list[tuple[str, int | None]] = []

    def registry(self) -> JobRegistry:
        folder = Path("/nowhere")
        made = {name: Job(name, PythonFunction("m", name), folder, timeout_ms=7_000) for name in self.jobs}
        return JobRegistry(folder, made)

    def run(self, job: Job, context: JobContext, timeout_ms: int | None, cancel: CancelToken) -> JobOutcome:
        self.calls.append((context.step_id, timeout_ms))
        return self.jobs[job.slug](context, cancel)


class QuietToken(CancelToken):
    """Waits no time, and notes how long it was asked to."""

    def __init__(self) -> None:
        super().__init__()
        self.waits: list[float] = []
        self.stop_waits: list[float] = []
        self.cancel_at: int | None = None
        self.stop_at: int | None = None

    def wait(self, seconds: float) -> bool:
        self.waits.append(seconds)
        if len(self.waits) == self.cancel_at:
            self.cancel()
        return self.is_set

    def wait_for_stop(self, seconds: float) -> bool:
        self.stop_waits.append(seconds)
        if len(self.stop_waits) == self.stop_at:
            self.cancel(CancelReason.LOST)
        return super().wait_for_stop(0)


class FailingStore(RedisStore):
    """The real store behind a line that breaks: before a call is carried out, or before its answer arrives."""

    failures: dict[str, int]
    answers_lost: dict[str, int]

    def _fail(self, method: str, counts: dict[str, int]) -> None:
        if counts.get(method, 0) > 0:
            counts[method] -= 1
            raise CatalogUnavailable(f"the line broke in {method}")

    def start_run(
        self,
        run_id: str,
        *,
        upstreams: Sequence[str],
        now_ms: int,
        token: str | None = None,
        worker: str = "",
        lease_ms: int | None = None,
    ) -> Mapping[str, int]:
        self._fail("start_run", self.failures)
        inputs = super().start_run(
            run_id, upstreams=upstreams, now_ms=now_ms, token=token, worker=worker, lease_ms=lease_ms
        )
        self._fail("start_run", self.answers_lost)
        return inputs

    def put_step(self, run_id: str, step: StepRecord, *, token: str | None = None) -> None:
        self._fail("put_step", self.failures)
        super().put_step(run_id, step, token=token)

    def record(self, new: NewMaterialization) -> Recorded:
        self._fail("record", self.failures)
        recorded = super().record(new)
        self._fail("record", self.answers_lost)
        return recorded

    def finish_run(
        self,
        run_id: str,
        status: RunStatus,
        *,
        now_ms: int,
        error: str | None = None,
        expected: Iterable[tuple[str, str | None]] = (),
        token: str | None = None,
    ) -> bool:
        self._fail("finish_run", self.failures)
        return super().finish_run(run_id, status, now_ms=now_ms, error=error, expected=expected, token=token)


@pytest.fixture
def store(client: Any, prefix: str) -> FailingStore:
    store = FailingStore(client, prefix=prefix)
    store.failures, store.answers_lost = {}, {}
    return store


def orchestrate(store: RedisStore, functions: Functions, order: RunOrder, token: CancelToken) -> RunStatus | None:
    return Orchestrator(store, functions.registry(), functions, VirtualClock(now_ms())).run(order, token)


def makes(asset_id: str) -> Work:
    return lambda _context, _cancel: JobOutcome(result={"assets": [{"assetId": asset_id}]})


def fails(kind: FailureKind = FailureKind.ERROR) -> Work:
    return lambda _context, _cancel: JobOutcome.failed(kind, "it broke")


class TestCatalogOutage:
    @pytest.mark.parametrize("method", ["start_run", "put_step", "record", "finish_run"])
    def test_a_result_outlives_an_outage(self, store: FailingStore, method: str) -> None:
        store.failures = {method: 12}
        order = submit(store, workflow(step("make", "good", produces=[{"assetId": "orders"}])))
        token = QuietToken()
        assert orchestrate(store, Functions(good=makes("orders")), order, token) is RunStatus.SUCCEEDED
        assert len(store.history("orders")) == 1
        assert len(token.stop_waits) == 12
        assert token.stop_waits == sorted(token.stop_waits)
        assert token.stop_waits[-1] == token.stop_waits[-2] <= 10

    @pytest.mark.parametrize("method", ["start_run", "record"])
    def test_a_lost_answer_is_not_mistaken_for_an_end(self, store: FailingStore, method: str) -> None:
        store.answers_lost = {method: 1}
        order = submit(store, workflow(step("make", "good", produces=[{"assetId": "orders"}])))
        functions = Functions(good=makes("orders"))
        assert orchestrate(store, functions, order, QuietToken()) is RunStatus.SUCCEEDED
        assert len(store.history("orders")) == 1
        assert len(functions.calls) == 1

    def test_the_end_of_the_service_ends_the_patience(self, store: FailingStore) -> None:
        store.failures = {"finish_run": 1_000}
        order = submit(store, workflow(step("make", "good")))
        token = QuietToken()
        token.stop_at = 3
        assert orchestrate(store, Functions(good=makes("orders")), order, token) is None
        assert len(token.stop_waits) == 3

    def test_a_users_cancel_does_not_end_it(self, store: FailingStore) -> None:
        def cancels(_context: JobContext, cancel: CancelToken) -> JobOutcome:
            store.failures = {"put_step": 3, "finish_run": 3}
            cancel.cancel()
            return JobOutcome.failed(FailureKind.CANCELED, "canceled")

        order = submit(store, workflow(step("make", "bad")))
        assert orchestrate(store, Functions(bad=cancels), order, QuietToken()) is RunStatus.CANCELED
        record = store.run(order.run_id)
        assert record is not None
        assert record.status is RunStatus.CANCELED


class TestFencing:
    def test_a_run_that_is_not_claimed_is_not_executed(self, store: FailingStore) -> None:
        order = submit(store, workflow(step("make", "good")))
        store.finish_run(order.run_id, RunStatus.LOST, now_ms=1)
        functions = Functions(good=makes("orders"))
        assert orchestrate(store, functions, order, QuietToken()) is None
        assert functions.calls == []

    def test_a_run_that_runs_already_is_not_executed_again(self, store: FailingStore) -> None:
        order = submit(store, workflow(step("make", "good")))
        store.start_run(order.run_id, upstreams=(), now_ms=1)
        store.failures = {"start_run": 2}
        functions = Functions(good=makes("orders"))
        assert orchestrate(store, functions, order, QuietToken()) is None
        assert functions.calls == []

    def test_a_fenced_run_stops_its_other_steps(self, store: FailingStore) -> None:
        order = submit(store, workflow(step("a", "ender", produces=[{"assetId": "orders"}]), step("b", "waiter")))
        waiting = threading.Event()
        stopped = threading.Event()

        def ender(_context: JobContext, _cancel: CancelToken) -> JobOutcome:
            assert waiting.wait(10)
            store.finish_run(order.run_id, RunStatus.LOST, now_ms=1)
            return JobOutcome(result={"assets": [{"assetId": "orders"}]})

        def waiter(_context: JobContext, cancel: CancelToken) -> JobOutcome:
            with cancel.calling(stopped.set):
                waiting.set()
                assert stopped.wait(10)
            return JobOutcome.failed(FailureKind.CANCELED, "canceled")

        assert orchestrate(store, Functions(ender=ender, waiter=waiter), order, CancelToken()) is None
        assert store.history("orders") == []
        assert stopped.is_set()

    def test_an_unknown_run(self, store: FailingStore) -> None:
        assert orchestrate(store, Functions(), RunOrder("nobody", "made", None), QuietToken()) is None


class TestSteps:
    def test_the_definition_of_the_start_is_used_to_the_end(self, store: FailingStore) -> None:
        def edits(_context: JobContext, _cancel: CancelToken) -> JobOutcome:
            changed = workflow(step("only", "other"))
            store.put_workflow(changed, source="command", content_hash=changed.content_hash)
            return DONE

        functions = Functions(edits=edits, last=makes("orders"))
        order = submit(
            store,
            workflow(
                step("first", "edits"),
                step("second", "last", dependsOn=["first"], produces=[{"assetId": "orders"}]),
            ),
        )
        assert orchestrate(store, functions, order, QuietToken()) is RunStatus.SUCCEEDED
        assert [name for name, _ in functions.calls] == ["first", "second"]

    def test_a_step_sees_only_what_it_depends_on(self, store: FailingStore) -> None:
        order = submit(
            store,
            workflow(
                step("a", "good"),
                step("b", "good", parameters={"x": "{{ steps.a.result }}"}),
            ),
        )
        assert orchestrate(store, Functions(good=lambda *_: DONE), order, QuietToken()) is RunStatus.FAILED
        record = store.run(order.run_id)
        assert record is not None
        assert "steps.a is undefined" in (record.error or "")

    def test_the_timeout_of_the_step_comes_before_that_of_the_job(self, store: FailingStore) -> None:
        functions = Functions(good=lambda *_: DONE)
        order = submit(store, workflow(step("a", "good", timeoutMs=3_000), step("b", "good", dependsOn=["a"])))
        orchestrate(store, functions, order, QuietToken())
        assert functions.calls == [("a", 3_000), ("b", 7_000)]

    def test_attempts_wait_as_the_policy_says(self, store: FailingStore) -> None:
        policy = {"maxAttempts": 4, "strategy": "exponential", "initialDelayMs": 1_000, "maxDelayMs": 3_000}
        functions = Functions(bad=fails(FailureKind.TIMEOUT))
        order = submit(store, workflow(step("a", "bad", retryPolicy=policy)))
        token = QuietToken()
        assert orchestrate(store, functions, order, token) is RunStatus.FAILED
        assert token.waits == [1.0, 2.0, 3.0]
        assert len(functions.calls) == 4

    def test_a_canceled_wait_makes_no_other_attempt(self, store: FailingStore) -> None:
        functions = Functions(bad=fails())
        order = submit(store, workflow(step("a", "bad", retryPolicy={"maxAttempts": 9, "strategy": "fixed"})))
        token = QuietToken()
        token.cancel_at = 2
        assert orchestrate(store, functions, order, token) is RunStatus.CANCELED
        assert len(functions.calls) == 2

    def test_a_result_that_cannot_be_used_is_not_tried_again(self, store: FailingStore) -> None:
        functions = Functions(wrong=makes("undeclared"))
        order = submit(store, workflow(step("a", "wrong", retryPolicy={"maxAttempts": 9, "strategy": "fixed"})))
        assert orchestrate(store, functions, order, QuietToken()) is RunStatus.FAILED
        assert len(functions.calls) == 1

    def test_no_more_steps_at_once_than_allowed(self, store: FailingStore) -> None:
        lock = threading.Lock()
        together = threading.Barrier(2, timeout=10)
        now, most = 0, 0

        def counts(_context: JobContext, _cancel: CancelToken) -> JobOutcome:
            nonlocal now, most
            with lock:
                now += 1
                most = max(most, now)
            together.wait()
            with lock:
                now -= 1
            return DONE

        functions = Functions(counts=counts)
        order = submit(store, workflow(*(step(f"s{n}", "counts") for n in range(6))))
        orchestrator = Orchestrator(
            store, functions.registry(), functions, VirtualClock(now_ms()), max_parallel_steps=2
        )
        assert orchestrator.run(order, CancelToken()) is RunStatus.SUCCEEDED
        assert most == 2

    def test_a_large_result_is_seen_by_later_steps_but_not_kept(self, store: FailingStore) -> None:
        seen: list[Any] = []

        def reads(context: JobContext, _cancel: CancelToken) -> JobOutcome:
            seen.append(context.parameters["text"])
            return DONE

        functions = Functions(big=lambda *_: JobOutcome(result={"text": "x" * 300_000}), reads=reads)
        order = submit(
            store,
            workflow(
                step("a", "big"),
                step("b", "reads", dependsOn=["a"], parameters={"text": "{{ steps.a.result.text }}"}),
            ),
        )
        assert orchestrate(store, functions, order, QuietToken()) is RunStatus.SUCCEEDED
        assert seen == ["x" * 300_000]
        record = store.run(order.run_id)
        assert record is not None
        assert step_of(record, "a").result == {"notKept": "300012 bytes"}

    def test_a_fault_of_ours_ends_the_run(self, store: FailingStore) -> None:
        def breaks(_context: JobContext, _cancel: CancelToken) -> JobOutcome:
            raise KeyError("a bug")

        order = submit(store, workflow(step("a", "breaks", produces=[{"assetId": "orders"}])))
        assert orchestrate(store, Functions(breaks=breaks), order, QuietToken()) is RunStatus.FAILED
        record = store.run(order.run_id)
        assert record is not None
        assert "internal error: KeyError" in (record.error or "")
        assert store.read_assets(["orders"])["orders"].failures[None].failures == 1

    def test_a_workflow_that_was_removed(self, store: FailingStore) -> None:
        order = submit(store, workflow(step("a", "good")))
        store.remove_workflow("made")
        assert orchestrate(store, Functions(), order, QuietToken()) is RunStatus.FAILED
        record = store.run(order.run_id)
        assert record is not None
        assert record.error == "workflow 'made' was removed before the run began"


class TestCancelBeforeTheStart:
    @pytest.mark.parametrize(
        ("reason", "status"), [(CancelReason.CANCELED, RunStatus.CANCELED), (CancelReason.LOST, RunStatus.LOST)]
    )
    def test_ends_without_a_step(self, store: FailingStore, reason: CancelReason, status: RunStatus) -> None:
        functions = Functions(good=makes("orders"))
        order = submit(store, workflow(step("a", "good", produces=[{"assetId": "orders"}])))
        token = CancelToken()
        token.cancel(reason)
        assert orchestrate(store, functions, order, token) is status
        assert functions.calls == []
        known = store.read_assets(["orders"])["orders"]
        assert (None in known.dismissals, None in known.failures) == (
            status is RunStatus.CANCELED,
            status is RunStatus.LOST,
        )

    def test_steps_that_wait_for_a_thread_are_not_begun(self, store: FailingStore) -> None:
        def cancels(_context: JobContext, cancel: CancelToken) -> JobOutcome:
            cancel.cancel()
            return DONE

        functions = Functions(cancels=cancels)
        order = submit(store, workflow(step("a", "cancels"), step("b", "cancels")))
        orchestrator = Orchestrator(
            store, functions.registry(), functions, VirtualClock(now_ms()), max_parallel_steps=1
        )
        assert orchestrator.run(order, CancelToken()) is RunStatus.CANCELED
        record = store.run(order.run_id)
        assert record is not None
        assert [name for name, _ in functions.calls] == ["a"]
        assert step_of(record, "a").status is StepStatus.SUCCEEDED
        assert step_of(record, "b").status is StepStatus.CANCELED

"""What every `RunLauncher` must keep within bounds: time, output, attempts, and runs that are canceled."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest

from actors.catalog.store import RunStatus, StepStatus, Store
from actors.execution.launcher import RunLauncher, RunOrder
from tests.integration.execution.workflows import (
    ended,
    eventually,
    is_gone,
    pids_of,
    run,
    step,
    step_of,
    submit,
    workflow,
)

pytestmark = pytest.mark.integration


class TestBounds:
    @pytest.mark.of_processes
    @pytest.mark.parametrize("job", ["hold", "command"])
    def test_a_timeout_kills_the_job_and_what_it_started(
        self, launcher: RunLauncher, store: Store, tmp_path: Path, job: str
    ) -> None:
        record = run(
            launcher,
            store,
            step(
                "wait",
                job,
                timeoutMs=1_500,
                parameters={"how": "hold", "folder": str(tmp_path), "child": True},
            ),
        )
        assert record.status is RunStatus.FAILED
        assert "timeout of 1500 ms" in (record.error or "")
        assert all(is_gone(pid) for pid in pids_of(tmp_path, "wait"))

    @pytest.mark.of_processes
    def test_a_timeout_does_not_run_while_a_step_waits_for_a_process(
        self, launcher: RunLauncher, store: Store, tmp_path: Path
    ) -> None:
        """Both processes are held for longer than the third step's timeout."""
        holding = submit(
            store,
            workflow(
                step("one", "hold", parameters={"folder": str(tmp_path)}),
                step("two", "hold", parameters={"folder": str(tmp_path)}),
                slug="holding",
            ),
        )
        launcher.launch(holding)
        pids_of(tmp_path, "one")
        pids_of(tmp_path, "two")
        waiting = submit(store, workflow(step("quick", "echo", timeoutMs=1_000), slug="waiting"))
        launcher.launch(waiting)
        eventually(lambda: _is_running(store, waiting), "the waiting run has started")
        release = threading.Timer(1.5, (tmp_path / "go").touch)
        release.start()
        record = ended(store, waiting)
        release.join()
        assert record.status is RunStatus.SUCCEEDED
        assert ended(store, holding).status is RunStatus.SUCCEEDED

    def test_steps_that_need_nothing_of_each_other_run_side_by_side(
        self, launcher: RunLauncher, store: Store, tmp_path: Path
    ) -> None:
        record = run(
            launcher,
            store,
            step("a", "meet", parameters={"folder": str(tmp_path), "other": "b"}),
            step("b", "meet", parameters={"folder": str(tmp_path), "other": "a"}),
        )
        assert record.status is RunStatus.SUCCEEDED

    def test_the_ends_of_much_output_are_kept(self, launcher: RunLauncher, store: Store) -> None:
        record = run(launcher, store, step("talk", "chatter", parameters={"kilobytes": 5_000}))
        talk = step_of(record, "talk")
        assert record.status is RunStatus.SUCCEEDED
        assert len(talk.stdout_tail) == 8 * 1024
        assert talk.stdout_tail.endswith("xxx\nthe last line\n")
        assert "\ufffd\ufffd straight to the descriptor" in talk.stderr_tail
        assert "the last warning" in talk.stderr_tail

    def test_a_step_is_tried_again_by_its_policy(self, launcher: RunLauncher, store: Store, tmp_path: Path) -> None:
        record = run(
            launcher,
            store,
            step(
                "try",
                "flaky",
                parameters={"folder": str(tmp_path), "succeedsAt": 3},
                retryPolicy={"maxAttempts": 3, "strategy": "exponential", "initialDelayMs": 1},
            ),
        )
        tried = step_of(record, "try")
        assert (tried.status, tried.attempt, tried.result) == (StepStatus.SUCCEEDED, 3, {"attempts": 3})

    def test_the_last_attempt_decides(self, launcher: RunLauncher, store: Store, tmp_path: Path) -> None:
        record = run(
            launcher,
            store,
            step(
                "try",
                "flaky",
                parameters={"folder": str(tmp_path), "succeedsAt": 9},
                retryPolicy={"maxAttempts": 2, "strategy": "fixed", "initialDelayMs": 1},
            ),
        )
        assert record.status is RunStatus.FAILED
        assert record.error == "step 'try': RuntimeError: failure 2"
        assert len(list(tmp_path.iterdir())) == 2


class TestCancel:
    @pytest.mark.parametrize("job", ["hold", "command"])
    def test_a_running_run_ends_as_canceled_and_its_processes_die(
        self, launcher: RunLauncher, store: Store, tmp_path: Path, job: str
    ) -> None:
        definition = workflow(
            step(
                "wait",
                job,
                produces=[{"assetId": "late"}],
                parameters={"how": "hold", "folder": str(tmp_path), "child": True},
            ),
            step("after", "echo", dependsOn=["wait"]),
        )
        order = submit(store, definition)
        launcher.launch(order)
        pids = pids_of(tmp_path, "wait")
        assert launcher.cancel(order.run_id)
        record = ended(store, order)
        assert record.status is RunStatus.CANCELED
        assert step_of(record, "wait").status is StepStatus.CANCELED
        assert step_of(record, "after").status is StepStatus.SKIPPED
        assert all(is_gone(pid) for pid in pids)
        known = store.read_assets(["late"])["late"]
        assert known.failures == {}
        assert None in known.dismissals

    def test_a_run_that_waits_for_its_turn_ends_at_once(
        self, launcher: RunLauncher, store: Store, tmp_path: Path
    ) -> None:
        """More runs than any launcher here has room for; the last one is canceled while all others hold on."""
        orders = [
            submit(
                store,
                workflow(step("wait", "hold", parameters={"folder": str(tmp_path / str(n))}), slug=f"w{n}"),
            )
            for n in range(6)
        ]
        for number, order in enumerate(orders):
            (tmp_path / str(number)).mkdir()
            launcher.launch(order)
        assert launcher.cancel(orders[-1].run_id)
        assert ended(store, orders[-1]).status is RunStatus.CANCELED
        for order in orders[:-1]:
            assert launcher.cancel(order.run_id)
        assert {ended(store, order).status for order in orders} == {RunStatus.CANCELED}
        assert list((tmp_path / "5").iterdir()) == []

    def test_a_wait_between_attempts_is_cut_short(self, launcher: RunLauncher, store: Store, tmp_path: Path) -> None:
        policy = {"maxAttempts": 2, "strategy": "fixed", "initialDelayMs": 60_000}
        order = submit(store, workflow(step("try", "fail", retryPolicy=policy)))
        launcher.launch(order)
        eventually(lambda: "attempt 1 of 2" in _error(store, order), "the first attempt failed")
        assert launcher.cancel(order.run_id)
        assert ended(store, order).status is RunStatus.CANCELED

    def test_what_is_not_known_cannot_be_canceled(self, launcher: RunLauncher, store: Store) -> None:
        record = run(launcher, store, step("tell", "echo"))
        eventually(lambda: not launcher.owns(record.run_id), "the launcher has let go of the run")
        assert not launcher.cancel(record.run_id)
        assert not launcher.cancel("nobody")


def _is_running(store: Store, order: RunOrder) -> bool:
    record = store.run(order.run_id)
    return record is not None and record.status is RunStatus.RUNNING


def _error(store: Store, order: RunOrder) -> str:
    record = store.run(order.run_id)
    assert record is not None
    return record.steps[0].error or "" if record.steps else ""

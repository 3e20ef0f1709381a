"""What every `RunLauncher` must do, whatever executes its runs."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import pytest

from actors.catalog.store import RunStatus, StepStatus, Store
from actors.execution.launcher import LaunchFailed, RunLauncher, RunOrder
from tests.integration.execution.workflows import (
    ended,
    eventually,
    is_gone,
    pids_of,
    step,
    step_of,
    submit,
    workflow,
)

pytestmark = pytest.mark.integration


def run(launcher: RunLauncher, store: Store, *steps: dict[str, Any], **more: Any) -> Any:
    order = submit(store, workflow(*steps), **more)
    launcher.launch(order)
    return ended(store, order)


class TestSuccess:
    def test_assets_are_recorded_and_published(self, launcher: RunLauncher, store: Store) -> None:
        before = store.position()
        record = run(
            launcher,
            store,
            step("make", "produce", produces=[{"assetId": "orders"}], parameters={"asset": "orders"}),
            parameters={"payload": {"rows": 3}, "dataVersion": "v1"},
        )
        assert (record.status, record.error) == (RunStatus.SUCCEEDED, None)
        made = store.read_assets(["orders"])["orders"].latest[None]
        assert (made.run_id, made.data_version) == (record.run_id, "v1")
        (entry,) = store.history("orders")
        assert (entry.step_id, entry.workflow_slug, entry.payload) == ("make", "made", {"rows": 3})
        assert store.position() >= before + 4  # workflow.updated, run enqueued, started, produced, succeeded

    def test_the_step_keeps_result_times_and_output(self, launcher: RunLauncher, store: Store) -> None:
        record = run(
            launcher,
            store,
            step("make", "produce", produces=[{"assetId": "orders"}], parameters={"asset": "orders"}),
        )
        made = step_of(record, "make")
        assert (made.status, made.attempt) == (StepStatus.SUCCEEDED, 1)
        assert made.result == {"assets": [{"assetId": "orders"}], "rows": 3}
        assert made.started_at_ms is not None
        assert made.ended_at_ms is not None
        assert made.started_at_ms <= made.ended_at_ms
        assert "making orders" in made.stderr_tail

    def test_the_partition_is_that_of_the_run(self, launcher: RunLauncher, store: Store) -> None:
        daily = {"assetId": "orders", "partitioning": {"type": "timeWindow", "granularity": "day"}}
        record = run(
            launcher,
            store,
            step("make", "produce", produces=[daily], parameters={"asset": "orders"}),
            partition_key="2026-11-23",
        )
        assert record.status is RunStatus.SUCCEEDED
        assert list(store.read_assets(["orders"])["orders"].latest) == ["2026-11-23"]

    def test_what_was_read_is_captured_at_the_start(self, launcher: RunLauncher, store: Store) -> None:
        run(
            launcher,
            store,
            step("make", "produce", produces=[{"assetId": "raw"}], parameters={"asset": "raw"}),
        )
        clean = workflow(
            step(
                "make",
                "produce",
                consumes=[{"assetId": "raw"}],
                produces=[{"assetId": "clean"}],
                parameters={"asset": "clean"},
            ),
            slug="cleaning",
        )
        order = submit(store, clean)
        launcher.launch(order)
        assert ended(store, order).status is RunStatus.SUCCEEDED
        assets = store.read_assets(["raw", "clean"])
        assert assets["clean"].latest[None].inputs == {"raw": assets["raw"].latest[None].version}

    def test_a_declared_asset_that_is_not_returned_is_not_made(self, launcher: RunLauncher, store: Store) -> None:
        record = run(
            launcher,
            store,
            step(
                "make",
                "produce",
                produces=[{"assetId": "orders"}, {"assetId": "refunds"}],
                parameters={"asset": "orders"},
            ),
        )
        assert record.status is RunStatus.SUCCEEDED
        assets = store.read_assets(["orders", "refunds"])
        assert None in assets["orders"].latest
        assert assets["refunds"].latest == {}
        assert assets["refunds"].failures[None].failures == 1


class TestContext:
    def test_a_function_sees_the_run(self, launcher: RunLauncher, store: Store) -> None:
        record = run(
            launcher,
            store,
            step("tell", "echo", parameters={"limit": 5}),
            parameters={"region": "north", "limit": 1},
        )
        assert step_of(record, "tell").result == {
            "parameters": {"region": "north", "limit": 5},
            "trigger": {"type": "manual", "reason": "a test"},
            "partitionKey": None,
            "runId": record.run_id,
            "workflowSlug": "made",
            "stepId": "tell",
        }

    def test_a_command_sees_the_same(self, launcher: RunLauncher, store: Store) -> None:
        record = run(launcher, store, step("tell", "command", parameters={"how": "echo"}))
        told = step_of(record, "tell")
        assert isinstance(told.result, dict)
        assert told.result["runId"] == record.run_id
        assert told.result["parameters"] == {"how": "echo"}
        assert set(told.result) == {
            "parameters",
            "trigger",
            "partitionKey",
            "runId",
            "workflowSlug",
            "stepId",
        }
        assert told.stdout_tail.startswith("some progress\n")
        assert told.stderr_tail == "a warning\n"

    def test_templates_keep_types_and_see_earlier_results(self, launcher: RunLauncher, store: Store) -> None:
        record = run(
            launcher,
            store,
            step("first", "echo", storeResultAs="opening"),
            step(
                "second",
                "echo",
                dependsOn=["first"],
                parameters={
                    "list": "{{ steps.first.result.parameters.items }}",
                    "text": "{{ shared.opening.stepId }} in {{ run.id }}",
                    "nested": [{"reason": "{{ trigger.reason }}"}],
                },
            ),
            parameters={"items": [1, 2]},
        )
        told = step_of(record, "second").result
        assert isinstance(told, dict)
        assert told["parameters"] == {
            "items": [1, 2],
            "list": [1, 2],
            "text": f"first in {record.run_id}",
            "nested": [{"reason": "a test"}],
        }

    def test_an_undefined_template_fails_the_step_by_name(self, launcher: RunLauncher, store: Store) -> None:
        record = run(launcher, store, step("tell", "echo", parameters={"day": "{{ parameters.dya }}"}))
        assert record.status is RunStatus.FAILED
        assert "step 'tell'" in record.error
        assert "parameters.day" in record.error
        assert "{{ parameters.dya }}" in record.error


class TestFailure:
    def test_an_exception_fails_the_run_and_counts(self, launcher: RunLauncher, store: Store) -> None:
        record = run(launcher, store, step("make", "fail", produces=[{"assetId": "orders"}]))
        assert record.status is RunStatus.FAILED
        assert record.error == "step 'make': ValueError: the river is dry"
        made = step_of(record, "make")
        assert made.status is StepStatus.FAILED
        assert "Traceback" in made.stderr_tail
        failure = store.read_assets(["orders"])["orders"].failures[None]
        assert (failure.failures, failure.last_failed_run_id) == (1, record.run_id)

    @pytest.mark.parametrize(
        ("how", "reason"),
        [
            ({"how": "exit", "status": 3}, "exited with status 3"),
            ({"how": "exit", "status": 0}, "ended before the job returned"),
            ({"how": "sys.exit"}, "sys.exit(4)"),
            ({"how": "kill"}, "killed by SIGKILL"),
            ({"how": "segfault"}, "killed by SIGSEGV"),
        ],
        ids=["exit-3", "exit-0", "sys.exit", "sigkill", "segfault"],
    )
    def test_a_job_that_ends_its_process(
        self, launcher: RunLauncher, store: Store, how: dict[str, Any], reason: str
    ) -> None:
        record = run(launcher, store, step("make", "die", parameters=how))
        assert record.status is RunStatus.FAILED
        assert reason in record.error
        assert step_of(record, "make").stdout_tail == "about to die\n"
        after = run(launcher, store, step("tell", "echo"))
        assert after.status is RunStatus.SUCCEEDED

    @pytest.mark.parametrize(
        ("how", "reason"),
        [
            ("exit", "exited with status 7"),
            ("kill", "was killed by SIGKILL"),
            ("garbage", "the last line of stdout is not JSON"),
        ],
    )
    def test_a_command_that_fails(self, launcher: RunLauncher, store: Store, how: str, reason: str) -> None:
        record = run(launcher, store, step("make", "command", parameters={"how": how}))
        assert record.status is RunStatus.FAILED
        assert reason in record.error
        assert step_of(record, "make").stderr_tail == "a warning\n"

    @pytest.mark.parametrize(
        ("job", "reason"),
        [
            ("command-missing", "cannot start"),
            ("missing-module", "there is no module 'there_is_no_such_module'"),
            ("missing-function", "has no function 'there_is_no_such_function'"),
            ("produec", "did you mean 'produce'?"),
        ],
    )
    def test_a_job_that_is_not_there(self, launcher: RunLauncher, store: Store, job: str, reason: str) -> None:
        record = run(launcher, store, step("make", job))
        assert record.status is RunStatus.FAILED
        assert reason in record.error

    @pytest.mark.parametrize(
        ("kind", "reason"),
        [
            ("list", "must be an object or null, got list"),
            ("datetime", "cannot be written as JSON"),
            ("nan", "cannot be written as JSON"),
            ("huge", "more than 4194304 bytes"),
            ("circle", "cannot be written as JSON"),
            ("apphub-failed", "no such bucket"),
        ],
    )
    def test_a_result_that_cannot_be_used(self, launcher: RunLauncher, store: Store, kind: str, reason: str) -> None:
        record = run(launcher, store, step("make", "answer", parameters={"kind": kind}))
        assert record.status is RunStatus.FAILED
        assert reason in record.error

    def test_apphubs_envelope_is_taken_off(self, launcher: RunLauncher, store: Store) -> None:
        record = run(launcher, store, step("make", "answer", parameters={"kind": "apphub-succeeded"}))
        assert step_of(record, "make").result == {"rows": 5}

    def test_an_undeclared_asset_is_recorded_nowhere(self, launcher: RunLauncher, store: Store) -> None:
        record = run(launcher, store, step("make", "undeclared", produces=[{"assetId": "orders"}]))
        assert record.status is RunStatus.FAILED
        assert "'somebody.elses' is not declared" in record.error
        assert "'orders'" in record.error
        assert store.asset_ids() == [] or "somebody.elses" not in store.asset_ids()

    @pytest.mark.parametrize(
        ("partitioning", "key", "reason"),
        [
            ({"type": "timeWindow", "granularity": "day"}, "yesterday", "'yesterday'"),
            (None, "2026-11-23", "not partitioned"),
        ],
    )
    def test_a_bad_partition_key(
        self, launcher: RunLauncher, store: Store, partitioning: object, key: str, reason: str
    ) -> None:
        declared = {"assetId": "orders", "partitioning": partitioning}
        record = run(
            launcher,
            store,
            step("make", "produce", produces=[declared], parameters={"asset": "orders", "partitionKey": key}),
        )
        assert record.status is RunStatus.FAILED
        assert "orders" in record.error
        assert reason in record.error
        assert store.history("orders") == []

    def test_an_unsupported_step(self, launcher: RunLauncher, store: Store) -> None:
        record = run(launcher, store, {"id": "call", "name": "call", "type": "service"})
        assert record.status is RunStatus.FAILED
        assert "type 'service' cannot be executed" in record.error

    def test_what_needs_a_failed_step_is_skipped_and_the_rest_is_made(
        self, launcher: RunLauncher, store: Store
    ) -> None:
        record = run(
            launcher,
            store,
            step("a", "fail"),
            step("b", "echo", dependsOn=["a"]),
            step("c", "echo", dependsOn=["b"]),
            step("d", "produce", produces=[{"assetId": "free"}], parameters={"asset": "free"}),
        )
        assert record.status is RunStatus.FAILED
        assert {s.step_id: s.status for s in record.steps} == {
            "a": StepStatus.FAILED,
            "b": StepStatus.SKIPPED,
            "c": StepStatus.SKIPPED,
            "d": StepStatus.SUCCEEDED,
        }
        assert store.history("free") != []


class TestBounds:
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
        assert "timeout of 1500 ms" in record.error
        assert all(is_gone(pid) for pid in pids_of(tmp_path, "wait"))

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


class TestLifecycle:
    def test_a_run_is_owned_until_it_has_ended(self, launcher: RunLauncher, store: Store, tmp_path: Path) -> None:
        order = submit(store, workflow(step("wait", "hold", parameters={"folder": str(tmp_path)})))
        assert not launcher.owns(order.run_id)
        launcher.launch(order)
        assert launcher.owns(order.run_id)
        (tmp_path / "go").touch()
        assert ended(store, order).status is RunStatus.SUCCEEDED
        eventually(lambda: not launcher.owns(order.run_id), "the launcher has let go of the run")

    def test_a_run_that_is_launched_twice_runs_once(self, launcher: RunLauncher, store: Store, tmp_path: Path) -> None:
        order = submit(store, workflow(step("try", "flaky", parameters={"folder": str(tmp_path), "succeedsAt": 1})))
        launcher.launch(order)
        launcher.launch(order)
        assert ended(store, order).status is RunStatus.SUCCEEDED
        eventually(lambda: not launcher.owns(order.run_id), "the launcher has let go of the run")
        assert len(list(tmp_path.iterdir())) == 1

    def test_stop_waits_for_what_ends_in_time(self, launcher: RunLauncher, store: Store, tmp_path: Path) -> None:
        order = submit(store, workflow(step("wait", "hold", parameters={"folder": str(tmp_path)})))
        launcher.launch(order)
        pids_of(tmp_path, "wait")
        stopping = threading.Thread(target=launcher.stop, args=(30,))
        stopping.start()
        eventually(lambda: _refuses(launcher, order), "the launcher takes no more runs")
        (tmp_path / "go").touch()
        stopping.join(30)
        assert not stopping.is_alive()
        record = store.run(order.run_id)
        assert record is not None
        assert record.status is RunStatus.SUCCEEDED

    def test_stop_ends_the_rest_as_lost(self, launcher: RunLauncher, store: Store, tmp_path: Path) -> None:
        order = submit(
            store,
            workflow(
                step(
                    "wait",
                    "hold",
                    produces=[{"assetId": "late"}],
                    parameters={"folder": str(tmp_path), "child": True},
                )
            ),
        )
        launcher.launch(order)
        pids = pids_of(tmp_path, "wait")
        launcher.stop(0)
        record = store.run(order.run_id)
        assert record is not None
        assert record.status is RunStatus.LOST
        assert all(is_gone(pid) for pid in pids)
        assert store.read_assets(["late"])["late"].failures[None].failures == 1
        assert not launcher.owns(order.run_id)

    def test_a_stopped_launcher_takes_nothing(self, launcher: RunLauncher, store: Store) -> None:
        order = submit(store, workflow(step("tell", "echo")))
        launcher.stop(0)
        with pytest.raises(LaunchFailed, match=order.run_id):
            launcher.launch(order)

    def test_a_run_that_the_catalog_has_ended_is_left_alone(
        self, launcher: RunLauncher, store: Store, tmp_path: Path
    ) -> None:
        order = submit(
            store,
            workflow(
                step(
                    "wait",
                    "hold",
                    produces=[{"assetId": "late"}],
                    parameters={"folder": str(tmp_path), "asset": "late"},
                )
            ),
        )
        launcher.launch(order)
        pids_of(tmp_path, "wait")
        store.finish_run(order.run_id, RunStatus.LOST, now_ms=1)
        (tmp_path / "go").touch()
        eventually(lambda: not launcher.owns(order.run_id), "the launcher has let go of the run")
        assert ended(store, order).status is RunStatus.LOST
        assert store.history("late") == []


def _is_running(store: Store, order: RunOrder) -> bool:
    record = store.run(order.run_id)
    return record is not None and record.status is RunStatus.RUNNING


def _error(store: Store, order: RunOrder) -> str:
    record = store.run(order.run_id)
    assert record is not None
    return record.steps[0].error or "" if record.steps else ""


def _refuses(launcher: RunLauncher, order: RunOrder) -> bool:
    try:
        launcher.launch(order)
    except LaunchFailed:
        return True
    return False

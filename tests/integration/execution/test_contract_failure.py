"""What every `RunLauncher` must do with a run that fails."""

from __future__ import annotations

from typing import Any

import pytest

from actors.catalog.store import RunStatus, StepStatus, Store
from actors.execution.launcher import RunLauncher
from tests.integration.execution.workflows import (
    run,
    step,
    step_of,
)

pytestmark = pytest.mark.integration


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

    @pytest.mark.of_processes
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
        assert reason in (record.error or "")
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
        assert reason in (record.error or "")
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
        assert reason in (record.error or "")

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
        assert reason in (record.error or "")

    def test_apphubs_envelope_is_taken_off(self, launcher: RunLauncher, store: Store) -> None:
        record = run(launcher, store, step("make", "answer", parameters={"kind": "apphub-succeeded"}))
        assert step_of(record, "make").result == {"rows": 5}

    def test_an_undeclared_asset_is_recorded_nowhere(self, launcher: RunLauncher, store: Store) -> None:
        record = run(launcher, store, step("make", "undeclared", produces=[{"assetId": "orders"}]))
        assert record.status is RunStatus.FAILED
        assert "'somebody.elses' is not declared" in (record.error or "")
        assert "'orders'" in (record.error or "")
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
        assert "orders" in (record.error or "")
        assert reason in (record.error or "")
        assert store.history("orders") == []

    def test_an_unsupported_step(self, launcher: RunLauncher, store: Store) -> None:
        record = run(launcher, store, {"id": "call", "name": "call", "type": "service"})
        assert record.status is RunStatus.FAILED
        assert "type 'service' cannot be executed" in (record.error or "")

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

"""What every `RunLauncher` must do with a run that succeeds, and what jobs see."""

from __future__ import annotations

import pytest

from actors.catalog.store import RunStatus, StepStatus, Store
from actors.execution.launcher import RunLauncher
from tests.integration.execution.workflows import (
    ended,
    run,
    step,
    step_of,
    submit,
    workflow,
)

pytestmark = pytest.mark.integration


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
        assert "step 'tell'" in (record.error or "")
        assert "parameters.day" in (record.error or "")
        assert "{{ parameters.dya }}" in (record.error or "")

"""What every `RunLauncher` must do from its start to its stop."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest

from actors.catalog.store import RunStatus, Store
from actors.execution.launcher import LaunchFailed, RunLauncher, RunOrder
from tests.integration.execution.workflows import (
    ended,
    eventually,
    is_gone,
    pids_of,
    step,
    submit,
    workflow,
)

pytestmark = pytest.mark.integration


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


def _refuses(launcher: RunLauncher, order: RunOrder) -> bool:
    try:
        launcher.launch(order)
    except LaunchFailed:
        return True
    return False

"""What Celery's workers promise beyond the contract: they may die and hang, and take runs by queue and priority."""

from __future__ import annotations

import base64
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from actors.catalog.store import RunStatus, StepStatus
from actors.execution.celery_app import CeleryQueues, make_app
from actors.execution.celery_launcher import BrokerUnavailable, CeleryLauncher
from actors.execution.launcher import RunOrder
from actors.execution.reaper import Reaper
from actors.runtime.clock import SystemClock
from tests.integration.execution.celery_workers import LEASE_MS, CeleryStage
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
from tests.unit.doubles import RecordingObserver

pytestmark = pytest.mark.integration

MAKES = [{"assetId": "orders"}]


@pytest.fixture
def stage(server_url: str, prefix: str, tmp_path: Path) -> Iterator[CeleryStage]:
    folder = tmp_path / "stage"
    folder.mkdir()
    stage = CeleryStage(folder, server_url, prefix, **{"celery.queues": {"gpu": "gpu-machines"}})
    yield stage
    stage.close()
    print(stage.logs)


@pytest.fixture
def launcher(stage: CeleryStage) -> CeleryLauncher:
    launcher = stage.launcher()
    launcher.start()
    return launcher


@pytest.fixture
def reaper(stage: CeleryStage, launcher: CeleryLauncher) -> Iterator[Reaper]:
    reaper = Reaper(
        stage.store,
        launcher,
        SystemClock(),
        RecordingObserver(),
        is_waiting=launcher.is_waiting,
        lease_ms=LEASE_MS,
        start_timeout_ms=1_000,
    )
    reaper.start()
    yield reaper
    reaper.stop()


def holding(stage: CeleryStage, folder: Path, *, slug: str = "made", pool: str | None = None, **more: Any) -> RunOrder:
    """A submitted run whose job holds on in a folder of its own until the test lets go."""
    own = folder / slug
    own.mkdir(exist_ok=True)
    auto = {"autoMaterialize": {"pool": pool}} if pool else {}
    makes = [{"assetId": f"orders.{slug}", **auto}]
    parameters = {"folder": str(own), "asset": f"orders.{slug}", "child": True}
    return submit(stage.store, workflow(step("wait", "hold", produces=makes, parameters=parameters, **more), slug=slug))


def is_running(stage: CeleryStage, order: RunOrder) -> bool:
    record = stage.store.run(order.run_id)
    return record is not None and record.status is RunStatus.RUNNING


class TestDeath:
    def test_the_run_of_a_killed_worker_is_lost_and_its_jobs_are_dead(
        self, stage: CeleryStage, launcher: CeleryLauncher, reaper: Reaper, tmp_path: Path
    ) -> None:
        worker = stage.work()
        order = holding(stage, tmp_path)
        launcher.launch(order)
        pids = pids_of(tmp_path / "made", "wait")
        worker.kill()
        record = ended(stage.store, order)
        assert record.status is RunStatus.LOST
        assert f":{worker.pid} was last heard of at " in (record.error or "")
        assert stage.store.read_assets(["orders.made"])["orders.made"].failures[None].failures == 1
        eventually(lambda: all(is_gone(pid) for pid in pids), "the job and its child are dead")

    def test_a_worker_that_comes_back_after_its_lease_can_write_nothing(
        self, stage: CeleryStage, launcher: CeleryLauncher, reaper: Reaper, tmp_path: Path
    ) -> None:
        """It is stopped, given up, its workflow runs again elsewhere, and then it goes on where it was."""
        zombie = stage.work()
        first = holding(stage, tmp_path)
        launcher.launch(first)
        pids_of(tmp_path / "made", "wait")
        zombie.send_signal(signal.SIGSTOP)
        assert ended(stage.store, first).status is RunStatus.LOST
        # Its job has done its work meanwhile, and the result waits for the worker.
        (tmp_path / "made" / "go").touch()
        stage.work()
        second = holding(stage, tmp_path)
        launcher.launch(second)
        assert ended(stage.store, second).status is RunStatus.SUCCEEDED
        zombie.send_signal(signal.SIGCONT)
        eventually(lambda: '"event": "run.fenced"' in stage.logs, "the worker was refused")
        (made,) = stage.store.history("orders.made")
        assert made.materialization.run_id == second.run_id
        late = ended(stage.store, first)
        assert (late.status, late.produced) == (RunStatus.LOST, ())
        assert step_of(late, "wait").status is StepStatus.RUNNING, "as it was when the run was given up"
        third = run(launcher, stage.store, step("tell", "echo"))
        assert third.status is RunStatus.SUCCEEDED, "both workers go on"

    def test_a_worker_that_its_broker_ends_begins_again_while_its_runs_go_on(
        self, stage: CeleryStage, launcher: CeleryLauncher, prefix: str, tmp_path: Path
    ) -> None:
        worker = stage.work()
        order = holding(stage, tmp_path)
        launcher.launch(order)
        pids_of(tmp_path / "made", "wait")
        queue = f"{prefix}:celery:headwater"

        def is_restarted() -> bool:
            return stage.logs.count('"event": "worker.restarted"') == 1

        # Celery takes this answer of the server for no loss of the connection, and ends.
        stage.client.set(queue, "not a list")
        eventually(is_restarted, "another worker is to be made")
        stage.client.delete(queue)
        eventually(lambda: stage.logs.count(" ready.") == 2, "another worker takes runs")
        (tmp_path / "made" / "go").touch()
        assert ended(stage.store, order).status is RunStatus.SUCCEEDED
        assert run(launcher, stage.store, step("tell", "echo")).status is RunStatus.SUCCEEDED
        # Who is told to end by Celery's remote control gets no signal, and is not begun again either.
        stage.app.control.broadcast("shutdown")
        assert worker.wait(30) == 0
        assert is_restarted()

    @pytest.mark.parametrize(
        ("number", "grace_seconds", "status"),
        [
            (signal.SIGTERM, 60.0, RunStatus.SUCCEEDED),
            (signal.SIGTERM, 0.2, RunStatus.LOST),
            (signal.SIGINT, 0.2, RunStatus.LOST),
        ],
        ids=["in-time", "too-late", "ctrl-c"],
    )
    def test_a_worker_that_is_told_to_stop(
        self,
        server_url: str,
        prefix: str,
        tmp_path: Path,
        number: signal.Signals,
        grace_seconds: float,
        status: RunStatus,
    ) -> None:
        stage = CeleryStage(tmp_path, server_url, prefix, shutdown={"grace_seconds": grace_seconds})
        try:
            worker = stage.work()
            launcher = stage.launcher()
            launcher.start()
            order = holding(stage, tmp_path)
            launcher.launch(order)
            pids = pids_of(tmp_path / "made", "wait")
            worker.send_signal(number)
            eventually(lambda: "Warm shutdown" in stage.logs, "it is stopping")
            assert is_running(stage, order) or status is RunStatus.LOST
            if status is RunStatus.SUCCEEDED:
                (tmp_path / "made" / "go").touch()
            code = worker.wait(30)
            assert ended(stage.store, order).status is status
            assert code == (1 if number is signal.SIGINT else 0)
            eventually(lambda: is_gone(pids[0]), "the job's process is dead")
        finally:
            stage.close()


class TestDelivery:
    def test_a_message_is_acknowledged_when_its_run_is_over(
        self, stage: CeleryStage, launcher: CeleryLauncher, prefix: str, tmp_path: Path
    ) -> None:
        stage.work()
        order = holding(stage, tmp_path)
        launcher.launch(order)
        pids_of(tmp_path / "made", "wait")
        assert stage.client.hlen(f"{prefix}:celery:unacked") == 1
        assert stage.queues.length("headwater") == 0
        (tmp_path / "made" / "go").touch()
        ended(stage.store, order)
        eventually(lambda: stage.client.hlen(f"{prefix}:celery:unacked") == 0, "it is acknowledged")

    def test_a_run_that_is_delivered_to_two_workers_is_executed_by_one(
        self, stage: CeleryStage, launcher: CeleryLauncher, tmp_path: Path
    ) -> None:
        stage.work(concurrency=1)
        stage.work(concurrency=1)
        order = holding(stage, tmp_path)
        for _ in range(3):
            launcher.launch(order)
        pids_of(tmp_path / "made", "wait")
        # One worker holds on; the other takes, and drops, the messages that are left: before the start or at it.
        dropped = ('"event": "run.not_begun"', '"event": "run.fenced"')
        eventually(lambda: sum(stage.logs.count(event) for event in dropped) == 2, "two messages were dropped")
        (tmp_path / "made" / "go").touch()
        assert ended(stage.store, order).status is RunStatus.SUCCEEDED
        assert len(stage.store.history("orders.made")) == 1

    def test_a_message_holds_the_id_of_its_run_and_nothing_else(
        self, stage: CeleryStage, launcher: CeleryLauncher, prefix: str, tmp_path: Path
    ) -> None:
        order = holding(stage, tmp_path)
        launcher.launch(order)
        (text,) = stage.client.lrange(f"{prefix}:celery:headwater", 0, -1)
        message = json.loads(text)
        assert message["content-type"] == "application/json"
        args, kwargs, _ = json.loads(base64.b64decode(message["body"]))
        assert (args, kwargs) == ([order.run_id], {})

    def test_a_message_that_was_lost_is_sent_again(
        self, stage: CeleryStage, launcher: CeleryLauncher, reaper: Reaper, prefix: str
    ) -> None:
        order = submit(stage.store, workflow(step("tell", "echo")))
        launcher.launch(order)
        stage.client.delete(f"{prefix}:celery:headwater")
        stage.work()
        assert ended(stage.store, order).status is RunStatus.SUCCEEDED

    def test_what_waits_in_a_queue_is_left_to_wait(
        self, stage: CeleryStage, launcher: CeleryLauncher, tmp_path: Path
    ) -> None:
        order = submit(stage.store, workflow(step("tell", "echo")))
        assert not launcher.is_waiting(order)
        launcher.launch(order)
        assert launcher.is_waiting(order)
        observer = RecordingObserver()
        waits = Reaper(
            stage.store,
            launcher,
            SystemClock(),
            observer,
            is_waiting=launcher.is_waiting,
            lease_ms=LEASE_MS,
            start_timeout_ms=0,
        )
        for _ in range(3):
            waits.look()
        assert observer.calls == []
        assert stage.queues.length("headwater") == 1

    def test_a_broker_that_is_away_makes_no_run_fail(self, stage: CeleryStage, tmp_path: Path) -> None:
        queues = CeleryQueues(make_app(stage.settings, f"redis+socket://{tmp_path}/nobody"))
        with pytest.raises(BrokerUnavailable, match="cannot be reached"):
            queues.length("headwater")
        launcher = CeleryLauncher(
            stage.store, queues, queue="headwater", queues={}, lease_ms=LEASE_MS, runs_outlive=True
        )
        launcher.start()
        order = submit(stage.store, workflow(step("tell", "echo")))
        launcher.launch(order)
        assert launcher.is_waiting(order), "nobody can tell"
        assert [run.status for run in stage.store.active_runs()] == [RunStatus.ENQUEUED]

    def test_a_run_that_never_got_to_the_broker_is_put_there_once_when_it_is_back(self, stage: CeleryStage) -> None:
        broker = MovingQueues(stage.queues)
        launcher = CeleryLauncher(
            stage.store, broker, queue="headwater", queues={}, lease_ms=LEASE_MS, runs_outlive=True
        )
        launcher.start()
        broker.is_away = True
        order = submit(stage.store, workflow(step("tell", "echo")))
        launcher.launch(order)
        observer = RecordingObserver()
        reaper = Reaper(
            stage.store,
            launcher,
            SystemClock(),
            observer,
            is_waiting=launcher.is_waiting,
            lease_ms=LEASE_MS,
            start_timeout_ms=0,
        )
        for _ in range(3):
            reaper.look()
        broker.is_away = False
        assert stage.queues.length("headwater") == 0
        for _ in range(3):
            reaper.look()
            assert stage.queues.length("headwater") == 1
        assert observer.calls == [], "it is the first launch, and no second"


class MovingQueues:
    """The real broker, which can be reached or not."""

    is_away = False

    def __init__(self, queues: CeleryQueues) -> None:
        self._queues = queues

    def put(self, run_id: str, *, queue: str, step: int) -> None:
        self._look()
        self._queues.put(run_id, queue=queue, step=step)

    def length(self, queue: str) -> int:
        self._look()
        return self._queues.length(queue)

    def _look(self) -> None:
        if self.is_away:
            raise BrokerUnavailable("it is away")


class TestRouting:
    def test_a_pool_s_runs_are_taken_by_the_workers_of_its_queue(
        self, stage: CeleryStage, launcher: CeleryLauncher, tmp_path: Path
    ) -> None:
        stage.work("--queues", "headwater")
        pooled = holding(stage, tmp_path, slug="pooled", pool="gpu")
        plain = holding(stage, tmp_path, slug="plain", pool="other")
        for order in (pooled, plain):
            launcher.launch(order)
        pids_of(tmp_path / "plain", "wait")
        assert stage.queues.length("gpu-machines") == 1
        assert not is_running(stage, pooled)
        stage.work("--queues", "gpu-machines")
        pids_of(tmp_path / "pooled", "wait")

    def test_a_better_priority_is_taken_first(self, stage: CeleryStage, launcher: CeleryLauncher) -> None:
        orders: dict[str, RunOrder] = {}
        for slug, priority in (("later", 300), ("usual", 100), ("soon", 30), ("usual-too", 100)):
            auto = {"autoMaterialize": {"priority": priority}}
            makes = [{"assetId": f"orders.{slug}", **auto}]
            made = step("make", "produce", produces=makes, parameters={"asset": f"orders.{slug}"})
            orders[slug] = submit(
                stage.store,
                workflow(made, slug=slug),
                trigger={"type": "auto-materialize", "reason": "missing", "assetId": f"orders.{slug}"},
            )
        orders["hand"] = submit(stage.store, workflow(step("tell", "echo"), slug="hand"))
        for order in orders.values():
            launcher.launch(order)
        stage.work(concurrency=1)
        starts = {slug: ended(stage.store, order).started_at_ms or 0 for slug, order in orders.items()}
        assert sorted(starts, key=lambda slug: (starts[slug], slug)) == ["hand", "soon", "usual", "usual-too", "later"]


class TestService:
    def test_runs_outlive_the_launcher(self, stage: CeleryStage, tmp_path: Path) -> None:
        stage.work()
        launcher = stage.launcher(runs_outlive=True)
        launcher.start()
        order = holding(stage, tmp_path)
        launcher.launch(order)
        pids_of(tmp_path / "made", "wait")
        launcher.stop(0)
        (tmp_path / "made" / "go").touch()
        assert ended(stage.store, order).status is RunStatus.SUCCEEDED

    def test_any_launcher_can_cancel(self, stage: CeleryStage, launcher: CeleryLauncher, tmp_path: Path) -> None:
        stage.work()
        order = holding(stage, tmp_path)
        launcher.launch(order)
        pids = pids_of(tmp_path / "made", "wait")
        other = stage.launcher()
        other.start()
        assert other.cancel(order.run_id)
        assert ended(stage.store, order).status is RunStatus.CANCELED
        assert all(is_gone(pid) for pid in pids)


class TestCommandLine:
    def test_celery_s_own_command_works_by_the_same_settings(
        self, stage: CeleryStage, launcher: CeleryLauncher, tmp_path: Path
    ) -> None:
        with celery_worker(tmp_path) as worker:
            record = run(launcher, stage.store, step("tell", "echo"))
            assert record.status is RunStatus.SUCCEEDED
            assert worker.poll() is None

    def test_a_pool_of_celery_s_processes_is_refused(self, stage: CeleryStage, tmp_path: Path) -> None:
        with celery_worker(tmp_path, "--pool", "processes") as worker:
            assert worker.wait(60) == 1
        assert "leave --pool out" in (tmp_path / "celery.log").read_text()

    @pytest.mark.parametrize(
        ("options", "reason"),
        [(("--queues", "gpu-machine"), "did you mean 'gpu-machines'?"), (("--engine", "ray"), "use celery")],
    )
    def test_what_cannot_be_meant_is_refused(self, stage: CeleryStage, options: tuple[str, ...], reason: str) -> None:
        done = subprocess.run(stage.command(*options), capture_output=True, text=True, timeout=60, check=False)
        assert done.returncode == 2
        assert reason in done.stderr


class celery_worker:  # noqa: N801 - used as a function
    """`celery -A actors.execution.celery_app worker`, with the stage's settings in the environment."""

    def __init__(self, folder: Path, *options: str) -> None:
        config = str(folder / "stage" / "worker.toml")
        kept = {name: value for name, value in os.environ.items() if not name.startswith("HEADWATER_")}
        with (folder / "celery.log").open("wb") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "celery", "-A", "actors.execution.celery_app", "worker", *options],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env={**kept, "HEADWATER_CONFIG": config},
                start_new_session=True,
            )

    def __enter__(self) -> subprocess.Popen[bytes]:
        return self._process

    def __exit__(self, *_: object) -> None:
        if self._process.poll() is None:
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait(10)

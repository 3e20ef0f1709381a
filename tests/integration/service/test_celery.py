"""The service with workers elsewhere: runs go on without it, and without the worker that began them."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from actors.catalog.store import RunStatus
from tests.integration.conftest import SERVER_KINDS
from tests.integration.service.conftest import closing
from tests.integration.service.driver import Service, eventually
from tests.integration.service.workflows import workflow


class Workers:
    """Worker processes on the service's settings; none outlives the test."""

    def __init__(self, service: Service) -> None:
        self._service = service
        self._processes: list[subprocess.Popen[bytes]] = []

    def start(self) -> subprocess.Popen[bytes]:
        service = self._service
        log = service.folder / f"worker-{len(self._processes)}.log"
        with log.open("wb") as out:
            process = subprocess.Popen(
                [*service.command, "worker", "--concurrency", "4"],
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=out,
                cwd=service.folder,
                env={name: value for name, value in os.environ.items() if not name.startswith("HEADWATER_")},
                start_new_session=True,
            )
        self._processes.append(process)
        eventually(lambda: b" ready." in log.read_bytes(), f"the worker is ready: {log.read_text()}")
        return process

    def end(self) -> None:
        for process in self._processes:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
            process.wait(20)
        for log in sorted(self._service.folder.glob("worker-*.log")):
            print(log.read_text())


def configure(service: Service) -> None:
    service.configure(execution={"launcher": "celery"}, runs={"lease_seconds": 1.5, "start_timeout_seconds": 5.0})


@pytest.fixture
def remote(server_url: str, tmp_path: Path) -> Iterator[Service]:
    with closing(Service(tmp_path, redis_url=server_url)) as service:
        configure(service)
        yield service


@pytest.fixture
def workers(remote: Service) -> Iterator[Workers]:
    workers = Workers(remote)
    yield workers
    workers.end()


@pytest.mark.parametrize("server_kind", SERVER_KINDS[-1:], indirect=True, scope="session")
def test_the_run_of_a_worker_that_is_killed_is_lost_and_made_again_by_another(
    remote: Service, workers: Workers
) -> None:
    remote.write(workflow("made", consumes=["raw"]))
    remote.start()
    first = workers.start()
    remote.hold("made")
    remote.emit("raw")
    (call,) = remote.wait_begun("made")
    first.kill()
    workers.start()
    remote.release("made")
    remote.wait_runs("made", RunStatus.SUCCEEDED)
    remote.wait_idle()
    assert [run.status for run in remote.runs("made")] == [RunStatus.LOST, RunStatus.SUCCEEDED]
    (lost,) = remote.logged("run.lost")
    assert lost["run_id"] == call.run_id
    assert f":{first.pid} was last heard of at" in lost["error"]
    assert remote.latest("made").materialization.inputs == {"raw": 1}


def test_a_run_goes_on_while_the_service_is_away(remote: Service, workers: Workers) -> None:
    remote.write(workflow("made", consumes=["raw"]), workflow("after", consumes=["made"]))
    remote.start()
    workers.start()
    remote.hold("made")
    remote.emit("raw")
    remote.wait_begun("made")
    remote.kill()
    remote.release("made")
    remote.wait_runs("made", RunStatus.SUCCEEDED)
    remote.start()
    remote.wait_runs("after", RunStatus.SUCCEEDED)
    remote.wait_idle()
    assert len(remote.begun("made")) == len(remote.begun("after")) == 1


def test_a_run_waits_for_a_worker_and_can_be_canceled_meanwhile(remote: Service, workers: Workers) -> None:
    remote.write(workflow("made", consumes=["raw"]), workflow("hand"))
    remote.start()
    remote.emit("raw")
    (run,) = remote.wait_runs("made", RunStatus.ENQUEUED)
    by_hand = remote.trigger("hand")
    remote.wait_runs("hand", RunStatus.ENQUEUED)
    remote.catalog.control.ask("cancel", {"runId": run.run_id}, timeout_seconds=10)
    remote.wait_runs("made", RunStatus.CANCELED)
    workers.start()
    remote.wait_runs("hand", RunStatus.SUCCEEDED)
    remote.wait_idle()
    assert [call.run_id for call in remote.calls if call.what == "begun"] == [by_hand]


def test_workers_share_the_embedded_server_on_one_machine(service: Service) -> None:
    configure(service)
    workers = Workers(service)
    try:
        service.write(workflow("made", consumes=["raw"]))
        service.start()
        workers.start()
        service.emit("raw")
        service.wait_runs("made", RunStatus.SUCCEEDED)
        service.wait_idle()
    finally:
        workers.end()

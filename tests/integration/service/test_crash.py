"""The service dies, stops and starts again."""

from __future__ import annotations

import json
import os
import signal
import subprocess
from collections import defaultdict
from pathlib import Path

import pytest

from actors.catalog.store import RunStatus
from tests.integration.service.driver import Call, Service, eventually
from tests.integration.service.workflows import produce, workflow

KEYS = {"type": "static", "keys": [f"p{n}" for n in range(6)]}


def test_L1_L2_nothing_is_lost_or_done_twice_when_the_service_is_killed_in_a_burst(service: Service) -> None:
    raw = {"assetId": "raw", "partitioning": KEYS}
    service.write(
        workflow("left", produce("left", partitioning=KEYS), consumes=[raw]),
        workflow("right", produce("right", partitioning=KEYS), consumes=[raw]),
        workflow("last", produce("last", partitioning=KEYS), consumes=["left", "right"]),
    )
    service.start()
    for key in KEYS["keys"]:
        service.emit("raw", key)
    service.hold("right")
    service.wait_begun("right")
    for key in KEYS["keys"][:3]:
        service.emit("raw", key)
    service.kill()
    for pid in {call.pid for call in service.calls}:
        eventually(lambda pid=pid: not _lives(pid), "the workers are dead")  # type: ignore[misc]
    before = service.calls
    for key in KEYS["keys"][3:]:
        service.emit("raw", key)
    service.release("right")
    service.start()
    service.wait_idle()

    for asset_id, upstreams in (("left", ["raw"]), ("right", ["raw"]), ("last", ["left", "right"])):
        for key in KEYS["keys"]:
            inputs = service.latest(asset_id, key).materialization.inputs
            for upstream_id in upstreams:
                newest = service.latest(upstream_id, key).materialization
                assert inputs[upstream_id] >= newest.changed_version, f"{asset_id}@{key} misses {upstream_id}"
    lost = {run.run_id for slug in ("left", "right", "last") for run in service.runs(slug, RunStatus.LOST)}
    assert lost
    assert_never_two_at_once(before)
    # What ran when the service was killed is dead by now.
    assert_never_two_at_once(service.calls[len(before) :])
    assert service.store.active_runs() == []


def test_workers_and_what_they_started_die_with_the_service_and_the_embedded_server_lives_on(service: Service) -> None:
    service.write(workflow("held", consumes=["raw"]))
    service.start()
    service.hold("held")
    service.emit("raw")
    (call,) = service.wait_begun("held")
    server_pid = _server_pid(service)
    service.leave_catalog()
    service.kill()
    eventually(lambda: not _lives(call.pid), "the worker is dead")
    service.release("held")
    assert _lives(server_pid)
    service.start()
    assert _server_pid(service) == server_pid
    service.wait_runs("held", RunStatus.SUCCEEDED)
    service.wait_idle()
    assert [run.status for run in service.runs("held")] == [RunStatus.LOST, RunStatus.SUCCEEDED]
    # What the dead worker would have written is not there.
    assert [(line.run_id == call.run_id, line.what) for line in service.calls] == [
        (True, "begun"),
        (False, "begun"),
        (False, "ended"),
    ]


def test_a_second_service_on_the_same_data_is_refused_and_the_first_goes_on(service: Service) -> None:
    service.write(workflow("only", consumes=["raw"]))
    service.start()
    assert service.process is not None
    second = subprocess.run(service.command, capture_output=True, text=True, timeout=60, check=False)
    assert second.returncode == 1
    assert f"is in use by the service with pid {service.process.pid}" in second.stderr
    assert "Traceback" not in second.stderr
    service.emit("raw")
    service.wait_runs("only", RunStatus.SUCCEEDED)


def test_the_last_user_stops_the_embedded_server_and_the_data_is_there_at_the_next_start(service: Service) -> None:
    service.write(workflow("kept", consumes=["raw"]))
    service.start()
    service.emit("raw")
    service.wait_runs("kept", RunStatus.SUCCEEDED)
    server_pid = _server_pid(service)
    service.leave_catalog()
    assert service.terminate() == 0
    assert not _lives(server_pid)
    service.start()
    service.wait_idle()
    assert [run.status for run in service.runs("kept")] == [RunStatus.SUCCEEDED]
    service.emit("raw")
    service.wait_runs("kept", RunStatus.SUCCEEDED, 2)


def test_a_stop_waits_for_the_run_under_way(service: Service) -> None:
    service.write(workflow("slow", consumes=["raw"]), workflow("after", consumes=["slow"]))
    service.start()
    service.hold("slow")
    service.emit("raw")
    service.wait_begun("slow")
    service.send(signal.SIGTERM)
    eventually(lambda: service.logged("service.stopping"), "it is stopping")
    service.release("slow")
    assert service.wait() == 0
    assert [run.status for run in service.runs("slow")] == [RunStatus.SUCCEEDED]
    # What follows from it was begun before the stop or is now, and not twice.
    service.start()
    service.wait_runs("after", RunStatus.SUCCEEDED)
    service.wait_idle()
    assert len(service.begun("slow")) == len(service.begun("after")) == 1


def test_a_run_that_outlasts_the_grace_is_lost_and_tried_again_at_the_next_start(service: Service) -> None:
    service.configure(shutdown={"grace_seconds": 0.2})
    service.write(workflow("slow", consumes=["raw"]))
    service.start()
    service.hold("slow")
    service.emit("raw")
    (call,) = service.wait_begun("slow")
    assert service.terminate() == 0
    assert [run.status for run in service.runs("slow")] == [RunStatus.LOST]
    assert not _lives(call.pid)
    service.release("slow")
    service.start()
    service.wait_runs("slow", RunStatus.SUCCEEDED)
    service.wait_idle()
    assert service.latest("slow").materialization.inputs == {"raw": 1}


def test_runs_asked_for_while_the_service_is_down_start_when_it_comes_up(service: Service) -> None:
    service.write(workflow("hand"))
    service.start()
    service.kill()
    run_id = service.trigger("hand")
    service.start()
    service.wait_runs("hand", RunStatus.SUCCEEDED)
    assert [call.run_id for call in service.begun("hand")] == [run_id]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_during_the_start_ends_it_cleanly(service: Service, number: signal.Signals) -> None:
    service.write(workflow("any"))
    service.start(ready=False)
    eventually((service.data_dir / "server.json").exists, "the embedded server is being started")
    service.send(number)
    assert service.wait() == 0
    assert "Traceback" not in service.log


def test_a_server_that_dies_comes_back_with_everything(service: Service) -> None:
    """The embedded server is killed under the running service; nobody restarts it but a new service."""
    service.write(workflow("kept", consumes=["raw"]))
    service.start()
    service.emit("raw")
    service.wait_runs("kept", RunStatus.SUCCEEDED)
    service.wait_idle()
    os.kill(_server_pid(service), signal.SIGKILL)
    service.leave_catalog()
    service.kill()
    service.start()
    service.emit("raw")
    service.wait_runs("kept", RunStatus.SUCCEEDED, 2)


def assert_never_two_at_once(calls: list[Call]) -> None:
    running: defaultdict[tuple[str, str | None], set[str]] = defaultdict(set)
    for call in calls:
        key = (call.workflow, call.partition)
        if call.what == "begun":
            assert not running[key], f"{key}: {call.run_id} began while {running[key]} ran"
            running[key].add(call.run_id)
        else:
            running[key].discard(call.run_id)


def _server_pid(service: Service) -> int:
    pid = json.loads((service.data_dir / "server.json").read_text())["pid"]
    assert isinstance(pid, int)
    return pid


def _lives(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return False
    # A dead child that its parent (here: this test) has not collected yet.
    return state != "Z"

"""Several services on one server and prefix: one leads, the others stand by and take its place."""

from __future__ import annotations

import json
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from actors.catalog.events import AssetExpired
from actors.catalog.store import RunStatus
from tests.integration.conftest import SERVER_KINDS
from tests.integration.service.conftest import closing
from tests.integration.service.driver import Service, eventually
from tests.integration.service.peers import Line, Peer, living_pids, wait_leader
from tests.integration.service.workflows import produce, workflow

LEASE_SECONDS = 2.0
LATE_SECONDS = 4.0
"""What a busy machine may add to a takeover."""


@pytest.fixture
def remote(server_url: str, tmp_path: Path) -> Iterator[Service]:
    with closing(Service(tmp_path, redis_url=server_url)) as service:
        service.configure(leadership={"lease_seconds": LEASE_SECONDS})
        yield service


@pytest.fixture
def ended() -> Iterator[ExitStack]:
    """For peers and lines: left behind by no test."""
    with ExitStack() as stack:
        yield stack


def peer_of(service: Service, ended: ExitStack, name: str = "peer", *, url: str | None = None) -> Peer:
    peer = Peer(service, name, url=url)
    ended.callback(peer.end)
    return peer


def command(service: Service, *arguments: str) -> str:
    return subprocess.run([*service.command, *arguments], capture_output=True, text=True, timeout=60, check=True).stdout


def child_commands(pid: int) -> Iterator[str]:
    for task in Path(f"/proc/{pid}/task").iterdir():
        for child in (task / "children").read_text().split():
            yield Path(f"/proc/{child}/cmdline").read_text()


def pid_of(service: Service) -> int:
    assert service.process is not None
    return service.process.pid


@pytest.mark.parametrize("server_kind", SERVER_KINDS[-1:], indirect=True, scope="session")
def test_a_killed_leader_is_followed_by_the_standby_and_nothing_is_lost_or_done_twice(
    remote: Service, ended: ExitStack
) -> None:
    remote.write(
        workflow("mid", produce("mid", freshness={"ttlMs": 600_000}), consumes=["raw"]),
        workflow("end", consumes=["mid"]),
        workflow("other", consumes=["outside"]),
    )
    remote.start()
    peer = peer_of(remote, ended)
    remote.emit("raw")
    remote.wait_runs("end", RunStatus.SUCCEEDED)
    remote.hold("end")
    remote.emit("raw")
    remote.wait_begun("end", 2)

    remote.kill()
    began = time.monotonic()
    # Nobody leads now.
    remote.emit("raw")
    remote.append(type="asset.produced", data=json.dumps({"assetId": "outside", "producedAt": "2026-01-01T00:00:00Z"}))
    wait_leader(remote, peer.pid)
    assert time.monotonic() - began < LEASE_SECONDS + LATE_SECONDS
    remote.release("end")
    remote.wait_runs("other", RunStatus.SUCCEEDED)
    remote.wait_runs("end", RunStatus.SUCCEEDED, 2)
    remote.wait_idle()
    assert [run.status for run in remote.runs("mid")] == [RunStatus.SUCCEEDED] * 3
    assert [run.status for run in remote.runs("other")] == [RunStatus.SUCCEEDED]
    assert [run.status for run in remote.runs("end") if run.status is not RunStatus.LOST] == [RunStatus.SUCCEEDED] * 2
    assert remote.latest("end").materialization.inputs == {"mid": 3}
    assert peer.terminate() == 0


def test_a_leader_that_hangs_is_replaced_and_comes_back_as_a_standby(remote: Service, ended: ExitStack) -> None:
    remote.write(workflow("only", consumes=["raw"]))
    remote.start()
    peer = peer_of(remote, ended)
    remote.emit("raw")
    remote.wait_runs("only", RunStatus.SUCCEEDED)

    remote.send(signal.SIGSTOP)
    remote.emit("raw")
    wait_leader(remote, peer.pid, LEASE_SECONDS + LATE_SECONDS)
    remote.wait_runs("only", RunStatus.SUCCEEDED, 2)
    remote.emit("raw")
    remote.wait_runs("only", RunStatus.SUCCEEDED, 3)

    remote.send(signal.SIGCONT)
    eventually(lambda: remote.logged("service.standing_by"), "the former leader stands by")
    eventually(lambda: living_pids(remote) == {pid_of(remote), peer.pid}, "both live")
    remote.emit("raw")
    remote.wait_runs("only", RunStatus.SUCCEEDED, 4)
    remote.wait_idle()
    wait_leader(remote, peer.pid)

    peer.kill()
    wait_leader(remote, pid_of(remote), LEASE_SECONDS + LATE_SECONDS)
    remote.emit("raw")
    remote.wait_runs("only", RunStatus.SUCCEEDED, 5)
    remote.wait_idle()
    # The last it was told to start before it hung may be lost besides; it was made again.
    assert len(remote.runs("only", RunStatus.SUCCEEDED)) == 5


def test_a_leader_that_stops_makes_way_at_once_and_ends_its_runs_in_peace(remote: Service, ended: ExitStack) -> None:
    remote.configure(leadership={"lease_seconds": 60.0})
    remote.write(workflow("only", consumes=["raw"]), workflow("slow", consumes=["raw"]))
    remote.start()
    peer = peer_of(remote, ended)
    remote.hold("slow")
    remote.emit("raw")
    remote.wait_begun("slow")
    remote.wait_runs("only", RunStatus.SUCCEEDED)

    remote.send(signal.SIGTERM)
    wait_leader(remote, peer.pid, 10 + LATE_SECONDS)
    remote.emit("raw")
    remote.wait_runs("only", RunStatus.SUCCEEDED, 2)
    assert [run.status for run in remote.runs("slow")] == [RunStatus.RUNNING]
    remote.release("slow")
    assert remote.wait() == 0
    remote.wait_runs("slow", RunStatus.SUCCEEDED, 2)
    remote.wait_idle()
    assert [run.status for run in remote.runs("slow")] == [RunStatus.SUCCEEDED] * 2


def test_a_leader_that_loses_its_server_is_replaced_and_comes_back_as_a_standby(
    remote: Service, server_url: str, ended: ExitStack
) -> None:
    remote.configure(leadership={"lease_seconds": LEASE_SECONDS}, redis={"socket_timeout_seconds": 2.0})
    remote.write(workflow("only", consumes=["raw"]))
    line = Line(server_url.removeprefix("unix://"))
    ended.callback(line.close)
    far = peer_of(remote, ended, "far", url=line.url)
    wait_leader(remote, far.pid)
    remote.emit("raw")
    remote.wait_runs("only", RunStatus.SUCCEEDED)
    near = peer_of(remote, ended, "near")

    line.cut()
    remote.emit("raw")
    wait_leader(remote, near.pid, LEASE_SECONDS + LATE_SECONDS)
    remote.wait_runs("only", RunStatus.SUCCEEDED, 2)

    line.mend()
    eventually(lambda: "service.standing_by" in far.log, "the former leader stands by")
    eventually(lambda: living_pids(remote) == {far.pid, near.pid}, "both live")
    near.kill()
    wait_leader(remote, far.pid, LEASE_SECONDS + LATE_SECONDS)
    remote.emit("raw")
    remote.wait_runs("only", RunStatus.SUCCEEDED, 3)
    remote.wait_idle()
    assert len(remote.runs("only")) == 3


def test_what_expires_while_nobody_leads_is_told_and_made_by_the_next(remote: Service, ended: ExitStack) -> None:
    remote.write(workflow("short", produce("short", {}, freshness={"ttlMs": 1_500})))
    remote.start()
    peer = peer_of(remote, ended)
    remote.trigger("short")
    remote.wait_runs("short", RunStatus.SUCCEEDED)
    remote.kill()
    told = len(remote.events("asset.expired"))
    wait_leader(remote, peer.pid)
    remote.wait_runs("short", RunStatus.SUCCEEDED, 2 + told)
    versions = [event.version or 0 for event in remote.events("asset.expired") if isinstance(event, AssetExpired)]
    assert versions == sorted(set(versions)), "each is told once"


def test_status_tells_who_leads_and_who_stands_by(remote: Service, ended: ExitStack) -> None:
    remote.start()
    peer = peer_of(remote, ended)
    answer = json.loads(command(remote, "status", "--json"))
    assert answer["leader"]["pid"] == pid_of(remote)
    assert [each["pid"] for each in answer["standbys"]] == [peer.pid]
    assert answer["term"] == 1
    assert 0 < answer["leaseLeftMs"] <= LEASE_SECONDS * 1_000
    text = command(remote, "status")
    assert f"pid {pid_of(remote)}: leads, in term 1" in text
    assert f"pid {peer.pid}: stands by" in text


def test_a_standby_submits_nothing_and_publishes_nothing(remote: Service, ended: ExitStack) -> None:
    remote.write(workflow("only", produce("only", freshness={"ttlMs": 3_600_000}), consumes=["raw"]))
    remote.start()
    peers = [peer_of(remote, ended, f"peer{number}") for number in range(2)]
    for number in range(1, 4):
        remote.emit("raw")
        remote.wait_runs("only", RunStatus.SUCCEEDED, number)
    remote.wait_idle()
    assert len(remote.runs("only")) == 3
    for peer in peers:
        assert "run submitted" not in peer.log
        # All that it needs for runs is what worker processes are forked from.
        assert "forkserver" in " ".join(child_commands(peer.pid))
        assert peer.terminate() == 0
    wait_leader(remote, pid_of(remote))

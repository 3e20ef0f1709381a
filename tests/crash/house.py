"""What the campaign runs: a server, two services beside each other, and a line from each of them to the server."""

from __future__ import annotations

import os
import shutil
import signal
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from actors.catalog.store import CatalogUnavailable
from tests.crash.graph import definitions
from tests.crash.line import Line
from tests.crash.server import DurableServer
from tests.integration.service.driver import DEADLINE_SECONDS, Service, eventually
from tests.integration.service.peers import Peer, leader_pid, living_pids

__all__ = ["BUDGET", "LEASE_SECONDS", "House", "Process"]

LEASE_SECONDS: Final = 1.5
BUDGET: Final = 50
_JOBS: Final = Path(__file__).parent / "jobs"
_SETTINGS: Final[dict[str, dict[str, object]]] = {
    "redis": {"socket_timeout_seconds": 2.0},
    "leadership": {"lease_seconds": LEASE_SECONDS},
    "workers": {"processes": 3},
    "runs": {"lease_seconds": 2.0, "start_timeout_seconds": 3.0},
    "backoff": {"base_ms": 20, "max_ms": 200},
    "failure_budget": {"failures": BUDGET},
    # What is missed must not be found by the refresh; nothing is trimmed that the checks read.
    "refresh": {"interval_seconds": 3_600.0, "watch_seconds": 1.0},
    "streams": {"events_max_length": 10_000_000, "audit_max_length": 10_000_000},
    "history": {"materializations": 1_000_000, "runs": 1_000_000},
}


@dataclass(slots=True)
class Process:
    """One of the two services. `expected` says what its end may be: the campaign's doing, or nothing."""

    name: str
    line: Line
    peer: Peer
    expected: str | None = None
    is_hung: bool = False

    @property
    def is_alive(self) -> bool:
        return self.peer.process.poll() is None

    @property
    def is_able(self) -> bool:
        """Alive, and not stopped, cut off or about to end."""
        return self.is_alive and not self.is_hung and self.expected is None and not self.line.is_cut

    def kill(self) -> None:
        self.expected = "killed"
        self.peer.kill()

    def hang(self) -> None:
        self.is_hung = True
        self.peer.send(signal.SIGSTOP)

    def terminate(self) -> None:
        self.expected = "terminated"
        self.peer.send(signal.SIGTERM)

    def workers(self) -> list[int]:
        """The ids of its worker processes: each leads a session of its own (see `worker_process.py`)."""
        return [pid for pid in _descendants(self.peer.pid) if _session(pid) == pid]


class House:
    """Everything is made by `open`, brought back to order by `heal`, and ended by `close`."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True)
        self.folder = folder
        self.server = DurableServer(folder / "server")
        self.service = Service(folder, redis_url=self.server.url)
        self.service.configure(**_SETTINGS)
        shutil.copytree(_JOBS, self.service.jobs_dir, dirs_exist_ok=True)
        self.service.write(*definitions())
        self.processes: list[Process] = []
        self._lines: list[Line] = []

    def open(self) -> None:
        self.server.start()
        for name in ("one", "two"):
            line = Line(self.server.socket_path)
            self._lines.append(line)
            self.processes.append(Process(name, line, Peer(self.service, name, url=line.url)))
        self.wait_leader()

    def wait_leader(self) -> None:
        pids = [each.peer.pid for each in self.processes]
        eventually(lambda: leader_pid(self.service) in pids, "one of the two leads")

    def leader(self) -> Process | None:
        """Who leads by the lease's record; None if nobody does."""
        pid = leader_pid(self.service)
        return next((each for each in self.processes if each.peer.pid == pid), None)

    def heal(self) -> list[str]:
        """Bring everything back: the server, the lines, both services. What ended otherwise than it should have."""
        if not self.server.is_up:
            self.server.start()
        for each in self.processes:
            each.line.mend()
            if each.is_hung and each.is_alive:
                each.peer.send(signal.SIGCONT)
            each.is_hung = False
        wrong = [why for each in self.processes if (why := self._ended_wrongly(each)) is not None]
        for each in self.processes:
            if not each.is_alive:
                each.peer, each.expected = Peer(self.service, each.name, url=each.line.url), None
        pids = {each.peer.pid for each in self.processes}
        eventually(lambda: pids <= living_pids(self.service), "both services live")
        return wrong

    def _ended_wrongly(self, process: Process) -> str | None:
        if process.expected == "terminated":
            code = process.peer.process.wait(DEADLINE_SECONDS)
            return f"service {process.name} was asked to stop and ended with code {code}" if code else None
        if process.expected is None and not process.is_alive:
            return f"service {process.name} ended by itself, with code {process.peer.process.returncode}"
        return None

    def close(self) -> None:
        """End every process; the folder stays."""
        for each in self.processes:
            if each.is_alive:
                each.peer.kill()
        for line in self._lines:
            line.close()
        with suppress(CatalogUnavailable):
            self.service.leave_catalog()
        self.server.end()


def _descendants(pid: int) -> Iterator[int]:
    for child in _children(pid):
        yield child
        yield from _descendants(child)


def _children(pid: int) -> list[int]:
    found: list[int] = []
    with suppress(OSError):
        for task in Path(f"/proc/{pid}/task").iterdir():
            with suppress(OSError):
                found += map(int, (task / "children").read_text().split())
    return found


def _session(pid: int) -> int:
    try:
        return os.getsid(pid)
    except OSError:
        return 0

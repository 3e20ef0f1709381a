"""What the campaign runs: a server, two services beside each other, maybe Celery workers, and a line from each of them
to the server."""

from __future__ import annotations

import shutil
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Final, Literal

from actors.catalog.connection import connect
from actors.catalog.redis_store import RedisStore
from actors.catalog.store import CatalogUnavailable, Store
from actors.settings import load_settings
from tests.crash.graph import definitions
from tests.crash.line import Line
from tests.crash.processes import Process, begin_service, begin_worker
from tests.crash.server import DurableServer
from tests.integration.service.driver import Service, eventually
from tests.integration.service.peers import leader_pid, living_pids

__all__ = ["BUDGET", "JOBS", "LEASE_SECONDS", "SETTINGS", "House", "Launcher"]

Launcher = Literal["local", "celery"]

LEASE_SECONDS: Final = 1.5
BUDGET: Final = 50
_PATIENCE_SECONDS: Final = 0.3
JOBS: Final = Path(__file__).parent / "jobs"
SETTINGS: Final[dict[str, dict[str, object]]] = {
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


class House:
    """Everything is made by `open`, brought back to order by `heal`, and ended by `close`."""

    def __init__(self, folder: Path, launcher: Launcher) -> None:
        folder.mkdir(parents=True)
        self.folder = folder
        self.server = DurableServer(folder / "server")
        self.service = Service(folder, redis_url=self.server.url)
        self.service.configure(**SETTINGS, execution={"launcher": launcher})
        shutil.copytree(JOBS, self.service.jobs_dir, dirs_exist_ok=True)
        self.service.write(*definitions())
        self.services: list[Process] = []
        self.workers: list[Process] = []
        """Celery's; without it the services execute the runs."""
        self._has_workers = launcher == "celery"
        self._lines: list[Line] = []
        self._ends = ExitStack()

    def open(self) -> None:
        self.server.start()
        for name in ("one", "two"):
            self.services.append(Process(name, self._new_line(), begin_service(self.service)))
        for name in ("worker-one", "worker-two") if self._has_workers else ():
            self.workers.append(Process(name, self._new_line(), begin_worker(self.service)))
        self.producer_line = self._new_line()
        pids = [each.pid for each in self.services]
        eventually(lambda: leader_pid(self.service) in pids, "one of the two leads")

    def _new_line(self) -> Line:
        self._lines.append(Line(self.server.socket_path))
        return self._lines[-1]

    def producer_store(self) -> Store:
        """The catalog as an outside producer with little patience sees it, by a line of its own."""
        settings = load_settings([self.service.config_file], environ={})
        client = connect(self.producer_line.url, socket_timeout_seconds=_PATIENCE_SECONDS)
        self._ends.callback(client.close)
        return RedisStore(client, prefix=settings.redis.prefix, streams=settings.streams, history=settings.history)

    @property
    def processes(self) -> list[Process]:
        return [*self.services, *self.workers]

    def leader(self) -> Process | None:
        """Who leads by the lease's record; None if nobody does."""
        pid = leader_pid(self.service)
        return next((each for each in self.services if each.pid == pid), None)

    def heal(self) -> list[str]:
        """Bring everything back: the server, the lines, every process. What ended otherwise than it should have."""
        if not self.server.is_up:
            self.server.start()
        self.producer_line.mend()
        for each in self.processes:
            each.let_go_on()
        wrong = [why for each in self.processes if (why := each.why_ended_wrongly()) is not None]
        for each in self.processes:
            each.begin_again()
        pids = {each.pid for each in self.services}
        eventually(lambda: pids <= living_pids(self.service), "both services live")
        return wrong

    def close(self) -> None:
        """End every process; the folder stays."""
        for each in self.processes:
            if each.is_alive:
                each.kill()
        self._ends.close()
        for line in self._lines:
            line.close()
        with suppress(CatalogUnavailable):
            self.service.leave_catalog()
        self.server.end()

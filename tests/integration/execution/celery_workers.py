"""Worker processes under test: `python run.py worker`, with the settings of a user, on the tests' own server."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any, Final

from redis import Redis

from actors.catalog.access import Catalog
from actors.catalog.connection import connect
from actors.catalog.control import ControlClient
from actors.catalog.redis_store import RedisStore
from actors.execution.celery_app import CeleryQueues, broker_url_of, make_app
from actors.execution.celery_launcher import CeleryLauncher
from actors.settings import Settings, load_settings
from tests.integration.execution.workflows import JOBS_DIR, eventually

__all__ = ["LEASE_MS", "CeleryStage"]

LEASE_MS: Final = 1_000
_ROOT: Final = Path(__file__).resolve().parents[3]


class CeleryStage:
    """One catalog and broker under one prefix, and the workers on it."""

    def __init__(self, folder: Path, url: str, prefix: str, **groups: dict[str, Any]) -> None:
        self._folder = folder
        self._file = folder / "worker.toml"
        merged: dict[str, dict[str, Any]] = {
            "redis": {"url": url, "prefix": prefix},
            "runs": {"lease_seconds": LEASE_MS / 1_000},
            "workers": {"processes": 2},
            "shutdown": {"grace_seconds": 0.2},
            "log": {"format": "json", "level": "debug"},
            **groups,
        }
        lines = [f"jobs_dir = {json.dumps(str(JOBS_DIR))}"]
        for name, values in merged.items():
            lines += [f"[{name}]", *(f"{key} = {json.dumps(value)}" for key, value in values.items())]
        self._file.write_text("\n".join(lines) + "\n")
        self.client: Redis = connect(url, socket_timeout_seconds=10)
        self.store = RedisStore(self.client, prefix=prefix)
        self.settings: Settings = load_settings([self._file], environ={})
        catalog = Catalog(self.store, ControlClient(self.client, prefix=prefix), self.client)
        self.app = make_app(self.settings, broker_url_of(self.settings, catalog))
        self.queues = CeleryQueues(self.app)
        self._workers: list[subprocess.Popen[bytes]] = []

    def launcher(self, *, runs_outlive: bool = False) -> CeleryLauncher:
        return CeleryLauncher(
            self.store,
            self.queues,
            queue=self.settings.celery.queue,
            queues=self.settings.celery.queues,
            lease_ms=LEASE_MS,
            runs_outlive=runs_outlive,
        )

    def work(self, *options: str, concurrency: int = 4) -> subprocess.Popen[bytes]:
        """Start a worker and wait until it takes runs."""
        log = self._folder / f"worker-{len(self._workers)}.log"
        with log.open("wb") as out:
            worker = subprocess.Popen(
                self.command(*options, concurrency=concurrency),
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=out,
                cwd=self._folder,
                env={name: value for name, value in os.environ.items() if not name.startswith("HEADWATER_")},
                start_new_session=True,
            )
        self._workers.append(worker)

        def is_ready() -> bool:
            assert worker.poll() is None, f"the worker ended with {worker.returncode}:\n{log.read_text()}"
            return b" ready." in log.read_bytes()

        eventually(is_ready, "the worker is ready")
        return worker

    def command(self, *options: str, concurrency: int = 4) -> list[str]:
        run_py = str(_ROOT / "run.py")
        return [
            *(sys.executable, run_py, "--config", str(self._file), "worker"),
            *("--engine", "celery", "--concurrency", str(concurrency), *options),
        ]

    @property
    def logs(self) -> str:
        return "".join(log.read_text() for log in sorted(self._folder.glob("worker-*.log")))

    def close(self) -> None:
        """Leave no worker behind."""
        for worker in self._workers:
            if worker.poll() is None:
                os.killpg(worker.pid, signal.SIGKILL)
            worker.wait(20)
        self._workers.clear()
        self.app.close()
        self.client.close()

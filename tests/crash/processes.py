"""The processes that faults strike: services, and Celery workers. Each reaches the server by a line of its own."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Final, Protocol

from tests.crash.line import Line
from tests.integration.service.driver import DEADLINE_SECONDS, Service, eventually
from tests.integration.service.peers import Peer

__all__ = ["Process", "Started", "begin_service", "begin_worker"]

_CONCURRENCY: Final = 3


class Started(Protocol):
    """What `Peer`, `_Worker` and `ShardProcess` have in common."""

    process: subprocess.Popen[bytes]

    @property
    def pid(self) -> int: ...

    def send(self, number: signal.Signals) -> None: ...

    def kill(self) -> None: ...


class Process:
    """One process that is begun again when it ended. `is_meant_to_end`: it was killed or asked to stop by us."""

    def __init__(self, name: str, line: Line, begin: Callable[[str, Line], Started]) -> None:
        self.name = name
        self.line = line
        self._begin = begin
        self._is_hung = False
        self._is_killed = False
        self._is_told_to_stop = False
        self._started = begin(name, line)

    @property
    def pid(self) -> int:
        return self._started.pid

    @property
    def is_alive(self) -> bool:
        return self._started.process.poll() is None

    @property
    def is_able(self) -> bool:
        """Alive, and not stopped, cut off or about to end."""
        return self.is_alive and not (self._is_hung or self._is_told_to_stop or self.line.is_silent)

    def kill(self) -> None:
        self._is_killed = True
        self._started.kill()

    def hang(self) -> None:
        self._is_hung = True
        self._started.send(signal.SIGSTOP)

    def terminate(self) -> None:
        self._is_told_to_stop = True
        self._started.send(signal.SIGTERM)

    def job_processes(self) -> list[int]:
        """Each leads a session of its own (see `actors/execution/worker_process.py`)."""
        return [pid for pid in _descendants(self.pid) if _session(pid) == pid]

    def let_go_on(self) -> None:
        """End what keeps it from working, but for its death."""
        self.line.mend()
        if self._is_hung and self.is_alive:
            self._started.send(signal.SIGCONT)
        self._is_hung = False

    def why_ended_wrongly(self) -> str | None:
        """Waits for the end of one that was asked to stop."""
        if self._is_killed:
            return None
        process = self._started.process
        if self._is_told_to_stop:
            code = process.wait(DEADLINE_SECONDS)
            return f"{self.name} was asked to stop and ended with code {code}" if code else None
        return None if self.is_alive else f"{self.name} ended by itself, with code {process.returncode}"

    def begin_again(self) -> None:
        """Nothing if it lives."""
        if not self.is_alive:
            self._is_killed = self._is_told_to_stop = False
            self._started = self._begin(self.name, self.line)


def begin_service(service: Service) -> Callable[[str, Line], Started]:
    return lambda name, line: Peer(service, name, url=line.url)


def begin_worker(service: Service) -> Callable[[str, Line], Started]:
    return lambda name, line: _Worker(service, name, line.url)


class _Worker:
    """`python run.py worker`, on the settings of a service; it takes runs when the constructor returns."""

    def __init__(self, service: Service, name: str, url: str) -> None:
        config = service.folder / f"{name}.toml"
        text = service.config_file.read_text()
        config.write_text(re.sub(r'^url = ".*"$', f"url = {json.dumps(url)}", text, flags=re.MULTILINE))
        log_file = service.folder / f"{name}.log"
        before = log_file.stat().st_size if log_file.exists() else 0
        python, run_py, *_ = service.command
        with log_file.open("ab") as log:
            self.process = subprocess.Popen(
                [python, run_py, "--config", str(config), "worker", "--concurrency", str(_CONCURRENCY)],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd=service.folder,
                env={name: value for name, value in os.environ.items() if not name.startswith("HEADWATER_")},
            )
        eventually(lambda: b" ready." in log_file.read_bytes()[before:], f"{name} takes runs")

    @property
    def pid(self) -> int:
        return self.process.pid

    def send(self, number: signal.Signals) -> None:
        self.process.send_signal(number)

    def kill(self) -> None:
        self.send(signal.SIGKILL)
        self.process.wait(DEADLINE_SECONDS)


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

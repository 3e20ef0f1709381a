"""A second service beside one, and a line between a service and its server that can be cut."""

from __future__ import annotations

import contextlib
import os
import re
import selectors
import signal
import socket
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any, Final

from tests.integration.service.driver import DEADLINE_SECONDS, Service, eventually

__all__ = ["Line", "Peer", "leader_pid", "living_pids", "wait_leader"]

_RUN: Final = Path(__file__).resolve().parents[3] / "run.py"


class Peer:
    """A process of a service that shares folders, settings and prefix with `service`; its log is its own."""

    def __init__(self, service: Service, name: str = "peer", *, url: str | None = None) -> None:
        self._service = service
        self.log_file = service.folder / f"{name}.log"
        self._config = service.config_file
        if url is not None:
            self._config = service.folder / f"{name}.toml"
            text = re.sub(r'^url = ".*"$', f'url = "{url}"', service.config_file.read_text(), flags=re.MULTILINE)
            self._config.write_text(text)
        with self.log_file.open("ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, str(_RUN), "--config", str(self._config)],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd=service.folder,
                env={name: value for name, value in os.environ.items() if not name.startswith("HEADWATER_")},
            )
        eventually(lambda: self.pid in living_pids(service), f"{name} lives")

    @property
    def pid(self) -> int:
        return self.process.pid

    @property
    def log(self) -> str:
        return self.log_file.read_text()

    def send(self, number: signal.Signals) -> None:
        self.process.send_signal(number)

    def kill(self) -> None:
        self.send(signal.SIGKILL)
        self.process.wait(DEADLINE_SECONDS)

    def terminate(self) -> int:
        self.send(signal.SIGTERM)
        return self.process.wait(DEADLINE_SECONDS)

    def end(self) -> None:
        if self.process.poll() is None:
            self.kill()
        print(f"-- {self.log_file.name}\n{self.log}")


def living_pids(service: Service) -> set[object]:
    return {each.about["pid"] for each in service.catalog.control.services().living}


def leader_pid(service: Service) -> object:
    leader = service.catalog.control.services().leader
    return leader.about["pid"] if leader is not None else None


def wait_leader(service: Service, pid: int, seconds: float = DEADLINE_SECONDS) -> None:
    """Until this process leads, and answers for the service."""
    eventually(lambda: leader_pid(service) == pid, f"{pid} leads", seconds)
    assert service.catalog.control.ask("ping", {}, timeout_seconds=20)


class Line:
    """Listens on a TCP port and passes everything on to a server's Unix socket, until it is cut.

    A cut line swallows what is sent and closes nothing, as a network does that drops packets.
    """

    def __init__(self, socket_path: str) -> None:
        self._socket_path = socket_path
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._is_whole = threading.Event()
        self._is_whole.set()
        self._is_open = True
        self._selector = selectors.DefaultSelector()
        self._others: dict[socket.socket, socket.socket] = {}
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._selector.register(self._listener, selectors.EVENT_READ)
        self._thread.start()

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self._listener.getsockname()[1]}/0"

    def cut(self) -> None:
        self._is_whole.clear()

    def mend(self) -> None:
        """Let new connections through; those that were there when it was cut are dead."""
        self._is_whole.set()

    def close(self) -> None:
        self._is_open = False
        self._thread.join(10)
        for each in [*self._others, self._listener]:
            each.close()
        self._selector.close()

    def _run(self) -> None:
        while self._is_open:
            for key, _ in self._selector.select(0.05):
                self._pass_on(key.fileobj)

    def _pass_on(self, ready: Any) -> None:
        if ready is self._listener:
            client, _ = self._listener.accept()
            server = socket.socket(socket.AF_UNIX)
            server.connect(self._socket_path)
            for one, other in ((client, server), (server, client)):
                self._others[one] = other
                self._selector.register(one, selectors.EVENT_READ)
            return
        data = b""
        with contextlib.suppress(OSError):
            data = ready.recv(65_536)
        if not self._is_whole.is_set() and data:
            return
        other = self._others[ready]
        if data:
            with contextlib.suppress(OSError):
                other.sendall(data)
            return
        for each in (ready, other):
            self._selector.unregister(each)
            del self._others[each]
            each.close()

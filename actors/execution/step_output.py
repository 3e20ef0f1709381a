"""The folder of one attempt of a step: what the job wrote, what it reads, and which process runs it.

The files belong to the parent, so they are still there when the job's process was killed.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Self

__all__ = ["FOLDERS", "TAIL_BYTES", "StepOutput"]

TAIL_BYTES: Final = 8 * 1024
FOLDERS: Final = "headwater-"
"""How the name of a folder begins in which a service, or a worker, has those of its steps."""
_PID_PREFIX: Final = "pid-"
_REVOKED_SUFFIX: Final = ".revoked"


@dataclass(frozen=True, slots=True)
class StepOutput:
    folder: Path

    @classmethod
    def create(cls, parent: Path, *, run_id: str, step_id: str) -> Self:
        """A new folder, by whose name `find` knows it."""
        return cls(Path(tempfile.mkdtemp(prefix=_prefix(run_id, step_id), dir=parent)))

    @classmethod
    def find(cls, run_id: str, step_id: str) -> Self | None:
        """The output of a step that goes on, if a process of this user executes it on this machine.

        A service or worker that was told to keep its folders elsewhere than the system does is not found.
        """
        found: list[tuple[float, Path]] = []
        for folder in Path(tempfile.gettempdir()).glob(f"{FOLDERS}*/{_prefix(run_id, step_id)}*"):
            try:
                status = folder.lstat()
            except OSError:
                continue  # it has just ended
            if status.st_uid == os.getuid():
                found.append((status.st_ctime, folder))
        return cls(max(found)[1]) if found else None

    @property
    def stdin(self) -> Path:
        return self.folder / "stdin"

    @property
    def stdout(self) -> Path:
        return self.folder / "stdout"

    @property
    def stderr(self) -> Path:
        return self.folder / "stderr"

    def begin(self) -> bool:
        """Called by the worker before the job: leave word of this process. False if the attempt was revoked."""
        try:
            (self.folder / f"{_PID_PREFIX}{os.getpid()}").touch(exist_ok=False)
        except FileNotFoundError:
            return False
        return True

    def begun_by(self) -> int | None:
        """The process that runs the job; None if none has begun."""
        for file in self.folder.glob(f"{_PID_PREFIX}*"):
            return int(file.name.removeprefix(_PID_PREFIX))
        return None

    def revoke(self) -> StepOutput:
        """Called by the parent: from now on nobody begins. Returns the folder under its new name, once and for all.

        Renaming is one atomic step, and so is making the file of `begin`: either the worker comes too late,
        or `begun_by` knows of it.
        """
        if self.folder.name.endswith(_REVOKED_SUFFIX):
            return self
        return StepOutput(self.folder.rename(self.folder.with_name(self.folder.name + _REVOKED_SUFFIX)))

    def tails(self) -> tuple[str, str]:
        """The ends of stdout and stderr, `TAIL_BYTES` each; what is not UTF-8 is replaced."""
        return _tail(self.stdout), _tail(self.stderr)

    def remove(self) -> None:
        """Delete the folder; a job that still writes to a file of it is not disturbed."""
        shutil.rmtree(self.folder, ignore_errors=True)


def _prefix(run_id: str, step_id: str) -> str:
    """Not the ids themselves: they may hold what a file's name may not."""
    return hashlib.sha256(f"{run_id}\n{step_id}".encode()).hexdigest()[:24] + "-"


def _tail(file: Path) -> str:
    try:
        with file.open("rb") as stream:
            size = stream.seek(0, os.SEEK_END)
            stream.seek(max(0, size - TAIL_BYTES))
            return stream.read(TAIL_BYTES).decode(errors="replace")
    except FileNotFoundError:
        return ""

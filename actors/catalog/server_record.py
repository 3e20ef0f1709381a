"""What is written down of the embedded server in its data folder: where its socket is, and its process."""

from __future__ import annotations

import contextlib
import json
import os
import tempfile
from pathlib import Path
from typing import Final

__all__ = ["ServerRecord"]

# The kernel's limit is 108 bytes with the closing NUL on Linux, 104 on macOS.
_LONGEST_SOCKET_PATH: Final = 100


class ServerRecord:
    """The file `server.json`. One that is damaged, or that came with a copy of a folder, says nothing."""

    def __init__(self, data_dir: Path) -> None:
        self._data_dir = data_dir
        self._path = data_dir / "server.json"

    @property
    def socket(self) -> Path | None:
        path = self._read().get("socket")
        return Path(path) if isinstance(path, str) else None

    @property
    def pid(self) -> int | None:
        pid = self._read().get("pid")
        return pid if isinstance(pid, int) else None

    def new_socket(self) -> Path:
        """A path for a new server's socket: in the folder, or in a private one elsewhere when that path is too long."""
        path = self._data_dir / "valkey.sock"
        if len(os.fsencode(path)) <= _LONGEST_SOCKET_PATH:
            return path
        return Path(tempfile.mkdtemp(prefix="headwater-")) / "valkey.sock"

    def write(self, socket: Path, pid: int | None) -> None:
        draft = self._path.with_suffix(".tmp")
        record = {"folder": self._identity(), "socket": str(socket), "pid": pid}
        draft.write_text(json.dumps(record), encoding="utf-8")
        draft.replace(self._path)

    def clear(self) -> None:
        """Forget a server that is gone, and remove what is left of its socket."""
        path = self.socket
        if path is not None:
            path.unlink(missing_ok=True)
            if path.parent != self._data_dir:
                with contextlib.suppress(OSError):
                    path.parent.rmdir()
        self._path.unlink(missing_ok=True)

    def _read(self) -> dict[str, object]:
        try:
            record = json.loads(self._path.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return {}
        # In a copy of a folder the record is of the original's server, which is not to be touched.
        if not isinstance(record, dict) or record.get("folder") != self._identity():
            return {}
        return record

    def _identity(self) -> list[int]:
        status = self._data_dir.stat()
        return [status.st_dev, status.st_ino]

"""The file of a backup: JSON, one object on each line, compressed, and sealed by a checksum.

The first line is the header, the last one the end; between them are records, whose meaning is that of `backup.py` and
`backup_restore.py`. `zcat` shows all of it as text. It is pure ASCII: bytes that are not UTF-8 are written as the lone
surrogates that the client reads them as. The seal is a last line of its own, in a gzip member of a fixed form: the
SHA-256 of all bytes of the file before that member. So a file in which a single byte differs is refused.
"""

from __future__ import annotations

import contextlib
import gzip
import hashlib
import io
import json
import os
import tempfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any, Final

from actors.catalog.store import JsonObject

__all__ = ["BackupInvalid", "BackupWriter", "Record", "read_records", "verify", "write_backup"]

Record = dict[str, Any]
OnBytes = Callable[[int, int], None]
"""Told how many bytes of how many were read."""

FORMAT: Final = "headwater-backup"
FORMAT_VERSION: Final = 1

_CHUNK: Final = 1 << 20
# A gzip header without name and time, as `gzip -n` writes it.
_HEAD: Final = b"\x1f\x8b\x08\x00\x00\x00\x00\x00\x00\xff"


class BackupInvalid(ValueError):  # noqa: N818 - as `DefinitionInvalid`
    """The file is no backup, is damaged, or is of a newer format; the text names the file and says which."""


class BackupWriter:
    """Takes the records of one backup; `write_backup` makes it."""

    def __init__(self, file: gzip.GzipFile) -> None:
        self._file = file
        self.records = 0
        self.end: JsonObject = {}
        """What is to be said at the end, because it is known only then."""

    def write(self, record: JsonObject) -> None:
        self._file.write(json.dumps(record, separators=(",", ":")).encode("ascii") + b"\n")
        self.records += 1


@contextmanager
def write_backup(path: Path, header: JsonObject) -> Iterator[BackupWriter]:
    """Make the file, readable for its owner only. It is there when the block has ended well, whole, or not at all.

    Raises:
        OSError: it cannot be written.
    """
    descriptor, draft = tempfile.mkstemp(prefix=f".{path.name}.", suffix=".tmp", dir=path.absolute().parent)
    try:
        with os.fdopen(descriptor, "wb") as raw:
            counting = _Hashing(raw)
            with gzip.GzipFile(filename="", mode="wb", fileobj=counting, mtime=0) as body:
                writer = BackupWriter(body)
                writer.write({"format": FORMAT, "formatVersion": FORMAT_VERSION, **header})
                yield writer
                writer.write({"type": "end", "records": writer.records - 1, **writer.end})
            raw.write(_seal(counting.digest.hexdigest()))
            raw.flush()
            os.fsync(raw.fileno())
        Path(draft).replace(path)
        _sync_folder(path.absolute().parent)
    except BaseException:
        with contextlib.suppress(OSError):
            Path(draft).unlink()
        raise


def verify(
    path: Path, check: Callable[[Record], None] = lambda _: None, on_bytes: OnBytes = lambda _done, _all: None
) -> Record:
    """Read the whole file, see that it is as it was written, and return what its header and its end say.

    `check` is given each record, and may raise `BackupInvalid` too.

    Raises:
        BackupInvalid: it is not.
        OSError: it cannot be read.
    """
    size = path.stat().st_size
    length = size - _SEAL_BYTES
    if length <= 0:
        raise BackupInvalid(f"{path}: this is no backup, or the end of it is missing")
    digest = hashlib.sha256()
    with path.open("rb") as raw:
        while length > 0 and (chunk := raw.read(min(_CHUNK, length))):
            digest.update(chunk)
            length -= len(chunk)
        if raw.read() != _seal(digest.hexdigest()):
            raise BackupInvalid(f"{path}: the file is damaged or no backup: its checksum is not that of its content")
    count, about = 0, Record()
    for header, record in _lines(path, on_bytes):
        if record.get("type") == "end" and record.get("records") == count:
            about = {**header, **record}
        else:
            check(record)
            count += 1
    if about.get("records") != count:
        raise BackupInvalid(f"{path}: the end of the backup is missing")
    return about


def read_records(path: Path, on_bytes: OnBytes = lambda _done, _all: None) -> Iterator[Record]:
    """What is between the header and the end of a file that was verified."""
    for _, record in _lines(path, on_bytes):
        if record["type"] != "end":
            yield record


def _lines(path: Path, on_bytes: OnBytes = lambda _done, _all: None) -> Iterator[tuple[Record, Record]]:
    """The header with each line after it."""
    size = path.stat().st_size - _SEAL_BYTES
    with path.open("rb") as raw:
        body = io.BufferedReader(_Bounded(raw, size, lambda done: on_bytes(done, size)), _CHUNK)
        try:
            with gzip.GzipFile(fileobj=body) as lines:
                header = _header(path, next(lines, b"{}"))
                for line in lines:
                    yield header, _object(path, line)
        except (OSError, EOFError, zlib.error) as error:
            raise BackupInvalid(f"{path}: the file is damaged: {error}") from None


def _header(path: Path, line: bytes) -> Record:
    header = _object(path, line)
    if header.get("format") != FORMAT:
        raise BackupInvalid(f"{path}: this is no backup of a catalog")
    version = header.get("formatVersion")
    if version != FORMAT_VERSION:
        raise BackupInvalid(
            f"{path}: the backup is of format {version}, and this program reads format {FORMAT_VERSION}; use the "
            "program that wrote it, or a newer one"
        )
    return header


def _object(path: Path, line: bytes) -> Record:
    try:
        found = json.loads(line)
    except ValueError as error:
        raise BackupInvalid(f"{path}: a line is no JSON: {error}") from None
    if not isinstance(found, dict):
        raise BackupInvalid(f"{path}: a line is no object")
    return found


def _seal(sha256: str) -> bytes:
    """A gzip member that holds the last line. Not compressed, so that there is one way to write it."""
    line = json.dumps({"sha256": sha256}, separators=(",", ":")).encode("ascii") + b"\n"
    size = len(line).to_bytes(2, "little")
    stored = b"\x01" + size + bytes(byte ^ 0xFF for byte in size) + line
    return _HEAD + stored + zlib.crc32(line).to_bytes(4, "little") + len(line).to_bytes(4, "little")


_SEAL_BYTES: Final = len(_seal("0" * 64))


def _sync_folder(folder: Path) -> None:
    """So that the file's name outlasts a power cut as well."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


class _Hashing(io.RawIOBase):
    """Writes through, and hashes what it writes."""

    def __init__(self, raw: IO[bytes]) -> None:
        self._raw = raw
        self.digest = hashlib.sha256()

    def writable(self) -> bool:
        return True

    def write(self, data: Any) -> int:
        self.digest.update(data)
        return self._raw.write(data)


class _Bounded(io.RawIOBase):
    """The first bytes of a file."""

    def __init__(self, raw: IO[bytes], length: int, on_bytes: Callable[[int], None]) -> None:
        self._raw = raw
        self._length = length
        self._done = 0
        self._on_bytes = on_bytes

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        data = self._raw.read(min(len(buffer), self._length - self._done))
        buffer[: len(data)] = data
        self._done += len(data)
        self._on_bytes(self._done)
        return len(data)

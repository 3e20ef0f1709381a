"""How the river's jobs read their parameters and keep their files.

Files are replaced whole and at once: a reader never sees half of one, and a job that is stopped midway leaves
the previous file as it was.
"""

from __future__ import annotations

import csv
import hashlib
import io
import json
import os
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Protocol

__all__ = [
    "JobContext",
    "ParameterError",
    "asset",
    "digest",
    "file_name",
    "instant",
    "iso",
    "keep_newest",
    "number",
    "output_folder",
    "read_rows",
    "table",
    "text",
    "to_json",
    "window",
    "write_atomically",
]


class _Logger(Protocol):
    def info(self, event: str, /) -> object: ...


class JobContext(Protocol):
    """The part of the job context that these jobs use; the service passes more."""

    @property
    def parameters(self) -> Mapping[str, object]: ...
    @property
    def partition_key(self) -> str | None: ...
    @property
    def logger(self) -> _Logger: ...


class ParameterError(ValueError):
    """A run parameter is missing or has the wrong form; the text names it."""


def text(job: JobContext, name: str) -> str:
    """A text parameter.

    Raises:
        ParameterError: it is missing, empty or no text.
    """
    value = job.parameters.get(name)
    if not isinstance(value, str) or not value:
        raise ParameterError(f"parameter {name!r} must be a text, got {value!r}; set it in defaultParameters")
    return value


def number(job: JobContext, name: str, default: float) -> float:
    """A positive number parameter.

    Raises:
        ParameterError: it is there but no positive number.
    """
    value = job.parameters.get(name, default)
    if isinstance(value, bool) or not isinstance(value, int | float) or value <= 0:
        raise ParameterError(f"parameter {name!r} must be a positive number, got {value!r}")
    return value


def instant(job: JobContext, name: str) -> datetime:
    """An ISO 8601 parameter with an offset, such as `2026-11-24T21:05:00Z`, in UTC.

    Raises:
        ParameterError: it is missing or cannot be read.
    """
    value = text(job, name)
    try:
        at = datetime.fromisoformat(value)
    except ValueError:
        at = None
    if at is None or at.tzinfo is None:
        raise ParameterError(f"parameter {name!r} must be an instant such as 2026-11-24T21:05:00Z, got {value!r}")
    return at.astimezone(UTC)


def window(job: JobContext) -> tuple[str, datetime, datetime]:
    """The run's partition key with the start and the (exclusive) end of its time window.

    Raises:
        ParameterError: the run has no partition key, or its window cannot be read.
    """
    if job.partition_key is None:
        raise ParameterError("this job makes one time window: start it with a partition key")
    return job.partition_key, instant(job, "windowStart"), instant(job, "windowEnd")


def output_folder(job: JobContext, *parts: str) -> Path:
    """A folder under the parameter `outputDir`, made if need be."""
    folder = Path(text(job, "outputDir"), *parts)
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def iso(at: datetime) -> str:
    """An instant in UTC to the second, such as `2026-11-24T21:05:00Z`."""
    return at.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def file_name(key: str, suffix: str) -> str:
    """A partition key as a file name; some file systems refuse colons."""
    return key.replace(":", "-") + suffix


def digest(content: str) -> str:
    """A fingerprint of a file's content: the `dataVersion` by which unchanged data is known."""
    return hashlib.sha256(content.encode()).hexdigest()[:16]


def to_json(value: object) -> str:
    """JSON text, keys in the order given."""
    return json.dumps(value, indent=1) + "\n"


def table(columns: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """CSV text with a header line."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(columns)
    writer.writerows(rows)
    return out.getvalue()


def read_rows(path: Path) -> list[dict[str, str]]:
    """The rows of a CSV file by column; empty when there is no such file."""
    try:
        with path.open(newline="") as file:
            return list(csv.DictReader(file))
    except FileNotFoundError:
        return []


def write_atomically(path: Path, content: str) -> None:
    """Replace a file in one step."""
    # It lies beside its target, because a rename does not cross file systems.
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        temporary.write_text(content)
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def keep_newest(folder: Path, pattern: str, count: int) -> None:
    """Delete all but the last `count` files by name; names that begin with a time window sort by it."""
    for path in sorted(folder.glob(pattern))[:-count]:
        path.unlink(missing_ok=True)


def asset(
    asset_id: str, job: JobContext, payload: Mapping[str, object], data_version: str | None = None
) -> dict[str, object]:
    """The result of a step that made one asset partition: the run's."""
    made: dict[str, object] = {"assetId": asset_id, "payload": dict(payload)}
    if job.partition_key is not None:
        made["partitionKey"] = job.partition_key
    if data_version is not None:
        made["dataVersion"] = data_version
    return {"assets": [made]}

"""From what a job returned, or printed, to its result: an object of bounded size, or a clear failure."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Final, NoReturn

from actors.catalog.store import Json, JsonObject

__all__ = ["MAX_RESULT_BYTES", "JobFailedError", "plain_result", "printed_result"]

MAX_RESULT_BYTES: Final = 4 * 1024 * 1024
_MAX_SHOWN: Final = 200


class JobFailedError(Exception):
    """The job says that it failed, or its result cannot be used; the text says which and why."""


def plain_result(value: object) -> JsonObject | None:
    """What a Python job returned, as plain JSON values; AppHub's envelope `{"status", "result"}` is taken
    off.

    Raises:
        JobFailedError: it is not an object or None, holds what JSON lacks, is too large, or says `failed`.
    """
    try:
        text = json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
        size = len(text.encode())
    except (RecursionError, TypeError, ValueError) as error:
        raise JobFailedError(f"the result cannot be written as JSON: {error}; return plain values") from None
    return _from_text(text, size)


def printed_result(stdout: Path) -> JsonObject | None:
    """What a command printed: the last line of its stdout that is not blank; None if there is none.

    Raises:
        JobFailedError: as for `plain_result`, or that line is not JSON.
    """
    with stdout.open("rb") as stream:
        size = stream.seek(0, os.SEEK_END)
        stream.seek(max(0, size - MAX_RESULT_BYTES - 4096))
        line = stream.read().rstrip().rpartition(b"\n")[2].strip()
    if not line:
        return None
    try:
        text = line.decode()
    except UnicodeDecodeError as error:
        raise JobFailedError(f"the last line of stdout is not UTF-8: {error}") from None
    return _from_text(text, len(line))


def _from_text(text: str, size: int) -> JsonObject | None:
    if size > MAX_RESULT_BYTES:
        raise JobFailedError(
            f"the result has more than {MAX_RESULT_BYTES} bytes; write the data elsewhere and return where"
        )
    try:
        value: Json = json.loads(text, parse_constant=_no_constant)
    except (RecursionError, ValueError) as error:
        shown = text if len(text) <= _MAX_SHOWN else text[:_MAX_SHOWN] + "..."
        raise JobFailedError(
            f"the last line of stdout is not JSON ({error}): {shown!r}; print the result there, or null"
        ) from None
    if value is not None and not isinstance(value, dict):
        raise JobFailedError(f"the result must be an object or null, got {type(value).__name__}")
    return None if value is None else _without_envelope(value)


def _without_envelope(value: JsonObject) -> JsonObject | None:
    match value:
        case {"status": "failed"}:
            reason = value.get("errorMessage")
            raise JobFailedError(str(reason) if reason else "the job returned status 'failed'")
        case {"status": "succeeded", "result": None}:
            return None
        case {"status": "succeeded", "result": dict() as result}:
            return result
        case {"status": "succeeded", "result": result}:
            raise JobFailedError(f"the result must be an object or null, got {type(result).__name__}")
        case _:
            return value


def _no_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not a JSON number")

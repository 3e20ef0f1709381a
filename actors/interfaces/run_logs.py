"""What the steps of a run have written: the ends that the catalog keeps, and of a step that goes on here all so far."""

from __future__ import annotations

import os
from codecs import IncrementalDecoder, getincrementaldecoder
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, Literal

from actors.catalog.store import JsonObject, RunRecord, StepRecord, StepStatus
from actors.execution.step_output import TAIL_BYTES, StepOutput

__all__ = ["Follower", "Line", "StepLog", "last_lines", "log_json", "step_logs"]

_MOST_READ: Final = 256 * 1024
"""Bytes of one file that are read at a time."""

StreamName = Literal["stdout", "stderr"]
_STREAMS: Final[tuple[StreamName, ...]] = ("stdout", "stderr")


@dataclass(frozen=True, slots=True)
class StepLog:
    """The last 8 KiB that an attempt of a step has written to each stream. `is_live`: it goes on, on this machine."""

    step: StepRecord
    stdout: str
    stderr: str
    is_live: bool


@dataclass(frozen=True, slots=True)
class Line:
    step_id: str
    attempt: int
    stream: StreamName
    text: str


def step_logs(run: RunRecord, step_id: str | None = None) -> list[StepLog]:
    """Of each step that has begun, or of this one.

    While a step goes on the catalog has only what its former attempt wrote; its own output is read here, if a process
    of this user executes it on this machine.
    """
    return [_log(run.run_id, step) for step in run.steps if step_id in (None, step.step_id)]


def log_json(log: StepLog, tail: int | None = None) -> JsonObject:
    """`{stepId, attempt, stdoutTail, stderrTail}`, with at most `tail` lines of each."""
    return {
        "stepId": log.step.step_id,
        "attempt": log.step.attempt,
        "stdoutTail": last_lines(log.stdout, tail),
        "stderrTail": last_lines(log.stderr, tail),
    }


def last_lines(text: str, count: int | None) -> str:
    """The last lines of a text; all of them when `count` is None."""
    if count is None:
        return text
    lines = text.splitlines(keepends=True)
    return "".join(lines[max(0, len(lines) - count) :])


def _log(run_id: str, step: StepRecord) -> StepLog:
    output = StepOutput.find(run_id, step.step_id) if step.status is StepStatus.RUNNING else None
    if output is None:
        return StepLog(step, step.stdout_tail, step.stderr_tail, is_live=False)
    return StepLog(step, *output.tails(), is_live=True)


@dataclass(slots=True)
class _Seen:
    """What has been told of one stream of one attempt: up to where in its file, its end, and a line that goes on."""

    offset: int | None = None
    told: str = ""
    begun: str = ""
    decoder: IncrementalDecoder = field(default_factory=lambda: getincrementaldecoder("utf-8")("replace"))


@dataclass(slots=True)
class _Attempt:
    number: int
    streams: dict[StreamName, _Seen] = field(default_factory=lambda: {name: _Seen() for name in _STREAMS})


class Follower:
    """Tells each line once, however often it looks: from the files of steps that go on here, and from the catalog when
    an attempt is over. Of an attempt elsewhere the last 8 KiB of each stream are told, at its end.

    `tail` bounds the lines of each stream that are told at the first look. With `step_id` only that step is followed.
    """

    def __init__(self, step_id: str | None = None, tail: int | None = None) -> None:
        self._step_id = step_id
        self._tail = tail
        self._is_first = True
        self._attempts: dict[str, _Attempt] = {}

    def look(self, run: RunRecord) -> list[Line]:
        """The lines that have come since the last look."""
        lines = [
            line
            for step in run.steps
            if self._step_id in (None, step.step_id) and step.attempt
            for line in self._step(run.run_id, step)
        ]
        self._is_first = False
        return lines

    def _step(self, run_id: str, step: StepRecord) -> Iterator[Line]:
        attempt = self._attempts.get(step.step_id)
        is_new = attempt is None or attempt.number != step.attempt
        if attempt is None or is_new:
            if attempt is not None:
                yield from self._rest(step.step_id, attempt)
            attempt = self._attempts[step.step_id] = _Attempt(step.attempt)
        output = StepOutput.find(run_id, step.step_id) if step.status is StepStatus.RUNNING else None
        # An attempt that waits for the next one is told of as running, with its end.
        is_over = step.ended_at_ms is not None
        for name, seen in attempt.streams.items():
            if is_over:
                self._take(seen, _untold(seen.told, step.stdout_tail if name == "stdout" else step.stderr_tail))
            elif output is not None:
                self._take(seen, _read(output.stdout if name == "stdout" else output.stderr, seen))
            yield from self._lines(step.step_id, attempt.number, name, seen)
        if is_over:
            yield from self._rest(step.step_id, attempt)

    @staticmethod
    def _take(seen: _Seen, text: str) -> None:
        seen.told = (seen.told + text)[-TAIL_BYTES:]
        seen.begun += text

    def _lines(self, step_id: str, number: int, name: StreamName, seen: _Seen) -> Iterator[Line]:
        *whole, seen.begun = seen.begun.split("\n")
        shown = whole if self._tail is None or not self._is_first else whole[max(0, len(whole) - self._tail) :]
        for text in shown:
            yield Line(step_id, number, name, text)

    @staticmethod
    def _rest(step_id: str, attempt: _Attempt) -> Iterator[Line]:
        """The last lines of an attempt that is over, if they end without a line break."""
        for name, seen in attempt.streams.items():
            text, seen.begun = seen.begun, ""
            if text:
                yield Line(step_id, attempt.number, name, text)


def _read(file: Path, seen: _Seen) -> str:
    """What was appended to a file, from where it was read last; at first its last 8 KiB."""
    try:
        with file.open("rb") as stream:
            size = stream.seek(0, os.SEEK_END)
            stream.seek(max(0, size - TAIL_BYTES) if seen.offset is None else seen.offset)
            data = stream.read(_MOST_READ)
            seen.offset = stream.tell()
    except FileNotFoundError:
        return ""
    return seen.decoder.decode(data)


def _untold(told: str, kept: str) -> str:
    """What of the end of an output was not told yet: all but its longest beginning with which the told part ends."""
    if len(kept) >= len(told) and kept.startswith(told):
        return kept[len(told) :]
    for length in range(min(len(told), len(kept)), 0, -1):
        if told.endswith(kept[:length]):
            return kept[length:]
    return kept

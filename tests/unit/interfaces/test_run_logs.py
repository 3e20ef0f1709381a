"""Following a run: each line once, whether it comes from a file of a step that goes on or from the catalog."""

from __future__ import annotations

import tempfile
from dataclasses import replace
from pathlib import Path

import pytest

from actors.catalog.store import RunRecord, RunStatus, StepRecord, StepStatus
from actors.execution.step_output import StepOutput
from actors.interfaces.run_logs import Follower, last_lines, step_logs

RUN = "run-1"


@pytest.fixture
def output(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> StepOutput:
    """Of the step `load/x` of the run, where a service would have it."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    folder = tmp_path / "headwater-abc"
    folder.mkdir()
    return StepOutput.create(folder, run_id=RUN, step_id="load/x")


def run_of(*steps: StepRecord) -> RunRecord:
    return RunRecord(RUN, "w", None, RunStatus.RUNNING, {}, {}, 1, steps=steps)


GOING_ON = StepRecord("load/x", StepStatus.RUNNING, 1, 1)


def texts(follower: Follower, *steps: StepRecord) -> list[str]:
    return [f"{line.attempt} {line.stream} {line.text}" for line in follower.look(run_of(*steps))]


def test_lines_of_a_step_that_goes_on_are_told_as_they_come_and_once(output: StepOutput) -> None:
    follower = Follower()
    assert texts(follower, GOING_ON) == []
    with output.stdout.open("wb") as out:
        out.write(b"one\ntwo\nthr" + "é".encode()[:1])
        out.flush()
        assert texts(follower, GOING_ON) == ["1 stdout one", "1 stdout two"]
        out.write("é".encode()[1:] + b"e\n")
        out.flush()
        assert texts(follower, GOING_ON) == ["1 stdout thrée"]
        out.write(b"four\nfi")
    (log,) = step_logs(run_of(GOING_ON))
    assert (log.is_live, log.stdout) == (True, "one\ntwo\nthrée\nfour\nfi")
    output.remove()
    # What came between the last look and the end is in the catalog; so is a failed attempt that waits for the next one.
    waits = replace(GOING_ON, ended_at_ms=2, stdout_tail="one\ntwo\nthrée\nfour\nfi", stderr_tail="bad\n")
    assert texts(follower, waits) == ["1 stdout four", "1 stderr bad", "1 stdout fi"]
    assert texts(follower, waits) == []
    again = replace(waits, status=StepStatus.SUCCEEDED, attempt=2, ended_at_ms=3, stdout_tail="one\n", stderr_tail="")
    assert texts(follower, again) == ["2 stdout one"]
    assert texts(follower, again) == []


def test_of_an_output_that_was_longer_than_what_is_kept_the_rest_is_told(output: StepOutput) -> None:
    follower = Follower()
    lines = [f"line {number:05}" for number in range(3_000)]
    output.stdout.write_text("\n".join(lines[:2_000]) + "\n")
    assert texts(follower, GOING_ON)[-1] == "1 stdout line 01999"
    kept = ("\n".join(lines[:2_100]) + "\n")[-8_192:]
    over = replace(GOING_ON, status=StepStatus.SUCCEEDED, ended_at_ms=2, stdout_tail=kept)
    assert texts(follower, over) == [f"1 stdout {line}" for line in lines[2_000:2_100]]


def test_the_tail_bounds_the_first_look_alone(output: StepOutput) -> None:
    follower = Follower("load/x", tail=1)
    output.stdout.write_text("one\ntwo\n")
    assert texts(follower, GOING_ON, replace(GOING_ON, step_id="other", stdout_tail="no\n")) == ["1 stdout two"]
    output.stdout.write_text("one\ntwo\nthree\nfour\n")
    assert texts(follower, GOING_ON) == ["1 stdout three", "1 stdout four"]
    assert (last_lines("a\nb\nc", 2), last_lines("a\nb\n", 0), last_lines("a", None)) == ("b\nc", "", "a")

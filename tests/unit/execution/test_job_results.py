"""From what a job returned, or printed, to its result."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from actors.execution.job_results import MAX_RESULT_BYTES, JobFailedError, plain_result, printed_result
from actors.execution.step_output import TAIL_BYTES, StepOutput


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (None, None),
        ({}, {}),
        ({"rows": (1, 2)}, {"rows": [1, 2]}),
        ({"status": "succeeded", "result": {"rows": 1}}, {"rows": 1}),
        ({"status": "succeeded", "result": None}, None),
        ({"status": "succeeded", "rows": 1}, {"status": "succeeded", "rows": 1}),
        ({"status": "shipped"}, {"status": "shipped"}),
    ],
)
def test_what_may_be_returned(value: Any, expected: Any) -> None:
    assert plain_result(value) == expected


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        ("text", "got str"),
        (True, "got bool"),
        ({"a": {1, 2}}, "set is not JSON serializable"),
        ({"a": float("inf")}, "cannot be written as JSON"),
        ({"a": "\ud800"}, "cannot be written as JSON"),
        ({"status": "failed", "errorMessage": "no bucket"}, "no bucket"),
        ({"status": "failed"}, "status 'failed'"),
        ({"status": "succeeded", "result": [1]}, "got list"),
        ({"a": "x" * MAX_RESULT_BYTES}, "more than"),
    ],
)
def test_what_may_not_be_returned(value: Any, reason: str) -> None:
    with pytest.raises(JobFailedError, match=reason):
        plain_result(value)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (b"", None),
        (b" \n\n", None),
        (b'{"a": 1}', {"a": 1}),
        (b'progress\n{"a": 1}\n\n  \n', {"a": 1}),
        (b'{"a": 1}\r\n', {"a": 1}),
        (b"progress\nnull\n", None),
        (b"x" * (MAX_RESULT_BYTES + 9_000) + b'\n{"a": 1}\n', {"a": 1}),
        (b'{"status": "succeeded", "result": {"b": 2}}', {"b": 2}),
    ],
)
def test_the_last_line_counts(tmp_path: Path, text: bytes, expected: Any) -> None:
    (tmp_path / "stdout").write_bytes(text)
    assert printed_result(tmp_path / "stdout") == expected


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (b'{"a": 1}\ndone', "not JSON.*'done'"),
        (b'{"a": NaN}', "NaN is not a JSON number"),
        (b"[1]", "got list"),
        (b"\xff", "not UTF-8"),
        (b'{"a": "' + b"x" * MAX_RESULT_BYTES + b'"}', "more than"),
        (b"x" * (MAX_RESULT_BYTES * 2), "more than"),
        (b"[" * 100_000, "not JSON"),
    ],
)
def test_a_last_line_that_cannot_be_used(tmp_path: Path, text: bytes, reason: str) -> None:
    (tmp_path / "stdout").write_bytes(text)
    with pytest.raises(JobFailedError, match=reason):
        printed_result(tmp_path / "stdout")


def test_tails_are_bounded_and_readable(tmp_path: Path) -> None:
    output = StepOutput(tmp_path)
    assert output.tails() == ("", "")
    output.stdout.write_bytes(b"a" * 100_000 + b"end")
    output.stderr.write_bytes("ö".encode()[1:] + b"rest")
    stdout, stderr = output.tails()
    assert stdout == "a" * (TAIL_BYTES - 3) + "end"
    assert stderr == "\ufffdrest"


def test_what_is_revoked_does_not_begin(tmp_path: Path) -> None:
    late = StepOutput(tmp_path / "late")
    late.folder.mkdir()
    assert late.revoke().begun_by() is None
    assert not late.begin()
    early = StepOutput(tmp_path / "early")
    early.folder.mkdir()
    assert early.begin()
    assert early.revoke().begun_by() is not None

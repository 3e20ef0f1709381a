"""A short slice of the fuzzing, with a fixed seed; the long one is `python -m tests.fuzz --bodies 100000`."""

from __future__ import annotations

import json

import pytest

from tests.fuzz.__main__ import as_json, main
from tests.fuzz.campaign import fuzz
from tests.fuzz.cases import KINDS, case_of

pytestmark = pytest.mark.integration

SEED = 7


def test_nothing_crashes_and_nothing_good_is_lost() -> None:
    report = fuzz(1_000, SEED)
    assert not report.broken, json.dumps(as_json(report), indent=2)
    assert all(report.kinds[f"{kind} {sort}"] >= 10 for kind in KINDS for sort in ("good", "hostile"))
    assert set(report.statuses) >= {200, 201, 400, 415, 422}
    assert report.expected > 200
    assert report.dead_letters > 50


def test_a_case_can_be_had_again(capsys: pytest.CaptureFixture[str]) -> None:
    number = next(number for number in range(100) if case_of(SEED, number).is_good)
    assert main(["--seed", str(SEED), "--show", str(number)]) == 0
    shown = capsys.readouterr().out
    assert main(["--seed", str(SEED), "--show", str(number)]) == 0
    assert capsys.readouterr().out == shown
    assert case_of(SEED, number).expected[0].mark in shown

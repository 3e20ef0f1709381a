"""A short slice of the crash campaign, with a fixed seed; the long one is `python -m tests.crash --rounds 100`."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path

import pytest

from tests.crash.__main__ import as_json
from tests.crash.campaign import Campaign, Options
from tests.crash.faults import Fault
from tests.crash.mutations import MUTATIONS, ROOT

pytestmark = pytest.mark.integration

SEED = 14927
"""Draws a leader that is heard late, dies and hangs, a server that dies and one that forgets, and a late producer."""


def test_nothing_is_lost_and_nothing_done_twice() -> None:
    folder = Path(tempfile.mkdtemp(prefix="headwater-crash-"))
    report = Campaign(Options(rounds=4, seed=SEED), folder, tell=print).run()
    assert not report.broken, json.dumps(as_json(report), indent=2)
    assert report.rounds == 4
    assert {Fault.HOLD_LEADER, Fault.KILL_LEADER, Fault.HANG_LEADER, Fault.KILL_SERVER} <= set(report.faults)
    assert len(report.takeovers_ms) >= 2
    assert report.runs_ended["succeeded"] > 50
    assert not folder.exists()


def test_the_mutations_still_fit_the_code() -> None:
    for mutation in MUTATIONS:
        for edit in mutation.edits:
            assert (ROOT / edit.file).read_text().count(edit.old) == 1, f"{mutation.name}: {edit.file}"

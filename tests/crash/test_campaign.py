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

SEED = 3007
"""Draws a leader that hangs, dies, is heard late and is asked to stop, and a server and a job's process that die."""


def test_nothing_is_lost_and_nothing_done_twice() -> None:
    folder = Path(tempfile.mkdtemp(prefix="headwater-crash-"))
    report = Campaign(Options(rounds=4, seed=SEED), folder, tell=print).run()
    assert not report.broken, json.dumps(as_json(report), indent=2)
    assert report.rounds == 4
    # A process that executes jobs may not be there at its moment.
    assert {Fault.HANG_LEADER, Fault.HOLD_LEADER, Fault.KILL_SERVER, Fault.RESTART_LEADER} <= set(report.faults)
    assert len(report.takeovers_ms) >= 2
    assert report.runs_ended["succeeded"] > 50
    assert not folder.exists()


def test_the_mutations_still_fit_the_code() -> None:
    for mutation in MUTATIONS:
        assert (ROOT / mutation.edit.file).read_text().count(mutation.edit.old) == 1, mutation.name

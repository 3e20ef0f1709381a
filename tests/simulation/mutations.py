"""Breaks each law by hand, in a copy of the project, and tells which seed catches it.

`python -m tests.simulation.mutations --seeds 1000` prints a table for `docs/explanation/correctness.md`. An edit whose
old text is not found exactly once is an error: the table must not rot.
"""

from __future__ import annotations

import argparse
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

__all__ = ["MUTATIONS", "Mutation", "Verdict", "check"]

ROOT = Path(__file__).resolve().parents[2]
BROKEN = re.compile(r"seed (\d+): (.*)")


@dataclass(frozen=True, slots=True)
class Edit:
    """In `file`, `old` becomes `new`."""

    file: str
    old: str
    new: str


@dataclass(frozen=True, slots=True)
class Mutation:
    """What breaks a law: one edit, or the same one in both places where the law is kept."""

    law: str
    name: str
    edits: tuple[Edit, ...]


@dataclass(frozen=True, slots=True)
class Verdict:
    """`seed` is the first that breaks, with what the oracle said; None if none did."""

    mutation: Mutation
    seed: int | None
    said: str
    seconds: float


MUTATIONS = (
    Mutation(
        "L1",
        "drop the dirty mark: what came during a run counts as read when it ends",
        (
            Edit(
                "actors/core/transitions.py",
                "    state.made = _joined(made, state.made)\n    _drop_causes_done_with(state)\n",
                "    state.made = _joined(made, state.made)\n"
                "    state.causes = ()\n    state.latest = dict(made.inputs)\n",
            ),
        ),
    ),
    Mutation(
        "L1",
        "after a start the upstreams are not compared",
        (Edit("actors/core/loading.py", "        if snapshot is not None:\n", "        if snapshot is None:\n"),),
    ),
    Mutation(
        "L1",
        "forget to give back the slot of a run that has ended",
        (
            Edit(
                "actors/registry.py",
                "        self._around.to_enqueuer(news)\n        unmade =",
                "        unmade =",
            ),
        ),
    ),
    Mutation(
        "L2",
        "skip the claim, in the queue and in the script",
        (
            Edit("actors/enqueuer.py", "        if self._queue.is_busy(key):\n", "        if False:\n"),
            Edit("actors/core/run_queue.py", "        if self.is_busy(slot.key):\n", "        if False:\n"),
            Edit("actors/catalog/lua/submit.lua", "if holder then\n", "if false then\n"),
        ),
    ),
    Mutation(
        "L2",
        "do not compare at the claim what the asset knew when it asked",
        (
            Edit(
                "actors/catalog/gateway.py",
                "basis=tuple(want.basis for want in request.wants),",
                "basis=(),",
            ),
        ),
    ),
    Mutation(
        "L3",
        "note the versions at the recording, not those captured at the start",
        (
            Edit(
                "actors/catalog/lua/record.lua",
                "versions_text(args.upstreams, captured)",
                "versions_text(args.upstreams, nil)",
            ),
        ),
    ),
    Mutation(
        "L4",
        "do not wait for an upstream that is about to be re-made",
        (
            Edit(
                "actors/core/decide.py",
                "    if (waiting := _for_upstreams(spec, state, defaults, now_ms)) is not None:\n"
                "        return waiting\n",
                "",
            ),
        ),
    ),
    Mutation(
        "L5",
        "tell of unchanged data as if it had changed",
        (
            Edit(
                "actors/catalog/news.py",
                "changed_version=event.changed_version if event.changed_version is not None else event.version,",
                "changed_version=event.version,",
            ),
        ),
    ),
    Mutation(
        "L6",
        "forget to arm the expiry timer",
        (
            Edit(
                "actors/acting.py",
                "    times = [expiry.at_ms] if expiry is not None and expiry.at_ms > now_ms else []\n",
                "    times: list[int] = []\n    if isinstance(decision, Skip):\n        return None\n",
            ),
        ),
    ),
    Mutation(
        "L7",
        "never suspend",
        (
            Edit(
                "actors/core/decide.py",
                "    if suspension is not None and (suspension.until_ms is None or suspension.until_ms > now_ms):\n",
                "    if suspension is not None and False:\n",
            ),
        ),
    ),
    Mutation(
        "L8",
        "forget the pools, in the queue and in the script",
        (
            Edit(
                "actors/core/run_queue.py", "        for pool in slot.pools:\n", "        for pool in slot.pools[:0]:\n"
            ),
            Edit(
                "actors/enqueuer.py",
                "{pool: capacity.pools[pool] for pool in workflow.pools if pool in capacity.pools}",
                "{}",
            ),
        ),
    ),
    Mutation(
        "L10",
        "name another reason in the trigger than was decided",
        (Edit("actors/triggers.py", '        "reason": lead.reason.value,\n', '        "reason": "missing",\n'),),
    ),
    Mutation(
        "L11",
        "believe late news of a run that has ended",
        (
            Edit(
                "actors/registry.py", "if self._runs.is_over(news.run_id) or news.pos <= self._loaded_pos:", "if False:"
            ),
            Edit("actors/enqueuer.py", "        if news.run_id in self._ended:\n", "        if False:\n"),
            Edit(
                "actors/core/transitions.py", "    if state.run_id == run_id or pos <= state.pos:\n", "    if False:\n"
            ),
        ),
    ),
)


def check(mutation: Mutation, *, seeds: int) -> Verdict:
    """Play seeds against a copy of the project with the edit, until one breaks.

    Raises:
        ValueError: the edit's old text is not in the file exactly once.
    """
    with tempfile.TemporaryDirectory(prefix="hw-mutation-") as folder:
        copy = Path(folder)
        for name in ("actors", "tests", "config"):
            shutil.copytree(ROOT / name, copy / name, ignore=shutil.ignore_patterns("__pycache__"))
        for edit in mutation.edits:
            target = copy / edit.file
            text = target.read_text(encoding="utf-8")
            if text.count(edit.old) != 1:
                raise ValueError(
                    f"mutation {mutation.name!r}: its old text stands {text.count(edit.old)} times in {edit.file};"
                    " bring it up to date"
                )
            target.write_text(text.replace(edit.old, edit.new), encoding="utf-8")
        began = time.monotonic()
        played = subprocess.run(
            [sys.executable, "-m", "tests.simulation", "--seeds", str(seeds), "--stop-plainly"],
            cwd=copy,
            capture_output=True,
            text=True,
            check=False,
        )
        found = BROKEN.search(played.stdout)
        seconds = time.monotonic() - began
        if found is None:
            return Verdict(mutation, None, "", seconds)
        return Verdict(mutation, int(found[1]), found[2], seconds)


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.simulation.mutations", description=__doc__)
    parser.add_argument("--seeds", type=int, default=1_000, help="how many seeds each edit gets (default 1000)")
    parser.add_argument("--law", help="only the edits of this law")
    options = parser.parse_args(arguments)
    chosen = [mutation for mutation in MUTATIONS if options.law in (None, mutation.law)]
    missed = 0
    print("| law | the edit | caught by seed | the oracle said |\n| --- | --- | --- | --- |")
    for mutation in chosen:
        verdict = check(mutation, seeds=options.seeds)
        missed += verdict.seed is None
        caught = "not caught" if verdict.seed is None else str(verdict.seed)
        print(f"| {mutation.law} | {mutation.name} | {caught} | {verdict.said[:110]} |", flush=True)
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())

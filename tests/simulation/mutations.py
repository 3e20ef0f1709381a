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

from tests.simulation.edits import EDITS, Mutation
from tests.simulation.edits_fourth import EDITS_OF_THE_FOURTH
from tests.simulation.edits_third import EDITS_OF_THE_THIRD

__all__ = ["MUTATIONS", "Verdict", "check"]

MUTATIONS = (*EDITS, *EDITS_OF_THE_THIRD, *EDITS_OF_THE_FOURTH)

ROOT = Path(__file__).resolve().parents[2]
BROKEN = re.compile(r"seed (\d+): (?:LawBroken: )?(.*)")


@dataclass(frozen=True, slots=True)
class Verdict:
    """`seed` is the first that breaks, with what the oracle said; None if none did."""

    mutation: Mutation
    seed: int | None
    said: str
    seconds: float


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
            [
                *(sys.executable, "-m", "tests.simulation", "--stop-plainly"),
                *("--seeds", str(seeds), "--generation", str(mutation.generation)),
            ],
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
    parser.add_argument("--generation", type=int, help="only the edits that seeds of this generation catch")
    options = parser.parse_args(arguments)
    chosen = [
        mutation
        for mutation in MUTATIONS
        if options.law in (None, mutation.law) and options.generation in (None, mutation.generation)
    ]
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

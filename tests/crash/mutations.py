"""Breaks what survives a crash, in a copy of the project, and tells in which round the campaign notices.

`python -m tests.crash.mutations --rounds 40` prints a table for `docs/explanation/crash-campaign.md`. An edit whose old
text is not found exactly once is an error: the table must not rot.
"""

from __future__ import annotations

import argparse
import json
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from tests.simulation.edits import Edit

__all__ = ["MUTATIONS", "ROOT", "Mutation", "check"]

ROOT: Final = Path(__file__).resolve().parents[2]


@dataclass(frozen=True, slots=True)
class Mutation:
    name: str
    edits: tuple[Edit, ...]


_NO_CLAIM: Final = Edit("actors/catalog/lua/submit.lua", "if holder then\n", "if false then\n")
_NO_BASIS: Final = Edit("actors/catalog/lua/submit.lua", "if #outdated > 0 then\n", "if false then\n")
_NO_TERM: Final = Edit("actors/catalog/lua/prelude.lua", "if args.term then\n", "if false then\n")

MUTATIONS: Final = (
    Mutation(
        "a repeated production is recorded again",
        (
            Edit(
                "actors/catalog/lua/record.lua",
                "  earlier = earlier or redis.call('GET', seen_keys[index])\n",
                "",
            ),
        ),
    ),
    Mutation(
        "two services lead at once",
        (Edit("actors/catalog/lua/lease_acquire.lua", "if not args.sole and left_ms > 0", "if false and left_ms > 0"),),
    ),
    Mutation(
        "two services lead at once, and nothing is asked at a claim",
        (
            Edit(
                "actors/catalog/lua/lease_acquire.lua", "if not args.sole and left_ms > 0", "if false and left_ms > 0"
            ),
            _NO_CLAIM,
            _NO_BASIS,
            _NO_TERM,
        ),
    ),
    Mutation(
        "a term may be given out again",
        (
            Edit(
                "actors/catalog/lua/lease_acquire.lua",
                "redis.call('HINCRBY', leader_key, 'term', 1)",
                "redis.call('HINCRBY', leader_key, 'term', 0)",
            ),
        ),
    ),
    Mutation(
        "a former leader's writes are carried out, and nothing is asked at a claim", (_NO_CLAIM, _NO_BASIS, _NO_TERM)
    ),
    Mutation(
        "a run that is given up keeps its claim",
        (
            Edit(
                "actors/catalog/lua/finish_run.lua",
                "if redis.call('HGET', key('claims'), claim) == args.runId then\n",
                "if not args.overdue and redis.call('HGET', key('claims'), claim) == args.runId then\n",
            ),
        ),
    ),
    Mutation(
        "a run whose worker is gone is never given up",
        (
            Edit(
                "actors/execution/reaper.py",
                "            elif silent_since_ms is not None and run.seen_at_ms <= silent_since_ms:\n",
                "            elif False:\n",
            ),
        ),
    ),
    Mutation(
        "a run that nobody has started is not launched again",
        (
            Edit(
                "actors/execution/reaper.py",
                "                    self._start_late(run, waited_since_ms)\n",
                "                    pass\n",
            ),
        ),
    ),
    Mutation(
        "a new leader begins at the newest event",
        (
            Edit(
                "actors/catalog/stream.py",
                "        self._read_up_to = cursor if self._read_up_to is None else min(cursor, self._read_up_to)\n",
                "        self._read_up_to = self._leads_at\n",
            ),
        ),
    ),
    Mutation(
        "a script that the server forgot is not sent again",
        (Edit("actors/catalog/scripts.py", "        except NoScriptError:\n", "        except ZeroDivisionError:\n"),),
    ),
)


def check(mutation: Mutation, *, rounds: int, seed: int) -> dict[str, Any] | None:
    """What the campaign reported of a copy with the edit; None if nothing was broken.

    Raises:
        ValueError: the edit's old text is not in the file exactly once.
    """
    with tempfile.TemporaryDirectory(prefix="headwater-mutation-") as folder:
        copy = Path(folder)
        for name in ("run.py", "actors", "tests", "config"):
            if (ROOT / name).is_dir():
                shutil.copytree(ROOT / name, copy / name, ignore=shutil.ignore_patterns("__pycache__"))
            else:
                shutil.copy(ROOT / name, copy / name)
        for edit in mutation.edits:
            target = copy / edit.file
            text = target.read_text(encoding="utf-8")
            if text.count(edit.old) != 1:
                raise ValueError(
                    f"mutation {mutation.name!r}: its old text stands {text.count(edit.old)} times in {edit.file};"
                    " bring it up to date"
                )
            target.write_text(text.replace(edit.old, edit.new), encoding="utf-8")
        command = [sys.executable, "-m", "tests.crash", "--rounds", str(rounds), "--seed", str(seed), "--json"]
        played = subprocess.run(command, cwd=copy, capture_output=True, text=True, check=False)
        if not played.stdout:
            return {"failedRound": None, "broken": [played.stderr.strip().splitlines()[-1]]}
        report: dict[str, Any] = json.loads(played.stdout)
        if not report["broken"]:
            return None
        shutil.rmtree(report["folder"])
        return report


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.crash.mutations", description=__doc__)
    parser.add_argument("--rounds", type=int, default=40, help="how many rounds each edit gets (default 40)")
    parser.add_argument("--seed", type=int, default=1, help="of the campaign (default 1)")
    parser.add_argument("--only", default="", help="only the edits whose name holds this text")
    options = parser.parse_args(arguments)
    missed = 0
    print("| the edit | noticed in round | the campaign said |\n| --- | --- | --- |")
    for mutation in (each for each in MUTATIONS if options.only in each.name):
        report = check(mutation, rounds=options.rounds, seed=options.seed)
        missed += report is None
        noticed, said = (report["failedRound"], report["broken"][0]) if report else ("not noticed", "")
        print(f"| {mutation.name} | {noticed} | {said[:140]} |", flush=True)
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())

"""`python -m tests.crash --rounds 100`: real processes, a real server, faults at random, nothing lost by them."""

from __future__ import annotations

import argparse
import json
import random
import signal
import statistics
import sys
import tempfile
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import get_args

from tests.crash.campaign import Campaign, Options, Report
from tests.crash.faults import Fault
from tests.crash.house import Launcher
from tests.crash.sharded import ShardedCampaign


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m tests.crash",
        description="Two services and a server under load and faults; then the catalog is checked.",
        epilog="examples: python -m tests.crash --rounds 20 | python -m tests.crash --rounds 100 --seed 7 --json",
    )
    parser.add_argument("--rounds", type=int, default=20, help="how many rounds of faults (default 20)")
    parser.add_argument("--seed", type=int, help="of what chance decides (default: a new one, which is told)")
    parser.add_argument("--per-second", type=float, default=20.0, help="productions of sources (default 20)")
    parser.add_argument("--rounds-per-house", type=int, default=10, help="then all begins anew (default 10)")
    parser.add_argument(
        "--launcher", choices=get_args(Launcher), default="local", help="who executes runs (default: the services)"
    )
    parser.add_argument(
        "--without", action="append", default=[], choices=[fault.name for fault in Fault], help="never this fault"
    )
    parser.add_argument(
        "--shards", type=int, metavar="N", help="services of so many shards, with standbys; the count changes by one"
    )
    parser.add_argument("--keep", action="store_true", help="keep logs and events also where all was well")
    parser.add_argument("--json", action="store_true", help="tell the result as JSON; progress goes to stderr")
    options = parser.parse_args(arguments)
    # Leave through the blocks that end the processes.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    seed = random.SystemRandom().randrange(1_000_000) if options.seed is None else options.seed
    folder = Path(tempfile.mkdtemp(prefix="headwater-crash-"))
    tell = partial(print, file=sys.stderr if options.json else sys.stdout, flush=True)
    tell(f"seed {seed}, in {folder}")
    if options.shards:
        return _play_shards(options, folder, seed, tell)
    wanted = Options(
        options.rounds,
        seed,
        per_second=options.per_second,
        rounds_per_house=options.rounds_per_house,
        launcher=options.launcher,
        without=frozenset(Fault[name] for name in options.without),
        keep=options.keep,
    )
    campaign = Campaign(wanted, folder, tell=tell)
    try:
        report = campaign.run()
    except BaseException:
        tell(f"seed {seed}, in round {campaign.report.rounds + 1}: it went no further; what there is is in {folder}")
        raise
    print(json.dumps(as_json(report), indent=2) if options.json else as_text(report))
    return 1 if report.broken else 0


def _play_shards(options: argparse.Namespace, folder: Path, seed: int, tell: Callable[[str], None]) -> int:
    report = ShardedCampaign(
        folder, shards=options.shards, rounds=options.rounds, seed=seed, per_second=options.per_second, tell=tell
    ).run()
    print(json.dumps(report.as_json(), indent=2))
    return 1 if report.broken else 0


def as_json(report: Report) -> dict[str, object]:
    return {
        "seed": report.seed,
        "rounds": report.rounds,
        "seconds": round(report.seconds, 1),
        "launcher": report.launcher,
        "faults": {fault.value: report.faults[fault] for fault in Fault if fault in report.faults},
        "emitted": report.emitted,
        "events": report.events,
        "runs": report.runs,
        "runsEnded": dict(sorted(report.runs_ended.items())),
        "lost": report.count("lost"),
        "duplicate": report.count("duplicate"),
        "inconsistent": report.count("inconsistent"),
        "takeoverMs": _spread(report.takeovers_ms),
        "firstMadeMs": _spread(report.first_made_ms),
        "handoverMs": _spread(report.handovers_ms),
        "restMs": _spread(report.rest_ms),
        "failedRound": report.failed_round,
        "broken": [f"{each.kind}: {each.text}" for each in report.broken],
        "folder": report.folder and str(report.folder),
    }


def as_text(report: Report) -> str:
    told = as_json(report)
    rows: list[tuple[str, object]] = [(fault.value, report.faults[fault]) for fault in Fault if fault in report.faults]
    rows += [("faults in all", report.faults.total()), ("rounds", report.rounds)]
    rows += [("seconds", told["seconds"]), ("productions outside", report.emitted)]
    rows += [("events", report.events), ("runs", report.runs)]
    rows += [(f"runs {status}", count) for status, count in sorted(report.runs_ended.items())]
    rows += [(kind, told[kind]) for kind in ("lost", "duplicate", "inconsistent")]
    rows += [
        (f"{name}, p50 / max of {len(values)}, ms", _short(values))
        for name, values in (
            ("takeover", report.takeovers_ms),
            ("made again", report.first_made_ms),
            ("handover", report.handovers_ms),
            ("at rest after", report.rest_ms),
        )
    ]
    width = max(len(name) for name, _ in rows)
    lines = [f"{name:<{width}}  {value:>12}" for name, value in rows]
    if report.broken:
        lines += [
            "",
            f"seed {report.seed}, round {report.failed_round} is broken; logs and events: {report.folder}",
        ]
        lines += [f"  {each.kind}: {each.text}" for each in report.broken]
    return "\n".join(lines)


def _spread(values: Sequence[int]) -> dict[str, int] | None:
    if not values:
        return None
    return {"count": len(values), "p50": round(statistics.median(values)), "max": max(values)}


def _short(values: Sequence[int]) -> str:
    spread = _spread(values)
    return "-" if spread is None else f"{spread['p50']} / {spread['max']}"


if __name__ == "__main__":
    sys.exit(main())

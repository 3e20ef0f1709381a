"""`python -m tests.fuzz --bodies 100000`: hostile bodies, and good ones between them, of which none is lost."""

from __future__ import annotations

import argparse
import json
import random
import signal
import sys
from collections.abc import Sequence
from functools import partial

from tests.fuzz.campaign import Report, fuzz
from tests.fuzz.cases import Post, case_of

MOST_SHOWN = 20


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m tests.fuzz",
        description="Sends CloudEvents, OpenLineage and entries of the stream, good and broken, to a real service.",
        epilog="examples: python -m tests.fuzz --bodies 100000 | python -m tests.fuzz --seed 7 --show 1234",
    )
    parser.add_argument("--bodies", type=int, default=10_000, help="how many (default 10000)")
    parser.add_argument("--first", type=int, default=0, help="the number of the first (default 0)")
    parser.add_argument("--seed", type=int, help="of what chance decides (default: a new one, which is told)")
    parser.add_argument("--show", type=int, metavar="NUMBER", help="print what this one is, and send nothing")
    parser.add_argument("--json", action="store_true", help="tell the result as JSON; progress goes to stderr")
    options = parser.parse_args(arguments)
    seed = random.SystemRandom().randrange(1_000_000) if options.seed is None else options.seed
    if options.show is not None:
        _show(seed, options.show)
        return 0
    # As Ctrl-C, which a shell may have told it to ignore: asyncio ends what is under way, and the service is stopped.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGTERM, lambda *_: signal.raise_signal(signal.SIGINT))
    tell = partial(print, file=sys.stderr if options.json else sys.stdout, flush=True)
    tell(f"seed {seed}")
    try:
        report = fuzz(options.bodies, seed, first=options.first, tell=tell)
    except KeyboardInterrupt:
        tell("stopped")
        return 130
    print(json.dumps(as_json(report), indent=2) if options.json else as_text(report))
    return 1 if report.broken else 0


def as_json(report: Report) -> dict[str, object]:
    return {
        "seed": report.seed,
        "first": report.first,
        "bodies": report.bodies,
        "kinds": dict(sorted(report.kinds.items())),
        "requests": report.requests,
        "entries": report.entries,
        "statuses": {str(status): count for status, count in sorted(report.statuses.items())},
        "deadLetters": report.dead_letters,
        "recorded": report.recorded,
        "expected": report.expected,
        "seconds": round(report.seconds, 1),
        "broken": report.broken,
    }


def as_text(report: Report) -> str:
    rows: list[tuple[str, object]] = [*sorted(report.kinds.items())]
    rows += [("requests", report.requests), ("entries of the stream", report.entries)]
    rows += [(f"answered {status}", count) for status, count in sorted(report.statuses.items())]
    rows += [("dead letters", report.dead_letters), ("recorded in all", report.recorded)]
    rows += [("of them had to be", report.expected), ("seconds", round(report.seconds, 1))]
    rows += [("broken", len(report.broken))]
    width = max(len(name) for name, _ in rows)
    lines = [f"{name:<{width}}  {value:>10}" for name, value in rows]
    lines += [f"  {each}" for each in report.broken[:MOST_SHOWN]]
    if report.broken:
        lines.append(f"see one: python -m tests.fuzz --seed {report.seed} --show NUMBER")
    return "\n".join(lines)


def _show(seed: int, number: int) -> None:
    case = case_of(seed, number)
    print(f"case {number} of seed {seed}: {case.kind}, {'good' if case.is_good else 'hostile'}")
    for part in case.parts:
        if isinstance(part, Post):
            print(f"POST {part.path}")
            print("\n".join(f"  {name.decode('latin-1')}: {value.decode('latin-1')}" for name, value in part.headers))
            print(f"  {part.body!r}")
        else:
            print("XADD")
            print("\n".join(f"  {name!r}: {value!r}" for name, value in part.fields.items()))
    for each in case.expected:
        print(f"expects {each.asset_id} {each.partition_key} {each.mark}, once")


if __name__ == "__main__":
    sys.exit(main())

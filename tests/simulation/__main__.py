"""Many seeds: `python -m tests.simulation --seeds 1000`; one again: `--seed 17`. Stops at the first broken law."""

from __future__ import annotations

import argparse
import signal
import sys
import time
from collections.abc import Sequence

from tests.simulation.generator import GENERATION
from tests.simulation.play import Failure, play, shrink


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m tests.simulation",
        description="Runs the real actors on a virtual clock under seeded faults and checks the laws.",
        epilog="examples: python -m tests.simulation --seeds 1000 | python -m tests.simulation --seed 17",
    )
    parser.add_argument("--seeds", type=int, default=200, help="how many seeds to play (default 200)")
    parser.add_argument("--first", type=int, default=0, help="the first of them (default 0)")
    parser.add_argument("--seed", type=int, help="play this one only, and show its trace")
    parser.add_argument("--generation", type=int, default=GENERATION, help="of the scenarios (default: the newest)")
    parser.add_argument("--keep-going", action="store_true", help="count the broken laws instead of stopping")
    parser.add_argument("--stop-plainly", action="store_true", help="at the first broken law say so in one line")
    options = parser.parse_args(arguments)
    # Leave through the exit handlers, which stop the server.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    if options.seed is not None:
        failure = play(options.seed, options.generation)
        if failure is None:
            print(f"seed {options.seed}: every law holds")
            return 0
        _report(failure)
        return 1
    seeds = range(options.first, options.first + options.seeds)
    return _play_many(seeds, options.generation, keep_going=options.keep_going, plainly=options.stop_plainly)


def _play_many(seeds: Sequence[int], generation: int, *, keep_going: bool, plainly: bool) -> int:
    began = time.monotonic()
    broken: list[Failure] = []
    for number, seed in enumerate(seeds, start=1):
        failure = play(seed, generation)
        if failure is not None:
            broken.append(failure)
            if plainly:
                print(f"\nseed {seed}: {failure.error}")
                return 1
            if not keep_going:
                _report(failure)
                return 1
            print(f"\nseed {seed}: {failure.error}")
        if number % 50 == 0 or number == len(seeds):
            rate = number / (time.monotonic() - began)
            print(f"\r{number}/{len(seeds)} seeds, {len(broken)} broken, {rate:.1f} a second", end="", flush=True)
    print()
    return 1 if broken else 0


def _report(failure: Failure) -> None:
    shrunk = shrink(failure)
    seed, generation = failure.scenario.seed, failure.scenario.generation
    which = "" if generation == GENERATION else f" --generation {generation}"
    print(f"\nseed {seed} breaks a law: {failure.error}")
    print(f"replay it: python -m tests.simulation --seed {seed}{which}\n")
    print("the scenario, shrunk:")
    for workflow in shrunk.scenario.workflows:
        print(f"  {workflow}")
    for action in shrunk.scenario.actions:
        print(f"  {action}")
    print(f"\nthe trace of it ({shrunk.error}):")
    for line in shrunk.trace:
        print(f"  {line}")


if __name__ == "__main__":
    sys.exit(main())

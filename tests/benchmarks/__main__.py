"""`python -m tests.benchmarks NAME [--json] [--scale X]`: run one, or `all`, each in a process; `-h` tells the rest."""

from __future__ import annotations

import argparse
import json
import subprocess
import sys

from tests.benchmarks.common import Benchmark, Options, Result, discover


def run_apart(name: str, scale: float) -> Result:
    """Run one benchmark in a fresh process, so that memory and threads of one do not weigh on the next."""
    command = [sys.executable, "-m", "tests.benchmarks", name, "--json", "--scale", str(scale)]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    result: Result = json.loads(done.stdout)
    return result


def as_text(value: float | int | str) -> str:
    match value:
        case str():
            return value
        case int():
            return f"{value:,}"
        case _:
            return f"{value:,.2f}"


def as_table(results: dict[str, Result]) -> str:
    rows = [(name, key, as_text(value)) for name, result in results.items() for key, value in result.items()]
    widths = [max(len(row[column]) for row in rows) for column in range(3)]
    return "\n".join(f"{name:<{widths[0]}}  {key:<{widths[1]}}  {value:>{widths[2]}}" for name, key, value in rows)


def summary(benchmarks: dict[str, Benchmark]) -> str:
    lines = [f"  {name:<14} {(module.__doc__ or '').strip().splitlines()[0]}" for name, module in benchmarks.items()]
    return "benchmarks:\n" + "\n".join(lines)


def main() -> None:
    benchmarks = discover()
    parser = argparse.ArgumentParser(
        prog="python -m tests.benchmarks",
        description="Run one benchmark, or all.",
        epilog=summary(benchmarks),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("name", choices=[*benchmarks, "all"], metavar="NAME", help="which one, or all")
    parser.add_argument("--json", action="store_true", help="print one JSON object instead of a table")
    parser.add_argument("--scale", type=float, default=1.0, help="multiply the sizes (default 1)")
    parser.add_argument("--million", action="store_true", help="memory: start a million assets too")
    parser.add_argument("--assets", type=int, metavar="N", help="scaling: of so many (default 1, 10 and 100 million)")
    parser.add_argument("--shards", type=int, metavar="N", help="scaling: in so many (default: as many as are needed)")
    parser.add_argument(
        "--events-per-second", type=float, metavar="R", help="scaling: so many (default: one for each asset and day)"
    )
    chosen = parser.parse_args()
    if chosen.name == "all":
        results = {name: run_apart(name, chosen.scale) for name in benchmarks}
        output = json.dumps(results) if chosen.json else as_table(results)
    else:
        options = Options(chosen.scale, chosen.million, chosen.assets, chosen.shards, chosen.events_per_second)
        result = benchmarks[chosen.name].run(options)
        output = json.dumps(result) if chosen.json else as_table({chosen.name: result})
    sys.stdout.write(output + "\n")


if __name__ == "__main__":
    main()

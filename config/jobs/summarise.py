"""The summary of the river report, as a command: any program can be a job.

The context comes as JSON on standard input, and the last line on standard output is the result:
`{"headline": "...", "markdown": "..."}`. What goes to standard error is the run's log.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TypedDict


class Level(TypedDict):
    min: float
    mean: float
    max: float


class Station(TypedDict):
    readings: int
    levelCm: Level
    flowM3s: dict[str, float]
    rainMm: float


class Hour(TypedDict):
    hour: str
    stations: dict[str, Station]


class Spell(TypedDict):
    station: str
    severity: str
    since: str
    until: str
    crestCm: float


def main() -> None:
    context = json.load(sys.stdin)
    root = Path(context["parameters"]["outputDir"])
    hours: list[Hour] = [json.loads(path.read_text()) for path in last_hours(root / "hourly")]
    spells: list[Spell] = [
        spell for path in last_hours(root / "alerts") for spell in json.loads(path.read_text())["alerts"]
    ]
    print(f"summarising {len(hours)} hours for run {context['runId']}", file=sys.stderr)
    print(json.dumps({"headline": headline(spells), "markdown": markdown(hours, spells)}))


def last_hours(folder: Path) -> list[Path]:
    return sorted(folder.glob("*.json"))[-3:]


def headline(spells: list[Spell]) -> str:
    if not spells:
        return "All gauges are calm."
    floods = sum(spell["severity"] == "flood" for spell in spells)
    return f"{count(len(spells), 'spell')} of high water, {count(floods, 'flood')} among them."


def markdown(hours: list[Hour], spells: list[Spell]) -> str:
    lines = [
        "| hour (UTC) | station | lowest cm | mean cm | highest cm | flow m³/s | rain mm | readings |",
        "| --- | --- | ---: | ---: | ---: | ---: | ---: | ---: |",
    ]
    for hour in reversed(hours):
        for station, of in hour["stations"].items():
            level = of["levelCm"]
            cells = [
                hour["hour"][:13],
                station,
                *(f"{cm:.1f}" for cm in (level["min"], level["mean"], level["max"])),
                f"{of['flowM3s']['mean']:.2f}",
                f"{of['rainMm']:.1f}",
                str(of["readings"]),
            ]
            lines.append(f"| {' | '.join(cells)} |")
    lines.append("")
    lines += [
        f"- **{spell['severity']}** at {spell['station']} from {spell['since']} to {spell['until']}, "
        f"crest {spell['crestCm']} cm"
        for spell in spells[-10:]
    ]
    return "\n".join(lines)


def count(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


if __name__ == "__main__":
    main()

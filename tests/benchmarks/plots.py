"""Draws results as SVG: `python -m tests.benchmarks.plots RESULTS.json FOLDER`.

RESULTS.json is what `python -m tests.benchmarks all --json` prints. Plain bars, drawn by hand: a picture that needs no
library to be made again, and that a diff can show.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path

from tests.benchmarks.common import Result

WIDTH, LEFT, RIGHT, TOP, ROW = 720, 230, 110, 56, 30


@dataclass(frozen=True, slots=True)
class Bar:
    """One bar. `is_ours` draws it in the stronger colour."""

    label: str
    value: float
    is_ours: bool = True


@dataclass(frozen=True, slots=True)
class Chart:
    """Horizontal bars over one scale from zero; `limit` is a line that ours should stay on this side of."""

    name: str
    title: str
    unit: str
    bars: tuple[Bar, ...]
    limit: float | None = None


def charts(results: dict[str, Result]) -> list[Chart]:
    """The pictures that the results allow."""
    drawn: list[Chart] = []
    if route := numbers(results, "route"):
        drawn.append(
            Chart(
                "route",
                "From the stream to a submitted run",
                "events per second",
                (
                    Bar("the service", route["service_per_second"]),
                    Bar("bare loop", route["bare_per_second"], is_ours=False),
                    Bar("bare loop, pipelined", route["bare_pipelined_per_second"], is_ours=False),
                ),
            )
        )
    if latency := numbers(results, "latency"):
        drawn.append(
            Chart(
                "latency",
                "From the append of an event to its run on the queue",
                "milliseconds",
                tuple(
                    Bar(f"{rate:,} a second, {share}", latency[f"{share}_ms_{rate}"])
                    for rate in (200, 1_000)
                    for share in ("p50", "p99", "max")
                ),
            )
        )
    if memory := numbers(results, "memory"):
        sizes = (
            Bar("bare actor", memory["bytes_per_actor"]),
            Bar("asset, one partition", memory["bytes_per_asset"]),
        )
        drawn.append(Chart("memory", "Memory of an idle actor", "bytes", sizes, limit=4_096))
    if flat := numbers(results, "flat"):
        costs = (
            Bar("1,000 assets", flat["small_cpu_us_per_event"]),
            Bar("100,000 assets", flat["large_cpu_us_per_event"]),
        )
        drawn.append(Chart("flat", "CPU time of one event", "microseconds", costs))
    if mailbox := numbers(results, "mailbox"):
        rates = (
            Bar("pool, 1,000 actors", mailbox["pooled_1000_per_second"]),
            Bar("pool, 5,000 actors", mailbox["pooled_5000_per_second"]),
            Bar("pool, 100,000 actors", mailbox["pooled_100000_per_second"]),
            Bar("a thread each, 1,000 actors", mailbox["threading_1000_per_second"], is_ours=False),
            Bar("a thread each, 5,000 actors", mailbox["threading_5000_per_second"], is_ours=False),
        )
        drawn.append(Chart("mailbox", "Messages between actors", "messages per second", rates))
    return drawn


def numbers(results: dict[str, Result], name: str) -> dict[str, float]:
    """The numbers of one benchmark; empty if it was not run."""
    return {key: float(value) for key, value in results.get(name, {}).items() if not isinstance(value, str)}


def svg(chart: Chart) -> str:
    """The picture, readable on light and dark ground, with its numbers as text."""
    height = TOP + ROW * len(chart.bars) + 16
    top_value = max([bar.value for bar in chart.bars] + [chart.limit or 0.0]) or 1.0
    scale = (WIDTH - LEFT - RIGHT) / top_value
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" width="{WIDTH}" height="{height}" '
        f'font-family="sans-serif" role="img" aria-label="{escape(chart.title)}">',
        f'<rect width="{WIDTH}" height="{height}" fill="#ffffff"/>',
        text(16, 24, chart.title, size=16, weight="bold"),
        text(16, 43, chart.unit, size=12, colour="#666666"),
    ]
    for row, bar in enumerate(chart.bars):
        y = TOP + ROW * row
        colour = "#1f6f8b" if bar.is_ours else "#b8c4c8"
        width = max(1.0, bar.value * scale)
        parts += [
            text(LEFT - 10, y + 15, bar.label, anchor="end"),
            f'<rect x="{LEFT}" y="{y}" width="{width:.1f}" height="20" rx="2" fill="{colour}"/>',
            text(LEFT + width + 8, y + 15, amount(bar.value)),
        ]
    if chart.limit is not None:
        x = LEFT + chart.limit * scale
        parts += [
            f'<line x1="{x:.1f}" y1="{TOP - 6}" x2="{x:.1f}" y2="{height - 14}" stroke="#b3261e" '
            'stroke-dasharray="4 3"/>',
            text(x + 5, TOP - 10, f"limit {amount(chart.limit)}", size=11, colour="#b3261e"),
        ]
    return "\n".join([*parts, "</svg>\n"])


def text(
    x: float,
    y: float,
    words: str,
    *,
    size: int = 13,
    weight: str = "normal",
    colour: str = "#222222",
    anchor: str = "start",
) -> str:
    return (
        f'<text x="{x:.1f}" y="{y}" font-size="{size}" font-weight="{weight}" fill="{colour}" text-anchor="{anchor}">'
        f"{escape(words)}</text>"
    )


def amount(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:,.1f}"


def main(arguments: Sequence[str]) -> None:
    results: dict[str, Result] = json.loads(Path(arguments[0]).read_text())
    folder = Path(arguments[1])
    folder.mkdir(parents=True, exist_ok=True)
    for chart in charts(results):
        (folder / f"{chart.name}.svg").write_text(svg(chart))


if __name__ == "__main__":
    main(sys.argv[1:])

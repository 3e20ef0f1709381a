"""Drawing for people: tables that survive a narrow terminal, ages, durations; JSON for machines."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from datetime import datetime

from rich import box
from rich.console import Console, RenderableType
from rich.table import Table
from rich.text import Text

from actors.catalog.store import Json
from actors.interfaces.dump import iso_or_none

__all__ = [
    "age_text",
    "clock_text",
    "console",
    "duration_text",
    "has_drawing_letters",
    "print_drawn",
    "print_json",
    "print_lines",
    "print_table",
    "state_text",
    "when_text",
]

_UNITS = ((86_400_000, "d"), (3_600_000, "h"), (60_000, "min"), (1_000, "s"))
# What is not a terminal has no edge at which to wrap.
_ENDLESS = 10_000
_STYLES = {
    "fresh": "green",
    "succeeded": "green",
    "ok": "green",
    "inFlight": "blue",
    "running": "blue",
    "enqueued": "blue",
    "queued": "blue",
    "stale": "yellow",
    "expired": "yellow",
    "missing": "yellow",
    "paused": "yellow",
    "backoff": "yellow",
    "canceled": "yellow",
    "in-flight": "blue",
    "quiet-hours": "yellow",
    "upstream-updated": "yellow",
    "upstream-pending": "yellow",
    "upstream-missing": "yellow",
    "debounce": "yellow",
    "suspended": "red",
    "failed": "red",
    "lost": "red",
    "invalid": "red",
}


def console() -> Console:
    """Stdout as it is now; colours only on a terminal, and never with NO_COLOR set."""
    is_terminal = sys.stdout.isatty()
    return Console(file=sys.stdout, highlight=False, markup=False, emoji=False, width=None if is_terminal else _ENDLESS)


def has_drawing_letters() -> bool:
    """Whether stdout can show lines and signs beyond ASCII."""
    return "utf" in (sys.stdout.encoding or "").lower()


def print_json(value: Json) -> None:
    """One JSON document, indented."""
    print(json.dumps(value, indent=2, ensure_ascii=False))


def print_lines(lines: Sequence[str | Text]) -> None:
    out = console()
    for line in lines:
        out.print(line, soft_wrap=True)


def print_table(columns: Sequence[str], rows: Sequence[Sequence[str | Text | None]], *, empty: str) -> None:
    """A table without frame; long cells are folded, never cut. `empty` is said when there are no rows."""
    if not rows:
        print(empty)
        return
    table = Table(box=box.SIMPLE_HEAD if sys.stdout.isatty() else None, pad_edge=False, header_style="bold")
    for column in columns:
        table.add_column(column, overflow="fold")
    for row in rows:
        table.add_row(*(Text("-", style="dim") if cell is None else cell for cell in row))
    print_drawn(table)


def print_drawn(drawn: RenderableType) -> None:
    """Something of rich's own, at its full width where there is no terminal."""
    out = console()
    if out.is_terminal:
        out.print(drawn)
        return
    # Lines of a file end where their text ends.
    with out.capture() as captured:
        out.print(drawn)
    print("\n".join(line.rstrip() for line in captured.get().splitlines()))


def state_text(word: str) -> Text:
    """A state or status in its colour."""
    return Text(word, style=_STYLES.get(word, ""))


def duration_text(ms: int) -> str:
    """`250 ms`, `1.2 s`, `4 min 10 s`, `3 h 5 min`, `2 d 4 h`; at most two units."""
    if ms < 0:
        return f"-{duration_text(-ms)}"
    if ms < 1_000:
        return f"{ms} ms"
    if ms < 10_000:
        return f"{ms / 1_000:.1f}".removesuffix(".0") + " s"
    for (size, unit), smaller in zip(_UNITS, (*_UNITS[1:], None), strict=True):
        if ms >= size:
            whole, left = divmod(ms, size)
            rest = f" {left // smaller[0]} {smaller[1]}" if smaller is not None and left >= smaller[0] else ""
            return f"{whole} {unit}{rest}"
    raise AssertionError("the smallest unit holds every number that is left")


def age_text(at_ms: int, now_ms: int) -> str:
    """`4 min 10 s ago`, `in 2 h`, `now`."""
    apart = now_ms - at_ms
    if abs(apart) < 1_000:
        return "now"
    return f"{duration_text(apart)} ago" if apart > 0 else f"in {duration_text(-apart)}"


def clock_text(at_ms: int) -> str:
    """The local time of day of an instant near by, with the date when it is not today's."""
    at, now = datetime.fromtimestamp(at_ms / 1_000).astimezone(), datetime.now().astimezone()
    return at.strftime("%H:%M:%S" if at.date() == now.date() else "%Y-%m-%d %H:%M:%S")


def when_text(at_ms: int | None, now_ms: int) -> str | None:
    """The age, and the instant in ISO 8601: `4 min 10 s ago (2026-11-23T10:00:00.000Z)`."""
    if at_ms is None:
        return None
    return f"{age_text(at_ms, now_ms)} ({iso_or_none(at_ms)})"

"""What was, is and will be, drawn down a line: how long ago, a sign, and what it was."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from typing import Final

from rich.text import Text

from actors.interfaces.render import age_text, duration_text, has_drawing_letters

__all__ = ["Moment", "timeline_lines"]

Moment = tuple[int, str]
"""When, epoch milliseconds, and what."""

_INDENT: Final = "  "
_LONG_MS: Final = 60_000
"""From here on the time between two moments is told."""

_SIGNS: Final[tuple[tuple[str, str, str, str], ...]] = (
    # What a line says, its sign, the same in ASCII, its colour; the first that fits.
    ("now:", "◉", "@", "bold"),
    ("decided to materialize", "▶", ">", "blue"),
    ("decided to", "○", "o", "none"),
    ("was made", "●", "*", "green"),
    ("was produced", "◆", "+", "yellow"),
    ("failed", "✗", "x", "red"),
    ("expire", "◇", "!", "yellow"),
)
_OTHER: Final = ("◌", ".", "none")


def timeline_lines(moments: Sequence[Moment], now_ms: int) -> list[Text]:
    """The moments in their order. Times of day are in UTC, with the date where it is not today's."""
    ages = [age_text(at_ms, now_ms) for at_ms, _ in moments]
    width = max(map(len, ages), default=0)
    lines: list[Text] = []
    before: int | None = None
    for (at_ms, what), age in zip(moments, ages, strict=True):
        lines += _gap(before, at_ms, width)
        sign, colour = _sign(what)
        is_to_come = at_ms > now_ms
        text = what.removeprefix("now: ") if what.startswith("now: ") else what
        lines.append(
            Text.assemble(
                f"{_INDENT}{age:>{width}} ",
                (sign, colour),
                f" {text}",
                (f"  {_clock(at_ms, now_ms)}", "dim"),
                style="italic" if is_to_come else "",
            )
        )
        before = at_ms
    return lines


def _gap(before: int | None, at_ms: int, width: int) -> Iterator[Text]:
    if before is not None and at_ms - before >= _LONG_MS:
        line = "│" if has_drawing_letters() else "|"
        yield Text(f"{_INDENT}{'':>{width}} {line} {duration_text(at_ms - before)}", style="dim")


def _sign(what: str) -> tuple[str, str]:
    is_drawn = has_drawing_letters()
    for words, sign, plain, colour in _SIGNS:
        if words in what:
            return sign if is_drawn else plain, colour
    sign, plain, colour = _OTHER
    return sign if is_drawn else plain, colour


def _clock(at_ms: int, now_ms: int) -> str:
    at, now = (datetime.fromtimestamp(ms / 1_000, UTC) for ms in (at_ms, now_ms))
    return at.strftime("%H:%M:%SZ" if at.date() == now.date() else "%Y-%m-%dT%H:%M:%SZ")

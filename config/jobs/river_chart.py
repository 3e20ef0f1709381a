"""The picture of the river: rain hanging from the top, one line of levels for each gauge, marks at alerts.

SVG by hand: a line chart needs no library, and a file of a few kilobytes shows in every browser and viewer.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from html import escape
from itertools import pairwise

__all__ = ["Alert", "Line", "draw"]

_WIDTH, _HEIGHT = 920, 480
_LEFT, _RIGHT, _TOP, _BOTTOM = 64, 892, 112, 424
_RAIN_HEIGHT = 54
_STROKES = (
    "#0072b2",
    "#009e73",
    "#cc79a7",
)  # of Okabe and Ito's palette: told apart by colour-blind eyes too
_SEVERITY_FILLS = {"watch": "#f0a202", "flood": "#d1242f"}
_INK, _FAINT, _GRID, _RAIN = "#1f2933", "#66727f", "#e4e8ec", "#a9cbe8"
_GAP = timedelta(seconds=60)
_SHORTEST_SPAN = timedelta(minutes=2)
_TIME_STEPS_SECONDS = (15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200)


@dataclass(frozen=True, slots=True)
class Line:
    """One gauge: `points` are `(instant, level_cm)` in order of time."""

    name: str
    points: Sequence[tuple[datetime, float]]


@dataclass(frozen=True, slots=True)
class Alert:
    """A mark at the crest of a spell of high water; `severity` is `watch` or `flood`."""

    station: str
    severity: str
    at: datetime
    level_cm: float


@dataclass(frozen=True, slots=True)
class _Frame:
    """Where instants and levels lie on the page."""

    first: datetime
    last: datetime
    low: float
    high: float

    def x(self, at: datetime) -> float:
        return _LEFT + (at - self.first) / (self.last - self.first) * (_RIGHT - _LEFT)

    def y(self, level: float) -> float:
        return _BOTTOM - (level - self.low) / (self.high - self.low) * (_BOTTOM - _TOP)


def draw(lines: Sequence[Line], rain: Sequence[tuple[datetime, float]], alerts: Sequence[Alert]) -> str:
    """An SVG document; no point at all gives an empty frame.

    `rain` is `(instant, mm)` in the lines' own steps.
    """
    frame = _frame_of(lines)
    title = "River levels at the gauges"
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {_HEIGHT}" width="{_WIDTH}" '
        f'height="{_HEIGHT}" role="img" font-family="Helvetica, Arial, sans-serif" font-size="12">',
        f"<title>{title}</title>",
        f'<rect width="{_WIDTH}" height="{_HEIGHT}" fill="#ffffff"/>',
        _text(_LEFT, 32, title, size=18, weight="bold"),
        _text(_LEFT, 52, _span_of(frame), fill=_FAINT),
        *_legend(lines, alerts),
        *_level_axis(frame),
        *_time_axis(frame),
        *_rain_bars(frame, rain),
        *(part for n, line in enumerate(lines) for part in _curve(frame, line, _stroke(n))),
        *(_mark(frame, alert) for alert in alerts if frame.first <= alert.at),
        "</svg>",
    ]
    return "\n".join(parts) + "\n"


def _frame_of(lines: Sequence[Line]) -> _Frame:
    instants = [at for line in lines for at, _ in line.points] or [datetime(2000, 1, 1, tzinfo=UTC)]
    levels = [level for line in lines for _, level in line.points] or [0.0, 100.0]
    step = _round_step(max(levels) - min(levels), 5)
    last = max(instants)
    return _Frame(
        first=min(*instants, last - _SHORTEST_SPAN),
        last=last,
        low=math.floor(min(levels) / step) * step,
        # Room above the highest crest, so that no mark touches the rain.
        high=math.ceil(max(levels) / step + 1.2) * step,
    )


def _round_step(span: float, count: int) -> float:
    """A step of 1, 2 or 5 times a power of ten that cuts a span into about `count` parts."""
    rough = max(span, 1.0) / count
    unit = 10.0 ** math.floor(math.log10(rough))
    return float(next(unit * n for n in (1, 2, 5, 10) if unit * n >= rough))


def _level_axis(frame: _Frame) -> Iterator[str]:
    step = _round_step(frame.high - frame.low, 6)
    level = math.ceil(frame.low / step) * step
    while level <= frame.high + step / 100:
        y = frame.y(level)
        yield f'<line x1="{_LEFT}" y1="{y:.1f}" x2="{_RIGHT}" y2="{y:.1f}" stroke="{_GRID}"/>'
        yield _text(_LEFT - 9, y + 4, f"{level:g}", anchor="end", fill=_FAINT)
        level += step
    yield f'<line x1="{_LEFT}" y1="{_TOP}" x2="{_LEFT}" y2="{_BOTTOM}" stroke="{_INK}"/>'
    middle = (_TOP + _BOTTOM) / 2
    yield (
        f'<text transform="translate(20 {middle:.0f}) rotate(-90)" text-anchor="middle" '
        f'fill="{_INK}">Water level (cm)</text>'
    )


def _time_axis(frame: _Frame) -> Iterator[str]:
    span = (frame.last - frame.first).total_seconds()
    step = next((s for s in _TIME_STEPS_SECONDS if span / s <= 8), _TIME_STEPS_SECONDS[-1])
    form = "%H:%M:%S" if step < 60 else "%H:%M"
    tick = datetime.fromtimestamp(math.ceil(frame.first.timestamp() / step) * step, UTC)
    while tick <= frame.last:
        x = frame.x(tick)
        yield f'<line x1="{x:.1f}" y1="{_BOTTOM}" x2="{x:.1f}" y2="{_BOTTOM + 5}" stroke="{_INK}"/>'
        yield _text(x, _BOTTOM + 20, tick.strftime(form), anchor="middle", fill=_FAINT)
        tick += timedelta(seconds=step)
    yield f'<line x1="{_LEFT}" y1="{_BOTTOM}" x2="{_RIGHT}" y2="{_BOTTOM}" stroke="{_INK}"/>'
    yield _text((_LEFT + _RIGHT) / 2, _BOTTOM + 42, "Time (UTC)", anchor="middle")


def _rain_bars(frame: _Frame, rain: Sequence[tuple[datetime, float]]) -> Iterator[str]:
    shown = [(at, mm) for at, mm in rain if mm > 0 and frame.first <= at <= frame.last]
    # A scale that never shrinks below 2 mm keeps a drizzle from looking like a cloudburst.
    most = max([2.0, *(mm for _, mm in shown)])
    step = min((b - a for (a, _), (b, _) in pairwise(rain)), default=timedelta(seconds=15))
    width = max(1.0, step / (frame.last - frame.first) * (_RIGHT - _LEFT) * 0.8)
    for at, mm in shown:
        height = mm / most * _RAIN_HEIGHT
        left, right = max(frame.x(at) - width / 2, _LEFT), min(frame.x(at) + width / 2, _RIGHT)
        yield (
            f'<rect class="rain" x="{left:.1f}" y="{_TOP}" width="{right - left:.1f}" height="{height:.1f}" '
            f'fill="{_RAIN}"/>'
        )


def _curve(frame: _Frame, line: Line, stroke: str) -> Iterator[str]:
    """The line, broken where readings are missing, with a dot at the latest."""
    if not line.points:
        return
    path = ""
    before: datetime | None = None
    for at, level in line.points:
        command = "M" if before is None or at - before > _GAP else "L"
        path += f"{command}{frame.x(at):.1f} {frame.y(level):.1f}"
        before = at
    yield (
        f'<path class="level" d="{path}" fill="none" stroke="{stroke}" stroke-width="2" '
        f'stroke-linejoin="round" stroke-linecap="round"><title>{escape(line.name)}</title></path>'
    )
    at, level = line.points[-1]
    yield f'<circle cx="{frame.x(at):.1f}" cy="{frame.y(level):.1f}" r="3.5" fill="{stroke}"/>'


def _mark(frame: _Frame, alert: Alert) -> str:
    # A line's last point is the mean of some seconds, and a crest may lie within them.
    x, y = frame.x(min(alert.at, frame.last)), frame.y(alert.level_cm) - 5
    said = f"{alert.severity}: {alert.station}, {alert.level_cm:.1f} cm at {alert.at:%H:%M:%S}"
    label_x = min(max(x, _LEFT + 12), _RIGHT - 12)
    return (
        f'<g class="alert"><title>{escape(said)}</title>'
        f'<path d="M{x:.1f} {y:.1f}l-6 -10h12z" fill="{_SEVERITY_FILLS[alert.severity]}" stroke="#ffffff"/>'
        # A white rim keeps the number readable where it lies on a line.
        f'<g stroke="#ffffff" stroke-width="3" paint-order="stroke" stroke-linejoin="round">'
        f"{_text(label_x, y - 14, f'{alert.level_cm:.0f}', anchor='middle', size=11)}</g></g>"
    )


def _legend(lines: Sequence[Line], alerts: Sequence[Alert]) -> Iterator[str]:
    x = float(_LEFT)
    for n, line in enumerate(lines):
        latest = f"{line.name} {line.points[-1][1]:.0f} cm" if line.points else f"{line.name} (no readings)"
        yield f'<path d="M{x:.1f} 80h20" stroke="{_stroke(n)}" stroke-width="3" stroke-linecap="round"/>'
        yield _text(x + 28, 84, latest)
        x += 52 + 6.4 * len(latest)
    yield f'<rect x="{x:.1f}" y="74" width="12" height="12" fill="{_RAIN}"/>'
    yield _text(x + 19, 84, "Rain")
    x += 66
    for severity in ("watch", "flood"):
        if any(alert.severity == severity for alert in alerts):
            yield f'<path d="M{x:.1f} 75h12l-6 10z" fill="{_SEVERITY_FILLS[severity]}"/>'
            yield _text(x + 19, 84, severity.capitalize())
            x += 76


def _span_of(frame: _Frame) -> str:
    return f"{frame.first:%Y-%m-%d %H:%M:%S} to {frame.last:%H:%M:%S} UTC; rain hangs from the top"


def _stroke(n: int) -> str:
    return _STROKES[n % len(_STROKES)]


def _text(
    x: float,
    y: float,
    said: str,
    *,
    anchor: str = "start",
    size: int = 12,
    weight: str = "normal",
    fill: str = _INK,
) -> str:
    return (
        f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" font-size="{size}" font-weight="{weight}" '
        f'fill="{fill}">{escape(said)}</text>'
    )

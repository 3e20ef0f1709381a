"""The jobs of the river report: draw the chart, then put chart and summary together.

Between the two stands `summarise.py`, which is a command and not a function: any program can be a job.
"""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TypedDict

from river_chart import Alert, Line, draw
from river_files import JobContext, asset, digest, iso, number, output_folder, text, to_json, write_atomically
from river_model import STATIONS

__all__ = ["publish", "render"]

_RECENT_MINUTES = 10
_HOURS_SHOWN = 3
_NAMES = {station.id: station.name for station in STATIONS}


class _Alert(TypedDict):
    station: str
    severity: str
    crestAt: str
    crestCm: float


class _AlertHour(TypedDict):
    alerts: list[_Alert]


class _Hour(TypedDict):
    trace: dict[str, list[tuple[str, float, float]]]


_Trace = dict[str, list[tuple[datetime, float, float]]]  # station: (instant, level_cm, rain_mm)


def render(job: JobContext) -> dict[str, object]:
    """Draw the last `chartMinutes` (60 unless told otherwise) as `report.svg`; the result has its `path`."""
    trace = _latest(_traces(output_folder(job, "hourly")), timedelta(minutes=number(job, "chartMinutes", 60)))
    picture = draw(
        [Line(_NAMES[s], [(at, level) for at, level, _ in points]) for s, points in trace.items()],
        _mean_rain(trace),
        [
            Alert(_NAMES[a["station"]], a["severity"], _instant(a["crestAt"]), a["crestCm"])
            for a in _alerts(output_folder(job, "alerts"))
        ],
    )
    path = output_folder(job, "report") / "report.svg"
    write_atomically(path, picture)
    return {"path": str(path), "points": sum(len(points) for points in trace.values())}


def publish(job: JobContext) -> dict[str, object]:
    """Write `report.md` around the steps' results, and `report.json` for programs; makes `river.report`.

    Parameters: `picture` is the chart's path, `headline` and `summary` (Markdown) come from the summary step.
    """
    headline, summary, picture = text(job, "headline"), text(job, "summary"), Path(text(job, "picture"))
    recent = _latest(_traces(output_folder(job, "hourly")), timedelta(minutes=_RECENT_MINUTES))
    up_to = max((points[-1][0] for points in recent.values()), default=None)
    said = f"Readings up to {iso(up_to)}." if up_to else "There are no readings yet."
    report = f"# River report\n\n**{headline}** {said}\n\n![River levels]({picture.name})\n\n{summary.strip()}\n"
    numbers = to_json(
        {
            "headline": headline,
            "readingsUpTo": iso(up_to) if up_to else None,
            "recentLevelsCm": {s: [[iso(at), level] for at, level, _ in points] for s, points in recent.items()},
        }
    )
    folder = output_folder(job, "report")
    write_atomically(folder / "report.md", report)
    write_atomically(folder / "report.json", numbers)
    payload = {"path": str(folder / "report.md"), "picture": str(picture), "headline": headline}
    return asset("river.report", job, payload, digest(report + numbers))


def _traces(folder: Path) -> _Trace:
    """The traces of the last hours, joined."""
    joined: _Trace = {}
    for path in _last_hours(folder):
        hour: _Hour = json.loads(path.read_text())
        for station, points in hour["trace"].items():
            joined.setdefault(station, []).extend((_instant(at), level, rain) for at, level, rain in points)
    return joined


def _latest(trace: _Trace, span: timedelta) -> _Trace:
    last = max((points[-1][0] for points in trace.values()), default=datetime.min.replace(tzinfo=UTC))
    return {s: [point for point in points if last - point[0] <= span] for s, points in trace.items()}


def _mean_rain(trace: _Trace) -> list[tuple[datetime, float]]:
    fallen: dict[datetime, float] = {}
    for points in trace.values():
        for at, _, rain in points:
            fallen[at] = fallen.get(at, 0.0) + rain / len(STATIONS)
    return sorted(fallen.items())


def _alerts(folder: Path) -> list[_Alert]:
    found: list[_Alert] = []
    for path in _last_hours(folder):
        hour: _AlertHour = json.loads(path.read_text())
        found += hour["alerts"]
    return found


def _last_hours(folder: Path) -> list[Path]:
    """The newest files, oldest first: they are named by their hour, so they sort by it."""
    return sorted(folder.glob("*.json"))[-_HOURS_SHOWN:]


def _instant(said: str) -> datetime:
    return datetime.fromisoformat(said).astimezone(UTC)

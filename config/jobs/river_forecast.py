"""The forecast of the river: a model that is often out of order, to show how failures are handled."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

from river_files import JobContext, asset, digest, iso, output_folder, to_json, write_atomically

__all__ = ["ForecastError", "forecast"]

_FAILING, _OF = 2, 6
_HORIZON_MINUTES = 10
# The trend of a wave dies away: half of what is left of it is lost in so many minutes.
_HALF_LIFE_MINUTES = 4.0


class ForecastError(RuntimeError):
    """The model did not answer; the next attempt may."""


def forecast(job: JobContext) -> dict[str, object]:
    """Carry each gauge's recent trend ten minutes forward; makes `river.forecast`.

    Raises:
        ForecastError: on the first 2 of every 6 attempts, on purpose. The attempts are counted in a file, so
            that they fail in the same order every time.
        FileNotFoundError: there is no report yet.
    """
    folder = output_folder(job, "forecast")
    attempt = _count_attempt(folder / "attempts.txt")
    if (attempt - 1) % _OF < _FAILING:
        raise ForecastError(
            f"the forecast model is out of order (attempt {attempt}): by design the first {_FAILING} of "
            f"every {_OF} attempts fail; nothing is to be done, backoff tries again"
        )
    report = json.loads((output_folder(job, "report") / "report.json").read_text())
    stations: dict[str, object] = {}
    for station, points in report["recentLevelsCm"].items():
        levels = [(datetime.fromisoformat(at).astimezone(UTC), float(level)) for at, level in points]
        if levels:
            stations[station] = _extrapolated(levels)
    content = to_json({"madeFromReadingsUpTo": report["readingsUpTo"], "stations": stations})
    path = folder / "forecast.json"
    write_atomically(path, content)
    return asset("river.forecast", job, {"path": str(path), "attempt": attempt}, digest(content))


def _count_attempt(path: Path) -> int:
    """How many attempts there were, this one among them; a file that was cut short counts as none."""
    try:
        before = int(path.read_text())
    except (FileNotFoundError, ValueError):
        before = 0
    write_atomically(path, f"{before + 1}\n")
    return before + 1


def _extrapolated(levels: list[tuple[datetime, float]]) -> list[dict[str, object]]:
    last, level = levels[-1]
    trend = _trend_per_minute([point for point in levels if last - point[0] <= timedelta(minutes=2)])
    made: list[dict[str, object]] = []
    for minute in range(1, _HORIZON_MINUTES + 1):
        level += trend * 0.5 ** (minute / _HALF_LIFE_MINUTES)
        made.append({"at": iso(last + timedelta(minutes=minute)), "levelCm": round(level, 1)})
    return made


def _trend_per_minute(levels: list[tuple[datetime, float]]) -> float:
    """The slope of the line of least squares, in cm per minute; 0 when there is one instant only."""
    start = levels[0][0]
    xs = [(at - start).total_seconds() / 60 for at, _ in levels]
    mean_x, mean_y = sum(xs) / len(xs), sum(level for _, level in levels) / len(levels)
    spread = sum((x - mean_x) ** 2 for x in xs)
    if not spread:
        return 0.0
    return sum((x - mean_x) * (level - mean_y) for x, (_, level) in zip(xs, levels, strict=True)) / spread

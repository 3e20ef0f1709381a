"""The jobs of the gauge workflows: take samples, clean them, sum them up by the hour, and raise alerts."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from statistics import fmean, median

from river_files import (
    JobContext,
    ParameterError,
    asset,
    digest,
    file_name,
    instant,
    iso,
    keep_newest,
    number,
    output_folder,
    read_rows,
    table,
    to_json,
    window,
    write_atomically,
)
from river_model import SAMPLE_SECONDS, STATIONS, TIP_MM, readings_at

__all__ = ["alerts", "clean", "hourly", "sample"]

RAW_COLUMNS = ("station", "observed_at", "level_mm", "flow_lps", "rain_tips")
CLEAN_COLUMNS = ("station", "observed_at", "level_cm", "flow_m3s", "rain_mm")
_HIGHEST_LEVEL_CM = 500.0
# No wave of this river rises so far within the half minute between a reading and the median of its minute.
_FURTHEST_FROM_MEDIAN_CM = 60.0
# More than the instruments' noise, so that a level near the threshold does not raise one alarm after another.
_CLEARLY_BELOW_CM = 2.0
_TRACE_SECONDS = 15
_MINUTE = timedelta(minutes=1)


def sample(job: JobContext) -> dict[str, object]:
    """Add what the gauges measured since the last sample to the minute's file; makes `gauges.raw`.

    A late run catches up on the instants that were missed, and the same instant is never added twice. The
    parameter `asOf` (an ISO instant) stands for now, to replay a minute.
    """
    key, start, end = window(job)
    now = instant(job, "asOf") if "asOf" in job.parameters else datetime.now(UTC)
    folder = output_folder(job, "raw")
    path = folder / file_name(key, ".csv")
    rows = [[row[column] for column in RAW_COLUMNS] for row in read_rows(path)]
    seen = {row[1] for row in rows}
    before = len(rows)
    for at in _instants(start, min(now, end - timedelta(seconds=1))):
        if iso(at) not in seen:
            rows += [[r.station, iso(at), str(r.level_mm), str(r.flow_lps), str(r.rain_tips)] for r in readings_at(at)]
    write_atomically(path, table(RAW_COLUMNS, rows))
    keep_newest(folder, "*.csv", int(number(job, "keepMinutes", 2880)))
    return asset("gauges.raw", job, {"path": str(path), "readings": len(rows), "added": len(rows) - before})


def clean(job: JobContext) -> dict[str, object]:
    """Drop repeated readings and outliers and convert the units; makes `gauges.clean`.

    The data version is a fingerprint of the content: a sample that added nothing goes no further than here.
    """
    key, _, _ = window(job)
    raw = read_rows(output_folder(job, "raw") / file_name(key, ".csv"))
    first = {(row["observed_at"], row["station"]): row for row in reversed(raw)}
    kept = _without_outliers(first)
    rows = [
        (
            row["station"],
            row["observed_at"],
            f"{int(row['level_mm']) / 10:.1f}",
            f"{int(row['flow_lps']) / 1000:.3f}",
            f"{int(row['rain_tips']) * TIP_MM:.1f}",
        )
        for _, row in sorted(kept.items())
    ]
    content = table(CLEAN_COLUMNS, rows)
    folder = output_folder(job, "clean")
    path = folder / file_name(key, ".csv")
    write_atomically(path, content)
    keep_newest(folder, "*.csv", int(number(job, "keepMinutes", 2880)))
    repeats, outliers = len(raw) - len(first), len(first) - len(kept)
    if outliers:
        job.logger.info(f"dropped {outliers} outliers of {len(first)} readings in {key}")
    payload = {"path": str(path), "readings": len(rows), "repeats": repeats, "outliers": outliers}
    return asset("gauges.clean", job, payload, digest(content))


def hourly(job: JobContext) -> dict[str, object]:
    """Sum up the clean readings of an hour by station, with a trace to draw; makes `gauges.hourly`."""
    key, start, end = window(job)
    by_station = _clean_readings(output_folder(job, "clean"), start, end)
    summary = {
        "hour": iso(start),
        "stations": {
            station: {
                "readings": len(rows),
                "levelCm": {
                    "min": min(level for _, level, _, _ in rows),
                    "mean": round(fmean(level for _, level, _, _ in rows), 2),
                    "max": max(level for _, level, _, _ in rows),
                },
                "flowM3s": {"mean": round(fmean(flow for _, _, flow, _ in rows), 3)},
                "rainMm": round(sum(rain for _, _, _, rain in rows), 1),
            }
            for station, rows in by_station.items()
        },
        "trace": {station: _trace(rows) for station, rows in by_station.items()},
    }
    content = to_json(summary)
    path = output_folder(job, "hourly") / file_name(key, ".json")
    write_atomically(path, content)
    readings = sum(len(rows) for rows in by_station.values())
    return asset("gauges.hourly", job, {"path": str(path), "readings": readings}, digest(content))


def alerts(job: JobContext) -> dict[str, object]:
    """Find the spells above a station's thresholds in an hour; makes `gauges.alerts`.

    A spell begins when a reading reaches `watchCm` and ends when one is clearly below it; it is a flood when
    two readings reach `floodCm`. A spell of one reading raises no alarm.
    """
    key, start, end = window(job)
    found: list[dict[str, object]] = []
    for station, rows in _clean_readings(output_folder(job, "clean"), start, end).items():
        watch_cm, flood_cm = _thresholds(job, station)
        spell: list[_Reading] = []
        for reading in [*rows, None]:
            if reading is not None and reading[1] >= (watch_cm - _CLEARLY_BELOW_CM if spell else watch_cm):
                spell.append(reading)
                continue
            if len(spell) >= 2:
                found.append(_alert(station, spell, flood_cm))
            spell = []
    found.sort(key=lambda alert: (str(alert["since"]), str(alert["station"])))
    content = to_json({"hour": iso(start), "alerts": found})
    path = output_folder(job, "alerts") / file_name(key, ".json")
    write_atomically(path, content)
    floods = sum(alert["severity"] == "flood" for alert in found)
    return asset("gauges.alerts", job, {"path": str(path), "alerts": len(found), "floods": floods}, digest(content))


_Reading = tuple[str, float, float, float]  # observed_at, level_cm, flow_m3s, rain_mm


def _instants(start: datetime, last: datetime) -> Iterable[datetime]:
    at = start
    while at <= last:
        yield at
        at += timedelta(seconds=SAMPLE_SECONDS)


def _without_outliers(
    readings: Mapping[tuple[str, str], dict[str, str]],
) -> dict[tuple[str, str], dict[str, str]]:
    possible = {k: row for k, row in readings.items() if 0 < int(row["level_mm"]) < _HIGHEST_LEVEL_CM * 10}
    levels: dict[str, list[int]] = {}
    for row in possible.values():
        levels.setdefault(row["station"], []).append(int(row["level_mm"]))
    usual = {station: median(values) for station, values in levels.items()}
    return {
        k: row
        for k, row in possible.items()
        if abs(int(row["level_mm"]) - usual[row["station"]]) <= _FURTHEST_FROM_MEDIAN_CM * 10
    }


def _clean_readings(folder: Path, start: datetime, end: datetime) -> dict[str, list[_Reading]]:
    """The clean readings of a span of time by station, in order of time; no station is there without any."""
    found: dict[str, list[_Reading]] = {}
    minute = start
    while minute < end:
        for row in read_rows(folder / file_name(minute.strftime("%Y-%m-%dT%H:%M"), ".csv")):
            reading = (
                row["observed_at"],
                float(row["level_cm"]),
                float(row["flow_m3s"]),
                float(row["rain_mm"]),
            )
            found.setdefault(row["station"], []).append(reading)
        minute += _MINUTE
    return {station.id: found[station.id] for station in STATIONS if station.id in found}


def _trace(rows: list[_Reading]) -> list[list[object]]:
    """`[instant, mean level in cm, rain in mm]` of each quarter of a minute."""
    buckets: dict[str, list[_Reading]] = {}
    for row in rows:
        second = int(row[0][17:19]) // _TRACE_SECONDS * _TRACE_SECONDS
        buckets.setdefault(f"{row[0][:17]}{second:02d}Z", []).append(row)
    return [
        [at, round(fmean(row[1] for row in bucket), 2), round(sum(row[3] for row in bucket), 1)]
        for at, bucket in buckets.items()
    ]


def _alert(station: str, spell: list[_Reading], flood_cm: float) -> dict[str, object]:
    crest = max(spell, key=lambda reading: reading[1])
    return {
        "station": station,
        "severity": "flood" if sum(level >= flood_cm for _, level, _, _ in spell) >= 2 else "watch",
        "since": spell[0][0],
        "until": spell[-1][0],
        "crestAt": crest[0],
        "crestCm": crest[1],
    }


def _thresholds(job: JobContext, station: str) -> tuple[float, float]:
    table_of = job.parameters.get("thresholds")
    pair = table_of.get(station) if isinstance(table_of, dict) else None
    watch = pair.get("watchCm") if isinstance(pair, dict) else None
    flood = pair.get("floodCm") if isinstance(pair, dict) else None
    if not isinstance(watch, int | float) or not isinstance(flood, int | float) or watch > flood:
        raise ParameterError(
            f"parameter 'thresholds' must hold {{{station!r}: {{'watchCm': number, 'floodCm': number}}}} "
            f"with watchCm <= floodCm, got {pair!r}"
        )
    return watch, flood

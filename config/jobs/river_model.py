"""A little river: three gauges down one catchment, as their instruments would report them.

Every reading is a pure function of station and instant, noise and faults too, so a window sampled twice or
late comes out the same. A storm falls on the catchment in most quarter hours; each gauge answers with a
gamma-shaped flood wave (the unit hydrograph of a cascade of reservoirs, Nash 1957), later and flatter the
further downstream. The river runs many times faster than a real one, so that there is something to see.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import lru_cache
from random import Random

__all__ = ["SAMPLE_SECONDS", "STATIONS", "TIP_MM", "RawReading", "Station", "readings_at"]

SAMPLE_SECONDS = 5
TIP_MM = 0.2  # what fills one bucket of a tipping-bucket rain gauge
_SLOT_SECONDS = 900
_SLOTS_BACK = 8
_DROPOUT_MM = -9999
_SPIKE_MM = 1500


@dataclass(frozen=True, slots=True)
class Station:
    """One gauge. `rise_cm` is the crest of a storm of strength 1, `crest_seconds` after its beginning."""

    id: str
    name: str
    base_cm: float
    rise_cm: float
    crest_seconds: float
    rain_factor: float
    width_m: float


@dataclass(frozen=True, slots=True)
class RawReading:
    """What an instrument sends, in its own units; a `level_mm` of -9999 means that the sensor dropped out."""

    station: str
    observed_at: datetime
    level_mm: int
    flow_lps: int
    rain_tips: int


@dataclass(frozen=True, slots=True)
class _Storm:
    begins: float
    seconds: float
    strength: float


STATIONS = (
    Station("springhead", "Spring Head", 42.0, 34.0, 200.0, 1.25, 6.0),
    Station("millbridge", "Mill Bridge", 78.0, 30.0, 380.0, 1.0, 11.0),
    Station("oldharbour", "Old Harbour", 118.0, 26.0, 620.0, 0.7, 19.0),
)


def readings_at(instant: datetime) -> list[RawReading]:
    """What arrives from all stations for one instant (UTC); telemetry now and then sends a reading twice."""
    arrived: list[RawReading] = []
    for station in STATIONS:
        noise = Random(f"{station.id}/{int(instant.timestamp())}")
        reading = _measure(station, instant, noise)
        arrived += [reading, reading] if noise.random() < 0.05 else [reading]
    return arrived


def _measure(station: Station, instant: datetime, noise: Random) -> RawReading:
    at = instant.timestamp()
    level_cm = _level_cm(station, at) + noise.gauss(0.0, 0.35)
    level_mm = round(level_cm * 10)
    if noise.random() < 0.03:
        level_mm = _DROPOUT_MM if noise.random() < 0.5 else level_mm + _SPIKE_MM
    rain_mm = station.rain_factor * sum(_rain_mm(storm, at) for storm in _storms_before(at))
    return RawReading(
        station=station.id,
        observed_at=instant.astimezone(UTC),
        level_mm=level_mm,
        flow_lps=round(_flow_m3s(station, level_cm) * (1 + noise.gauss(0.0, 0.01)) * 1000),
        rain_tips=int(rain_mm / TIP_MM + noise.random()),
    )


def _level_cm(station: Station, at: float) -> float:
    wave = 0.0
    for storm in _storms_before(at):
        x = (at - storm.begins) / station.crest_seconds
        if x > 0:
            wave += storm.strength * x * x * math.exp(2 * (1 - x))
    return station.base_cm + station.rise_cm * wave


def _flow_m3s(station: Station, level_cm: float) -> float:
    """Manning's rule for a wide channel: flow grows with depth to the power of 5/3."""
    return 0.9 * station.width_m * float((level_cm / 100) ** (5 / 3))


def _rain_mm(storm: _Storm, at: float) -> float:
    """Rain that fell in the sampling interval that ends at `at`."""
    x = (at - storm.begins) / storm.seconds
    return 0.5 * storm.strength * math.sin(math.pi * x) ** 2 if 0 < x < 1 else 0.0


def _storms_before(at: float) -> list[_Storm]:
    slot = int(at // _SLOT_SECONDS)
    return [storm for n in range(slot - _SLOTS_BACK, slot + 1) if (storm := _storm(n)) is not None]


@lru_cache(maxsize=64)
def _storm(slot: int) -> _Storm | None:
    chance = Random(f"storm/{slot}")
    if chance.random() < 0.2:
        return None
    return _Storm(
        begins=slot * _SLOT_SECONDS + chance.uniform(0.0, 400.0),
        seconds=chance.uniform(150.0, 400.0),
        strength=min(2.0, chance.lognormvariate(-0.15, 0.5)),
    )

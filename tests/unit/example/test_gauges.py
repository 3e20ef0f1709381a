"""Sampling and cleaning, the hourly summary and the alerts, run for real on files."""

from __future__ import annotations

import csv
import logging
from collections import defaultdict
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from pathlib import Path
from statistics import fmean

import pytest
from river_files import ParameterError
from river_gauges import CLEAN_COLUMNS, RAW_COLUMNS, alerts, clean, hourly, sample
from river_model import readings_at

from tests.unit.example.river import HOUR, MINUTE, THRESHOLDS, Context, River, stamp

START = datetime(2026, 11, 24, 21, 0, tzinfo=UTC)
# Sixty minutes hold some of every fault that the instruments have.
MINUTES = [START + n * MINUTE for n in range(60)]


@pytest.fixture
def river(tmp_path: Path) -> River:
    return River(tmp_path / "data" / "example")


def raw_file(river: River, rows: list[tuple[str, int, int, int, int]], start: datetime = START) -> None:
    """Write a minute's raw file by hand: station, second of the minute, mm, l/s, tips."""
    path = river.root / "raw" / f"{start:%Y-%m-%dT%H-%M}.csv"
    path.parent.mkdir(parents=True, exist_ok=True)
    lines = [f"{s},{stamp(start + timedelta(seconds=at))},{mm},{lps},{tips}" for s, at, mm, lps, tips in rows]
    path.write_text("\n".join([",".join(RAW_COLUMNS), *lines, ""]))


def clean_file(river: River, levels: list[float], station: str = "springhead", start: datetime = START) -> None:
    """Write a minute's clean file by hand: one station's levels, five seconds apart."""
    path = river.root / "clean" / f"{start:%Y-%m-%dT%H-%M}.csv"
    path.parent.mkdir(parents=True, exist_ok=True)
    lines = [f"{station},{stamp(start + timedelta(seconds=5 * n))},{cm:.1f},1.000,0.2" for n, cm in enumerate(levels)]
    path.write_text("\n".join([",".join(CLEAN_COLUMNS), *lines, ""]))


def rows_of(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def test_a_minute_that_is_over_is_sampled_whole(river: River) -> None:
    made = river.window(sample, START)
    rows = rows_of(river.root / "raw" / "2026-11-24T21-00.csv")
    assert made["assetId"] == "gauges.raw"
    assert made["payload"]["readings"] == made["payload"]["added"] == len(rows)
    expected = {stamp(START + timedelta(seconds=s)) for s in range(0, 60, 5)}
    for station in ("springhead", "millbridge", "oldharbour"):
        assert {row["observed_at"] for row in rows if row["station"] == station} == expected


def test_sampling_up_to_the_same_instant_again_changes_no_byte(river: River) -> None:
    now = stamp(START + timedelta(seconds=23))
    first = river.window(sample, START, asOf=now)
    before = river.files()
    again = river.window(sample, START, asOf=now)
    assert first["payload"]["added"] > 0
    assert again["payload"]["added"] == 0
    assert river.files() == before


def test_samples_taken_bit_by_bit_are_the_samples_taken_at_once(river: River, tmp_path: Path) -> None:
    added = [
        river.window(sample, START, asOf=stamp(START + timedelta(seconds=s)))["payload"]["added"]
        for s in (0, 4, 8, 31, 90)
    ]
    once = River(tmp_path / "once")
    once.window(sample, START)
    assert added[0] >= 3  # the first instant of the minute belongs to it
    assert added[1] == 0  # nothing is due four seconds later
    assert river.files() == once.files()


def test_a_minute_that_has_not_begun_is_an_empty_file(river: River) -> None:
    made = river.window(sample, START, asOf=stamp(START - timedelta(seconds=1)))
    assert made["payload"]["readings"] == 0
    assert river.window(clean, START)["payload"]["readings"] == 0


def test_no_reading_depends_on_what_was_read_before() -> None:
    at = START + timedelta(minutes=7)
    alone = readings_at(at)
    for n in range(200):
        readings_at(at - timedelta(seconds=5 * n))
    assert readings_at(at) == alone
    assert readings_at(at + timedelta(seconds=5)) != alone


def test_old_minute_files_are_deleted_and_new_ones_kept(river: River) -> None:
    for start in MINUTES[:5]:
        river.window(sample, start, keepMinutes=3)
        river.window(clean, start, keepMinutes=3)
    kept = [f"2026-11-24T21-0{n}.csv" for n in (2, 3, 4)]
    assert sorted(path.name for path in (river.root / "raw").iterdir()) == kept
    assert sorted(path.name for path in (river.root / "clean").iterdir()) == kept


def test_cleaning_converts_units_and_sorts_by_time(river: River) -> None:
    raw_file(river, [("springhead", 5, 423, 1234, 2), ("millbridge", 0, 781, 6400, 0)])
    river.window(clean, START)
    assert rows_of(river.root / "clean" / "2026-11-24T21-00.csv") == [
        {
            "station": "millbridge",
            "observed_at": "2026-11-24T21:00:00Z",
            "level_cm": "78.1",
            "flow_m3s": "6.400",
            "rain_mm": "0.0",
        },
        {
            "station": "springhead",
            "observed_at": "2026-11-24T21:00:05Z",
            "level_cm": "42.3",
            "flow_m3s": "1.234",
            "rain_mm": "0.4",
        },
    ]


def test_cleaning_drops_dropouts_spikes_and_repeats_and_counts_them(
    river: River, caplog: pytest.LogCaptureFixture
) -> None:
    steady = [("springhead", s, 420 + s, 1000, 0) for s in range(0, 50, 5)]
    raw_file(
        river,
        [*steady, steady[3], ("springhead", 50, -9999, 1000, 0), ("springhead", 55, 1950, 1000, 0)],
    )
    with caplog.at_level(logging.INFO, logger="example"):
        made = river.window(clean, START)
    assert made["payload"]["readings"] == 10
    assert (made["payload"]["repeats"], made["payload"]["outliers"]) == (1, 2)
    assert "dropped 2 outliers of 12 readings in 2026-11-24T21:00" in caplog.messages


def test_of_two_readings_of_one_instant_the_first_counts(river: River) -> None:
    raw_file(river, [("springhead", 0, 421, 1000, 0), ("springhead", 0, 455, 1000, 0)])
    assert river.window(clean, START)["payload"]["repeats"] == 1
    assert rows_of(river.root / "clean" / "2026-11-24T21-00.csv")[0]["level_cm"] == "42.1"


def test_a_steep_wave_is_no_outlier(river: River) -> None:
    raw_file(river, [("springhead", s, 420 + 8 * s, 1000, 0) for s in range(0, 60, 5)])
    assert river.window(clean, START)["payload"]["outliers"] == 0


def test_the_data_version_follows_the_content_and_nothing_else(river: River) -> None:
    river.window(sample, START, asOf=stamp(START + timedelta(seconds=10)))
    first = river.window(clean, START)
    river.window(sample, START, asOf=stamp(START + timedelta(seconds=14)))
    unchanged = river.window(clean, START)
    river.window(sample, START, asOf=stamp(START + timedelta(seconds=15)))
    changed = river.window(clean, START)
    assert first["dataVersion"] == unchanged["dataVersion"] != changed["dataVersion"]


def test_the_instruments_faults_do_not_reach_the_clean_readings(river: River) -> None:
    totals: dict[str, int] = defaultdict(int)
    for start in MINUTES:
        river.window(sample, start)
        payload = river.window(clean, start)["payload"]
        totals["repeats"] += payload["repeats"]
        totals["outliers"] += payload["outliers"]
    rows = [row for path in sorted((river.root / "clean").iterdir()) for row in rows_of(path)]
    assert totals["repeats"] > 0
    assert totals["outliers"] > 0
    assert len({(row["station"], row["observed_at"]) for row in rows}) == len(rows)
    by_station: dict[str, list[float]] = defaultdict(list)
    for row in sorted(rows, key=lambda row: row["observed_at"]):
        by_station[row["station"]].append(float(row["level_cm"]))
    for levels in by_station.values():
        # A spike is a jump of 150 cm; water does not rise by 20 cm in a few seconds.
        assert max(abs(b - a) for a, b in pairwise(levels)) < 20


def test_the_hourly_figures_are_those_of_the_clean_files(river: River) -> None:
    for start in [MINUTES[0], MINUTES[17], MINUTES[59], START + HOUR, START - MINUTE]:
        river.window(sample, start)
        river.window(clean, start)
    made = river.window(hourly, START, HOUR)
    summary = river.document("hourly", "2026-11-24T21.json")
    rows = [
        row for minute in ("00", "17", "59") for row in rows_of(river.root / "clean" / f"2026-11-24T21-{minute}.csv")
    ]
    assert made["payload"]["readings"] == len(rows)
    assert set(summary["stations"]) == {"springhead", "millbridge", "oldharbour"}
    for station, figures in summary["stations"].items():
        own = [row for row in rows if row["station"] == station]
        levels = [float(row["level_cm"]) for row in own]
        assert figures["readings"] == len(own)
        assert figures["levelCm"]["min"] == min(levels)
        assert figures["levelCm"]["max"] == max(levels)
        assert figures["levelCm"]["mean"] == pytest.approx(sum(levels) / len(levels), abs=0.005)
        assert figures["flowM3s"]["mean"] == pytest.approx(fmean(float(r["flow_m3s"]) for r in own), abs=5e-4)
        assert figures["rainMm"] == pytest.approx(sum(float(r["rain_mm"]) for r in own), abs=0.05)


def test_the_trace_has_a_mean_for_each_quarter_minute(river: River) -> None:
    clean_file(river, [40.0, 41.0, 42.0, 50.0, 51.0, 52.0, 60.0])
    river.window(hourly, START, HOUR)
    assert river.document("hourly", "2026-11-24T21.json")["trace"] == {
        "springhead": [
            ["2026-11-24T21:00:00Z", 41.0, 0.6],
            ["2026-11-24T21:00:15Z", 51.0, 0.6],
            ["2026-11-24T21:00:30Z", 60.0, 0.2],
        ]
    }


def test_an_hour_without_readings_is_summed_up_as_empty(river: River) -> None:
    assert river.window(hourly, START, HOUR)["payload"]["readings"] == 0
    assert river.window(alerts, START, HOUR, thresholds=THRESHOLDS)["payload"]["alerts"] == 0


def test_a_spell_is_reported_with_its_ends_and_crest(river: River) -> None:
    clean_file(river, [60.0, 68.0, 75.5, 71.0, 60.0])
    made = river.window(alerts, START, HOUR, thresholds=THRESHOLDS)
    assert made["payload"]["alerts"] == 1
    assert river.document("alerts", "2026-11-24T21.json")["alerts"] == [
        {
            "station": "springhead",
            "severity": "watch",
            "since": "2026-11-24T21:00:05Z",
            "until": "2026-11-24T21:00:15Z",
            "crestAt": "2026-11-24T21:00:10Z",
            "crestCm": 75.5,
        }
    ]


@pytest.mark.parametrize(
    ("levels", "severities"),
    [
        pytest.param([60, 67.9, 67.9, 60], [], id="below the threshold"),
        pytest.param([60, 80, 60, 80, 60], [], id="single readings"),
        pytest.param([70, 70, 60, 70, 70], ["watch", "watch"], id="two spells"),
        pytest.param([70, 67, 70, 67, 70], ["watch"], id="noise about the threshold is one spell"),
        pytest.param([67, 67, 67], [], id="a spell does not begin just below"),
        pytest.param([70, 90, 70], ["watch"], id="one reading makes no flood"),
        pytest.param([70, 90, 91, 70], ["flood"], id="two readings make a flood"),
        pytest.param([60, 70, 70], ["watch"], id="a spell that lasts"),
    ],
)
def test_severities(river: River, levels: list[float], severities: list[str]) -> None:
    clean_file(river, levels)
    river.window(alerts, START, HOUR, thresholds=THRESHOLDS)
    found = river.document("alerts", "2026-11-24T21.json")["alerts"]
    assert [alert["severity"] for alert in found] == severities


def test_a_spell_goes_on_over_the_minute(river: River) -> None:
    clean_file(river, [60.0] * 11 + [70.0])
    clean_file(river, [70.0, 60.0], start=START + MINUTE)
    river.window(alerts, START, HOUR, thresholds=THRESHOLDS)
    (alert,) = river.document("alerts", "2026-11-24T21.json")["alerts"]
    assert (alert["since"], alert["until"]) == ("2026-11-24T21:00:55Z", "2026-11-24T21:01:00Z")


@pytest.mark.parametrize("thresholds", [None, {}, {"springhead": {"watchCm": 90, "floodCm": 68}}])
def test_bad_thresholds_are_refused_by_name(river: River, thresholds: object) -> None:
    clean_file(river, [60.0])
    with pytest.raises(ParameterError, match=r"'thresholds' must hold \{'springhead'"):
        river.window(alerts, START, HOUR, thresholds=thresholds)


def test_a_run_without_a_window_says_what_to_do(river: River) -> None:
    with pytest.raises(ParameterError, match="start it with a partition key"):
        river.whole(sample)


@pytest.mark.parametrize("start", ["yesterday", "2026-11-24T21:00:00", "", 5])
def test_an_unreadable_window_is_refused_by_name(river: River, start: object) -> None:
    with pytest.raises(ParameterError, match="'windowStart'"):
        sample(Context({"outputDir": str(river.root), "windowStart": start}, "2026-11-24T21:00"))


def test_nothing_but_finished_files_is_left_behind(river: River) -> None:
    river.window(sample, START)
    river.window(clean, START)
    river.window(hourly, START, HOUR)
    river.window(alerts, START, HOUR, thresholds=THRESHOLDS)
    assert set(river.files()) == {
        "raw/2026-11-24T21-00.csv",
        "clean/2026-11-24T21-00.csv",
        "hourly/2026-11-24T21.json",
        "alerts/2026-11-24T21.json",
    }

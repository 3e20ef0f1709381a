from __future__ import annotations

from datetime import datetime

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from actors.core.time_windows import (
    Granularity,
    PartitionKeyError,
    TimeWindowPartitioning,
    Window,
    count_between,
    in_lookback,
    key_at,
    keys_overlapping,
    shift,
    window_of,
    windows_ago,
)
from tests.unit.core.zones import HOUR_MS, MINUTE_MS, ms, wall, zoned_instants

GRANULARITIES = st.sampled_from(Granularity)
STRFTIME = {
    Granularity.MINUTE: "%Y-%m-%dT%H:%M",
    Granularity.HOUR: "%Y-%m-%dT%H",
    Granularity.DAY: "%Y-%m-%d",
    Granularity.WEEK: "%G-W%V",
    Granularity.MONTH: "%Y-%m",
}
BERLIN_HOURS = TimeWindowPartitioning(Granularity.HOUR, "Europe/Berlin")
DAYS = TimeWindowPartitioning(Granularity.DAY)


def highest_wall(timezone: str, at_ms: int) -> datetime:
    """The latest time the wall clock has shown in the three days before an instant, from a walk."""
    minutes = range(at_ms - 72 * HOUR_MS, at_ms, MINUTE_MS)
    return max(wall(timezone, moment_ms) for moment_ms in (*minutes, at_ms))


@settings(deadline=None)
@given(GRANULARITIES, zoned_instants())
@example(Granularity.MINUTE, ("Europe/Berlin", ms("2026-10-25T01:20Z")))
@example(Granularity.DAY, ("America/St_Johns", ms("2006-10-29T03:00Z")))
def test_the_key_tells_the_highest_time_the_wall_clock_has_shown(
    granularity: Granularity, place: tuple[str, int]
) -> None:
    timezone, at_ms = place
    key = key_at(TimeWindowPartitioning(granularity, timezone), at_ms)
    assert key == highest_wall(timezone, at_ms).strftime(STRFTIME[granularity])


@given(GRANULARITIES, zoned_instants())
def test_every_instant_lies_in_the_window_of_its_key(granularity: Granularity, place: tuple[str, int]) -> None:
    timezone, at_ms = place
    partitioning = TimeWindowPartitioning(granularity, timezone)
    key = key_at(partitioning, at_ms)
    window = window_of(partitioning, key)
    assert window.start_ms <= at_ms < window.end_ms
    assert key_at(partitioning, window.start_ms) == key == key_at(partitioning, window.end_ms - 1)


@given(GRANULARITIES, zoned_instants())
def test_windows_tile_time(granularity: Granularity, place: tuple[str, int]) -> None:
    timezone, at_ms = place
    partitioning = TimeWindowPartitioning(granularity, timezone)
    key = key_at(partitioning, at_ms)
    later, earlier = shift(partitioning, key, 1), shift(partitioning, key, -1)
    assert window_of(partitioning, key).end_ms == window_of(partitioning, later).start_ms
    assert window_of(partitioning, key).start_ms == window_of(partitioning, earlier).end_ms


@given(GRANULARITIES, zoned_instants(), st.integers(-300, 300), st.integers(-300, 300))
def test_shifts_add_up_and_can_be_undone(
    granularity: Granularity, place: tuple[str, int], first: int, second: int
) -> None:
    timezone, at_ms = place
    partitioning = TimeWindowPartitioning(granularity, timezone)
    key = key_at(partitioning, at_ms)
    there = shift(partitioning, key, first)
    assert shift(partitioning, there, second) == shift(partitioning, key, first + second)
    assert shift(partitioning, there, -first) == key
    assert windows_ago(partitioning, there, at_ms) == -first


@given(zoned_instants(), st.integers(1, 400))
def test_a_long_shift_is_as_many_steps(place: tuple[str, int], steps: int) -> None:
    timezone, at_ms = place
    partitioning = TimeWindowPartitioning(Granularity.HOUR, timezone)
    end = at_ms
    for _ in range(steps):
        end = window_of(partitioning, key_at(partitioning, end)).end_ms
    assert shift(partitioning, key_at(partitioning, at_ms), steps) == key_at(partitioning, end)


@pytest.mark.parametrize(
    ("granularity", "timezone", "key", "start", "end"),
    [
        (Granularity.DAY, "UTC", "2026-11-23", "2026-11-23T00:00Z", "2026-11-24T00:00Z"),
        (Granularity.DAY, "Europe/Berlin", "2026-03-29", "2026-03-28T23:00Z", "2026-03-29T22:00Z"),
        (Granularity.DAY, "Europe/Berlin", "2026-10-25", "2026-10-24T22:00Z", "2026-10-25T23:00Z"),
        (Granularity.HOUR, "Europe/Berlin", "2026-10-25T02", "2026-10-25T00:00Z", "2026-10-25T02:00Z"),
        (Granularity.MINUTE, "Europe/Berlin", "2026-10-25T02:58", "2026-10-25T00:58Z", "2026-10-25T00:59Z"),
        (Granularity.MINUTE, "Europe/Berlin", "2026-10-25T02:59", "2026-10-25T00:59Z", "2026-10-25T02:00Z"),
        (Granularity.HOUR, "Australia/Lord_Howe", "2026-04-05T01", "2026-04-04T14:00Z", "2026-04-04T15:30Z"),
        (Granularity.HOUR, "Australia/Lord_Howe", "2026-10-04T02", "2026-10-03T15:30Z", "2026-10-03T16:00Z"),
        (Granularity.HOUR, "Asia/Kathmandu", "2026-11-23T05", "2026-11-22T23:15Z", "2026-11-23T00:15Z"),
        (Granularity.DAY, "Africa/Cairo", "2026-04-24", "2026-04-23T22:00Z", "2026-04-24T21:00Z"),
        (Granularity.WEEK, "UTC", "2026-W01", "2025-12-29T00:00Z", "2026-01-05T00:00Z"),
        (Granularity.WEEK, "America/New_York", "2026-W10", "2026-03-02T05:00Z", "2026-03-09T04:00Z"),
        (Granularity.MONTH, "UTC", "2026-12", "2026-12-01T00:00Z", "2027-01-01T00:00Z"),
        (Granularity.MONTH, "Asia/Kathmandu", "1986-01", "1985-12-31T18:30Z", "1986-01-31T18:15Z"),
    ],
)
def test_a_window_by_its_key(granularity: Granularity, timezone: str, key: str, start: str, end: str) -> None:
    partitioning = TimeWindowPartitioning(granularity, timezone)
    assert window_of(partitioning, key) == Window(ms(start), ms(end))


def test_windows_that_the_clocks_skip_are_neither_named_nor_counted() -> None:
    with pytest.raises(PartitionKeyError, match="clocks go forward"):
        window_of(BERLIN_HOURS, "2026-03-29T02")
    assert shift(BERLIN_HOURS, "2026-03-29T01", 1) == "2026-03-29T03"
    assert shift(BERLIN_HOURS, "2026-03-29T03", -1) == "2026-03-29T01"
    assert windows_ago(BERLIN_HOURS, "2026-03-29T00", ms("2026-03-29T02:00Z")) == 3
    newfoundland = TimeWindowPartitioning(Granularity.HOUR, "America/St_Johns")
    assert window_of(newfoundland, "2006-04-02T00") == Window(ms("2006-04-02T03:30Z"), ms("2006-04-02T03:31Z"))
    assert windows_ago(newfoundland, "2006-04-01T23", ms("2006-04-02T03:31Z")) == 2
    apia = TimeWindowPartitioning(Granularity.DAY, "Pacific/Apia")
    assert shift(apia, "2011-12-29", 1) == "2011-12-31"


def test_years_of_minutes_are_counted_in_real_time() -> None:
    minutes = TimeWindowPartitioning(Granularity.MINUTE, "Europe/Berlin")
    start, end = ms("2020-01-01T00:00Z"), ms("2026-01-01T00:00Z")
    second_passes = 6 * 60  # each autumn's repeated hour belongs to one minute
    assert windows_ago(minutes, key_at(minutes, start), end) == (end - start) // MINUTE_MS - second_passes


@pytest.mark.parametrize(
    ("key", "lookback", "expected"),
    [
        ("2026-11-23", None, True),
        ("2026-11-22", None, False),
        ("2026-11-24", None, False),
        ("2026-11-24", 5, False),
        ("2026-11-20", 3, True),
        ("2026-11-19", 3, False),
    ],
)
def test_lookback_counts_back_from_the_current_window(key: str, lookback: int | None, expected: bool) -> None:
    partitioning = TimeWindowPartitioning(Granularity.DAY, lookback_windows=lookback)
    assert in_lookback(partitioning, key, ms("2026-11-23T23:59Z")) is expected


@pytest.mark.parametrize(
    ("partitioning", "key", "says"),
    [
        (DAYS, "2026-11-31", "day is out of range"),
        (DAYS, "20261123", "another form"),
        (DAYS, "2026-11-23T00", "another form"),
        (DAYS, "1899-12-31", "outside the years 1900 to 2999"),
        (DAYS, "3000-01-01", "outside the years 1900 to 2999"),
        (TimeWindowPartitioning(Granularity.DAY, format="%Y-%m-%dT%H"), "2026-11-23T05", "'2026-11-23T00'"),
        (TimeWindowPartitioning(Granularity.WEEK, format="%Y-%m-%d"), "2026-11-25", "'2026-11-23'"),
    ],
)
def test_a_key_of_no_window_is_refused_with_the_reason_and_a_good_key(
    partitioning: TimeWindowPartitioning, key: str, says: str
) -> None:
    with pytest.raises(PartitionKeyError, match=says) as caught:
        window_of(partitioning, key)
    assert repr(key) in str(caught.value)
    good = str(caught.value).rsplit("such as ", 1)[1].strip("'")
    window_of(partitioning, good)


@pytest.mark.parametrize(
    ("granularity", "too_coarse"),
    [
        (Granularity.MINUTE, "%Y-%m-%dT%H"),
        (Granularity.HOUR, "YYYY-MM-DD"),
        (Granularity.HOUR, "%Y-%m-%d :%M"),
        (Granularity.DAY, "%Y-%m"),
        (Granularity.DAY, "%m-%d"),
        (Granularity.DAY, "GGGG-[W]WW"),
        (Granularity.WEEK, "%Y-%m"),
        (Granularity.WEEK, "%Y-W%V"),
        (Granularity.MONTH, "%Y"),
        (Granularity.MONTH, "%G-W%V"),
        (Granularity.DAY, ""),
    ],
)
def test_a_format_that_gives_two_windows_one_key_is_refused(granularity: Granularity, too_coarse: str) -> None:
    with pytest.raises(ValueError, match="too coarse"):
        TimeWindowPartitioning(granularity, format=too_coarse)


@pytest.mark.parametrize(
    ("granularity", "text"),
    [
        (Granularity.DAY, "YYYY-MM-DDTHH:mm"),
        (Granularity.WEEK, "%Y-%m-%d"),
        (Granularity.WEEK, "%Y-%j"),
        (Granularity.MONTH, "%Y-%m-%d"),
        (Granularity.MONTH, "[month ]MM[ of ]YYYY"),
        (Granularity.HOUR, "%Y%j%H"),
        (Granularity.MINUTE, "%G-W%V-%u %R"),
    ],
)
@given(zoned_instants(), st.integers(-1_000, 1_000))
def test_other_formats_name_the_same_windows(
    granularity: Granularity, text: str, place: tuple[str, int], n: int
) -> None:
    timezone, at_ms = place
    plain = TimeWindowPartitioning(granularity, timezone)
    other = TimeWindowPartitioning(granularity, timezone, format=text)
    key = shift(other, key_at(other, at_ms), n)
    assert window_of(other, key) == window_of(plain, shift(plain, key_at(plain, at_ms), n))


def test_a_key_that_cannot_be_seen_or_stored_is_refused_with_its_format() -> None:
    with pytest.raises(ValueError, match="begins or ends with a space"):
        TimeWindowPartitioning(Granularity.DAY, format="%Y-%m-%d ")
    with pytest.raises(ValueError, match="unprintable"):
        TimeWindowPartitioning(Granularity.DAY, format="%Y-%m-%d\n%H")
    with pytest.raises(ValueError, match="255"):
        TimeWindowPartitioning(Granularity.DAY, format="%Y-%m-%d" + "-" * 250)


def test_a_bad_timezone_or_lookback_is_refused() -> None:
    with pytest.raises(ValueError, match="'Mars'"):
        TimeWindowPartitioning(Granularity.DAY, "Mars")
    with pytest.raises(ValueError, match=r"^lookback_windows "):
        TimeWindowPartitioning(Granularity.DAY, lookback_windows=-1)


@pytest.mark.parametrize("n", [400_000, -50_000, 10**15, -(10**15)])
@pytest.mark.parametrize("granularity", list(Granularity))
def test_a_shift_off_the_calendar_is_refused(granularity: Granularity, n: int) -> None:
    partitioning = TimeWindowPartitioning(granularity, "Europe/Berlin")
    n *= 24 * 60 if granularity is Granularity.MINUTE else 24
    with pytest.raises(ValueError, match="outside the years"):
        shift(partitioning, key_at(partitioning, ms("2026-11-23T00:00Z")), n)


def test_seconds_and_nanoseconds_are_not_milliseconds() -> None:
    with pytest.raises(ValueError, match="milliseconds"):
        key_at(DAYS, ms("2026-11-23T00:00Z") * 1_000_000)


@settings(deadline=None)
@example(Granularity.DAY, ("UTC", ms("2026-11-23T00:00Z")), 24 * HOUR_MS)
@given(GRANULARITIES, zoned_instants(), st.integers(1, 48 * HOUR_MS) | st.integers(1, 48).map(HOUR_MS.__mul__))
def test_the_windows_of_a_span_are_those_one_meets_walking_it(
    granularity: Granularity, place: tuple[str, int], length_ms: int
) -> None:
    timezone, start_ms = place
    partitioning = TimeWindowPartitioning(granularity, timezone)
    span = Window(start_ms, start_ms + length_ms)
    met, at_ms = [], start_ms
    while at_ms < span.end_ms:
        met.append(key_at(partitioning, at_ms))
        at_ms = window_of(partitioning, met[-1]).end_ms
    assert keys_overlapping(partitioning, span) == tuple(met)
    assert count_between(partitioning, span) == len(met)

from __future__ import annotations

import pytest
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st

from actors.core.quiet_hours import (
    QuietHours,
    QuietWindow,
    are_always_quiet,
    is_always_quiet,
    parse_time,
    quiet_until,
    quiet_until_all,
)
from tests.unit.core.zones import MINUTE_MS, ms, wall, zoned_instants

EVERY_DAY: frozenset[int] = frozenset()
TWO_WEEKS_MS = 14 * 24 * 60 * MINUTE_MS
NIGHT = QuietWindow(EVERY_DAY, 22 * 60, 6 * 60)
WINDOWS = st.builds(
    QuietWindow,
    days=st.frozensets(st.integers(0, 6)),
    start_minute=st.integers(0, 95).map(lambda quarter: quarter * 15),
    end_minute=st.integers(0, 96).map(lambda quarter: quarter * 15),
)


def is_quiet(windows: tuple[QuietWindow, ...], timezone: str, at_ms: int) -> bool:
    """By definition: does a window that starts today or started yesterday hold this time?"""
    local = wall(timezone, at_ms)
    minute, today = local.hour * 60 + local.minute, local.weekday()
    for window in windows:
        days = window.days or frozenset(range(7))
        over_midnight = window.end_minute <= window.start_minute
        last = 1440 if over_midnight else window.end_minute
        if today in days and window.start_minute <= minute < last:
            return True
        if over_midnight and (today - 1) % 7 in days and minute < window.end_minute:
            return True
    return False


@pytest.mark.parametrize(
    ("now", "until"),
    [
        ("2026-11-23T21:59:59.999Z", None),
        ("2026-11-23T22:00Z", "2026-11-24T06:00Z"),
        ("2026-11-24T05:59:59.999Z", "2026-11-24T06:00Z"),
        ("2026-11-24T06:00Z", None),
    ],
)
def test_a_night_lasts_over_midnight(now: str, until: str | None) -> None:
    assert quiet_until(QuietHours((NIGHT,)), ms(now)) == (until and ms(until))


def test_a_night_belongs_to_the_day_it_starts_on() -> None:
    sunday_night = QuietHours((QuietWindow(frozenset({6}), 22 * 60, 6 * 60),))
    assert quiet_until(sunday_night, ms("2026-11-22T05:00Z")) is None, "Sunday morning is Saturday's night"
    assert quiet_until(sunday_night, ms("2026-11-23T05:00Z")) == ms("2026-11-23T06:00Z"), "Monday morning"


def test_windows_that_touch_or_overlap_are_one() -> None:
    evening = QuietWindow(EVERY_DAY, 18 * 60, 24 * 60)
    morning = QuietWindow(EVERY_DAY, 0, 7 * 60)
    early = QuietWindow(EVERY_DAY, 6 * 60, 8 * 60)
    assert quiet_until(QuietHours((early, evening, morning)), ms("2026-11-22T18:00Z")) == ms("2026-11-23T08:00Z")


def test_equal_ends_are_a_whole_day() -> None:
    from_noon = QuietHours((QuietWindow(frozenset({0}), 720, 720),))
    assert quiet_until(from_noon, ms("2026-11-23T11:59Z")) is None
    assert quiet_until(from_noon, ms("2026-11-23T12:00Z")) == ms("2026-11-24T12:00Z")


@pytest.mark.parametrize(
    ("now", "until"),
    [
        ("2026-03-28T23:00Z", "2026-03-29T04:00Z"),  # clocks go forward: the night is an hour shorter
        ("2026-10-24T23:00Z", "2026-10-25T05:00Z"),  # and back: an hour longer
    ],
)
def test_a_night_in_berlin_ends_at_six_whatever_the_clocks_do(now: str, until: str) -> None:
    assert quiet_until(QuietHours((NIGHT,), "Europe/Berlin"), ms(now)) == ms(until)


def test_a_window_the_clocks_skip_does_not_happen() -> None:
    skipped = QuietHours((QuietWindow(EVERY_DAY, 120, 180),), "Europe/Berlin")
    assert quiet_until(skipped, ms("2026-03-29T01:00Z")) is None
    assert quiet_until(skipped, ms("2026-03-30T00:00Z")) == ms("2026-03-30T01:00Z")


def test_a_quiet_time_that_comes_twice_is_quiet_twice() -> None:
    twice = QuietHours((QuietWindow(EVERY_DAY, 120, 150),), "Europe/Berlin")
    assert quiet_until(twice, ms("2026-10-25T00:10Z")) == ms("2026-10-25T00:30Z")
    assert quiet_until(twice, ms("2026-10-25T00:40Z")) is None
    assert quiet_until(twice, ms("2026-10-25T01:10Z")) == ms("2026-10-25T01:30Z")


def test_the_only_free_hour_of_a_week_is_found_when_the_clocks_skip_it() -> None:
    but_sunday_two = QuietHours((QuietWindow(frozenset({6}), 180, 180), *_whole_days(range(6))), "Europe/Berlin")
    free = QuietHours(
        (*_whole_days(range(6)), QuietWindow(frozenset({6}), 180, 1440), _sunday(0, 120)), "Europe/Berlin"
    )
    assert quiet_until(but_sunday_two, ms("2026-03-24T12:00Z")) == ms("2026-03-28T23:00Z")
    assert quiet_until(free, ms("2026-03-24T12:00Z")) == ms("2026-04-05T00:00Z")


def test_two_changes_in_one_long_quiet_time_are_both_seen() -> None:
    """Boa Vista had summer time for less than a week in 2000, from the 8th to the 15th of October at midnight."""
    but_half_an_hour = QuietHours(
        (
            *_whole_days(range(5)),
            QuietWindow(frozenset({5}), 0, 23 * 60),
            QuietWindow(frozenset({5}), 23 * 60 + 30, 1440),
            _sunday(0, 1440),
        ),
        "America/Boa_Vista",
    )
    before_both = ms("2000-10-08T03:30Z")
    assert quiet_until(but_half_an_hour, before_both) == ms("2000-10-15T02:00Z")


def _whole_days(days: range) -> tuple[QuietWindow, ...]:
    return tuple(QuietWindow(frozenset({day}), 0, 1440) for day in days)


def _sunday(start: int, end: int) -> QuietWindow:
    return QuietWindow(frozenset({6}), start, end)


@settings(deadline=None)
@given(st.lists(WINDOWS, max_size=4).map(tuple), zoned_instants())
@example((NIGHT,), ("Australia/Lord_Howe", ms("2026-04-04T15:15Z")))
def test_quiet_until_agrees_with_a_walk_minute_by_minute(
    windows: tuple[QuietWindow, ...], place: tuple[str, int]
) -> None:
    timezone, now_ms = place
    quiet_hours = QuietHours(windows, timezone)
    assume(not is_always_quiet(quiet_hours))
    expected = None
    if is_quiet(windows, timezone, now_ms):
        expected = now_ms // MINUTE_MS * MINUTE_MS + MINUTE_MS
        while is_quiet(windows, timezone, expected):
            expected += MINUTE_MS
    assert quiet_until(quiet_hours, now_ms) == expected


@given(st.lists(WINDOWS, max_size=6).map(tuple))
@example((QuietWindow(EVERY_DAY, 0, 1440),))
@example((QuietWindow(EVERY_DAY, 600, 600),))
@example((NIGHT, QuietWindow(EVERY_DAY, 6 * 60, 22 * 60)))
def test_always_quiet_means_every_minute_of_a_week(windows: tuple[QuietWindow, ...]) -> None:
    monday = ms("2026-11-23T00:00Z")
    every_quarter = all(is_quiet(windows, "UTC", monday + quarter * 15 * MINUTE_MS) for quarter in range(7 * 96))
    assert is_always_quiet(QuietHours(windows)) == every_quarter


@settings(deadline=None, max_examples=50)
@example((QuietWindow(EVERY_DAY, 0, 615),), (QuietWindow(EVERY_DAY, 15, 0),), ("Pacific/Apia", ms("2011-12-30T10:00Z")))
@given(st.lists(WINDOWS, min_size=1, max_size=2).map(tuple), st.lists(WINDOWS, max_size=2).map(tuple), zoned_instants())
def test_several_schedules_are_quiet_until_none_of_them_is(
    one: tuple[QuietWindow, ...], other: tuple[QuietWindow, ...], place: tuple[str, int]
) -> None:
    timezone, now_ms = place
    schedules = (QuietHours(one), QuietHours(other, timezone))
    assume(not are_always_quiet(schedules))
    until = quiet_until_all(schedules, now_ms)

    def is_any_quiet(at_ms: int) -> bool:
        return is_quiet(one, "UTC", at_ms) or is_quiet(other, timezone, at_ms)

    if until is None:
        assert not is_any_quiet(now_ms)
        return
    # Clocks of former years may leave no time free where those of today do: then it is looked at again later.
    assert not is_any_quiet(until) or until - now_ms > TWO_WEEKS_MS
    assert all(is_any_quiet(at_ms) for at_ms in range(now_ms, until, 15 * MINUTE_MS))
    assert is_any_quiet(until - 1)


def test_two_schedules_may_leave_no_time_free_together() -> None:
    night, day = QuietHours((NIGHT,)), QuietHours((QuietWindow(EVERY_DAY, 6 * 60, 22 * 60),))
    assert are_always_quiet((night, day))
    assert not are_always_quiet((night,))
    # The wall clocks of Berlin and UTC are an hour apart in winter, two in summer.
    assert not are_always_quiet((night, QuietHours((QuietWindow(EVERY_DAY, 6 * 60, 22 * 60),), "Europe/Berlin")))
    assert are_always_quiet((night, QuietHours((QuietWindow(EVERY_DAY, 6 * 60, 24 * 60),), "Europe/Berlin")))
    assert quiet_until_all((), ms("2026-11-23T22:00Z")) is None


def test_quiet_hours_without_end_are_refused() -> None:
    with pytest.raises(ValueError, match="whole week"):
        quiet_until(QuietHours((QuietWindow(EVERY_DAY, 0, 1440),)), 0)


def test_no_windows_are_never_quiet() -> None:
    assert quiet_until(QuietHours(()), 0) is None


@pytest.mark.parametrize(
    ("field", "days", "start", "end"),
    [
        ("days", {7}, 0, 60),
        ("start_minute", {0}, 1440, 60),
        ("start_minute", {0}, -1, 60),
        ("end_minute", {0}, 0, 1441),
    ],
)
def test_a_window_out_of_range_is_refused_by_the_name_of_its_field(
    field: str, days: set[int], start: int, end: int
) -> None:
    with pytest.raises(ValueError, match=f"^{field} "):
        QuietWindow(frozenset(days), start, end)


def test_an_unknown_timezone_is_refused() -> None:
    with pytest.raises(ValueError, match="'Mars/Olympus'"):
        QuietHours((), "Mars/Olympus")


@given(st.integers(0, 1440))
def test_every_time_of_day_is_read(minute: int) -> None:
    assert parse_time(f"{minute // 60:02d}:{minute % 60:02d}") == minute


@pytest.mark.parametrize("text", ["", "7:30", "24:01", "25:00", "12:60", "12:3", "12.30", "12:30\n", "१२:३०", "-1:00"])
def test_a_time_in_another_form_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="HH:MM"):
        parse_time(text)

"""Hours of the week in which nothing starts by itself.

An instant is quiet when the wall clock of the timezone shows a time inside a window. So when clocks go back,
a time that shows twice is quiet twice; when they go forward, a window that is skipped whole does not happen.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache

from actors.core.wallclock import DAY_MS, MINUTE_MS, change_between, offset_at, wall_at, zone

__all__ = [
    "QuietHours",
    "QuietWindow",
    "are_always_quiet",
    "is_always_quiet",
    "parse_time",
    "quiet_until",
    "quiet_until_all",
]

_DAY = 24 * 60
_WEEK = 7 * _DAY
_EVERY_DAY = frozenset(range(7))
# 1970-01-01 was a Thursday, three days after the Monday on which its week began.
_MONDAY_OFFSET_MS = 3 * DAY_MS
# Zones rest for more than three days between two changes, so one step meets at most one change.
_STEP_MS = 3 * DAY_MS
# Every week is like the one before, but for the changes of clocks.
_HORIZON_MS = 15 * DAY_MS
_WINTER_MS = 1_768_435_200_000  # 2026-01-15T00:00Z
_SUMMER_MS = 1_784_073_600_000  # 2026-07-15T00:00Z
_TIME = re.compile(r"([0-9]{2}):([0-9]{2})")


@dataclass(frozen=True, slots=True)
class QuietWindow:
    """`start_minute <= minute of the day < end_minute` on `days` (0 is Monday; none given means every day).

    An end that is not after the start lies on the next day, and the window belongs to the day it starts on.
    Equal ends are a whole day; 1440 (24:00) is allowed as end.

    Raises:
        ValueError: a day or minute is out of range; the text names the field.
    """

    days: frozenset[int]
    start_minute: int
    end_minute: int

    def __post_init__(self) -> None:
        if not self.days <= _EVERY_DAY:
            raise ValueError(f"days must be numbers from 0 (Monday) to 6 (Sunday), got {sorted(self.days)}")
        if not 0 <= self.start_minute < _DAY:
            raise ValueError(f"start_minute must lie in 0..1439, got {self.start_minute}")
        if not 0 <= self.end_minute <= _DAY:
            raise ValueError(f"end_minute must lie in 0..1440, got {self.end_minute}")


@dataclass(frozen=True, slots=True)
class QuietHours:
    """Quiet windows on the wall clock of `timezone`, an IANA name.

    Raises:
        ValueError: the timezone is not known.
    """

    windows: tuple[QuietWindow, ...]
    timezone: str = "UTC"

    def __post_init__(self) -> None:
        zone(self.timezone)


def parse_time(text: str) -> int:
    """The minute of the day of "HH:MM", from "00:00" (0) to "24:00" (1440).

    Raises:
        ValueError: the text is no such time.
    """
    match = _TIME.fullmatch(text)
    if match:
        hour, minute = int(match[1]), int(match[2])
        if minute < 60 and hour * 60 + minute <= _DAY:
            return hour * 60 + minute
    raise ValueError(f"time {text!r} cannot be read; write HH:MM from 00:00 to 24:00, such as '22:30'")


def is_always_quiet(quiet_hours: QuietHours) -> bool:
    """True when the windows leave no minute of the week."""
    return _merged(quiet_hours.windows) == ((0, _WEEK),)


def quiet_until(quiet_hours: QuietHours, now_ms: int) -> int | None:
    """None when `now_ms` is not quiet; else the first instant after it that is not.

    Raises:
        ValueError: it never ends (`is_always_quiet`), or `now_ms` lies outside the years 1900 to 2999.
    """
    if not quiet_hours.windows:
        return None
    if is_always_quiet(quiet_hours):
        raise ValueError("quiet hours cover the whole week, so they never end; leave at least one minute free")
    tz = zone(quiet_hours.timezone)
    at = now_ms
    while True:
        left = _quiet_ms_left(quiet_hours.windows, wall_at(tz, at))
        if left == 0:
            return None if at == now_ms else at
        end = at + min(left, _STEP_MS)
        # The clocks change on the way: go on from the change, with what the wall clock shows then.
        at = end if offset_at(tz, at) == offset_at(tz, end) else change_between(tz, at, end)


def quiet_until_all(schedules: tuple[QuietHours, ...], now_ms: int) -> int | None:
    """None when `now_ms` is quiet by none of the schedules; else the first instant after it that is quiet by none.

    Where together they leave no time free (`are_always_quiet`), an instant more than two weeks away.
    """
    at = now_ms
    while at - now_ms < _HORIZON_MS:
        later = max((until for s in schedules if (until := quiet_until(s, at)) is not None), default=None)
        if later is None:
            break
        at = later
    return None if at == now_ms else at


def are_always_quiet(schedules: tuple[QuietHours, ...]) -> bool:
    """True when the schedules together leave no minute free, in winter or in summer."""
    if any(is_always_quiet(schedule) for schedule in schedules):
        return True
    ends = ((start, quiet_until_all(schedules, start)) for start in (_WINTER_MS, _SUMMER_MS))
    return any(end is not None and end - start >= _HORIZON_MS for start, end in ends)


def _quiet_ms_left(windows: tuple[QuietWindow, ...], wall_ms: int) -> int:
    in_week = (wall_ms + _MONDAY_OFFSET_MS) % (_WEEK * MINUTE_MS)
    minute = in_week // MINUTE_MS
    for start, end in _merged(windows):
        if start <= minute < end:
            return end * MINUTE_MS - in_week
    return 0


@lru_cache(maxsize=1024)
def _merged(windows: tuple[QuietWindow, ...]) -> tuple[tuple[int, int], ...]:
    """The quiet minutes of a week that starts on Monday, as ordered ranges that neither touch nor overlap."""
    ranges: list[tuple[int, int]] = []
    for window in windows:
        length = (window.end_minute - window.start_minute - 1) % _DAY + 1
        for day in window.days or _EVERY_DAY:
            start = day * _DAY + window.start_minute
            ranges.append((start, min(start + length, _WEEK)))
            if start + length > _WEEK:
                ranges.append((0, start + length - _WEEK))
    merged: list[tuple[int, int]] = []
    for start, end in sorted(ranges):
        if merged and start <= merged[-1][1]:
            merged[-1] = (merged[-1][0], max(merged[-1][1], end))
        else:
            merged.append((start, end))
    return tuple(merged)

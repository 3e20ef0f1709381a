"""Epoch milliseconds to the wall clock of a timezone and back, DST and all.

A *wall* value is what a clock on the wall shows, as milliseconds since 1970-01-01T00:00 on that clock: plain
integers, so that hours, days and weeks are divisions. When clocks go forward some wall values never appear (a
*gap*); when they go back some appear twice (a *fold*).
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from zoneinfo import ZoneInfo

SECOND_MS = 1_000
MINUTE_MS = 60 * SECOND_MS
HOUR_MS = 60 * MINUTE_MS
DAY_MS = 24 * HOUR_MS

FIRST_YEAR = 1900
LAST_YEAR = 2999
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MILLISECOND = timedelta(milliseconds=1)
# The shortest rest between two changes of an offset is just under four days (Africa/Freetown, 1939).
_SAMPLE_MS = 3 * DAY_MS


def epoch_ms(at: datetime) -> int:
    """An aware datetime as epoch milliseconds."""
    return (at - _EPOCH) // _MILLISECOND


# Where the calendar of this program begins and ends: the start of FIRST_YEAR and the end of LAST_YEAR.
EARLIEST_MS = epoch_ms(datetime(FIRST_YEAR, 1, 1, tzinfo=UTC))
LATEST_MS = epoch_ms(datetime(LAST_YEAR + 1, 1, 1, tzinfo=UTC))


@dataclass(frozen=True, slots=True)
class Gap:
    """Wall values `start_ms <= wall < end_ms` that the clock skips at the instant `at_ms`."""

    start_ms: int
    end_ms: int
    at_ms: int


@lru_cache(maxsize=1024)
def zone(name: str) -> ZoneInfo:
    """The timezone of an IANA name such as `Europe/Berlin`.

    Raises:
        ValueError: there is no such timezone.
    """
    try:
        return ZoneInfo(name)
    except (KeyError, ValueError, OSError) as error:
        # zoneinfo answers with an OSError for a directory of zones ("America") and for overlong names.
        raise ValueError(
            f"timezone {name!r} is not known; use an IANA name such as 'UTC' or 'Europe/Berlin'"
        ) from error


def moment(tz: ZoneInfo, at_ms: int) -> datetime:
    """The instant as an aware datetime in `tz`; milliseconds below the second are cut off.

    Raises:
        ValueError: the instant lies outside the years 1900 to 2999.
    """
    if not EARLIEST_MS <= at_ms < LATEST_MS:
        raise ValueError(
            f"instant {at_ms} ms lies outside the years {FIRST_YEAR} to {LAST_YEAR}; "
            "give milliseconds (not seconds, not nanoseconds) since 1970-01-01 UTC"
        )
    return datetime.fromtimestamp(at_ms // SECOND_MS, tz)


def wall_at(tz: ZoneInfo, at_ms: int) -> int:
    """What the clock on the wall shows at an instant."""
    return at_ms + _offset_of(moment(tz, at_ms))


def risen_wall_at(tz: ZoneInfo, at_ms: int) -> int:
    """The highest value the wall clock has shown up to an instant: it stands still in a repeated hour."""
    here = moment(tz, at_ms)
    offset = _offset_of(here)
    if not here.fold:
        return at_ms + offset
    before = _offset_of(here.replace(fold=0))
    turned = change_between(tz, at_ms - (before - offset), at_ms)
    return turned + before - 1


def first_at(tz: ZoneInfo, wall_ms: int) -> int:
    """The first instant at which the wall clock shows `wall_ms` or more. Never falls as `wall_ms` rises.

    A repeated wall value is taken the first time it shows; a skipped one when the clock jumps over it.
    """
    naive = naive_wall(wall_ms)
    before = _offset_of(naive.replace(tzinfo=tz))
    after = _offset_of(naive.replace(tzinfo=tz, fold=1))
    if before >= after:
        return wall_ms - before
    return change_between(tz, wall_ms - after, wall_ms - before)


def naive_wall(wall_ms: int) -> datetime:
    """A wall value as a naive datetime; milliseconds below the second are cut off."""
    return datetime.fromtimestamp(wall_ms // SECOND_MS, UTC).replace(tzinfo=None)


def change_between(tz: ZoneInfo, low_ms: int, high_ms: int) -> int:
    """The first instant with the offset of `high_ms`, if it changes once in `low_ms < at <= high_ms`."""
    low, high = low_ms // SECOND_MS, -(-high_ms // SECOND_MS)
    wanted = datetime.fromtimestamp(high, tz).utcoffset()
    while high - low > 1:
        middle = (low + high) // 2
        if datetime.fromtimestamp(middle, tz).utcoffset() == wanted:
            high = middle
        else:
            low = middle
    return high * SECOND_MS


@lru_cache(maxsize=8192)
def gaps_in(tz: ZoneInfo, year: int) -> tuple[Gap, ...]:
    """The gaps that begin in a year of the wall clock, in order."""
    start = epoch_ms(datetime(year, 1, 1, tzinfo=UTC))
    end = epoch_ms(datetime(year + 1, 1, 1, tzinfo=UTC))
    found: list[Gap] = []
    low, low_offset = start - 2 * DAY_MS, offset_at(tz, start - 2 * DAY_MS)
    while low < end + 2 * DAY_MS:
        high = low + _SAMPLE_MS
        high_offset = offset_at(tz, high)
        if high_offset > low_offset:
            at = change_between(tz, low, high)
            if start <= at + low_offset < end:
                found.append(Gap(at + low_offset, at + high_offset, at))
        low, low_offset = high, high_offset
    return tuple(found)


def offset_at(tz: ZoneInfo, at_ms: int) -> int:
    """How far the wall clock of `tz` is ahead of UTC at an instant, in milliseconds."""
    return _offset_of(datetime.fromtimestamp(at_ms // SECOND_MS, tz))


def _offset_of(at: datetime) -> int:
    offset = at.utcoffset()
    return 0 if offset is None else offset // _MILLISECOND

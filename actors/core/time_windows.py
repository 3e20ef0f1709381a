"""Time-window partitions: the windows that tile time in a timezone, and their keys.

Windows are cut on the wall clock: the day of `2026-03-29` in Europe/Berlin has 23 hours. Where the wall clock
is not one to one with time, the rule is that it never goes back: in a repeated hour it stands still at its
highest value. So

* windows tile time: each begins where the one before it ends, and every instant lies in the window of its
key;
* a window that the repeated time falls into is longer and keeps its one key (in Berlin, autumn, hour `02` has
two
  hours; as minutes the second pass belongs to `02:59`);
* a window the clocks skip whole (in spring, hour `02`) does not exist: its key is refused, and it is not
counted.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from functools import lru_cache
from zoneinfo import ZoneInfo

from actors.core.key_format import KeyFormat, compile_format, flaw_of
from actors.core.wallclock import (
    DAY_MS,
    EARLIEST_MS,
    FIRST_YEAR,
    HOUR_MS,
    LAST_YEAR,
    LATEST_MS,
    MINUTE_MS,
    epoch_ms,
    first_at,
    gaps_in,
    naive_wall,
    risen_wall_at,
    zone,
)

__all__ = [
    "Granularity",
    "PartitionKeyError",
    "TimeWindowPartitioning",
    "Window",
    "count_between",
    "example_key",
    "in_lookback",
    "key_at",
    "keys_overlapping",
    "shift",
    "window_of",
    "windows_ago",
]


class PartitionKeyError(ValueError):
    """A partition key does not fit its asset's partitioning; the text says why and shows a good key."""


class Granularity(StrEnum):
    """The length of a window on the wall clock. Weeks begin on Monday."""

    MINUTE = "minute"
    HOUR = "hour"
    DAY = "day"
    WEEK = "week"
    MONTH = "month"


_DEFAULT_FORMAT = {
    Granularity.MINUTE: "%Y-%m-%dT%H:%M",
    Granularity.HOUR: "%Y-%m-%dT%H",
    Granularity.DAY: "%Y-%m-%d",
    Granularity.WEEK: "%G-W%V",
    Granularity.MONTH: "%Y-%m",
}
_DAYS = (frozenset("Ymd"), frozenset("Yj"), frozenset("GVu"))
# What a format must hold, one of the sets, so that no two windows share a key.
_NEEDED = {
    Granularity.MINUTE: tuple(day | {"H", "M"} for day in _DAYS),
    Granularity.HOUR: tuple(day | {"H"} for day in _DAYS),
    Granularity.DAY: _DAYS,
    Granularity.WEEK: (*_DAYS, frozenset("GV")),
    Granularity.MONTH: (*_DAYS, frozenset("Ym")),
}
_LENGTH_MS = {
    Granularity.MINUTE: MINUTE_MS,
    Granularity.HOUR: HOUR_MS,
    Granularity.DAY: DAY_MS,
    Granularity.WEEK: 7 * DAY_MS,
}
# 1970-01-01 was a Thursday, three days after the Monday on which its week began.
_MONDAY_OFFSET_MS = 3 * DAY_MS
_EXAMPLE_WALL_MS = 1_767_605_400_000  # Monday 2026-01-05T09:30
# Clocks have skipped a day at most, so no week or month was ever skipped whole.
_CAN_BE_SKIPPED = frozenset({Granularity.MINUTE, Granularity.HOUR, Granularity.DAY})


@dataclass(frozen=True, slots=True)
class TimeWindowPartitioning:
    """One partition for each minute, hour, day, week or month of a timezone's wall clock.

    `format` is the form of the keys, in strftime or token spelling (see `key_format`); None takes the
    granularity's own. `lookback_windows` is how many windows before the current one are still re-made.

    Raises:
        ValueError: an unknown timezone, a format that cannot be read or that gives two windows one key, or a
        negative
            `lookback_windows`.
    """

    granularity: Granularity
    timezone: str = "UTC"
    format: str | None = None
    lookback_windows: int | None = None

    def __post_init__(self) -> None:
        zone(self.timezone)
        form = _format_of(self)
        if not any(needed <= form.fields for needed in _NEEDED[self.granularity]):
            raise ValueError(
                f"format {self.format!r} is too coarse for {self.granularity} windows: two of them would "
                f"share a key; use for example {_DEFAULT_FORMAT[self.granularity]!r}"
            )
        if flaw := flaw_of(form.write(_EXAMPLE_WALL_MS)):
            raise ValueError(f"format {self.format!r} makes a key that {flaw}")
        if self.lookback_windows is not None and self.lookback_windows < 0:
            raise ValueError(f"lookback_windows must not be negative, got {self.lookback_windows}")


@dataclass(frozen=True, slots=True)
class Window:
    """`start_ms <= at < end_ms`, in epoch milliseconds. Never empty."""

    start_ms: int
    end_ms: int


def key_at(partitioning: TimeWindowPartitioning, at_ms: int) -> str:
    """The key of the window that holds an instant.

    Raises:
        ValueError: the instant lies outside the years 1900 to 2999.
    """
    return _key(partitioning, _number_at(partitioning, at_ms))


def window_of(partitioning: TimeWindowPartitioning, key: str) -> Window:
    """The window of a key.

    Raises:
        PartitionKeyError: there is no window of this key.
    """
    return _read(partitioning, key)[1]


def shift(partitioning: TimeWindowPartitioning, key: str, n: int) -> str:
    """The key `n` windows later, or earlier when `n` is negative.

    Raises:
        PartitionKeyError: there is no window of this key.
        ValueError: the shifted window lies outside the years 1900 to 2999.
    """
    number = _read(partitioning, key)[0]
    target = number + n
    while True:
        key_there = _key(partitioning, target)
        missing = n - _count(partitioning, number, target)
        if missing == 0:
            return key_there
        target += missing


def windows_ago(partitioning: TimeWindowPartitioning, key: str, now_ms: int) -> int:
    """How many windows lie between the key's and the current one: 0 is the current, negative the future.

    Raises:
        PartitionKeyError: there is no window of this key.
    """
    return _count(partitioning, _read(partitioning, key)[0], _number_at(partitioning, now_ms))


def in_lookback(partitioning: TimeWindowPartitioning, key: str, now_ms: int) -> bool:
    """True for the current window and the `lookback_windows` before it; False for older and future ones.

    Raises:
        PartitionKeyError: there is no window of this key.
    """
    return 0 <= windows_ago(partitioning, key, now_ms) <= (partitioning.lookback_windows or 0)


def example_key(partitioning: TimeWindowPartitioning) -> str:
    """A good key, for texts that say what is expected."""
    return _key(partitioning, _number(partitioning.granularity, _EXAMPLE_WALL_MS))


def count_between(partitioning: TimeWindowPartitioning, window: Window) -> int:
    """How many windows of the partitioning overlap a span of time."""
    first = _number_at(partitioning, window.start_ms)
    return _count(partitioning, first, _number_at(partitioning, window.end_ms - 1)) + 1


def keys_overlapping(partitioning: TimeWindowPartitioning, window: Window) -> tuple[str, ...]:
    """The keys of all windows that overlap a span of time, in order."""
    first = _number_at(partitioning, window.start_ms)
    last = _number_at(partitioning, window.end_ms - 1)
    numbers = range(first, last + 1)
    if _count(partitioning, first, last) == last - first:
        return tuple(_key(partitioning, number) for number in numbers)
    return tuple(_key(partitioning, number) for number in numbers if not _skipped(partitioning, number, number))


def _format_of(partitioning: TimeWindowPartitioning) -> KeyFormat:
    text = partitioning.format
    return compile_format(_DEFAULT_FORMAT[partitioning.granularity] if text is None else text)


# Windows are numbered along the wall clock, the skipped ones too: a number is arithmetic, a count is not.


def _number_at(partitioning: TimeWindowPartitioning, at_ms: int) -> int:
    return _number(partitioning.granularity, risen_wall_at(zone(partitioning.timezone), at_ms))


def _number(granularity: Granularity, wall_ms: int) -> int:
    if granularity is Granularity.MONTH:
        at = naive_wall(wall_ms)
        return at.year * 12 + at.month - 1
    if granularity is Granularity.WEEK:
        wall_ms += _MONDAY_OFFSET_MS
    return wall_ms // _LENGTH_MS[granularity]


def _wall_of(granularity: Granularity, number: int) -> int:
    if granularity is Granularity.MONTH:
        year, month = divmod(number, 12)
        return epoch_ms(datetime(min(max(year, 1), 9999), month + 1, 1, tzinfo=UTC))
    wall_ms = number * _LENGTH_MS[granularity]
    return wall_ms - _MONDAY_OFFSET_MS if granularity is Granularity.WEEK else wall_ms


@lru_cache(maxsize=16384)
def _key(partitioning: TimeWindowPartitioning, number: int) -> str:
    wall_ms = _wall_of(partitioning.granularity, number)
    if not EARLIEST_MS <= wall_ms < LATEST_MS:
        raise ValueError(f"a {partitioning.granularity} window outside the years {FIRST_YEAR} to {LAST_YEAR}")
    return _format_of(partitioning).write(wall_ms)


@lru_cache(maxsize=16384)
def _read(partitioning: TimeWindowPartitioning, key: str) -> tuple[int, Window]:
    try:
        number = _number(partitioning.granularity, _format_of(partitioning).read(key))
        canonical = _key(partitioning, number)
    except ValueError as error:
        raise _refused(partitioning, key, str(error)) from None
    if canonical != key:
        raise _refused(partitioning, key, f"it is not the start of its window, which is {canonical!r}")
    tz = zone(partitioning.timezone)
    start = first_at(tz, _wall_of(partitioning.granularity, number))
    end = first_at(tz, _wall_of(partitioning.granularity, number + 1))
    if start == end:
        raise _refused(partitioning, key, "the clocks go forward there, so no time of that window exists")
    return number, Window(start, end)


def _refused(partitioning: TimeWindowPartitioning, key: str, why: str) -> PartitionKeyError:
    return PartitionKeyError(
        f"partition key {key!r} is no {partitioning.granularity} window of {partitioning.timezone}: {why}; "
        f"expected a key such as {example_key(partitioning)!r}"
    )


def _count(partitioning: TimeWindowPartitioning, number: int, other: int) -> int:
    """How many windows that exist one goes forward from one to the other; negative is backward."""
    if other == number:
        return 0
    if other < number:
        return -_count(partitioning, other, number)
    return other - number - _skipped(partitioning, number, other)


def _skipped(partitioning: TimeWindowPartitioning, low: int, high: int) -> int:
    """How many of the windows `low <= number <= high` the clocks skip whole."""
    granularity = partitioning.granularity
    if granularity not in _CAN_BE_SKIPPED or partitioning.timezone == "UTC":
        return 0
    first_year = naive_wall(_wall_of(granularity, low)).year
    last_year = naive_wall(_wall_of(granularity, high)).year
    tz = zone(partitioning.timezone)
    return sum(_skipped_in(tz, granularity, year, low, high) for year in range(first_year - 1, last_year + 1))


def _skipped_in(tz: ZoneInfo, granularity: Granularity, year: int, low: int, high: int) -> int:
    length = _LENGTH_MS[granularity]
    return sum(
        max(0, min(gap.end_ms // length, high + 1) - max(-(-gap.start_ms // length), low)) for gap in gaps_in(tz, year)
    )

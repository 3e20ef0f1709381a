"""Partition keys: which ones an asset has, what they mean, and which of them correspond along an edge."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import Enum
from typing import Final, TypeAlias, assert_never

from actors.core.key_format import flaw_of
from actors.core.time_windows import (
    Granularity,
    PartitionKeyError,
    TimeWindowPartitioning,
    Window,
    count_between,
    example_key,
    in_lookback,
    key_at,
    keys_overlapping,
    shift,
    window_of,
    windows_ago,
)

__all__ = [
    "ALL_KNOWN",
    "MAX_MAPPED_WINDOWS",
    "AllKnown",
    "DynamicPartitioning",
    "Granularity",
    "PartitionKeyError",
    "Partitioning",
    "StaticPartitioning",
    "TimeWindowPartitioning",
    "Window",
    "check_mapping",
    "derived_parameters",
    "downstream_keys",
    "in_lookback",
    "key_at",
    "shift",
    "upstream_concerns",
    "validate_key",
    "window_of",
    "windows_ago",
]

# The minutes of a day of 26 hours, the longest there is: at Antarctica/Troll the clocks go back by two.
MAX_MAPPED_WINDOWS = 26 * 60
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MOST_MINUTES = {
    Granularity.MINUTE: 1,
    Granularity.HOUR: 60,
    Granularity.DAY: 24 * 60,
    Granularity.WEEK: 7 * 24 * 60,
    Granularity.MONTH: 31 * 24 * 60,
}


@dataclass(frozen=True, slots=True)
class StaticPartitioning:
    """A fixed list of partition keys.

    Raises:
        ValueError: no key, a key twice, or a key that is empty, too long or unprintable.
    """

    keys: tuple[str, ...]

    def __post_init__(self) -> None:
        if not self.keys:
            raise ValueError("keys must hold at least one partition key")
        seen = set[str]()
        for key in self.keys:
            flaw = flaw_of(key)
            if flaw:
                raise ValueError(f"keys holds {key!r}, which {flaw}")
            if key in seen:
                raise ValueError(f"keys holds {key!r} twice")
            seen.add(key)


@dataclass(frozen=True, slots=True)
class DynamicPartitioning:
    """Partition keys that come into being with the first materialization; at most `max_keys` of them.

    Raises:
        ValueError: `max_keys` is not positive.
    """

    max_keys: int | None = None

    def __post_init__(self) -> None:
        if self.max_keys is not None and self.max_keys < 1:
            raise ValueError(f"max_keys must be at least 1, got {self.max_keys}")


Partitioning: TypeAlias = StaticPartitioning | DynamicPartitioning | TimeWindowPartitioning


class AllKnown(Enum):
    """The answer "every partition of that asset that exists", which only the catalog can spell out."""

    ALL_KNOWN = "all-known"


ALL_KNOWN: Final = AllKnown.ALL_KNOWN


def validate_key(partitioning: Partitioning | None, key: str | None, *, asset_id: str) -> None:
    """Check that a key fits the partitioning; an unpartitioned asset takes only None.

    Raises:
        PartitionKeyError: it does not fit; the text names the asset, says why and shows a good key.
    """
    try:
        _validate(partitioning, key)
    except PartitionKeyError as error:
        raise PartitionKeyError(f"asset {asset_id!r}: {error}") from None


def derived_parameters(partitioning: Partitioning | None, key: str | None) -> dict[str, str]:
    """Run parameters that follow from the partition: `partitionKey`, and of a time window `windowStart`,
    `windowEnd`.

    The window's ends are ISO 8601 in UTC, the end exclusive. Empty for an unpartitioned asset.

    Raises:
        PartitionKeyError: the key is missing, or there is no window of it.
    """
    if partitioning is None:
        return {}
    present = _present(key)
    parameters = {"partitionKey": present}
    if isinstance(partitioning, TimeWindowPartitioning):
        window = window_of(partitioning, present)
        parameters["windowStart"] = _iso(window.start_ms)
        parameters["windowEnd"] = _iso(window.end_ms)
    return parameters


def downstream_keys(
    up: Partitioning | None, up_key: str | None, produced_at_ms: int, down: Partitioning | None
) -> tuple[str | None, ...] | AllKnown:
    """Which partitions of a downstream asset a materialization of one upstream partition concerns.

    Time windows map to the windows they overlap; equal keys to each other; to a time window whatever has none
    maps by the time of production; anything else concerns every partition.

    Raises:
        PartitionKeyError: `up_key` does not fit `up`.
        ValueError: more than `MAX_MAPPED_WINDOWS`, see `check_mapping`.
    """
    match down:
        case None:
            return (None,)
        case TimeWindowPartitioning():
            if isinstance(up, TimeWindowPartitioning):
                return _mapped_windows(up, _present(up_key), down)
            return (key_at(down, produced_at_ms),)
        case StaticPartitioning():
            if isinstance(up, StaticPartitioning | DynamicPartitioning):
                same = _present(up_key)
                return (same,) if same in down.keys else ()
            return down.keys
        case DynamicPartitioning():
            if isinstance(up, StaticPartitioning | DynamicPartitioning):
                same = _present(up_key)
                return () if flaw_of(same) else (same,)
            return ALL_KNOWN
        case _:
            assert_never(down)


def upstream_concerns(
    up: Partitioning | None,
    up_key: str | None,
    produced_at_ms: int,
    down: Partitioning | None,
    down_key: str | None,
) -> bool:
    """True when `down_key` is among `downstream_keys(up, up_key, produced_at_ms, down)`, without listing
    them.

    Raises:
        PartitionKeyError: `up_key` does not fit `up`.
    """
    match down:
        case None:
            return down_key is None
        case TimeWindowPartitioning():
            if isinstance(up, TimeWindowPartitioning):
                return _overlap(window_of(up, _present(up_key)), down, down_key)
            return down_key == key_at(down, produced_at_ms)
        case StaticPartitioning():
            if isinstance(up, StaticPartitioning | DynamicPartitioning):
                return down_key == _present(up_key) and down_key in down.keys
            return down_key in down.keys
        case DynamicPartitioning():
            if isinstance(up, StaticPartitioning | DynamicPartitioning):
                return down_key == _present(up_key) and not flaw_of(down_key)
            return True
        case _:
            assert_never(down)


def check_mapping(up: Partitioning | None, down: Partitioning | None) -> str | None:
    """Why an edge between assets so partitioned cannot be mapped, or None if it can."""
    if isinstance(up, TimeWindowPartitioning) and isinstance(down, TimeWindowPartitioning):
        most = _MOST_MINUTES[up.granularity] // _MOST_MINUTES[down.granularity]
        if most > MAX_MAPPED_WINDOWS:
            return (
                f"one {up.granularity} upstream is up to {most} {down.granularity} windows downstream, "
                f"and at most {MAX_MAPPED_WINDOWS} can be mapped; choose a coarser granularity downstream"
            )
    if (
        isinstance(up, StaticPartitioning)
        and isinstance(down, StaticPartitioning)
        and not set(up.keys) & set(down.keys)
    ):
        return "upstream and downstream are static partitions without a key in common, so no update would arrive"
    return None


def _validate(partitioning: Partitioning | None, key: str | None) -> None:
    if partitioning is None:
        if key is not None:
            raise PartitionKeyError(f"partition key {key!r} is given, but the asset is not partitioned; leave it out")
        return
    if key is None:
        raise PartitionKeyError(f"a partition key is missing; expected {_expected(partitioning)}")
    match partitioning:
        case TimeWindowPartitioning():
            window_of(partitioning, key)
        case StaticPartitioning():
            if key not in partitioning.keys:
                raise PartitionKeyError(f"partition key {key!r} is unknown; expected {_expected(partitioning)}")
        case DynamicPartitioning():
            flaw = flaw_of(key)
            if flaw:
                raise PartitionKeyError(f"partition key {key!r} {flaw}; expected {_expected(partitioning)}")
        case _:
            assert_never(partitioning)


def _expected(partitioning: Partitioning) -> str:
    match partitioning:
        case TimeWindowPartitioning():
            return f"a {partitioning.granularity} window such as {example_key(partitioning)!r}"
        case StaticPartitioning():
            shown = ", ".join(repr(key) for key in partitioning.keys[:5])
            return f"one of {shown}" + (", ..." if len(partitioning.keys) > 5 else "")
        case DynamicPartitioning():
            return "1 to 255 printable characters such as 'customer-42'"
        case _:
            assert_never(partitioning)


def _present(key: str | None) -> str:
    if key is None:
        raise PartitionKeyError("a partition key is missing: the asset is partitioned")
    return key


def _mapped_windows(up: TimeWindowPartitioning, up_key: str, down: TimeWindowPartitioning) -> tuple[str, ...]:
    window = window_of(up, up_key)
    if (up.granularity, up.timezone, up.format) == (down.granularity, down.timezone, down.format):
        return (up_key,)
    count = count_between(down, window)
    if count > MAX_MAPPED_WINDOWS:
        raise ValueError(
            f"partition {up_key!r} overlaps {count} {down.granularity} windows downstream, "
            f"more than {MAX_MAPPED_WINDOWS}; choose a coarser granularity downstream"
        )
    return keys_overlapping(down, window)


def _overlap(window: Window, down: TimeWindowPartitioning, down_key: str | None) -> bool:
    if down_key is None:
        return False
    try:
        other = window_of(down, down_key)
    except PartitionKeyError:
        return False
    return window.start_ms < other.end_ms and other.start_ms < window.end_ms


def _iso(at_ms: int) -> str:
    at = _EPOCH + timedelta(milliseconds=at_ms)
    return at.isoformat(timespec="milliseconds" if at_ms % 1_000 else "seconds").replace("+00:00", "Z")

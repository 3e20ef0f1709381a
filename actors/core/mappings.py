"""Which partitions correspond along an edge: what a change upstream concerns, and what a partition is made from."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Final, assert_never

from actors.core.key_format import flaw_of
from actors.core.partitions import (
    DynamicPartitioning,
    Granularity,
    Partitioning,
    PartitionKeyError,
    StaticPartitioning,
    TimeWindowPartitioning,
    is_key,
    key_at,
    present_key,
    validate_key,
    window_of,
)
from actors.core.time_windows import count_between, keys_overlapping

__all__ = [
    "ALL_KNOWN",
    "DEFAULT_MAPPING",
    "MAX_MAPPED_WINDOWS",
    "AllKnown",
    "Keys",
    "MappingType",
    "PartitionMapping",
    "check_mapping",
    "downstream_keys",
    "is_by_production",
    "is_superseded",
    "required_keys",
]

# The minutes of a day of 26 hours, the longest there is: at Antarctica/Troll the clocks go back by two.
MAX_MAPPED_WINDOWS = 26 * 60
_MOST_MINUTES = {
    Granularity.MINUTE: 1,
    Granularity.HOUR: 60,
    Granularity.DAY: 24 * 60,
    Granularity.WEEK: 7 * 24 * 60,
    Granularity.MONTH: 31 * 24 * 60,
}


class MappingType(StrEnum):
    """A rule that a definition names; without one the kinds of partitioning say which rule it is.

    IDENTITY: equal keys. WINDOW: time windows that overlap; what is no time window maps by the time of production.
    LATEST: only the latest of the upstream's time windows counts, and concerns what an upstream without partitions
    would. ALL: every partition concerns every partition.
    """

    IDENTITY = "identity"
    WINDOW = "window"
    LATEST = "latest"
    ALL = "all"


@dataclass(frozen=True, slots=True)
class PartitionMapping:
    """One edge's rule. With `wait_for_all` a partition is not made by itself before every upstream partition that goes
    into it has been made, as far as those can be told in advance (`required_keys`)."""

    type: MappingType | None = None
    wait_for_all: bool = False


DEFAULT_MAPPING: Final = PartitionMapping()


@dataclass(frozen=True, slots=True)
class AllKnown:
    """The answer "every partition of that asset that exists", which only the asset can spell out, and `also` these."""

    also: tuple[str, ...] = ()


ALL_KNOWN: Final = AllKnown()

Keys = tuple[str | None, ...] | AllKnown


def downstream_keys(
    up: Partitioning | None,
    up_key: str | None,
    produced_at_ms: int,
    down: Partitioning | None,
    mapping: PartitionMapping = DEFAULT_MAPPING,
) -> Keys:
    """Which partitions of a downstream asset a materialization of one upstream partition concerns.

    By default time windows map to the windows they overlap; equal keys to each other; to a time window whatever has
    none maps by the time of production; anything else concerns every partition.

    Raises:
        PartitionKeyError: `up_key` does not fit `up`.
        ValueError: more than `MAX_MAPPED_WINDOWS`, see `check_mapping`.
    """
    match mapping.type:
        case None | MappingType.WINDOW:
            return _by_kind(up, up_key, produced_at_ms, down)
        case MappingType.IDENTITY:
            validate_key(up, up_key, asset_id="")
            return (up_key,) if is_key(down, up_key) else ()
        case MappingType.LATEST:
            validate_key(up, up_key, asset_id="")
            return _by_kind(None, None, produced_at_ms, down)
        case MappingType.ALL:
            validate_key(up, up_key, asset_id="")
            if isinstance(down, TimeWindowPartitioning):
                return AllKnown((key_at(down, produced_at_ms),))
            return _by_kind(None, None, produced_at_ms, down)
        case _:
            assert_never(mapping.type)


def required_keys(
    up: Partitioning | None, down: Partitioning | None, down_key: str | None, mapping: PartitionMapping
) -> tuple[str | None, ...]:
    """The upstream partitions that go into one downstream partition; none where they cannot be told in advance.

    They cannot of dynamic keys, of time windows that go into something without time, and of `latest`.
    """
    match mapping.type:
        case MappingType.LATEST:
            return ()
        case MappingType.IDENTITY:
            return (down_key,) if is_key(up, down_key) else ()
        case _:
            pass
    match up:
        case None:
            return (None,)
        case DynamicPartitioning():
            return ()
        case StaticPartitioning(keys=keys):
            if isinstance(down, StaticPartitioning | DynamicPartitioning) and mapping.type is not MappingType.ALL:
                return (down_key,) if down_key in keys else ()
            return keys
        case TimeWindowPartitioning():
            if not isinstance(down, TimeWindowPartitioning) or mapping.type is MappingType.ALL:
                return ()
            try:
                return _mapped_windows(down, down_key, up)
            except ValueError:
                return ()
        case _:
            assert_never(up)


def is_by_production(up: Partitioning | None, down: Partitioning | None, mapping: PartitionMapping) -> bool:
    """Whether it is the time of its production that says which windows downstream an upstream partition concerns."""
    if not isinstance(down, TimeWindowPartitioning) or mapping.type is MappingType.IDENTITY:
        return False
    return not isinstance(up, TimeWindowPartitioning) or mapping.type in (MappingType.LATEST, MappingType.ALL)


def is_superseded(up: Partitioning | None, up_key: str | None, newest: str | None, mapping: PartitionMapping) -> bool:
    """Whether an upstream partition is of no concern because only the latest counts, and `newest` is later."""
    if mapping.type is not MappingType.LATEST or not isinstance(up, TimeWindowPartitioning):
        return False
    if up_key is None or newest is None:
        return False
    try:
        return window_of(up, up_key).start_ms < window_of(up, newest).start_ms
    except PartitionKeyError:
        return False


def check_mapping(
    up: Partitioning | None, down: Partitioning | None, mapping: PartitionMapping = DEFAULT_MAPPING
) -> str | None:
    """Why an edge between assets so partitioned cannot be mapped, or not as it is meant; None if it can."""
    if mapping.type is MappingType.LATEST:
        if not isinstance(up, TimeWindowPartitioning):
            return "'latest' is the latest time window, and the upstream has none; every update counts"
        if mapping.wait_for_all:
            return "'latest' is one partition, so there is nothing more to wait for"
        return None
    if mapping.wait_for_all and (flaw := _flaw_of_waiting(up, down, mapping)):
        return flaw
    match mapping.type:
        case MappingType.ALL:
            return None
        case MappingType.IDENTITY:
            return _flaw_of_identity(up, down)
        case MappingType.WINDOW if not isinstance(down, TimeWindowPartitioning):
            return "'window' maps to time windows, and the asset has none; the default rules count"
        case _:
            return _flaw_by_kind(up, down)


def _by_kind(up: Partitioning | None, up_key: str | None, produced_at_ms: int, down: Partitioning | None) -> Keys:
    match down:
        case None:
            return (None,)
        case TimeWindowPartitioning():
            if isinstance(up, TimeWindowPartitioning):
                return _mapped_windows(up, up_key, down)
            return (key_at(down, produced_at_ms),)
        case StaticPartitioning():
            if isinstance(up, StaticPartitioning | DynamicPartitioning):
                same = present_key(up_key)
                return (same,) if same in down.keys else ()
            return down.keys
        case DynamicPartitioning():
            if isinstance(up, StaticPartitioning | DynamicPartitioning):
                same = present_key(up_key)
                return () if flaw_of(same) else (same,)
            return ALL_KNOWN
        case _:
            assert_never(down)


def _mapped_windows(one: TimeWindowPartitioning, key: str | None, other: TimeWindowPartitioning) -> tuple[str, ...]:
    """The windows of `other` that a window of `one` overlaps."""
    present = present_key(key)
    window = window_of(one, present)
    if (one.granularity, one.timezone, one.format) == (other.granularity, other.timezone, other.format):
        return (present,)
    count = count_between(other, window)
    if count > MAX_MAPPED_WINDOWS:
        raise ValueError(
            f"partition {present!r} overlaps {count} {other.granularity} windows, "
            f"more than {MAX_MAPPED_WINDOWS}; choose a coarser granularity there"
        )
    return keys_overlapping(other, window)


def _flaw_by_kind(up: Partitioning | None, down: Partitioning | None) -> str | None:
    if isinstance(up, TimeWindowPartitioning) and isinstance(down, TimeWindowPartitioning):
        most = _MOST_MINUTES[up.granularity] // _MOST_MINUTES[down.granularity]
        if most > MAX_MAPPED_WINDOWS:
            return (
                f"one {up.granularity} upstream is up to {most} {down.granularity} windows downstream, "
                f"and at most {MAX_MAPPED_WINDOWS} can be mapped; choose a coarser granularity downstream"
            )
    if isinstance(up, StaticPartitioning) and isinstance(down, StaticPartitioning):
        return None if set(up.keys) & set(down.keys) else _NO_COMMON_KEY
    return None


_NO_COMMON_KEY: Final = (
    "upstream and downstream are static partitions without a key in common, so no update would arrive"
)


def _flaw_of_identity(up: Partitioning | None, down: Partitioning | None) -> str | None:
    if (up is None) != (down is None):
        side = "upstream" if up is None else "asset"
        return f"'identity' maps equal keys, and the {side} has no partitions, so no update would arrive"
    if isinstance(up, StaticPartitioning) and down is not None and not any(is_key(down, key) for key in up.keys):
        return _NO_COMMON_KEY if isinstance(down, StaticPartitioning) else _NO_EQUAL_KEY
    if isinstance(down, StaticPartitioning) and up is not None and not any(is_key(up, key) for key in down.keys):
        return _NO_EQUAL_KEY
    if isinstance(up, TimeWindowPartitioning) and isinstance(down, TimeWindowPartitioning):
        return None if is_key(down, key_at(up, 0)) else _NO_EQUAL_KEY
    return None


_NO_EQUAL_KEY: Final = "'identity' maps equal keys, and these two write theirs differently, so no update would arrive"


def _flaw_of_waiting(up: Partitioning | None, down: Partitioning | None, mapping: PartitionMapping) -> str | None:
    if isinstance(up, DynamicPartitioning):
        return "to wait for all is not possible: nobody knows in advance which dynamic keys there will be"
    if isinstance(up, TimeWindowPartitioning):
        if mapping.type is MappingType.ALL or not isinstance(down, TimeWindowPartitioning):
            return "to wait for all is not possible: there is no end of time windows"
        if mapping.type is not MappingType.IDENTITY:
            most = _MOST_MINUTES[down.granularity] // _MOST_MINUTES[up.granularity]
            if most > MAX_MAPPED_WINDOWS:
                return f"to wait for all is not possible: {most} windows go into one, at most {MAX_MAPPED_WINDOWS} can"
    return None

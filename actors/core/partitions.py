"""Partition keys: which ones an asset has, and what they mean. Which correspond along an edge: see `mappings`."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TypeAlias, assert_never

from actors.core.key_format import flaw_of
from actors.core.time_windows import (
    Granularity,
    PartitionKeyError,
    TimeWindowPartitioning,
    Window,
    example_key,
    in_lookback,
    key_at,
    shift,
    window_of,
    windows_ago,
)

__all__ = [
    "DynamicPartitioning",
    "Granularity",
    "PartitionKeyError",
    "Partitioning",
    "StaticPartitioning",
    "TimeWindowPartitioning",
    "Window",
    "derived_parameters",
    "in_lookback",
    "is_key",
    "key_at",
    "present_key",
    "shift",
    "validate_key",
    "window_of",
    "windows_ago",
]

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


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


def validate_key(partitioning: Partitioning | None, key: str | None, *, asset_id: str) -> None:
    """Check that a key fits the partitioning; an unpartitioned asset takes only None.

    Raises:
        PartitionKeyError: it does not fit; the text names the asset, says why and shows a good key.
    """
    try:
        _validate(partitioning, key)
    except PartitionKeyError as error:
        raise PartitionKeyError(f"asset {asset_id!r}: {error}") from None


def is_key(partitioning: Partitioning | None, key: str | None) -> bool:
    """Whether a key fits the partitioning."""
    try:
        _validate(partitioning, key)
    except PartitionKeyError:
        return False
    return True


def derived_parameters(partitioning: Partitioning | None, key: str | None) -> dict[str, str]:
    """Run parameters that follow from the partition: `partitionKey`, and of a time window `windowStart`,
    `windowEnd`.

    The window's ends are ISO 8601 in UTC, the end exclusive. Empty for an unpartitioned asset.

    Raises:
        PartitionKeyError: the key is missing, or there is no window of it.
    """
    if partitioning is None:
        return {}
    present = present_key(key)
    parameters = {"partitionKey": present}
    if isinstance(partitioning, TimeWindowPartitioning):
        window = window_of(partitioning, present)
        parameters["windowStart"] = _iso(window.start_ms)
        parameters["windowEnd"] = _iso(window.end_ms)
    return parameters


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


def present_key(key: str | None) -> str:
    """The key of a partitioned asset.

    Raises:
        PartitionKeyError: there is none.
    """
    if key is None:
        raise PartitionKeyError("a partition key is missing: the asset is partitioned")
    return key


def _iso(at_ms: int) -> str:
    at = _EPOCH + timedelta(milliseconds=at_ms)
    return at.isoformat(timespec="milliseconds" if at_ms % 1_000 else "seconds").replace("+00:00", "Z")

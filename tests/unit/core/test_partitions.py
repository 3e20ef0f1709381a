from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from actors.core.partitions import (
    DynamicPartitioning,
    Granularity,
    Partitioning,
    PartitionKeyError,
    StaticPartitioning,
    TimeWindowPartitioning,
    derived_parameters,
    key_at,
    shift,
    validate_key,
)
from tests.unit.core.zones import CHANGES, ms, zoned_instants

NOW = ms("2026-11-23T05:30Z")
REGIONS = StaticPartitioning(("eu", "us", "apac"))
ANY_KEYS = DynamicPartitioning()
DAY = TimeWindowPartitioning(Granularity.DAY)
HOUR = TimeWindowPartitioning(Granularity.HOUR)
ZONES = st.sampled_from(sorted({name for name, _ in CHANGES}))
TIME_WINDOWS = st.builds(TimeWindowPartitioning, st.sampled_from(Granularity), ZONES)
NAMES = st.sampled_from(("eu", "us", "apac", "mars"))
STATICS = st.lists(NAMES, min_size=1, unique=True).map(lambda keys: StaticPartitioning(tuple(keys)))
ANY: st.SearchStrategy[Partitioning | None] = st.one_of(st.none(), STATICS, st.just(ANY_KEYS), TIME_WINDOWS)


@st.composite
def partitions(draw: st.DrawFn) -> tuple[Partitioning | None, str | None, int]:
    """Some partitioning, a valid key of it, and an instant near a change of clocks."""
    partitioning = draw(ANY)
    _, at_ms = draw(zoned_instants())
    return partitioning, _key_of(draw, partitioning, at_ms), at_ms


def _key_of(draw: st.DrawFn, partitioning: Partitioning | None, at_ms: int) -> str | None:
    if partitioning is None:
        return None
    if isinstance(partitioning, StaticPartitioning):
        return draw(st.sampled_from(partitioning.keys))
    if isinstance(partitioning, DynamicPartitioning):
        return draw(NAMES)
    return shift(partitioning, key_at(partitioning, at_ms), draw(st.integers(-30, 30)))


def test_an_unpartitioned_asset_takes_no_key() -> None:
    validate_key(None, None, asset_id="orders")
    with pytest.raises(PartitionKeyError, match=r"'orders'.*'x'.*not partitioned"):
        validate_key(None, "x", asset_id="orders")


@pytest.mark.parametrize(
    ("partitioning", "example_of"), [(REGIONS, "'eu'"), (ANY_KEYS, "'customer-42'"), (DAY, "'2026-01-05'")]
)
def test_a_partitioned_asset_needs_a_key_and_says_which(partitioning: Partitioning, example_of: str) -> None:
    with pytest.raises(PartitionKeyError, match=f"'orders.*missing.*{example_of}"):
        validate_key(partitioning, None, asset_id="orders")


@given(partitions())
def test_valid_keys_are_valid(place: tuple[Partitioning | None, str | None, int]) -> None:
    validate_key(place[0], place[1], asset_id="orders")


@pytest.mark.parametrize(
    ("partitioning", "key", "says"),
    [
        (REGIONS, "mars", "'mars' is unknown; expected one of 'eu', 'us', 'apac'$"),
        (StaticPartitioning(tuple("abcdefg")), "x", r"'a', 'b', 'c', 'd', 'e', \.\.\.$"),
        (ANY_KEYS, "", "is empty; expected 1 to 255"),
        (ANY_KEYS, " a", "space"),
        (ANY_KEYS, "x" * 256, "256 characters"),
        (DAY, "2026-13-01", "'2026-01-05'"),
        (HOUR, "2026-11-23", "'2026-01-05T09'"),
    ],
)
def test_a_bad_key_is_refused_with_asset_reason_and_expectation(
    partitioning: Partitioning, key: str, says: str
) -> None:
    with pytest.raises(PartitionKeyError, match=says) as caught:
        validate_key(partitioning, key, asset_id="orders.daily")
    assert str(caught.value).startswith("asset 'orders.daily': ")


@pytest.mark.parametrize(
    ("keys", "says"), [((), "at least one"), (("a", "a"), "twice"), (("a", ""), "empty"), ((" a",), "space")]
)
def test_static_keys_that_make_no_sense_are_refused(keys: tuple[str, ...], says: str) -> None:
    with pytest.raises(ValueError, match=f"^keys .*{says}"):
        StaticPartitioning(keys)


def test_a_dynamic_limit_below_one_is_refused() -> None:
    with pytest.raises(ValueError, match=r"^max_keys "):
        DynamicPartitioning(max_keys=0)


@pytest.mark.parametrize(
    ("partitioning", "key", "expected"),
    [
        (None, None, {}),
        (REGIONS, "eu", {"partitionKey": "eu"}),
        (ANY_KEYS, "c-1", {"partitionKey": "c-1"}),
        (
            DAY,
            "2026-11-23",
            {
                "partitionKey": "2026-11-23",
                "windowStart": "2026-11-23T00:00:00Z",
                "windowEnd": "2026-11-24T00:00:00Z",
            },
        ),
        (
            TimeWindowPartitioning(Granularity.DAY, "Asia/Kathmandu"),
            "2026-11-23",
            {
                "partitionKey": "2026-11-23",
                "windowStart": "2026-11-22T18:15:00Z",
                "windowEnd": "2026-11-23T18:15:00Z",
            },
        ),
        (
            TimeWindowPartitioning(Granularity.MONTH),
            "1969-12",
            {
                "partitionKey": "1969-12",
                "windowStart": "1969-12-01T00:00:00Z",
                "windowEnd": "1970-01-01T00:00:00Z",
            },
        ),
    ],
)
def test_run_parameters_that_follow_from_the_partition(
    partitioning: Partitioning | None, key: str | None, expected: dict[str, str]
) -> None:
    assert derived_parameters(partitioning, key) == expected


def test_no_run_parameters_follow_from_a_missing_key() -> None:
    with pytest.raises(PartitionKeyError, match="missing"):
        derived_parameters(DAY, None)

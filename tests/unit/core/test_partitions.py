from __future__ import annotations

import pytest
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st

from actors.core.partitions import (
    ALL_KNOWN,
    MAX_MAPPED_WINDOWS,
    DynamicPartitioning,
    Granularity,
    Partitioning,
    PartitionKeyError,
    StaticPartitioning,
    TimeWindowPartitioning,
    check_mapping,
    derived_parameters,
    downstream_keys,
    key_at,
    shift,
    upstream_concerns,
    validate_key,
    window_of,
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


@pytest.mark.parametrize(
    ("up", "up_key", "down", "expected"),
    [
        (None, None, None, (None,)),
        (DAY, "2026-11-01", None, (None,)),
        (None, None, REGIONS, REGIONS.keys),
        (None, None, ANY_KEYS, ALL_KNOWN),
        (None, None, DAY, ("2026-11-23",)),
        (REGIONS, "eu", REGIONS, ("eu",)),
        (REGIONS, "eu", StaticPartitioning(("us",)), ()),
        (ANY_KEYS, "eu", REGIONS, ("eu",)),
        (ANY_KEYS, "c-1", REGIONS, ()),
        (REGIONS, "eu", ANY_KEYS, ("eu",)),
        (ANY_KEYS, "c-1", ANY_KEYS, ("c-1",)),
        (ANY_KEYS, "c 1 ", ANY_KEYS, ()),
        (REGIONS, "eu", HOUR, ("2026-11-23T05",)),
        (ANY_KEYS, "c-1", DAY, ("2026-11-23",)),
        (DAY, "2026-11-01", REGIONS, REGIONS.keys),
        (DAY, "2026-11-01", ANY_KEYS, ALL_KNOWN),
        (DAY, "2026-11-01", DAY, ("2026-11-01",)),
        (HOUR, "2026-11-01T07", DAY, ("2026-11-01",)),
        (DAY, "2026-11-01", HOUR, tuple(f"2026-11-01T{hour:02d}" for hour in range(24))),
        (DAY, "2026-11-01", TimeWindowPartitioning(Granularity.DAY, format="%Y%m%d"), ("20261101",)),
        (
            DAY,
            "2026-11-01",
            TimeWindowPartitioning(Granularity.DAY, "Asia/Kathmandu"),
            ("2026-11-01", "2026-11-02"),
        ),
        (
            TimeWindowPartitioning(Granularity.WEEK),
            "2026-W05",
            TimeWindowPartitioning(Granularity.MONTH),
            ("2026-01", "2026-02"),
        ),
        (
            TimeWindowPartitioning(Granularity.DAY, "Europe/Berlin"),
            "2026-03-29",
            TimeWindowPartitioning(Granularity.HOUR, "Europe/Berlin"),
            tuple(f"2026-03-29T{hour:02d}" for hour in range(24) if hour != 2),
        ),
    ],
)
def test_which_downstream_partitions_an_update_concerns(
    up: Partitioning | None, up_key: str | None, down: Partitioning | None, expected: object
) -> None:
    assert downstream_keys(up, up_key, NOW, down) == expected


@settings(deadline=None)
@given(partitions(), partitions())
@example((HOUR, "2026-11-01T07", NOW), (DAY, "2026-11-01", NOW))
def test_both_sides_of_an_edge_agree(
    upstream: tuple[Partitioning | None, str | None, int],
    downstream: tuple[Partitioning | None, str | None, int],
) -> None:
    up, up_key, produced_at_ms = upstream
    down, down_key, _ = downstream
    assume(not isinstance(up, TimeWindowPartitioning) or check_mapping(up, down) is None)
    keys = downstream_keys(up, up_key, produced_at_ms, down)
    if keys is ALL_KNOWN:
        assert upstream_concerns(up, up_key, produced_at_ms, down, down_key)
        return
    assert upstream_concerns(up, up_key, produced_at_ms, down, down_key) == (down_key in keys)
    for key in keys[:3] + keys[-3:]:
        validate_key(down, key, asset_id="orders")
        assert upstream_concerns(up, up_key, produced_at_ms, down, key)
    if keys and isinstance(up, TimeWindowPartitioning) and isinstance(down, TimeWindowPartitioning):
        for outside in (_neighbour(down, keys[0], -1), _neighbour(down, keys[-1], 1)):
            assert not upstream_concerns(up, up_key, produced_at_ms, down, outside)


def _neighbour(partitioning: TimeWindowPartitioning, key: str | None, n: int) -> str:
    assert key is not None
    return shift(partitioning, key, n)


@settings(deadline=None)
@given(TIME_WINDOWS, TIME_WINDOWS, zoned_instants())
@example(
    TimeWindowPartitioning(Granularity.DAY, "Antarctica/Troll"),
    TimeWindowPartitioning(Granularity.MINUTE),
    ("Antarctica/Troll", ms("2026-10-25T00:00Z")),
)
def test_mapped_windows_cover_the_upstream_window_and_no_more_than_is_checked(
    up: TimeWindowPartitioning, down: TimeWindowPartitioning, place: tuple[str, int]
) -> None:
    assume(check_mapping(up, down) is None)
    up_key = key_at(up, place[1])
    keys = downstream_keys(up, up_key, place[1], down)
    assert isinstance(keys, tuple)
    assert 1 <= len(keys) <= MAX_MAPPED_WINDOWS
    window = window_of(up, up_key)
    first, last = window_of(down, str(keys[0])), window_of(down, str(keys[-1]))
    assert first.start_ms <= window.start_ms < first.end_ms
    assert last.start_ms < window.end_ms <= last.end_ms


@pytest.mark.parametrize("down_key", [None, "", "2026", "2026-11-31"])
def test_a_key_that_no_longer_fits_the_downstream_is_of_no_concern(down_key: str | None) -> None:
    assert not upstream_concerns(HOUR, "2026-11-01T07", NOW, DAY, down_key)


@pytest.mark.parametrize(("down", "key"), [(REGIONS, "mars"), (ANY_KEYS, "c 1 ")])
def test_an_equal_key_that_is_none_downstream_is_of_no_concern(down: Partitioning, key: str) -> None:
    assert not upstream_concerns(ANY_KEYS, key, NOW, down, key)


@pytest.mark.parametrize("down", [REGIONS, ANY_KEYS, DAY])
def test_a_missing_upstream_key_is_an_error_on_both_sides(down: Partitioning) -> None:
    up = DAY if down is DAY else REGIONS
    with pytest.raises(PartitionKeyError, match="missing"):
        downstream_keys(up, None, NOW, down)
    with pytest.raises(PartitionKeyError, match="missing"):
        upstream_concerns(up, None, NOW, down, "eu")


@pytest.mark.parametrize("granularity", [Granularity.WEEK, Granularity.MONTH])
def test_an_edge_of_too_many_windows_is_refused_when_checked_and_when_mapped(
    granularity: Granularity,
) -> None:
    up, down = TimeWindowPartitioning(granularity), TimeWindowPartitioning(Granularity.MINUTE)
    reason = check_mapping(up, down)
    assert reason is not None
    assert granularity in reason
    with pytest.raises(ValueError, match="choose a coarser granularity"):
        downstream_keys(up, key_at(up, NOW), NOW, down)


def test_static_partitions_without_a_common_key_cannot_be_mapped() -> None:
    assert check_mapping(REGIONS, StaticPartitioning(("mars", "eu"))) is None
    assert "in common" in (check_mapping(REGIONS, StaticPartitioning(("mars",))) or "")

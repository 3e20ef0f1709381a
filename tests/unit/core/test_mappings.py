from __future__ import annotations

import pytest
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st

from actors.core.mappings import (
    ALL_KNOWN,
    MAX_MAPPED_WINDOWS,
    AllKnown,
    MappingType,
    PartitionMapping,
    check_mapping,
    downstream_keys,
    is_by_production,
    is_superseded,
    required_keys,
)
from actors.core.partitions import (
    Granularity,
    Partitioning,
    PartitionKeyError,
    StaticPartitioning,
    TimeWindowPartitioning,
    is_key,
    key_at,
    window_of,
)
from tests.unit.core.test_partitions import ANY_KEYS, DAY, HOUR, NOW, REGIONS, TIME_WINDOWS, partitions
from tests.unit.core.zones import ms, zoned_instants

MINUTE = TimeWindowPartitioning(Granularity.MINUTE)
IDENTITY, WINDOW, LATEST, ALL = (PartitionMapping(kind) for kind in MappingType)
MAPPINGS = st.builds(PartitionMapping, st.none() | st.sampled_from(MappingType), st.booleans())


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


@pytest.mark.parametrize("down", [REGIONS, ANY_KEYS, DAY])
def test_a_missing_upstream_key_is_an_error(down: Partitioning) -> None:
    up = DAY if down is DAY else REGIONS
    with pytest.raises(PartitionKeyError, match="missing"):
        downstream_keys(up, None, NOW, down)


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


# -- the rules that a definition can name -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("mapping", "up", "up_key", "down", "expected"),
    [
        (IDENTITY, None, None, None, (None,)),
        (IDENTITY, DAY, "2026-11-01", DAY, ("2026-11-01",)),
        (IDENTITY, DAY, "2026-11-01", HOUR, ()),
        (IDENTITY, ANY_KEYS, "2026-11-01", DAY, ("2026-11-01",)),
        (IDENTITY, REGIONS, "eu", None, ()),
        (IDENTITY, None, None, REGIONS, ()),
        (WINDOW, HOUR, "2026-11-01T07", DAY, ("2026-11-01",)),
        (WINDOW, REGIONS, "eu", DAY, ("2026-11-23",)),
        (LATEST, DAY, "2026-11-01", None, (None,)),
        (LATEST, DAY, "2026-11-01", REGIONS, REGIONS.keys),
        (LATEST, HOUR, "2026-11-23T05", DAY, ("2026-11-23",)),
        (LATEST, DAY, "2026-11-01", ANY_KEYS, ALL_KNOWN),
        (ALL, REGIONS, "eu", REGIONS, REGIONS.keys),
        (ALL, REGIONS, "eu", None, (None,)),
        (ALL, ANY_KEYS, "c-1", ANY_KEYS, ALL_KNOWN),
        (ALL, DAY, "2026-11-01", DAY, AllKnown(("2026-11-23",))),
    ],
)
def test_a_named_rule_goes_before_that_of_the_kinds(
    mapping: PartitionMapping, up: Partitioning | None, up_key: str | None, down: Partitioning | None, expected: object
) -> None:
    assert downstream_keys(up, up_key, NOW, down, mapping) == expected


@settings(deadline=None)
@given(MAPPINGS, partitions(), partitions())
def test_whatever_is_mapped_to_is_a_partition_downstream(
    mapping: PartitionMapping,
    upstream: tuple[Partitioning | None, str | None, int],
    downstream: tuple[Partitioning | None, str | None, int],
) -> None:
    up, up_key, produced_at_ms = upstream
    down, down_key, _ = downstream
    assume(check_mapping(up, down) is None or not isinstance(up, TimeWindowPartitioning))
    keys = downstream_keys(up, up_key, produced_at_ms, down, mapping)
    for key in keys.also if isinstance(keys, AllKnown) else keys[:3] + keys[-3:]:
        assert is_key(down, key)
    for key in required_keys(up, down, down_key, mapping)[:50]:
        assert is_key(up, key)


@pytest.mark.parametrize(
    ("mapping", "up", "down", "down_key", "expected"),
    [
        (WINDOW, MINUTE, HOUR, "2026-11-01T07", tuple(f"2026-11-01T07:{minute:02d}" for minute in range(60))),
        (PartitionMapping(), HOUR, DAY, "2026-11-01", tuple(f"2026-11-01T{hour:02d}" for hour in range(24))),
        (PartitionMapping(), DAY, HOUR, "2026-11-01T07", ("2026-11-01",)),
        (PartitionMapping(), MINUTE, TimeWindowPartitioning(Granularity.MONTH), "2026-11", ()),
        (IDENTITY, DAY, DAY, "2026-11-01", ("2026-11-01",)),
        (IDENTITY, REGIONS, ANY_KEYS, "mars", ()),
        (PartitionMapping(), REGIONS, None, None, REGIONS.keys),
        (PartitionMapping(), REGIONS, REGIONS, "eu", ("eu",)),
        (PartitionMapping(), REGIONS, ANY_KEYS, "mars", ()),
        (PartitionMapping(), REGIONS, DAY, "2026-11-01", REGIONS.keys),
        (ALL, REGIONS, REGIONS, "eu", REGIONS.keys),
        (ALL, MINUTE, HOUR, "2026-11-01T07", ()),
        (LATEST, MINUTE, HOUR, "2026-11-01T07", ()),
        (PartitionMapping(), None, DAY, "2026-11-01", (None,)),
        (PartitionMapping(), ANY_KEYS, None, None, ()),
        (PartitionMapping(), DAY, None, None, ()),
    ],
)
def test_what_goes_into_a_partition_as_far_as_it_can_be_told_in_advance(
    mapping: PartitionMapping,
    up: Partitioning | None,
    down: Partitioning | None,
    down_key: str | None,
    expected: object,
) -> None:
    assert required_keys(up, down, down_key, mapping) == expected


@settings(deadline=None)
@given(MAPPINGS, partitions(), partitions())
@example(WINDOW, (MINUTE, "2026-11-23T05:30", NOW), (HOUR, "2026-11-23T05", NOW))
def test_what_is_waited_for_is_told_of_when_it_comes(
    mapping: PartitionMapping,
    upstream: tuple[Partitioning | None, str | None, int],
    downstream: tuple[Partitioning | None, str | None, int],
) -> None:
    """Else a partition would wait for ever for an upstream partition that is there."""
    up, _, _ = upstream
    down, down_key, at_ms = downstream
    assume(check_mapping(up, down) is None)
    keys = required_keys(up, down, down_key, mapping)
    if is_by_production(up, down, mapping) and isinstance(down, TimeWindowPartitioning) and down_key is not None:
        at_ms = window_of(down, down_key).start_ms
    for key in keys[:3] + keys[-3:]:
        told = downstream_keys(up, key, at_ms, down, mapping)
        assert isinstance(told, AllKnown) or down_key in told


def test_only_the_latest_window_counts() -> None:
    assert is_superseded(HOUR, "2026-11-23T04", "2026-11-23T05", LATEST)
    assert not is_superseded(HOUR, "2026-11-23T05", "2026-11-23T05", LATEST)
    assert not is_superseded(HOUR, "2026-11-23T06", "2026-11-23T05", LATEST)
    assert not is_superseded(HOUR, "2026-11-23T04", None, LATEST)
    assert not is_superseded(HOUR, "2026-11-23T04", "2026-11-23T05", WINDOW)
    assert not is_superseded(REGIONS, "eu", "us", LATEST)
    assert not is_superseded(HOUR, "no hour", "2026-11-23T05", LATEST)


@pytest.mark.parametrize(
    ("mapping", "up", "down", "word"),
    [
        (LATEST, REGIONS, None, "has none"),
        (PartitionMapping(MappingType.LATEST, wait_for_all=True), HOUR, DAY, "nothing more to wait for"),
        (WINDOW, HOUR, REGIONS, "default rules"),
        (IDENTITY, None, DAY, "the upstream has no partitions"),
        (IDENTITY, DAY, None, "the asset has no partitions"),
        (IDENTITY, REGIONS, StaticPartitioning(("mars",)), "in common"),
        (IDENTITY, REGIONS, DAY, "differently"),
        (IDENTITY, HOUR, REGIONS, "differently"),
        (IDENTITY, HOUR, DAY, "differently"),
        (PartitionMapping(wait_for_all=True), ANY_KEYS, None, "dynamic"),
        (PartitionMapping(wait_for_all=True), DAY, None, "no end of time windows"),
        (PartitionMapping(MappingType.ALL, wait_for_all=True), HOUR, DAY, "no end of time windows"),
        (PartitionMapping(wait_for_all=True), MINUTE, TimeWindowPartitioning(Granularity.MONTH), "44640 windows"),
    ],
)
def test_a_mapping_that_cannot_be_says_why(
    mapping: PartitionMapping, up: Partitioning | None, down: Partitioning | None, word: str
) -> None:
    assert word in (check_mapping(up, down, mapping) or "")


@pytest.mark.parametrize(
    ("mapping", "up", "down"),
    [
        (IDENTITY, REGIONS, StaticPartitioning(("mars", "eu"))),
        (IDENTITY, DAY, StaticPartitioning(("2026-11-01",))),
        (IDENTITY, DAY, DAY),
        (IDENTITY, ANY_KEYS, DAY),
        (IDENTITY, None, None),
        (WINDOW, REGIONS, DAY),
        (LATEST, HOUR, None),
        (ALL, REGIONS, StaticPartitioning(("mars",))),
        (PartitionMapping(wait_for_all=True), MINUTE, HOUR),
        (PartitionMapping(wait_for_all=True), REGIONS, None),
        (PartitionMapping(MappingType.ALL, wait_for_all=True), REGIONS, REGIONS),
    ],
)
def test_a_mapping_that_can_be_has_no_flaw(
    mapping: PartitionMapping, up: Partitioning | None, down: Partitioning | None
) -> None:
    assert check_mapping(up, down, mapping) is None

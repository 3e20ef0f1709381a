"""An asset's partitions as a whole: what they wait for, and what the asset keeps of its upstreams."""

from __future__ import annotations

from collections.abc import Mapping

from actors.core import transitions, waiting
from actors.core.graph import AssetSpec, AutoMaterialize
from actors.core.known_partitions import KnownPartitions
from actors.core.mappings import MappingType, PartitionMapping
from actors.core.partitions import Granularity, Partitioning, StaticPartitioning, TimeWindowPartitioning
from actors.core.state import Cause, UpstreamSnapshot

NOON = 1_772_366_400_000
"""2026-03-01T12:00:00Z"""

MINUTE = TimeWindowPartitioning(Granularity.MINUTE)
HOUR = TimeWindowPartitioning(Granularity.HOUR)
REGIONS = StaticPartitioning(("eu", "us"))


def hourly(mapping: PartitionMapping) -> AssetSpec:
    auto = AutoMaterialize(on_upstream_update=True, mapping=mapping)
    return AssetSpec("x", "w", "s", ("a",), partitioning=HOUR, auto=auto)


def known(
    spec: AssetSpec, kind: Partitioning | None, made: Mapping[str | None, int] | None = None, *, into: KnownPartitions
) -> KnownPartitions:
    changed = {key: (version, NOON) for key, version in (made or {}).items()}
    into.take(
        spec,
        latest={},
        failures={},
        dismissals={},
        upstreams={"a": UpstreamSnapshot(kind, changed)},
        active={},
        pos=1,
        wave=0,
        now_ms=NOON,
    )
    return into


def test_a_partition_that_comes_into_being_later_does_not_wait_for_what_was_made_long_ago() -> None:
    """The upstream was produced in another hour; it is there all the same."""
    spec = hourly(PartitionMapping(wait_for_all=True))
    partitions = known(spec, REGIONS, {"eu": 1}, into=KnownPartitions(spec))
    assert partitions.state("2026-03-01T15").missing == {"a": {"us"}}
    (completed,) = [s for s in partitions.upstream_made(Cause("a", "us", 2)) if s.partition_key == "2026-03-01T15"]
    assert completed.missing == {}
    assert partitions.state("2026-03-01T16").missing == {}
    assert partitions.upstream_made(Cause("a", "us", 3)) == []


def test_what_is_told_before_the_catalog_is_read_is_there_after_it() -> None:
    spec = hourly(PartitionMapping(MappingType.WINDOW, wait_for_all=True))
    partitions = KnownPartitions(spec)
    assert partitions.state("2026-03-01T05").missing == {}, "nothing is known of the upstream yet"
    for minute in range(59):
        partitions.upstream_made(Cause("a", f"2026-03-01T05:{minute:02d}", minute + 1))
    known(spec, MINUTE, into=partitions)
    assert partitions.state("2026-03-01T05").missing == {"a": {"2026-03-01T05:59"}}


def test_nothing_is_kept_of_upstreams_that_are_not_waited_for() -> None:
    spec = hourly(PartitionMapping())
    partitions = known(spec, MINUTE, into=KnownPartitions(spec))
    assert partitions.upstream_made(Cause("a", "2026-03-01T05:00", 1)) == []
    assert partitions.state("2026-03-01T05").missing == {}


def test_marks_of_an_upstream_that_is_followed_no_more_are_dropped() -> None:
    spec = hourly(PartitionMapping())
    partitions = known(spec, MINUTE, into=KnownPartitions(spec))
    partitions.upstreams_pending({"2026-03-01T05": [("a", None), ("b", None)]}, 3, NOON)
    partitions.follow({"b"})
    state = partitions.state("2026-03-01T05")
    assert [upstream for upstream, _ in state.pending] == ["b"]
    assert partitions.upstream_settled("a", None, 3, None, every_key=False) == []
    assert partitions.upstream_settled("b", None, 3, None, every_key=False) == [state]
    waiting.begin(state)
    assert (state.pending, state.pending_since_ms) == ({}, None)


def test_an_upstream_of_which_nobody_says_how_it_is_partitioned_is_there_once_anything_of_it_is() -> None:
    spec = hourly(PartitionMapping(wait_for_all=True))
    partitions = known(spec, None, into=KnownPartitions(spec))
    state = partitions.state("2026-03-01T05")
    assert state.missing == {"a": {None}}
    assert partitions.upstream_made(Cause("a", "whatever", 1)) == [state]
    assert partitions.state("2026-03-01T06").missing == {}


def test_older_windows_that_are_told_before_the_catalog_is_read_do_not_count_where_the_latest_does() -> None:
    auto = AutoMaterialize(on_upstream_update=True, mapping=PartitionMapping(MappingType.LATEST))
    spec = AssetSpec("x", "w", "s", ("a",), auto=auto)
    partitions = KnownPartitions(spec)
    state = partitions.state(None)
    transitions.upstream_changed(state, Cause("a", "2026-03-01T04", 9), 1, NOON)
    known(spec, HOUR, {"2026-03-01T04": 9, "2026-03-01T05": 8}, into=partitions)
    assert partitions.state(None).latest == {"a": 8}

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from actors.core.graph import AssetSpec, AutoMaterialize
from actors.core.loading import (
    MAX_CAUSES,
    concerned_keys,
    expected_keys,
    load_partitions,
    newest_key,
    note_cause,
    note_present,
    open_partition,
)
from actors.core.mappings import ALL_KNOWN, MappingType, PartitionMapping
from actors.core.partitions import (
    DynamicPartitioning,
    Granularity,
    Partitioning,
    StaticPartitioning,
    TimeWindowPartitioning,
)
from actors.core.state import Cause, Dismissal, FailureRecord, Materialization, PartitionState, UpstreamSnapshot

NOON = 1_772_366_400_000
"""2026-03-01T12:00:00Z"""

DAY = TimeWindowPartitioning(Granularity.DAY)
HOUR = TimeWindowPartitioning(Granularity.HOUR)
REGIONS = StaticPartitioning(("eu", "us"))
DYNAMIC = DynamicPartitioning()


def asset(
    partitioning: Partitioning | None = None, *, on_missing: bool = False, upstreams: tuple[str, ...] = ("a", "b")
) -> AssetSpec:
    auto = AutoMaterialize(on_upstream_update=True, on_missing=on_missing)
    return AssetSpec("x", "w", "s", upstreams, partitioning=partitioning, auto=auto)


def load(
    spec: AssetSpec,
    upstreams: Mapping[str, UpstreamSnapshot] | None = None,
    *,
    latest: Mapping[str | None, Materialization] | None = None,
    failures: Mapping[str | None, FailureRecord] | None = None,
    dismissals: Mapping[str | None, Dismissal] | None = None,
    active: Mapping[str | None, str] | None = None,
) -> dict[str | None, PartitionState]:
    return load_partitions(
        spec,
        latest=latest or {},
        failures=failures or {},
        dismissals=dismissals or {},
        upstreams=upstreams or {},
        active=active or {},
        now_ms=NOON,
    )


def snapshot(partitioning: Partitioning | None = None, **changed: int) -> UpstreamSnapshot:
    """By key (`None` written as `whole`) the version in which it changed."""
    return UpstreamSnapshot(partitioning, {None if k == "whole" else k: (v, NOON) for k, v in changed.items()})


def made(version: int = 1, **inputs: int) -> Materialization:
    return Materialization(version, version, NOON, inputs=inputs)


@pytest.mark.parametrize(
    ("partitioning", "keys"),
    [
        (None, (None,)),
        (REGIONS, ("eu", "us")),
        (DYNAMIC, ()),
        (DAY, ("2026-03-01",)),
        (replace(DAY, lookback_windows=2), ("2026-03-01", "2026-02-28", "2026-02-27")),
    ],
)
def test_what_should_exist_whether_or_not_anything_happened(
    partitioning: Partitioning | None, keys: tuple[str | None, ...]
) -> None:
    assert expected_keys(asset(partitioning), NOON) == keys
    assert tuple(load(asset(partitioning, on_missing=True))) == keys
    # Without `onMissing` only the one partition of an unpartitioned asset is known from the beginning.
    assert tuple(load(asset(partitioning))) == (keys if partitioning is None else ())


def test_each_partition_gets_what_is_kept_of_it() -> None:
    failure, dismissed = FailureRecord(2, NOON, "run-1"), Dismissal(1, {"a": 3})
    states = load(
        asset(DYNAMIC),
        latest={"made": made()},
        failures={"failed": failure},
        dismissals={"canceled": dismissed},
        active={"running": "run-2"},
    )
    assert states == {
        "made": PartitionState("made", made=made()),
        "failed": PartitionState("failed", failure=failure),
        "canceled": PartitionState("canceled", dismissed=dismissed),
        "running": PartitionState("running", run_id="run-2"),
    }


def test_an_upstream_brings_forth_the_partitions_that_it_concerns() -> None:
    hours = snapshot(HOUR, **{"2026-03-01T05": 4, "2026-03-01T06": 7, "2026-02-28T23": 5})
    states = load(asset(DAY), {"a": hours}, latest={"2026-02-28": made(a=5)})
    assert states["2026-03-01"].latest == {"a": 7}
    assert states["2026-03-01"].causes == (Cause("a", "2026-03-01T05", 4), Cause("a", "2026-03-01T06", 7))
    assert (states["2026-02-28"].latest, states["2026-02-28"].causes) == ({"a": 5}, ())


def test_upstreams_that_do_not_count_or_were_never_made_change_nothing() -> None:
    spec = replace(asset(), auto=AutoMaterialize(on_upstream_update=True, ignore=frozenset("a")))
    assert load(spec, {"a": snapshot(whole=3)}) == {None: PartitionState(None)}
    assert load(replace(asset(), auto=None), {"a": snapshot(whole=3)}) == {None: PartitionState(None)}
    assert load(asset(), {"a": UpstreamSnapshot(None, {})}) == {None: PartitionState(None)}


@pytest.mark.parametrize("order", [("a", "b"), ("b", "a")])
def test_what_concerns_all_partitions_concerns_those_that_another_upstream_brings_forth(order: tuple[str, ...]) -> None:
    spec = asset(DYNAMIC, upstreams=order)
    states = load(spec, {"a": snapshot(whole=3), "b": snapshot(DYNAMIC, one=1, two=2)})
    assert {key: state.latest for key, state in states.items()} == {"one": {"a": 3, "b": 1}, "two": {"a": 3, "b": 2}}


def test_an_edge_that_cannot_be_mapped_concerns_nothing() -> None:
    assert concerned_keys(DAY, "no day", NOON, DAY) == ()
    assert concerned_keys(DAY, None, NOON, DAY) == ()
    month = TimeWindowPartitioning(Granularity.MONTH)
    assert concerned_keys(month, "2026-03", NOON, TimeWindowPartitioning(Granularity.MINUTE)) == ()
    assert load(asset(DAY), {"a": snapshot(DAY, **{"no day": 1})}) == {}


def test_keys_of_what_nobody_here_makes_count_without_a_declaration() -> None:
    assert concerned_keys(None, "eu", NOON, REGIONS) == ("eu",)
    assert concerned_keys(None, "mars", NOON, REGIONS) == ()
    assert concerned_keys(None, "2026-03-01", NOON, DAY) == ("2026-03-01",)
    assert concerned_keys(None, "2026-03-01T05", NOON, DAY) == ()
    assert concerned_keys(None, "eu", NOON, DYNAMIC) == ("eu",)
    assert concerned_keys(None, "eu", NOON, None) == (None,)
    assert concerned_keys(None, None, NOON, DYNAMIC) is ALL_KNOWN
    assert concerned_keys(None, "eu", NOON, REGIONS, PartitionMapping(MappingType.IDENTITY)) == ("eu",)
    assert concerned_keys(None, "mars", NOON, REGIONS, PartitionMapping(MappingType.ALL)) == ("eu", "us")


CHANGES = st.dictionaries(st.sampled_from(["eu", "us"]), st.integers(1, 9), max_size=2).filter(
    lambda d: len(set(d.values())) == len(d)
)


@given(CHANGES, CHANGES, st.dictionaries(st.sampled_from("ab"), st.integers(0, 9)))
def test_what_is_loaded_is_what_the_changes_would_have_told_in_their_order(
    a: dict[str, int], b: dict[str, int], inputs: dict[str, int]
) -> None:
    states = load(asset(), {"a": snapshot(REGIONS, **a), "b": snapshot(REGIONS, **b)}, latest={None: made(**inputs)})
    state = states[None]
    assert state.latest == {u: max(c.values()) for u, c in (("a", a), ("b", b)) if c}
    expected = {Cause(u, k, v) for u, c in (("a", a), ("b", b)) for k, v in c.items() if v > inputs.get(u, 0)}
    assert set(state.causes) == expected
    for upstream_id in "ab":
        versions = [c.version for c in state.causes if c.asset_id == upstream_id]
        assert versions == sorted(versions)


def test_a_cause_is_noted_once_the_newest_of_its_partition_and_of_many_the_newest() -> None:
    state = PartitionState(None)
    assert note_cause(state, Cause("a", "eu", 1))
    assert not note_cause(state, Cause("a", "eu", 1))
    assert note_cause(state, Cause("a", "us", 2))
    assert note_cause(state, Cause("a", "eu", 3))
    assert state.causes == (Cause("a", "us", 2), Cause("a", "eu", 3))
    for number in range(MAX_CAUSES):
        note_cause(state, Cause("b", str(number), number + 1))
    assert len(state.causes) == MAX_CAUSES
    assert {c.asset_id for c in state.causes} == {"b"}
    assert state.latest == {"a": 3, "b": MAX_CAUSES}


# -- partition mappings ---------------------------------------------------------------------------------------------


def mapped(partitioning: Partitioning | None, mapping: PartitionMapping) -> AssetSpec:
    auto = AutoMaterialize(on_upstream_update=True, mapping=mapping)
    return AssetSpec("x", "w", "s", ("a",), partitioning=partitioning, auto=auto)


def test_what_is_missing_upstream_is_known_after_a_start() -> None:
    spec = mapped(HOUR, PartitionMapping(wait_for_all=True))
    minutes = {f"2026-03-01T05:{minute:02d}": minute + 1 for minute in range(59)}
    states = load(spec, {"a": snapshot(TimeWindowPartitioning(Granularity.MINUTE), **minutes)})
    assert states["2026-03-01T05"].missing == {"a": {"2026-03-01T05:59"}}
    minutes["2026-03-01T05:59"] = 60
    states = load(spec, {"a": snapshot(TimeWindowPartitioning(Granularity.MINUTE), **minutes)})
    assert states["2026-03-01T05"].missing == {}


def test_a_partition_of_which_nothing_is_known_waits_for_all_that_goes_into_it() -> None:
    state = open_partition(mapped(None, PartitionMapping(wait_for_all=True)), None, {"a": REGIONS})
    assert state.missing == {"a": {"eu", "us"}}
    assert not note_present(state, Cause("a", "mars", 1))
    assert note_present(state, Cause("a", "us", 2))
    assert not note_present(state, Cause("a", "us", 3))
    assert note_present(state, Cause("a", "eu", 4))
    assert state.missing == {}
    assert open_partition(mapped(None, PartitionMapping()), None, {"a": REGIONS}).missing == {}
    assert open_partition(None, None, {}).missing == {}


def test_of_an_upstream_whose_latest_window_alone_counts_the_others_do_not() -> None:
    """The older one was produced last; it concerns nothing."""
    days = snapshot(DAY, **{"2026-02-28": 9, "2026-03-01": 8})
    assert newest_key(days) == "2026-03-01"
    assert load(mapped(None, PartitionMapping(MappingType.LATEST)), {"a": days})[None].latest == {"a": 8}
    assert load(mapped(None, PartitionMapping()), {"a": days})[None].latest == {"a": 9}
    assert newest_key(snapshot(REGIONS, eu=1)) is None
    assert newest_key(snapshot(DAY, nonsense=1)) is None


def test_every_partition_goes_into_every_one_that_exists_and_into_the_current() -> None:
    spec = mapped(DAY, PartitionMapping(MappingType.ALL))
    states = load(spec, {"a": snapshot(REGIONS, eu=3)}, latest={"2026-02-20": made(a=1)})
    assert {key: state.latest for key, state in states.items()} == {"2026-02-20": {"a": 3}, "2026-03-01": {"a": 3}}

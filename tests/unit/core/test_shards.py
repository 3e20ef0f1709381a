"""Which shard keeps what, and what it has to hear of."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from actors.core.graph import AssetSpec, AutoMaterialize, CycleError, Graph, WorkflowSpec
from actors.core.shards import MAX_SHARDS, WHOLE, Interests, Shard, lies_across, shards_below

FOLLOWS = AutoMaterialize(on_upstream_update=True)


def workflow(slug: str, upstreams: Iterable[str], *, asset_id: str | None = None, follows: bool = True) -> WorkflowSpec:
    auto = FOLLOWS if follows else None
    spec = AssetSpec(asset_id or f"of-{slug}", slug, "s", tuple(upstreams), auto=auto)
    return WorkflowSpec(slug, assets=(spec,), consumed=dict.fromkeys(upstreams))


def slug_in(index: int, stem: str, count: int = 2) -> str:
    shard = Shard(index, count)
    return next(slug for number in range(1_000) if shard.owns(slug := f"{stem}{number}"))


def test_every_workflow_has_one_keeper_and_shards_are_about_as_large() -> None:
    slugs = [f"workflow-{number}" for number in range(2_000)]
    for count in (1, 2, 8):
        owned = [sum(Shard(index, count).owns(slug) for slug in slugs) for index in range(count)]
        assert sum(owned) == len(slugs)
        assert max(owned) < 1.5 * len(slugs) / count


def test_the_keeper_is_the_same_in_every_process_and_version() -> None:
    # By zlib's crc32: were it to change, services of two versions would both keep an asset, or neither.
    assert [Shard(0, 8).index_of(slug) for slug in ("orders-daily", "a", "ü")] == [1, 3, 5]


@pytest.mark.parametrize(("index", "count"), [(0, 0), (2, 2), (-1, 2), (0, MAX_SHARDS + 1)])
def test_there_is_no_such_shard(index: int, count: int) -> None:
    with pytest.raises(ValueError, match="shard"):
        Shard(index, count)


def test_an_asset_is_kept_with_the_workflow_that_makes_it() -> None:
    slug = slug_in(1, "w")
    graph = Graph([workflow(slug, ["outside"])])
    assert Shard(1, 2).keeps(graph, f"of-{slug}")
    assert not Shard(0, 2).keeps(graph, f"of-{slug}")
    assert Shard(0, 2).keeper_of(graph, "outside") is None
    assert WHOLE.keeps(graph, f"of-{slug}")


def test_who_is_below_directly_and_whether_anything_below_lies_across() -> None:
    top, mid, end, aside = slug_in(0, "top"), slug_in(0, "mid"), slug_in(1, "end"), slug_in(0, "aside")
    graph = Graph(
        [
            workflow(top, ["outside"]),
            workflow(mid, [f"of-{top}"]),
            workflow(end, [f"of-{mid}"]),
            workflow(aside, ["outside"]),
        ]
    )
    here = Shard(0, 2)
    assert shards_below(graph, f"of-{top}", here) == set()
    assert shards_below(graph, f"of-{mid}", here) == {1}
    assert shards_below(graph, f"of-{mid}", Shard(1, 2)) == set(), "what follows it is kept there"
    assert lies_across(graph, f"of-{top}", here), "two edges below"
    assert not lies_across(graph, f"of-{aside}", here)
    assert shards_below(graph, "unknown", here) == set()


# -- interests --------------------------------------------------------------------------------------------------------

Change = tuple[int, tuple[int, ...], int | None, bool]
"""A workflow's number, what it follows, the asset that it makes if not its own, and whether it follows at all."""

numbers = st.integers(0, 7)
changes = st.lists(
    # Most follow those of higher numbers, so that few are refused as a cycle, and a change far above is one of many.
    numbers.flatmap(
        lambda number: st.tuples(
            st.just(number),
            st.lists(st.integers(number + 1, 8) | numbers, max_size=2, unique=True).map(tuple),
            st.none() | st.none() | numbers,
            st.just(True) | st.booleans(),
        )
    ),
    min_size=6,
    max_size=30,
)


def closure(graph: Graph, shard: Shard) -> set[str]:
    """What is kept here, and everything above it, in the plainest way."""
    above = {a for a in graph.assets if shard.keeps(graph, a)}
    while True:
        nodes = [graph.node(asset_id) for asset_id in above]
        more = {u for node in nodes if node is not None and node.spec is not None for u in node.spec.considered}
        if more <= above:
            return above
        above |= more


def spec_of(change: Change) -> WorkflowSpec:
    number, upstreams, made, follows = change
    asset_id = f"a{number if made is None else made}"
    return workflow(
        f"w{number}", [f"a{u}" for u in upstreams if f"a{u}" != asset_id], asset_id=asset_id, follows=follows
    )


def put_all(graph: Graph, interests: Mapping[Shard, Interests], steps: Iterable[Change]) -> dict[Shard, list[str]]:
    told: dict[Shard, list[str]] = {shard: [] for shard in interests}
    for step in steps:
        try:
            touched = graph.put(spec_of(step))
        except CycleError:
            continue
        for shard, each in interests.items():
            asset_ids, _ = each.grow(graph, touched, [f"w{step[0]}"])
            told[shard] += asset_ids
    return told


def test_what_is_followed_already_may_follow_more() -> None:
    own, near, far = slug_in(0, "own"), slug_in(1, "near"), slug_in(1, "far")
    graph, interests = Graph(), Interests(Shard(0, 2))
    told: list[str] = []
    for spec in (
        workflow(own, [f"of-{near}"]),
        workflow(near, ["outside"]),
        workflow(far, ["farther"]),
        workflow(near, [f"of-{far}"]),
    ):
        asset_ids, _ = interests.grow(graph, graph.put(spec), [spec.slug])
        told += asset_ids
    assert told == [f"of-{near}", f"of-{own}", "outside", "farther", f"of-{far}"]


@given(changes)
@settings(max_examples=100, deadline=None)
def test_what_is_heard_of_grows_to_all_that_own_assets_follow_however_definitions_change(steps: list[Change]) -> None:
    graph = Graph()
    interests = {Shard(index, 3): Interests(Shard(index, 3)) for index in range(3)}
    told = put_all(graph, interests, steps)
    for shard, asset_ids in told.items():
        assert len(asset_ids) == len(set(asset_ids)), "nothing is told twice"
        assert closure(graph, shard) <= set(asset_ids)


@given(changes)
@settings(max_examples=50, deadline=None)
def test_what_is_heard_of_is_no_more_than_that_when_it_is_asked_for_at_once(steps: list[Change]) -> None:
    graph = Graph()
    put_all(graph, {}, steps)
    for index in range(3):
        shard = Shard(index, 3)
        asset_ids, slugs = Interests(shard).grow(graph, graph.assets, graph.workflows)
        assert set(asset_ids) == closure(graph, shard)
        assert slugs == sorted(slug for slug in graph.workflows if shard.owns(slug))

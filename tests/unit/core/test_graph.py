from __future__ import annotations

from collections.abc import Mapping
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from actors.core.graph import AssetSpec, AutoMaterialize, CycleError, Graph, WorkflowSpec
from actors.core.partitions import DynamicPartitioning, Granularity, Partitioning, StaticPartitioning
from actors.core.time_windows import TimeWindowPartitioning

DAY = TimeWindowPartitioning(Granularity.DAY)
REGIONS = StaticPartitioning(("eu", "us"))
FOLLOWS = AutoMaterialize(on_upstream_update=True)

ASSETS = "abcdef"
POLICIES = st.none() | st.builds(
    AutoMaterialize,
    on_upstream_update=st.booleans(),
    priority=st.integers(1, 3),
    only=st.none() | st.frozensets(st.sampled_from(ASSETS)),
    ignore=st.frozensets(st.sampled_from(ASSETS), max_size=2),
)
PARTITIONINGS = st.sampled_from([None, DAY, REGIONS, DynamicPartitioning()])


@st.composite
def workflows(draw: st.DrawFn, slug: str) -> WorkflowSpec:
    """One to three assets, made from some that come before all of them in the alphabet: so no circle can close."""
    split = draw(st.integers(1, 5))
    read = tuple(sorted(draw(st.sets(st.sampled_from(ASSETS[:split]), max_size=3))))
    made = draw(st.lists(st.sampled_from(ASSETS[split:]), min_size=1, max_size=3, unique=True))
    assets = tuple(
        AssetSpec(a, slug, "s", read, partitioning=draw(PARTITIONINGS), auto=draw(POLICIES)) for a in sorted(made)
    )
    return WorkflowSpec(slug, assets=assets, consumed={u: draw(PARTITIONINGS) for u in read})


CHANGES = st.lists(
    st.sampled_from("vwxyz").flatmap(lambda slug: st.tuples(st.just(slug), st.none() | workflows(slug))), max_size=12
)

Picture = Mapping[str, object]


def picture(graph: Graph) -> Picture:
    """All that can be asked of a graph."""
    return {
        "workflows": graph.workflows,
        "assets": {
            a: (node.spec, node.producers, node.readers, set(node.consumers), node.partitioning)
            for a, node in graph.assets.items()
        },
        "feeds": {slug: graph.feeds(slug) for slug in graph.workflows},
    }


def expected_picture(known: Mapping[str, WorkflowSpec]) -> Picture:
    """The same, looked up in the bare list of workflows."""
    ids = {s.asset_id for w in known.values() for s in w.assets} | {u for w in known.values() for u in w.consumed}
    leads: dict[str, AssetSpec | None] = {}
    for asset_id in ids:
        specs = [s for w in known.values() for s in w.assets if s.asset_id == asset_id]
        opted_in = sorted((s.auto.priority, s.workflow_slug) for s in specs if s.auto is not None)
        slugs = [slug for _, slug in opted_in] or sorted(s.workflow_slug for s in specs)
        leads[asset_id] = next((s for s in specs if s.workflow_slug == slugs[0]), None) if slugs else None
    assets: dict[str, object] = {}
    for asset_id in ids:
        producers = {s.workflow_slug: s for w in known.values() for s in w.assets if s.asset_id == asset_id}
        readers = {w.slug: w.consumed[asset_id] for w in known.values() if asset_id in w.consumed}
        consumers = {c for c, lead in leads.items() if lead is not None and asset_id in lead.considered}
        lead = leads[asset_id]
        said = [p for _, p in sorted(readers.items()) if p is not None]
        partitioning = lead.partitioning if lead is not None else (said[0] if said else None)
        assets[asset_id] = (lead, producers, readers, consumers, partitioning)
    feeds = {
        w.slug: {r.slug for r in known.values() if r is not w and {s.asset_id for s in w.assets} & set(r.consumed)}
        for w in known.values()
    }
    return {"workflows": known, "assets": assets, "feeds": feeds}


@given(CHANGES)
@settings(max_examples=300)
def test_however_it_came_about_the_graph_says_what_its_workflows_say(
    changes: list[tuple[str, WorkflowSpec | None]],
) -> None:
    graph, known = Graph(), dict[str, WorkflowSpec]()
    for slug, workflow in changes:
        before = expected_picture(known)["assets"]
        if workflow is None:
            known.pop(slug, None)
            touched = graph.remove(slug)
        else:
            known[slug] = workflow
            touched = graph.put(workflow)
        expected = expected_picture(known)
        assert picture(graph) == expected
        after = expected["assets"]
        assert isinstance(before, dict)
        assert isinstance(after, dict)
        # Those of which somebody must be told: another lead, or another policy of the same one.
        assert touched >= {a for a in {*before, *after} if before.get(a, (None,))[0] != after.get(a, (None,))[0]}
    assert picture(Graph(known.values())) == picture(graph)


def test_removing_what_is_not_there_touches_nothing() -> None:
    assert Graph().remove("nobody") == frozenset()


def chain(*edges: tuple[str, str]) -> list[WorkflowSpec]:
    """Workflows named as what they make in capitals."""
    made: dict[str, list[str]] = {}
    for upstream, asset_id in edges:
        made.setdefault(asset_id, []).append(upstream)
    return [
        WorkflowSpec(
            a.upper(), assets=(AssetSpec(a, a.upper(), "s", tuple(ups), auto=FOLLOWS),), consumed=dict.fromkeys(ups)
        )
        for a, ups in made.items()
    ]


@given(st.lists(st.tuples(st.sampled_from(ASSETS), st.sampled_from(ASSETS)).filter(lambda e: e[0] != e[1]), max_size=9))
def test_a_circle_is_refused_and_named_and_changes_nothing(edges: list[tuple[str, str]]) -> None:
    graph, kept = Graph(), dict[str, WorkflowSpec]()
    for workflow in chain(*edges):
        before = picture(Graph(kept.values()))
        refusal = put(graph, workflow)
        if refusal is not None:
            path = refusal.path
            assert path[0] == path[-1] == workflow.slug
            assert len(set(path)) == len(path) - 1 >= 2
            candidates = {**kept, workflow.slug: workflow}
            for maker, reader in pairwise(path):
                assert maker.lower() in candidates[reader].consumed
            assert " -> ".join(path) in str(refusal)
        else:
            kept[workflow.slug] = workflow
            assert not closes(kept)
            continue
        assert closes({**kept, workflow.slug: workflow})
        assert picture(graph) == before


def put(graph: Graph, workflow: WorkflowSpec) -> CycleError | None:
    try:
        graph.put(workflow)
    except CycleError as error:
        return error
    return None


def closes(known: Mapping[str, WorkflowSpec]) -> bool:
    """Whether workflows remain when those that nobody left feeds are taken away, again and again."""
    left = dict(known)
    while free := [s for s, w in left.items() if not any(u.upper() in left for u in w.consumed)]:
        for slug in free:
            del left[slug]
    return bool(left)


def test_an_update_that_would_close_a_circle_leaves_the_former_version() -> None:
    first, second = chain(("x", "a"), ("a", "b"))
    graph = Graph([first, second])
    before = picture(Graph([first, second]))
    bad = WorkflowSpec("A", version=2, assets=(AssetSpec("a", "A", "s", ("b",), auto=FOLLOWS),), consumed={"b": None})
    with pytest.raises(CycleError) as raised:
        graph.put(bad)
    assert raised.value.path == ("A", "B", "A")
    assert picture(graph) == before


def test_what_nobody_makes_is_sliced_as_its_readers_say_whoever_came_first() -> None:
    """Two readers that disagree: the answer must not depend on which was read first, or a restart would change it."""
    p = WorkflowSpec("p", assets=(AssetSpec("one", "p", "s", ("raw",)),), consumed={"raw": DAY})
    q = WorkflowSpec("q", assets=(AssetSpec("two", "q", "s", ("raw",)),), consumed={"raw": REGIONS})
    silent = WorkflowSpec("a", assets=(AssetSpec("three", "a", "s", ("raw",)),), consumed={"raw": None})
    assert [Graph(order).assets["raw"].partitioning for order in ([p, q, silent], [silent, q, p])] == [DAY, DAY]


@pytest.mark.parametrize(
    ("auto", "considered"),
    [
        (None, ()),
        (AutoMaterialize(), ()),
        (FOLLOWS, ("a", "b", "c")),
        (AutoMaterialize(on_upstream_update=True, only=frozenset("bcz")), ("b", "c")),
        (AutoMaterialize(on_upstream_update=True, only=frozenset()), ()),
        (AutoMaterialize(on_upstream_update=True, ignore=frozenset("b")), ("a", "c")),
        (AutoMaterialize(on_upstream_update=True, only=frozenset("ab"), ignore=frozenset("b")), ("a",)),
        (AutoMaterialize(on_upstream_update=False, only=frozenset("ab")), ()),
    ],
)
def test_updates_count_from_the_upstreams_that_the_policy_lets_through(
    auto: AutoMaterialize | None, considered: tuple[str, ...]
) -> None:
    assert AssetSpec("x", "w", "s", ("a", "b", "c"), auto=auto).considered == considered


@pytest.mark.parametrize(
    ("key", "expected"),
    [
        (None, [("plain", None)]),
        ("eu", [("plain", None), ("regional", "eu"), ("any", "eu")]),
        ("2026-03-01", [("plain", None), ("daily", "2026-03-01"), ("any", "2026-03-01")]),
        ("mars", [("plain", None), ("any", "mars")]),
    ],
)
def test_a_run_is_expected_to_make_what_has_its_partition(
    key: str | None, expected: list[tuple[str, str | None]]
) -> None:
    slicing: dict[str, Partitioning | None] = {
        "plain": None,
        "daily": DAY,
        "regional": REGIONS,
        "any": DynamicPartitioning(),
    }
    workflow = WorkflowSpec("w", assets=tuple(AssetSpec(a, "w", "s", partitioning=p) for a, p in slicing.items()))
    assert list(workflow.expected(key)) == expected


def test_a_run_reads_every_upstream_and_counts_in_every_pool_once() -> None:
    pool = [AutoMaterialize(pool=name) for name in ("gpu", "cpu", "gpu")]
    specs = [
        AssetSpec(a, "w", "s", ups, auto=p) for a, ups, p in zip("xyz", (("b", "a"), ("c", "a"), ()), pool, strict=True)
    ]
    workflow = WorkflowSpec("w", assets=(*specs, AssetSpec("q", "w", "s", ("d",))))
    assert workflow.upstreams == ("a", "b", "c", "d")
    assert workflow.pools == ("cpu", "gpu")

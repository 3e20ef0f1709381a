"""What a change marks below it, and that following the marks runs every asset once and never stands still (law L4).

The second half plays a whole service without actors: catalog, stream, registry and assets as plain lists, where a seed
decides which of them goes next. Whatever it decides, the runs must come out as a walk over the graph says.
"""

from __future__ import annotations

import random
from collections import Counter, defaultdict, deque
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from actors.core import transitions, waiting
from actors.core.backoff import BackoffPolicy, FailureBudget
from actors.core.decide import Defaults, Materialize, Wait, decide
from actors.core.graph import AssetSpec, AutoMaterialize, Graph, WorkflowSpec
from actors.core.partitions import DynamicPartitioning, Granularity, Partitioning, TimeWindowPartitioning
from actors.core.state import Cause, FailureRecord, Materialization, PartitionState
from actors.core.time_windows import key_at, window_of
from actors.core.waves import Reached, wave_below

Edges = Mapping[str, tuple[str, ...]]
"""Of each asset its upstreams; one without any is made outside."""

FOLLOWS = AutoMaterialize(on_upstream_update=True)
START_MS = 1_700_000_000_000
DAY = TimeWindowPartitioning(Granularity.DAY)
HOUR = TimeWindowPartitioning(Granularity.HOUR)
WIDER = {HOUR: (HOUR, DAY, None), DAY: (DAY, None), None: (None,)}
"""Of each partitioning those that may lie below it, so that one partition never concerns many."""


def workflow(
    asset_id: str,
    upstreams: tuple[str, ...],
    partitionings: Mapping[str, Partitioning | None] | None = None,
    auto: AutoMaterialize | None = FOLLOWS,
) -> WorkflowSpec:
    slicing = partitionings or {}
    spec = AssetSpec(asset_id, f"make-{asset_id}", "s", upstreams, partitioning=slicing.get(asset_id), auto=auto)
    return WorkflowSpec(spec.workflow_slug, assets=(spec,), consumed={u: slicing.get(u) for u in upstreams})


def graph_of(edges: Edges, partitionings: Mapping[str, Partitioning | None] | None = None) -> Graph:
    return Graph(workflow(a, ups, partitionings) for a, ups in edges.items() if ups)


@st.composite
def dags(draw: st.DrawFn, most: int = 7) -> dict[str, tuple[str, ...]]:
    """Assets `a`, `b`, ... each made from some of those before it, and all from something."""
    names = "abcdefgh"[: draw(st.integers(2, most))]
    edges: dict[str, tuple[str, ...]] = {"a": ()}
    for index, name in enumerate(names[1:], 1):
        edges[name] = tuple(sorted(draw(st.sets(st.sampled_from(names[:index]), min_size=1, max_size=3))))
    return edges


def below(edges: Edges, start: str) -> set[str]:
    """All that is made from `start`, directly or not: grown until it grows no more."""
    found: set[str] = set()
    while more := {a for a, ups in edges.items() if a not in found and (start in ups or found & set(ups))}:
        found |= more
    return found


def assert_upstream_first(reached: list[Reached], edges: Edges) -> None:
    place = {r.asset_id: index for index, r in enumerate(reached)}
    assert len(place) == len(reached)
    assert all(place[u] < place[a] for a in place for u in edges[a] if u in place)


# -- the marks ---------------------------------------------------------------------------------------------------------


@given(dags(), st.data())
def test_an_asset_is_marked_with_exactly_the_upstreams_between_it_and_the_change(
    edges: dict[str, tuple[str, ...]], data: st.DataObject
) -> None:
    graph = graph_of(edges)
    start = data.draw(st.sampled_from(sorted(graph.assets)))
    reached = wave_below(graph, start, None, START_MS)
    affected = below(edges, start)
    assert {r.asset_id for r in reached} == affected
    assert_upstream_first(reached, edges)
    for r in reached:
        between = {(u, None) for u in edges[r.asset_id] if u in affected}
        assert {key: set(marks) for key, marks in r.pending.items()} == ({None: between} if between else {})
        assert r.keys == ((None,) if start in edges[r.asset_id] else None)


@given(dags(), st.data())
def test_marks_follow_the_windows_that_overlap(edges: dict[str, tuple[str, ...]], data: st.DataObject) -> None:
    slicing: dict[str, Partitioning | None] = {"a": data.draw(st.sampled_from([HOUR, DAY]))}
    for name, upstreams in list(edges.items())[1:]:
        allowed = set.intersection(*(set(WIDER[slicing[u]]) for u in upstreams))  # type: ignore[index]
        slicing[name] = data.draw(st.sampled_from(sorted(allowed, key=str)))
    at_ms = START_MS + data.draw(st.integers(0, 10**9))
    first = slicing["a"]
    assert isinstance(first, TimeWindowPartitioning)
    start_key = key_at(first, at_ms)
    start_ms = window_of(first, start_key).start_ms

    def slice_of(asset_id: str) -> str | None:
        part = slicing[asset_id]
        return key_at(part, start_ms) if isinstance(part, TimeWindowPartitioning) else None

    reached = wave_below(graph_of(edges, slicing), "a", start_key, at_ms)
    assert {r.asset_id for r in reached} == below(edges, "a")
    assert_upstream_first(reached, edges)
    for r in reached:
        mine = slice_of(r.asset_id)
        marks = {(u, slice_of(u)) for u in edges[r.asset_id] if u != "a"}
        assert {key: set(found) for key, found in r.pending.items()} == ({mine: marks} if marks else {})
        assert r.keys == ((mine,) if "a" in edges[r.asset_id] else None)


def test_a_day_marks_each_of_its_hours_and_they_the_day_below_once() -> None:
    edges = {"a": (), "hours": ("a",), "day": ("hours",)}
    graph = graph_of(edges, {"a": DAY, "hours": HOUR, "day": DAY})
    hours, day = wave_below(graph, "a", "2026-03-01", START_MS)
    keys = tuple(f"2026-03-01T{hour:02}" for hour in range(24))
    assert (hours.keys, hours.pending) == (keys, {})
    assert (day.keys, day.pending) == (None, {"2026-03-01": tuple(("hours", key) for key in keys)})


def test_what_did_not_opt_in_or_does_not_follow_updates_ends_the_walk() -> None:
    graph = Graph(
        [
            workflow("b", ("a",), auto=None),
            workflow("c", ("a",), auto=AutoMaterialize()),
            workflow("d", ("a",), auto=AutoMaterialize(on_upstream_update=True, ignore=frozenset({"a"}))),
            workflow("e", ("b", "c", "d")),
            workflow("f", ("a",)),
        ]
    )
    assert wave_below(graph, "a", None, START_MS) == [Reached("f", (None,), {})]


def test_an_edge_to_every_known_partition_carries_no_marks() -> None:
    edges = {"a": (), "b": ("a",), "each": ("a", "b")}
    reached = wave_below(graph_of(edges, {"each": DynamicPartitioning()}), "a", None, START_MS)
    assert [(r.asset_id, r.pending) for r in reached] == [("b", {}), ("each", {})]


def test_a_change_walks_no_further_than_what_lies_below_it() -> None:
    """Law L12: the graph's other assets are not even looked at."""
    graph = graph_of({"a": (), "b": ("a",), "c": ("b",), "x": ("y",), "z": ("x", "c")})
    asked: list[str] = []

    class Asked(dict[str, object]):
        def __getitem__(self, asset_id: str) -> object:
            asked.append(asset_id)
            return super().__getitem__(asset_id)

    graph.assets = Asked(graph.assets)  # type: ignore[assignment]
    wave_below(graph, "b", None, START_MS)
    assert set(asked) == {"b", "c", "z"}


# -- a service made of lists ------------------------------------------------------------------------------------------

DEFAULTS = Defaults(
    BackoffPolicy(base_ms=1_000, max_ms=60_000), FailureBudget(failures=100), pending_limit_ms=1_000_000_000
)
"""Nothing may hang until the limit on waiting for upstreams: it is far beyond the time that any of this takes."""


@dataclass
class Produced:
    asset_id: str
    made: Materialization
    pos: int


@dataclass
class Enqueued:
    asset_id: str
    run_id: str
    pos: int


@dataclass
class Ended:
    asset_id: str
    run_id: str
    failure: FailureRecord | None
    pos: int


@dataclass
class Settled:
    asset_id: str
    wave: int


@dataclass
class Pending:
    wave: int
    marks: tuple[tuple[str, str | None], ...]


@dataclass
class Changed:
    cause: Cause
    wave: int


@dataclass
class Run:
    run_id: str
    asset_id: str
    inputs: dict[str, int] | None = None


@dataclass
class Service:
    """`cutoffs` are assets whose data never changes; `failing` says how many runs of an asset fail before one works."""

    edges: Edges
    rng: random.Random
    cutoffs: frozenset[str] = frozenset()
    failing: Mapping[str, int] = field(default_factory=dict)
    now_ms: int = START_MS

    def __post_init__(self) -> None:
        self.graph = graph_of(self.edges)
        self.followed = {a: ups for a, ups in self.edges.items() if ups}
        self.catalog = {
            a: Materialization(1, 1, START_MS, inputs=dict.fromkeys(ups, 1)) for a, ups in self.edges.items()
        }
        self.states = {
            a: PartitionState(None, made=self.catalog[a], latest=dict.fromkeys(ups, 1))
            for a, ups in self.followed.items()
        }
        self.failures: Counter[str] = Counter()
        self.runs_made: Counter[str] = Counter()
        self.active: dict[str, Run] = {}
        self.wanted: dict[str, tuple[int, int]] = {}
        self.stream: deque[Produced | Enqueued | Ended] = deque()
        self.settled: defaultdict[str, deque[Settled]] = defaultdict(deque)
        self.inbox: defaultdict[str, deque[object]] = defaultdict(deque)
        self.wave = 0
        self.pos = 0
        self.wakes: dict[str, int] = {}

    # what happens outside

    def update(self, asset_id: str) -> None:
        version = self.catalog[asset_id].version + 1
        self._record(asset_id, Materialization(version, version, self.now_ms))

    def _record(self, asset_id: str, made: Materialization) -> None:
        self.catalog[asset_id] = made
        self.stream.append(Produced(asset_id, made, self._next_pos()))

    def _next_pos(self) -> int:
        self.pos += 1
        return self.pos

    def submit(self, asset_id: str) -> None:
        basis = self.wanted.pop(asset_id)
        if asset_id in self.active or basis != (self.catalog[asset_id].version, self.failures[asset_id]):
            return  # refused: news that the asset has not heard yet is on its way
        run = self.active[asset_id] = Run(f"{asset_id}-{self._next_pos()}", asset_id)
        self.stream.append(Enqueued(asset_id, run.run_id, self._next_pos()))

    def advance(self, run: Run) -> None:
        """A run starts, and reads what is newest then; or it ends."""
        asset_id = run.asset_id
        if run.inputs is None:
            run.inputs = {u: self.catalog[u].version for u in self.edges[asset_id]}
            return
        del self.active[asset_id]
        self.runs_made[asset_id] += 1
        failure = None
        if self.runs_made[asset_id] <= self.failing.get(asset_id, 0):
            self.failures[asset_id] += 1
            failure = FailureRecord(self.failures[asset_id], self.now_ms, run.run_id)
        else:
            self.failures[asset_id] = 0
            before = self.catalog[asset_id]
            version = before.version + 1
            changed = before.changed_version if asset_id in self.cutoffs else version
            self._record(asset_id, Materialization(version, changed, self.now_ms, inputs=run.inputs))
        self.stream.append(Ended(asset_id, run.run_id, failure, self._next_pos()))

    # the registry

    def route(self) -> None:
        news = self.stream.popleft()
        if news.asset_id in self.states:
            self.inbox[news.asset_id].append(news)
        if not isinstance(news, Produced) or news.made.changed_version < news.made.version:
            return
        self.wave += 1
        reached = wave_below(self.graph, news.asset_id, None, self.now_ms)
        for r in reached:
            if r.pending:
                self.inbox[r.asset_id].append(Pending(self.wave, r.pending[None]))
        for r in reached:
            if r.keys is not None:
                cause = Cause(news.asset_id, None, news.made.changed_version)
                self.inbox[r.asset_id].append(Changed(cause, self.wave))

    def pass_down(self, asset_id: str) -> None:
        settled = self.settled[asset_id].popleft()
        for consumer_id in sorted(self.graph.assets[asset_id].consumers):
            self.inbox[consumer_id].append(settled)

    # an asset

    def receive(self, asset_id: str) -> None:
        state = self.states[asset_id]
        match self.inbox[asset_id].popleft():
            case Produced(made=made, pos=pos):
                if transitions.asset_produced(state, made, pos):
                    self.look(asset_id, was_made=True)
            case Enqueued(run_id=run_id, pos=pos):
                if transitions.run_enqueued(state, run_id, pos):
                    self.look(asset_id)
            case Ended(run_id=run_id, failure=failure, pos=pos):
                if transitions.run_ended(state, run_id, failure, None, pos):
                    self.look(asset_id)
            case Pending(wave=wave, marks=marks):
                waiting.upstream_pending(state, marks, wave, self.now_ms)
            case Changed(cause=cause, wave=wave):
                transitions.upstream_changed(state, cause, wave, self.now_ms)
                self.look(asset_id)
            case Settled(asset_id=upstream_id, wave=wave):
                if waiting.upstream_settled(state, upstream_id, None, wave, every_key=False):
                    self.look(asset_id)

    def look(self, asset_id: str, *, was_made: bool = False) -> None:
        state = self.states[asset_id]
        node = self.graph.assets[asset_id]
        decision = decide(node.spec, state, DEFAULTS, self.now_ms)
        self.wakes.pop(asset_id, None)
        self.wanted.pop(asset_id, None)
        if isinstance(decision, Materialize):
            waiting.asked_for_run(state, self.now_ms)
            self.wanted[asset_id] = (state.version, state.failures)
        elif isinstance(decision, Wait) and decision.until_ms is not None:
            self.wakes[asset_id] = decision.until_ms
        report = waiting.wave_to_report(state, decision, self.now_ms, was_made=was_made)
        if report is not None:
            self.settled[asset_id].append(Settled(asset_id, report[0]))

    # the play

    def play(self, updates: Iterable[str] = ()) -> None:
        """Everything happens, in an order that the seed draws; `updates` at any time, in their order."""
        coming = deque(updates)
        for _ in range(20_000):
            can: list[tuple[str, str]] = [("receive", a) for a in sorted(self.inbox) if self.inbox[a]]
            can += [("pass_down", a) for a in sorted(self.settled) if self.settled[a]]
            can += [("submit", a) for a in sorted(self.wanted)] + [("advance", a) for a in sorted(self.active)]
            can += [("route", "")] * bool(self.stream) + [("update", "")] * bool(coming)
            if not can:
                if not self.wakes:
                    return
                self.now_ms = max(self.now_ms, min(self.wakes.values()))
                for asset_id in [a for a, at_ms in self.wakes.items() if at_ms <= self.now_ms]:
                    self.look(asset_id)
                continue
            what, who = self.rng.choice(can)
            match what:
                case "receive":
                    self.receive(who)
                case "pass_down":
                    self.pass_down(who)
                case "submit":
                    self.submit(who)
                case "advance":
                    self.advance(self.active[who])
                case "route":
                    self.route()
                case _:
                    self.update(coming.popleft())
        pytest.fail("it never came to rest")

    def assert_at_rest(self) -> None:
        """Everything was made from the newest of all (law L1), in good time, and nobody is waited for any more."""
        for asset_id, upstreams in self.followed.items():
            made = self.catalog[asset_id]
            assert all(made.inputs[u] >= self.catalog[u].changed_version for u in upstreams), f"{asset_id} is stale"
        assert {a: s.pending for a, s in self.states.items() if s.pending} == {}
        assert [a for a, s in self.states.items() if s.settled_wave != s.owed_wave] == []
        assert self.now_ms - START_MS < DEFAULTS.pending_limit_ms


SEEDS = st.integers(0, 2**32 - 1)


@given(dags(), SEEDS)
@settings(max_examples=150)
def test_one_change_runs_each_asset_below_it_once(edges: dict[str, tuple[str, ...]], seed: int) -> None:
    service = Service(edges, random.Random(seed))
    service.update("a")
    service.play()
    service.assert_at_rest()
    assert dict(service.runs_made) == dict.fromkeys(below(edges, "a"), 1)


@given(dags(), st.sets(st.sampled_from("bcdefgh")), SEEDS)
@settings(max_examples=150)
def test_one_change_runs_once_what_it_reaches_before_it_is_cut_off(
    edges: dict[str, tuple[str, ...]], cutoffs: set[str], seed: int
) -> None:
    """Law L5: an asset whose data came out the same ends the change there, and holds nobody up."""
    service = Service(edges, random.Random(seed), frozenset(cutoffs))
    service.update("a")
    service.play()
    service.assert_at_rest()
    changed, run = {"a"}, set[str]()
    for asset_id, upstreams in edges.items():  # the assets are in the order of their edges
        if changed & set(upstreams):
            run.add(asset_id)
            if asset_id not in cutoffs:
                changed.add(asset_id)
    assert dict(service.runs_made) == dict.fromkeys(run, 1)


def test_a_change_that_is_cut_off_on_one_way_does_not_open_the_other_early() -> None:
    """`b` comes out the same while `c` still runs: `e` has heard nothing of `c` yet, and `f` must wait for it."""
    edges = {"a": (), "b": ("a",), "c": ("a",), "e": ("b", "c"), "f": ("a", "e")}
    for seed in range(60):
        service = Service(edges, random.Random(seed), frozenset("b"))
        service.update("a")
        service.play()
        service.assert_at_rest()
        assert dict(service.runs_made) == dict.fromkeys("bcef", 1), f"seed {seed}"


@given(dags(), st.dictionaries(st.sampled_from("bcdefgh"), st.integers(1, 2), max_size=2), SEEDS)
@settings(max_examples=150)
def test_failures_in_the_middle_hold_up_nobody_for_ever(
    edges: dict[str, tuple[str, ...]], failing: dict[str, int], seed: int
) -> None:
    service = Service(edges, random.Random(seed), failing=failing)
    service.update("a")
    service.play()
    service.assert_at_rest()
    late = set().union(*(below(edges, f) for f in failing if f in edges), (f for f in failing if f in edges))
    for asset_id in below(edges, "a"):
        assert service.runs_made[asset_id] >= 1 + failing.get(asset_id, 0)
        if asset_id not in late:
            assert service.runs_made[asset_id] == 1


@given(dags(most=6), st.integers(2, 4), st.sets(st.sampled_from("bcdef"), max_size=2), SEEDS)
@settings(max_examples=150)
def test_overlapping_changes_run_an_asset_once_for_each_at_most(
    edges: dict[str, tuple[str, ...]], changes: int, cutoffs: set[str], seed: int
) -> None:
    service = Service(edges, random.Random(seed), frozenset(cutoffs))
    service.play(["a"] * changes)
    service.assert_at_rest()
    assert all(1 <= service.runs_made[a] <= changes for a in edges if "a" in edges[a])
    assert all(count <= changes for count in service.runs_made.values())


def test_below_an_upstream_that_is_always_in_flight_an_asset_still_runs() -> None:
    """Waves that began after the one an asset waits for do not hold it up."""
    service = Service({"a": (), "b": ("a",), "c": ("a", "b")}, random.Random(1))
    service.update("a")
    for _ in range(200):
        service.update("a")
        for _ in range(20):
            if service.stream:
                service.route()
            for asset_id in "bc":
                if service.settled[asset_id]:
                    service.pass_down(asset_id)
                if service.inbox[asset_id]:
                    service.receive(asset_id)
                if asset_id in service.wanted:
                    service.submit(asset_id)
            if run := service.active.get("c"):
                service.advance(run)
        if run := service.active.get("b"):
            service.advance(run)
    assert service.runs_made["b"] >= 90
    assert service.runs_made["c"] >= 80


def test_a_service_made_of_lists_would_notice_a_glitch() -> None:
    """The play can fail: without marks, a seed is found that runs the end of a diamond twice."""

    class Careless(Service):
        def route(self) -> None:
            super().route()
            for box in self.inbox.values():
                for message in [m for m in box if isinstance(m, Pending)]:
                    box[box.index(message)] = replace(message, marks=())

    counts = set()
    for seed in range(50):
        service = Careless({"a": (), "b": ("a",), "c": ("a",), "d": ("b", "c")}, random.Random(seed))
        service.update("a")
        service.play()
        counts.add(service.runs_made["d"])
    assert counts == {1, 2}

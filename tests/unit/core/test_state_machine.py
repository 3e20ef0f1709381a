"""A small world of assets against the pure core: whatever happens, and in whatever order it is told, the laws hold.

The world (`machine_catalog`) and the service around the core (`machine_service`, `machine_asset`) are written in the
plainest way. To look further than the tests do, for example before a release:

    STATE_MACHINE_EXAMPLES=5000 python -m pytest tests/unit/core/test_state_machine.py -n 0 --timeout 0
"""

from __future__ import annotations

import copy
import os
from dataclasses import replace

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from actors.core import transitions
from actors.core.decide import Materialize, Reason, Skip, Wait, staleness
from actors.core.freshness import ExpiryReason, FreshnessPolicy
from actors.core.graph import AssetSpec, AutoMaterialize, When
from actors.core.mappings import PartitionMapping
from actors.core.partitions import Granularity, Partitioning, StaticPartitioning, TimeWindowPartitioning
from actors.core.pauses import EVERYTHING, Pause, asset_scope
from actors.core.quiet_hours import QuietHours, QuietWindow, parse_time
from actors.core.state import Cause, FailureRecord, Materialization, PartitionState
from actors.core.upstreams import KnownUpstreams
from tests.unit.core.machine_asset import PlainAsset, load
from tests.unit.core.machine_catalog import BUDGET, QUIET_FROM, QUIET_TO, START_MS, Catalog, Partition, Run
from tests.unit.core.machine_service import PlainService

EXAMPLES = os.environ.get("STATE_MACHINE_EXAMPLES")
SECOND_MS, MINUTE_MS, HOUR_MS = 1_000, 60_000, 3_600_000
NAMES = StaticPartitioning(("n", "s"))
MINUTE = TimeWindowPartitioning(Granularity.MINUTE)
HOUR = TimeWindowPartitioning(Granularity.HOUR)
MOVES_TO_QUIET = 5_000
RUNS_TO_QUIET = 500

PICK = st.integers(0, 11)
UPDATES = AutoMaterialize(on_upstream_update=True)
QUIET = QuietHours((QuietWindow(frozenset(), parse_time(QUIET_FROM), parse_time(QUIET_TO)),))
POLICIES = st.sampled_from(
    [
        UPDATES,
        UPDATES,
        UPDATES,
        replace(UPDATES, when=When.ALL),
        replace(UPDATES, on_missing=True),
        replace(UPDATES, debounce_ms=30 * SECOND_MS),
        replace(UPDATES, quiet_hours=(QUIET,)),
        replace(UPDATES, mapping=PartitionMapping(wait_for_all=True)),
        AutoMaterialize(on_missing=True),
        None,
    ]
)


def kinds_below(kinds: list[Partitioning | None]) -> list[Partitioning | None]:
    """How an asset may be partitioned whose upstreams are these: so that a key says where it goes into."""
    if all(kind == MINUTE for kind in kinds):
        return [MINUTE, HOUR, HOUR, None]
    if all(kind in (MINUTE, HOUR) for kind in kinds):
        return [HOUR, None]
    return [None, None, NAMES]


@st.composite
def worlds(draw: st.DrawFn) -> Catalog:
    """One or two sources, and two to four assets below them."""
    kinds: dict[str, Partitioning | None] = {}
    sources = {f"s{n}": draw(st.sampled_from([None, NAMES, MINUTE])) for n in range(draw(st.integers(1, 2)))}
    kinds |= sources
    specs: dict[str, AssetSpec] = {}
    for number in range(draw(st.integers(2, 4))):
        above = draw(st.lists(st.sampled_from(list(kinds)), min_size=1, max_size=3, unique=True))
        kind = draw(st.sampled_from(kinds_below([kinds[u] for u in above])))
        auto, ttl_ms = draw(POLICIES), draw(st.sampled_from([None, None, 20 * MINUTE_MS]))
        if isinstance(kind, TimeWindowPartitioning):
            ttl_ms = None
            auto = replace(auto, on_missing=False, on_upstream_update=True) if auto is not None else None
        asset_id = f"a{number}"
        kinds[asset_id] = kind
        specs[asset_id] = AssetSpec(
            asset_id, f"w{number}", "s", tuple(sorted(above)), FreshnessPolicy(ttl_ms=ttl_ms), kind, auto
        )
    return Catalog(sources, specs)


def facts(state: PartitionState) -> dict[str, object]:
    """What the catalog could say as well."""
    return {
        "made": state.made,
        "latest": {u: v for u, v in state.latest.items() if v},
        "run": state.run_id,
        "failure": state.failure,
        "dismissed": state.dismissed,
        "missing": state.missing,
    }


class World(RuleBasedStateMachine):
    """Rules change the catalog as the world does, and say who hears the next message, once or twice, or not at all."""

    @initialize(catalog=worlds())
    def begin(self, catalog: Catalog) -> None:
        self.catalog = copy.deepcopy(catalog)
        self.service = PlainService(self.catalog)
        self.deliver_everything()

    # -- the world ---------------------------------------------------------------------------------------------------

    @rule(pick=PICK, which=PICK, data=st.sampled_from("xyz"), late_ms=st.sampled_from([0, 0, 5 * MINUTE_MS]))
    def outsider_produces(self, pick: int, which: int, data: str, late_ms: int) -> None:
        self.catalog.produce(
            *self.pick_of([*self.catalog.sources] * 2 + [*self.catalog.specs], pick, which), data, late_ms
        )

    @rule(pick=PICK, which=PICK)
    def user_runs(self, pick: int, which: int) -> None:
        partition = self.pick_of([*self.catalog.specs], pick, which)
        if partition not in self.catalog.active:
            self.catalog.begin_run(*partition)

    @rule(pick=PICK)
    def enqueuer_submits(self, pick: int) -> None:
        if not self.service.wanted:
            self.deliver_everything()
        if wanted := list(self.service.wanted):
            self.submit(wanted[pick % len(wanted)])

    @rule(
        pick=PICK,
        step=st.sampled_from(["starts", "makes", "succeeds", "succeeds", "fails", "is canceled"]),
        data=st.sampled_from("xyz"),
    )
    def run_goes_on(self, pick: int, step: str, data: str) -> None:
        if not self.catalog.active:
            self.enqueuer_submits(pick)
        if not self.catalog.active:
            return
        run = self.pick_run(pick)
        match step:
            case "starts" if run.inputs is None:
                self.catalog.start_run(run)
            case "makes" if not run.has_made:
                self.catalog.make_by_run(run, data)
            case "succeeds":
                self.succeed(run, data)
            case "fails" | "is canceled":
                self.catalog.end_run(run, is_canceled=step == "is canceled")
            case _:
                pass

    @rule(pick=PICK, which=PICK, times=st.integers(1, BUDGET))
    def runs_fail_in_a_row(self, pick: int, which: int, times: int) -> None:
        partition = self.pick_of([*self.catalog.specs], pick, which)
        for _ in range(times):
            self.catalog.end_run(self.catalog.active.get(partition) or self.catalog.begin_run(*partition))

    @rule(ms=st.sampled_from([SECOND_MS, MINUTE_MS, 3 * MINUTE_MS, 25 * MINUTE_MS, HOUR_MS + MINUTE_MS]))
    def time_passes(self, ms: int) -> None:
        self.service.pass_time(ms)

    @rule(pick=PICK, which=PICK)
    def user_expires(self, pick: int, which: int) -> None:
        self.service.expire_by_hand(*self.pick_of([*self.catalog.specs], pick, which))

    @rule(pick=PICK, which=PICK, everything=st.booleans(), is_run_at_once=st.booleans())
    def user_resumes(self, pick: int, which: int, everything: bool, is_run_at_once: bool) -> None:
        asset_id, key = self.pick_of([*self.catalog.specs], pick, which)
        self.catalog.resume(asset_id, None if everything else key)
        if is_run_at_once and (asset_id, key) not in self.catalog.active:
            self.catalog.begin_run(asset_id, key)

    @rule(pick=PICK, ms=st.sampled_from([None, MINUTE_MS, HOUR_MS]))
    def user_pauses(self, pick: int, ms: int | None) -> None:
        scope = [EVERYTHING, *map(asset_scope, self.catalog.specs)][pick % (len(self.catalog.specs) + 1)]
        now_ms = self.catalog.now_ms
        self.catalog.pauses[scope] = Pause(scope, now_ms, now_ms + ms if ms is not None else None)
        self.service.pauses_changed()

    @rule(pick=PICK)
    def user_unpauses(self, pick: int) -> None:
        if scopes := list(self.catalog.pauses):
            del self.catalog.pauses[scopes[pick % len(scopes)]]
            self.service.pauses_changed()

    # -- who hears what, and when ------------------------------------------------------------------------------------

    @rule(picks=st.lists(PICK, min_size=1, max_size=8))
    def some_is_delivered(self, picks: list[int]) -> None:
        for pick in picks:
            self.move(pick)

    @rule()
    def deliver_everything(self) -> None:
        for _ in range(MOVES_TO_QUIET):
            if not self.move(0):
                return
        raise AssertionError(f"after {MOVES_TO_QUIET} messages there is still more to tell")

    @rule(at=PICK)
    def two_events_change_places(self, at: int) -> None:
        self.service.swap(at)

    @rule(back=PICK)
    def event_comes_again(self, back: int) -> None:
        if events := self.catalog.events[: self.service.told - len(self.service.unrouted)]:
            self.service.route(events[-1 - back % len(events)])

    @rule(pick=PICK)
    def news_is_heard_twice(self, pick: int) -> None:
        """Law L11: at once, whatever it is."""
        waiting = [asset for asset in self.service.assets.values() if asset.mail]
        if not waiting:
            return
        asset = waiting[pick % len(waiting)]
        news = asset.handle()
        if news.is_repeatable:
            before = copy.deepcopy(asset.states)
            news.act(asset)
            assert asset.states == before, f"L11: {asset.asset_id} heard twice: {news.text}"

    @rule(pick=PICK, back=PICK)
    def old_event_is_heard_again(self, pick: int, back: int) -> None:
        """Law L11: much later, at its old position."""
        asset = self.asset(pick)
        if asset.heard:
            event = asset.heard[-1 - back % len(asset.heard)]
            before = {key: facts(state) for key, state in asset.states.items()}
            assert not asset.apply(event), f"L11: {event} is no news to {asset.asset_id}"
            assert {k: facts(s) for k, s in asset.states.items()} == before, (
                f"L11: {asset.asset_id} heard again {event}"
            )

    @rule(pick=PICK, how=st.sampled_from(["is read again", "crashes"]), is_read_now=st.booleans())
    def asset_loses_track(self, pick: int, how: str, is_read_now: bool) -> None:
        """When the snapshot is read at once, and handled later, news comes that is newer than it."""
        asset_id = self.asset(pick).asset_id
        if how == "crashes":
            self.service.crash(asset_id)
        else:
            self.service.reload(asset_id)
        if is_read_now:
            self.service.read_all()

    @rule(again=st.integers(0, 3), is_read_now=st.booleans())
    def everything_restarts(self, again: int, is_read_now: bool) -> None:
        self.service.restart(again)
        if is_read_now:
            self.service.read_all()

    # -- laws --------------------------------------------------------------------------------------------------------

    @invariant()
    def a_decision_is_a_function_and_its_times_lie_ahead(self) -> None:
        now_ms = self.catalog.now_ms
        for asset in self.service.assets.values():
            for state in asset.states.values():
                before = copy.deepcopy(state)
                decision = asset.decide(state)
                assert decision == asset.decide(before)
                assert state == before
                match decision:
                    case Wait(until_ms=int(at_ms)) | Skip(next_look_ms=int(at_ms)):
                        assert at_ms > now_ms, f"{asset.asset_id}@{state.partition_key} looks back: {decision}"
                    case _:
                        pass

    @invariant()
    def l11_what_is_known_is_what_the_catalog_says(self) -> None:
        if not self.service.is_quiet:
            return
        now_ms = self.catalog.now_ms
        for asset in self.service.assets.values():
            fresh = load(asset.spec, self.catalog.read(asset.asset_id), now_ms)
            for key in {*fresh, *asset.states}:
                nothing = asset.upstreams.open(asset.spec, key)
                known, told = asset.states.get(key, nothing), fresh.get(key, nothing)
                where = f"L11: {asset.asset_id}@{key}"
                assert facts(known) == facts(told), where
                assert staleness(asset.spec, known, now_ms) == staleness(asset.spec, told, now_ms), where

    @invariant()
    def l1_l2_l7_l9_decisions_fit_the_truth(self) -> None:
        if not self.service.is_quiet:
            return
        catalog = self.catalog
        for asset in self.service.assets.values():
            for key, state in asset.states.items():
                partition, decision = (asset.asset_id, key), asset.decide(state)
                where = f"{asset.asset_id}@{key}: {decision}"
                if isinstance(decision, Materialize):
                    assert partition not in catalog.active, f"L2: {where} while a run is active"
                    assert not catalog.is_held_back(*partition), f"L7, L9: {where} while it is held back"
                    assert not catalog.is_incomplete(*partition), f"{where}, but an upstream partition is missing"
                    assert catalog.is_stale(*partition), f"L2: {where}, but nothing is stale"
                    assert partition in self.service.wanted, f"L1: {where}, but nobody was told"
                elif decision.reason is Reason.FRESH:
                    assert not catalog.is_stale(*partition), f"L1: {where}, but it is stale"

    @invariant()
    def l4_nobody_waits_for_what_never_comes(self) -> None:
        self.check_marks()

    def check_marks(self) -> None:
        if not self.service.is_quiet or self.catalog.active or self.service.wanted:
            return
        states = [(a, s) for a in self.service.assets.values() for s in a.states.values()]
        if any(a.decide(s).reason is Reason.DEBOUNCE for a, s in states):
            return
        for asset, state in states:
            # A mark of somebody in quiet hours stays until they are over, and holds nobody back.
            marks = [mark for mark in state.pending.values() if mark.from_ms <= self.catalog.now_ms]
            assert not marks, f"L4: {asset.asset_id}@{state.partition_key} waits for {state.pending}"

    # -- the end -----------------------------------------------------------------------------------------------------

    def teardown(self) -> None:
        """Law L1: news stops, pauses end, whoever was given up is resumed, runs succeed."""
        if not hasattr(self, "catalog"):
            return
        self.catalog.pauses.clear()
        self.service.pauses_changed()
        for asset_id in self.catalog.specs:
            self.catalog.resume(asset_id)
        for _ in range(RUNS_TO_QUIET):
            self.deliver_everything()
            assert self.service.is_quiet
            self.check_laws()
            if self.catalog.active:
                self.succeed(self.pick_run(0), f"data-{self.catalog.pos}")
            elif self.service.wanted:
                self.submit(next(iter(self.service.wanted)))
            elif (until_ms := self.next_look_ms()) is not None:
                self.service.pass_time(until_ms - self.catalog.now_ms)
            else:
                break
        else:
            raise AssertionError(f"after {RUNS_TO_QUIET} runs there is still something to do")
        for partition in self.catalog.partitions():
            is_due = self.catalog.is_stale(*partition) and not self.catalog.is_incomplete(*partition)
            assert not is_due, f"L1: {partition} was not made from the latest"

    def check_laws(self) -> None:
        self.a_decision_is_a_function_and_its_times_lie_ahead()
        self.l11_what_is_known_is_what_the_catalog_says()
        self.l1_l2_l7_l9_decisions_fit_the_truth()
        self.l4_nobody_waits_for_what_never_comes()

    def next_look_ms(self) -> int | None:
        """When the first of those that need a run and wait for a time may go on."""
        decisions = [a.decide(s) for a in self.service.assets.values() for s in a.states.values()]
        return min((d.until_ms for d in decisions if isinstance(d, Wait) and d.until_ms is not None), default=None)

    # -- small things ------------------------------------------------------------------------------------------------

    def move(self, pick: int) -> bool:
        moves = self.service.moves()
        if moves:
            moves[pick % len(moves)]()
        return bool(moves)

    def submit(self, partition: Partition) -> None:
        """Law L2: what the catalog lets through on the asset's word is needed."""
        if self.service.submit(partition):
            assert self.catalog.is_stale(*partition), f"L2: a run of {partition} was started, but nothing is stale"

    def succeed(self, run: Run, data: str) -> None:
        if not run.has_made:
            self.catalog.make_by_run(run, data)
        self.catalog.end_run(run)

    def pick_run(self, pick: int) -> Run:
        runs = list(self.catalog.active.values())
        return runs[pick % len(runs)]

    def asset(self, pick: int) -> PlainAsset:
        assets = list(self.service.assets.values())
        return assets[pick % len(assets)]

    def pick_of(self, asset_ids: list[str], pick: int, which: int) -> Partition:
        asset_id = asset_ids[pick % len(asset_ids)]
        match self.catalog.kind(asset_id):
            case None:
                return asset_id, None
            case TimeWindowPartitioning(granularity=granularity):
                ago_ms = which % 3 * 7 * MINUTE_MS
                return asset_id, self.catalog.window(ago_ms, granularity)
            case _:
                return asset_id, NAMES.keys[which % 2]


World.TestCase.settings = settings(
    max_examples=int(EXAMPLES) if EXAMPLES else 150,
    stateful_step_count=40,
    derandomize=EXAMPLES is None,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)
TestWorld = World.TestCase


# -- what it found: the shrunk examples -------------------------------------------------


def test_l11_a_resumption_told_after_the_next_run_began_is_not_lost() -> None:
    state = PartitionState(None)
    transitions.run_enqueued(state, "run-1", 1)
    transitions.run_ended(state, "run-1", FailureRecord(BUDGET, START_MS, "run-1"), None, 2)
    transitions.run_enqueued(state, "run-2", 4)
    transitions.asset_resumed(state, 3)
    assert state.failure is None


def test_l11_a_success_told_after_the_next_run_began_clears_failures() -> None:
    state = PartitionState(None)
    transitions.run_enqueued(state, "run-1", 1)
    transitions.run_ended(state, "run-1", FailureRecord(BUDGET, START_MS, "run-1"), None, 2)
    transitions.run_enqueued(state, "run-2", 4)
    transitions.asset_produced(state, Materialization(1, 1, START_MS), 3)
    assert state.failure is None


def test_l11_a_failure_told_after_the_next_run_began_counts() -> None:
    failure = FailureRecord(1, START_MS, "run-1")
    state = PartitionState(None)
    transitions.run_enqueued(state, "run-1", 1)
    transitions.run_enqueued(state, "run-2", 3)
    transitions.run_ended(state, "run-1", failure, None, 2)
    assert (state.run_id, state.failure) == ("run-2", failure)


def test_l11_an_expiry_told_before_the_first_version_is_not_lost() -> None:
    state = PartitionState(None)
    transitions.asset_expired(state, 1, ExpiryReason.MANUAL)
    transitions.asset_produced(state, Materialization(1, 1, START_MS), 1)
    assert state.made is not None
    assert state.made.expired_version == 1


def test_l4_nobody_waits_for_what_a_restarted_asset_was_about_to_make() -> None:
    """`b` was announced below `a`; `a` fails while `b` is restarted, so `b` has nothing to do, and `c` waits for it."""
    a = AssetSpec("a", "wa", "s", ("s",), auto=replace(UPDATES, on_missing=True))
    b = AssetSpec("b", "wb", "s", ("a",), partitioning=NAMES, auto=UPDATES)
    c = AssetSpec("c", "wc", "s", ("b", "s"), auto=UPDATES)
    world = World()
    world.begin(Catalog({"s": None}, {"a": a, "b": b, "c": c}))
    world.runs_fail_in_a_row(0, 0, BUDGET)
    world.service.crash("b")
    world.deliver_everything()
    world.check_marks()


def test_news_before_the_first_snapshot_does_not_make_missing_partitions_present() -> None:
    spec = AssetSpec("x", "w", "s", ("a",), auto=replace(UPDATES, mapping=PartitionMapping(wait_for_all=True)))
    upstreams = KnownUpstreams()
    early = upstreams.open(spec, None)
    transitions.upstream_changed(early, Cause("a", "n", 1), 1, START_MS)
    catalog = Catalog({"a": NAMES}, {"x": spec})
    catalog.produce("a", "n", "data")
    loaded = load(spec, catalog.read("x"), START_MS)[None]
    assert transitions.merge_loaded(early, loaded, 1).missing == {"a": {"s"}}

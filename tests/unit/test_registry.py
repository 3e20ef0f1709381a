"""The registry: among inboxes, what it tells whom; and with real assets and a real enqueuer, what comes of it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
from pykka import ActorRef

from actors.asset import AssetActor
from actors.catalog.store import Limits
from actors.core.freshness import ExpiryReason, FreshnessPolicy
from actors.core.graph import AssetSpec, AutoMaterialize, WorkflowSpec
from actors.core.quiet_hours import QuietHours, QuietWindow
from actors.core.run_queue import Capacity
from actors.core.state import Cause
from actors.core.waves import wave_at
from actors.enqueuer import EnqueuerActor
from actors.messages import (
    AssetExpired,
    AssetResumed,
    ChildFailed,
    Configure,
    DumpAsset,
    IsLoaded,
    ListAssets,
    Load,
    Look,
    ReloadAsset,
    RunEnded,
    RunEnqueued,
    RunRefused,
    RunRequest,
    RunRequested,
    Settled,
    StartChildren,
    StopChildren,
    UpstreamChanged,
    UpstreamPending,
    UpstreamSettled,
    WorkflowsKnown,
)
from actors.registry import GraphRegistryActor
from actors.supervisor import ChildSpec, Intensity, SupervisorActor
from tests.unit.doubles import Inbox, Stage, only, stage

FOLLOWS = AutoMaterialize(on_upstream_update=True)
REFRESH_MS = 600_000


def workflow(
    asset_id: str, *upstreams: str, auto: AutoMaterialize | None = FOLLOWS, ttl_ms: int | None = None
) -> WorkflowSpec:
    spec = AssetSpec(asset_id, f"make-{asset_id}", "s", upstreams, FreshnessPolicy(ttl_ms=ttl_ms), auto=auto)
    return WorkflowSpec(spec.workflow_slug, assets=(spec,), consumed=dict.fromkeys(upstreams))


DIAMOND = (workflow("b", "a"), workflow("c", "a"), workflow("d", "b", "c"), workflow("aside", "elsewhere"))


@pytest.fixture
def on_stage() -> Iterator[Stage]:
    with stage() as made:
        yield made


class Among:
    """A registry whose assets are inboxes."""

    def __init__(self, on: Stage, *workflows: WorkflowSpec) -> None:
        self.on = on
        self.mail: dict[str, list[Any]] = {}
        self.refs: dict[str, ActorRef[Any]] = {}
        self.enqueuer = on.inbox("enqueuer")
        self.supervisor = on.inbox("supervisor")
        on.catalog.put(*workflows)
        on.catalog.stream.clear()
        self.ref = on.dispatcher.spawn(GraphRegistryActor, on.around, self._spawn, refresh_ms=REFRESH_MS)
        on.around.links.registry = self.ref
        on.settle()

    def _spawn(self, asset_id: str, spec: AssetSpec | None) -> ActorRef[Any]:
        self.refs[asset_id] = self.on.dispatcher.spawn(Inbox, self.mail.setdefault(asset_id, []))
        return self.refs[asset_id]

    def tell(self, *messages: object) -> dict[str, list[Any]]:
        """What each asset is told in answer."""
        before = {asset_id: len(box) for asset_id, box in self.mail.items()}
        self.on.tell(self.ref, *messages)
        self.on.settle()
        return {a: box[before.get(a, 0) :] for a, box in self.mail.items() if len(box) > before.get(a, 0)}

    def claim(self, slug: str, run_id: str) -> None:
        """An active run in the catalog."""
        catalog = self.on.catalog
        catalog.active[run_id] = RunRequest(run_id, catalog.workflows[slug], None, {"type": "manual"}, Limits(9))
        catalog.stream.append(RunEnqueued(run_id, slug, None, catalog.next_pos()))


def test_it_starts_actors_for_what_has_something_to_do(on_stage: Stage) -> None:
    among = Among(on_stage, *DIAMOND, workflow("watched", auto=None, ttl_ms=1), workflow("idle", auto=None))
    assert set(among.mail) == {"b", "c", "d", "aside", "watched"}
    assert on_stage.ask(among.ref, IsLoaded()) is True
    assert set(on_stage.ask(among.ref, ListAssets())) == set(among.mail)
    assert only(among.enqueuer, WorkflowsKnown)[0].is_complete
    # The others are started when somebody asks for them.
    assert on_stage.ask(among.ref, DumpAsset("nobody's")) is None
    assert on_stage.ask(among.ref, DumpAsset("idle")) == among.refs["idle"]


def test_each_gets_its_records_and_those_of_its_upstreams(on_stage: Stage) -> None:
    on_stage.catalog.produce("a")
    made = on_stage.catalog.produce("b")
    among = Among(on_stage, *DIAMOND)
    (load,) = only(among.mail["b"], Load)
    assert load.record.latest == {None: made}
    assert {u: dict(s.changed) for u, s in load.upstreams.items()} == {"a": {None: (1, made.produced_at_ms)}}


def test_news_goes_along_its_edges_marks_first(on_stage: Stage) -> None:
    among = Among(on_stage, *DIAMOND)
    on_stage.catalog.produce("a")
    news = on_stage.catalog.stream.popleft()
    changed = UpstreamChanged(Cause("a", None, 1), (None,), news.pos, wave_at(news.pos))
    told = among.tell(news)
    assert (told["b"], told["c"], set(told)) == ([changed], [changed], {"b", "c", "d"})
    (pending,) = told["d"]
    assert (pending.wave, set(pending.pending[None])) == (wave_at(news.pos), {("b", None), ("c", None)})
    assert among.tell(Settled("b", None, 1)) == {"d": [UpstreamSettled("b", None, 1)]}


def test_marks_come_before_the_news_they_hold_back(on_stage: Stage) -> None:
    among = Among(on_stage, workflow("b", "a"), workflow("c", "a", "b"))
    on_stage.catalog.produce("a")
    told = among.tell(on_stage.catalog.stream.popleft())
    assert [type(m) for m in told["c"]] == [UpstreamPending, UpstreamChanged]


def test_what_did_not_change_goes_to_the_asset_alone(on_stage: Stage) -> None:
    """Law L5."""
    among = Among(on_stage, *DIAMOND)
    on_stage.catalog.produce("b")
    on_stage.settle()
    on_stage.catalog.produce("b", changed=False)
    news = on_stage.catalog.stream.popleft()
    assert among.tell(news) == {"b": [news]}


def test_news_of_what_nobody_knows_costs_nothing(on_stage: Stage) -> None:
    among = Among(on_stage, *DIAMOND)
    on_stage.catalog.produce("stranger")
    assert among.tell(on_stage.catalog.stream.popleft()) == {}
    expired, resumed = AssetExpired("b", None, 1, ExpiryReason.TTL, 9), AssetResumed("b", None, 10)
    assert among.tell(expired, resumed, AssetResumed("stranger", None, 11)) == {"b": [expired, resumed]}


def test_the_enqueuer_hears_of_an_end_and_so_do_the_assets_of_the_workflow(on_stage: Stage) -> None:
    among = Among(on_stage, *DIAMOND)
    among.claim("make-b", "run-1")
    on_stage.settle()
    on_stage.catalog.end("run-1", "failed")
    news = on_stage.catalog.stream[-1]
    on_stage.settle()
    assert among.enqueuer[-1] == news
    assert among.mail["b"][-1] == news
    assert all(not only(among.mail[a], RunEnded) for a in "cd")


def test_a_start_told_after_the_end_is_dropped(on_stage: Stage) -> None:
    among = Among(on_stage, *DIAMOND)
    among.tell(RunEnded("run-1", "make-b", None, "succeeded", (), 8))
    among.enqueuer.clear()
    assert among.tell(RunEnqueued("run-1", "make-b", None, 7)) == {}
    assert among.enqueuer == []


def test_a_refusal_by_a_run_that_has_ended_is_looked_at_again(on_stage: Stage) -> None:
    among = Among(on_stage, *DIAMOND)
    refused = RunRefused("b", None, "run-1")
    assert among.tell(refused) == {"b": [refused]}
    among.tell(RunEnded("run-1", "make-b", None, "succeeded", (), 8))
    assert among.tell(refused) == {"b": [Look(None)]}


def test_requests_by_hand_go_to_the_enqueuer(on_stage: Stage) -> None:
    among = Among(on_stage, *DIAMOND)
    among.tell(RunRequested("by-hand", 3))
    assert among.enqueuer[-1] == RunRequested("by-hand", 3)


def test_an_asset_that_is_outdated_is_read_again(on_stage: Stage) -> None:
    among = Among(on_stage, *DIAMOND)
    made = on_stage.catalog.produce("b")
    on_stage.catalog.stream.clear()
    (load,) = among.tell(ReloadAsset("b"))["b"]
    assert load.record.latest == {None: made}


def test_a_definition_that_changes_reconfigures_its_assets_alone(on_stage: Stage) -> None:
    among = Among(on_stage, *DIAMOND)
    on_stage.catalog.put(workflow("b", "a", ttl_ms=5))
    again = on_stage.catalog.stream[0]
    told = {a: [m for m in mail if isinstance(m, Configure | Load)] for a, mail in among.tell().items()}
    assert [type(m) for m in told.pop("b")] == [Configure, Load]
    assert not any(told.values())
    assert among.tell(again) == {}


def test_an_asset_whose_workflow_is_removed_is_retired_and_nobody_waits_for_it(on_stage: Stage) -> None:
    among = Among(on_stage, *DIAMOND)
    on_stage.catalog.remove("make-b")
    told = among.tell()
    assert not among.refs["b"].is_alive()
    assert any(isinstance(news, UpstreamSettled) and news.every_key and news.asset_id == "b" for news in told["d"])
    assert among.enqueuer[-1] == WorkflowsKnown({"make-b": None}, is_complete=False)
    assert on_stage.observer.of("workflow_changed")[-1] == {"slug": "make-b", "change": "removed"}


def test_a_circle_is_refused_and_named(on_stage: Stage) -> None:
    among = Among(on_stage, *DIAMOND)
    on_stage.catalog.put(workflow("b", "a", "d"))
    assert among.tell() == {}
    (said,) = [s for s in on_stage.observer.of("workflow_changed") if str(s["change"]).startswith("refused")]
    assert "make-b -> make-d -> make-b" in str(said["change"])


def test_what_was_never_told_is_found_at_the_next_refresh(on_stage: Stage) -> None:
    among = Among(on_stage, *DIAMOND)
    among.claim("make-b", "run-1")
    on_stage.settle()
    on_stage.catalog.end("run-1", "succeeded")
    on_stage.catalog.remove("make-aside")
    on_stage.catalog.stream.clear()
    on_stage.advance(REFRESH_MS)
    on_stage.settle()
    assert RunEnded("run-1", "make-b", None, "unknown", (), 0) in among.enqueuer
    assert [type(m) for m in among.mail["b"][-2:]] == [RunEnded, Load]
    assert not among.refs["aside"].is_alive()
    assert len(on_stage.timers) == 1


def test_one_that_fails_stops_its_assets_and_says_so(on_stage: Stage) -> None:
    among = Among(on_stage, *DIAMOND)
    on_stage.tell(among.ref, Settled)  # no message at all
    assert not any(ref.is_alive() for ref in among.refs.values())
    assert isinstance(among.supervisor[0], ChildFailed)
    assert among.supervisor[0].name == "registry"


# -- everything together -----------------------------------------------------------------------------------------------


class House:
    """Supervisor, enqueuer, registry and assets, as the service has them, on one thread."""

    def __init__(self, on: Stage, *workflows: WorkflowSpec, max_runs: int = 9, max_restarts: int = 3) -> None:
        self.on = on
        self.gave_up: list[str] = []
        on.catalog.put(*workflows)
        on.catalog.stream.clear()
        links = on.around.links

        def start_enqueuer() -> None:
            links.enqueuer = on.dispatcher.spawn(EnqueuerActor, on.around, Capacity(max_runs), 60_000)

        def start_registry() -> None:
            links.registry = on.dispatcher.spawn(GraphRegistryActor, on.around, self._spawn, refresh_ms=REFRESH_MS)

        def stop(name: str) -> None:
            ref: ActorRef[Any] | None = getattr(links, name)
            setattr(links, name, None)
            if ref is not None and ref.is_alive():
                ref.stop(block=False)

        children = (
            ChildSpec("enqueuer", start_enqueuer, lambda: stop("enqueuer")),
            ChildSpec("registry", start_registry, lambda: stop("registry")),
        )
        links.supervisor = on.dispatcher.spawn(
            SupervisorActor, on.around, children, Intensity(max_restarts, 60_000), self.gave_up.append
        )
        on.tell(links.supervisor, StartChildren())
        on.settle()

    def _spawn(self, asset_id: str, spec: AssetSpec | None) -> ActorRef[Any]:
        return self.on.dispatcher.spawn(AssetActor, asset_id, spec, self.on.around)

    def active(self) -> list[str]:
        return sorted(run.workflow.slug.removeprefix("make-") for run in self.on.catalog.active.values())

    def run_of(self, asset_id: str) -> str:
        return next(r.run_id for r in self.on.catalog.active.values() if r.workflow.slug == f"make-{asset_id}")

    def make(self, asset_id: str) -> None:
        """The asset's run starts, reads, and succeeds."""
        self.on.catalog.start(self.run_of(asset_id))
        self.on.settle()
        self.on.catalog.succeed(self.run_of(asset_id))
        self.on.settle()

    def produce(self, asset_id: str) -> None:
        self.on.catalog.produce(asset_id)
        self.on.settle()

    def counts(self) -> dict[str, int]:
        return dict(Counter(r.workflow.slug.removeprefix("make-") for r in self.on.catalog.submitted))

    def asset(self, asset_id: str) -> ActorRef[Any]:
        found: ActorRef[Any] = self.on.ask(self.registry, DumpAsset(asset_id))
        return found

    @property
    def registry(self) -> ActorRef[Any]:
        ref = self.on.around.links.registry
        assert ref is not None
        return ref


def fresh(on: Stage) -> None:
    """Everything of the diamond was made once, from everything above it."""
    for asset_id in "abcd":
        on.catalog.produce(asset_id)
    on.catalog.stream.clear()


def test_one_update_runs_the_diamond_once(on_stage: Stage) -> None:
    """Laws L1, L2 and L4."""
    fresh(on_stage)
    house = House(on_stage, *DIAMOND)
    assert house.active() == []
    house.produce("a")
    assert house.active() == ["b", "c"]
    house.make("b")
    assert house.active() == ["c"]
    house.make("c")
    assert house.active() == ["d"]
    house.make("d")
    assert (house.active(), house.counts()) == ([], {"b": 1, "c": 1, "d": 1})


def test_many_updates_during_a_run_run_it_once_more(on_stage: Stage) -> None:
    fresh(on_stage)
    house = House(on_stage, DIAMOND[0])
    house.produce("a")
    on_stage.catalog.start(house.run_of("b"))
    for _ in range(5):
        house.produce("a")
    on_stage.catalog.succeed(house.run_of("b"))
    on_stage.settle()
    house.make("b")
    assert (house.active(), house.counts()) == ([], {"b": 2})


def test_an_asset_that_failed_is_started_again_from_the_catalog(on_stage: Stage) -> None:
    fresh(on_stage)
    house = House(on_stage, *DIAMOND)
    dead = house.asset("b")
    on_stage.tell(dead, Settled)  # no message at all
    assert not dead.is_alive()
    on_stage.settle()
    assert house.asset("b").is_alive()
    assert on_stage.observer.of("child_restarted")[0]["name"] == "b"
    house.produce("a")
    assert house.active() == ["b", "c"]


def test_an_update_that_a_failing_asset_did_not_hear_is_not_lost(on_stage: Stage) -> None:
    fresh(on_stage)
    house = House(on_stage, *DIAMOND)
    house.asset("b").tell(Settled)
    on_stage.catalog.produce("a")
    on_stage.settle()
    assert house.active() == ["b", "c"]
    for asset_id in "bcd":
        house.make(asset_id)
    assert house.counts() == {"b": 1, "c": 1, "d": 1}


def test_one_that_cannot_be_mended_ends_the_service_once(on_stage: Stage) -> None:
    """The poison is in the definition: each restart meets it again."""
    never = QuietHours((QuietWindow(frozenset(), 0, 1440),))
    on_stage.catalog.produce("a")
    house = House(on_stage, workflow("b", "a", auto=replace(FOLLOWS, quiet_hours=(never,))), max_restarts=3)
    assert len(on_stage.observer.of("child_restarted")) == 3
    (reason,) = house.gave_up
    assert reason.startswith("b failed (ValueError: quiet hours")


@pytest.mark.parametrize("child", ["enqueuer", "registry"])
def test_a_child_that_failed_is_back_with_all_it_knew(on_stage: Stage, child: str) -> None:
    fresh(on_stage)
    house = House(on_stage, *DIAMOND, max_runs=1)
    house.produce("a")
    ref = getattr(on_stage.around.links, child)
    on_stage.tell(ref, Settled)  # no message at all
    on_stage.settle()
    assert [said["name"] for said in on_stage.observer.of("child_restarted")] == [child]
    for _ in range(3):
        (asset_id,) = house.active()
        house.make(asset_id)
    assert (house.active(), house.counts()) == ([], {"b": 1, "c": 1, "d": 1})


def test_a_removed_workflow_is_not_run_though_it_was_wanted(on_stage: Stage) -> None:
    fresh(on_stage)
    house = House(on_stage, *DIAMOND, max_runs=1)
    house.produce("a")
    (first,) = house.active()
    (second,) = {"b", "c"} - {first}
    on_stage.catalog.remove(f"make-{second}")
    on_stage.settle()
    house.make(first)
    assert house.active() == ["d"]


def test_what_expires_is_made_again_and_those_below_with_it(on_stage: Stage) -> None:
    fresh(on_stage)
    house = House(on_stage, workflow("b", "a", ttl_ms=1_000), workflow("d", "b"))
    on_stage.advance(1_000)
    on_stage.settle()
    assert house.active() == ["b"]
    assert len(on_stage.catalog.expiries) == 1
    house.make("b")
    assert house.active() == ["d"]
    house.make("d")
    on_stage.advance(999)
    assert house.active() == []


def test_a_canceled_run_is_left_alone_until_something_is_newer(on_stage: Stage) -> None:
    fresh(on_stage)
    house = House(on_stage, DIAMOND[0])
    house.produce("a")
    on_stage.catalog.end(house.run_of("b"), "canceled")
    on_stage.settle()
    on_stage.advance(REFRESH_MS)
    on_stage.settle()
    assert house.active() == []
    house.produce("a")
    assert house.active() == ["b"]


def test_a_run_by_hand_counts_for_those_below(on_stage: Stage) -> None:
    fresh(on_stage)
    house = House(on_stage, *DIAMOND)
    on_stage.catalog.queue("by-hand", "make-b")
    on_stage.settle()
    assert house.active() == ["b"]
    house.make("b")
    assert house.active() == ["d"]


def test_an_edge_that_is_dropped_holds_nobody_back(on_stage: Stage) -> None:
    """`d` waits for `b` and `c`; then its workflow stops to read `c`, which never reports to it again."""
    fresh(on_stage)
    on_stage.catalog.produce("e")
    house = House(on_stage, *DIAMOND, workflow("e", "d", "b"))
    house.produce("a")
    on_stage.catalog.put(workflow("d", "b"))
    on_stage.settle()
    house.make("b")
    assert house.active() == ["c", "d"]
    house.make("d")
    assert house.active() == ["c", "e"]


def test_everything_stops_when_told_to(on_stage: Stage) -> None:
    house = House(on_stage, *DIAMOND)
    assert on_stage.dispatcher.actors == 3 + len(DIAMOND)
    supervisor = on_stage.around.links.supervisor
    assert supervisor is not None
    on_stage.tell(supervisor, StopChildren())
    assert on_stage.dispatcher.actors == 1
    assert house.gave_up == []

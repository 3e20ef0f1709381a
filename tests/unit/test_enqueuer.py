"""The enqueuer before a catalog in memory: one run for each piece of work, in order, within limits."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import pytest
from pykka import ActorRef

from actors.catalog.store import BasisOutdated, LimitReached
from actors.core.decide import Reason
from actors.core.freshness import Expiry, ExpiryReason
from actors.core.graph import AssetSpec, AutoMaterialize, WorkflowSpec
from actors.core.run_queue import Capacity
from actors.core.state import Cause
from actors.enqueuer import EnqueuerActor
from actors.messages import (
    ChildFailed,
    CountQueue,
    QueueDump,
    ReloadAsset,
    RunEnded,
    RunRefused,
    RunRequest,
    RunRequested,
    SetCapacity,
    WantRun,
    WithdrawRun,
    WorkflowsKnown,
)
from tests.unit.doubles import NOON, Stage, stage

AGING_MS = 60_000


def workflow(slug: str, *assets: str, pool: str | None = None) -> WorkflowSpec:
    auto = AutoMaterialize(pool=pool)
    return WorkflowSpec(slug, assets=tuple(AssetSpec(a, slug, "s", auto=auto) for a in assets or (slug,)))


@pytest.fixture
def on_stage() -> Iterator[Stage]:
    with stage() as made:
        yield made


@dataclass
class Scene:
    """An enqueuer; the registry is an inbox, and the news it would pass on is told by `hear`."""

    stage: Stage
    ref: ActorRef[Any]
    registry: list[Any]
    supervisor: list[Any]

    def tell(self, *messages: object) -> None:
        self.stage.tell(self.ref, *messages)

    def hear(self) -> None:
        catalog = self.stage.catalog
        while catalog.stream:
            news = catalog.stream.popleft()
            if type(news).__name__.startswith("Run"):
                self.tell(news)

    def go_on(self) -> None:
        """Questions are answered and news is heard until nothing is left to do."""
        self.stage.run()
        while self.stage.catalog.answer() or self.stage.catalog.stream:
            self.stage.run()
            self.hear()

    def want(self, slug: str, key: str | None = None, **others: Any) -> None:
        self.tell(want(slug, key, **others))
        self.go_on()

    def submitted(self) -> list[tuple[str, str | None]]:
        return [(r.workflow.slug, r.partition_key) for r in self.stage.catalog.submitted]

    def active(self) -> list[str]:
        return sorted(r.workflow.slug for r in self.stage.catalog.active.values())

    def run_id(self, slug: str) -> str:
        return next(r.run_id for r in self.stage.catalog.active.values() if r.workflow.slug == slug)

    def end(self, slug: str, outcome: str = "succeeded") -> None:
        self.stage.catalog.end(self.run_id(slug), outcome)
        self.go_on()

    def dump(self) -> QueueDump:
        found: QueueDump = self.stage.ask(self.ref, CountQueue())
        return found


def scene(on: Stage, capacity: Capacity | None = None, *workflows: WorkflowSpec) -> Scene:
    """An enqueuer that has read runs and workflows."""
    known = {w.slug: w for w in workflows or [workflow(slug) for slug in "uvw"]}
    on.catalog.workflows = dict(known)
    mail = {name: on.inbox(name) for name in ("registry", "supervisor")}
    made = Scene(on, on.dispatcher.spawn(EnqueuerActor, on.around, capacity or Capacity(8), AGING_MS), **mail)
    made.tell(WorkflowsKnown(known, is_complete=True))
    made.go_on()
    return made


def want(slug: str, key: str | None = None, *, asset_id: str | None = None, **others: Any) -> WantRun:
    wanted = WantRun(slug, key, asset_id or slug, 100, Reason.UPSTREAM_UPDATED, (), 0, 0)
    return replace(wanted, **others)


# -- one run for each piece of work ------------------------------------------------------------------------------------


def test_assets_of_one_workflow_and_partition_share_a_run(on_stage: Stage) -> None:
    q = scene(on_stage, None, workflow("w", "x", "y"))
    on_stage.catalog.outcomes.append(LimitReached("global"))  # what came of it is not the point here
    three, four = Cause("a", None, 3), Cause("b", None, 4)
    first = want("w", asset_id="y", priority=20, causes=(three, four))
    second = want("w", asset_id="x", priority=10, causes=(four,), failures=2, reason=Reason.EXPIRED)
    q.ref.tell(first)
    q.ref.tell(second)
    on_stage.run()
    on_stage.catalog.answer()
    (request,) = on_stage.catalog.submitted
    assert request.wants == (second, first)
    assert request.trigger == {
        "type": "auto-materialize",
        "reason": "expired",
        "assetId": "x",
        "partitionKey": None,
        "assets": ["x", "y"],
        "attempt": 3,
        "upstream": [
            {"assetId": "b", "partitionKey": None, "version": 4},
            {"assetId": "a", "partitionKey": None, "version": 3},
        ],
    }


def test_the_trigger_says_what_expired(on_stage: Stage) -> None:
    q = scene(on_stage)
    q.want("w", reason=Reason.EXPIRED, expiry=Expiry(NOON, ExpiryReason.TTL))
    assert on_stage.catalog.submitted[0].trigger["expiry"] == {"expiresAtMs": NOON, "reason": "ttl"}


def test_partitions_are_different_pieces_of_work(on_stage: Stage) -> None:
    q = scene(on_stage)
    for key in ("1", "2", "1"):
        q.ref.tell(want("w", key))
    q.go_on()
    assert q.submitted() == [("w", "1"), ("w", "2")]


def test_what_is_wanted_while_it_runs_is_counted_and_left_to_the_asset(on_stage: Stage) -> None:
    q = scene(on_stage)
    for _ in range(3):
        q.want("w")
    q.end("w")
    assert q.submitted() == [("w", None)]
    assert len(on_stage.observer.of("run_deduplicated")) == 2
    q.want("w")
    assert q.submitted() == [("w", None)] * 2


def test_what_is_withdrawn_in_time_does_not_run(on_stage: Stage) -> None:
    q = scene(on_stage, Capacity(1), workflow("v"), workflow("w", "x", "y"))
    q.want("v")
    q.want("w", asset_id="x")
    q.want("w", asset_id="y")
    q.tell(WithdrawRun("w", None, "x"))
    assert q.dump().wanted == (("w", None, 100),)
    q.tell(WithdrawRun("w", None, "y"), WithdrawRun("w", None, "y"))
    assert q.dump().wanted == ()
    q.end("v")
    assert q.submitted() == [("v", None)]


@pytest.mark.parametrize("is_start_told", [True, False])
def test_a_run_may_end_before_its_submission_is_answered(on_stage: Stage, is_start_told: bool) -> None:
    """The answer and the news come by different ways. What is wanted from the end on counts."""
    q = scene(on_stage)
    on_stage.catalog.is_slow = True
    q.tell(want("w"))
    on_stage.catalog.answer()
    if not is_start_told:
        on_stage.catalog.stream.clear()
    on_stage.catalog.succeed("run-1")
    q.hear()
    q.tell(want("w", version=1))
    on_stage.catalog.is_slow = False
    q.go_on()
    assert q.submitted() == [("w", None)] * 2
    assert [run.run_id for run in q.dump().active] == ["run-2"]


def test_what_is_wanted_until_the_answer_counts_if_the_run_did_not_start(on_stage: Stage) -> None:
    q = scene(on_stage)
    on_stage.catalog.outcomes.append(BasisOutdated(("w",)))
    q.tell(want("w"))
    q.tell(want("w", asset_id="late"))
    q.go_on()
    assert q.registry == [ReloadAsset("w")]
    assert [[w.asset_id for w in r.wants] for r in on_stage.catalog.submitted] == [["w"], ["late"]]


# -- refusals ----------------------------------------------------------------------------------------------------------


def test_an_asset_that_has_not_heard_of_a_version_reads_again_and_the_others_run(on_stage: Stage) -> None:
    q = scene(on_stage, None, workflow("w", "x", "y"))
    on_stage.catalog.produce("x")
    q.ref.tell(want("w", asset_id="x"))
    q.ref.tell(want("w", asset_id="y"))
    q.go_on()
    assert q.registry == [ReloadAsset("x")]
    assert [[w.asset_id for w in r.wants] for r in on_stage.catalog.submitted] == [["x", "y"], ["y"]]
    assert q.active() == ["w"]


def test_a_claim_that_another_holds_is_told_to_the_asset(on_stage: Stage) -> None:
    q = scene(on_stage)
    outsider(q, "w")
    q.want("w")
    assert q.registry == [RunRefused("w", None, "outsider")]
    assert (q.dump().active, q.dump().wanted) == ((), ())


def test_a_limit_that_only_the_catalog_knows_of_is_tried_again(on_stage: Stage) -> None:
    q = scene(on_stage)
    on_stage.catalog.outcomes.extend([LimitReached("pool:gpu"), LimitReached("pool:gpu")])
    q.want("w")
    assert (q.active(), len(q.dump().wanted)) == ([], 1)
    for _ in range(2):
        on_stage.advance(1_000)
        q.go_on()
    assert q.active() == ["w"]
    assert [said["limit"] for said in on_stage.observer.of("run_delayed")] == ["pool:gpu"] * 2
    on_stage.advance(60_000)
    assert len(q.submitted()) == 3


def test_a_workflow_that_is_gone_is_not_tried_again(on_stage: Stage) -> None:
    q = scene(on_stage)
    del on_stage.catalog.workflows["w"]
    q.want("w")
    on_stage.advance(60_000)
    q.go_on()
    assert q.submitted() == [("w", None)]
    assert (q.dump().active, q.dump().wanted) == ((), ())


# -- order and limits --------------------------------------------------------------------------------------------------


def test_a_burst_is_ordered_before_it_is_handed_over(on_stage: Stage) -> None:
    q = scene(on_stage)
    for slug, priority in (("u", 30), ("v", 10), ("w", 20)):
        q.ref.tell(want(slug, priority=priority))
    q.go_on()
    assert q.submitted() == [("v", None), ("w", None), ("u", None)]


def test_a_freed_place_goes_to_the_best_that_waits_and_first_come_among_equals(on_stage: Stage) -> None:
    q = scene(on_stage, Capacity(1), *(workflow(slug) for slug in "stuvw"))
    q.want("s")
    for slug, priority in (("t", 5), ("u", 5), ("v", 1), ("w", 9)):
        q.want(slug, priority=priority)
        on_stage.advance(1)
    order = []
    for _ in range(5):
        (slug,) = q.active()
        order.append(slug)
        q.end(slug)
    assert order == ["s", "v", "t", "u", "w"]


def test_limits_of_workflows_and_pools_hold_up_nobody_else(on_stage: Stage) -> None:
    specs = [workflow("u", pool="gpu"), workflow("v", pool="gpu"), workflow("w")]
    q = scene(on_stage, Capacity(9, {"w": 1}, {"gpu": 1}), *specs)
    for slug, key in (("u", "1"), ("u", "2"), ("v", None), ("w", "1"), ("w", "2")):
        q.want(slug, key)
    assert q.active() == ["u", "w"]
    assert q.stage.catalog.submitted[0].limits.max_pool_runs == {"gpu": 1}
    q.tell(SetCapacity(Capacity(9, {"w": 2}, {"gpu": 1})))
    q.go_on()
    assert q.active() == ["u", "w", "w"]
    q.end("u")
    q.end("u")
    assert q.active() == ["v", "w", "w"]


def test_nothing_is_handed_over_before_runs_and_workflows_are_known(on_stage: Stage) -> None:
    on_stage.catalog.workflows = {"w": workflow("w")}
    mail = {name: on_stage.inbox(name) for name in ("registry", "supervisor")}
    q = Scene(on_stage, on_stage.dispatcher.spawn(EnqueuerActor, on_stage.around, Capacity(8), AGING_MS), **mail)
    q.tell(want("w"))
    q.go_on()
    assert q.submitted() == []
    q.tell(WorkflowsKnown({"w": workflow("w")}, is_complete=True))
    q.go_on()
    assert q.submitted() == [("w", None)]


def test_after_a_restart_what_runs_counts_and_what_was_asked_for_by_hand_waits(on_stage: Stage) -> None:
    scene(on_stage, Capacity(1)).want("v")
    on_stage.catalog.queue("by-hand", "w")
    on_stage.catalog.stream.clear()
    again = scene(on_stage, Capacity(1))
    assert (again.active(), again.dump().queued) == (["v"], ("by-hand",))
    again.end("v")
    assert list(on_stage.catalog.active) == ["by-hand"]


def test_an_end_that_was_not_told_is_found_when_the_registry_is_back(on_stage: Stage) -> None:
    q = scene(on_stage, Capacity(1))
    q.want("v")
    q.want("w")
    on_stage.catalog.end("run-1", "succeeded")
    on_stage.catalog.stream.clear()
    assert q.active() == []
    q.tell(WorkflowsKnown(dict(on_stage.catalog.workflows), is_complete=True))
    q.go_on()
    assert q.active() == ["w"]


# -- by hand -----------------------------------------------------------------------------------------------------------


def by_hand(q: Scene, run_id: str, slug: str, key: str | None = None) -> None:
    q.stage.catalog.queue(run_id, slug, key)
    q.go_on()


def test_a_run_asked_for_by_hand_goes_first(on_stage: Stage) -> None:
    q = scene(on_stage, Capacity(1))
    q.want("u")
    q.want("v", priority=1)
    by_hand(q, "by-hand", "w")
    q.end("u")
    assert list(on_stage.catalog.active) == ["by-hand"]
    assert on_stage.observer.of("run_submitted")[-1]["trigger"] == "manual"


def test_a_run_asked_for_by_hand_waits_for_the_one_at_work(on_stage: Stage) -> None:
    q = scene(on_stage)
    q.want("w")
    by_hand(q, "by-hand", "w")
    assert q.dump().queued == ("by-hand",)
    q.end("w")
    assert list(on_stage.catalog.active) == ["by-hand"]


def outsider(q: Scene, slug: str, run_id: str = "outsider") -> None:
    """A run that the enqueuer has not heard of holds the claim."""
    q.want(slug)
    request = q.stage.catalog.active.pop(q.run_id(slug))
    q.tell(RunEnded(request.run_id, slug, None, "succeeded", (), 0))
    q.stage.catalog.active[run_id] = replace(request, run_id=run_id)


def test_a_run_asked_for_by_hand_waits_for_one_that_nobody_told_of(on_stage: Stage) -> None:
    q = scene(on_stage)
    outsider(q, "w")
    by_hand(q, "by-hand", "w")
    assert list(on_stage.catalog.active) == ["outsider"]
    assert q.dump().queued == ("by-hand",)
    on_stage.catalog.end("outsider", "succeeded")
    q.go_on()
    assert list(on_stage.catalog.active) == ["by-hand"]


def test_a_run_asked_for_by_hand_can_be_canceled_before_it_starts(on_stage: Stage) -> None:
    q = scene(on_stage, Capacity(1))
    q.want("v")
    by_hand(q, "by-hand", "w")
    on_stage.catalog.cancel_queued("by-hand")
    q.go_on()
    q.end("v")
    assert on_stage.catalog.active == {}
    assert [r.run_id for r in on_stage.catalog.submitted] == ["run-1"]


def test_a_request_told_twice_is_one_run(on_stage: Stage) -> None:
    q = scene(on_stage)
    on_stage.catalog.queue("by-hand", "w")
    again = on_stage.catalog.stream[-1]
    assert isinstance(again, RunRequested)
    q.tell(again)
    q.go_on()
    q.tell(again)
    q.go_on()
    assert [r.run_id for r in on_stage.catalog.submitted] == ["by-hand"]


def test_a_run_that_ended_while_its_refusal_was_under_way_blocks_nobody(on_stage: Stage) -> None:
    q = scene(on_stage)
    outsider(q, "w")
    on_stage.catalog.queue("by-hand", "w")
    on_stage.catalog.is_slow = True
    q.hear()
    for _ in range(3):  # the request is read, travels, is submitted and refused; the refusal travels
        on_stage.catalog.answer(1)
        on_stage.run()
    on_stage.catalog.end("outsider", "succeeded")
    q.hear()
    on_stage.catalog.is_slow = False
    q.go_on()
    on_stage.advance(1_000)
    q.go_on()
    assert list(on_stage.catalog.active) == ["by-hand"]


def test_what_a_canceled_run_by_hand_has_overtaken_does_not_run(on_stage: Stage) -> None:
    """Its assets decide again when the run by hand has ended; after a cancellation they want nothing."""
    q = scene(on_stage, Capacity(1))
    q.want("v")
    q.want("w")
    by_hand(q, "by-hand", "w")
    q.end("v")
    assert list(on_stage.catalog.active) == ["by-hand"]
    q.end("w", "canceled")
    assert on_stage.catalog.active == {}


def test_one_that_fails_says_so(on_stage: Stage) -> None:
    q = scene(on_stage)
    q.tell(RunRequest)  # no message at all
    assert not q.ref.is_alive()
    (said,) = q.supervisor
    assert isinstance(said, ChildFailed)
    assert said.name == "enqueuer"


def test_what_a_retired_asset_wanted_is_forgotten_and_what_others_want_is_not(on_stage: Stage) -> None:
    q = scene(on_stage, Capacity(1))
    q.want("v")
    q.tell(want("w", asset_id="gone"))
    q.tell(want("w", asset_id="w"))
    q.tell(WorkflowsKnown({"w": workflow("w")}, is_complete=False))
    assert len(q.dump().wanted) == 1
    q.tell(WorkflowsKnown({"w": None}, is_complete=False))
    assert q.dump().wanted == ()
    q.end("v")
    assert q.active() == []

"""What a service that stands by does not do, and what follows when it leads: enqueuer and gateway."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from actors.catalog.gateway import CatalogGateway
from actors.core.decide import Reason
from actors.core.freshness import Expiry, ExpiryReason
from actors.core.graph import AssetSpec, AutoMaterialize, WorkflowSpec
from actors.core.run_queue import Capacity
from actors.enqueuer import EnqueuerActor
from actors.messages import CountQueue, OpenQueue, QueueDump, RunEnded, RunEnqueued, WantRun, WorkflowsKnown
from tests.unit.doubles import NOON, Stage, stage

AGING_MS = 60_000
SPECS = {slug: WorkflowSpec(slug, assets=(AssetSpec(slug, slug, "s", auto=AutoMaterialize()),)) for slug in "ab"}


@pytest.fixture
def on_stage() -> Iterator[Stage]:
    with stage() as made:
        yield made


class Standby:
    """An enqueuer that is not open, which knows the workflows a and b and has read the runs."""

    def __init__(self, on_stage: Stage, *, is_loaded: bool = True) -> None:
        self.stage = on_stage
        on_stage.inbox("registry")
        on_stage.catalog.workflows = dict(SPECS)
        self.ref = on_stage.dispatcher.spawn(EnqueuerActor, on_stage.around, Capacity(1), AGING_MS, is_open=False)
        if is_loaded:
            self.load()

    def load(self) -> None:
        self.stage.tell(self.ref, WorkflowsKnown(dict(SPECS), is_complete=True))
        self.answer()

    def answer(self) -> None:
        while self.stage.catalog.answer():
            self.stage.run()

    def want(self, slug: str) -> None:
        self.stage.tell(self.ref, WantRun(slug, None, slug, 0, Reason.UPSTREAM_UPDATED, (), 0, 0))
        self.answer()

    def open(self) -> None:
        self.stage.tell(self.ref, OpenQueue())
        self.answer()

    def submitted(self) -> list[str]:
        return [request.workflow.slug for request in self.stage.catalog.submitted]

    def dump(self) -> QueueDump:
        found: QueueDump = self.stage.ask(self.ref, CountQueue())
        return found


def test_what_is_wanted_is_kept_and_submitted_once_it_leads(on_stage: Stage) -> None:
    standby = Standby(on_stage)
    standby.want("a")
    assert standby.submitted() == []
    assert standby.dump().wanted == (("a", None, 0),)
    standby.open()
    assert standby.submitted() == ["a"]


def test_what_the_leader_started_is_not_started_again(on_stage: Stage) -> None:
    standby = Standby(on_stage)
    standby.want("a")
    on_stage.tell(standby.ref, RunEnqueued("theirs", "a", None, 1))
    on_stage.tell(standby.ref, RunEnded("theirs", "a", None, "succeeded", (), 2))
    standby.open()
    assert standby.submitted() == []


def test_runs_of_the_dead_leader_that_were_never_heard_of_take_their_places(on_stage: Stage) -> None:
    """The one place is taken, and the news of that is still on its way."""
    leader, standby = Standby(on_stage), Standby(on_stage)
    leader.open()
    standby.want("a")
    leader.want("b")
    standby.open()
    assert [run.workflow_slug for run in standby.dump().active] == ["b"]
    assert standby.submitted() == ["b"]


def test_told_to_lead_before_it_has_read_the_graph_it_waits_for_that(on_stage: Stage) -> None:
    standby = Standby(on_stage, is_loaded=False)
    standby.want("a")
    standby.open()
    assert standby.submitted() == []
    standby.load()
    assert standby.submitted() == ["a"]


class ByHand:
    """A lane whose work is done when a test says so."""

    def __init__(self, work: deque[Callable[[], None]]) -> None:
        self._work = work

    def put(self, work: Callable[[], None]) -> None:
        self._work.append(work)

    def start(self) -> None:
        return

    def stop(self) -> None:
        return


class Expiries:
    """The one method of a store that is called here, and what it was called with."""

    def __init__(self) -> None:
        self.told: list[tuple[str, str | None, int]] = []

    def expire(self, asset_id: str, partition_key: str | None, *, version: int, **_: Any) -> bool:
        self.told.append((asset_id, partition_key, version))
        return True


def test_expiries_are_held_back_and_told_when_it_leads_unless_the_leader_told_them(on_stage: Stage) -> None:
    work: deque[Callable[[], None]] = deque()
    store: Any = Expiries()
    launcher: Any = None
    gateway = CatalogGateway(store, launcher, on_stage.clock, lambda _: ByHand(work), is_leading=False)
    expiry = Expiry(NOON, ExpiryReason.TTL)
    gateway.expire("a", None, 1, expiry)
    gateway.expire("a", None, 2, expiry)
    gateway.expire("b", "x", 1, expiry)
    gateway.expire("b", "y", 1, expiry)
    gateway.expired("b", "x")
    assert not work
    gateway.lead()
    gateway.expire("c", None, 1, expiry)
    while work:
        work.popleft()()
    assert store.told == [("a", None, 2), ("b", "y", 1), ("c", None, 1)]

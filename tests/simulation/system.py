"""The real actors of one seed, wired to a scheduler that takes one step at a time; they can crash all at once."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from actors.asset import AssetActor
from actors.catalog.gateway import CatalogGateway
from actors.catalog.recovery import end_orphans
from actors.catalog.redis_shards import RedisShards
from actors.catalog.redis_store import RedisStore
from actors.catalog.shard_channel import ShardChannel
from actors.core.backoff import BackoffPolicy, FailureBudget
from actors.core.decide import Defaults
from actors.core.graph import AssetSpec
from actors.core.run_queue import Capacity
from actors.core.shards import WHOLE
from actors.enqueuer import EnqueuerActor
from actors.messages import OpenQueue, StartChildren, TellShards
from actors.registry import GraphRegistryActor
from actors.runtime import SteppedDispatcher, VirtualClock, VirtualTimers
from actors.shard_port import Undivided
from actors.supervisor import ChildSpec, Intensity, SupervisorActor
from actors.surroundings import Surroundings
from tests.simulation.declared import Declared
from tests.simulation.oracle import Oracle
from tests.simulation.oracle_policies import DEFAULT_BUDGET
from tests.simulation.runs import SimulatedRuns
from tests.simulation.scenario import Scenario
from tests.simulation.term import Term
from tests.simulation.trace import TraceObserver

__all__ = ["Poison", "SteppedLane", "System"]

REFRESH_MS = 600_000


@dataclass(slots=True)
class SteppedLane:
    """A lane of the gateway whose work is done when the scheduler says so."""

    name: str
    work: deque[Callable[[], None]] = field(default_factory=deque)

    def put(self, work: Callable[[], None]) -> None:
        self.work.append(work)

    def start(self) -> None:
        return

    def stop(self) -> None:
        self.work.clear()


@dataclass(frozen=True, slots=True)
class Poison:
    """No actor knows this message; whoever gets it fails."""


class System:
    """One life of the service, from its start to its crash; none lived for `outage_ms` before it.

    With a `term` what it writes is fenced by that; it `leads` from the start, or after `open`. Without `runs` it has
    runs of its own, which end with it. `given_up` says why its supervisor gave up, if it did.
    """

    def __init__(
        self,
        scenario: Scenario,
        declared: Declared,
        store: RedisStore,
        clock: VirtualClock,
        oracle: Oracle,
        trace: TraceObserver,
        next_number: Callable[[], int],
        outage_ms: int,
        *,
        runs: SimulatedRuns | None = None,
        term: Term | None = None,
        leads: bool = True,
        shards: RedisShards | None = None,
    ) -> None:
        self._scenario = scenario
        self._next_number = next_number
        self._oracle = oracle
        self._asset_refs: dict[str, Any] = {}
        self.given_up: str | None = None
        self.dispatcher = SteppedDispatcher()
        self.timers = VirtualTimers(clock)
        if runs is None:
            self.runs = SimulatedRuns(scenario, declared, store, clock, oracle)
            end_orphans(store, self.runs, now_ms=clock.now_ms())
        else:
            self.runs = runs
        self._is_leading = leads
        self.lanes: list[SteppedLane] = []
        shard = WHOLE if term is None else term.shard
        self.gateway = CatalogGateway(
            oracle.watched_store(term), self.runs, clock, self._make_lane, is_leading=leads, shard=shard
        )
        self._channel: ShardChannel | None = None
        if shards is not None and term is not None:
            fenced = shards.fenced_by(term)
            self._channel = ShardChannel(shards, fenced, shard, self.gateway.reads, self._make_lane)
            if leads:
                self._channel.lead()
        self.around = Surroundings(
            clock=clock,
            timers=self.timers,
            catalog=self.gateway,
            observer=trace,
            defaults=Defaults(
                backoff=BackoffPolicy(base_ms=500, max_ms=8_000),
                budget=FailureBudget(DEFAULT_BUDGET.failures, DEFAULT_BUDGET.cool_off_ms),
                catch_up_after_ms=scenario.catch_up_after_ms,
            ),
            new_run_id=lambda: f"run-{next_number()}",
            shards=self._channel or Undivided(),
            outage_ms=outage_ms,
        )
        supervisor = self.dispatcher.spawn(
            SupervisorActor,
            self.around,
            (
                ChildSpec("enqueuer", self._start_enqueuer, lambda: self._stop("enqueuer")),
                ChildSpec("registry", self._start_registry, lambda: self._stop("registry")),
            ),
            Intensity(max_restarts=50, period_ms=60_000),
            self._give_up,
        )
        self.around.links.supervisor = supervisor
        supervisor.tell(StartChildren())

    def open(self) -> None:
        """Act from now on."""
        if not self._is_leading:
            self._is_leading = True
            self.gateway.lead()
            if self._channel is not None:
                self._channel.lead()
                self.around.to_registry(TellShards())
            self.around.to_enqueuer(OpenQueue())

    def crash(self) -> None:
        """Everything in memory is gone at once."""
        self.dispatcher.kill()
        for lane in self.lanes:
            lane.work.clear()

    def poison(self, asset_id: str) -> None:
        """Let the actor of an asset fail that was started last, if there is one."""
        ref = self._asset_refs.get(asset_id)
        if ref is not None:
            self.around.tell(ref, asset_id, Poison())

    def _give_up(self, reason: str) -> None:
        self.given_up = reason

    def _make_lane(self, name: str) -> SteppedLane:
        lane = SteppedLane(name)
        self.lanes.append(lane)
        return lane

    def _start_enqueuer(self) -> None:
        capacity = Capacity(self._scenario.max_runs, self._scenario.workflow_limits, self._scenario.pool_limits)
        self.around.links.enqueuer = self.dispatcher.spawn(
            EnqueuerActor, self.around, capacity, 60_000, is_open=self._is_leading
        )

    def _start_registry(self) -> None:
        self.around.links.registry = self.dispatcher.spawn(
            GraphRegistryActor, self.around, self._spawn_asset, refresh_ms=REFRESH_MS
        )

    def _spawn_asset(self, asset_id: str, spec: AssetSpec | None) -> Any:
        self._oracle.changes.forget(asset_id)
        ref = self._asset_refs[asset_id] = self.dispatcher.spawn(AssetActor, asset_id, spec, self.around)
        return ref

    def _stop(self, name: str) -> None:
        ref = getattr(self.around.links, name)
        setattr(self.around.links, name, None)
        if ref is not None and ref.is_alive():
            self.dispatcher.run_to_stop(ref)

"""The real actors on a virtual clock, over a catalog in memory: what they would do, without doing it.

The same choices are made in the same order every time, so the same catalog and the same instant give the same plan.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, cast

from pykka import ActorRef

from actors.asset import AssetActor
from actors.catalog.gateway import CatalogGateway
from actors.catalog.store import Store
from actors.core.decide import Defaults
from actors.core.graph import AssetSpec
from actors.core.run_queue import Capacity
from actors.enqueuer import EnqueuerActor
from actors.messages import CountQueue, QueueDump
from actors.observer import Unheard
from actors.planning.memory import MemoryStore
from actors.planning.rehearsed_runs import RehearsedRuns
from actors.registry import GraphRegistryActor
from actors.runtime import SteppedDispatcher, VirtualClock, VirtualTimers
from actors.surroundings import Surroundings

__all__ = ["Policies", "Rehearsal", "RehearsalBroken"]

_MOST_STEPS_AT_ONCE = 5_000_000
_NEVER_REFRESH_MS = 10 * 366 * 86_400_000


class RehearsalBroken(RuntimeError):  # noqa: N818 - reads as the event it tells of
    """An actor failed, or they keep each other busy without time passing; the plan cannot be believed."""


@dataclass(frozen=True, slots=True)
class Policies:
    """What the settings say of waiting and of limits."""

    defaults: Defaults
    capacity: Capacity
    aging_ms: int


@dataclass(slots=True)
class _Lane:
    """A lane of the gateway whose work is done when the rehearsal says so."""

    work: deque[Callable[[], None]] = field(default_factory=deque)

    def put(self, work: Callable[[], None]) -> None:
        self.work.append(work)

    def start(self) -> None:
        return

    def stop(self) -> None:
        self.work.clear()


class _Listener(Unheard):
    """Keeps what makes a plan doubtful. Every other report is of no interest here."""

    def __init__(self) -> None:
        self.broken: list[str] = []
        self.refused: list[str] = []

    def undelivered(self, *, message: str, receiver: str) -> None:
        # There is no supervisor here: what an actor tells it of its own end cannot be delivered.
        if message == "ChildFailed":
            self.broken.append(receiver)

    def workflow_changed(self, *, slug: str, change: str) -> None:
        if change.startswith("refused"):
            self.refused.append(f"workflow {slug} is left out: {change.removeprefix('refused: ')}")


class Rehearsal:
    """Starts the actors; time passes when it is told to."""

    def __init__(
        self, store: MemoryStore, runs: RehearsedRuns, clock: VirtualClock, policies: Policies, *, outage_ms: int = 0
    ) -> None:
        self._store = store
        self._runs = runs
        self._clock = clock
        self._listener = _Listener()
        self._dispatcher = SteppedDispatcher()
        self._timers = VirtualTimers(clock)
        self._lanes: list[_Lane] = []
        self._told = 0
        self._numbers = 0
        self._around = Surroundings(
            clock=clock,
            timers=self._timers,
            # The gateway asks no more of a store than a memory store has.
            catalog=CatalogGateway(cast(Store, store), runs, clock, self._make_lane),
            observer=self._listener,
            defaults=policies.defaults,
            new_run_id=self._new_run_id,
            outage_ms=outage_ms,
        )
        self._enqueuer = self._dispatcher.spawn(EnqueuerActor, self._around, policies.capacity, policies.aging_ms)
        self._around.links.enqueuer = self._enqueuer
        self._around.links.registry = self._dispatcher.spawn(
            GraphRegistryActor, self._around, self._spawn_asset, refresh_ms=_NEVER_REFRESH_MS
        )

    @property
    def refused(self) -> list[str]:
        """Workflows that the graph does not take, and why."""
        return self._listener.refused

    def run_until(self, end_ms: int) -> bool:
        """Let time pass until `end_ms` or until the launcher is full; False if it is full.

        Raises:
            RehearsalBroken: an actor failed.
        """
        while self.settle():
            times = [at for at in (self._timers.next_at(), self._runs.next_at()) if at is not None]
            next_at = min(times, default=None)
            if next_at is None or next_at > end_ms:
                self._clock.advance(max(0, end_ms - self._clock.now_ms()))
                return True
            self._clock.advance(max(0, next_at - self._clock.now_ms()))
            self._runs.end_due()
            if not self.settle():
                return False
            self._timers.fire_due()
        return False

    def settle(self) -> bool:
        """Everything that can go on without time passing; False if the launcher became full on the way."""
        for _ in range(_MOST_STEPS_AT_ONCE):
            if self._runs.is_full:
                return False
            if not self._step():
                return True
        raise RehearsalBroken("the actors are still busy after millions of steps: something feeds itself")

    def waiting(self) -> QueueDump:
        """What is wanted and waits for a slot."""
        answer = self._enqueuer.ask(CountQueue(), block=False)
        self._dispatcher.run_until_idle()
        dump: QueueDump = answer.get(timeout=0)
        return dump

    def close(self) -> None:
        self._dispatcher.kill()

    def _step(self) -> bool:
        if self._dispatcher.step():
            if self._listener.broken:
                raise RehearsalBroken("an actor failed; this is a bug, and the log above says where")
            return True
        for lane in self._lanes:
            if lane.work:
                lane.work.popleft()()
                return True
        news = self._store.journal.news
        if self._told < len(news):
            self._around.to_registry(news[self._told])
            self._told += 1
            return True
        return False

    def _make_lane(self, name: str) -> _Lane:
        lane = _Lane()
        self._lanes.append(lane)
        return lane

    def _new_run_id(self) -> str:
        self._numbers += 1
        return f"plan-{self._numbers}"

    def _spawn_asset(self, asset_id: str, spec: AssetSpec | None) -> ActorRef[Any]:
        return self._dispatcher.spawn(AssetActor, asset_id, spec, self._around)

"""The world of one seed: real actors, gateway and catalog scripts on a virtual clock, with every interleaving chosen.

A step is one of: a message handled, a question to the catalog answered, an event delivered, a run advanced, a timer
fired, something done from outside. One seeded generator chooses, so a seed replays exactly.
"""

from __future__ import annotations

import json
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from random import Random
from typing import Any

from redis import Redis

from actors.asset import AssetActor
from actors.catalog.definitions import parse_definition
from actors.catalog.events import EventInvalid, parse_entry
from actors.catalog.gateway import CatalogGateway
from actors.catalog.news import news_of
from actors.catalog.recovery import end_orphans
from actors.catalog.redis_store import RedisStore, position_of
from actors.catalog.store import Limits, NewMaterialization, NewRun
from actors.core.backoff import BackoffPolicy, FailureBudget
from actors.core.decide import Defaults
from actors.core.freshness import ExpiryReason
from actors.core.graph import AssetSpec
from actors.core.run_queue import Capacity
from actors.enqueuer import EnqueuerActor
from actors.messages import StartChildren
from actors.registry import GraphRegistryActor
from actors.runtime import SteppedDispatcher, VirtualClock, VirtualTimers
from actors.supervisor import ChildSpec, Intensity, SupervisorActor
from actors.surroundings import Surroundings
from tests.simulation.oracle import Oracle
from tests.simulation.runs import SimulatedRuns
from tests.simulation.scenario import BASE_MS, Action, Scenario
from tests.simulation.trace import TraceObserver

__all__ = ["World"]

DEFAULTS = Defaults(
    backoff=BackoffPolicy(base_ms=500, max_ms=8_000), budget=FailureBudget(failures=3, cool_off_ms=60_000)
)
REFRESH_MS = 600_000
MAX_STEPS = 200_000


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


class World:
    """Runs one scenario to its end. `check` of the oracle is called on the way; `failures` is what it found."""

    def __init__(self, scenario: Scenario, client: Redis, prefix: str) -> None:
        self.scenario = scenario
        self.rng = Random(scenario.seed * 7_919 + 1)
        self.clock = VirtualClock(BASE_MS)
        self.client = client
        self.prefix = prefix
        self.store = RedisStore(client, prefix=prefix)
        self.trace = TraceObserver(self.clock)
        self.oracle = Oracle(scenario, client, prefix, self.clock, self.trace)
        self.is_healing = False
        self.given_up: str | None = None
        self._numbers = 0
        self._delivered = "0"
        self._incoming: deque[tuple[str, dict[str, str]]] = deque()
        self._may_have_news = True
        self._redelivered: list[tuple[str, dict[str, str]]] = []
        self._removed: dict[str, dict[str, Any]] = {}
        for workflow in scenario.workflows:
            self._put(workflow.definition())
        self._build()

    # -- running -----------------------------------------------------------------------------------------------------

    def run(self) -> None:
        """Everything that happens, then calm: no more faults, all is mended, and time goes on until all is still."""
        for action in self.scenario.actions:
            self._some_steps(self.rng.randrange(0, 60))
            self.trace.note(f"action {action}")
            self._do(action)
            if self.scenario.seed % 4 == 0:
                self._until_still()
                self.oracle.check_calm_update(action)
        self._until_still()
        self._heal()
        self.advance(120_000)
        self._until_still()
        self.oracle.check_end()

    def advance(self, ms: int) -> None:
        """Let virtual time pass; whatever comes due on the way is dealt with before it goes on."""
        end_ms = self.clock.now_ms() + ms
        while True:
            self._until_still()
            next_at = self.timers.next_at()
            if next_at is None or next_at > end_ms:
                self.clock.advance(max(0, end_ms - self.clock.now_ms()))
                self.timers.fire_due()
                self._until_still()
                return
            self.clock.advance(max(0, next_at - self.clock.now_ms()))
            self.timers.fire_due()

    def _some_steps(self, count: int) -> None:
        for _ in range(count):
            if not self._step():
                return

    def _until_still(self) -> None:
        for _ in range(MAX_STEPS):
            if not self._step():
                return
        raise AssertionError(f"still busy after {MAX_STEPS} steps: something feeds itself")

    def _step(self) -> bool:
        """One step of whatever can go on without time passing."""
        choices: list[tuple[int, Callable[[], None]]] = []
        if self.dispatcher.runnable():
            choices.append((10, self._step_actor))
        lanes = [lane for lane in self.lanes if lane.work]
        if lanes:
            choices.append((4, lambda: self._answer(self.rng.choice(lanes))))
        if self.runs.is_busy:
            choices.append((2, self._advance_run))
        if self._redelivered or self._has_news():
            choices.append((4, self._deliver))
        if not choices:
            return False
        (chosen,) = self.rng.choices([act for _, act in choices], [weight for weight, _ in choices])
        chosen()
        self.oracle.check_always()
        return True

    def _answer(self, lane: SteppedLane) -> None:
        lane.work.popleft()()
        self._may_have_news = True

    def _advance_run(self) -> None:
        self.runs.advance(self.rng)
        self._may_have_news = True

    def _step_actor(self) -> None:
        self.dispatcher.step(self.rng.randrange)

    # -- the stream --------------------------------------------------------------------------------------------------

    def _has_news(self) -> bool:
        """Whether an entry waits to be delivered; the server is asked only after something may have written."""
        if self._may_have_news and len(self._incoming) < 2:
            last = self._incoming[-1][0] if self._incoming else self._delivered
            found: Any = self.client.xrange(f"{self.prefix}:events", min="-" if last == "0" else f"({last}", count=100)
            self._incoming.extend(found)
            self._may_have_news = len(found) == 100
        return bool(self._incoming)

    def _deliver(self) -> None:
        """Deliver the next entry; now and then one twice, or two in the wrong order."""
        if self._redelivered and (not self._has_news() or self.rng.random() < 0.5):
            self._tell(*self._redelivered.pop(0))
            return
        if len(self._incoming) >= 2 and self._happens(self.scenario.reorder_rate):
            first, second = self._incoming.popleft(), self._incoming.popleft()
            self._delivered = second[0]
            self._tell(*second)
            self._tell(*first)
            return
        entry_id, fields = self._incoming.popleft()
        self._delivered = entry_id
        self._tell(entry_id, fields)
        if self._happens(self.scenario.duplicate_rate):
            self._redelivered.append((entry_id, fields))

    def _tell(self, entry_id: str, fields: dict[str, str]) -> None:
        try:
            event = parse_entry({k.encode(): v.encode(errors="surrogateescape") for k, v in fields.items()})
        except EventInvalid:
            self.oracle.dead_letters += 1
            return
        news = news_of(event, position_of(entry_id))
        if news is not None:
            self.around.to_registry(news)

    def _happens(self, rate: float) -> bool:
        return not self.is_healing and self.rng.random() < rate

    # -- what happens from outside -----------------------------------------------------------------------------------

    def _do(self, action: Action) -> None:
        now_ms = self.clock.now_ms()
        self._may_have_news = True
        match action.kind, action.args:
            case "emit", (str(asset_id), key):
                self._record(asset_id, key, now_ms)
            case "late", (str(asset_id), key):
                self._record(asset_id, key, now_ms - 30_000)
            case "twice", (str(asset_id), key):
                self._numbers += 1
                for _ in range(2):
                    self._record(asset_id, key, now_ms, dedupe_key=f"twice-{self._numbers}")
            case "expire", (str(asset_id), key):
                self.store.expire(
                    asset_id, key, version=None, expires_at_ms=now_ms, reason=ExpiryReason.MANUAL, now_ms=now_ms
                )
            case "trigger", (str(slug), key):
                self._trigger(slug, key)
            case "cancel", ():
                self.runs.cancel_one(self.rng)
            case "pause", (str(scope), for_ms):
                self._pause(scope, for_ms)
            case "unpause", (str(scope),):
                self._unpause(scope)
            case "hold", (str(asset_id), key, for_ms):
                self._hold(asset_id, key, for_ms)
            case "resume", (str(asset_id),):
                self.store.resume(asset_id)
            case "wait", (int(ms),):
                self.advance(ms)
            case "garbage", ():
                self.client.xadd(f"{self.prefix}:events", {"type": "asset.produced", "data": "{no json"})
                self.oracle.garbage += 1
            case "change", (str(slug),):
                self._change(slug)
            case "remove", (str(slug),):
                self._remove_or_restore(slug)
            case "crash", ():
                self._crash()
            case "poison_asset", (str(asset_id),):
                ref = self._asset_ref(asset_id)
                if ref is not None:
                    self.around.tell(ref, asset_id, Poison())
            case "poison_registry", ():
                self.around.to_registry(Poison())
            case "poison_enqueuer", ():
                self.around.to_enqueuer(Poison())
            case unknown:
                raise AssertionError(f"the scenario has an action that nobody knows: {unknown}")

    def _record(self, asset_id: str, key: str | None, produced_at_ms: int, dedupe_key: str | None = None) -> None:
        asset = self.scenario.assets[asset_id]
        self.store.record(
            NewMaterialization(
                asset_id=asset_id,
                partition_key=key,
                produced_at_ms=produced_at_ms,
                upstreams=asset.upstreams,
                dedupe_key=dedupe_key,
            )
        )

    def _pause(self, scope: str, for_ms: int | None) -> None:
        now_ms = self.clock.now_ms()
        until_ms = None if for_ms is None else now_ms + for_ms
        self.store.pause(scope, until_ms, "simulation", now_ms)
        self.oracle.pauses[scope] = until_ms
        self._may_have_news = True

    def _unpause(self, scope: str) -> None:
        self.store.unpause(scope, self.clock.now_ms())
        self.oracle.pauses.pop(scope, None)
        self._may_have_news = True

    def _hold(self, asset_id: str, key: str | None, for_ms: int | None) -> None:
        """Several updates while all is paused; the pause is ended by hand, or by time."""
        self._pause("all", for_ms)
        for _ in range(self.rng.randint(1, 4)):
            self._some_steps(self.rng.randrange(0, 60))
            self._record(asset_id, key, self.clock.now_ms())
            self._may_have_news = True
        self._until_still()
        self.oracle.check_nothing_made()
        if for_ms is None:
            self._unpause("all")
        else:
            self.advance(for_ms)

    def _trigger(self, slug: str, key: str | None) -> None:
        self._numbers += 1
        self.store.queue_run(
            NewRun(
                run_id=f"manual-{self._numbers}",
                workflow_slug=slug,
                partition_key=key,
                parameters={},
                trigger={"type": "manual", "reason": "simulation"},
                created_at_ms=self.clock.now_ms(),
                limits=Limits(self.scenario.max_runs),
            )
        )

    def _change(self, slug: str) -> None:
        definition = self.store.workflow(slug)
        if definition is None:
            return
        self.oracle.definition_changed(slug)
        self._numbers += 1
        self._put(definition.model_dump(by_alias=True, mode="json", exclude_unset=True) | {"version": self._numbers})

    def _remove_or_restore(self, slug: str) -> None:
        self.oracle.definition_changed(slug)
        definition = self.store.workflow(slug)
        if definition is None:
            self._put(self._removed.pop(slug))
            return
        self._removed[slug] = definition.model_dump(by_alias=True, mode="json", exclude_unset=True)
        self.store.remove_workflow(slug)

    def _put(self, definition: dict[str, Any]) -> None:
        parsed = parse_definition(json.dumps(definition), source="simulation", format="json")
        self.store.put_workflow(parsed, source="command", content_hash=parsed.content_hash)

    def _heal(self) -> None:
        self.trace.note("healing")
        self.is_healing = True
        self.runs.is_healing = True
        for slug in list(self._removed):
            self._put(self._removed.pop(slug))
        self._may_have_news = True
        self._until_still()
        for run in self.store.active_runs():
            if not self.runs.owns(run.run_id):
                self.runs.give_up(run)
        self._may_have_news = True
        for scope in list(self.oracle.pauses):
            self._unpause(scope)
        for asset_id in self.scenario.assets:
            self.store.resume(asset_id)
        self._may_have_news = True
        if self.given_up is not None:
            self._crash()
        self._until_still()

    # -- the system --------------------------------------------------------------------------------------------------

    def _build(self) -> None:
        scenario = self.scenario
        self.dispatcher = SteppedDispatcher()
        self.timers = VirtualTimers(self.clock)
        self.runs = SimulatedRuns(scenario, self.store, self.clock, self.oracle)
        self.runs.is_healing = self.is_healing
        end_orphans(self.store, self.runs, now_ms=self.clock.now_ms())
        self.lanes: list[SteppedLane] = []
        self._asset_refs: dict[str, Any] = {}
        self.given_up = None
        self.around = Surroundings(
            clock=self.clock,
            timers=self.timers,
            catalog=CatalogGateway(self.oracle.watched_store(), self.runs, self.clock, self._make_lane),
            observer=self.trace,
            defaults=DEFAULTS,
            new_run_id=self._new_run_id,
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

    def _give_up(self, reason: str) -> None:
        self.given_up = reason

    def _make_lane(self, name: str) -> SteppedLane:
        lane = SteppedLane(name)
        self.lanes.append(lane)
        return lane

    def _new_run_id(self) -> str:
        self._numbers += 1
        return f"run-{self._numbers}"

    def _start_enqueuer(self) -> None:
        capacity = Capacity(self.scenario.max_runs, self.scenario.workflow_limits, self.scenario.pool_limits)
        self.around.links.enqueuer = self.dispatcher.spawn(EnqueuerActor, self.around, capacity, 60_000)

    def _start_registry(self) -> None:
        self.around.links.registry = self.dispatcher.spawn(
            GraphRegistryActor, self.around, self._spawn_asset, refresh_ms=REFRESH_MS
        )

    def _spawn_asset(self, asset_id: str, spec: AssetSpec | None) -> Any:
        ref = self._asset_refs[asset_id] = self.dispatcher.spawn(AssetActor, asset_id, spec, self.around)
        return ref

    def _stop(self, name: str) -> None:
        ref = getattr(self.around.links, name)
        setattr(self.around.links, name, None)
        if ref is not None and ref.is_alive():
            self.dispatcher.run_to_stop(ref)

    def _asset_ref(self, asset_id: str) -> Any:
        """The actor of an asset that was started last, if any."""
        return self._asset_refs.get(asset_id)

    def _crash(self) -> None:
        """Everything in memory is gone at once; what was delivered lately is delivered again."""
        self.dispatcher.kill()
        for lane in self.lanes:
            lane.work.clear()
        again = self.rng.randrange(0, 4)
        entries: Any = self.client.xrevrange(f"{self.prefix}:events", max=self._delivered, count=again + 1)
        if entries and self._delivered != "0":
            self._delivered = entries[-1][0] if len(entries) > again else "0"
        self._redelivered.clear()
        self._incoming.clear()
        self._may_have_news = True
        self._build()

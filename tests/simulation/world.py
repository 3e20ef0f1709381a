"""The world of one seed: real actors, gateway and catalog scripts on a virtual clock, with every interleaving chosen.

A step is one of: a message handled, a question to the catalog answered, an event delivered, a run advanced, a timer
fired, something done from outside. One seeded generator chooses, so a seed replays exactly.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import partial
from itertools import count
from random import Random

from redis import Redis

from actors.catalog.redis_store import RedisStore
from actors.catalog.store import Deposed
from actors.runtime import VirtualClock
from tests.simulation.declared import Declared
from tests.simulation.oracle import Oracle
from tests.simulation.outside import Outside
from tests.simulation.scenario import BASE_MS, Action, Scenario
from tests.simulation.services import Services
from tests.simulation.system import Poison, SteppedLane, System
from tests.simulation.trace import TraceObserver

__all__ = ["World"]

MAX_STEPS = 200_000
CALM_MS = 20_000
SETTLE_MS = 120_000
CHECK_EVERY_MS = 30_000
MOST_CHECKS = 100


class World:
    """Runs one scenario to its end. The oracle is asked on the way, and raises `LawBroken`."""

    def __init__(self, scenario: Scenario, client: Redis, prefix: str) -> None:
        self.scenario = scenario
        self.rng = Random(scenario.seed * 7_919 + 1)
        self.clock = VirtualClock(BASE_MS)
        self.store = RedisStore(client, prefix=prefix)
        self.trace = TraceObserver(self.clock)
        self.declared = Declared(scenario.workflows)
        self.oracle = Oracle(scenario, self.declared, client, prefix, self.clock, self.trace)
        numbers = count(1)
        self._next_number = lambda: next(numbers)
        self._highest_ms = BASE_MS
        self.outside = Outside(
            scenario, self.declared, client, prefix, self.store, self.clock, self.oracle, self._next_number
        )
        self.services = Services(
            scenario, self.declared, client, prefix, self.rng, self.clock, self.oracle, self._next_number
        )

    @property
    def system(self) -> System:
        """The service that leads, or that of the first shard."""
        return self.services.leader.system

    @property
    def _is_holding_back(self) -> bool:
        return any(leader.delivery.is_holding_back for leader in self.services.leaders)

    # -- running -----------------------------------------------------------------------------------------------------

    def run(self) -> None:
        """Everything that happens, then calm: no more faults, all is mended, and time goes on until all is still."""
        for action in self.scenario.actions:
            self._some_steps(self.rng.randrange(0, 60))
            self.trace.note(f"action {action}")
            self._do(action)
            if self.scenario.is_calm:
                self._until_still()
                if self.scenario.generation > 1:
                    self._until_calm()
                self.oracle.check_calm_update(action)
        self._until_still()
        self._heal()
        self._settle()
        self.oracle.check_end()

    def advance(self, ms: int) -> None:
        """Let virtual time pass; whatever comes due on the way is dealt with before it goes on."""
        end_ms = self.clock.monotonic_ms() + ms
        while True:
            self._until_still()
            left_ms = end_ms - self.clock.monotonic_ms()
            wait_ms = self._wait_ms()
            if wait_ms is None or wait_ms > left_ms:
                self.clock.advance(max(0, left_ms))
                self._fire_due()
                self._until_still()
                return
            self.clock.advance(max(0, wait_ms))
            self._fire_due()

    def _until_calm(self) -> None:
        """Let time pass until no run was under way for a while, so that no debounce holds one back either."""
        idle = 0
        while idle < 2:
            self.advance(CALM_MS)
            idle = idle + 1 if self.system.runs.wait_ms() is None else 0

    def _wait_ms(self) -> int | None:
        """How long until something goes on by itself."""
        waits = [self.system.runs.wait_ms()]
        for service in self.services.all:
            next_at_ms = service.system.timers.next_at()
            waits.append(None if next_at_ms is None else next_at_ms - self.clock.now_ms())
            waits.append(service.delivery.wait_ms())
        return min((wait for wait in waits if wait is not None), default=None)

    def _fire_due(self) -> None:
        self.services.retire()
        for service in self.services.all:
            service.system.timers.fire_due()

    def _some_steps(self, number: int) -> None:
        for _ in range(number):
            if not self._step():
                return

    def _until_still(self) -> None:
        for _ in range(MAX_STEPS):
            if not self._step():
                if not self._is_holding_back:
                    self.declared.unsettled.clear()
                return
        raise AssertionError(f"still busy after {MAX_STEPS} steps: something feeds itself")

    def _step(self) -> bool:
        """One step of whatever can go on without time passing."""
        choices: list[tuple[int, Callable[[], None]]] = []
        for service in self.services.all:
            if service.system.dispatcher.runnable():
                choices.append((10, partial(self._step_actor, service.system)))
            lanes = [lane for lane in service.system.lanes if lane.work]
            if lanes:
                choices.append((4, partial(self._answer, lanes)))
        if self.system.runs.is_busy:
            choices.append((2, self._advance_run))
        for delivery in self.services.deliveries:
            if delivery.has_something():
                choices.append((4, delivery.deliver))
        if not choices:
            released = [service.delivery.release_overtaken() for service in self.services.all]
            return any(released)
        (chosen,) = self.rng.choices([act for _, act in choices], [weight for weight, _ in choices])
        chosen()
        self.oracle.check_always()
        return True

    def _answer(self, lanes: Sequence[SteppedLane]) -> None:
        with suppress(Deposed):  # whoever asked is about to be thrown away
            self.rng.choice(lanes).work.popleft()()
        self.services.wrote()

    def _advance_run(self) -> None:
        self.system.runs.advance(self.rng)
        self.services.wrote()

    def _any_system(self) -> System:
        leaders = self.services.leaders
        return (leaders[0] if len(leaders) == 1 else self.rng.choice(leaders)).system

    def _step_actor(self, system: System) -> None:
        system.dispatcher.step(self.rng.randrange)

    # -- what happens ------------------------------------------------------------------------------------------------

    def _do(self, action: Action) -> None:
        self.services.wrote()
        match action.kind, action.args:
            case "wait", (int(ms),):
                self.advance(ms)
            case "step", (int(ms),):
                self._step_clock(ms)
            case "hold", (str(asset_id), key, for_ms):
                self._hold(asset_id, key, for_ms)
            case "cancel", ():
                self.system.runs.cancel_one(self.rng)
            case "crash", ():
                self.services.crash()
            case "takeover", ():
                self.services.takeover()
            case "crash_shard", (int(index),):
                self.services.crash_shard(index)
            case "divide", (int(count),):
                self.services.divide(count)
            case "outage", (int(ms), str(asset_id), keys):
                self._outage(ms, asset_id, keys)
            case "long_hold", (str(scope), int(ms), str(asset_id), keys):
                self._long_hold(scope, ms, asset_id, keys)
            case "poison_asset", (str(asset_id),):
                for leader in self.services.leaders:
                    leader.system.poison(asset_id)
            case "poison_registry", ():
                self._any_system().around.to_registry(Poison())
            case "poison_enqueuer", ():
                self._any_system().around.to_enqueuer(Poison())
            case _:
                self.outside.do(action)

    def _step_clock(self, ms: int) -> None:
        """The wall clock jumps; what is due by it then fires, as when a timer thread looks at the clock again."""
        self._highest_ms = max(self._highest_ms, self.clock.now_ms())
        self.oracle.holds.clock_steps()
        self.clock.set_wall(self.clock.now_ms() + ms)
        self.oracle.holds.clock_steps()
        self.oracle.changes.clock_stepped()
        self._fire_due()

    def _hold(self, asset_id: str, key: str | None, for_ms: int | None) -> None:
        """Several updates while all is paused; the pause is ended by hand, or by time."""
        self.outside.pause("all", for_ms)
        for _ in range(self.rng.randint(1, 4)):
            self._some_steps(self.rng.randrange(0, 60))
            self.outside.record(asset_id, key, self.clock.now_ms())
            self.services.wrote()
        self._until_still()
        self.oracle.check_nothing_made()
        if for_ms is None:
            self.outside.unpause("all")
            self.services.wrote()
        else:
            self.advance(for_ms)

    def _long_hold(self, scope: str, ms: int, asset_id: str, keys: Sequence[str | None]) -> None:
        """Several partitions change during a pause that is ended by hand."""
        self.outside.pause(scope, None)
        for key in keys:
            self._some_steps(self.rng.randrange(0, 20))
            self.outside.record(asset_id, key, self.clock.now_ms())
            self.services.wrote()
        self.advance(ms)
        self.outside.unpause(scope)
        self.services.wrote()

    def _outage(self, ms: int, asset_id: str, keys: Sequence[str | None]) -> None:
        """The service dies, and is started again after a while; the world goes on meanwhile."""
        for service in self.services.all:
            service.system.crash()
        for key in keys:
            self.outside.record(asset_id, key, self.clock.now_ms())
        self.clock.advance(ms)
        self.oracle.holds.outage(ms)
        self.services.crash(ms)

    def _heal(self) -> None:
        self.trace.note("healing")
        self.services.heal()
        self.outside.restore_all()
        self.services.wrote()
        self._until_still()
        for run in self.store.active_runs():
            if not self.system.runs.owns(run.run_id):
                self.system.runs.give_up(run)
        self.services.wrote()
        self.outside.unpause_all()
        self.services.wrote()
        if self.scenario.generation > 2:
            # What is passed over now is passed over before it is resumed.
            self._until_still()
            if self.oracle.holds.has_passed_over:
                self._settle()
                self.oracle.check_left_as_they_are()
        self.outside.resume_all()
        self.services.wrote()
        if any(leader.system.given_up is not None for leader in self.services.leaders):
            self.services.crash()
        self._until_still()

    def _settle(self) -> None:
        """Let everything end that waits for a time: backoffs, also where the clock was put back, and quiet hours."""
        self.advance(max(0, self._highest_ms - self.clock.now_ms()) + SETTLE_MS)
        for _ in range(MOST_CHECKS):
            if not self.oracle.is_quiet_anywhere():
                return
            self.advance(CHECK_EVERY_MS)
        raise AssertionError("the quiet hours of the scenario leave no time to act in")

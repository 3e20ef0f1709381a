"""Runs in the simulation: a launcher whose runs go on step by step, slowly, fail and vanish by the scenario's rates."""

from __future__ import annotations

from dataclasses import dataclass, field
from random import Random

from actors.catalog.store import ActiveRun, NewMaterialization, RunFenced, RunStatus, Store
from actors.execution.launcher import RunOrder
from actors.runtime import VirtualClock
from tests.simulation.declared import Declared
from tests.simulation.laws import LawBroken
from tests.simulation.oracle import Oracle
from tests.simulation.scenario import Asset, Scenario

__all__ = ["SimulatedRuns"]

SLOW_MS = (300, 4_000, 30_000, 90_000)


@dataclass(slots=True)
class _Run:
    """`ready_at_ms` is when it goes on, on the monotonic clock. One that has vanished does nothing but be given up."""

    order: RunOrder
    to_make: list[Asset] = field(default_factory=list)
    told: list[NewMaterialization] = field(default_factory=list)
    ready_at_ms: int = 0
    is_started: bool = False
    is_canceled: bool = False
    is_vanished: bool = False


class SimulatedRuns:
    """Implements `RunLauncher`."""

    def __init__(
        self, scenario: Scenario, declared: Declared, store: Store, clock: VirtualClock, oracle: Oracle
    ) -> None:
        self._scenario = scenario
        self._declared = declared
        self._store = store
        self._clock = clock
        self._oracle = oracle
        self._runs: dict[str, _Run] = {}
        self.is_healing = False

    @property
    def is_busy(self) -> bool:
        """Whether a run can go on without time passing."""
        return any(self._is_ready(run) for run in self._runs.values())

    def wait_ms(self) -> int | None:
        """How long until the next run goes on by itself; None if there is none."""
        now_ms = self._clock.monotonic_ms()
        return min((run.ready_at_ms - now_ms for run in self._runs.values() if not self._is_ready(run)), default=None)

    def start(self) -> None:
        return

    def stop(self, grace_seconds: float) -> None:
        self._runs.clear()

    def launch(self, order: RunOrder) -> None:
        self._runs.setdefault(order.run_id, _Run(order))

    def owns(self, run_id: str) -> bool:
        return run_id in self._runs

    def cancel(self, run_id: str) -> bool:
        run = self._runs.get(run_id)
        if run is None:
            return False
        run.is_canceled = True
        return True

    def cancel_one(self, rng: Random) -> None:
        if self._runs:
            self.cancel(rng.choice(sorted(self._runs)))

    def give_up(self, run: ActiveRun) -> None:
        """What the service does with a run that nobody executes any more."""
        self._finish(RunOrder(run.run_id, run.workflow_slug, run.partition_key), RunStatus.LOST)

    def advance(self, rng: Random) -> None:
        """One step of one run: start, make the next asset, end."""
        run = self._runs[rng.choice(sorted(run_id for run_id, run in self._runs.items() if self._is_ready(run)))]
        try:
            self._advance(run, rng)
        except RunFenced:
            del self._runs[run.order.run_id]
        if self._happens(self._scenario.slow_rate, rng):
            run.ready_at_ms = self._clock.monotonic_ms() + rng.choice(SLOW_MS)

    def _is_ready(self, run: _Run) -> bool:
        return self.is_healing or run.ready_at_ms <= self._clock.monotonic_ms()

    def _happens(self, rate: float, rng: Random) -> bool:
        return rate > 0 and not self.is_healing and rng.random() < rate

    def _advance(self, run: _Run, rng: Random) -> None:
        if run.is_vanished:
            self._end(run, RunStatus.LOST)
            self._come_back(run)
            return
        if run.is_canceled:
            self._end(run, RunStatus.CANCELED)
            return
        if not run.is_started:
            self._start(run)
            return
        if not self.is_healing and rng.random() < self._scenario.vanish_rate:
            if self._scenario.vanish_ms == 0:
                self._end(run, RunStatus.LOST)
                return
            run.is_vanished = True
            run.ready_at_ms = self._clock.monotonic_ms() + self._scenario.vanish_ms
            return
        if not self.is_healing and rng.random() < self._scenario.failure_rate:
            self._end(run, RunStatus.FAILED)
            return
        if run.told and self._happens(self._scenario.retell_rate, rng):
            self._tell_again(rng.choice(run.told))
            return
        if run.to_make:
            self._make(run, run.to_make.pop(0), rng)
        else:
            self._end(run, RunStatus.SUCCEEDED)
            if run.told and self._happens(self._scenario.retell_rate, rng):
                self._tell_again(rng.choice(run.told))

    def _start(self, run: _Run) -> None:
        order = run.order
        definition = self._store.workflow(order.workflow_slug)
        if definition is None:
            self._end(run, RunStatus.FAILED)
            return
        spec = definition.to_spec()
        self._oracle.run_starts(order.run_id, spec.upstreams)
        self._store.start_run(order.run_id, upstreams=spec.upstreams, now_ms=self._clock.now_ms())
        made = {asset_id for asset_id, _ in spec.expected(order.partition_key)}
        run.to_make = [a for a in self._declared.workflows[order.workflow_slug].assets if a.asset_id in made]
        run.is_started = True

    def _make(self, run: _Run, asset: Asset, rng: Random) -> None:
        key = None if asset.kind == "none" else run.order.partition_key
        same = rng.random() < self._scenario.same_data_rate
        made = NewMaterialization(
            asset_id=asset.asset_id,
            partition_key=key,
            produced_at_ms=self._clock.now_ms(),
            upstreams=asset.upstreams,
            workflow_slug=run.order.workflow_slug,
            run_id=run.order.run_id,
            step_id="step",
            data_version="same" if same else f"data-{run.order.run_id}",
        )
        self._oracle.changes.recorded(asset.asset_id, self._store.record(made).version, key)
        run.told.append(made)
        self._oracle.run_made(run.order.run_id, asset, key)

    def _tell_again(self, made: NewMaterialization) -> None:
        """A worker whose answer was lost tells of its result once more; it is known already, also after the end."""
        try:
            is_known = self._store.record(made).duplicate
        except RunFenced:
            is_known = False
        if not is_known:
            raise LawBroken(f"L11: {made.run_id} told twice of {made.asset_id}, and was not recognised")

    def _come_back(self, run: _Run) -> None:
        """A run that was given up goes on after all; nothing of what it makes may count."""
        for asset in run.to_make[:1]:
            try:
                self._make(run, asset, Random(0))
            except RunFenced:
                continue
            raise LawBroken(f"L11: {run.order.run_id} was given up, and recorded {asset.asset_id} afterwards")

    def _end(self, run: _Run, status: RunStatus) -> None:
        del self._runs[run.order.run_id]
        self._finish(run.order, status)

    def _finish(self, order: RunOrder, status: RunStatus) -> None:
        definition = self._store.workflow(order.workflow_slug)
        expected = definition.to_spec().expected(order.partition_key) if definition else ()
        self._store.finish_run(order.run_id, status, now_ms=self._clock.now_ms(), expected=expected)

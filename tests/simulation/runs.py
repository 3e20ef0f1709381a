"""Runs in the simulation: a launcher whose runs go on step by step, fail and vanish by the scenario's rates."""

from __future__ import annotations

from dataclasses import dataclass, field
from random import Random

from actors.catalog.store import ActiveRun, NewMaterialization, RunFenced, RunStatus, Store
from actors.execution.launcher import RunOrder
from actors.runtime import VirtualClock
from tests.simulation.oracle import Oracle
from tests.simulation.scenario import Asset, Scenario

__all__ = ["SimulatedRuns"]


@dataclass(slots=True)
class _Run:
    order: RunOrder
    to_make: list[Asset] = field(default_factory=list)
    is_started: bool = False
    is_canceled: bool = False


class SimulatedRuns:
    """Implements `RunLauncher`."""

    def __init__(self, scenario: Scenario, store: Store, clock: VirtualClock, oracle: Oracle) -> None:
        self._scenario = scenario
        self._store = store
        self._clock = clock
        self._oracle = oracle
        self._runs: dict[str, _Run] = {}
        self.is_healing = False

    @property
    def is_busy(self) -> bool:
        return bool(self._runs)

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
        run = self._runs[rng.choice(sorted(self._runs))]
        try:
            self._advance(run, rng)
        except RunFenced:
            del self._runs[run.order.run_id]

    def _advance(self, run: _Run, rng: Random) -> None:
        order = run.order
        if run.is_canceled:
            self._end(run, RunStatus.CANCELED)
            return
        if not run.is_started:
            definition = self._store.workflow(order.workflow_slug)
            if definition is None:
                self._end(run, RunStatus.FAILED)
                return
            spec = definition.to_spec()
            self._oracle.run_starts(order.run_id, spec.upstreams)
            self._store.start_run(order.run_id, upstreams=spec.upstreams, now_ms=self._clock.now_ms())
            made = {asset_id for asset_id, _ in spec.expected(order.partition_key)}
            run.to_make = [a for a in self._scenario.assets.values() if a.asset_id in made]
            run.is_started = True
            return
        if not self.is_healing and rng.random() < self._scenario.vanish_rate:
            self._end(run, RunStatus.LOST)
            return
        if not self.is_healing and rng.random() < self._scenario.failure_rate:
            self._end(run, RunStatus.FAILED)
            return
        if run.to_make:
            self._make(run, run.to_make.pop(0), rng)
        else:
            self._end(run, RunStatus.SUCCEEDED)

    def _make(self, run: _Run, asset: Asset, rng: Random) -> None:
        key = None if asset.kind == "none" else run.order.partition_key
        same = rng.random() < self._scenario.same_data_rate
        self._store.record(
            NewMaterialization(
                asset_id=asset.asset_id,
                partition_key=key,
                produced_at_ms=self._clock.now_ms(),
                upstreams=asset.upstreams,
                workflow_slug=run.order.workflow_slug,
                run_id=run.order.run_id,
                step_id="step",
                data_version="same" if same else f"data-{run.order.run_id}",
            )
        )
        self._oracle.run_made(run.order.run_id, asset.asset_id, key)

    def _end(self, run: _Run, status: RunStatus) -> None:
        del self._runs[run.order.run_id]
        self._finish(run.order, status)

    def _finish(self, order: RunOrder, status: RunStatus) -> None:
        definition = self._store.workflow(order.workflow_slug)
        expected = definition.to_spec().expected(order.partition_key) if definition else ()
        self._store.finish_run(order.run_id, status, now_ms=self._clock.now_ms(), expected=expected)

"""Runs of a plan: a launcher whose runs succeed after a while and make all that they should, with new data."""

from __future__ import annotations

import heapq
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import cast

from actors.catalog.recovery import end_orphans
from actors.catalog.store import JsonObject, NewMaterialization, Produced, RunRecord, RunStatus, Store
from actors.core.graph import WorkflowSpec
from actors.execution.launcher import RunOrder
from actors.planning.memory import MemoryStore
from actors.planning.snapshot import RunTime
from actors.runtime import Clock

__all__ = ["PlannedRun", "RehearsedRuns"]


@dataclass(slots=True)
class PlannedRun:
    """One run that would start. `made` is filled when it ends, `number` counts from 1 in the order of the starts."""

    number: int
    run_id: str
    workflow_slug: str
    partition_key: str | None
    at_ms: int
    trigger: JsonObject
    run_time: RunTime
    made: list[Produced] = field(default_factory=list)


class RehearsedRuns:
    """Implements `RunLauncher`. Every run starts at once when it is launched."""

    def __init__(
        self, store: MemoryStore, clock: Clock, run_time: Callable[[str], RunTime], *, most_planned: int
    ) -> None:
        self._store = store
        self._clock = clock
        self._run_time = run_time
        self._most_planned = most_planned
        self._specs = {definition.slug: definition.to_spec() for definition in store.workflows()}
        self._ends: list[tuple[int, int, str]] = []
        self._going: dict[str, int] = {}
        self._launched = 0
        self.planned: dict[str, PlannedRun] = {}
        self.is_full = False

    # -- RunLauncher -------------------------------------------------------------------------------------------------

    def start(self) -> None:
        return

    def stop(self, grace_seconds: float) -> None:
        self._going.clear()

    def owns(self, run_id: str) -> bool:
        return run_id in self._going

    def cancel(self, run_id: str) -> bool:
        return False

    def launch(self, order: RunOrder) -> None:
        if len(self.planned) >= self._most_planned:
            self.is_full = True
            return
        record = self._store.run(order.run_id)
        if record is None:
            return
        run_time = self._run_time(order.workflow_slug)
        self.planned[order.run_id] = PlannedRun(
            number=len(self.planned) + 1,
            run_id=order.run_id,
            workflow_slug=order.workflow_slug,
            partition_key=order.partition_key,
            at_ms=self._clock.now_ms(),
            trigger=record.trigger,
            run_time=run_time,
        )
        self._start(record, run_time)

    # -- runs that were there before the plan ------------------------------------------------------------------------

    def take_over(self, record: RunRecord) -> None:
        """An active run of the running service: it goes on, and ends when runs of its workflow usually do."""
        run_time = self._run_time(record.workflow_slug)
        if record.started_at_ms is None:
            self._start(record, run_time)
        else:
            self._end_at(max(self._clock.now_ms(), record.started_at_ms + run_time.ms), record.run_id)

    def end_orphans(self) -> int:
        """What a start of the service does first with active runs that nobody executes; how many there are."""
        return len(end_orphans(cast(Store, self._store), self, now_ms=self._clock.now_ms()))

    # -- the course of time ------------------------------------------------------------------------------------------

    def next_at(self) -> int | None:
        """When the next run ends, if any goes on."""
        return self._ends[0][0] if self._ends else None

    def ends_at(self) -> dict[str, int]:
        """Of each run that goes on, when it ends."""
        return dict(self._going)

    def end_due(self) -> None:
        """End every run whose time has come: all that it should make is made, then it has succeeded."""
        now_ms = self._clock.now_ms()
        while self._ends and self._ends[0][0] <= now_ms:
            _, _, run_id = heapq.heappop(self._ends)
            del self._going[run_id]
            record = self._store.run(run_id)
            if record is not None:
                self._succeed(record, now_ms)

    def _start(self, record: RunRecord, run_time: RunTime) -> None:
        now_ms = self._clock.now_ms()
        spec = self._spec(record.workflow_slug)
        self._store.start_run(record.run_id, upstreams=spec.upstreams, now_ms=now_ms)
        self._end_at(now_ms + run_time.ms, record.run_id)

    def _end_at(self, at_ms: int, run_id: str) -> None:
        self._launched += 1
        self._going[run_id] = at_ms
        heapq.heappush(self._ends, (at_ms, self._launched, run_id))

    def _succeed(self, record: RunRecord, now_ms: int) -> None:
        spec = self._spec(record.workflow_slug)
        expected = spec.expected(record.partition_key)
        declared = {asset.asset_id: asset for asset in spec.assets}
        planned = self.planned.get(record.run_id)
        for asset_id, key in expected:
            asset = declared[asset_id]
            before = self._store.read_assets([asset_id])[asset_id].latest.get(key)
            recorded = self._store.record(
                NewMaterialization(
                    asset_id=asset_id,
                    partition_key=key,
                    produced_at_ms=now_ms,
                    upstreams=asset.upstreams,
                    workflow_slug=record.workflow_slug,
                    run_id=record.run_id,
                    step_id=asset.step_id,
                    # A job that gave its last production a policy of its own is taken to do so again.
                    freshness=before.freshness if before else None,
                )
            )
            if planned is not None:
                planned.made.append(Produced(asset_id, key, recorded.version))
        self._store.finish_run(record.run_id, RunStatus.SUCCEEDED, now_ms=now_ms, expected=expected)

    def _spec(self, slug: str) -> WorkflowSpec:
        return self._specs.get(slug) or WorkflowSpec(slug)

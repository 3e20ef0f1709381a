"""The catalog of a plan: what the gateway and the runs of a plan ask of a store, in memory.

It keeps the rules of the scripts on the server (claims, limits, pauses, basis, counters, changed versions, expiry
once, failures), and a contract test compares its answers with theirs. Definitions and pauses do not change by hand
during a plan; parameters, steps and audit decide nothing, so they are not here.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from actors.catalog.definitions import WorkflowDefinition
from actors.catalog.store import (
    ActiveRun,
    AssetRecord,
    Basis,
    BasisOutdated,
    Busy,
    Gone,
    HistoryEntry,
    JsonObject,
    LimitReached,
    NewMaterialization,
    NewRun,
    Paused,
    Produced,
    Recorded,
    RunFenced,
    RunRecord,
    RunStatus,
    SubmitOutcome,
    Submitted,
)
from actors.core.freshness import ExpiryReason
from actors.core.pauses import EVERYTHING, Pause, asset_scope, workflow_scope
from actors.core.state import Dismissal
from actors.messages import (
    AssetExpired,
    AssetPassedOver,
    AssetProduced,
    AssetResumed,
    RunEnded,
    RunEnqueued,
    RunRequested,
    Unmade,
)
from actors.planning.memory_assets import Journal, MemoryAssets
from actors.runtime import Clock

__all__ = ["MemoryStore"]


@dataclass(slots=True)
class _Run:
    record: RunRecord
    pools: tuple[str, ...] = ()
    upstreams: tuple[str, ...] = ()
    marks: dict[tuple[str | None, str, str | None], tuple[int, bool]] = field(default_factory=dict)

    @property
    def key(self) -> tuple[str, str | None]:
        return self.record.workflow_slug, self.record.partition_key

    def became(self, status: RunStatus) -> None:
        self.record = replace(self.record, status=status)


class MemoryStore:
    """Begins with what was read of a catalog; `journal` is what a stream would tell from then on.

    `histories` are newest first, as the catalog tells them; of an asset that is not among them it begins empty.
    """

    def __init__(
        self,
        clock: Clock,
        *,
        workflows: Sequence[WorkflowDefinition] = (),
        assets: Mapping[str, AssetRecord] | None = None,
        histories: Mapping[str, Sequence[HistoryEntry]] | None = None,
        pauses: Mapping[str, Pause] | None = None,
        runs: Sequence[RunRecord] = (),
        pos: int = 0,
    ) -> None:
        self._clock = clock
        self._workflows = {definition.slug: definition for definition in workflows}
        self._assets = MemoryAssets(assets or {})
        self._histories = {asset_id: list(entries)[::-1] for asset_id, entries in (histories or {}).items()}
        self._pauses = dict(pauses or {})
        self._runs: dict[str, _Run] = {}
        self._active: dict[str, _Run] = {}
        self._claims: dict[tuple[str, str | None], str] = {}
        self._seen: dict[str, tuple[int, bool]] = {}
        self.journal = Journal(pos)
        for record in runs:
            self._take_over(record)

    # -- definitions -------------------------------------------------------------------------------------------------

    def workflow(self, slug: str) -> WorkflowDefinition | None:
        return self._workflows.get(slug)

    def workflows(self) -> list[WorkflowDefinition]:
        return [self._workflows[slug] for slug in sorted(self._workflows)]

    def parameters_of(self, partitions: Sequence[tuple[str, str]]) -> list[JsonObject]:
        """None for any: what users gave for a partition reaches its runs, and no decision."""
        return [{} for _ in partitions]

    def pauses(self, now_ms: int) -> dict[str, Pause]:
        return {scope: pause for scope, pause in self._pauses.items() if pause.holds(now_ms)}

    # -- materializations --------------------------------------------------------------------------------------------

    def position(self) -> int:
        return self.journal.pos

    def read_assets(self, asset_ids: Sequence[str]) -> dict[str, AssetRecord]:
        return self._assets.read(asset_ids)

    def history(self, asset_id: str, *, partition_key: str | None = None, limit: int = 100) -> list[HistoryEntry]:
        entries = self._histories.get(asset_id, [])
        found = [e for e in entries if partition_key is None or e.partition_key == partition_key]
        return found[::-1][:limit]

    def record(self, new: NewMaterialization) -> Recorded:
        run = self._runs.get(new.run_id) if new.run_id is not None else None
        mark = (new.step_id, new.asset_id, new.partition_key)
        seen = [f"key:{new.dedupe_key}"] if new.dedupe_key is not None else []
        if run is None and new.run_id is not None:
            seen.append(f"run:{new.run_id}:{mark}")
        marks = [run.marks.get(mark) if run else None, *(self._seen.get(text) for text in seen)]
        earlier = next((found for found in marks if found is not None), None)
        if earlier is not None:
            return Recorded(*earlier, duplicate=True)
        if run is not None and run.record.status is not RunStatus.RUNNING:
            raise RunFenced(f"run {new.run_id} is {run.record.status.value}, not running")
        latest = self._assets.counters(new.upstreams)
        made = self._assets.make(
            new.asset_id,
            new.partition_key,
            produced_at_ms=new.produced_at_ms,
            inputs={**latest, **{u: v for u, v in run.record.inputs.items() if u in latest}} if run else latest,
            data_version=new.data_version,
            run_id=new.run_id,
            freshness=new.freshness,
        )
        is_changed = made.changed_version == made.version
        if run is not None:
            run.marks[mark] = (made.version, is_changed)
        self._seen |= dict.fromkeys(seen, (made.version, is_changed))
        # The event tells when this one was produced, also if a later one is known already.
        told = replace(made, produced_at_ms=new.produced_at_ms)
        entry = HistoryEntry(
            new.asset_id, new.partition_key, told, new.workflow_slug, new.step_id, new.payload, new.schema
        )
        self._histories.setdefault(new.asset_id, []).append(entry)
        self.journal.append(AssetProduced(new.asset_id, new.partition_key, told, self._pos()))
        return Recorded(made.version, is_changed, duplicate=False)

    def expire(
        self,
        asset_id: str,
        partition_key: str | None,
        *,
        version: int | None,
        expires_at_ms: int,
        reason: ExpiryReason,
        now_ms: int,
    ) -> bool:
        expired = self._assets.expire(asset_id, partition_key, version, expires_at_ms, reason)
        if expired is None:
            return False
        self.journal.append(AssetExpired(asset_id, partition_key, expired.version, reason, self._pos()))
        return True

    def pass_over(self, asset_id: str, dismissals: Mapping[str, Dismissal]) -> int:
        applied = [key for key, left in dismissals.items() if self._assets.pass_over(asset_id, key, left)]
        for key in applied:
            self.journal.append(AssetPassedOver(asset_id, key, dismissals[key], self._pos()))
        return len(applied)

    def resume(self, asset_id: str, partition_key: str | None = None) -> int:
        count = self._assets.resume(asset_id, partition_key)
        self.journal.append(AssetResumed(asset_id, partition_key, self._pos()))
        return count

    # -- runs --------------------------------------------------------------------------------------------------------

    def submit(self, runs: Sequence[NewRun]) -> list[SubmitOutcome]:
        return [self._submit(run) for run in runs]

    def _submit(self, new: NewRun) -> SubmitOutcome:
        known = self._runs.get(new.run_id)
        if known is not None and known.record.status.is_active:
            return Submitted(new.run_id)
        if known is not None and known.record.status is not RunStatus.QUEUED:
            return Gone(f"the run is {known.record.status.value} already")
        if known is None and new.queued:
            return Gone("the run is not known any more")
        key = known.key if known is not None else (new.workflow_slug, new.partition_key)
        if known is not None and key[0] not in self._workflows:
            return Gone(f"workflow {key[0]} was removed")
        outdated = tuple(basis.asset_id for basis in new.basis if not self._holds(basis))
        if outdated:
            return BasisOutdated(outdated)
        if paused := self._paused(new, key[0]):
            return Paused(paused)
        if (holder := self._claims.get(key)) is not None:
            return Busy(holder)
        if (limit := self._limit_reached(new, key[0])) is not None:
            return LimitReached(limit)
        run = known or self._create(new, RunStatus.ENQUEUED)
        run.became(RunStatus.ENQUEUED)
        run.pools, run.upstreams = new.pools, new.upstreams
        self._claims[key] = new.run_id
        self._active[new.run_id] = run
        self.journal.append(RunEnqueued(new.run_id, new.workflow_slug, new.partition_key, self._pos()))
        return Submitted(new.run_id)

    def _paused(self, new: NewRun, slug: str) -> tuple[str, ...]:
        """The assets that ask for the run and are paused; who asks by hand passes through."""
        holding = {scope for scope, pause in self._pauses.items() if pause.holds(new.created_at_ms)}
        if not holding.isdisjoint({EVERYTHING, workflow_scope(slug)}):
            return tuple(basis.asset_id for basis in new.basis)
        return tuple(basis.asset_id for basis in new.basis if asset_scope(basis.asset_id) in holding)

    def _holds(self, basis: Basis) -> bool:
        made = self._assets.made(basis.asset_id, basis.partition_key)
        (counter,) = self._assets.counters([basis.asset_id]).values()
        if made is None and 0 < basis.version <= counter:
            return True  # it was forgotten by age, and begins anew
        failures = self._assets.failures(basis.asset_id, basis.partition_key)
        return (made.version if made else 0, failures) == (basis.version, basis.failures)

    def _limit_reached(self, new: NewRun, slug: str) -> str | None:
        limits = new.limits
        active = self._active.values()
        if len(active) >= limits.max_runs:
            return "global"
        of_workflow = sum(run.record.workflow_slug == slug for run in active)
        if limits.max_workflow_runs is not None and of_workflow >= limits.max_workflow_runs:
            return "workflow"
        for pool in new.pools:
            most = limits.max_pool_runs.get(pool)
            if most is not None and sum(pool in run.pools for run in active) >= most:
                return f"pool:{pool}"
        return None

    def queue_run(self, new: NewRun) -> None:
        if new.run_id not in self._runs:
            self._create(new, RunStatus.QUEUED)
            self.journal.append(RunRequested(new.run_id, self._pos()))

    def queued_runs(self) -> list[RunRecord]:
        queued = [r.record for r in self._runs.values() if r.record.status is RunStatus.QUEUED]
        return sorted(queued, key=lambda record: (record.created_at_ms, record.run_id))

    def active_runs(self) -> list[ActiveRun]:
        return [ActiveRun(run_id, *run.key, run.record.status) for run_id, run in sorted(self._active.items())]

    def start_run(self, run_id: str, *, upstreams: Sequence[str], now_ms: int) -> Mapping[str, int]:
        run = self._runs.get(run_id)
        if run is None or run.record.status is not RunStatus.ENQUEUED:
            raise RunFenced(f"run {run_id} is {run.record.status.value if run else 'unknown'}, not enqueued")
        inputs = self._assets.counters(upstreams)
        run.record = replace(run.record, status=RunStatus.RUNNING, started_at_ms=now_ms, inputs=inputs)
        self.journal.append(RunEnqueued(run_id, *run.key, self._pos(), is_started=True))
        return inputs

    def finish_run(
        self,
        run_id: str,
        status: RunStatus,
        *,
        now_ms: int,
        error: str | None = None,
        expected: Iterable[tuple[str, str | None]] = (),
    ) -> bool:
        run = self._runs.get(run_id)
        if run is None or run.record.status.is_over:
            return False
        self._active.pop(run_id, None)
        if self._claims.get(run.key) == run_id:
            del self._claims[run.key]
        made = {(asset_id, key) for _, asset_id, key in run.marks}
        unmade = tuple(
            self._unmade(run, asset_id, key, status, now_ms)
            for asset_id, key in dict.fromkeys(expected)
            if (asset_id, key) not in made
        )
        run.record = replace(run.record, status=status, ended_at_ms=now_ms, error=error)
        told_error = error if status in (RunStatus.FAILED, RunStatus.LOST) else None
        self.journal.append(RunEnded(run_id, *run.key, status.value, unmade, self._pos(), told_error))
        return True

    def cancel_queued(self, run_id: str, *, now_ms: int) -> bool:
        run = self._runs.get(run_id)
        if run is None or run.record.status is not RunStatus.QUEUED:
            return False
        return self.finish_run(run_id, RunStatus.CANCELED, now_ms=now_ms)

    def run(self, run_id: str) -> RunRecord | None:
        run = self._runs.get(run_id)
        if run is None:
            return None
        produced = [Produced(asset_id, key, mark[0]) for (_, asset_id, key), mark in run.marks.items()]
        produced.sort(key=lambda p: (p.asset_id, p.partition_key or "", p.version))
        return replace(run.record, produced=tuple(produced))

    # -- small things ------------------------------------------------------------------------------------------------

    def _take_over(self, record: RunRecord) -> None:
        """A run that was there before: its pools and upstreams are those that its workflow has now."""
        definition = self._workflows.get(record.workflow_slug)
        spec = definition.to_spec() if definition is not None else None
        run = self._runs[record.run_id] = _Run(record, spec.pools if spec else (), spec.upstreams if spec else ())
        step_of = {asset.asset_id: asset.step_id for asset in spec.assets} if spec else {}
        for made in record.produced:
            run.marks[step_of.get(made.asset_id), made.asset_id, made.partition_key] = (made.version, True)
        if record.status.is_active:
            self._claims[run.key] = record.run_id
            self._active[record.run_id] = run

    def _create(self, new: NewRun, status: RunStatus) -> _Run:
        record = RunRecord(
            run_id=new.run_id,
            workflow_slug=new.workflow_slug,
            partition_key=new.partition_key,
            status=status,
            parameters=new.parameters,
            trigger=new.trigger,
            created_at_ms=new.created_at_ms,
        )
        run = self._runs[new.run_id] = _Run(record)
        return run

    def _unmade(self, run: _Run, asset_id: str, key: str | None, status: RunStatus, now_ms: int) -> Unmade:
        run_id = run.record.run_id
        if status is not RunStatus.CANCELED:
            return Unmade(asset_id, key, self._assets.fail(asset_id, key, now_ms, run_id))
        is_started = run.record.started_at_ms is not None
        read = run.record.inputs if is_started else self._assets.counters(run.upstreams)
        return Unmade(asset_id, key, None, self._assets.dismiss(asset_id, key, read))

    def _pos(self) -> int:
        return self.journal.next_pos(self._clock.now_ms())

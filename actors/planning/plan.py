"""A plan: which runs would follow from events, or from time alone, in what order, when and why."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from actors.catalog.store import NewMaterialization
from actors.core.freshness import ExpiryReason
from actors.core.graph import Graph
from actors.core.pauses import Pause
from actors.planning.causes import GivenEvent, SourcedCause, makers, sourced
from actors.planning.memory import MemoryStore
from actors.planning.rehearsal import Policies, Rehearsal
from actors.planning.rehearsed_runs import PlannedRun, RehearsedRuns
from actors.planning.snapshot import RunTime, Snapshot
from actors.runtime import VirtualClock

__all__ = ["Event", "NothingToExpire", "Plan", "PlannedStart", "StillActive", "make_plan"]


class NothingToExpire(ValueError):  # noqa: N818 - reads as the event it tells of
    """An asset partition that is to expire was never produced, or has expired already."""


@dataclass(frozen=True, slots=True)
class Event:
    """Something that is taken to happen at the beginning of the plan."""

    kind: Literal["produced", "expired"]
    asset_id: str
    partition_key: str | None


@dataclass(frozen=True, slots=True)
class PlannedStart:
    """One run of the plan, its priority (lower goes first), and where each of its causes comes from."""

    run: PlannedRun
    priority: int
    causes: tuple[SourcedCause, ...]


@dataclass(frozen=True, slots=True)
class StillActive:
    """A run that was active before the plan, and when it is taken to end."""

    run_id: str
    workflow_slug: str
    partition_key: str | None
    ends_at_ms: int


@dataclass(frozen=True, slots=True)
class Plan:
    """`is_cut` says that the bound on runs was hit, at `end_ms`; without it the plan is complete up to `end_ms`.

    `waiting` are (workflow, partition) that want a run at the end and have no slot.
    """

    begin_ms: int
    end_ms: int
    is_cut: bool
    given: tuple[GivenEvent, ...]
    starts: tuple[PlannedStart, ...]
    active: tuple[StillActive, ...]
    waiting: tuple[tuple[str, str | None], ...]
    lost: int
    refused: tuple[str, ...]
    guessed: tuple[str, ...]
    is_moving: bool
    pauses: tuple[Pause, ...] = ()


def make_plan(
    snapshot: Snapshot,
    policies: Policies,
    events: Sequence[Event],
    *,
    now_ms: int,
    horizon_ms: int,
    is_service_running: bool,
    most_runs: int,
    silent_ms: int = 0,
    runs_go_on: bool = False,
) -> Plan:
    """Let the real actors go on from a snapshot of the catalog, after these events, for `horizon_ms`.

    Without a running service the plan is that of one that starts now, after none has led for `silent_ms`; with
    `runs_go_on` those that executed runs for the former one still do, unless they are silent. The snapshot is not
    changed.

    Raises:
        NothingToExpire: there is nothing to expire in one of the events.
        RehearsalBroken: an actor failed.
    """
    clock = VirtualClock(now_ms)
    store = MemoryStore(
        clock,
        workflows=snapshot.workflows,
        assets=snapshot.assets,
        histories=snapshot.histories,
        pauses=snapshot.pauses,
        runs=snapshot.runs,
        pos=snapshot.pos,
    )
    runs = RehearsedRuns(store, clock, snapshot.run_time, most_planned=most_runs)
    for record in snapshot.runs:
        goes_on = is_service_running or (runs_go_on and record.run_id not in snapshot.silent)
        if record.status.is_active and goes_on:
            runs.take_over(record)
    lost = 0 if is_service_running else runs.end_orphans()
    before = runs.ends_at()
    rehearsal = Rehearsal(store, runs, clock, policies, outage_ms=0 if is_service_running else silent_ms)
    graph = _graph(snapshot)
    try:
        # The actors first come to where those of a running service are, then hear the news.
        is_whole = rehearsal.settle()
        given = tuple(_happen(event, store, graph, now_ms) for event in events)
        is_whole = is_whole and rehearsal.run_until(now_ms + horizon_ms)
        waiting = () if not is_whole else tuple((slug, key) for slug, key, _ in rehearsal.waiting().wanted)
    finally:
        rehearsal.close()
    planned = tuple(runs.planned.values())
    by_run = makers(planned)
    return Plan(
        begin_ms=now_ms,
        end_ms=clock.now_ms(),
        is_cut=not is_whole,
        given=given,
        starts=tuple(PlannedStart(run, _priority(run, graph), sourced(run, by_run, given)) for run in planned),
        active=tuple(
            StillActive(r.run_id, r.workflow_slug, r.partition_key, before[r.run_id])
            for r in snapshot.runs
            if r.run_id in before
        ),
        waiting=waiting,
        lost=lost,
        refused=tuple(rehearsal.refused),
        guessed=tuple(sorted({run.workflow_slug for run in planned if run.run_time == RunTime()})),
        is_moving=snapshot.is_moving,
        pauses=tuple(pause for pause in snapshot.pauses.values() if pause.holds(now_ms)),
    )


def _happen(event: Event, store: MemoryStore, graph: Graph, now_ms: int) -> GivenEvent:
    asset_id, key = event.asset_id, event.partition_key
    if event.kind == "produced":
        node = graph.node(asset_id)
        spec = node.spec if node is not None else None
        recorded = store.record(
            NewMaterialization(asset_id, key, now_ms, upstreams=spec.upstreams if spec is not None else ())
        )
        return GivenEvent(event.kind, asset_id, key, recorded.version)
    made = store.read_assets([asset_id])[asset_id].latest.get(key)
    if made is None or not store.expire(
        asset_id, key, version=None, expires_at_ms=now_ms, reason=ExpiryReason.MANUAL, now_ms=now_ms
    ):
        raise NothingToExpire(
            f"{asset_id if key is None else f'{asset_id}@{key}'} "
            f"{'was never produced' if made is None else 'has expired already'}, so it cannot expire now; "
            "leave it out, or plan without events to see what follows from time alone"
        )
    return GivenEvent(event.kind, asset_id, key, made.version)


def _graph(snapshot: Snapshot) -> Graph:
    graph = Graph()
    for definition in sorted(snapshot.workflows, key=lambda d: d.slug):
        try:
            graph.put(definition.to_spec())
        except ValueError:
            # The registry of the rehearsal leaves the same one out, and says so.
            continue
    return graph


def _priority(run: PlannedRun, graph: Graph) -> int:
    """As the enqueuer orders it: the best of the assets that want the run; what is asked for by hand goes first."""
    wanted = run.trigger.get("assets") or [run.trigger.get("assetId")]
    nodes = [graph.node(str(asset_id)) for asset_id in wanted] if isinstance(wanted, list) else []
    return min((n.spec.auto.priority for n in nodes if n and n.spec and n.spec.auto), default=0)

"""Small catalogs to plan from."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from actors.catalog.definitions import WorkflowDefinition
from actors.catalog.store import AssetRecord, RunRecord, RunStatus
from actors.core.backoff import BackoffPolicy, FailureBudget
from actors.core.decide import Defaults
from actors.core.pauses import Pause
from actors.core.run_queue import Capacity
from actors.core.state import Materialization
from actors.planning.plan import Event, Plan, make_plan
from actors.planning.rehearsal import Policies
from actors.planning.snapshot import RunTime, Snapshot
from tests.unit.interfaces.definitions import definition

NOON = 1_772_366_400_000
"""2026-03-01T12:00:00Z"""

MINUTE = 60_000

FOLLOWS: Mapping[str, Any] = {"autoMaterialize": {"onUpstreamUpdate": True}}


def follower(slug: str, made: str, *read: str, **auto: Any) -> WorkflowDefinition:
    """A workflow whose one asset follows its upstreams."""
    return definition(slug, made, *read, autoMaterialize={"onUpstreamUpdate": True, **auto})


def made(version: int = 1, *, at_ms: int = NOON - MINUTE, **more: Any) -> Materialization:
    return Materialization(version, version, at_ms, **more)


def known(version: int = 1, **more: Any) -> AssetRecord:
    return AssetRecord(latest={None: made(version, **more)}, counter=version)


def run(run_id: str, slug: str, status: RunStatus, *, key: str | None = None, **more: Any) -> RunRecord:
    return RunRecord(run_id, slug, key, status, {}, {"type": "manual", "reason": "cli"}, NOON - MINUTE, **more)


def planned(
    workflows: Sequence[WorkflowDefinition],
    *events: Event,
    assets: Mapping[str, AssetRecord] | None = None,
    runs: Sequence[RunRecord] = (),
    run_times: Mapping[str, RunTime] | None = None,
    capacity: Capacity | None = None,
    minutes: float = 10,
    is_service_running: bool = True,
    most_runs: int = 500,
    pauses: Mapping[str, Pause] | None = None,
    silent_ms: int = 0,
    runs_go_on: bool = False,
    silent: Iterable[str] = (),
) -> Plan:
    return make_plan(
        Snapshot(
            *(tuple(workflows), assets or {}, tuple(runs), run_times or {}, 7),
            is_moving=False,
            pauses=pauses or {},
            silent=frozenset(silent),
        ),
        Policies(
            Defaults(BackoffPolicy(base_ms=1_000, jitter=False), FailureBudget(failures=3)),
            capacity or Capacity(10),
            60_000,
        ),
        events,
        now_ms=NOON,
        horizon_ms=int(minutes * MINUTE),
        is_service_running=is_service_running,
        most_runs=most_runs,
        silent_ms=silent_ms,
        runs_go_on=runs_go_on,
    )


def produced(asset_id: str, key: str | None = None) -> Event:
    return Event("produced", asset_id, key)


def expired(asset_id: str, key: str | None = None) -> Event:
    return Event("expired", asset_id, key)


def starts(plan: Plan) -> list[tuple[float, str]]:
    """Seconds after the beginning, and the workflow, of each planned run."""
    return [((start.run.at_ms - plan.begin_ms) / 1_000, start.run.workflow_slug) for start in plan.starts]

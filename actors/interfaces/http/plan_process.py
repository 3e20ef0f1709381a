"""What the process does that makes plans. It loads no web server."""

from __future__ import annotations

from dataclasses import dataclass

from actors.catalog.access import open_catalog
from actors.catalog.store import JsonObject
from actors.interfaces.commands.plan import policies_of
from actors.interfaces.plan_view import plan_json, plan_notes
from actors.planning.plan import Event, make_plan
from actors.planning.snapshot import read_snapshot
from actors.settings import Settings

__all__ = ["PlanRequest", "make"]


@dataclass(frozen=True, slots=True)
class PlanRequest:
    events: tuple[Event, ...]
    now_ms: int
    horizon_ms: int
    most_runs: int


def make(settings: Settings, request: PlanRequest) -> JsonObject:
    """Read the catalog and plan; in the process of its own."""
    with open_catalog(settings) as catalog:
        is_service_running = catalog.control.is_service_running()
        silent_ms = catalog.control.silent_ms()
        snapshot = read_snapshot(catalog.store, request.now_ms)
    plan = make_plan(
        snapshot,
        policies_of(settings),
        request.events,
        now_ms=request.now_ms,
        horizon_ms=request.horizon_ms,
        is_service_running=is_service_running,
        most_runs=request.most_runs,
        silent_ms=silent_ms,
        runs_go_on=settings.execution.launcher != "local",
    )
    notes = plan_notes(plan, is_service_running=is_service_running, limit=request.most_runs)
    return plan_json(plan, notes, is_service_running=is_service_running)

"""Runs: list them, show one with its steps and what they wrote, cancel one, and the audit."""

from __future__ import annotations

from typing import Annotated

from fastapi import Query
from fastapi.responses import JSONResponse

from actors.catalog.store import RunRecord, RunStatus, Store
from actors.interfaces.http.access import Access, now_ms
from actors.interfaces.http.answers import Limit, answer, new_router, no_such, tells
from actors.interfaces.http.bodies import RunPath
from actors.interfaces.http.problems import Kind, Refused
from actors.interfaces.http.run_schemas import Audited, Canceled, Log, RunDetail, RunOut, StepOut
from actors.interfaces.records import audit_json, run_json, step_json
from actors.interfaces.run_logs import log_json, step_logs

__all__ = ["router"]

router = new_router("runs")


@router.get("/runs", **tells(list[RunOut], "Runs, newest first."))
def list_runs(
    access: Access,
    trigger: Annotated[
        str | None,
        Query(max_length=200, description="Only runs of this trigger.", examples=["auto-materialize", "manual"]),
    ] = None,
    workflow: Annotated[
        str | None, Query(max_length=200, description="Only runs of this workflow.", examples=["orders-daily"])
    ] = None,
    status: Annotated[RunStatus | None, Query(description="Only runs in this state.")] = None,
    limit: Limit = 50,
) -> JSONResponse:
    """The latest runs."""
    found = access.store.runs(trigger=trigger, workflow=workflow, status=status, limit=limit)
    return answer([run_json(record) for record in found])


@router.get("/runs/{run_id}", **tells(RunDetail, "The run, what it read, and its steps."))
def run(access: Access, run_id: RunPath) -> JSONResponse:
    """One run: why it started, what it read, its steps, and the last lines that they wrote."""
    record = _require(access.store, run_id)
    steps = [step_json(step) for step in record.steps]
    return answer({**run_json(record), "inputs": dict(record.inputs), "steps": steps})


@router.get("/runs/{run_id}/steps", **tells(list[StepOut], "Its steps."))
def steps(access: Access, run_id: RunPath) -> JSONResponse:
    """The steps of a run that have begun."""
    return answer([step_json(step) for step in _require(access.store, run_id).steps])


@router.get("/runs/{run_id}/logs", **tells(list[Log], "What its steps wrote."))
def logs(
    access: Access,
    run_id: RunPath,
    step: Annotated[str | None, Query(max_length=200, description="Only this step.", examples=["load"])] = None,
    tail: Annotated[int | None, Query(ge=0, le=100_000, description="Only so many last lines of each.")] = None,
) -> JSONResponse:
    """The last 8 KiB that each step wrote; so far, where this service executes it on its own machine."""
    return answer([log_json(log, tail) for log in step_logs(_require(access.store, run_id), step)])


@router.post("/runs/{run_id}/cancel", **tells(Canceled, "It was canceled, or is being stopped."))
def cancel(access: Access, run_id: RunPath) -> JSONResponse:
    """Cancel a run. One that has not started is canceled at once; one that runs is stopped by whoever leads."""
    record = _require(access.store, run_id)
    if record.status is RunStatus.QUEUED and access.store.cancel_queued(run_id, now_ms=now_ms()):
        return answer({"runId": run_id, "status": RunStatus.CANCELED.value})
    if record.status.is_over:
        raise Refused(Kind.CONFLICT, f"run {run_id} is over: {record.status.value}; there is nothing to cancel")
    access.require_actors()
    try:
        return answer(access.ask("cancel", {"runId": run_id}))
    except LookupError as error:
        raise Refused(Kind.CONFLICT, str(error.args[0])) from None


@router.get("/audit", **tells(list[Audited], "Runs that started by themselves, newest first."))
def audit(access: Access, limit: Limit = 50) -> JSONResponse:
    """When which run started by itself, and why. Outlives the runs."""
    return answer([audit_json(entry) for entry in access.store.audit(limit=limit)])


def _require(store: Store, run_id: str) -> RunRecord:
    record = store.run(run_id)
    if record is None:
        raise no_such("run", run_id)
    return record

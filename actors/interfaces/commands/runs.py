"""Commands about runs: list them, show one, cancel one, and the audit of those that started by themselves."""

from __future__ import annotations

import time
from typing import Annotated

import typer

from actors.catalog.store import RunRecord, RunStatus, StepRecord
from actors.interfaces.dump import iso_or_none
from actors.interfaces.errors import bad_input, refused, unknown
from actors.interfaces.program import command
from actors.interfaces.records import audit_json, run_json, step_json, trigger_text
from actors.interfaces.render import (
    age_text,
    duration_text,
    print_json,
    print_lines,
    print_table,
    state_text,
    when_text,
)
from actors.interfaces.session import ConfigOption, JsonOption, LimitOption, open_session

__all__ = ["RunId", "audit", "cancel", "run", "runs"]

RunId = Annotated[str, typer.Argument(metavar="RUN", help="The run's id, as `runs` shows it.")]


def runs(
    ctx: typer.Context,
    trigger: Annotated[
        str | None,
        typer.Option(metavar="TYPE", help="Only runs of this trigger, such as auto-materialize or manual."),
    ] = None,
    workflow: Annotated[str | None, typer.Option(metavar="SLUG", help="Only runs of this workflow.")] = None,
    status: Annotated[
        str | None, typer.Option(metavar="STATUS", help=f"Only runs that are {', '.join(RunStatus)}.")
    ] = None,
    limit: LimitOption = 50,
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """List runs, newest first.

    \b
    Examples:
      python run.py runs
      python run.py runs --trigger auto-materialize --status failed
      python run.py runs --workflow orders-daily --limit 5 --json
    """
    wanted = _status(status)
    with open_session(ctx, config) as session:
        found = session.catalog.store.runs(trigger=trigger, workflow=workflow, status=wanted, limit=limit)
    if as_json:
        print_json([run_json(record) for record in found])
        return
    now_ms = time.time_ns() // 1_000_000
    print_table(
        ("RUN", "WORKFLOW", "PARTITION", "STATUS", "WHY", "CREATED", "TOOK"),
        [
            (
                record.run_id,
                record.workflow_slug,
                record.partition_key,
                state_text(record.status.value),
                trigger_text(record.trigger),
                when_text(record.created_at_ms, now_ms),
                _took(record.started_at_ms, record.ended_at_ms, now_ms),
            )
            for record in found
        ],
        empty="no runs",
    )


def run(ctx: typer.Context, run_id: RunId, config: ConfigOption = None, as_json: JsonOption = False) -> None:
    """Show one run: why it started, what it read, its steps, and the last lines that they wrote.

    \b
    Examples:
      python run.py run run-0198c2f4a7d2
      python run.py run run-0198c2f4a7d2 --json
    """
    with open_session(ctx, config) as session:
        record = session.catalog.store.run(run_id)
        if record is None:
            raise unknown("run", run_id, (r.run_id for r in session.catalog.store.runs(limit=200)))
    if as_json:
        print_json(
            {
                **run_json(record),
                "inputs": dict(record.inputs),
                "steps": [step_json(step) for step in record.steps],
            }
        )
        return
    _draw_run(record)


def cancel(ctx: typer.Context, run_id: RunId, config: ConfigOption = None) -> None:
    """Cancel a run. One that has not started is canceled at once; one that runs is stopped by the service.

    \b
    Examples:
      python run.py cancel run-0198c2f4a7d2
    """
    with open_session(ctx, config) as session:
        store = session.catalog.store
        record = store.run(run_id)
        if record is None:
            raise unknown("run", run_id, (r.run_id for r in store.runs(limit=200)))
        if record.status is RunStatus.QUEUED:
            if store.cancel_queued(run_id, now_ms=time.time_ns() // 1_000_000):
                print(f"canceled {run_id}")
                return
            # The service has claimed it since.
            record = store.run(run_id) or record
        if record.status.is_over:
            raise refused(f"run {run_id} is over: it {_ended_as(record.status)}; there is nothing to cancel")
        session.catalog.control.ask(
            "cancel", {"runId": run_id}, timeout_seconds=session.settings.control.timeout_seconds
        )
    print(f"canceling {run_id}; `{command('run', run_id)}` tells when it has stopped")


def audit(
    ctx: typer.Context, limit: LimitOption = 50, config: ConfigOption = None, as_json: JsonOption = False
) -> None:
    """List the runs that started by themselves: when, which, why. Newest first.

    \b
    Examples:
      python run.py audit
      python run.py audit --limit 500 --json
    """
    with open_session(ctx, config) as session:
        entries = session.catalog.store.audit(limit=limit)
    if as_json:
        print_json([audit_json(entry) for entry in entries])
        return
    now_ms = time.time_ns() // 1_000_000
    print_table(
        ("WHEN", "WORKFLOW", "PARTITION", "WHY", "RUN"),
        [
            (
                when_text(entry.at_ms, now_ms),
                entry.workflow_slug,
                entry.partition_key,
                trigger_text(entry.trigger),
                entry.run_id,
            )
            for entry in entries
        ],
        empty="no run has started by itself yet",
    )


def _status(text: str | None) -> RunStatus | None:
    if text is None:
        return None
    try:
        return RunStatus(text)
    except ValueError:
        raise bad_input(f"--status {text!r} is no status; use one of {', '.join(RunStatus)}") from None


def _ended_as(status: RunStatus) -> str:
    return status.value if status in (RunStatus.SUCCEEDED, RunStatus.FAILED) else f"was {status.value}"


def _took(started_at_ms: int | None, ended_at_ms: int | None, now_ms: int) -> str | None:
    if started_at_ms is None:
        return None
    return duration_text(max(0, (ended_at_ms if ended_at_ms is not None else now_ms) - started_at_ms))


def _draw_run(record: RunRecord) -> None:
    now_ms = time.time_ns() // 1_000_000
    fields = (
        ("run", record.run_id),
        ("workflow", record.workflow_slug),
        ("partition", record.partition_key),
        ("status", record.status.value),
        ("why", trigger_text(record.trigger)),
        ("created", when_text(record.created_at_ms, now_ms)),
        ("started", when_text(record.started_at_ms, now_ms)),
        ("ended", when_text(record.ended_at_ms, now_ms)),
        ("took", _took(record.started_at_ms, record.ended_at_ms, now_ms)),
        ("error", record.error),
        ("parameters", ", ".join(f"{key}={value}" for key, value in record.parameters.items()) or None),
        ("read", ", ".join(f"{asset} v{version}" for asset, version in record.inputs.items()) or None),
    )
    print_lines([f"{name:<11} {value}" for name, value in fields if value is not None])
    for step in record.steps:
        _draw_step(step, now_ms)


def _draw_step(step: StepRecord, now_ms: int) -> None:
    started = iso_or_none(step.started_at_ms)
    head = f"\nstep {step.step_id}  {step.status.value}, attempt {step.attempt}"
    if step.started_at_ms is not None:
        head += f", {_took(step.started_at_ms, step.ended_at_ms, now_ms)}"
        head += f", started {age_text(step.started_at_ms, now_ms)} ({started})"
    lines = [head]
    if step.error:
        lines.append(f"  error: {step.error}")
    for name, tail in (("stdout", step.stdout_tail), ("stderr", step.stderr_tail)):
        if tail.strip():
            lines.append(f"  {name}:")
            lines.extend(f"    {line}" for line in tail.rstrip().splitlines())
    print_lines(lines)

"""A plan for a person, as the rows of a table and notes, and for a machine, as JSON."""

from __future__ import annotations

from actors.catalog.store import Json, JsonObject
from actors.core.state import partition_name
from actors.interfaces.dump import iso_or_none
from actors.interfaces.render import duration_text
from actors.planning.causes import SourcedCause
from actors.planning.plan import Plan, PlannedStart
from actors.planning.snapshot import ASSUMED_MS

__all__ = ["COLUMNS", "plan_json", "plan_notes", "plan_rows"]

COLUMNS = ("#", "AT", "WORKFLOW", "PARTITION", "REASON", "BECAUSE OF", "PRIORITY", "TAKES")
_CAUSES_SHOWN = 3


def plan_rows(plan: Plan) -> list[tuple[str | None, ...]]:
    return [
        (
            str(start.run.number),
            f"{_after(start.run.at_ms - plan.begin_ms)} ({iso_or_none(start.run.at_ms)})",
            start.run.workflow_slug,
            start.run.partition_key,
            _reason(start),
            _causes(start.causes),
            str(start.priority),
            duration_text(start.run.run_time.ms) + ("" if start.run.run_time.samples else " (assumed)"),
        )
        for start in plan.starts
    ]


def plan_notes(plan: Plan, *, is_service_running: bool, limit: int) -> list[str]:
    """What the plan rests on, what it leaves open, and whether it was cut short; the gravest first."""
    span = duration_text(plan.end_ms - plan.begin_ms)
    notes: list[str] = []
    if plan.is_cut:
        notes.append(f"cut short: the limit of {limit} runs was hit after {span}; more would follow (see --limit)")
    if plan.is_moving:
        notes.append("the catalog changed while it was read, so the plan may begin between two events; ask again")
    notes.extend(plan.refused)
    if not is_service_running:
        notes.append("no service is running: this is what one that starts now would do")
    if plan.lost:
        notes.append(f"{plan.lost} active runs are executed by nobody; a start ends them as lost and retries them")
    for run in plan.active:
        name = partition_name(run.workflow_slug, run.partition_key)
        left = _after(run.ends_at_ms - plan.begin_ms)
        notes.append(f"{run.run_id} of {name} is active already, and taken to succeed at {left}")
    for pause in plan.pauses:
        end = f"until {iso_or_none(pause.until_ms)}" if pause.until_ms is not None else "until it is unpaused by hand"
        notes.append(f"paused: {pause.scope} {end}; what it holds back is not among the runs before that")
    for slug, key in plan.waiting:
        notes.append(f"{partition_name(slug, key)} still waits for a slot at the end")
    if not plan.is_cut:
        notes.append(f"looked {span} ahead; {len(plan.starts)} runs would start")
    notes.append("assumed: every run succeeds, makes all that it should at its end, and the data differ each time")
    times = "a run takes the median of the last runs of its workflow that succeeded"
    if plan.guessed:
        times += f"; never succeeded yet, so {duration_text(ASSUMED_MS)}: {', '.join(plan.guessed)}"
    notes.append(f"assumed: {times}")
    notes.append("not known: what is produced outside, asked for by hand or changed in a definition meanwhile")
    return notes


def plan_json(plan: Plan, notes: list[str], *, is_service_running: bool) -> JsonObject:
    """`{beginsAt, endsAt, isComplete, isServiceRunning, events: [{event, assetId, partitionKey, version}], runs: [...],
    active: [{runId, workflowSlug, partitionKey, endsAt}], waiting: [{workflowSlug, partitionKey}], lostRuns, notes}`.

    Each run is `{number, at, afterMs, workflowSlug, partitionKey, reason, priority, durationMs, durationSamples,
    becauseOf: [{kind, assetId, partitionKey, version, rule, by, run}], makes: [{assetId, partitionKey, version}]}`.
    `by` is `event` (given to the plan), `run` (the planned run of that number) or `catalog` (there before; of an expiry
    or of absence, time alone). `makes` is empty of a run that has not ended by the end of the plan.
    """
    return {
        "beginsAt": iso_or_none(plan.begin_ms),
        "endsAt": iso_or_none(plan.end_ms),
        "isComplete": not plan.is_cut,
        "isServiceRunning": is_service_running,
        "events": [
            {
                "event": f"asset.{event.kind}",
                "assetId": event.asset_id,
                "partitionKey": event.partition_key,
                "version": event.version,
            }
            for event in plan.given
        ],
        "runs": [_run_json(start, plan.begin_ms) for start in plan.starts],
        "active": [
            {
                "runId": run.run_id,
                "workflowSlug": run.workflow_slug,
                "partitionKey": run.partition_key,
                "endsAt": iso_or_none(run.ends_at_ms),
            }
            for run in plan.active
        ],
        "waiting": [{"workflowSlug": slug, "partitionKey": key} for slug, key in plan.waiting],
        "lostRuns": plan.lost,
        "notes": list(notes),
    }


def _run_json(start: PlannedStart, begin_ms: int) -> JsonObject:
    run = start.run
    return {
        "number": run.number,
        "at": iso_or_none(run.at_ms),
        "afterMs": run.at_ms - begin_ms,
        "workflowSlug": run.workflow_slug,
        "partitionKey": run.partition_key,
        "reason": _reason(start),
        "priority": start.priority,
        "durationMs": run.run_time.ms,
        "durationSamples": run.run_time.samples,
        "becauseOf": [_cause_json(cause) for cause in start.causes],
        "makes": [
            {"assetId": made.asset_id, "partitionKey": made.partition_key, "version": made.version} for made in run.made
        ],
    }


def _cause_json(cause: SourcedCause) -> JsonObject:
    by: Json = "event" if cause.is_given else "run" if cause.by_run is not None else "catalog"
    return {
        "kind": cause.kind,
        "assetId": cause.asset_id,
        "partitionKey": cause.partition_key,
        "version": cause.version,
        "rule": cause.rule,
        "by": by,
        "run": cause.by_run,
    }


def _reason(start: PlannedStart) -> str:
    """The reason of an automatic run; the kind of trigger of any other."""
    trigger = start.run.trigger
    return str(trigger.get("reason") if trigger.get("type") == "auto-materialize" else trigger.get("type"))


def _causes(causes: tuple[SourcedCause, ...]) -> str:
    told = [_cause(cause) for cause in causes[:_CAUSES_SHOWN]]
    if len(causes) > _CAUSES_SHOWN:
        told.append(f"{len(causes) - _CAUSES_SHOWN} more")
    return ", ".join(told)


def _cause(cause: SourcedCause) -> str:
    name = partition_name(cause.asset_id or "", cause.partition_key)
    match cause.kind:
        case "manual":
            return "asked for by hand before"
        case "missing":
            return f"{name} was never made"
        case "expiry":
            return f"{name}: {'this event' if cause.is_given else cause.rule}"
        case "upstream":
            by = " (this event)" if cause.is_given else f" (run {cause.by_run})" if cause.by_run is not None else ""
            return f"{name} v{cause.version}{by}"


def _after(ms: int) -> str:
    return f"+{duration_text(ms)}" if ms else "now"

"""The catalog's records as JSON, as commands print them: camelCase, times in ISO 8601 UTC."""

from __future__ import annotations

from actors.catalog.store import AuditEntry, HistoryEntry, Json, JsonObject, RunRecord, StepRecord
from actors.interfaces.dump import iso_or_none

__all__ = ["audit_json", "history_json", "run_json", "step_json", "trigger_text"]


def run_json(run: RunRecord) -> JsonObject:
    """`{runId, workflowSlug, status, trigger: {type, reason, assetId, ...}, parameters, partitionKey, createdAt,
    startedAt, endedAt, error}`."""
    return {
        "runId": run.run_id,
        "workflowSlug": run.workflow_slug,
        "status": run.status.value,
        "trigger": {"type": None, "reason": None, "assetId": None, **run.trigger},
        "parameters": run.parameters,
        "partitionKey": run.partition_key,
        "createdAt": iso_or_none(run.created_at_ms),
        "startedAt": iso_or_none(run.started_at_ms),
        "endedAt": iso_or_none(run.ended_at_ms),
        "error": run.error,
    }


def step_json(step: StepRecord) -> JsonObject:
    return {
        "stepId": step.step_id,
        "status": step.status.value,
        "attempt": step.attempt,
        "startedAt": iso_or_none(step.started_at_ms),
        "endedAt": iso_or_none(step.ended_at_ms),
        "error": step.error,
        "result": step.result,
        "stdoutTail": step.stdout_tail,
        "stderrTail": step.stderr_tail,
    }


def history_json(entry: HistoryEntry) -> JsonObject:
    made = entry.materialization
    return {
        "assetId": entry.asset_id,
        "partitionKey": entry.partition_key,
        "version": made.version,
        "changedVersion": made.changed_version,
        "dataVersion": made.data_version,
        "producedAt": iso_or_none(made.produced_at_ms),
        "workflowSlug": entry.workflow_slug,
        "runId": made.run_id,
        "stepId": entry.step_id,
        "inputs": dict(made.inputs),
        "payload": entry.payload,
    }


def audit_json(entry: AuditEntry) -> JsonObject:
    return {
        "at": iso_or_none(entry.at_ms),
        "runId": entry.run_id,
        "workflowSlug": entry.workflow_slug,
        "partitionKey": entry.partition_key,
        "trigger": entry.trigger,
    }


def trigger_text(trigger: JsonObject) -> str:
    """Why a run exists, in few words: `auto-materialize: expired (orders.daily)`."""
    kind, reason, asset_id = (_text(trigger.get(key)) for key in ("type", "reason", "assetId"))
    text = ": ".join(part for part in (kind, reason) if part)
    return f"{text} ({asset_id})" if asset_id else text


def _text(value: Json) -> str:
    return value if isinstance(value, str) else ""

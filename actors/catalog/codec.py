"""Between the catalog's records and the JSON that is kept of them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from actors.catalog.keys import UNIT, partition_field, partition_of
from actors.catalog.store import (
    AssetRecord,
    AuditEntry,
    HistoryEntry,
    Json,
    NewMaterialization,
    NewRun,
    Produced,
    RunRecord,
    RunStatus,
    StepRecord,
    StepStatus,
)
from actors.core.freshness import ExpiryReason, FreshnessPolicy
from actors.core.state import Dismissal, FailureRecord, Materialization

__all__ = [
    "dump",
    "dump_entry",
    "dump_given",
    "dump_step",
    "load_asset",
    "load_audit",
    "load_history",
    "load_produced",
    "load_run",
    "load_step",
    "load_steps",
    "run_fields",
]

# json.dumps makes a new one at each call.
_ENCODER = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"), allow_nan=False)
_POLICY_NAMES = {"ttl_ms": "ttlMs", "cadence_ms": "cadenceMs", "max_age_ms": "maxAgeMs", "cron": "cron"}


def dump(value: Json) -> str:
    """Compact JSON.

    Raises:
        ValueError: it holds a NaN or an infinity, which JSON has no word for.
    """
    return _ENCODER.encode(value)


def _dump_policy(policy: FreshnessPolicy | None) -> dict[str, Json] | None:
    if policy is None:
        return None
    rules: dict[str, Json] = {
        name: value for field, name in _POLICY_NAMES.items() if (value := getattr(policy, field)) is not None
    }
    return rules | {"timezone": policy.timezone}


def _load_policy(data: Mapping[str, Any] | None) -> FreshnessPolicy | None:
    if data is None:
        return None
    rules = {field: data[name] for field, name in _POLICY_NAMES.items() if name in data}
    return FreshnessPolicy(**rules, timezone=data["timezone"])


def _present(values: Mapping[str, Json]) -> dict[str, Json]:
    return {name: value for name, value in values.items() if value is not None}


def dump_given(new: NewMaterialization) -> str:
    """What the script does not compute of a kept materialization."""
    return dump(
        _present({"dataVersion": new.data_version, "runId": new.run_id, "freshness": _dump_policy(new.freshness)})
    )


def dump_entry(new: NewMaterialization) -> str:
    """What only the history keeps."""
    return dump(
        _present(
            {
                "partitionKey": new.partition_key,
                "producedAtMs": new.produced_at_ms,
                "workflowSlug": new.workflow_slug,
                "stepId": new.step_id,
                "payload": new.payload,
                "schema": new.schema,
            }
        )
    )


def _materialization(
    made: Mapping[str, Any], *, produced_at_ms: int | None = None, expired: Mapping[str, Any] | None = None
) -> Materialization:
    given = made["given"]
    return Materialization(
        version=made["version"],
        changed_version=made["changedVersion"],
        produced_at_ms=made["producedAtMs"] if produced_at_ms is None else produced_at_ms,
        data_version=given.get("dataVersion"),
        run_id=given.get("runId"),
        inputs=made["inputs"],
        freshness=_load_policy(given.get("freshness")),
        expired_version=expired["version"] if expired else 0,
        expired_reason=ExpiryReason(expired["reason"]) if expired else None,
    )


def load_asset(fields: Mapping[str, str], counter: str | None) -> AssetRecord:
    """An asset's hash, whose fields are `kind:partition`."""
    kinds: dict[str, dict[str | None, Any]] = {"made": {}, "failed": {}, "dismissed": {}, "expired": {}}
    for field, text in fields.items():
        kind, _, partition = field.partition(":")
        kinds[kind][partition_of(partition)] = json.loads(text)
    expired = kinds["expired"]
    return AssetRecord(
        latest={p: _materialization(made, expired=expired.get(p)) for p, made in kinds["made"].items()},
        failures={
            p: FailureRecord(found["failures"], found["lastFailureAtMs"], found["lastFailedRunId"])
            for p, found in kinds["failed"].items()
        },
        dismissals={
            p: Dismissal(found["version"], found["inputs"], found.get("passedOver", False))
            for p, found in kinds["dismissed"].items()
        },
        counter=int(counter or 0),
    )


def load_history(asset_id: str, text: str) -> HistoryEntry:
    data = json.loads(text)
    entry = data["entry"]
    return HistoryEntry(
        asset_id=asset_id,
        partition_key=entry.get("partitionKey"),
        materialization=_materialization(data["made"], produced_at_ms=entry["producedAtMs"]),
        workflow_slug=entry.get("workflowSlug"),
        step_id=entry.get("stepId"),
        payload=entry.get("payload"),
        schema=entry.get("schema"),
    )


def run_fields(run: NewRun, trigger_text: str) -> list[str]:
    """Names and values, in turn, of the fields of a new run's hash that do not depend on its status."""
    fields = {
        "workflow": run.workflow_slug,
        "partition": partition_field(run.partition_key),
        "parameters": dump(run.parameters),
        "trigger": trigger_text,
        "createdAtMs": str(run.created_at_ms),
    }
    return [text for pair in fields.items() for text in pair]


def _optional_int(text: str | None) -> int | None:
    return None if text is None else int(text)


def load_run(
    run_id: str,
    fields: Mapping[str, str],
    *,
    steps: tuple[StepRecord, ...] = (),
    produced: tuple[Produced, ...] = (),
) -> RunRecord:
    return RunRecord(
        run_id=run_id,
        workflow_slug=fields["workflow"],
        partition_key=partition_of(fields["partition"]),
        status=RunStatus(fields["status"]),
        parameters=json.loads(fields["parameters"]),
        trigger=json.loads(fields["trigger"]),
        created_at_ms=int(fields["createdAtMs"]),
        started_at_ms=_optional_int(fields.get("startedAtMs")),
        ended_at_ms=_optional_int(fields.get("endedAtMs")),
        error=fields.get("error"),
        inputs=json.loads(fields.get("inputs", "{}")),
        steps=steps,
        produced=produced,
    )


def dump_step(step: StepRecord) -> str:
    return dump(
        _present(
            {
                "status": step.status.value,
                "attempt": step.attempt,
                "startedAtMs": step.started_at_ms,
                "endedAtMs": step.ended_at_ms,
                "error": step.error,
                "result": step.result,
                "stdoutTail": step.stdout_tail or None,
                "stderrTail": step.stderr_tail or None,
            }
        )
    )


def load_steps(fields: Mapping[str, str]) -> tuple[StepRecord, ...]:
    """In the order in which they were first seen; fields are `step:ID` and `rank:ID`."""
    ranked = sorted((int(rank), name[5:]) for name, rank in fields.items() if name.startswith("rank:"))
    return tuple(load_step(step_id, fields[f"step:{step_id}"]) for _, step_id in ranked)


def load_step(step_id: str, text: str) -> StepRecord:
    data = json.loads(text)
    return StepRecord(
        step_id=step_id,
        status=StepStatus(data["status"]),
        attempt=data["attempt"],
        started_at_ms=data.get("startedAtMs"),
        ended_at_ms=data.get("endedAtMs"),
        error=data.get("error"),
        result=data.get("result"),
        stdout_tail=data.get("stdoutTail", ""),
        stderr_tail=data.get("stderrTail", ""),
    )


def load_produced(fields: Mapping[str, str]) -> tuple[Produced, ...]:
    """By asset and partition; fields are step, asset and partition, values `version:changed`."""
    found = []
    for field, mark in fields.items():
        _, asset_id, partition = field.split(UNIT)
        found.append(Produced(asset_id, partition_of(partition), int(mark.partition(":")[0])))
    return tuple(sorted(found, key=lambda p: (p.asset_id, p.partition_key or "", p.version)))


def load_audit(fields: Mapping[str, str]) -> AuditEntry:
    return AuditEntry(
        at_ms=int(fields["atMs"]),
        run_id=fields["runId"],
        workflow_slug=fields["workflow"],
        partition_key=partition_of(fields["partition"]),
        trigger=json.loads(fields["trigger"]),
    )

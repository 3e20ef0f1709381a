"""How one asset stands, as JSON: what `debug --json` prints, and what the service answers to it."""

from __future__ import annotations

from collections.abc import Mapping

from actors.catalog.store import Json, JsonObject
from actors.catalog.timestamps import format_iso
from actors.core.decide import Decision, Materialize, Skip, Wait
from actors.core.pauses import Pause
from actors.messages import AssetDump, DecisionEntry, PartitionDump

__all__ = ["asset_json", "decision_json", "decision_kind", "iso_or_none", "pause_json"]


def asset_json(dump: AssetDump) -> JsonObject:
    """`{assetId, workflowSlug, optedIn, isLoaded, mailboxDepth, pause, partitions: [...]}`; times are ISO 8601 in UTC.

    `pause` is what holds the asset back, in the form of `pause_json`, or null.

    Each partition is `{partitionKey, state, reason, version, dataVersion, producedAt, expiresAt, runId, inputs:
    {upstream: {read, latest, stale}}, inFlightRunId, isWanted, pendingCauses, pendingUpstreams, failures, budgetLeft,
    nextEligibleAt, decisions: [{at, decision, reason, cause, until | nextLook}]}`; decisions are newest first.
    """
    upstreams = dump.spec.upstreams if dump.spec is not None else ()
    return {
        "assetId": dump.asset_id,
        "workflowSlug": dump.spec.workflow_slug if dump.spec is not None else None,
        "optedIn": dump.spec is not None and dump.spec.auto is not None,
        "isLoaded": dump.is_loaded,
        "mailboxDepth": dump.mailbox_depth,
        "pause": pause_json(dump.pause) if dump.pause is not None else None,
        "partitions": [_partition(partition, upstreams) for partition in dump.partitions],
    }


def pause_json(pause: Pause) -> JsonObject:
    """`{scope, since, until, reason}`; `until` is null when it ends by hand alone."""
    return {
        "scope": pause.scope,
        "since": iso_or_none(pause.since_ms),
        "until": iso_or_none(pause.until_ms),
        "reason": pause.reason,
    }


def iso_or_none(at_ms: int | None) -> str | None:
    """ISO 8601 in UTC; an instant that lies outside the years 1900 to 2999 is none."""
    if at_ms is None:
        return None
    try:
        return format_iso(at_ms)
    except ValueError:
        return None


def _partition(partition: PartitionDump, upstreams: tuple[str, ...]) -> JsonObject:
    made = partition.made
    read = made.inputs if made is not None else {}
    return {
        "partitionKey": partition.partition_key,
        "state": partition.state,
        "reason": partition.reason,
        "version": made.version if made is not None else None,
        "dataVersion": made.data_version if made is not None else None,
        "producedAt": iso_or_none(made.produced_at_ms if made is not None else None),
        "expiresAt": iso_or_none(partition.expires.at_ms if partition.expires is not None else None),
        "expiryRule": partition.expires.reason.value if partition.expires is not None else None,
        "runId": made.run_id if made is not None else None,
        "inputs": _inputs(upstreams, read, partition.latest),
        "inFlightRunId": partition.in_flight_run_id,
        "isWanted": partition.is_wanted,
        "pendingCauses": [
            {"assetId": c.asset_id, "partitionKey": c.partition_key, "version": c.version} for c in partition.causes
        ],
        "pendingUpstreams": [
            {"assetId": asset_id, "partitionKey": partition_key} for asset_id, partition_key in partition.pending
        ],
        "missingUpstreams": [
            {"assetId": asset_id, "partitionKey": partition_key} for asset_id, partition_key in partition.missing
        ],
        "missingCount": partition.missing_count,
        "failures": partition.failures,
        "budgetLeft": partition.budget_left,
        "nextEligibleAt": iso_or_none(partition.next_eligible_ms),
        "decisions": [
            decision_json(entry) for entry in sorted(partition.decisions, key=lambda entry: entry.at_ms, reverse=True)
        ],
    }


def _inputs(upstreams: tuple[str, ...], read: Mapping[str, int], latest: Mapping[str, int]) -> JsonObject:
    """`latest` is unknown (null) of an upstream whose updates do not count for this asset."""
    inputs: dict[str, Json] = {}
    for upstream in sorted({*upstreams, *read, *latest}):
        known = latest.get(upstream)
        inputs[upstream] = {
            "read": read.get(upstream),
            "latest": known,
            "stale": known is not None and known > read.get(upstream, 0),
        }
    return inputs


def decision_json(entry: DecisionEntry) -> JsonObject:
    told: dict[str, Json] = {
        "at": iso_or_none(entry.at_ms),
        "decision": decision_kind(entry.decision),
        "reason": entry.decision.reason.value,
        "cause": entry.cause,
    }
    if isinstance(entry.decision, Wait):
        told["until"] = iso_or_none(entry.decision.until_ms)
    else:
        told["nextLook"] = iso_or_none(entry.next_look_ms)
    return told


def decision_kind(decision: Decision) -> str:
    """The decision's kind in one word: `materialize`, `wait` or `skip`."""
    match decision:
        case Materialize():
            return "materialize"
        case Wait():
            return "wait"
        case Skip():
            return "skip"

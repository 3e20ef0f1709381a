"""Why an asset partition is, or is not, being made: in plain words, from how service or catalog say that it stands."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from actors.catalog.store import AssetRecord, HistoryEntry, Json, JsonObject
from actors.catalog.timestamps import parse_iso_ms
from actors.core.decide import Reason
from actors.core.graph import AssetSpec
from actors.core.quiet_hours import quiet_until_all
from actors.core.state import partition_name
from actors.interfaces.dump import iso_or_none
from actors.interfaces.explain_queue import Queue
from actors.interfaces.explain_words import Wait, to_make_it_run, verdict

__all__ = ["Facts", "explain_partition"]

_MADE_SHOWN = 5


@dataclass(frozen=True, slots=True)
class Facts:
    """What is known of an asset. `queue` is None when no service runs; `history` is newest first; `pause` is what holds
    it back, in the form of `pause_json`; `errors` are those of the runs that failed last, by run id."""

    asset_id: str
    spec: AssetSpec | None
    record: AssetRecord
    upstreams: Mapping[str, AssetRecord]
    history: Sequence[HistoryEntry]
    queue: Queue | None
    pause: JsonObject | None
    errors: Mapping[str, str]
    now_ms: int


def explain_partition(partition: JsonObject, facts: Facts) -> JsonObject:
    """One partition in the form of `asset_json`, explained.

    `{partitionKey, state, reason, verdict, waitsFor: {kind, until, text} or null, nextLook, madeFrom: {version,
    producedAt, expiresAt, runId, upstreams: [{assetId, read, latest, newest, isNewer, counts}]} or null,
    toMakeItRun: [text], timeline: [{at, what}], decisions: [{at, decision, reason, cause, until | nextLook}]}`.

    Times are ISO 8601 in UTC; the timeline goes from the past to what is to come. `kind` is a reason, `slot` for one of
    the limits, `submission` or `service`. Of an upstream, `counts` says whether its updates re-make the asset; `latest`
    is the version that counts for this partition (null: none does), and `newest` the newest of all its partitions.
    """
    key = _text(partition.get("partitionKey"))
    reason = str(partition.get("reason"))
    waits = _wait(partition, facts, reason, key)
    decisions = _objects(partition.get("decisions"))
    return {
        "partitionKey": key,
        "state": partition.get("state"),
        "reason": reason,
        "verdict": verdict(partition, waits),
        "waitsFor": {"kind": waits.kind, "until": iso_or_none(waits.until_ms), "text": waits.text} if waits else None,
        "nextLook": _next_look(partition, waits, facts.now_ms),
        "madeFrom": _made_from(partition, facts),
        "toMakeItRun": to_make_it_run(facts.asset_id, partition, facts.spec, waits),
        "timeline": [{"at": iso_or_none(at), "what": what} for at, what in _timeline(partition, facts, waits, key)],
        "decisions": list(decisions),
    }


def _wait(partition: JsonObject, facts: Facts, reason: str, key: str | None) -> Wait | None:
    """What stands between the partition and its next run, if it needs one."""
    name = partition_name(facts.asset_id, key)
    until = _until(partition, facts, reason)
    failures = partition.get("failures")
    match reason:
        case Reason.IN_FLIGHT:
            return Wait(reason, None, f"run {partition.get('inFlightRunId')} to end; it is looked at again then")
        case Reason.BACKOFF:
            times = "a failure" if failures == 1 else f"{failures} failures in a row"
            return Wait(reason, until, f"the backoff after {times}; {partition.get('budgetLeft')} more suspend it")
        case Reason.PAUSED:
            pause = facts.pause or {}
            why = f", because: {pause.get('reason')}" if pause.get("reason") else ""
            end = "the end of the pause" if pause.get("until") else "somebody to end the pause"
            return Wait(reason, _ms(pause.get("until")), f"{end} of {pause.get('scope')}{why}", str(pause.get("scope")))
        case Reason.SUSPENDED:
            end = "the end of its cool-off" if until is not None else "somebody to resume it"
            return Wait(reason, until, f"{end}; its failure budget is used up ({failures} in a row)")
        case Reason.QUIET_HOURS:
            return Wait(reason, until, "the end of its quiet hours")
        case Reason.UPSTREAM_PENDING:
            pending = ", ".join(_named(mark) for mark in _objects(partition.get("pendingUpstreams")))
            return Wait(reason, until, f"upstreams that are about to be re-made by the same change: {pending}")
        case Reason.UPSTREAM_MISSING:
            missing = [_named(mark) for mark in _objects(partition.get("missingUpstreams"))]
            more = int(str(partition.get("missingCount") or 0)) - len(missing)
            text = ", ".join([*missing, *([f"{more} more"] if more > 0 else [])])
            return Wait(reason, None, f"upstream partitions that go into it and were never made: {text}")
        case Reason.DEBOUNCE:
            return Wait(reason, until, "its debounce: more changes may come right behind the last one")
        case Reason.UPSTREAM_UPDATED | Reason.EXPIRED | Reason.MISSING:
            if facts.queue is None or facts.spec is None:
                return Wait("service", None, "a service: none is running, and one would start the run at once")
            return facts.queue.wait_of(facts.spec.workflow_slug, key, name)
        case _:
            return None


def _until(partition: JsonObject, facts: Facts, reason: str) -> int | None:
    decisions = _objects(partition.get("decisions"))
    if decisions and decisions[0].get("reason") == reason and (until := _ms(decisions[0].get("until"))) is not None:
        return until
    if reason in (Reason.BACKOFF, Reason.SUSPENDED):
        return _ms(partition.get("nextEligibleAt"))
    quiet = facts.spec.auto.quiet_hours if facts.spec is not None and facts.spec.auto is not None else ()
    return quiet_until_all(quiet, facts.now_ms) if reason == Reason.QUIET_HOURS else None


def _next_look(partition: JsonObject, waits: Wait | None, now_ms: int) -> str | None:
    """The first time at which the answer can change without news."""
    times = [waits.until_ms if waits is not None else None, _ms(partition.get("expiresAt"))]
    return iso_or_none(min((at for at in times if at is not None and at > now_ms), default=None))


def _made_from(partition: JsonObject, facts: Facts) -> JsonObject | None:
    version = partition.get("version")
    inputs = partition.get("inputs")
    upstreams: list[Json] = [
        {
            "assetId": asset_id,
            "read": v.get("read"),
            "latest": v.get("latest"),
            "newest": facts.upstreams.get(asset_id, AssetRecord()).counter,
            "isNewer": v.get("stale"),
            "counts": facts.spec is not None and asset_id in facts.spec.considered,
        }
        for asset_id, v in (inputs.items() if isinstance(inputs, Mapping) else ())
        if isinstance(v, Mapping)
    ]
    if version is None and not upstreams:
        return None
    return {
        "version": version,
        "producedAt": partition.get("producedAt"),
        "expiresAt": partition.get("expiresAt"),
        "runId": partition.get("runId"),
        "upstreams": upstreams,
    }


def _timeline(partition: JsonObject, facts: Facts, waits: Wait | None, key: str | None) -> list[tuple[int, str]]:
    """Past, present and what is to come, in order of time; news before what it led to."""
    lines = [
        *_past(partition, facts, key),
        (facts.now_ms, f"now: {partition.get('state')} ({partition.get('reason')})"),
    ]
    if (expires := _ms(partition.get("expiresAt"))) is not None:
        word = "expires" if expires > facts.now_ms else "expired"
        lines.append((expires, f"{word} by {partition.get('expiryRule')}"))
    if waits is not None and waits.until_ms is not None:
        lines.append((waits.until_ms, f"until then it waits for {waits.text}"))
    return sorted(lines, key=lambda line: line[0])


def _past(partition: JsonObject, facts: Facts, key: str | None) -> Iterator[tuple[int, str]]:
    mine = [entry for entry in facts.history if entry.partition_key == key]
    for entry in mine[:_MADE_SHOWN]:
        made = entry.materialization
        read = ", ".join(f"{upstream} v{version}" for upstream, version in made.inputs.items())
        by = f" by run {made.run_id}" if made.run_id is not None else " outside"
        yield made.produced_at_ms, f"v{made.version} was made{by}{f' from {read}' if read else ''}"
    for cause in _objects(partition.get("pendingCauses")):
        record = facts.upstreams.get(str(cause.get("assetId")), AssetRecord())
        latest = record.latest.get(_text(cause.get("partitionKey")))
        if latest is not None:
            yield (
                latest.produced_at_ms,
                f"{_named(cause)} v{cause.get('version')} was produced; it was not made from that",
            )
    failure = facts.record.failures.get(key)
    if failure is not None:
        times = "once" if failure.failures == 1 else f"{failure.failures} times in a row"
        error = facts.errors.get(failure.last_failed_run_id, "").partition("\n")[0]
        told = f"run {failure.last_failed_run_id} failed ({times} now)"
        yield failure.last_failure_at_ms, f"{told}: {error}" if error else told
    for decided in _objects(partition.get("decisions")):
        at = _ms(decided.get("at"))
        if at is not None:
            until = decided.get("until")
            then = f" until {until}" if until else ""
            yield (
                at,
                f"decided to {decided.get('decision')}: {decided.get('reason')}{then}, after {decided.get('cause')}",
            )


def _named(mark: JsonObject) -> str:
    return partition_name(str(mark.get("assetId")), _text(mark.get("partitionKey")))


def _ms(value: Json) -> int | None:
    return parse_iso_ms(value) if isinstance(value, str) else None


def _text(value: Json) -> str | None:
    return value if isinstance(value, str) else None


def _objects(value: Json) -> Sequence[JsonObject]:
    return [one for one in value if isinstance(one, Mapping)] if isinstance(value, list) else []

"""The plain words of an explanation: why it stands as it does, and what would make it run."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from actors.catalog.store import Json, JsonObject
from actors.core.decide import Reason
from actors.core.graph import AssetSpec, When
from actors.interfaces.dump import iso_or_none
from actors.interfaces.program import command

__all__ = ["Wait", "to_make_it_run", "verdict"]


@dataclass(frozen=True, slots=True)
class Wait:
    """What is waited for; `until_ms` None means until news comes. `kind` is a reason of `core.decide`, `slot`,
    `submission` or `service`; `scope` is that of a pause."""

    kind: str
    until_ms: int | None
    text: str
    scope: str | None = None


_NEEDED = {
    Reason.UPSTREAM_UPDATED: "it is stale: an upstream has a newer version than the one it was made from",
    Reason.EXPIRED: "what was made has expired",
    Reason.MISSING: "it has never been made, and is to be made when it is missing (onMissing)",
}

_CONTENT = {
    Reason.FRESH: "nothing is to be done: it is fresh",
    Reason.NEVER_MADE: "it has never been made, and that alone starts nothing (onMissing is not set)",
    Reason.NOT_OPTED_IN: "its declaration has no autoMaterialize that is switched on: nothing starts by itself",
    Reason.NO_PRODUCER: "no workflow here makes it: it comes from outside",
    Reason.OUT_OF_LOOKBACK: "its time window is over, and older than lookbackWindows",
    Reason.PASSED_OVER: "after a long pause or outage only the latest window was made (catchUp), so it is left alone",
    Reason.RUN_CANCELED: "the run for what it was last made stale by was canceled by hand, so it is left alone",
}


def verdict(partition: JsonObject, waits: Wait | None) -> str:
    """One sentence: why it is, or is not, being made."""
    reason = str(partition.get("reason"))
    if reason == Reason.IN_FLIGHT:
        return f"it is being made: run {partition.get('inFlightRunId')} is active"
    if reason in _CONTENT:
        told = _CONTENT[Reason(reason)]
        if reason == Reason.NOT_OPTED_IN and partition.get("state") == "stale":
            told = f"it is stale, but {told}"
        if partition.get("inFlightRunId"):
            told += f"; run {partition.get('inFlightRunId')} makes it all the same"
        return told
    needs = _need(partition)
    return f"{needs}; it waits for {waits.text}" if waits is not None else needs


def _need(partition: JsonObject) -> str:
    """Why a run is needed at all, whatever it waits for: by the order in which `core.decide` asks."""
    is_made = partition.get("version") is not None
    if partition.get("pendingCauses") or partition.get("reason") == Reason.UPSTREAM_UPDATED:
        return _NEEDED[Reason.UPSTREAM_UPDATED] if is_made else "it has never been made, and an upstream has changed"
    return _NEEDED[Reason.EXPIRED if is_made else Reason.MISSING]


def to_make_it_run(asset_id: str, partition: JsonObject, spec: AssetSpec | None, waits: Wait | None) -> list[str]:
    """What would start a run: what has to happen, and what a person can do."""
    key = partition.get("partitionKey")
    option = ("--partition", key) if isinstance(key, str) else ()
    ways: list[str] = []
    if waits is not None and waits.until_ms is not None:
        ways.append(f"nothing but time: it goes on by itself at {iso_or_none(waits.until_ms)}")
    if waits is not None and waits.kind in (Reason.SUSPENDED, Reason.BACKOFF):
        ways.append(f"resume it, to go on at once: {command('resume', asset_id, *option)}")
    if waits is not None and waits.scope is not None:
        kind, _, name = waits.scope.partition(":")
        ways.append(f"end the pause: {command('unpause', f'--{kind}', *([name] if name else []))}")
    if waits is not None and waits.kind == "service":
        ways.append(f"start a service: {command()}")
    if partition.get("reason") == Reason.RUN_CANCELED:
        ways.append(f"forget that it was canceled: {command('resume', asset_id, *option)}")
    if partition.get("reason") == Reason.PASSED_OVER:
        ways.append(f"make it after all: {command('resume', asset_id, *option)}")
    if spec is None:
        told = command("emit", "asset.produced", "--asset", asset_id, *option)
        ways.append(f"tell of it when it is produced: {told}")
        return ways
    if waits is None:
        ways += _events(partition, spec)
    asked = command("trigger", spec.workflow_slug, *option)
    ways.append(f"ask for it by hand, through all waits but limits: {asked}")
    return ways


def _events(partition: JsonObject, spec: AssetSpec) -> list[str]:
    """The news that would make it stale."""
    ways: list[str] = []
    considered = spec.considered
    if considered:
        count = "all of" if spec.auto is not None and spec.auto.when is When.ALL and len(considered) > 1 else "any of"
        names = considered[0] if len(considered) == 1 else f"{count} {', '.join(considered)}"
        ways.append(f"a new version of {names} with other data")
    elif spec.auto is None:
        ways.append("an autoMaterialize block in its declaration; then expiry, and updates if they count, start runs")
    elif spec.upstreams:
        ways.append(f"onUpstreamUpdate in its declaration; then a new version of {', '.join(spec.upstreams)} would")
    if spec.auto is not None and isinstance(expires := partition.get("expiresAt"), str):
        ways.append(f"its expiry by {partition.get('expiryRule')} at {expires}")
    elif spec.auto is not None and _is_made(partition.get("version")):
        ways.append("an expiry: it has no freshness policy that ends, so only by `emit asset.expired`")
    return ways


def _is_made(version: Json) -> bool:
    return version is not None and not isinstance(version, Mapping)

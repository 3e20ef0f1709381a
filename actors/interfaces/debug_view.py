"""One asset for a person: each partition, what it was made from, what it waits for, its last decisions."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from rich.text import Text

from actors.catalog.store import Json, JsonObject
from actors.catalog.timestamps import parse_iso_ms
from actors.core.state import partition_name
from actors.interfaces.render import state_text, when_text

__all__ = ["asset_lines"]

_MOST_DECISIONS = 10


def asset_lines(asset: JsonObject, now_ms: int) -> list[str | Text]:
    """Lines for an asset in the form of `asset_json`."""
    asset_id = str(asset["assetId"])
    slug = asset.get("workflowSlug")
    lines: list[str | Text] = [
        f"{asset_id}  made by {slug}" if slug else f"{asset_id}  made outside",
        f"  kept fresh by itself: {'yes' if asset.get('optedIn') else 'no'}",
    ]
    if isinstance(pause := asset.get("pause"), Mapping):
        lines.append(f"  {_pause_text(pause, now_ms)}")
    if depth := asset.get("mailboxDepth"):
        lines.append(f"  messages waiting: {depth}")
    partitions = _objects(asset.get("partitions"))
    if not partitions:
        lines.append("  nothing has happened to it yet")
    for partition in partitions:
        lines.append("")
        lines.extend(_partition_lines(asset_id, partition, now_ms))
    return lines


def _partition_lines(asset_id: str, partition: JsonObject, now_ms: int) -> Iterator[str | Text]:
    key = partition.get("partitionKey")
    yield Text.assemble(
        f"{partition_name(asset_id, key if isinstance(key, str) else None)}  ",
        state_text(str(partition.get("state"))),
        f"  ({partition.get('reason')})",
    )
    version, data_version = partition.get("version"), partition.get("dataVersion")
    if version is not None:
        data = f", data version {data_version}" if data_version is not None else ""
        yield f"  version {version}{data}"
    for word, name in (
        ("produced", "producedAt"),
        ("expires", "expiresAt"),
        ("next try from", "nextEligibleAt"),
    ):
        if (told := _when(partition.get(name), now_ms)) is not None:
            rule = f", by {partition.get('expiryRule')}" if name == "expiresAt" else ""
            yield f"  {word} {told}{rule}"
    yield from _input_lines(partition.get("inputs"))
    if run_id := partition.get("inFlightRunId"):
        yield f"  in flight: run {run_id}"
    if causes := _objects(partition.get("pendingCauses")):
        yield f"  changed since: {', '.join(_cause(c) for c in causes)}"
    if pending := _objects(partition.get("pendingUpstreams")):
        yield f"  waits for: {', '.join(_cause(c) for c in pending)}"
    if failures := partition.get("failures"):
        yield f"  {failures} failed in a row, {partition.get('budgetLeft')} more until it is suspended"
    decisions = _objects(partition.get("decisions"))[:_MOST_DECISIONS]
    if decisions:
        yield "  decisions, newest first:"
    for entry in decisions:
        look = entry.get("until") or entry.get("nextLook")
        then = f", next look {look}" if look else ""
        yield f"    {entry.get('at')}  {entry.get('decision')}: {entry.get('reason')}, after {entry.get('cause')}{then}"


def _input_lines(inputs: Json) -> Iterator[str]:
    if not isinstance(inputs, Mapping):
        return
    for upstream, versions in inputs.items():
        if not isinstance(versions, Mapping):
            continue
        read, latest = versions.get("read"), versions.get("latest")
        told = f"read v{read}" if read is not None else "never read"
        if latest is not None:
            told += f", last changed in v{latest}"
        yield f"  from {upstream}: {told}{', stale' if versions.get('stale') else ''}"


def _pause_text(pause: JsonObject, now_ms: int) -> str:
    end = _when(pause.get("until"), now_ms)
    reason = pause.get("reason")
    text = f"paused by {pause.get('scope')} since {_when(pause.get('since'), now_ms)}"
    return text + (f", ends {end}" if end is not None else ", until it is unpaused") + (f": {reason}" if reason else "")


def _cause(cause: JsonObject) -> str:
    key, version = cause.get("partitionKey"), cause.get("version")
    name = partition_name(str(cause.get("assetId")), key if isinstance(key, str) else None)
    return f"{name} v{version}" if version is not None else name


def _when(at: Json, now_ms: int) -> str | None:
    return when_text(parse_iso_ms(at), now_ms) if isinstance(at, str) else None


def _objects(value: Json) -> Sequence[JsonObject]:
    return [one for one in value if isinstance(one, Mapping)] if isinstance(value, list) else []

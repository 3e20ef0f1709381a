"""An explanation of an asset for a person: what it is about first, then a timeline for each partition."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from rich.text import Text

from actors.catalog.store import Json, JsonObject
from actors.catalog.timestamps import parse_iso_ms
from actors.core.state import partition_name
from actors.interfaces.render import state_text, when_text
from actors.interfaces.timeline import timeline_lines

__all__ = ["MOST_PARTITIONS", "explanation_lines"]

MOST_PARTITIONS = 20
_CALM = ("fresh", "missing")


def explanation_lines(explanation: JsonObject, now_ms: int) -> list[str | Text]:
    """Lines for the form that `explain --json` prints; of many partitions those first that are not calm."""
    asset_id, slug = str(explanation["assetId"]), explanation.get("workflowSlug")
    source = "the running service" if explanation.get("live") else "the catalog alone"
    lines: list[str | Text] = [f"{asset_id}  {f'made by {slug}' if slug else 'made outside'}  (told by {source})"]
    partitions = _objects(explanation.get("partitions"))
    if not partitions:
        lines.append("  nothing has happened to it yet")
    ordered = sorted(partitions, key=lambda p: (str(p.get("state")) in _CALM, _newest_first(p)))
    for partition in ordered[:MOST_PARTITIONS]:
        lines.append("")
        lines.extend(_partition(asset_id, partition, now_ms))
    if (left_out := len(ordered) - MOST_PARTITIONS) > 0:
        lines += ["", f"{left_out} more partitions are left out; name one with --partition, or take --json"]
    return lines


def _partition(asset_id: str, partition: JsonObject, now_ms: int) -> Iterator[str | Text]:
    key = partition.get("partitionKey")
    name = partition_name(asset_id, key if isinstance(key, str) else None)
    yield Text.assemble(f"{name}  ", state_text(str(partition.get("state"))), f"  ({partition.get('reason')})")
    yield f"  {partition.get('verdict')}"
    waits = partition.get("waitsFor")
    if isinstance(waits, Mapping) and isinstance(until := waits.get("until"), str):
        yield f"  waits until {when_text(parse_iso_ms(until), now_ms)}"
    if isinstance(look := partition.get("nextLook"), str):
        yield f"  next look {when_text(parse_iso_ms(look), now_ms)}, or when news comes"
    else:
        yield "  next look when news comes"
    made = partition.get("madeFrom")
    for upstream in _objects(made.get("upstreams") if isinstance(made, Mapping) else None):
        yield f"  from {_upstream(upstream)}"
    yield ""
    yield from timeline_lines(list(_moments(partition)), now_ms)
    yield ""
    yield "  what would make it run:"
    ways = partition.get("toMakeItRun")
    for way in ways if isinstance(ways, list) else []:
        yield f"    {way}"


def _moments(partition: JsonObject) -> Iterator[tuple[int, str]]:
    for entry in _objects(partition.get("timeline")):
        if isinstance(at := entry.get("at"), str):
            yield parse_iso_ms(at), str(entry.get("what"))


def _upstream(upstream: JsonObject) -> str:
    read, latest = upstream.get("read"), upstream.get("latest")
    told = f"{upstream.get('assetId')}: " + (f"made from v{read}" if read is not None else "not made from it yet")
    if not upstream.get("counts"):
        return f"{told}; its newest is v{upstream.get('newest')}, but its updates do not count"
    if latest is None:
        return f"{told}; nothing of it concerns this partition yet"
    return f"{told}, the latest that counts is v{latest}{', which is newer' if upstream.get('isNewer') else ''}"


def _newest_first(partition: JsonObject) -> float:
    made = partition.get("madeFrom")
    at = made.get("producedAt") if isinstance(made, Mapping) else None
    return -parse_iso_ms(at) if isinstance(at, str) else 0.0


def _objects(value: Json) -> Sequence[JsonObject]:
    return [one for one in value if isinstance(one, Mapping)] if isinstance(value, list) else []

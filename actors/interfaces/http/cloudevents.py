"""CloudEvents 1.0 over HTTP, in its three modes: structured, batched and binary; and what of ours they carry.

The type says which event it is (`asset.produced`, `asset.expired`), the data are those of our own events. An event is
known by its source and id, so one that is delivered twice is recorded once.
"""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final
from urllib.parse import unquote

from pydantic import JsonValue

from actors.catalog.documents import read_document
from actors.catalog.events import AssetExpired, AssetProduced, EventInvalid, parse_entry
from actors.catalog.problems import Problem
from actors.catalog.store import Json, JsonObject, NewMaterialization, Store
from actors.core.graph import Graph
from actors.core.partitions import PartitionKeyError
from actors.interfaces.http.problems import Kind, Refused
from actors.interfaces.http.routes_assets import check_partition

__all__ = ["BATCHED", "MAX_EVENTS", "STRUCTURED", "Taken", "read_events", "record_event"]

STRUCTURED: Final = "application/cloudevents+json"
BATCHED: Final = "application/cloudevents-batch+json"
MAX_EVENTS: Final = 1_000
_MAX_ATTRIBUTE: Final = 1_000
_REQUIRED: Final = ("specversion", "id", "source", "type")
_COMPUTED: Final = ("changedVersion", "inputs", "schemaVersion")


@dataclass(frozen=True, slots=True)
class Taken:
    """An event of ours that came as a CloudEvent; `path` is its place in the body."""

    id: str
    source: str
    event: AssetProduced | AssetExpired
    path: str

    @property
    def dedupe_key(self) -> str:
        # As JSON, because any letter may stand in either.
        return f"cloudevents:{json.dumps([self.source, self.id])}"


def read_events(headers: Mapping[str, str], body: bytes, graph: Graph, now_ms: int) -> list[Taken]:
    """The events of a request; all of them, or none.

    Raises:
        Refused: it is no such request, or one of the events cannot be used: the problem names each that cannot.
        Unreadable: the body is no JSON.
    """
    kind = headers.get("content-type", "").partition(";")[0].strip().lower()
    match kind:
        case _ if kind == BATCHED:
            found = read_document(body, "json")
            if not isinstance(found, list):
                raise Refused(Kind.INVALID, "a batch is a JSON array of events")
            if len(found) > MAX_EVENTS:
                raise Refused(
                    Kind.INVALID, f"the batch has {len(found)} events; at most {MAX_EVENTS} are taken at once"
                )
            told = [(f"$[{number}]", each) for number, each in enumerate(found)]
        case _ if kind == STRUCTURED:
            told = [("$", read_document(body, "json"))]
        case _ if kind in ("", "application/json") or kind.endswith("+json"):
            told = [("$", _binary(headers, body))]
        case _:
            raise Refused(
                Kind.UNSUPPORTED, f"send {STRUCTURED}, {BATCHED}, or JSON with ce- headers, not {kind[:100]!r}"
            )
    events: list[Taken] = []
    problems: list[Problem] = []
    for path, each in told:
        try:
            taken = _taken(each, path, now_ms)
            check_partition(graph, taken.event.asset_id, taken.event.partition_key)
            events.append(taken)
        except EventInvalid as error:
            problems.append(Problem(error.path, error.reason))
        except PartitionKeyError as error:
            problems.append(Problem(f"{path}.data.partitionKey", str(error)))
    if problems:
        raise Refused(Kind.INVALID, "an event cannot be used, so none was recorded", errors=problems)
    return events


def record_event(store: Store, taken: Taken, graph: Graph, *, own_source: str = "") -> JsonObject:
    """Record one, by the script that every event takes; what became of it.

    One that this Headwater sent itself (`own_source` is its name, if it has one) has come back: it was recorded
    before it was sent, and is not recorded again.

    Raises:
        RunFenced: it names a run of ours that is not running.
    """
    event = taken.event
    about: dict[str, Json] = {
        "id": taken.id,
        "source": taken.source,
        "type": event.type,
        "assetId": event.asset_id,
        "partitionKey": event.partition_key,
    }
    if own_source and taken.source == own_source:
        return {**about, "version": None, "changed": False, "duplicate": True}
    if isinstance(event, AssetExpired):
        expired = store.expire(
            event.asset_id,
            event.partition_key,
            version=event.version,
            expires_at_ms=event.expires_at_ms,
            reason=event.reason,
            now_ms=event.expires_at_ms,
        )
        return {**about, "version": event.version, "changed": expired, "duplicate": False}
    node = graph.node(event.asset_id)
    recorded = store.record(
        NewMaterialization(
            asset_id=event.asset_id,
            partition_key=event.partition_key,
            produced_at_ms=event.produced_at_ms,
            upstreams=node.spec.upstreams if node is not None and node.spec is not None else (),
            workflow_slug=event.workflow_slug,
            run_id=event.run_id,
            step_id=event.step_id,
            data_version=event.data_version,
            payload=event.payload,
            freshness=event.freshness.to_policy() if event.freshness is not None else None,
            dedupe_key=taken.dedupe_key,
        )
    )
    return {**about, "version": recorded.version, "changed": recorded.changed, "duplicate": recorded.duplicate}


def _binary(headers: Mapping[str, str], body: bytes) -> dict[str, JsonValue]:
    """The event of the headers `ce-*`, with the body as its data."""
    attributes: dict[str, JsonValue] = {
        name.lower().removeprefix("ce-"): unquote(value)
        for name, value in headers.items()
        if name.lower().startswith("ce-")
    }
    if not attributes:
        raise Refused(Kind.INVALID, f"there are no ce- headers; send them, or the whole event as {STRUCTURED}")
    return {**attributes, "data": read_document(body, "json")}


def _taken(value: JsonValue, path: str, now_ms: int) -> Taken:
    if not isinstance(value, dict):
        raise EventInvalid(f"an event is an object, not {type(value).__name__}", path)
    told = {name: _attribute(value, name, path) for name in _REQUIRED}
    if told["specversion"] != "1.0":
        raise EventInvalid(f"{told['specversion']!r} is not read here; write 1.0", f"{path}.specversion")
    kind = told["type"]
    if kind not in ("asset.produced", "asset.expired"):
        raise EventInvalid(f"{kind[:100]!r} is not taken; write asset.produced or asset.expired", f"{path}.type")
    data = _data(value, path)
    time = value.get("time")
    if kind == "asset.produced":
        for name in ("version", *_COMPUTED):
            if name in data:
                raise EventInvalid("the catalog gives it; leave it out", f"{path}.data.{name}")
        data.setdefault("producedAt", time)
        data["freshnessSource"] = "result"
    else:
        # Without a time of its own, a repetition would declare what was produced since expired too.
        data.setdefault("expiresAt", time)
        data.setdefault("reason", "manual")
    entry = {b"type": kind.encode(), b"data": json.dumps(data).encode()}
    try:
        event = parse_entry(entry, now_ms=now_ms)
    except EventInvalid as error:
        raise EventInvalid(error.reason, f"{path}.data{error.path.removeprefix('$')}") from None
    assert isinstance(event, AssetProduced | AssetExpired)  # noqa: S101 - by its type
    return Taken(told["id"], told["source"], event, path)


def _attribute(value: Mapping[str, JsonValue], name: str, path: str) -> str:
    told = value.get(name)
    if not isinstance(told, str) or not told or len(told) > _MAX_ATTRIBUTE:
        raise EventInvalid(f"write a text of 1 to {_MAX_ATTRIBUTE} characters", f"{path}.{name}")
    return told


def _data(value: Mapping[str, JsonValue], path: str) -> dict[str, JsonValue]:
    data, encoded = value.get("data"), value.get("data_base64")
    if data is None and isinstance(encoded, str):
        path = f"{path}.data_base64"
        try:
            data = read_document(base64.b64decode(encoded, validate=True), "json")
        except (binascii.Error, ValueError) as error:
            raise EventInvalid(f"this is no JSON in base64: {error}", path) from None
    if not isinstance(data, dict):
        raise EventInvalid(f"the data are an object, not {type(data).__name__}", f"{path}.data")
    return dict(data)

"""The events of the stream, in the past tense, and how they are read from an entry and written.

An entry has the fields `type` and `data` (a JSON object), and may have `version`, `changedVersion`, `inputs`
and `unmade`: these the scripts on the server compute, and they override those of `data`. (They are fields of
their own because a script cannot put them into the JSON: Redis' cjson turns `[]` into `{}`.)

Keys that are not known are ignored, so that an older reader can read a newer writer; a higher `schemaVersion`
cannot be read. Times are ISO 8601 on the wire and epoch milliseconds here.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Annotated, Final, Literal, TypeAlias, get_args

from pydantic import AfterValidator, Field, JsonValue, StrictBool, TypeAdapter, ValidationError
from pydantic_core import from_json

from actors.catalog.declarations import FreshnessSection
from actors.catalog.problems import json_path
from actors.catalog.run_events import (
    Dismissed,
    RunCanceled,
    RunEnqueued,
    RunFailed,
    RunRequested,
    RunStarted,
    RunSucceeded,
    Unmade,
)
from actors.catalog.sections import AssetId, Label
from actors.catalog.wire import (
    SCHEMA_VERSION,
    ComingTimeMs,
    PartitionKey,
    TimeMs,
    Version,
    Versions,
    WireEvent,
    example_config,
)
from actors.core.freshness import ExpiryReason
from actors.core.pauses import MAX_REASON, check_scope

__all__ = [
    "EVENT_ADAPTER",
    "MAX_EVENT_BYTES",
    "AssetAnnounced",
    "AssetExpired",
    "AssetPassedOver",
    "AssetProduced",
    "AssetResumed",
    "Dismissed",
    "Event",
    "EventInvalid",
    "PauseChanged",
    "RunCanceled",
    "RunEnqueued",
    "RunFailed",
    "RunRequested",
    "RunStarted",
    "RunSucceeded",
    "Unmade",
    "WorkflowUpdated",
    "encode_data",
    "parse_entry",
]

MAX_EVENT_BYTES: Final = 256 * 1024
_COMPUTED: Final = ("version", "changedVersion", "inputs", "unmade")


class EventInvalid(ValueError):  # noqa: N818 - as `DefinitionInvalid`
    """An event that cannot be read or written. `path` is the place inside it, such as `$.producedAt`."""

    def __init__(self, reason: str, path: str = "$") -> None:
        self.reason = reason
        self.path = path
        super().__init__(reason, path)

    def __str__(self) -> str:
        return f"{self.path}: {self.reason}"


class AssetProduced(WireEvent):
    """A partition was made. Without `version` an outsider appended it, and it has not been recorded yet.

    `changedVersion` is the version in which the data last differed; `inputs` are the upstream versions
    that it was made from. `freshness` is the policy in force; `freshnessSource` says whether it is `declared`
    in the definition or came with the `result` of this production, which then goes before the declared one.
    """

    model_config = example_config(
        type="asset.produced",
        assetId="orders.daily",
        partitionKey="2026-11-23",
        workflowSlug="orders-daily",
        runId="run-1",
        stepId="load",
        producedAt="2026-11-23T10:00:00.000Z",
        freshness={"ttlMs": 60_000},
        freshnessSource="declared",
        version=7,
        changedVersion=7,
        dataVersion="sha256:0f3c",
        inputs={"orders.raw": 12},
        payload={"rows": 42, "files": [], "note": None},
    )
    type: Literal["asset.produced"] = "asset.produced"
    asset_id: AssetId
    partition_key: PartitionKey | None = None
    workflow_slug: Label | None = None
    run_id: Label | None = None
    step_id: Label | None = None
    produced_at_ms: TimeMs
    freshness: FreshnessSection | None = None
    freshness_source: Literal["declared", "result"] = "result"
    version: Version | None = None
    changed_version: Version | None = None
    data_version: Annotated[str, Field(max_length=1_000)] | None = None
    inputs: Versions = Field(default_factory=dict)
    payload: JsonValue = None


class AssetExpired(WireEvent):
    """A materialization stopped being fresh, by the rule named in `reason`, at `expiresAt`."""

    model_config = example_config(
        type="asset.expired",
        assetId="orders.daily",
        partitionKey="2026-11-23",
        workflowSlug="orders-daily",
        version=7,
        producedAt="2026-11-23T10:00:00.000Z",
        expiresAt="2026-11-23T10:01:00.000Z",
        reason="ttl",
    )
    type: Literal["asset.expired"] = "asset.expired"
    asset_id: AssetId
    partition_key: PartitionKey | None = None
    workflow_slug: Label | None = None
    version: Version | None = None
    produced_at_ms: TimeMs | None = None
    expires_at_ms: TimeMs
    reason: ExpiryReason


class AssetResumed(WireEvent):
    """Failures and dismissals were forgotten: of one partition, or of all when `partitionKey` is absent."""

    model_config = example_config(type="asset.resumed", assetId="orders.daily", partitionKey="2026-11-23")
    type: Literal["asset.resumed"] = "asset.resumed"
    asset_id: AssetId
    partition_key: PartitionKey | None = None


class AssetPassedOver(WireEvent):
    """After a long pause or outage only a later time window is made; this one is left until something newer comes."""

    model_config = example_config(
        type="asset.passedOver",
        assetId="orders.hourly",
        partitionKey="2026-11-23T10",
        dismissed={"version": 7, "inputs": {"orders.raw": 12}},
    )
    type: Literal["asset.passedOver"] = "asset.passedOver"
    asset_id: AssetId
    partition_key: PartitionKey
    dismissed: Dismissed


class AssetAnnounced(WireEvent):
    """A partition is about to be made again by itself, and assets of other shards wait for it. Only services that
    divide a catalog into shards publish it, for each other."""

    model_config = example_config(type="asset.announced", assetId="orders.daily", partitionKey="2026-11-23")
    type: Literal["asset.announced"] = "asset.announced"
    asset_id: AssetId
    partition_key: PartitionKey | None = None


class WorkflowUpdated(WireEvent):
    """A definition was added, changed or (`removed`) dropped."""

    model_config = example_config(
        type="workflow.updated", slug="orders-daily", removed=False, contentHash="9f86d081884c7d65"
    )
    type: Literal["workflow.updated"] = "workflow.updated"
    slug: Label
    removed: StrictBool = False
    content_hash: Annotated[str, Field(max_length=200)] | None = None


class PauseChanged(WireEvent):
    """What starts by itself in `scope` (`all`, `workflow:SLUG` or `asset:ID`) is held back, or goes on (not `paused`).

    Without `until` it is held back until it goes on by hand; a pause that ends at its time ends without an event.
    """

    model_config = example_config(
        type="pause.changed",
        scope="workflow:orders-daily",
        paused=True,
        until="2026-11-23T12:00:00.000Z",
        reason="the warehouse is being moved",
    )
    type: Literal["pause.changed"] = "pause.changed"
    scope: Annotated[str, AfterValidator(check_scope)]
    paused: StrictBool
    until_ms: ComingTimeMs | None = None
    reason: Annotated[str, Field(max_length=MAX_REASON)] | None = None


Event: TypeAlias = (
    AssetProduced
    | AssetExpired
    | AssetResumed
    | AssetPassedOver
    | AssetAnnounced
    | WorkflowUpdated
    | PauseChanged
    | RunRequested
    | RunEnqueued
    | RunStarted
    | RunSucceeded
    | RunFailed
    | RunCanceled
)
EVENT_ADAPTER: Final[TypeAdapter[Event]] = TypeAdapter(Annotated[Event, Field(discriminator="type")])

_TYPES: Final = tuple(get_args(member.model_fields["type"].annotation)[0] for member in get_args(Event))


def parse_entry(fields: Mapping[bytes, bytes], *, now_ms: int | None = None) -> Event:
    """The event of a stream entry. `now_ms` (default: the clock) is what a time in the future is measured by.

    Raises:
        EventInvalid: the entry is too large, is no such event, or is of a newer format.
    """
    size = len(fields.get(b"data", b""))
    if size > MAX_EVENT_BYTES or sum(map(len, fields.values())) > 2 * MAX_EVENT_BYTES:
        raise EventInvalid(f"the event has {size} bytes; at most {MAX_EVENT_BYTES} are allowed")
    data = _object_of(fields.get(b"data"))
    named = fields.get(b"type")
    if named is not None:
        told = named.decode(errors="replace")
        if data.setdefault("type", told) != told:
            said = repr(data["type"])[:100]
            raise EventInvalid(f"the data says {said}, but the entry is {told[:100]!r}", "$.type")
    for name in _COMPUTED:
        text = fields.get(name.encode())
        if text is not None:
            data[name] = _json(text, f"$.{name}")
    _check_format(data)
    try:
        return EVENT_ADAPTER.validate_python(
            data, context={"now_ms": time.time_ns() // 1_000_000 if now_ms is None else now_ms}
        )
    except ValidationError as error:
        raise _invalid(error) from None


def encode_data(event: Event) -> str:
    """The JSON text of an event, which says its type and format too. Absent values are left out.

    Raises:
        EventInvalid: it is larger than `MAX_EVENT_BYTES`, or a time lies outside the years 1900 to 2999.
    """
    try:
        text = event.model_dump_json(by_alias=True, exclude_none=True)
    except ValueError as error:
        raise EventInvalid(f"the event cannot be written: {error}") from None
    size = len(text.encode())
    if size > MAX_EVENT_BYTES:
        raise EventInvalid(f"the event has {size} bytes; at most {MAX_EVENT_BYTES} are allowed")
    return text


def _object_of(text: bytes | None) -> dict[str, JsonValue]:
    if text is None:
        raise EventInvalid("the entry has no field 'data'")
    data = _json(text, "$")
    if not isinstance(data, dict):
        raise EventInvalid(f"the data is no object but a {type(data).__name__}")
    return data


def _json(text: bytes, path: str) -> JsonValue:
    try:
        value: JsonValue = from_json(text, allow_inf_nan=False)
    except ValueError as error:
        raise EventInvalid(f"this is no JSON: {error}", path) from None
    return value


def _check_format(data: Mapping[str, JsonValue]) -> None:
    written = data.get("schemaVersion", SCHEMA_VERSION)
    if isinstance(written, int) and written > SCHEMA_VERSION:
        raise EventInvalid(
            f"the event is written in version {written} of the format, and this program reads "
            f"{SCHEMA_VERSION}; upgrade it",
            "$.schemaVersion",
        )
    if data.get("type") not in _TYPES:
        known = ", ".join(_TYPES)
        told = repr(data.get("type"))[:100]
        raise EventInvalid(f"the type {told} is unknown; known are {known}", "$.type")


def _invalid(error: ValidationError) -> EventInvalid:
    detail = error.errors(include_url=False, include_input=False)[0]
    cause = detail.get("ctx", {}).get("error")
    # The first step of the location is the type, by which pydantic chose the model.
    return EventInvalid(detail["msg"] if cause is None else str(cause), json_path(detail["loc"][1:]))

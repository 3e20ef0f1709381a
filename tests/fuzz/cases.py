"""What is sent: each case follows from the seed and its number alone, so each can be had again."""

from __future__ import annotations

import base64
import gzip
from collections.abc import Mapping
from dataclasses import dataclass
from random import Random
from typing import Any, Final, Literal, TypeAlias
from urllib.parse import quote
from uuid import UUID

from tests.fuzz.nasty import STRANGE_TEXTS, encode, spoil_bytes, spoil_document, strange_json

__all__ = ["KINDS", "Append", "Case", "Expected", "Kind", "Post", "case_of"]

Kind: TypeAlias = Literal["structured", "binary", "batch", "openlineage", "stream"]
KINDS: Final[tuple[Kind, ...]] = ("structured", "binary", "batch", "openlineage", "stream")
Headers: TypeAlias = tuple[tuple[bytes, bytes], ...]

STRUCTURED: Final = "application/cloudevents+json"
BATCHED: Final = "application/cloudevents-batch+json"
_GOOD_SHARE: Final = 0.25
_GOOD: Final[tuple[tuple[str, str | None], ...]] = (
    *((f"good.{number}", None) for number in range(8)),
    ("good.daily", "2026-11-22"),
    ("good.static", "a"),
)
"""Assets of good events only, by the names that the house gives them."""
_KINDS_OF_CONTENT: Final = (
    STRUCTURED, BATCHED, "application/json", "", "text/plain", "application/json; charset=utf-16", "APPLICATION/JSON",
    "application/cloudevents+avro", "multipart/form-data; boundary=x", "application/x+json", ";", "a/b/c", "\xff",
    "application/cloudevents+json;" * 100,
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Post:
    path: str
    headers: Headers
    body: bytes


@dataclass(frozen=True, slots=True)
class Append:
    """An entry that an outsider adds to the stream."""

    fields: Mapping[bytes, bytes]


@dataclass(frozen=True, slots=True)
class Expected:
    """A production that must be recorded, and once; `mark` is in its payload, or is its run."""

    asset_id: str
    partition_key: str | None
    mark: str


@dataclass(frozen=True, slots=True)
class Case:
    """What is sent one after the other. A case is good when it expects something, else hostile."""

    number: int
    kind: Kind
    parts: tuple[Post | Append, ...]
    expected: tuple[Expected, ...] = ()

    @property
    def is_good(self) -> bool:
        return bool(self.expected)


def case_of(seed: int, number: int) -> Case:
    """The case of this number."""
    random = Random(f"{seed}:{number}")
    kind = random.choice(KINDS)
    return (_good if random.random() < _GOOD_SHARE else _hostile)(random, number, kind)


# -- good ones ---------------------------------------------------------------------------------------------------------


def _good(random: Random, number: int, kind: Kind) -> Case:
    parts: list[Post | Append] = []
    expected: list[Expected] = []
    match kind:
        case "openlineage":
            run_id = str(UUID(int=random.getrandbits(128), version=4))
            targets = random.sample(_GOOD, random.randrange(1, 4))
            expected = [Expected(asset_id, key, run_id) for asset_id, key in targets]
            parts = [*_run_events(random, run_id, [asset_id for asset_id, _ in targets])]
        case "batch":
            events = []
            for index in range(random.randrange(1, 5)):
                one, event = _event(random, f"{number}.{index}")
                expected.append(one)
                events.append(event)
            parts = [Post("/events", _content(BATCHED), encode(events))]
        case "stream":
            one, event = _event(random, str(number))
            expected = [one]
            data = event["data"] | {"producedAt": event["time"], "runId": f"outside-{number}", "stepId": "load"}
            parts = [Append({b"type": b"asset.produced", b"data": encode(data)})]
        case "structured" | "binary":
            one, event = _event(random, str(number))
            expected = [one]
            parts = [_structured(random, event) if kind == "structured" else _binary(random, event)]
    if random.random() < 0.2:
        parts *= 2
    return Case(number, kind, tuple(parts), tuple(expected))


def _event(random: Random, mark: str) -> tuple[Expected, dict[str, Any]]:
    asset_id, key = random.choice(_GOOD)
    data = {"assetId": asset_id, "payload": {"mark": mark, "more": strange_json(random)}}
    if key is not None:
        data["partitionKey"] = key
    if random.random() < 0.5:
        data["dataVersion"] = random.choice(STRANGE_TEXTS)[:200]
    event = {
        "specversion": "1.0",
        "id": mark + random.choice(("", " é", "%41", ",", "\\")),
        "source": random.choice(("/fuzz", "urn:x", "/läden", "a b")),
        "type": "asset.produced",
        "time": random.choice(("2026-11-23T10:00:00Z", "2026-11-23T10:00:00.123456+05:30", "1999-12-31T23:59:59.9Z")),
        "data": data,
        "more": "unheard of",
    }
    return Expected(asset_id, key, mark), event


def _structured(random: Random, event: dict[str, Any]) -> Post:
    event = dict(event)
    if random.random() < 0.2:
        event["data_base64"] = base64.b64encode(encode(event.pop("data"))).decode()
    return Post("/events", _content(STRUCTURED + random.choice(("", "; charset=utf-8"))), encode(event))


def _binary(random: Random, event: dict[str, Any]) -> Post:
    attributes = [(f"ce-{name}", quote(value, safe="")) for name, value in event.items() if name != "data"]
    headers = [(name.encode(), value.encode()) for name, value in attributes]
    return Post("/events", (*_content("application/json"), *headers), encode(event["data"]))


def _run_events(random: Random, run_id: str, names: list[str]) -> list[Post]:
    night = {"nominalStartTime": "2026-11-22T00:00:00Z", "nominalEndTime": "2026-11-23T00:00:00Z"}
    facets = {"nominalTime": night, "unheard_of": strange_json(random)}
    outputs = [{"namespace": "fuzz", "name": name, "facets": {"x": strange_json(random)}} for name in names]
    late = random.random() < 0.3
    told = [
        _run_event("START", run_id, facets, outputs),
        _run_event(random.choice(("RUNNING", "OTHER")), run_id, strange_json(random), random.choice(([], None))),
        _run_event("COMPLETE", run_id, {}, outputs if random.random() < 0.5 else []),
    ]
    if late:
        # What was told first arrives last; what it says still counts.
        told = [told[2], told[0]]
    return [_compressed(random, Post("/lineage", _content("application/json"), encode(event))) for event in told]


def _run_event(type_: str, run_id: str, facets: Any, outputs: Any) -> dict[str, Any]:
    return {
        "eventType": type_,
        "eventTime": "2026-11-23T10:00:00.000Z",
        "producer": "https://example.org/fuzz",
        "schemaURL": "https://openlineage.io/spec/2-0-2/OpenLineage.json#/$defs/RunEvent",
        "run": {"runId": run_id, "facets": facets},
        "job": {"namespace": "fuzz", "name": "job", "facets": {}},
        "inputs": [{"namespace": "fuzz", "name": "input"}],
        "outputs": outputs,
    }


def _compressed(random: Random, post: Post) -> Post:
    if random.random() < 0.6:
        return post
    return Post(post.path, (*post.headers, (b"content-encoding", b"gzip")), gzip.compress(post.body, 1))


def _content(kind: str) -> Headers:
    return ((b"content-type", kind.encode("latin-1")),)


# -- hostile ones ------------------------------------------------------------------------------------------------------


def _hostile(random: Random, number: int, kind: Kind) -> Case:
    return Case(number, kind, (_append(random) if kind == "stream" else _post(random, kind),))


def _hostile_event(random: Random) -> dict[str, Any]:
    data: dict[str, Any] = {
        "assetId": f"hostile.{random.randrange(200)}",
        "producedAt": "2026-11-23T10:00:00.000Z",
        "payload": {"rows": 3},
        "freshness": {"ttlMs": 60_000},
        "dataVersion": "8f2c",
    }
    if random.random() < 0.3:
        data |= {"assetId": random.choice(("hostile.daily", "hostile.static")), "partitionKey": "2026-11-22"}
    type_ = random.choice(("asset.produced", "asset.produced", "asset.expired"))
    if type_ == "asset.expired":
        data |= {"expiresAt": data.pop("producedAt"), "reason": "manual"}
    identity = str(random.getrandbits(64))
    event = {"specversion": "1.0", "id": identity, "source": "/hostile", "type": type_, "data": data, "time": None}
    if random.random() < 0.1:
        packed = base64.b64encode(spoil_bytes(random, encode(data)))
        event["data_base64"] = random.choice((packed, packed[1:], packed + b"!")).decode()
        del event["data"]
    return event


def _post(random: Random, kind: Kind) -> Post:
    event = _hostile_event(random)
    match kind:
        case "openlineage":
            outputs = [{"namespace": "fuzz", "name": f"hostile.{random.randrange(200)}", "facets": {"version": {}}}]
            type_ = random.choice(("START", "COMPLETE", "FAIL", "ABORT", "OTHER"))
            night = {"nominalTime": {"nominalStartTime": "2026-11-22T00:00:00Z", "nominalEndTime": None}}
            if random.random() < 0.02:
                outputs = [{"namespace": "fuzz", "name": f"hostile.{number}"} for number in range(1_500)]
            document: Any = _run_event(type_, f"hostile-{random.randrange(1_000)}", night, outputs)
            if random.random() < 0.1:
                document = random.choice(({"job": document["job"]}, {"dataset": outputs[0]})) | {"eventTime": "soon"}
            path, content = "/lineage", "application/json"
        case "batch":
            path, content = "/events", BATCHED
            document = [event, *(_hostile_event(random) for _ in range(random.randrange(4)))]
            if random.random() < 0.01:
                document *= 300
        case "binary":
            path, content, document = "/events", "application/json", event.get("data")
        case _:
            path, content, document = "/events", STRUCTURED, event
    for _ in range(random.randrange(4)):
        document = spoil_document(random, document)
    body = encode(document)
    headers = list(_content(content if random.random() < 0.9 else random.choice(_KINDS_OF_CONTENT)))
    if kind == "binary":
        headers += _spoiled_attributes(random, event)
    for _ in range(random.choice((0, 0, 0, 1, 2))):
        body = spoil_bytes(random, body)
    if kind == "openlineage" and random.random() < 0.3:
        coding = random.choice((b"gzip", b"x-gzip", b"deflate", b"br", b"gzip, gzip", b"\xff"))
        body = gzip.compress(body, 1) if random.random() < 0.7 else body
        if random.random() < 0.02:
            body = gzip.compress(b" " * 20_000_000, 1)
        if random.random() < 0.2:
            body = spoil_bytes(random, body)
        headers.append((b"content-encoding", coding))
    return Post(path if random.random() < 0.98 else random.choice(("/events", "/lineage")), tuple(headers), body)


def _spoiled_attributes(random: Random, event: dict[str, Any]) -> list[tuple[bytes, bytes]]:
    attributes: dict[str, str] = {name: event[name] for name in ("specversion", "id", "source", "type")}
    for _ in range(random.randrange(3)):
        name = random.choice((*attributes, "time", "data", "data_base64", "", "subject", "dataschema", "\xff"))
        attributes[name] = random.choice((*STRANGE_TEXTS, "%", "%ff", "%00", "%ED%A0%80", "1.0", "asset.produced"))
    # What a server lets through: no line ends, no NUL.
    return [
        (f"ce-{name}".encode("latin-1", "replace"), bytes(b for b in value.encode() if b >= 32 and b != 127))
        for name, value in attributes.items()
        if not set(name) & set(" \r\n\0")
    ]


def _append(random: Random) -> Append:
    event = _hostile_event(random)
    type_, data = event["type"], event.get("data", {})
    if random.random() < 0.3:
        type_, data = random.choice(_OTHERS)
    document: Any = data
    for _ in range(random.choice((0, 0, 1, 1, 2, 3))):
        document = spoil_document(random, document)
    text = encode(document)
    if random.random() < 0.2:
        text = spoil_bytes(random, text)
    fields = {b"type": str(type_).encode(), b"data": text}
    for _ in range(random.choice((0, 0, 1, 2))):
        fields[random.choice(_FIELDS)] = random.choice(_FIELD_VALUES)
    if random.random() < 0.1:
        fields.pop(random.choice((b"type", b"data")), None)
    return Append(fields or {b"x": b"y"})


_FIELDS: Final = (b"version", b"changedVersion", b"inputs", b"unmade", b"pos", b"type", b"data", b"", b"\xff", b"x")
_FIELD_VALUES: Final = (
    b"1", b"-1", b"0", b"{", b"{}", b"[]", b'"7"', b"1e9", b"\xff\xfe", b"null", b"9" * 40, b'{"a": 1}', b"x" * 70_000,
)  # fmt: skip
_OTHERS: Final[tuple[tuple[str, dict[str, Any]], ...]] = (
    ("asset.resumed", {"assetId": "hostile.1", "partitionKey": None}),
    ("asset.passedOver", {"assetId": "hostile.1", "partitionKey": "x", "dismissed": {"version": 7, "inputs": {}}}),
    ("workflow.updated", {"slug": "hostile", "removed": True}),
    ("pause.changed", {"scope": "asset:hostile.1", "paused": True, "until": "2026-11-23T12:00:00.000Z"}),
    ("workflow.run.requested", {"runId": "hostile", "workflowSlug": "hostile"}),
    ("workflow.run.enqueued", {"runId": "hostile", "workflowSlug": "hostile", "partitionKey": "x"}),
    ("workflow.run.started", {"runId": "hostile", "workflowSlug": "hostile", "inputs": {"a": 1}}),
    ("workflow.run.succeeded", {"runId": "hostile", "workflowSlug": "hostile", "unmade": []}),
    (
        "workflow.run.failed",
        {"runId": "hostile", "workflowSlug": "hostile", "unmade": [{"assetId": "a"}]},
    ),
    ("workflow.run.canceled", {"runId": "hostile", "workflowSlug": "hostile"}),
    ("asset.melted", {"assetId": "hostile.1"}),
)

"""Events on the wire: every model and its example, what the server adds, what is refused, and times."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta, timezone
from typing import Any, cast, get_args

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from actors.catalog.events import (
    EVENT_ADAPTER,
    MAX_EVENT_BYTES,
    AssetExpired,
    AssetProduced,
    Dismissed,
    Event,
    EventInvalid,
    RunCanceled,
    RunFailed,
    RunStarted,
    RunSucceeded,
    WorkflowUpdated,
    encode_data,
    parse_entry,
)
from actors.catalog.timestamps import MAX_AHEAD_MS, format_iso, parse_iso_ms
from actors.core.freshness import ExpiryReason, FreshnessPolicy

MODELS: tuple[type[Any], ...] = get_args(Event)
NOON_MS = 1_795_435_200_000
NOON = "2026-11-23T12:00:00.000Z"


def entry(data: Any, kind: str | None = None, **computed: Any) -> dict[bytes, bytes]:
    fields = {b"data": json.dumps(data).encode()}
    if kind is not None:
        fields[b"type"] = kind.encode()
    return fields | {name.encode(): json.dumps(value).encode() for name, value in computed.items()}


def produced(**changes: Any) -> dict[str, Any]:
    return {"assetId": "orders.daily", "producedAt": NOON} | changes


def run_event(**changes: Any) -> dict[str, Any]:
    return {"runId": "r1", "workflowSlug": "orders", "trigger": {"type": "manual"}, "at": NOON} | changes


def within(part: Any, whole: Any) -> bool:
    """Whether a JSON value says all that another says; it may say more, such as defaults."""
    if isinstance(part, dict):
        return isinstance(whole, dict) and all(key in whole and within(part[key], whole[key]) for key in part)
    return bool(part == whole)


def refusal(fields: dict[bytes, bytes], now_ms: int = NOON_MS) -> tuple[str, str]:
    with pytest.raises(EventInvalid) as caught:
        parse_entry(fields, now_ms=now_ms)
    return caught.value.path, caught.value.reason


class TestModels:
    @pytest.mark.parametrize("model", MODELS)
    def test_the_example_of_every_model_comes_back_as_it_was(self, model: type[Any]) -> None:
        schema = model.model_json_schema()
        example = cast("dict[str, Any]", schema["example"])
        assert schema["description"]

        event = parse_entry(entry(example), now_ms=NOON_MS)

        assert type(event) is model
        written = json.loads(encode_data(event))
        assert within({"schemaVersion": 1} | example, written)
        assert parse_entry(entry(written), now_ms=NOON_MS) == event

    def test_the_schema_of_the_union_chooses_by_type(self) -> None:
        schema = EVENT_ADAPTER.json_schema()
        assert len(schema["discriminator"]["mapping"]) == len(MODELS)

    def test_keys_of_a_newer_writer_are_ignored(self) -> None:
        event = parse_entry(entry(produced(colour="red"), "asset.produced"), now_ms=NOON_MS)
        assert "colour" not in json.loads(encode_data(event))

    def test_times_are_milliseconds_here_and_text_on_the_wire(self) -> None:
        event = AssetExpired(
            asset_id="a", produced_at_ms=NOON_MS, expires_at_ms=NOON_MS + 1, reason=ExpiryReason.MAX_AGE
        )

        data = json.loads(encode_data(event))

        assert data["producedAt"] == NOON
        assert data["expiresAt"] == "2026-11-23T12:00:00.001Z"
        assert data["reason"] == "maxAge"
        assert parse_entry(entry(data), now_ms=NOON_MS) == event

    def test_freshness_becomes_a_policy(self) -> None:
        event = parse_entry(entry(produced(freshness={"ttlMs": 5}), "asset.produced"), now_ms=NOON_MS)
        assert isinstance(event, AssetProduced)
        assert event.freshness is not None
        assert event.freshness.to_policy() == FreshnessPolicy(ttl_ms=5)

    def test_an_outsiders_freshness_is_of_its_own_making(self) -> None:
        event = parse_entry(entry(produced(freshness={"ttlMs": 5}), "asset.produced"), now_ms=NOON_MS)
        assert isinstance(event, AssetProduced)
        assert event.freshness_source == "result"

    def test_absent_values_are_left_out_but_a_payload_keeps_its_nulls(self) -> None:
        event = AssetProduced(asset_id="a", produced_at_ms=NOON_MS, payload={"note": None, "files": []})
        written = json.loads(encode_data(event))

        assert written["payload"] == {"note": None, "files": []}
        assert not {"partitionKey", "runId", "freshness", "version", "changedVersion"} & written.keys()


class TestComputedFields:
    def test_what_the_server_computed_overrides_the_data(self) -> None:
        fields = entry(
            produced(version=1, inputs={"old": 1}), "asset.produced", version=7, changedVersion=5, inputs={"up": 3}
        )
        event = parse_entry(fields, now_ms=NOON_MS)
        assert isinstance(event, AssetProduced)
        assert (event.version, event.changed_version, event.inputs) == (7, 5, {"up": 3})

    def test_an_event_from_outside_has_no_version(self) -> None:
        event = parse_entry(entry(produced(), "asset.produced"), now_ms=NOON_MS)
        assert isinstance(event, AssetProduced)
        assert (event.version, event.changed_version) == (None, None)

    def test_a_run_that_started(self) -> None:
        event = parse_entry(entry(run_event(), "workflow.run.started", inputs={"up": 3}), now_ms=NOON_MS)
        assert isinstance(event, RunStarted)
        assert event.inputs == {"up": 3}

    def test_what_a_failed_run_did_not_make(self) -> None:
        # A script counts in milliseconds; it has no calendar to write a date with.
        unmade = [{"assetId": "a", "partitionKey": "p", "failures": 2, "lastFailureAt": NOON_MS}]
        event = parse_entry(entry(run_event(lost=True), "workflow.run.failed", unmade=unmade), now_ms=NOON_MS)
        assert isinstance(event, RunFailed)
        assert event.lost
        (found,) = event.unmade
        assert (found.asset_id, found.partition_key, found.failures) == ("a", "p", 2)
        assert found.last_failure_at_ms == NOON_MS

    def test_what_a_canceled_run_dismisses(self) -> None:
        unmade = [
            {"assetId": "a", "failures": 0, "lastFailureAt": None, "dismissed": {"version": 0, "inputs": {"up": 3}}}
        ]
        event = parse_entry(entry(run_event(), "workflow.run.canceled", unmade=unmade), now_ms=NOON_MS)
        assert isinstance(event, RunCanceled)
        assert event.unmade[0].dismissed == Dismissed(version=0, inputs={"up": 3})
        assert event.unmade[0].last_failure_at_ms is None

    def test_an_ended_run_that_made_everything(self) -> None:
        event = parse_entry(entry(run_event(), "workflow.run.succeeded", unmade=[]), now_ms=NOON_MS)
        assert isinstance(event, RunSucceeded)
        assert event.unmade == ()


BAD: list[tuple[str, dict[bytes, bytes], str, str]] = [
    ("no data", {b"type": b"asset.produced"}, "$", "no field 'data'"),
    ("no JSON", {b"type": b"asset.produced", b"data": b"{"}, "$", "no JSON"),
    ("NaN", {b"type": b"asset.produced", b"data": b'{"x": NaN}'}, "$", "no JSON"),
    ("endless nesting", {b"type": b"asset.produced", b"data": b"[" * 100_000}, "$", "no JSON"),
    ("no UTF-8", {b"type": b"asset.produced", b"data": b'{"assetId": "\xff"}'}, "$", "no JSON"),
    ("a list", entry([], "asset.produced"), "$", "no object"),
    ("no type", entry(produced()), "$.type", "known are asset.produced, "),
    ("unknown type", entry(produced(), "asset.eaten"), "$.type", "'asset.eaten' is unknown"),
    ("type is no text", entry(produced(type=["asset.produced"])), "$.type", "unknown"),
    ("two types", entry(produced(type="asset.expired"), "asset.produced"), "$.type", "asset.expired"),
    ("newer format", entry(produced(schemaVersion=2), "asset.produced"), "$.schemaVersion", "upgrade"),
    ("odd format", entry(produced(schemaVersion="1"), "asset.produced"), "$.schemaVersion", "1"),
    ("no asset", entry({"producedAt": NOON}, "asset.produced"), "$.assetId", "required"),
    ("space in asset", entry(produced(assetId="a b"), "asset.produced"), "$.assetId", "space"),
    ("long asset", entry(produced(assetId="a" * 201), "asset.produced"), "$.assetId", "200"),
    ("long partition", entry(produced(partitionKey="a" * 256), "asset.produced"), "$.partitionKey", "255"),
    ("empty partition", entry(produced(partitionKey=""), "asset.produced"), "$.partitionKey", "empty"),
    ("number for a time", entry(produced(producedAt=NOON_MS), "asset.produced"), "$.producedAt", "ISO 8601"),
    ("naive time", entry(produced(producedAt="2026-11-23T12:00:00"), "asset.produced"), "$.producedAt", "no offset"),
    ("no such day", entry(produced(producedAt="2026-02-30T12:00:00Z"), "asset.produced"), "$.producedAt", "not exist"),
    ("future", entry(produced(producedAt="2026-11-24T12:00:00.001Z"), "asset.produced"), "$.producedAt", "24 hours"),
    ("version zero", entry(produced(), "asset.produced", version=0), "$.version", "greater"),
    ("version as text", entry(produced(), "asset.produced", version="7"), "$.version", "integer"),
    ("broken version", entry(produced(), "asset.produced") | {b"version": b"7x"}, "$.version", "no JSON"),
    ("inputs below zero", entry(produced(), "asset.produced", inputs={"up": -1}), "$.inputs.up", "greater"),
    ("bad freshness", entry(produced(freshness={"ttlMs": 0}), "asset.produced"), "$.freshness.ttlMs", "greater"),
    (
        "unknown reason",
        entry({"assetId": "a", "expiresAt": NOON, "reason": "mood"}, "asset.expired"),
        "$.reason",
        "'ttl'",
    ),
    ("no run", entry({"workflowSlug": "w", "at": NOON}, "workflow.run.enqueued"), "$.runId", "required"),
    (
        "bad unmade",
        entry(run_event(), "workflow.run.failed", unmade=[{"assetId": "a", "failures": -1}]),
        "$.unmade[0].failures",
        "greater",
    ),
]


class TestRefusal:
    @pytest.mark.parametrize(("fields", "path", "reason"), [row[1:] for row in BAD], ids=[row[0] for row in BAD])
    def test_what_cannot_be_read_has_a_path_and_a_reason(
        self, fields: dict[bytes, bytes], path: str, reason: str
    ) -> None:
        found, text = refusal(fields)
        assert found == path
        assert reason.lower() in text.lower()

    def test_a_time_of_tomorrow_is_the_last_that_is_believed(self) -> None:
        fields = entry(produced(producedAt=format_iso(NOON_MS + MAX_AHEAD_MS)), "asset.produced")
        event = parse_entry(fields, now_ms=NOON_MS)
        assert isinstance(event, AssetProduced)
        assert event.produced_at_ms == NOON_MS + MAX_AHEAD_MS
        assert refusal(fields, now_ms=NOON_MS - 1)[0] == "$.producedAt"

    def test_without_a_clock_of_ours_the_real_one_counts(self) -> None:
        with pytest.raises(EventInvalid, match="24 hours"):
            parse_entry(entry(produced(producedAt="2998-01-01T00:00:00Z"), "asset.produced"))

    def test_size_is_bounded_both_ways(self) -> None:
        payload = "x" * MAX_EVENT_BYTES
        assert "bytes" in refusal(entry(produced(payload=payload), "asset.produced"))[1]
        with pytest.raises(EventInvalid, match="at most 262144 are allowed"):
            encode_data(AssetProduced(asset_id="a", produced_at_ms=NOON_MS, payload=payload))

    def test_an_event_that_just_may_be_written_can_be_read_with_what_the_script_adds(self) -> None:
        fields = entry(produced(payload="x" * (MAX_EVENT_BYTES - 200)), "asset.produced")
        added = {b"inputs": b'{"up": 1}' + b" " * 300}
        parse_entry(fields | added, now_ms=NOON_MS)
        assert "bytes" in refusal(fields | {b"inputs": b'{"up": 1}' + b" " * (MAX_EVENT_BYTES + 300)})[1]

    def test_a_time_that_cannot_be_written(self) -> None:
        with pytest.raises(EventInvalid, match="1900 to 2999"):
            encode_data(AssetProduced(asset_id="a", produced_at_ms=NOON_MS * 1_000_000))

    @given(st.dictionaries(st.sampled_from([b"type", b"data", b"version", b"unmade", b"inputs"]), st.binary()))
    def test_bytes_from_nowhere_never_do_worse_than_be_refused(self, fields: dict[bytes, bytes]) -> None:
        with pytest.raises(EventInvalid):
            parse_entry(fields, now_ms=NOON_MS)

    @given(st.data())
    @settings(max_examples=200, deadline=None)
    def test_a_changed_event_is_read_or_refused(self, data: st.DataObject) -> None:
        example = dict(data.draw(st.sampled_from(MODELS)).model_json_schema()["example"])
        key = data.draw(st.sampled_from(sorted(example)))
        odd = st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.lists(st.integers())
        example[key] = data.draw(odd)
        try:
            event = parse_entry(entry(example), now_ms=NOON_MS)
        except EventInvalid:
            return
        assert parse_entry(entry(json.loads(encode_data(event))), now_ms=NOON_MS) == event

    @pytest.mark.parametrize(
        "fields",
        [
            entry(produced(type="x" * 100_000), "asset.produced"),
            entry(produced(type="x" * 100_000)),
            entry(produced(assetId="x" * 100_000), "asset.produced"),
            entry(produced(partitionKey="x" * 100_000), "asset.produced"),
            entry(produced(producedAt="x" * 100_000), "asset.produced"),
            entry(produced(producedAt=["x" * 100_000]), "asset.produced"),
            entry(produced(workflowSlug="x" * 100_000), "asset.produced"),
            entry(produced(schemaVersion="x" * 100_000), "asset.produced"),
        ],
    )
    def test_a_reason_does_not_repeat_a_long_value(self, fields: dict[bytes, bytes]) -> None:
        assert len(refusal(fields)[1]) < 500

    def test_a_workflow_event_without_a_hash(self) -> None:
        event = parse_entry(entry({"slug": "w", "removed": True}, "workflow.updated"), now_ms=NOON_MS)
        assert event == WorkflowUpdated(slug="w", removed=True)


class TestTimestamps:
    @pytest.mark.parametrize(
        ("text", "expected"),
        [
            (NOON, NOON_MS),
            ("2026-11-23T12:00Z", NOON_MS),
            ("2026-11-23T13:00:00+01:00", NOON_MS),
            ("2026-11-23T06:30:00-05:30", NOON_MS),
            ("2026-11-23T12:00:00.0019Z", NOON_MS + 1),
            ("2026-11-23T12:00:00.123456789Z", NOON_MS + 123),
            ("1969-12-31T23:59:59.999Z", -1),
        ],
    )
    def test_reading(self, text: str, expected: int) -> None:
        assert parse_iso_ms(text) == expected

    @pytest.mark.parametrize(
        ("text", "reason"),
        [
            ("now", "no ISO 8601"),
            ("", "no ISO 8601"),
            ("2026-11-23", "no ISO 8601"),
            ("1795435200", "no ISO 8601"),
            ("2026-11-23 12:00:00Z", "no ISO 8601"),
            ("2026-11-23T12:00:00Z\n", "no ISO 8601"),
            ("٢٠٢٦-11-23T12:00:00Z", "no ISO 8601"),
            ("2026-11-23T24:00:00Z", "no ISO 8601"),
            ("2026-11-23T12:00:00", "no offset"),
            ("2026-13-23T12:00:00Z", "does not exist"),
            ("2025-02-29T12:00:00Z", "does not exist"),
            ("2026-11-23T12:00:60Z", "does not exist"),
            ("2026-11-23T12:00:00+25:00", "does not exist"),
            ("0001-01-01T00:00:00+12:00", "1900"),
            ("9999-12-31T23:59:59-12:00", "2999"),
        ],
    )
    def test_what_is_no_time_is_never_now(self, text: str, reason: str) -> None:
        with pytest.raises(ValueError, match=reason):
            parse_iso_ms(text)

    @given(
        st.datetimes(datetime(1900, 1, 2), datetime(2999, 12, 30)),
        st.integers(-14 * 60, 14 * 60),
    )
    def test_every_offset_is_undone(self, wall: datetime, minutes: int) -> None:
        aware = wall.replace(tzinfo=timezone(timedelta(minutes=minutes)))

        at_ms = parse_iso_ms(aware.isoformat())

        elapsed = aware - datetime(1970, 1, 1, tzinfo=UTC)
        assert at_ms == elapsed // timedelta(milliseconds=1)
        assert parse_iso_ms(format_iso(at_ms)) == at_ms

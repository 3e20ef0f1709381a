"""Assets and runs as CloudEvents: what is said of each, and that the official SDK reads it."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

import pytest
from cloudevents.core.bindings.http import HTTPMessage, from_structured_event

from actors.catalog.declarations import FreshnessSection
from actors.catalog.events import (
    AssetExpired,
    AssetProduced,
    AssetResumed,
    Event,
    RunEnqueued,
    RunFailed,
    WorkflowUpdated,
)
from actors.catalog.outgoing_feed import OutgoingEvent
from actors.core.freshness import ExpiryReason
from actors.core.graph import Graph
from actors.interfaces.http.cloudevents import STRUCTURED, read_events
from actors.interfaces.outgoing.cloudevents import CloudEventsForm

AT = 1_764_000_000_000
SOURCE = "urn:headwater:warehouse"
FORM = CloudEventsForm(SOURCE)
PRODUCED: dict[str, Any] = {
    "asset_id": "orders.daily",
    "partition_key": "2026-11-23",
    "workflow_slug": "orders",
    "run_id": "run-1",
    "step_id": "load",
    "produced_at_ms": AT,
    "freshness": FreshnessSection(ttl_ms=60_000),
    "version": 7,
    "changed_version": 6,
    "data_version": "8f2c",
    "inputs": {"orders.raw": 12},
    "payload": {"rows": 3, "files": []},
}
FAILED = RunFailed(run_id="run-1", workflow_slug="orders", at_ms=AT, trigger={"type": "manual"}, error="exit code 3")


def told(event: Event, form: CloudEventsForm = FORM) -> dict[str, Any] | None:
    message = form.message(OutgoingEvent((AT << 64) | 5, event))
    return None if message is None else dict(message)


def read_by_sdk(message: Any) -> Any:
    headers = {"content-type": FORM.content_type}
    return from_structured_event(HTTPMessage(headers, json.dumps(FORM.body([message])).encode()))


def test_a_production_has_a_stable_id_and_the_data_of_our_events() -> None:
    message = told(AssetProduced(**PRODUCED))
    event = read_by_sdk(message)
    assert (event.get_id(), event.get_source(), event.get_type()) == (f"{AT}-5", SOURCE, "asset.produced")
    assert (event.get_subject(), event.get_time()) == ("orders.daily", datetime.fromtimestamp(AT / 1_000, UTC))
    assert event.get_data() == {
        "assetId": "orders.daily",
        "partitionKey": "2026-11-23",
        "workflowSlug": "orders",
        "runId": "run-1",
        "stepId": "load",
        "producedAt": "2025-11-24T16:00:00.000Z",
        "freshness": {"ttlMs": 60_000, "timezone": "UTC"},
        "dataVersion": "8f2c",
        "payload": {"rows": 3, "files": []},
        "recorded": {"version": 7, "changedVersion": 6, "inputs": {"orders.raw": 12}},
    }


@pytest.mark.parametrize(
    "event",
    [
        AssetProduced(**PRODUCED),
        AssetExpired(
            asset_id="orders.raw", version=7, produced_at_ms=AT - 1, expires_at_ms=AT, reason=ExpiryReason.TTL
        ),
    ],
)
def test_another_headwater_takes_what_is_told_of_assets(event: AssetProduced | AssetExpired) -> None:
    (taken,) = read_events({"content-type": STRUCTURED}, json.dumps(told(event)).encode(), Graph(), AT)
    assert (taken.source, taken.event.asset_id, taken.event.version) == (SOURCE, event.asset_id, None)


def test_a_run_is_told_of_under_its_id() -> None:
    event = read_by_sdk(told(FAILED))
    assert (event.get_type(), event.get_subject()) == ("workflow.run.failed", "run-1")
    assert event.get_data()["error"] == "exit code 3"
    assert event.get_data()["trigger"] == {"type": "manual"}


@pytest.mark.parametrize(
    "event",
    [
        AssetProduced(asset_id="a", produced_at_ms=AT, version=1),
        AssetResumed(asset_id="a"),
        WorkflowUpdated(slug="orders"),
    ],
    ids=["without a run", "resumed", "updated"],
)
def test_what_is_not_told(event: Event) -> None:
    assert told(event) is None


def test_only_the_types_that_are_wanted_are_told() -> None:
    form = CloudEventsForm(SOURCE, types=["workflow.run.failed"])
    assert told(FAILED, form) is not None
    assert told(AssetProduced(**PRODUCED), form) is None
    assert told(RunEnqueued(run_id="run-1", workflow_slug="orders", at_ms=AT), form) is None


def test_batches_are_arrays() -> None:
    form = CloudEventsForm(SOURCE, most=2)
    assert form.content_type.startswith("application/cloudevents-batch+json")
    assert form.body([{"id": "1"}]) == [{"id": "1"}]
    assert FORM.body([{"id": "1"}]) == {"id": "1"}

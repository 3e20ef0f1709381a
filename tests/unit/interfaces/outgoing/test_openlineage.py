"""Runs as OpenLineage: what is said of each, and that the official client's classes can hold it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from uuid import UUID

import pytest
from openlineage.client.event_v2 import InputDataset, Job, OutputDataset, Run, RunEvent, RunState
from openlineage.client.facet_v2 import (
    dataset_version_dataset,
    error_message_run,
    job_type_job,
    nominal_time_run,
)
from openlineage.client.serde import Serde

from actors.catalog.events import (
    AssetProduced,
    Event,
    RunCanceled,
    RunEnqueued,
    RunFailed,
    RunStarted,
    RunSucceeded,
)
from actors.catalog.outgoing_feed import OutgoingEvent
from actors.catalog.store import Produced, RunRecord, RunStatus
from actors.interfaces.openlineage_names import HEADWATER_PRODUCER, is_own
from actors.interfaces.outgoing.openlineage import MAX_CAUSES, OpenLineageForm, run_uuid
from actors.outgoing_settings import DatasetName

AT = 1_764_000_000_000
AT_TEXT = "2025-11-24T16:00:00.000Z"
HEX = "0f3c9a7e5b1d4c2f8a6e0d9b7c5a3f1e"
RUN_ID = f"run-{HEX}"
FORM = OpenLineageForm("headwater")
FACETS: dict[str, Any] = {
    "nominalTime": nominal_time_run.NominalTimeRunFacet,
    "errorMessage": error_message_run.ErrorMessageRunFacet,
    "jobType": job_type_job.JobTypeJobFacet,
    "version": dataset_version_dataset.DatasetVersionDatasetFacet,
}
CAUSE = {"assetId": "orders.raw", "partitionKey": None, "version": 12}
TRIGGER: dict[str, Any] = {
    "type": "auto-materialize",
    "reason": "upstream-updated",
    "assetId": "orders.daily",
    "partitionKey": "2026-11-23",
    "attempt": 1,
    "upstream": [CAUSE],
}
WINDOW = {"partitionKey": "2026-11-23", "windowStart": "2026-11-23T00:00:00Z", "windowEnd": "2026-11-24T00:00:00Z"}


def about(**more: Any) -> dict[str, Any]:
    return {"run_id": RUN_ID, "workflow_slug": "orders", "partition_key": None, "at_ms": AT, "trigger": TRIGGER, **more}


def record(**more: Any) -> RunRecord:
    given: dict[str, Any] = {"partition_key": None, "parameters": {}, **more}
    return RunRecord(RUN_ID, "orders", status=RunStatus.RUNNING, trigger={}, created_at_ms=AT, **given)


def told(event: Event, run: RunRecord | None = None) -> dict[str, Any]:
    message = FORM.message(OutgoingEvent(AT << 64, event, run))
    assert message is not None
    check_by_client(message)
    return dict(message)


def check_by_client(message: Mapping[str, Any]) -> None:
    """The client's classes check types and formats, and say the same when they write it."""
    run, job = message["run"], message["job"]
    client = RunEvent(
        eventType=RunState[message["eventType"]],
        eventTime=message["eventTime"],
        producer=message["producer"],
        run=Run(run["runId"], facets=facets_of(run)),
        job=Job(job["namespace"], job["name"], facets=facets_of(job)),
        inputs=[InputDataset(each["namespace"], each["name"], facets=facets_of(each)) for each in message["inputs"]],
        outputs=[OutputDataset(each["namespace"], each["name"], facets=facets_of(each)) for each in message["outputs"]],
    )
    assert client.schemaURL == message["schemaURL"]
    assert without_own(Serde.to_dict(client)) == without_own(message)


def facets_of(holder: Mapping[str, Any]) -> dict[str, Any]:
    for name, facet in holder["facets"].items():
        assert facet["_producer"] == HEADWATER_PRODUCER
        assert name in FACETS or name.startswith("headwater_")
        assert name.startswith("headwater_") or facet["_schemaURL"].startswith("https://openlineage.io/spec/facets/")
    return {
        name: FACETS[name](**{key: value for key, value in facet.items() if not key.startswith("_")})
        for name, facet in holder["facets"].items()
        if name in FACETS
    }


def without_own(value: Any) -> Any:
    """Without our facets, what is empty, and who wrote a facet by which schema."""
    if isinstance(value, Mapping):
        found = {
            key: without_own(inner)
            for key, inner in value.items()
            if key not in ("_producer", "_schemaURL") and not key.startswith("headwater_")
        }
        return {key: inner for key, inner in found.items() if inner not in ({}, [], None)}
    return [without_own(each) for each in value] if isinstance(value, list) else value


def test_a_start_names_job_and_inputs_with_the_versions_that_were_captured() -> None:
    message = told(RunStarted(**about(), inputs={"orders.raw": 12, "rates": 0}))
    assert (message["eventType"], message["eventTime"], message["producer"]) == ("START", AT_TEXT, HEADWATER_PRODUCER)
    assert (message["job"]["namespace"], message["job"]["name"]) == ("headwater", "orders")
    assert [(each["name"], sorted(each["facets"])) for each in message["inputs"]] == [
        ("orders.raw", ["version"]),
        ("rates", []),
    ]
    assert message["inputs"][0]["facets"]["version"]["datasetVersion"] == "12"
    assert message["outputs"] == []
    assert is_own(message["producer"], message["job"]["namespace"], "headwater")


def test_the_run_facet_says_what_led_to_it() -> None:
    facet = told(RunStarted(**about(partition_key="2026-11-23")))["run"]["facets"]["headwater_run"]
    assert (facet["runId"], facet["workflowSlug"], facet["partitionKey"]) == (RUN_ID, "orders", "2026-11-23")
    assert facet["trigger"] == {
        "type": "auto-materialize",
        "reason": "upstream-updated",
        "assetId": "orders.daily",
        "attempt": 1,
        "causes": [CAUSE],
    }


def test_of_many_causes_the_newest_are_told() -> None:
    causes = [{**CAUSE, "version": version} for version in range(MAX_CAUSES + 5)]
    event = RunStarted(**about(trigger={**TRIGGER, "upstream": causes}))
    versions = [each["version"] for each in told(event)["run"]["facets"]["headwater_run"]["trigger"]["causes"]]
    assert versions == list(range(5, MAX_CAUSES + 5))


def test_an_end_names_what_was_made() -> None:
    run = record(
        inputs={"orders.raw": 12},
        produced=(
            Produced("orders.daily", "2026-11-22", 7),
            Produced("orders.daily", "2026-11-23", 8),
            Produced("orders.log", None, 3),
        ),
    )
    message = told(RunSucceeded(**about()), run)
    assert message["eventType"] == "COMPLETE"
    assert [each["name"] for each in message["inputs"]] == ["orders.raw"]
    daily, log = message["outputs"]
    assert (daily["name"], daily["facets"]["version"]["datasetVersion"]) == ("orders.daily", "8")
    assert daily["facets"]["headwater_partitions"]["partitions"] == [
        {"partitionKey": "2026-11-22", "version": 7},
        {"partitionKey": "2026-11-23", "version": 8},
    ]
    assert (log["name"], sorted(log["facets"])) == ("orders.log", ["version"])


@pytest.mark.parametrize(
    ("event", "kind", "error"),
    [
        (RunFailed(**about(), error="step 'load': exit code 3"), "FAIL", "step 'load': exit code 3"),
        (RunFailed(**about(), lost=True), "FAIL", "nobody worked on it any more"),
        (RunCanceled(**about()), "ABORT", None),
        (RunSucceeded(**about()), "COMPLETE", None),
    ],
)
def test_how_a_run_ended(event: Event, kind: str, error: str | None) -> None:
    message = told(event, record(produced=(Produced("orders.log", None, 3),)))
    assert message["eventType"] == kind
    assert message["run"]["facets"].get("errorMessage", {}).get("message") == error
    assert [each["name"] for each in message["outputs"]] == ["orders.log"]


def test_an_asset_has_the_name_by_which_others_know_it() -> None:
    known = {"orders.raw": DatasetName(namespace="postgres://db:5432", name="shop.public.orders")}
    message = OpenLineageForm("headwater", known).message(
        OutgoingEvent(1, RunStarted(**about(), inputs={"orders.raw": 12, "rates": 1}))
    )
    assert message is not None
    inputs: Any = message["inputs"]
    assert [(each["namespace"], each["name"]) for each in inputs] == [
        ("postgres://db:5432", "shop.public.orders"),
        ("headwater", "rates"),
    ]


def test_a_run_that_is_not_kept_any_more_still_ends() -> None:
    message = told(RunSucceeded(**about()), None)
    assert (message["inputs"], message["outputs"]) == ([], [])


@pytest.mark.parametrize(
    ("partition_key", "parameters", "nominal"),
    [
        ("2026-11-23", WINDOW, ("2026-11-23T00:00:00.000Z", "2026-11-24T00:00:00.000Z")),
        ("eu", {"partitionKey": "eu"}, None),
        ("eu", {"windowStart": "yesterday", "windowEnd": "today"}, None),
        (None, {"windowStart": WINDOW["windowStart"], "windowEnd": WINDOW["windowEnd"]}, None),
    ],
)
def test_a_time_window_is_the_nominal_time(
    partition_key: str | None, parameters: dict[str, Any], nominal: tuple[str, str] | None
) -> None:
    run = record(partition_key=partition_key, parameters=parameters)
    facet = told(RunStarted(**about()), run)["run"]["facets"].get("nominalTime")
    assert (facet and (facet["nominalStartTime"], facet["nominalEndTime"])) == nominal


@pytest.mark.parametrize(
    "event", [RunEnqueued(**about()), AssetProduced(asset_id="a", produced_at_ms=AT, version=1, run_id=RUN_ID)]
)
def test_what_is_no_start_and_no_end_is_not_told(event: Event) -> None:
    assert FORM.message(OutgoingEvent(1, event)) is None


def test_the_uuid_of_a_run_is_that_of_its_id_or_follows_from_it() -> None:
    assert run_uuid(RUN_ID) == str(UUID(HEX))
    assert run_uuid("nightly") == run_uuid("nightly") != run_uuid("nightly-2")
    assert UUID(run_uuid("nightly"))

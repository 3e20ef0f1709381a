"""From a step's result to materializations."""

from __future__ import annotations

import json
from typing import Any

import pytest

from actors.catalog.definitions import parse_definition
from actors.catalog.store import NewMaterialization, RunRecord, RunStatus
from actors.catalog.timestamps import parse_iso_ms
from actors.core.freshness import FreshnessPolicy
from actors.core.graph import WorkflowSpec
from actors.execution.results import MAX_PAYLOAD_BYTES, ResultError, materializations

ENDED = parse_iso_ms("2026-11-24T10:00:00Z")
DAY = {"type": "timeWindow", "granularity": "day"}


def spec() -> WorkflowSpec:
    steps = [
        {"id": "read", "type": "job", "jobSlug": "j", "consumes": [{"assetId": "raw"}]},
        {
            "id": "make",
            "type": "job",
            "jobSlug": "j",
            "dependsOn": ["read"],
            "consumes": [{"assetId": "prices"}],
            "produces": [{"assetId": "daily", "partitioning": DAY}, {"assetId": "total"}],
        },
        {
            "id": "other",
            "type": "job",
            "jobSlug": "j",
            "produces": [{"assetId": "regional", "partitioning": {"type": "static", "keys": ["north"]}}],
        },
    ]
    text = json.dumps({"slug": "w", "name": "w", "version": 1, "steps": steps})
    return parse_definition(text, source="test").to_spec()


def read(*entries: Any, partition_key: str | None = "2026-11-23", **more: Any) -> list[NewMaterialization]:
    run = RunRecord("r1", "w", partition_key, RunStatus.RUNNING, {}, {}, created_at_ms=0)
    result = {"assets": list(entries), **more}
    return materializations(result, spec=spec(), step_id="make", run=run, ended_at_ms=ENDED)


def test_an_entry_of_the_id_alone() -> None:
    assert read({"assetId": "daily"}) == [
        NewMaterialization(
            "daily",
            "2026-11-23",
            ENDED,
            upstreams=("prices", "raw"),
            workflow_slug="w",
            run_id="r1",
            step_id="make",
        )
    ]


def test_an_entry_with_everything() -> None:
    (new,) = read(
        {
            "assetId": "daily",
            "partitionKey": "2026-11-20",
            "payload": {"rows": [1, None]},
            "producedAt": "2026-11-24T10:30:00+01:00",
            "dataVersion": 7,
            "schema": {"fields": []},
            "freshness": {"ttlMs": 5},
            "somethingElse": True,
        }
    )
    assert new.partition_key == "2026-11-20"
    assert new.payload == {"rows": [1, None]}
    assert new.produced_at_ms == parse_iso_ms("2026-11-24T09:30:00Z")
    assert new.data_version == "7"
    assert new.schema == {"fields": []}
    assert new.freshness == FreshnessPolicy(ttl_ms=5)


def test_several_partitions_and_assets() -> None:
    made = read({"assetId": "daily"}, {"assetId": "daily", "partitionKey": "2026-11-22"}, {"assetId": "total"})
    assert [(new.asset_id, new.partition_key) for new in made] == [
        ("daily", "2026-11-23"),
        ("daily", "2026-11-22"),
        ("total", None),
    ]


@pytest.mark.parametrize("result", [None, {}, {"assets": None}, {"assets": []}, {"rows": 3}])
def test_a_result_without_assets_makes_nothing(result: Any) -> None:
    run = RunRecord("r1", "w", None, RunStatus.RUNNING, {}, {}, created_at_ms=0)
    assert materializations(result, spec=spec(), step_id="make", run=run, ended_at_ms=ENDED) == []


@pytest.mark.parametrize(
    ("entry", "reason"),
    [
        ("daily", "must be an object, got str"),
        ({}, "assetId must be"),
        ({"assetId": 3}, "assetId must be"),
        ({"assetId": "regional"}, "'regional' is not declared; the step's 'produces' declares 'daily', 'total'"),
        ({"assetId": "daily", "partitionKey": 3}, "partitionKey must be text"),
        ({"assetId": "daily", "partitionKey": "2026-02-30"}, "partitionKey"),
        ({"assetId": "total", "partitionKey": "2026-11-23"}, "not partitioned"),
        ({"assetId": "total", "producedAt": 17}, "producedAt must be text"),
        ({"assetId": "total", "producedAt": "2026-11-24T10:00:00"}, "no offset"),
        ({"assetId": "total", "producedAt": "yesterday"}, "producedAt"),
        ({"assetId": "total", "producedAt": "2026-11-24T10:05:00.001Z"}, "5 minutes"),
        ({"assetId": "total", "dataVersion": True}, "dataVersion"),
        ({"assetId": "total", "dataVersion": ""}, "dataVersion"),
        ({"assetId": "total", "dataVersion": "x" * 1_001}, "dataVersion"),
        ({"assetId": "total", "freshness": {"ttlMs": -5}}, "freshness.ttlMs"),
        ({"assetId": "total", "freshness": 5}, "freshness"),
        ({"assetId": "total", "payload": "x" * MAX_PAYLOAD_BYTES}, "payload has 262146 bytes"),
        ({"assetId": "total", "schema": "x" * MAX_PAYLOAD_BYTES}, "schema has 262146 bytes"),
    ],
)
def test_refuses_and_names_step_and_entry(entry: Any, reason: str) -> None:
    with pytest.raises(ResultError) as caught:
        read({"assetId": "daily"}, entry)
    assert str(caught.value).startswith("step 'make': result.assets[1]")
    assert reason in str(caught.value)


def test_a_partitioned_asset_needs_a_key_from_somewhere() -> None:
    with pytest.raises(ResultError, match="a partition key is missing"):
        read({"assetId": "daily"}, partition_key=None)
    assert read({"assetId": "daily", "partitionKey": "2026-11-23"}, partition_key=None)


def test_produced_at_may_be_ahead_by_the_skew_of_clocks() -> None:
    (new,) = read({"assetId": "total", "producedAt": "2026-11-24T10:05:00Z"})
    assert new.produced_at_ms == ENDED + 5 * 60 * 1_000


def test_one_partition_twice() -> None:
    with pytest.raises(ResultError, match=r"assets\[1\].*'daily'.*'2026-11-23'.*twice"):
        read({"assetId": "daily"}, {"assetId": "daily", "partitionKey": "2026-11-23"})


def test_bounds_the_number_of_entries() -> None:
    with pytest.raises(ResultError, match="1001 entries"):
        read(*[{"assetId": "total"}] * 1_001)


def test_assets_must_be_a_list() -> None:
    run = RunRecord("r1", "w", None, RunStatus.RUNNING, {}, {}, created_at_ms=0)
    with pytest.raises(ResultError, match="must be a list, got dict"):
        materializations({"assets": {}}, spec=spec(), step_id="make", run=run, ended_at_ms=ENDED)


@pytest.mark.parametrize(
    ("partition_key", "expected"),
    [
        ("2026-11-23", [("daily", "2026-11-23"), ("total", None)]),
        ("north", [("total", None), ("regional", "north")]),
        (None, [("total", None)]),
    ],
)
def test_expects_what_the_partition_of_the_run_fits(
    partition_key: str | None, expected: list[tuple[str, str | None]]
) -> None:
    assert spec().expected(partition_key) == tuple(expected)

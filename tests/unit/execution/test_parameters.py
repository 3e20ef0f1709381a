from __future__ import annotations

import json
from typing import Any

import pytest

from actors.catalog.definitions import WorkflowDefinition, parse_definition
from actors.core.partitions import PartitionKeyError
from actors.execution.parameters import check_partition_key, run_parameters

DAILY = {"type": "timeWindow", "granularity": "day", "timezone": "Europe/Berlin"}
STORES = {"type": "static", "keys": ["a", "b"]}


def _workflow(*produces: dict[str, Any], defaults: dict[str, Any] | None = None) -> WorkflowDefinition:
    text = {
        "slug": "w",
        "name": "w",
        "defaultParameters": defaults or {},
        "steps": [{"id": "s", "jobSlug": "j", "produces": list(produces)}],
    }
    return parse_definition(json.dumps(text), source="w")


def _made(asset_id: str, partitioning: dict[str, Any] | None = None, **defaults: Any) -> dict[str, Any]:
    made: dict[str, Any] = {"assetId": asset_id, "autoMaterialize": {"parameterDefaults": defaults}}
    return made if partitioning is None else {**made, "partitioning": partitioning}


def test_each_layer_goes_over_the_one_before_it() -> None:
    names = ["partitionKey", "given", "stored", "asset", "default"]
    layers = [dict.fromkeys(names[: 5 - index], f"from {layer}") for index, layer in enumerate("dasg")]
    workflow = _workflow(_made("A", DAILY, **layers[1]), defaults=layers[0])
    assert run_parameters(
        workflow, asset_ids=("A",), partition_key="2026-03-29", stored=layers[2], given=layers[3]
    ) == {
        "default": "from d",
        "asset": "from a",
        "stored": "from s",
        "given": "from g",
        "partitionKey": "2026-03-29",
        "windowStart": "2026-03-28T23:00:00Z",
        # The clocks go forward on this day.
        "windowEnd": "2026-03-29T22:00:00Z",
    }


def test_only_the_wanted_assets_bring_their_defaults_in_the_order_of_the_definition() -> None:
    workflow = _workflow(_made("A", x=1, a=1), _made("B", x=2, b=2), _made("C", x=3, c=3))
    found = run_parameters(workflow, asset_ids=("B", "A"), partition_key=None, stored={}, given={})
    assert found == {"x": 2, "a": 1, "b": 2}


def test_a_value_is_replaced_whole() -> None:
    workflow = _workflow(_made("A"), defaults={"limits": {"rows": 1, "bytes": 2}})
    found = run_parameters(workflow, asset_ids=(), partition_key=None, stored={}, given={"limits": {"rows": 5}})
    assert found == {"limits": {"rows": 5}}


def test_the_definition_is_left_as_it_was() -> None:
    workflow = _workflow(_made("A"), defaults={"x": 1})
    run_parameters(workflow, asset_ids=("A",), partition_key=None, stored={}, given={"x": 2})
    assert workflow.default_parameters == {"x": 1}


def test_parameters_are_derived_by_the_partitioning_of_the_wanted_asset() -> None:
    workflow = _workflow(_made("stores", STORES), _made("days", DAILY))
    found = run_parameters(workflow, asset_ids=("stores",), partition_key="a", stored={}, given={})
    assert found == {"partitionKey": "a"}
    with pytest.raises(PartitionKeyError, match=r"'stores'"):
        run_parameters(workflow, asset_ids=("stores",), partition_key="2026-03-29", stored={}, given={})


def test_without_wanted_assets_any_partitioning_that_fits_counts() -> None:
    workflow = _workflow(_made("stores", STORES), _made("days", DAILY))
    found = run_parameters(workflow, asset_ids=(), partition_key="2026-03-29", stored={}, given={})
    assert found["windowStart"] == "2026-03-28T23:00:00Z"


def test_a_key_must_fit_something_that_the_workflow_makes() -> None:
    workflow = _workflow(_made("stores", STORES), _made("plain"))
    check_partition_key(workflow, "a")
    with pytest.raises(PartitionKeyError, match=r"'stores'.*'c' is unknown"):
        check_partition_key(workflow, "c")
    with pytest.raises(PartitionKeyError, match=r"'stores'.*missing"):
        check_partition_key(workflow, None)


def test_a_workflow_without_partitions_takes_no_key() -> None:
    workflow = _workflow(_made("plain"))
    check_partition_key(workflow, None)
    with pytest.raises(PartitionKeyError, match="leave 'a' out"):
        check_partition_key(workflow, "a")

"""CloudEvents in their three modes; the same one twice is recorded once."""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping
from typing import Any

import pytest

from tests.integration.http.conftest import API, House

pytestmark = pytest.mark.integration

STRUCTURED = "application/cloudevents+json"
BATCHED = "application/cloudevents-batch+json"
AT = "2026-11-23T10:00:00.000Z"


def event(id_: str = "1", type_: str = "asset.produced", /, **data: Any) -> dict[str, Any]:
    told = {"assetId": "orders.raw", "producedAt": AT} if type_ == "asset.produced" else {"assetId": "orders.raw"}
    return {"specversion": "1.0", "id": id_, "source": "/loads/nightly", "type": type_, "data": {**told, **data}}


def post(house: House, kind: str, body: Any, headers: Mapping[str, str] | None = None, status: int = 200) -> Any:
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    answer = house.client.post(f"{API}/events", content=content, headers={"Content-Type": kind, **(headers or {})})
    assert answer.status_code == status, answer.text
    return answer.json()


def binary(told: Mapping[str, Any]) -> tuple[Any, dict[str, str]]:
    return told["data"], {f"ce-{name}": told[name] for name in ("specversion", "id", "source", "type")}


def versions(house: House, asset_id: str = "orders.raw") -> list[int]:
    return [entry.materialization.version for entry in house.store.history(asset_id)]


def send(house: House, mode: str, told: dict[str, Any]) -> Any:
    match mode:
        case "structured":
            return post(house, STRUCTURED, told)
        case "batched":
            (taken,) = post(house, BATCHED, [told])
            return taken
        case _:
            body, headers = binary(told)
            return post(house, "application/json", body, headers)


@pytest.mark.parametrize("again", ["structured", "batched", "binary"])
@pytest.mark.parametrize("mode", ["structured", "batched", "binary"])
def test_once_in_whatever_mode(filled: House, mode: str, again: str) -> None:
    told = event(dataVersion="8f2c", payload={"rows": 3})
    first = send(filled, mode, told)
    assert first == {
        "id": "1", "source": "/loads/nightly", "type": "asset.produced", "assetId": "orders.raw", "partitionKey": None,
        "version": 1, "changed": True, "duplicate": False,
    }  # fmt: skip
    assert send(filled, again, told) == {**first, "duplicate": True}
    (entry,) = filled.store.history("orders.raw")
    assert (entry.materialization.data_version, entry.payload) == ("8f2c", {"rows": 3})


def test_source_and_id_make_it_one(filled: House) -> None:
    # Put together without care, these would be one.
    first, second = event("1"), event("1/1")
    first["source"], second["source"] = "/a/1", "/a"
    third = {**event("1"), "source": "/a"}
    post(filled, BATCHED, [first, second, third, first])
    assert versions(filled) == [3, 2, 1]


def test_the_time_of_the_event_stands_for_that_of_the_data(filled: House) -> None:
    told = event()
    del told["data"]["producedAt"]
    assert post(filled, STRUCTURED, told, status=422)["errors"][0]["path"].startswith("$.data")
    post(filled, STRUCTURED, {**told, "time": AT})
    (entry,) = filled.store.history("orders.raw")
    assert entry.materialization.produced_at_ms == 1_795_428_000_000


def test_data_in_base64(filled: House) -> None:
    told = event()
    told["data_base64"] = base64.b64encode(json.dumps(told.pop("data")).encode()).decode()
    assert post(filled, STRUCTURED, told)["version"] == 1


def test_headers_are_percent_encoded(filled: House) -> None:
    body, headers = binary(event())
    told = post(filled, "application/json", body, {**headers, "ce-source": "/l%C3%A4den"})
    assert told["source"] == "/läden"


def test_an_expiry_counts_once_and_not_for_what_came_later(filled: House) -> None:
    post(filled, STRUCTURED, event())
    expired = {**event("2", "asset.expired"), "time": "2026-11-23T11:00:00Z"}
    assert post(filled, STRUCTURED, expired)["changed"] is True
    assert post(filled, STRUCTURED, expired)["changed"] is False
    post(filled, STRUCTURED, event("3", producedAt="2026-11-23T12:00:00Z"))
    assert post(filled, STRUCTURED, expired)["changed"] is False
    post(filled, STRUCTURED, event("4", "asset.expired"), status=422)


def test_partitions_are_checked(filled: House) -> None:
    post(filled, STRUCTURED, event(assetId="orders/store", partitionKey="a"))
    told = post(filled, STRUCTURED, event("2", assetId="orders/store", partitionKey="c"), status=422)
    assert told["errors"][0]["path"] == "$.data.partitionKey"
    assert versions(filled, "orders/store") == [1]


@pytest.mark.parametrize(
    ("change", "path"),
    [
        ({"specversion": "0.3"}, "$[1].specversion"),
        ({"id": ""}, "$[1].id"),
        ({"source": None}, "$[1].source"),
        ({"type": "workflow.updated"}, "$[1].type"),
        ({"data": None}, "$[1].data"),
        ({"data": {"assetId": "a b", "producedAt": AT}}, "$[1].data.assetId"),
        ({"data": {"assetId": "x", "producedAt": "2999-01-01T00:00:00Z"}}, "$[1].data.producedAt"),
        ({"data": {"assetId": "x", "producedAt": AT, "version": 7}}, "$[1].data.version"),
        ({"data": {"assetId": "x", "producedAt": AT, "inputs": {}}}, "$[1].data.inputs"),
    ],
)
def test_one_that_cannot_be_used_spoils_its_batch(filled: House, change: dict[str, Any], path: str) -> None:
    told = post(filled, BATCHED, [event(), {**event("2"), **change}, event("3")], status=422)
    assert [error["path"] for error in told["errors"]] == [path]
    assert versions(filled) == []


def test_what_is_no_event(filled: House) -> None:
    post(filled, BATCHED, event(), status=422)
    post(filled, STRUCTURED, [event()], status=422)
    post(filled, STRUCTURED, b"{", status=400)
    post(filled, "application/json", event()["data"], status=422)
    post(filled, "text/plain", event(), status=415)
    assert post(filled, BATCHED, []) == []


def test_a_run_of_ours_is_not_made_up(filled: House) -> None:
    run = filled.send("POST", "/workflows/daily/run", {}, 202)
    post(filled, STRUCTURED, event(runId=run["runId"], stepId="make"), status=409)
    assert versions(filled) == []

"""What each route tells and does, over a real catalog; what needs actors is in `test_service`."""

from __future__ import annotations

import json
import time
from typing import Any
from urllib.parse import quote

import pytest

from actors.catalog.store import NewMaterialization, RunStatus
from tests.integration.http.conftest import API, House
from tests.integration.service.workflows import produce, workflow

pytestmark = pytest.mark.integration


def record(house: House, asset_id: str, key: str | None = None, *, at_ms: int = 1_795_000_000_000, **more: Any) -> None:
    house.store.record(NewMaterialization(asset_id, key, at_ms, **more))


class TestAssets:
    def test_a_list_by_pages(self, filled: House) -> None:
        names, cursor, pages = list[str](), None, 0
        while True:
            page = filled.get("/assets", limit=1, **({"cursor": cursor} if cursor else {}))
            names += [item["assetId"] for item in page["items"]]
            cursor, pages = page["nextCursor"], pages + 1
            if cursor is None:
                break
        assert names == ["orders.daily", "orders.raw", "orders.weekly", "orders/store"]
        assert pages == 4

    def test_an_asset_that_is_gone_moves_no_page(self, filled: House) -> None:
        cursor = filled.get("/assets", limit=2)["nextCursor"]
        filled.send("DELETE", "/workflows/daily")
        rest = filled.get("/assets", cursor=cursor)
        assert [item["assetId"] for item in rest["items"]] == ["orders.weekly", "orders/store"]

    def test_filters(self, filled: House) -> None:
        record(filled, "orders.raw")
        record(filled, "orders/store", "a")

        def ids(**params: Any) -> list[str]:
            return [item["assetId"] for item in filled.get("/assets", **params)["items"]]

        assert ids(prefix="orders.") == ["orders.daily", "orders.raw", "orders.weekly"]
        assert ids(workflow="daily") == ["orders.daily"]
        assert ids(state="fresh") == ["orders.raw", "orders/store"]
        assert ids(state="suspended") == []
        assert ids(state="fresh", prefix="orders/") == ["orders/store"]

    def test_a_filtered_list_goes_on_where_it_stopped(self, house: House) -> None:
        for number in range(6):
            record(house, f"a{number}")
        house.store.pause("asset:a3", None, None, 1)
        first = house.get("/assets", state="fresh", limit=3)
        second = house.get("/assets", state="fresh", limit=3, cursor=first["nextCursor"])
        told = [item["assetId"] for page in (first, second) for item in page["items"]]
        assert told == ["a0", "a1", "a2", "a3", "a4", "a5"]
        assert second["nextCursor"] is None

    def test_a_cursor_of_somebody_else(self, filled: House) -> None:
        assert filled.client.get(f"{API}/assets", params={"cursor": "!"}).status_code == 422

    @pytest.mark.parametrize("asset_id", ["orders/store", "a/history", "a+b", "a%2Fb", "ä/ö?#", "history"])
    def test_an_id_may_hold_what_it_likes(self, house: House, asset_id: str) -> None:
        record(house, asset_id)
        path = f"{API}/assets/{quote(asset_id, safe='')}"
        answer = house.client.get(path)
        assert answer.status_code == 200, answer.text
        assert (answer.json()["assetId"], answer.json()["live"]) == (asset_id, False)
        (entry,) = house.client.get(f"{path}/history").json()
        assert (entry["assetId"], entry["version"]) == (asset_id, 1)

    def test_slashes_may_be_left_as_they_are(self, filled: House) -> None:
        record(filled, "orders/store", "a")
        assert filled.get("/assets/orders/store/history")[0]["partitionKey"] == "a"

    def test_history_of_a_partition(self, filled: House) -> None:
        for key in ("a", "b", "a"):
            record(filled, "orders/store", key, payload={"rows": 1})
        told = filled.get("/assets/orders%2Fstore/history", partition="a")
        assert [(entry["version"], entry["payload"]) for entry in told] == [(3, {"rows": 1}), (1, {"rows": 1})]
        assert len(filled.get("/assets/orders%2Fstore/history", limit=2)) == 2

    def test_partitions_by_pages(self, house: House) -> None:
        for key in ("c", "a", "b"):
            record(house, "x", key)
        first = house.get("/assets/x/partitions", limit=2)
        assert [one["partitionKey"] for one in first["items"]] == ["a", "b"]
        assert [one["state"] for one in first["items"]] == ["fresh", "fresh"]
        second = house.get("/assets/x/partitions", limit=2, cursor=first["nextCursor"])
        assert ([one["partitionKey"] for one in second["items"]], second["nextCursor"]) == (["c"], None)

    @pytest.mark.parametrize("route", ["", "/history", "/partitions", "/explain"])
    def test_one_that_is_not_there(self, filled: House, route: str) -> None:
        answer = filled.client.get(f"{API}/assets/orders.dayly{route}")
        assert answer.status_code == 404
        assert "did you mean 'orders.daily'" in answer.json()["detail"]

    def test_mark_stale_expires_the_latest_once(self, filled: House) -> None:
        record(filled, "orders.daily")
        told = filled.send("POST", "/assets/orders.daily/mark-stale")
        assert told == {"assetId": "orders.daily", "partitionKey": None, "version": 1, "expired": True}
        assert filled.send("POST", "/assets/orders.daily/mark-stale", {})["expired"] is False
        filled.send("POST", "/assets/orders.weekly/mark-stale", {}, 409)
        filled.send("POST", "/assets/orders.daily/mark-stale", {"partitionKey": "a"}, 422)

    def test_resume(self, filled: House) -> None:
        told = filled.send("POST", "/assets/orders%2Fstore/resume", {"partitionKey": "a"})
        assert told == {"assetId": "orders/store", "partitionKey": "a", "cleared": 0}


class TestWorkflows:
    def test_put_show_list_drop(self, house: House) -> None:
        definition = workflow("daily", produce("orders.daily"), consumes=["orders.raw"], ourOwn={"kept": True})
        assert house.send("PUT", "/workflows/daily", definition)["result"] == "created"
        assert house.send("PUT", "/workflows/daily", definition)["result"] == "unchanged"
        shown = house.get("/workflows/daily")
        assert shown["definition"] == definition
        (listed,) = house.get("/workflows")
        assert listed == {
            "slug": "daily", "name": "daily", "version": 1, "steps": 1, "assets": ["orders.daily"],
            "optedIn": ["orders.daily"], "reads": ["orders.raw"], "source": "command",
        }  # fmt: skip
        assert {key: shown[key] for key in listed} == listed
        assert house.send("DELETE", "/workflows/daily") == {"slug": "daily", "removed": True, "note": None}
        house.send("DELETE", "/workflows/daily", status=404)
        house.send("DELETE", "/workflows/a%13", status=404)
        assert house.get("/workflows") == []

    def test_yaml(self, house: House) -> None:
        text = "slug: w\nname: W\nsteps:\n- {id: a, jobSlug: j, produces: [{assetId: x}]}\n"
        answer = house.client.put(f"{API}/workflows/w", content=text, headers={"Content-Type": "application/yaml"})
        assert (answer.status_code, answer.json()["result"]) == (200, "created")

    def test_a_definition_that_cannot_be_used_says_where(self, house: House) -> None:
        told = house.send("PUT", "/workflows/w", {"slug": "w", "name": "W", "steps": [{"id": "a"}, {"id": "a"}]}, 422)
        assert told["errors"]
        assert all(error["path"].startswith("$.steps") for error in told["errors"])
        told = house.send("PUT", "/workflows/other", workflow("w"), 422)
        assert [error["path"] for error in told["errors"]] == ["$.slug"]
        assert house.get("/workflows") == []

    def test_a_circle_is_refused(self, filled: House) -> None:
        circle = workflow("circle", produce("orders.raw"), consumes=["orders.weekly"])
        told = filled.send("PUT", "/workflows/circle", circle, 409)
        assert "circle -> daily -> weekly -> circle" in told["detail"]
        checked = filled.send("POST", "/workflows/validate", circle)
        assert checked["status"] == "invalid"
        assert "in a circle" in checked["problems"][0]["reason"]

    def test_validate_changes_nothing(self, filled: House) -> None:
        before = filled.store.position()
        told = filled.send("POST", "/workflows/validate", workflow("daily", produce("other"), consumes=["orders.raw"]))
        assert (told["status"], told["slug"], told["version"]) == ("warnings", "daily", 1)
        assert any("there is no job 'work'" in warning["reason"] for warning in told["warnings"])
        assert filled.send("POST", "/workflows/validate", {"slug": 1})["status"] == "invalid"
        assert "/" not in json.dumps(told["problems"])
        assert filled.store.position() == before

    def test_a_run_by_hand(self, filled: House) -> None:
        body = {"partitionKey": "a", "parameters": {"full": True}, "remember": True}
        run = filled.send("POST", "/workflows/by-store/run", body, 202)
        assert (run["status"], run["partitionKey"], run["trigger"]["type"]) == ("queued", "a", "manual")
        assert (run["parameters"]["full"], run["parameters"]["partitionKey"]) == (True, "a")
        assert filled.store.partition_parameters("by-store", "a") == {"full": True}
        assert filled.get(f"/runs/{run['runId']}")["steps"] == []
        assert filled.send("POST", f"/runs/{run['runId']}/cancel")["status"] == "canceled"
        filled.send("POST", f"/runs/{run['runId']}/cancel", status=409)

    @pytest.mark.parametrize(
        "body", [{}, {"partitionKey": "c"}, {"partitionKey": "a", "remember": True}, {"partitionKey": "a", "x": 1}]
    )
    def test_a_run_that_cannot_be(self, filled: House, body: dict[str, Any]) -> None:
        filled.send("POST", "/workflows/by-store/run", body, 422)
        assert filled.store.queued_runs() == []

    def test_what_it_does_by_itself(self, filled: House) -> None:
        filled.put(workflow("hourly", produce("x", {}, freshness={"ttlMs": 3_600_000})))
        record(filled, "x", at_ms=time.time_ns() // 1_000_000, workflow_slug="hourly",
               declared_freshness=filled.store.workflow("hourly").to_spec().assets[0].freshness)  # type: ignore[union-attr]  # fmt: skip
        told = filled.get("/workflows/hourly/auto-materialize")
        assert (told["optedIn"], told["inFlight"], told["backoff"], told["lastRun"]) == (["x"], [], [], None)
        (refresh,) = told["nextRefreshes"]
        assert (refresh["assetId"], refresh["rule"], refresh["at"]) == ("x", "ttl", told["nextRefreshAt"])
        filled.send("POST", "/pauses", {"scope": "workflow:hourly"})
        assert filled.get("/workflows/hourly/auto-materialize")["pause"]["scope"] == "workflow:hourly"


class TestRuns:
    def test_filters(self, filled: House) -> None:
        for slug in ("daily", "weekly", "daily"):
            filled.send("POST", f"/workflows/{slug}/run", {}, 202)
        assert [run["workflowSlug"] for run in filled.get("/runs")] == ["daily", "weekly", "daily"]
        assert len(filled.get("/runs", workflow="daily", limit=1)) == 1
        assert len(filled.get("/runs", status="queued", trigger="manual")) == 3
        assert filled.get("/runs", trigger="auto-materialize") == []

    @pytest.mark.parametrize("route", ["", "/steps", "/logs"])
    def test_one_that_is_not_there(self, house: House, route: str) -> None:
        assert house.client.get(f"{API}/runs/run-1{route}").status_code == 404

    def test_the_audit_is_empty_at_first(self, house: House) -> None:
        assert house.get("/audit") == []
        assert house.store.runs(status=RunStatus.QUEUED) == []


class TestPauses:
    def test_set_list_end(self, filled: House) -> None:
        made = filled.send("POST", "/pauses", {"scope": "asset:orders/store", "for": "2h", "reason": "moving"})
        assert (made["scope"], made["reason"]) == ("asset:orders/store", "moving")
        assert filled.get("/pauses") == [made]
        told = filled.send("DELETE", f"/pauses/{quote('asset:orders/store', safe='')}")
        assert told == {"scope": "asset:orders/store", "unpaused": True, "left": []}
        filled.send("DELETE", "/pauses/asset:orders/store", status=404)

    @pytest.mark.parametrize(
        ("body", "status"),
        [
            ({"scope": "everything"}, 422),
            ({"scope": "workflow:nope"}, 404),
            ({"scope": "asset:nope"}, 404),
            ({"scope": "all", "for": "soon"}, 422),
            ({"scope": "all", "for": "2h", "until": "2999-01-01T00:00:00Z"}, 422),
            ({"scope": "all", "until": "2001-01-01T00:00:00Z"}, 422),
            ({"scope": "all", "until": "tomorrow"}, 422),
            ({"scope": "all", "reason": "x" * 201}, 422),
        ],
    )
    def test_one_that_cannot_be_set(self, filled: House, body: dict[str, Any], status: int) -> None:
        filled.send("POST", "/pauses", body, status)
        assert filled.get("/pauses") == []


def test_the_graph(filled: House) -> None:
    told = filled.get("/graph")
    assert {"upstream": "orders.raw", "assetId": "orders.daily", "kind": "triggers"} in told["edges"]
    assert [node["assetId"] for node in told["assets"]][:2] == ["orders.daily", "orders.raw"]


def test_a_plan(filled: House) -> None:
    record(filled, "orders.raw")
    before = filled.store.position()
    told = filled.send("POST", "/plan", {"produced": [{"assetId": "orders.raw"}], "minutes": 10})
    # The first is what a service that starts now makes in any case.
    assert [run["workflowSlug"] for run in told["runs"]] == ["daily", "daily", "weekly"]
    assert [cause["by"] for cause in told["runs"][1]["becauseOf"]] == ["event"]
    assert (told["isServiceRunning"], told["isComplete"]) == (False, True)
    assert "never produced" in filled.send("POST", "/plan", {"expired": [{"assetId": "orders.weekly"}]}, 409)["detail"]
    filled.send("POST", "/plan", {"expired": [{"assetId": "orders/store"}]}, 422)
    assert filled.store.position() == before


def test_metrics(house: House) -> None:
    answer = house.client.get("/metrics")
    assert (answer.status_code, answer.headers["content-type"].partition(";")[0]) == (200, "text/plain")

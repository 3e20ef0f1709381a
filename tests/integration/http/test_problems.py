"""Every error is a problem (RFC 9457), whatever went wrong."""

from __future__ import annotations

from typing import Any

import pytest
from redis import Redis

from actors.catalog.access import Catalog
from actors.catalog.connection import connect
from actors.catalog.control import ControlClient
from actors.catalog.redis_store import RedisStore
from actors.interfaces.http.app import make_app
from tests.integration.conftest import running_server
from tests.integration.http.conftest import API, Build, House

pytestmark = pytest.mark.integration


def problem(house: House, method: str, path: str, status: int, **more: Any) -> dict[str, Any]:
    answer = house.client.request(method, path, **more)
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    told: dict[str, Any] = answer.json()
    assert told["status"] == status
    assert told["type"].startswith("urn:headwater:problem:")
    assert told["title"]
    assert told["detail"]
    assert told["instance"] == path.partition("?")[0]
    return told


def test_no_such_path_and_no_such_method(house: House) -> None:
    problem(house, "GET", "/nothing", 404)
    problem(house, "GET", f"{API}/runs/", 404)
    problem(house, "PATCH", f"{API}/runs", 405)


def test_a_parameter_that_does_not_fit_is_named(house: House) -> None:
    told = problem(house, "GET", f"{API}/runs?status=done&limit=0", 422)
    assert [error["path"] for error in told["errors"]] == ["$.status", "$.limit"]


def test_a_parameter_that_is_not_there_is_refused(house: House) -> None:
    assert "'satus'" in problem(house, "GET", f"{API}/runs?satus=failed", 422)["detail"]
    assert "twice" in problem(house, "GET", f"{API}/runs?limit=1&limit=2", 422)["detail"]


@pytest.mark.parametrize(
    ("text", "status", "path"),
    [
        (b"{", 400, "$"),
        (b'{"scope": "all", "scope": "all"}', 400, "$"),
        (b'{"scope": "all", "reason": NaN}', 400, "$"),
        (b'{"scope": "\\ud800"}', 400, "$.scope"),
        (b"\xff", 400, "$"),
        (b"[" * 100_000, 400, "$"),
        (b'{"scope": "all", "forr": "2h"}', 422, "$.forr"),
        (b'{"scope": 1}', 422, "$.scope"),
        (b"[]", 422, "$"),
        (b"", 422, "$.scope"),
    ],
)
def test_a_body_that_does_not_fit(house: House, text: bytes, status: int, path: str) -> None:
    headers = {"Content-Type": "application/json"}
    told = problem(house, "POST", f"{API}/pauses", status, content=text, headers=headers)
    assert [error["path"] for error in told["errors"]] == [path]
    assert house.store.pauses(0) == {}


def test_another_media_type(house: House) -> None:
    problem(house, "POST", f"{API}/pauses", 415, content=b"scope=all", headers={"Content-Type": "text/plain"})


def test_a_standby_says_that_nobody_leads(build: Build) -> None:
    house = build(role="standby")
    build().put({"slug": "daily", "name": "d", "steps": [{"id": "a", "jobSlug": "j", "produces": [{"assetId": "x"}]}]})
    told = problem(house, "GET", f"{API}/assets/x", 503)
    assert (told["type"], told["leader"]) == ("urn:headwater:problem:standby", None)
    assert house.get("/workflows/daily")["slug"] == "daily"
    problem(house, "GET", f"{API}/decisions", 503)


def test_a_service_that_starts(build: Build) -> None:
    house = build(role="starting")
    assert house.client.get("/healthz").status_code == 200
    answer = house.client.get("/readyz")
    assert (answer.status_code, answer.json()) == (503, {"role": "starting"})
    problem(house, "GET", f"{API}/decisions", 503)


def test_a_catalog_that_is_gone(build: Build) -> None:
    house = build()
    with running_server("valkey") as url:
        client: Redis = connect(url, socket_timeout_seconds=0.2)
        catalog = Catalog(RedisStore(client, prefix="gone"), ControlClient(client, prefix="gone"), client)
        there = House(house.client, catalog.store, house.access)
        access = type(house.access)(
            **{name: getattr(house.access, name) for name in house.access.__slots__} | {"catalog": catalog}
        )
        there.client.app.state.access = access  # type: ignore[attr-defined]
        assert there.get("/runs") == []
    told = problem(there, "GET", f"{API}/runs", 503)
    assert told["type"] == "urn:headwater:problem:catalog-unavailable"
    assert there.client.get("/healthz").status_code == 200
    client.close()


def test_a_defect_is_logged_and_not_told(build: Build, monkeypatch: pytest.MonkeyPatch) -> None:
    house = build()

    def broken(**_: object) -> None:
        raise ZeroDivisionError("secret detail")

    monkeypatch.setattr(house.access.store, "audit", broken)
    told = problem(house, "GET", f"{API}/audit", 500)
    assert "secret" not in str(told)


def test_the_document_needs_no_token(build: Build) -> None:
    document = build(shown=None).client.get("/openapi.json").json()
    assert document == make_app(None).openapi()
    assert document["components"]["securitySchemes"] == {"token": {"type": "http", "scheme": "bearer"}}

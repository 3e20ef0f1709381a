"""How much a client may send, and how often."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Any

import pytest

from actors.interfaces.http.bounds import MAX_BODY_BYTES, MAX_REQUESTS, Bounds, RateLimit
from tests.integration.http.conftest import API, Build, House

pytestmark = pytest.mark.integration


class TestRateLimit:
    def test_twice_the_rate_at_once_and_then_the_rate(self) -> None:
        now = 100.0
        limit = RateLimit(8, lambda: now)
        assert [limit.wait_seconds("a") for _ in range(16)] == [0.0] * 16
        assert limit.wait_seconds("a") == 0.125
        now += 0.125
        assert limit.wait_seconds("a") == 0.0
        assert limit.wait_seconds("a") > 0
        now += 3_600
        assert [limit.wait_seconds("a") for _ in range(16)] == [0.0] * 16
        assert limit.wait_seconds("a") > 0

    def test_each_client_has_its_own(self) -> None:
        limit = RateLimit(0.5, lambda: 0.0)
        assert limit.wait_seconds("a") == 0
        assert limit.wait_seconds("a") == pytest.approx(2)
        assert limit.wait_seconds("b") == 0

    def test_a_refused_request_costs_nothing(self) -> None:
        now = 0.0
        limit = RateLimit(1, lambda: now)
        for _ in range(100):
            limit.wait_seconds("a")
        now += 1
        assert limit.wait_seconds("a") == 0

    def test_it_forgets_whom_it_did_not_hear_of_for_longest(self) -> None:
        limit = RateLimit(0.5, lambda: 0.0)
        limit.wait_seconds("old")
        for number in range(10_000):
            limit.wait_seconds(f"client {number}")
        assert limit.wait_seconds("old") == 0
        assert limit.wait_seconds("client 9999") > 0

    def test_zero_is_no_bound(self) -> None:
        assert {RateLimit(0, lambda: 0.0).wait_seconds("a") for _ in range(1_000)} == {0.0}


def test_who_asks_too_often_is_told_when_to_come_back(build: Build) -> None:
    house = build(per_second=0.5)
    assert house.client.get(f"{API}/runs").status_code == 200
    answer = house.client.get(f"{API}/runs")
    assert (answer.status_code, answer.json()["type"]) == (429, "urn:headwater:problem:too-many-requests")
    assert answer.headers["retry-after"] == "2"
    assert house.client.get("/healthz").status_code == 200


def _parts(size: int) -> Iterator[bytes]:
    for _ in range(size // 1024):
        yield b" " * 1024


@pytest.mark.parametrize("body", [b" " * (MAX_BODY_BYTES + 1), _parts(MAX_BODY_BYTES + 1024)], ids=["whole", "parts"])
def test_a_body_that_is_too_large(house: House, body: Any) -> None:
    answer = house.client.post(f"{API}/pauses", content=body, headers={"Content-Type": "application/json"})
    assert (answer.status_code, answer.json()["type"]) == (413, "urn:headwater:problem:too-large")


def test_a_body_that_just_fits(house: House) -> None:
    body = b'{"scope": "all"}'.ljust(MAX_BODY_BYTES)
    answer = house.client.post(f"{API}/pauses", content=body, headers={"Content-Type": "application/json"})
    assert answer.status_code == 200, answer.text


def test_one_request_too_many_at_once() -> None:
    async def play() -> list[int]:
        release, told, entered = asyncio.Event(), list[int](), list[None]()

        async def app(_scope: Any, _receive: Any, send: Any) -> None:
            entered.append(None)
            await release.wait()
            await send({"type": "http.response.start", "status": 200, "headers": []})

        async def receive() -> dict[str, Any]:
            return {"type": "http.request", "body": b"", "more_body": False}

        async def send(message: Any) -> None:
            if message["type"] == "http.response.start":
                told.append(message["status"])

        bounds = Bounds(app, RateLimit(0))
        scope = {"type": "http", "path": "/x", "method": "GET", "headers": [], "client": ("a", 1)}
        held = [asyncio.create_task(bounds(scope, receive, send)) for _ in range(MAX_REQUESTS)]
        while len(entered) < MAX_REQUESTS:
            await asyncio.sleep(0)
        await bounds(scope, receive, send)
        release.set()
        await asyncio.gather(*held)
        await bounds(scope, receive, send)
        return told

    assert asyncio.run(play()) == [503, *[200] * (MAX_REQUESTS + 1)]

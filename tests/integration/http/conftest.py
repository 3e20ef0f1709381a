"""The API over a real catalog: in this process, where a test says in which role, or in a real service's."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient
from prometheus_client import CollectorRegistry
from redis import Redis

from actors.catalog.access import Catalog
from actors.catalog.control import ControlClient
from actors.catalog.redis_store import RedisStore
from actors.catalog.store import Json, JsonObject
from actors.interfaces.health import Role
from actors.interfaces.http.access import ServiceAccess, now_ms
from actors.interfaces.http.app import make_app
from actors.interfaces.http.decisions import DecisionFeed
from actors.interfaces.http.planner import Planner
from actors.settings import HttpTokens, Settings, load_settings
from tests.integration.service.driver import Service
from tests.integration.service.workflows import produce, workflow

API = "/api/v1"
OPERATOR = "operator-token-0123456789"
READER = "reader-token-0123456789"
BOTH = HttpTokens(OPERATOR, READER)


def bearer(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}


@dataclass
class House:
    """An application over a catalog; no actors are there to be asked, and a test that asks them says what they say."""

    client: TestClient
    store: RedisStore
    access: ServiceAccess

    def get(self, path: str, **params: Any) -> Any:
        answer = self.client.get(API + path, params=params)
        assert answer.status_code == 200, answer.text
        return answer.json()

    def send(self, method: str, path: str, body: Any = None, status: int = 200) -> Any:
        answer = self.client.request(method, API + path, json=body)
        assert answer.status_code == status, answer.text
        return answer.json()

    def put(self, *definitions: Mapping[str, Any]) -> None:
        for definition in definitions:
            self.send("PUT", f"/workflows/{definition['slug']}", dict(definition))


Build = Callable[..., House]


@pytest.fixture
def build(client: Redis, store: RedisStore, prefix: str, server_url: str, tmp_path: Path) -> Iterator[Build]:
    """Makes a house; by default one that leads, whose client shows the token of operators."""
    planners = []
    for folder in ("jobs", "workflows"):
        (tmp_path / folder).mkdir()
    file = tmp_path / "settings.toml"

    def make(
        *, tokens: HttpTokens = BOTH, role: Role = "leader", shown: str | None = OPERATOR, per_second: float = 0
    ) -> House:
        file.write_text(
            'data_dir = "data"\nworkflows_dir = "workflows"\njobs_dir = "jobs"\n'
            f'[redis]\nurl = "{server_url}"\nprefix = "{prefix}"\n[http]\nrequests_per_second = {per_second}\n'
        )
        settings: Settings = load_settings([file], {})
        planners.append(Planner())
        access = ServiceAccess(
            settings=lambda: settings,
            catalog=Catalog(store, ControlClient(client, prefix=prefix), client),
            ask=_nobody,
            role=lambda: role,
            metrics=CollectorRegistry(),
            decisions=DecisionFeed(leads=lambda: role == "leader", now_ms=now_ms),
            planner=planners[-1],
            tokens=tokens,
        )
        made = TestClient(make_app(access), raise_server_exceptions=False)
        made.headers.update(bearer(shown) if shown is not None else {})
        return House(made, store, access)

    yield make
    for planner in planners:
        planner.stop()


@pytest.fixture
def house(build: Build) -> House:
    return build()


def _nobody(op: str, args: JsonObject) -> Json:
    raise LookupError("the registry is being restarted; ask again in a moment")


@pytest.fixture
def filled(house: House) -> House:
    """`daily` and `weekly` follow `orders.raw`; `by-store` has partitions."""
    house.put(
        workflow("daily", produce("orders.daily"), consumes=["orders.raw"]),
        workflow("weekly", produce("orders.weekly"), consumes=["orders.daily"]),
        workflow("by-store", produce("orders/store", None, partitioning={"type": "static", "keys": ["a", "b"]})),
    )
    return house


def serve(service: Service, port: int, **more: Any) -> None:
    """Let it serve the API at this port."""
    service.configure(http={"port": port, "token": OPERATOR, "read_token": READER, **more})

"""The paths for probes, asked over HTTP as a probe asks."""

from __future__ import annotations

import json
import urllib.error
import urllib.request
from collections.abc import Iterator

import pytest
from prometheus_client import CollectorRegistry

from actors.interfaces.health import CatalogWatch, Role
from actors.interfaces.metrics import MetricsObserver, start_metrics_server


class Probed:
    """A service whose role a test sets."""

    def __init__(self) -> None:
        self.role: Role = "starting"
        self.watch = CatalogWatch(lambda: 0)
        registry = CollectorRegistry()
        MetricsObserver(registry, leads=lambda: self.role == "leader")
        self.server = start_metrics_server("127.0.0.1", 0, registry, lambda: self.role, self.watch.trouble)

    def get(self, path: str) -> tuple[int, str]:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.server.port}{path}", timeout=10) as answer:
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as error:
            with error:
                return error.code, error.read().decode()


@pytest.fixture
def probed() -> Iterator[Probed]:
    probed = Probed()
    yield probed
    probed.server.stop()


@pytest.mark.parametrize(("role", "ready"), [("starting", 503), ("standby", 200), ("leader", 200)])
def test_who_answers_is_alive_and_ready_unless_it_starts(probed: Probed, role: Role, ready: int) -> None:
    probed.role = role
    for path, status in (("/healthz", 200), ("/readyz", ready)):
        code, body = probed.get(path)
        assert (code, json.loads(body)) == (status, {"role": role})


@pytest.mark.parametrize(("role", "value"), [("standby", "0.0"), ("leader", "1.0")])
def test_the_metrics_are_beside_them_and_tell_the_role(probed: Probed, role: Role, value: str) -> None:
    probed.role = role
    code, body = probed.get("/metrics")
    assert code == 200
    assert f"headwater_leader {value}" in body.splitlines()


def test_who_cannot_reach_its_catalog_is_alive_and_not_ready(probed: Probed) -> None:
    probed.role = "leader"
    probed.watch.catalog_unavailable(error="redis://db.internal:6379/0 cannot be reached")
    for path, status in (("/healthz", 200), ("/readyz", 503)):
        code, body = probed.get(path)
        told = json.loads(body)
        assert (code, told["role"]) == (status, "leader")
        assert "cannot be reached since 1970-01-01T00:00:00.000Z" in told["reason"]
        assert "db.internal" not in body, "anybody may ask"
    probed.watch.catalog_available()
    assert probed.get("/readyz") == (200, '{"role": "leader"}\n')

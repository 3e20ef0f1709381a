"""The service on a Redis server of its own, by URL."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from actors.catalog.store import RunStatus
from tests.integration.conftest import SERVER_KINDS
from tests.integration.service.conftest import closing
from tests.integration.service.driver import Service
from tests.integration.service.workflows import produce, workflow


@pytest.fixture
def remote(server_url: str, tmp_path: Path) -> Iterator[Service]:
    with closing(Service(tmp_path, redis_url=server_url)) as service:
        yield service


@pytest.mark.parametrize("server_kind", SERVER_KINDS, indirect=True, scope="session")
def test_a_service_on_a_server_of_its_own_updates_expires_and_recovers(remote: Service) -> None:
    remote.write(
        workflow("mid", produce("mid", freshness={"ttlMs": 600_000}), consumes=["raw"]),
        workflow("end", consumes=["mid"]),
    )
    remote.start()
    remote.emit("raw")
    remote.wait_runs("end", RunStatus.SUCCEEDED)
    remote.hold("end")
    remote.emit("raw")
    remote.wait_begun("end", 2)
    remote.kill()
    remote.release("end")
    remote.start()
    remote.wait_runs("end", RunStatus.SUCCEEDED, 2)
    remote.wait_idle()
    assert len(remote.runs("mid")) == 2
    assert [run.status for run in remote.runs("end")] == [RunStatus.SUCCEEDED, RunStatus.LOST, RunStatus.SUCCEEDED]
    assert remote.latest("end").materialization.inputs == {"mid": 2}
    assert not (remote.data_dir / "server.json").exists()

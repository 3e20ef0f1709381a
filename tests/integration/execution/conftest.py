"""Launchers under contract. A new kind of launcher joins by an entry in `LAUNCHERS`."""

from __future__ import annotations

import os
import uuid
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Final

import pytest
from redis import Redis

from actors.catalog.store import RunStatus, Store
from actors.execution.jobs import JobRegistry
from actors.execution.launcher import RunLauncher
from actors.execution.local import LocalLauncher
from tests.integration.execution.celery_workers import CeleryStage
from tests.integration.execution.http_orchestrator import HttpStage
from tests.integration.execution.workflows import JOBS_DIR

ALL: Final = "HEADWATER_CONTRACT"
"""Set it to `all`, and every launcher is under every test."""

LauncherFactory = Callable[[pytest.FixtureRequest, Store, JobRegistry], AbstractContextManager[RunLauncher]]


@contextmanager
def local(request: pytest.FixtureRequest, store: Store, jobs: JobRegistry) -> Iterator[RunLauncher]:
    yield LocalLauncher(store, jobs, max_runs=4, processes=2)


@contextmanager
def celery(request: pytest.FixtureRequest, store: Store, jobs: JobRegistry) -> Iterator[RunLauncher]:
    """A worker process on the tests' server; it lives for the whole session, and is idle between two tests."""
    stage: CeleryStage = request.getfixturevalue("shared_stage")
    yield stage.launcher()
    assert RunStatus.RUNNING not in {run.status for run in stage.store.active_runs()}, stage.logs


@contextmanager
def http(request: pytest.FixtureRequest, store: Store, jobs: JobRegistry) -> Iterator[RunLauncher]:
    """An orchestrator that is asked by HTTP; it lives for the whole session, and is idle between two tests."""
    stage: HttpStage = request.getfixturevalue("http_stage")
    yield stage.launcher()
    assert RunStatus.RUNNING not in {run.status for run in stage.store.active_runs()}


LAUNCHERS: dict[str, LauncherFactory] = {"local": local, "celery": celery, "http": http}
SHARED = {"celery", "http"}
"""Those whose workers live longer than a test, and keep to one prefix."""


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """What the processes of jobs do takes long, and the orchestrator of the tests has them from the local launcher."""
    if os.environ.get(ALL) == "all":
        return
    left_out = [item for item in items if item.get_closest_marker("of_processes") and "[http" in item.name]
    config.hook.pytest_deselected(items=left_out)
    items[:] = [item for item in items if item not in left_out]


@pytest.fixture(scope="session")
def jobs() -> JobRegistry:
    registry = JobRegistry.load(JOBS_DIR)
    assert registry.problems == ()
    return registry


@pytest.fixture(scope="session")
def shared_prefix() -> str:
    return f"test-{uuid.uuid4().hex[:12]}"


@pytest.fixture(scope="session")
def shared_stage(
    server_url: str, shared_prefix: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[CeleryStage]:
    stage = CeleryStage(tmp_path_factory.mktemp("celery"), server_url, shared_prefix)
    try:
        stage.work()
        yield stage
    finally:
        stage.close()


@pytest.fixture(scope="session")
def http_stage(
    server_url: str, shared_prefix: str, jobs: JobRegistry, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[HttpStage]:
    stage = HttpStage(tmp_path_factory.mktemp("http"), server_url, shared_prefix, jobs)
    yield stage
    stage.close()


@pytest.fixture
def prefix(request: pytest.FixtureRequest, client: Redis, shared_prefix: str) -> Iterator[str]:
    """What a test's own keys begin with. Those of shared workers begin all alike, and are gone after each test."""
    callspec = getattr(request.node, "callspec", None)
    is_shared = callspec is not None and callspec.params.get("launcher") in SHARED
    prefix = shared_prefix if is_shared else f"test-{uuid.uuid4().hex[:12]}"
    yield prefix
    for key in client.scan_iter(f"{prefix}:*", count=1000):
        if not key.startswith(f"{prefix}:celery:"):
            client.delete(key)


@pytest.fixture(params=LAUNCHERS)
def launcher(request: pytest.FixtureRequest, store: Store, jobs: JobRegistry) -> Iterator[RunLauncher]:
    with LAUNCHERS[request.param](request, store, jobs) as launcher:
        launcher.start()
        yield launcher
        launcher.stop(0)

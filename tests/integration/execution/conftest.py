"""Launchers under contract. A new kind of launcher joins by a factory in `LAUNCHERS`."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from actors.catalog.store import Store
from actors.execution.jobs import JobRegistry
from actors.execution.launcher import RunLauncher
from actors.execution.local import LocalLauncher
from tests.integration.execution.workflows import JOBS_DIR

LauncherFactory = Callable[[Store, JobRegistry], RunLauncher]


def local(store: Store, jobs: JobRegistry) -> RunLauncher:
    return LocalLauncher(store, jobs, max_runs=4, processes=2)


LAUNCHERS: dict[str, LauncherFactory] = {"local": local}


@pytest.fixture(scope="session")
def jobs() -> JobRegistry:
    registry = JobRegistry.load(JOBS_DIR)
    assert registry.problems == ()
    return registry


@pytest.fixture(params=LAUNCHERS)
def launcher(request: pytest.FixtureRequest, store: Store, jobs: JobRegistry) -> Iterator[RunLauncher]:
    launcher = LAUNCHERS[request.param](store, jobs)
    launcher.start()
    yield launcher
    launcher.stop(0)

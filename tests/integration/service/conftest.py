"""Services: `service` is a test's own and not started yet; `running` is shared by a module's tests and runs."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.integration.service.driver import Service


@contextmanager
def closing(service: Service) -> Iterator[Service]:
    try:
        yield service
        service.close()
    finally:
        service.end()
        if service.log_file.exists():
            # pytest shows it when the test failed.
            print(service.log)


@pytest.fixture
def service(tmp_path: Path) -> Iterator[Service]:
    with closing(Service(tmp_path)) as service:
        yield service


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    with closing(Service(tmp_path_factory.mktemp("service"))) as service:
        service.start()
        yield service


@pytest.fixture
def running(shared: Service) -> Iterator[Service]:
    """Each test puts workflows of its own names into it."""
    before = len(shared.log)
    yield shared
    print(shared.log[before:])

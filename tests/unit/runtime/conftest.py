from __future__ import annotations

from collections.abc import Callable, Iterator

import pykka
import pytest

from actors.runtime import Dispatcher
from tests.unit.runtime.runtimes import (
    DEADLINE_SECONDS,
    PinnedRuntime,
    PooledRuntime,
    Runtime,
    SteppedRuntime,
    ThreadingRuntime,
)

EVERY: dict[str, Callable[[], Runtime]] = {
    "threading": ThreadingRuntime,
    "pooled": PooledRuntime,
    "pinned": PinnedRuntime,
    "stepped": SteppedRuntime,
}


@pytest.fixture(params=list(EVERY))
def runtime(request: pytest.FixtureRequest) -> Iterator[Runtime]:
    """Each way an actor can run."""
    made = EVERY[request.param]()
    yield made
    made.close()


@pytest.fixture(params=["threading", "pooled", "pinned"])
def threaded(request: pytest.FixtureRequest) -> Iterator[Runtime]:
    """Each way an actor can run while the test blocks."""
    made = EVERY[request.param]()
    yield made
    made.close()


@pytest.fixture
def dispatcher() -> Iterator[Dispatcher]:
    made = Dispatcher(threads=2, name="test")
    made.start()
    yield made
    assert made.stop(timeout_seconds=DEADLINE_SECONDS) == []


@pytest.fixture(autouse=True)
def _no_actor_outlives_its_test() -> Iterator[None]:
    # Tests of other parts, in this process before, may have left some that nobody runs any more.
    for ref in pykka.ActorRegistry.get_all():
        pykka.ActorRegistry.unregister(ref)
    yield
    left = pykka.ActorRegistry.get_all()
    assert not left, f"still running after the test: {left}"

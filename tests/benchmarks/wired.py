"""The service as it is, on an embedded server, except that runs are launched nowhere."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from unittest.mock import patch

from redis import Redis

from actors.catalog.access import Catalog, open_catalog
from actors.catalog.keys import Keys
from actors.execution.launcher import RunOrder
from actors.execution.local import LocalLauncher
from actors.interfaces.logs import configure_logging
from actors.settings import Settings
from actors.system import Service

DEADLINE_SECONDS = 300.0


class NullLauncher(LocalLauncher):
    """Takes every run and executes none: a run stays `enqueued`. Notes when each came, monotonic nanoseconds."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.launched_ns: dict[str, int] = {}

    def start(self) -> None:
        return

    def launch(self, order: RunOrder) -> None:
        self.launched_ns[order.partition_key or order.workflow_slug] = time.monotonic_ns()

    def owns(self, run_id: str) -> bool:
        return True

    def stop(self, grace_seconds: float) -> None:
        return


@dataclass(slots=True)
class Wired:
    """A catalog to be filled, and then the service on it."""

    settings: Settings
    catalog: Catalog
    service: Service
    launcher: NullLauncher
    start_seconds: float = 0.0
    stop_seconds: float = 0.0
    _stops: ExitStack = field(default_factory=ExitStack)

    @property
    def client(self) -> Redis:
        return self.catalog.client

    @property
    def keys(self) -> Keys:
        return Keys(self.settings.redis.prefix)

    def start(self) -> None:
        began = time.perf_counter()
        self.service.start()
        self.start_seconds = time.perf_counter() - began

    def stop(self) -> None:
        if self.stop_seconds:
            return
        began = time.perf_counter()
        self.service.stop()
        self.stop_seconds = time.perf_counter() - began

    def active(self) -> int:
        """How many runs were claimed; none of them ends."""
        count: Any = self.client.scard(self.keys.active)
        return int(count)


@contextmanager
def wired(**groups: Any) -> Iterator[Wired]:
    """A service with the default settings but for the limit on runs, its log written to nowhere; not started yet."""
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="bench-")))
        for name in ("workflows", "jobs"):
            (folder / name).mkdir()
        given: dict[str, Any] = {"concurrency": {"max_runs": 100_000}, "streams": {"events_max_length": 1_000_000}}
        settings = Settings(
            data_dir=folder / "data", workflows_dir=folder / "workflows", jobs_dir=folder / "jobs", **(given | groups)
        )
        logging = configure_logging("json", settings.log.level, stream=stack.enter_context(Path("/dev/null").open("w")))
        stack.callback(logging.stop)
        catalog = stack.enter_context(open_catalog(settings, service=True))
        with patch("actors.execution.engines.LocalLauncher", NullLauncher):
            service = Service(settings, catalog, give_up=_fail)
        launcher = service._launcher
        assert isinstance(launcher, NullLauncher)
        running = Wired(settings, catalog, service, launcher)
        stack.callback(running.stop)
        yield running


def _fail(reason: str) -> None:
    raise AssertionError(f"the service gave up: {reason}")


def wait_until(is_so: Callable[[], bool], *, poll_seconds: float = 0.005) -> None:
    """Look until something is so.

    Raises:
        TimeoutError: it took too long
    """
    deadline = time.monotonic() + DEADLINE_SECONDS
    while not is_so():
        if time.monotonic() > deadline:
            raise TimeoutError(f"not within {DEADLINE_SECONDS:g} s")
        time.sleep(poll_seconds)

"""A service behind a proxy to a Redis server of the test's own. Tests look at the catalog past the proxy."""

from __future__ import annotations

import re
import socket
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any
from urllib.error import HTTPError

import pytest

from actors.catalog.access import Catalog, open_catalog
from actors.settings import load_settings
from tests.integration.faults.proxy import Proxy
from tests.integration.faults.servers import Server
from tests.integration.service.conftest import closing
from tests.integration.service.driver import Service, eventually

__all__ = ["Guarded"]


class Guarded(Service):
    """A service that reaches `server` through `proxy`. Its lease outlasts the faults of most tests, so that it is the
    same actors that go on; `refresh` is too rare to heal anything."""

    def __init__(self, folder: Path, proxy: Proxy, server: Server) -> None:
        self._server = server
        self._direct = ExitStack()
        self._direct_catalog: Catalog | None = None
        super().__init__(folder, redis_url=proxy.url)
        self.set_up()

    def set_up(self, *, lease_seconds: float = 60.0, run_lease_seconds: float = 10.0) -> None:
        self.configure(
            redis={"socket_timeout_seconds": 1.0},
            leadership={"lease_seconds": lease_seconds},
            runs={"lease_seconds": run_lease_seconds},
            refresh={"watch_seconds": 0.1, "interval_seconds": 3_600.0},
            metrics={"port": self._port()},
        )

    def _port(self) -> int:
        with socket.create_server(("127.0.0.1", 0)) as found:
            self.port = int(found.getsockname()[1])
        return self.port

    @property
    def catalog(self) -> Catalog:
        """The catalog, asked directly: what is cut is the service's own."""
        if self._direct_catalog is None:
            self.look_at(self._server)
        assert self._direct_catalog is not None
        return self._direct_catalog

    def look_at(self, server: Server) -> None:
        """Ask this server from now on."""
        self._direct.close()
        url = f"redis://127.0.0.1:{server.address[1]}/0"
        config = self.folder / "direct.toml"
        text = re.sub(r'^url = ".*"$', f'url = "{url}"', self.config_file.read_text(), flags=re.MULTILINE)
        config.write_text(text.replace("socket_timeout_seconds = 1.0", "socket_timeout_seconds = 30.0"))
        self._server = server
        self._direct_catalog = self._direct.enter_context(open_catalog(load_settings([config], environ={})))

    def end(self) -> None:
        super().end()
        self._direct.close()

    def page(self, path: str) -> tuple[int, str]:
        """The status and text of a page of the metrics port."""
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.port}{path}", timeout=10) as answer:
                return answer.status, answer.read().decode()
        except HTTPError as error:
            return error.code, error.read().decode()

    def metric(self, name: str) -> float:
        found = re.search(rf"^{name} (\S+)$", self.page("/metrics")[1], flags=re.MULTILINE)
        assert found is not None, f"{name} is not measured"
        return float(found[1])

    def wait_told_down(self) -> None:
        eventually(lambda: self.metric("headwater_catalog_up") == 0, "the metric says that the catalog is away", 15)
        assert self.logged("catalog down")

    def wait_told_up(self) -> None:
        eventually(lambda: self.metric("headwater_catalog_up") == 1, "the metric says that the catalog is back", 15)
        assert self.logged("catalog up")

    def wait_ended(self, slug: str, count: int) -> None:
        """Until so many of the workflow's jobs have done their work, whether or not that is recorded."""
        eventually(
            lambda: sum(call.workflow == slug and call.what == "ended" for call in self.calls) >= count,
            f"{count} jobs of {slug} have ended",
        )

    def lease_end_ms(self, run_id: str) -> float:
        """When the lease of a run that is executed ends, by the server's clock."""
        found: Any = self.catalog.client.zscore(f"{self.keys.prefix}:leases", run_id)
        assert found is not None, f"{run_id} is executed by nobody"
        return float(found)

    def is_alive(self) -> bool:
        return self.process is not None and self.process.poll() is None and self.page("/healthz")[0] == 200


@pytest.fixture
def server() -> Iterator[Server]:
    server = Server()
    yield server
    server.close()


@pytest.fixture
def proxy(server: Server) -> Iterator[Proxy]:
    proxy = Proxy(server.address)
    yield proxy
    proxy.close()


@pytest.fixture
def guarded(server: Server, proxy: Proxy, tmp_path: Path) -> Iterator[Guarded]:
    with closing(Guarded(tmp_path, proxy, server)) as service:
        assert isinstance(service, Guarded)
        yield service

"""The server of the API: uvicorn on a thread of the service."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable
from typing import Final

import structlog
import uvicorn
from prometheus_client import CollectorRegistry

from actors.catalog.access import Catalog
from actors.catalog.store import Json, JsonObject
from actors.interfaces.health import Role
from actors.interfaces.http.access import ServiceAccess
from actors.interfaces.http.app import make_app
from actors.interfaces.http.decisions import DecisionFeed
from actors.interfaces.http.planner import Planner
from actors.settings import Settings

__all__ = ["HttpServer", "HttpServerFailed", "start_http_server"]

_START_SECONDS: Final = 30.0
_STOP_SECONDS: Final = 10.0
_GRACE_SECONDS: Final = 3
_MOST_CONNECTIONS: Final = 512
_BACKLOG: Final = 128

_log = structlog.stdlib.get_logger("headwater")


class HttpServerFailed(OSError):  # noqa: N818 - as `CatalogUnavailable`
    """The address cannot be listened on; the message names it and says what to change."""


class HttpServer:
    """A running server of the API."""

    def __init__(self, access: ServiceAccess, listening: socket.socket) -> None:
        self._access = access
        self._socket = listening
        config = uvicorn.Config(
            make_app(access),
            http="h11",
            ws="none",
            lifespan="on",
            log_config=None,
            log_level="warning",
            access_log=False,
            proxy_headers=False,
            server_header=False,
            timeout_keep_alive=5,
            timeout_graceful_shutdown=_GRACE_SECONDS,
            limit_concurrency=_MOST_CONNECTIONS,
        )
        self._server = uvicorn.Server(config)
        self._thread = threading.Thread(target=self._run, name="http", daemon=True)

    @property
    def port(self) -> int:
        """The port that is listened on."""
        port: int = self._socket.getsockname()[1]
        return port

    def start(self) -> None:
        """Serve; returns when requests are answered.

        Raises:
            HttpServerFailed: it does not come up.
        """
        self._thread.start()
        deadline = time.monotonic() + _START_SECONDS
        while not self._server.started:
            if not self._thread.is_alive() or time.monotonic() > deadline:
                raise HttpServerFailed("the HTTP API did not start; see the log")
            time.sleep(0.005)

    def stop(self) -> None:
        """Let requests under way end, and the thread; harmless a second time."""
        self._access.decisions.close()
        self._server.should_exit = True
        self._access.planner.stop()
        self._thread.join(_STOP_SECONDS)
        self._socket.close()

    def _run(self) -> None:
        try:
            self._server.run(sockets=[self._socket])
        except Exception:
            _log.exception("http.stopped", text="the HTTP API ended by a defect")


def start_http_server(
    catalog: Catalog,
    *,
    settings: Callable[[], Settings],
    ask: Callable[[str, JsonObject], Json],
    role: Callable[[], Role],
    metrics: CollectorRegistry,
    decisions: DecisionFeed,
    trouble: Callable[[], str | None] = lambda: None,
) -> HttpServer:
    """Serve the API at `[http] host` and `port`, on a thread of its own.

    Raises:
        SettingsError: a token is missing, or cannot be used.
        HttpServerFailed: the address is taken or not ours.
    """
    http = settings().http
    tokens = settings().read_http_tokens()
    family = socket.AF_INET6 if ":" in http.host else socket.AF_INET
    try:
        listening = socket.create_server((http.host, http.port), family=family, backlog=_BACKLOG)
    except OSError as error:
        raise HttpServerFailed(
            f"the HTTP API cannot be served at {http.host}:{http.port} ({error.strerror or error}); "
            "choose another port or switch it off in the settings ([http])"
        ) from error
    # Connections inherit it. asyncio sets it only where the socket names its protocol, which `create_server` does not;
    # without it each answer waits 40 ms for the client to acknowledge its headers.
    listening.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    access = ServiceAccess(settings, catalog, ask, role, metrics, decisions, Planner(), tokens, trouble)
    server = HttpServer(access, listening)
    try:
        server.start()
    except BaseException:
        server.stop()
        raise
    address = f"{http.host}:{server.port}"
    _log.info("http.started", address=address, text=f"the HTTP API is at http://{address}/api/v1")
    return server

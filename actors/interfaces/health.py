"""`/healthz` and `/readyz` beside `/metrics`, for a load balancer, a container's probes or a person with curl."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterable
from typing import Literal
from wsgiref.types import StartResponse, WSGIApplication, WSGIEnvironment

from actors.catalog.timestamps import format_iso
from actors.observer import Unheard

__all__ = ["CatalogWatch", "Role", "with_health"]

Role = Literal["starting", "leader", "standby"]
"""`starting` until the state has been read, and again while it is read anew."""


class CatalogWatch(Unheard):
    """An Observer that knows whether the catalog could be reached when it was last asked. Thread-safe.

    A service always asks: its reader of the stream waits for news all the time.
    """

    def __init__(self, now_ms: Callable[[], int]) -> None:
        self._now_ms = now_ms
        self._lock = threading.Lock()
        self._away_since_ms: int | None = None

    def catalog_unavailable(self, *, error: str) -> None:
        with self._lock:
            if self._away_since_ms is None:
                self._away_since_ms = self._now_ms()

    def catalog_available(self) -> None:
        with self._lock:
            self._away_since_ms = None

    def trouble(self) -> str | None:
        """Why the service is of no use at the moment. Whoever may ask must not learn where the server is."""
        with self._lock:
            since_ms = self._away_since_ms
        if since_ms is None:
            return None
        return f"the catalog cannot be reached since {format_iso(since_ms)}; the service's log says why"


def with_health(
    application: WSGIApplication, role: Callable[[], Role], trouble: Callable[[], str | None] = lambda: None
) -> WSGIApplication:
    """The application, and two paths of ours.

    `/healthz` answers 200 as long as anybody answers. `/readyz` answers 200 when the service leads or stands by, and
    503 when it starts, or has a `trouble`. The body of both is `{"role": "leader" | "standby" | "starting"}`, with a
    trouble also `"reason": TEXT`.
    """

    def serve(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        path = environ.get("PATH_INFO")
        if path not in ("/healthz", "/readyz"):
            return application(environ, start_response)
        now, reason = role(), trouble()
        is_good = path == "/healthz" or (now != "starting" and reason is None)
        body = json.dumps({"role": now} if reason is None else {"role": now, "reason": reason}).encode() + b"\n"
        start_response(
            "200 OK" if is_good else "503 Service Unavailable",
            [("Content-Type", "application/json"), ("Content-Length", str(len(body)))],
        )
        return [body]

    return serve

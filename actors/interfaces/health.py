"""`/healthz` and `/readyz` beside `/metrics`, for a load balancer, a container's probes or a person with curl."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from typing import Literal
from wsgiref.types import StartResponse, WSGIApplication, WSGIEnvironment

__all__ = ["Role", "with_health"]

Role = Literal["starting", "leader", "standby"]
"""`starting` until the state has been read, and again while it is read anew."""


def with_health(application: WSGIApplication, role: Callable[[], Role]) -> WSGIApplication:
    """The application, and two paths of ours.

    `/healthz` answers 200 as long as anybody answers. `/readyz` answers 200 when the service leads or stands by, and
    503 when it starts. The body of both is `{"role": "leader" | "standby" | "starting"}`.
    """

    def serve(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        path = environ.get("PATH_INFO")
        if path not in ("/healthz", "/readyz"):
            return application(environ, start_response)
        now = role()
        is_good = path == "/healthz" or now != "starting"
        body = json.dumps({"role": now}).encode() + b"\n"
        start_response(
            "200 OK" if is_good else "503 Service Unavailable",
            [("Content-Type", "application/json"), ("Content-Length", str(len(body)))],
        )
        return [body]

    return serve

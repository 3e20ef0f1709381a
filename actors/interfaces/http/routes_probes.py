"""`/healthz`, `/readyz` and `/metrics`: the application that the metrics server serves, under this server too."""

from __future__ import annotations

import io
from collections.abc import Callable
from typing import Any, Final, cast
from wsgiref.types import StartResponse, WSGIApplication, WSGIEnvironment

from fastapi import APIRouter, Depends, Request, Response
from prometheus_client import make_wsgi_app
from starlette.responses import PlainTextResponse

from actors.interfaces.health import with_health
from actors.interfaces.http.access import Access, ServiceAccess
from actors.interfaces.http.auth import authorize
from actors.interfaces.http.schemas import RoleOut

__all__ = ["router"]

_NOT_READY: Final[dict[str, Any]] = {"model": RoleOut, "description": "It is starting, or the catalog is away."}

router = APIRouter(tags=["probes"])


@router.get("/healthz", responses={200: {"model": RoleOut, "description": "It answers."}})
async def healthz(request: Request, access: Access) -> Response:
    """Whether anybody answers, and in which role."""
    return _answer(access, request)


@router.get("/readyz", responses={200: {"model": RoleOut, "description": "It is ready."}, 503: _NOT_READY})
async def readyz(request: Request, access: Access) -> Response:
    """Whether the service leads or stands by, and reaches its catalog."""
    return _answer(access, request)


@router.get(
    "/metrics",
    dependencies=[Depends(authorize)],
    response_class=PlainTextResponse,
    responses={200: {"description": "Prometheus metrics."}},
)
def metrics(request: Request, access: Access) -> Response:
    """Metrics for Prometheus."""
    return _answer(access, request)


def _answer(access: ServiceAccess, request: Request) -> Response:
    """What the metrics server's application answers to this request."""
    # Its type is that of the library's own, which says less.
    application = with_health(cast("WSGIApplication", make_wsgi_app(access.metrics)), access.role, access.trouble)
    told = _Started()
    environ: WSGIEnvironment = {
        "REQUEST_METHOD": request.method,
        "PATH_INFO": request.url.path,
        "QUERY_STRING": "",
        "HTTP_ACCEPT": request.headers.get("accept", ""),
        "wsgi.input": io.BytesIO(),
    }
    body = b"".join(application(environ, cast("StartResponse", told)))
    headers = {name: value for name, value in told.headers if name.lower() != "content-length"}
    return Response(body, told.status, headers)


class _Started:
    """Keeps the status and the headers that an application starts with."""

    def __init__(self) -> None:
        self.status = 500
        self.headers: list[tuple[str, str]] = []

    def __call__(
        self, status: str, headers: list[tuple[str, str]], exc_info: object = None
    ) -> Callable[[bytes], object]:
        self.status, self.headers = int(status.partition(" ")[0]), headers
        return lambda _body: None

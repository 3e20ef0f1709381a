"""The application: routes, bounds and problems put together, and its OpenAPI document."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from typing import Any, Final

import anyio.to_thread
from fastapi import APIRouter, FastAPI
from fastapi.openapi.utils import get_openapi
from fastapi.routing import APIRoute

from actors.interfaces.http import (
    routes_assets,
    routes_callbacks,
    routes_events,
    routes_graph,
    routes_lineage,
    routes_pauses,
    routes_probes,
    routes_runs,
    routes_workflows,
)
from actors.interfaces.http.access import ServiceAccess
from actors.interfaces.http.auth import SCOPE_KEY, authorize, needed
from actors.interfaces.http.bounds import Bounds, RateLimit, RawPaths
from actors.interfaces.http.problems import MEDIA_TYPE, Kind, handle_problems
from actors.interfaces.http.schemas import ProblemOut

__all__ = ["PREFIX", "make_app", "openapi_document"]

PREFIX: Final = "/api/v1"
MAX_THREADS: Final = 8
"""How many requests may wait for the catalog or the actors at once; the rest wait for those."""

_API: Final = (
    routes_assets,
    routes_workflows,
    routes_runs,
    routes_callbacks,
    routes_pauses,
    routes_graph,
    routes_events,
    routes_lineage,
)
_ABOUT: Final = (
    "What Headwater knows and does, for programs. Errors are problem details (RFC 9457). Ids in paths are "
    "percent-encoded, also their slashes."
)


@asynccontextmanager
async def _lifespan(_app: FastAPI) -> AsyncIterator[None]:
    anyio.to_thread.current_default_thread_limiter().total_tokens = MAX_THREADS
    yield


def make_app(access: ServiceAccess | None) -> FastAPI:
    """The application of a service; without one it can only tell of itself."""
    app = FastAPI(
        title="Headwater",
        version="1",
        description=_ABOUT,
        docs_url=None,  # the page would load scripts from elsewhere
        redoc_url=None,
        lifespan=_lifespan,
        redirect_slashes=False,
    )
    app.state.access = access
    for prefix, router in _routers():
        app.include_router(router, prefix=prefix)
    handle_problems(app)
    app.add_middleware(Bounds, rate=RateLimit(access.settings().http.requests_per_second if access is not None else 0))
    app.add_middleware(RawPaths)
    document: list[dict[str, Any]] = []

    def openapi() -> dict[str, Any]:
        if not document:
            document.append(_document(app))
        return document[0]

    app.openapi = openapi  # type: ignore[method-assign]
    return app


def _routers() -> Iterator[tuple[str, APIRouter]]:
    yield "", routes_probes.router
    for module in _API:
        yield PREFIX, module.router


def openapi_document() -> dict[str, Any]:
    """The OpenAPI document, the same for every service."""
    return make_app(None).openapi()


def _document(app: FastAPI) -> dict[str, Any]:
    made = get_openapi(title=app.title, version=app.version, description=app.description, routes=app.routes)
    components: dict[str, Any] = made.setdefault("components", {})
    schemas: dict[str, Any] = components.setdefault("schemas", {})
    for left in ("HTTPValidationError", "ValidationError"):
        schemas.pop(left, None)
    problem = ProblemOut.model_json_schema(by_alias=True, ref_template="#/components/schemas/{model}")
    schemas.update(problem.pop("$defs", {}))
    schemas["ProblemOut"] = problem
    components["securitySchemes"] = {"token": {"type": "http", "scheme": "bearer"}}
    for prefix, router in _routers():
        for route in router.routes:
            if isinstance(route, APIRoute):
                for method in route.methods or ():
                    _complete(made["paths"][prefix + route.path_format][method.lower()], route, method, schemas)
    return made


def _complete(operation: dict[str, Any], route: APIRoute, method: str, schemas: dict[str, Any]) -> None:
    """Say what holds for all: who may, and how errors are told."""
    content = {MEDIA_TYPE: {"schema": {"$ref": "#/components/schemas/ProblemOut"}}}
    responses: dict[str, Any] = operation["responses"]
    responses.pop("422", None)
    for kind in Kind:
        if kind is not Kind.METHOD_NOT_ALLOWED:
            responses.setdefault(str(kind.status), {"description": kind.title, "content": content})
    if any(each.call is authorize for each in route.dependant.dependencies):
        operation["security"] = [{"token": []}]
        operation[SCOPE_KEY] = needed(route, method).name.lower()
    for media in operation.get("requestBody", {}).get("content", {}).values():
        schemas.update(media.get("schema", {}).pop("$defs", {}))

"""What the API says when it cannot do what was asked: problem details (RFC 9457), one for every kind of error."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from enum import Enum
from typing import Final

import structlog
from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from pykka import ActorDeadError
from pykka import Timeout as PykkaTimeout
from starlette.exceptions import HTTPException

from actors.catalog.control import ControlFailed, ControlTimeout
from actors.catalog.definitions import DefinitionInvalid
from actors.catalog.documents import Unreadable
from actors.catalog.events import EventInvalid
from actors.catalog.problems import Problem, json_path
from actors.catalog.store import CatalogUnavailable, Deposed, Json, RunFenced
from actors.core.graph import CycleError
from actors.core.partitions import PartitionKeyError
from actors.interfaces.errors import CommandError

__all__ = ["MEDIA_TYPE", "Kind", "Refused", "handle_problems", "problem_response"]

MEDIA_TYPE: Final = "application/problem+json"

_log = structlog.stdlib.get_logger("headwater")


class Kind(Enum):
    """Every kind of problem: its name in `type`, the status, and the title."""

    BAD_REQUEST = ("bad-request", 400, "The request cannot be read")
    UNAUTHORIZED = ("unauthorized", 401, "A token is required")
    FORBIDDEN = ("forbidden", 403, "The token is not enough")
    NOT_FOUND = ("not-found", 404, "There is no such thing")
    METHOD_NOT_ALLOWED = ("method-not-allowed", 405, "This cannot be done with it")
    REQUEST_TIMEOUT = ("request-timeout", 408, "The request did not arrive in time")
    CONFLICT = ("conflict", 409, "It cannot be done with what is there")
    TOO_LARGE = ("too-large", 413, "The request is too large")
    UNSUPPORTED = ("unsupported-media-type", 415, "This media type is not read here")
    INVALID = ("invalid", 422, "What was given does not fit")
    TOO_MANY = ("too-many-requests", 429, "Too many requests")
    INTERNAL = ("internal", 500, "A defect of the service")
    CATALOG_UNAVAILABLE = ("catalog-unavailable", 503, "The catalog cannot be reached")
    STANDBY = ("standby", 503, "This service stands by")
    STARTING = ("starting", 503, "This service is starting")
    BUSY = ("busy", 503, "This service is busy")
    TIMEOUT = ("timeout", 504, "No answer in time")

    @property
    def type(self) -> str:
        return f"urn:headwater:problem:{self.value[0]}"

    @property
    def status(self) -> int:
        return self.value[1]

    @property
    def title(self) -> str:
        return self.value[2]


_BY_STATUS: Final = {kind.status: kind for kind in reversed(Kind)}
_RETRY_SECONDS: Final = {429: "1", 503: "1", 504: "1"}


class Refused(Exception):  # noqa: N818 - reads as the event it tells of
    """Ends a request with a problem. `more` are further members of the problem."""

    def __init__(
        self,
        kind: Kind,
        detail: str,
        *,
        errors: Sequence[Problem] = (),
        headers: Mapping[str, str] | None = None,
        **more: Json,
    ) -> None:
        super().__init__(detail)
        self.kind = kind
        self.errors = tuple(errors)
        self.headers = dict(headers or {})
        self.more = more


def problem_response(refused: Refused, path: str) -> JSONResponse:
    """`{type, title, status, detail, instance, errors?: [{path, reason}], ...}`."""
    kind = refused.kind
    body: dict[str, Json] = {
        "type": kind.type,
        "title": kind.title,
        "status": kind.status,
        "detail": str(refused),
        "instance": path,
        **refused.more,
    }
    if refused.errors:
        body["errors"] = [{"path": problem.path, "reason": problem.reason} for problem in refused.errors]
    headers = dict(refused.headers)
    if kind.status in _RETRY_SECONDS:
        headers.setdefault("Retry-After", _RETRY_SECONDS[kind.status])
    return JSONResponse(body, kind.status, headers, MEDIA_TYPE)


# The first that fits counts.
_KINDS: Final[tuple[tuple[type[Exception], Kind], ...]] = (
    (CatalogUnavailable, Kind.CATALOG_UNAVAILABLE),
    (Deposed, Kind.STANDBY),
    (RunFenced, Kind.CONFLICT),
    (CycleError, Kind.CONFLICT),
    (PartitionKeyError, Kind.INVALID),
    (CommandError, Kind.CONFLICT),
    (ControlTimeout, Kind.TIMEOUT),
    (PykkaTimeout, Kind.TIMEOUT),
    (ControlFailed, Kind.CONFLICT),
    (ActorDeadError, Kind.BUSY),
)


def _refused(error: Exception) -> Refused:
    match error:
        case Refused():
            return error
        case DefinitionInvalid():
            return Refused(Kind.INVALID, "the definition cannot be used", errors=error.problems)
        case Unreadable():
            return Refused(Kind.BAD_REQUEST, "the body cannot be read", errors=[error.problem])
        case EventInvalid():
            return Refused(Kind.INVALID, "the event cannot be used", errors=[Problem(error.path, error.reason)])
        case RequestValidationError():
            errors = [Problem(json_path(_place(each["loc"])), str(each["msg"])) for each in error.errors()]
            return Refused(Kind.INVALID, "a parameter does not fit", errors=errors)
        case HTTPException():
            kind = _BY_STATUS.get(error.status_code, Kind.BAD_REQUEST)
            return Refused(kind, _said(error), headers=error.headers)
    for type_, kind in _KINDS:
        if isinstance(error, type_):
            return Refused(kind, str(error) or "it is being restarted; ask again in a moment")
    return Refused(Kind.INTERNAL, "the request failed by a defect of the service; its log has the details")


def _said(error: HTTPException) -> str:
    return {404: "there is no such path; see /openapi.json", 405: "the path does not have this method"}.get(
        error.status_code, error.detail
    )


def _place(location: Sequence[str | int]) -> tuple[str | int, ...]:
    return tuple(location[1:]) if location and location[0] in ("query", "path", "header", "body") else tuple(location)


def handle_problems(app: FastAPI) -> None:
    """Let every error of the app be answered as a problem."""

    async def answer(request: Request, error: Exception) -> JSONResponse:
        refused = _refused(error)
        if refused.kind is Kind.INTERNAL:
            _log.error("http.failed", method=request.method, path=request.url.path, exc_info=error)
        return problem_response(refused, request.url.path)

    types = (Refused, DefinitionInvalid, Unreadable, EventInvalid, RequestValidationError, HTTPException, Exception)
    for type_ in (*types, *(each for each, _ in _KINDS)):
        app.add_exception_handler(type_, answer)

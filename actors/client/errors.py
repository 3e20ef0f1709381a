"""What can go wrong: the service refuses, cannot be reached, answers something else, or a deadline passes."""

from __future__ import annotations

import json
from collections.abc import Mapping
from http.client import responses
from typing import Final

from pydantic import BaseModel, ConfigDict, JsonValue, ValidationError

__all__ = [
    "AnswerError",
    "ConflictError",
    "DeadlineError",
    "Fault",
    "ForbiddenError",
    "HeadwaterError",
    "InvalidError",
    "NotFoundError",
    "ProblemError",
    "RunFailedError",
    "UnavailableError",
    "UnreachableError",
    "answer_error",
    "problem_of",
]

_SHOWN: Final = 300


class HeadwaterError(Exception):
    """Everything that this package raises by itself."""


class UnreachableError(HeadwaterError):
    """No answer came: nobody listens there, or the connection broke. What was asked may have been done or not."""


class AnswerError(HeadwaterError):
    """An answer came that is none of Headwater's: another program listens there, or one of another version."""


class DeadlineError(HeadwaterError, TimeoutError):
    """What was waited for had not happened in time. It goes on; wait again, or cancel it."""


class RunFailedError(HeadwaterError):
    """A run ended otherwise than by success; `status` is `failed`, `canceled` or `lost`."""

    def __init__(self, text: str, run_id: str, status: str) -> None:
        super().__init__(text)
        self.run_id = run_id
        self.status = status


class Fault(BaseModel):
    """One thing that is wrong, and where: `path` is a JSONPath such as `$.steps[0].id`."""

    model_config = ConfigDict(frozen=True, extra="allow")

    path: str
    reason: str


class ProblemError(HeadwaterError):
    """The service refused (RFC 9457). `detail` says what is wrong and what to do, `errors` where in what was sent;
    `leader` is who leads, if this service stands by."""

    def __init__(
        self,
        status: int,
        title: str,
        detail: str,
        *,
        type_: str = "about:blank",
        instance: str = "",
        errors: tuple[Fault, ...] = (),
        leader: Mapping[str, JsonValue] | None = None,
    ) -> None:
        super().__init__(status, title, detail)
        self.status = status
        self.title = title
        self.detail = detail
        self.type = type_
        self.instance = instance
        self.errors = errors
        self.leader = leader

    def __str__(self) -> str:
        faults = (f"\n  {fault.path}: {fault.reason}" for fault in self.errors)
        return f"{self.status} {self.title}: {self.detail}{''.join(faults)}"


class ForbiddenError(ProblemError):
    """401 or 403: no token, one that is not known, or one that is for looking only."""


class NotFoundError(ProblemError):
    """404: there is no such thing."""


class ConflictError(ProblemError):
    """409: it cannot be done with what is there."""


class InvalidError(ProblemError):
    """400, 413, 415 or 422: what was sent does not fit; `errors` says where."""


class UnavailableError(ProblemError):
    """429, 502, 503 or 504: too often, starting, standing by, busy, or the catalog is away. Ask again later."""


_BY_STATUS: Final[dict[int, type[ProblemError]]] = {
    400: InvalidError,
    401: ForbiddenError,
    403: ForbiddenError,
    404: NotFoundError,
    409: ConflictError,
    413: InvalidError,
    415: InvalidError,
    422: InvalidError,
    429: UnavailableError,
    502: UnavailableError,
    503: UnavailableError,
    504: UnavailableError,
}


class _Body(BaseModel):
    model_config = ConfigDict(extra="allow")

    type: str = "about:blank"
    title: str = ""
    detail: str = ""
    instance: str = ""
    errors: tuple[Fault, ...] = ()
    leader: dict[str, JsonValue] | None = None


def problem_of(status: int, body: bytes) -> ProblemError:
    """The error of an answer that is no success. What a proxy says instead of a problem becomes its detail."""
    try:
        told = _Body.model_validate_json(body)
    except ValidationError:
        told = _Body()
    title = told.title or responses.get(status, "An unknown status")
    detail = told.detail or body.decode(errors="replace")[:_SHOWN].strip() or "the answer says no more"
    return _BY_STATUS.get(status, ProblemError)(
        status, title, detail, type_=told.type, instance=told.instance, errors=told.errors, leader=told.leader
    )


def answer_error(url: str, body: bytes, error: ValidationError) -> AnswerError:
    """The error of a success that cannot be read."""
    first = error.errors(include_url=False)[0]
    where = ".".join(map(str, first["loc"])) or "the whole"
    shown = json.dumps(body.decode(errors="replace")[:_SHOWN])
    return AnswerError(f"{url} answered what is not understood ({where}: {first['msg']}): {shown}")

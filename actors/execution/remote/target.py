"""Whom to ask for the runs of a workflow, and how: the settings, with what its definition says in `metadata.http`.

A definition may name other URLs, bodies and headers, but no secrets, and no origin that the settings do not allow: what
is signed or shown there was meant for the orchestrator of the settings.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Annotated, Final, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field, JsonValue, ValidationError
from pydantic.alias_generators import to_camel

from actors.catalog.definitions import WorkflowDefinition
from actors.catalog.problems import json_path
from actors.catalog.store import Json
from actors.execution_settings import HttpExecutionSettings, check_header_names, origin_of

__all__ = ["Call", "Poll", "Target", "TargetInvalid", "look_up", "target_of"]

T = TypeVar("T")

_SENDABLE: Final = re.compile(r"[\x20-\x7e\t]*", re.ASCII)


class TargetInvalid(ValueError):  # noqa: N818 - as `TemplateError`
    """The settings or `metadata.http` of a definition cannot be used; the message says where and why."""


@dataclass(frozen=True, slots=True)
class Call:
    """A request with templates: `body` is any JSON, or None for the document of that kind."""

    method: str
    url: str
    body: Json = None


@dataclass(frozen=True, slots=True)
class Poll:
    call: Call
    interval_seconds: float
    status: str
    succeeded: frozenset[str]
    failed: frozenset[str]
    canceled: frozenset[str]
    error: str
    records_declared: bool


@dataclass(frozen=True, slots=True)
class Target:
    """`headers` are those of the definition; they go to every URL, those of the settings to the origins of theirs."""

    start: Call
    remote_id: str
    poll: Poll | None
    cancel: Call | None
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)


class _Part(BaseModel):
    model_config = ConfigDict(alias_generator=to_camel, frozen=True, extra="forbid", strict=True)


_Text = Annotated[str, Field(max_length=2_000)]
_Values = Annotated[tuple[_Text, ...], Field(strict=False, max_length=100)]


class _PollPart(_Part):
    url: _Text | None = None
    method: Literal["GET", "POST"] | None = None
    body: JsonValue = None
    interval_seconds: Annotated[float, Field(ge=0.1, le=3_600)] | None = None
    status: _Text | None = None
    succeeded: _Values | None = None
    failed: _Values | None = None
    canceled: _Values | None = None
    error: _Text | None = None
    records_declared: bool | None = None


class _CancelPart(_Part):
    url: _Text | None = None
    method: Literal["POST", "PUT", "PATCH", "DELETE"] | None = None
    body: JsonValue = None


class _HttpPart(_Part):
    url: _Text | None = None
    method: Literal["POST", "PUT"] | None = None
    body: JsonValue = None
    remote_id: _Text | None = None
    headers: dict[str, _Text] = Field(default_factory=dict)
    poll: _PollPart = _PollPart()
    cancel: _CancelPart = _CancelPart()


def target_of(http: HttpExecutionSettings, definition: WorkflowDefinition | None) -> Target:
    """Whom to ask for runs of a workflow; without a definition, what the settings alone say.

    Raises:
        TargetInvalid: what the settings, or the definition, say cannot be used.
    """
    part = _part_of(definition)
    where = f"workflow {definition.slug!r}: metadata.http" if definition is not None else "execution.http"
    poll, cancel = http.poll, http.cancel
    target = Target(
        start=_call(part.method or http.method, part.url, http.url, part.body, http.body, "execution.http.body"),
        remote_id=_or(part.remote_id, http.remote_id),
        poll=_poll(http, part.poll, where),
        cancel=_call(
            part.cancel.method or cancel.method,
            part.cancel.url,
            cancel.url,
            part.cancel.body,
            cancel.body,
            "execution.http.cancel.body",
        )
        if _or(part.cancel.url, cancel.url)
        else None,
        headers=part.headers,
    )
    allowed = {origin_of(url) for url in (http.url, poll.url, cancel.url) if url} | set(http.allowed_origins)
    _check_origins(where, [part.url, part.poll.url, part.cancel.url], allowed)
    _check_headers(where, part.headers)
    return target


def look_up(document: Json, path: str) -> Json:
    """What a document holds at a path such as `data.runs.0.status`: keys with dots between, numbers for places in a
    list. None if it is not there."""
    found = document
    for step in path.split("."):
        if isinstance(found, Mapping):
            found = found.get(step)
        elif isinstance(found, list) and step.isascii() and step.isdigit() and int(step) < len(found):
            found = found[int(step)]
        else:
            return None
    return found


def _part_of(definition: WorkflowDefinition | None) -> _HttpPart:
    metadata = definition.metadata if definition is not None else None
    said = metadata.get("http") if isinstance(metadata, dict) else None
    if definition is None or said is None:
        return _HttpPart()
    try:
        return _HttpPart.model_validate(said)
    except ValidationError as error:
        detail = error.errors(include_url=False, include_input=False)[0]
        path = json_path(("metadata", "http", *detail["loc"]))
        raise TargetInvalid(f"workflow {definition.slug!r}: {path}: {detail['msg']}") from None


def _poll(http: HttpExecutionSettings, part: _PollPart, where: str) -> Poll | None:
    own = http.poll
    if not _or(part.url, own.url):
        return None
    poll = Poll(
        _call(part.method or own.method, part.url, own.url, part.body, own.body, "execution.http.poll.body"),
        _or(part.interval_seconds, own.interval_seconds),
        _or(part.status, own.status),
        frozenset(_or(part.succeeded, own.succeeded)),
        frozenset(_or(part.failed, own.failed)),
        frozenset(_or(part.canceled, own.canceled)),
        _or(part.error, own.error),
        _or(part.records_declared, own.records_declared),
    )
    if not poll.status or not poll.succeeded or not poll.failed:
        raise TargetInvalid(
            f"{where}.poll: say where the state is (status), and which states mean that it ended (succeeded, failed)"
        )
    return poll


def _call(method: str, url: str | None, own_url: str, body: Json, own_body: str, where: str) -> Call:
    if body is not None:
        return Call(method, _or(url, own_url), body)
    try:
        return Call(method, _or(url, own_url), json.loads(own_body) if own_body else None)
    except (RecursionError, ValueError) as error:
        raise TargetInvalid(f"{where}: this is no JSON: {error}; templates stand inside of texts") from None


def _check_origins(where: str, urls: Iterable[str | None], allowed: set[str]) -> None:
    for url in urls:
        if not url:
            continue
        try:
            origin = origin_of(url)
        except ValueError as error:
            raise TargetInvalid(f"{where}: {error}") from None
        if origin not in allowed:
            raise TargetInvalid(
                f"{where}: {origin} is not allowed; add it to execution.http.allowed_origins if it may be told of runs"
            )


def _check_headers(where: str, headers: Mapping[str, str]) -> None:
    try:
        check_header_names(headers)
    except ValueError as error:
        raise TargetInvalid(f"{where}.headers: {error}") from None
    for name, value in headers.items():
        if not _SENDABLE.fullmatch(value):
            raise TargetInvalid(f"{where}.headers.{name}: write printable ASCII on one line")


def _or(said: T | None, own: T) -> T:
    return own if said is None else said

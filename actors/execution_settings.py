"""The settings of who executes runs, and of an orchestrator that is asked by HTTP; see `config/default.toml`."""

from __future__ import annotations

import binascii
import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Final, Literal, Self
from urllib.parse import urlsplit

from pydantic import Field, SecretStr, field_validator, model_validator

from actors.setting_groups import Group, OptionalPath

__all__ = [
    "CancelSettings",
    "ExecutionSettings",
    "HttpExecutionSettings",
    "PollSettings",
    "SecretUnreadable",
    "check_header_names",
    "origin_of",
    "read_headers",
    "read_secrets",
]

Template = Annotated[str, Field(max_length=100_000)]
Values = Annotated[tuple[Annotated[str, Field(max_length=200)], ...], Field(strict=False, max_length=100)]
HeaderValue = Annotated[SecretStr, Field(strict=False, max_length=10_000)]

_HEADER: Final = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]{1,100}", re.ASCII)
_REFERENCE: Final = re.compile(r"\$\{(env|file):([^}]*)\}")
_SENDABLE: Final = re.compile(r"[\x20-\x7e\t]*", re.ASCII)
_LEAST_SECRET: Final = 16
_OURS: Final = frozenset(
    [
        *("content-type", "content-length", "host", "connection", "transfer-encoding", "idempotency-key"),
        *("webhook-id", "webhook-timestamp", "webhook-signature"),
    ]
)


class SecretUnreadable(ValueError):  # noqa: N818 - as `CatalogUnavailable`
    """A secret that the settings refer to is not there or cannot be used; the message names the reference."""


def origin_of(url: str) -> str:
    """`scheme://host:port` of a URL, or of a template of one: these parts are written out, never filled in.

    Raises:
        ValueError: it is no such URL; the message does not hold it, because it may hold a secret.
    """
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError as error:
        raise ValueError("the URL cannot be read; write https://HOST/PATH") from error
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ValueError("write a URL that begins with https:// or http:// and names a host")
    if "@" in parts.netloc:
        raise ValueError("the URL holds a user or a password; put them into a header")
    if "{" in parts.netloc or "}" in parts.netloc or parts.fragment:
        raise ValueError("templates may stand in the path and the query of the URL only, and it takes no fragment")
    host = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
    return f"{parts.scheme}://{host}:{port or (443 if parts.scheme == 'https' else 80)}"


def _url(url: str) -> str:
    if url:
        origin_of(url)
    return url


class PollSettings(Group):
    """How the state of a run is asked for. Without a URL it is not."""

    url: Template = ""
    method: Literal["GET", "POST"] = "GET"
    body: Template = ""
    interval_seconds: Annotated[float, Field(ge=0.1, le=3_600)] = 10.0
    status: Annotated[str, Field(max_length=200)] = ""
    succeeded: Values = ()
    failed: Values = ()
    canceled: Values = ()
    error: Annotated[str, Field(max_length=200)] = ""
    records_declared: bool = True

    _readable_url = field_validator("url")(_url)


class CancelSettings(Group):
    """How a run is stopped. Without a URL it cannot be."""

    url: Template = ""
    method: Literal["POST", "PUT", "PATCH", "DELETE"] = "POST"
    body: Template = ""

    _readable_url = field_validator("url")(_url)


class HttpExecutionSettings(Group):
    """The orchestrator. Secrets and values of headers stay out of the repr and of dumps; `read_secrets` and
    `read_headers` have them."""

    url: Template = ""
    method: Literal["POST", "PUT"] = "POST"
    body: Template = ""
    remote_id: Annotated[str, Field(max_length=200)] = ""
    accepted_again: Annotated[tuple[Annotated[int, Field(ge=400, le=499)], ...], Field(strict=False)] = (409,)
    secret_file: OptionalPath = None
    secret: Annotated[SecretStr, Field(strict=False, max_length=1_000)] = SecretStr("")
    sign: bool = True
    callback_base_url: Annotated[str, Field(max_length=2_000)] = ""
    lease_seconds: Annotated[float, Field(ge=1, le=7 * 86_400)] = 300.0
    timeout_seconds: Annotated[float, Field(ge=0.1, le=300)] = 10.0
    retry_seconds: Annotated[float, Field(ge=0, le=86_400)] = 300.0
    connections: Annotated[int, Field(ge=1, le=256)] = 4
    ca_file: OptionalPath = None
    allowed_origins: Values = ()
    runs_outlive_service: bool = True
    headers: dict[str, HeaderValue] = Field(default_factory=dict)
    poll: PollSettings = PollSettings()
    cancel: CancelSettings = CancelSettings()

    _readable_url = field_validator("url", "callback_base_url")(_url)

    @field_validator("headers")
    @classmethod
    def _sendable_headers(cls, headers: dict[str, SecretStr]) -> dict[str, SecretStr]:
        check_header_names(headers)
        return headers

    @field_validator("allowed_origins")
    @classmethod
    def _are_origins(cls, origins: tuple[str, ...]) -> tuple[str, ...]:
        return tuple(origin_of(origin) for origin in origins)

    @model_validator(mode="after")
    def _one_secret(self) -> Self:
        if self.secret_file is not None and self.secret.get_secret_value():
            raise ValueError("both secret and secret_file hold a secret; keep one of them")
        return self

    @property
    def has_secret(self) -> bool:
        return self.secret_file is not None or bool(self.secret.get_secret_value())


class ExecutionSettings(Group):
    launcher: Literal["local", "celery", "http"] = "local"
    http: HttpExecutionSettings = HttpExecutionSettings()

    @model_validator(mode="after")
    def _orchestrator_is_complete(self) -> Self:
        http = self.http
        if self.launcher != "http":
            return self
        if not http.url:
            raise ValueError("http.url is missing: where runs are started; see docs/how-to/run-on-your-orchestrator.md")
        if not http.callback_base_url and not http.poll.url:
            raise ValueError(
                "no run could ever end: set http.callback_base_url (where this service's API can be reached), "
                "http.poll.url, or both"
            )
        if not http.has_secret and (http.sign or http.callback_base_url):
            raise ValueError(
                "http.secret_file (or http.secret) is missing: it signs what is sent, and callbacks show tokens made "
                "with it; without callbacks, http.sign = false does without it"
            )
        return self


def check_header_names(headers: Mapping[str, Any]) -> None:
    """See that these headers can be sent, and are not among those that Headwater sets itself.

    Raises:
        ValueError: one cannot; the message names it, and never its value.
    """
    for name in headers:
        if not _HEADER.fullmatch(name):
            raise ValueError(f"{name!r} is no name of a header")
        if name.lower() in _OURS:
            raise ValueError(f"the header {name!r} is set by Headwater; leave it out")


def read_secrets(http: HttpExecutionSettings) -> tuple[bytes, ...]:
    """The keys of signatures and tokens, a line each: the first is used, all are accepted. Read anew each time, so that
    they can be replaced while runs go on. Empty if there is none.

    `whsec_` in front of a key says that the rest is base64, as the specification Standard Webhooks writes keys.

    Raises:
        SecretUnreadable: the file cannot be read, or a key is too short.
    """
    if not http.has_secret:
        return ()
    path = http.secret_file
    text = http.secret.get_secret_value() if path is None else _read(path, "execution.http.secret_file")
    keys = tuple(line.strip() for line in text.splitlines() if line.strip())
    if not keys:
        raise SecretUnreadable(f"execution.http.secret_file: {path} is empty; write a secret into it")
    return tuple(_key(key) for key in keys)


def _key(text: str) -> bytes:
    key = text.encode()
    if text.startswith("whsec_"):
        try:
            key = binascii.a2b_base64(text.removeprefix("whsec_"), strict_mode=True)
        except binascii.Error:
            raise SecretUnreadable("execution.http.secret: what follows whsec_ must be base64") from None
    if len(key) < _LEAST_SECRET:
        raise SecretUnreadable(f"execution.http.secret: a secret of {_LEAST_SECRET} or more bytes is required")
    return key


def read_headers(http: HttpExecutionSettings, environ: Mapping[str, str] | None = None) -> dict[str, str]:
    """The headers, with `${env:NAME}` and `${file:/PATH}` in their values replaced by what is there now.

    Raises:
        SecretUnreadable: a reference leads nowhere, or to what cannot stand in a header.
    """
    environ = os.environ if environ is None else environ
    found: dict[str, str] = {}
    for name, value in http.headers.items():
        where = f"execution.http.headers.{name}"
        found[name] = _REFERENCE.sub(lambda m, w=where: _referred(w, m[1], m[2], environ), value.get_secret_value())  # type: ignore[misc]
        if not _SENDABLE.fullmatch(found[name]):
            raise SecretUnreadable(f"{where}: write printable ASCII on one line")
    return found


def _referred(where: str, kind: str, name: str, environ: Mapping[str, str]) -> str:
    if kind == "env":
        if name not in environ:
            raise SecretUnreadable(f"{where}: the variable {name} is not set")
        return environ[name]
    if not Path(name).is_absolute():
        raise SecretUnreadable(f"{where}: {name!r} is no absolute path")
    return _read(Path(name), where).rstrip("\r\n")


def _read(path: Path, where: str) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8"
        raise SecretUnreadable(f"{where}: {path} cannot be read: {reason}") from None

"""The groups of settings: what each key means is told in `config/default.toml`; here are its type and its bounds."""

from __future__ import annotations

import re
from collections.abc import Set as AbstractSet
from ipaddress import ip_address
from pathlib import Path
from string import Formatter
from typing import Annotated, Any, Final, Literal, Self
from urllib.parse import SplitResult, urlsplit

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    SecretStr,
    field_serializer,
    field_validator,
    model_validator,
)

from actors.core.backoff import BackoffPolicy, FailureBudget
from actors.core.shards import MAX_SHARDS, Shard

__all__ = [
    "BackoffSettings",
    "CatchUpSettings",
    "CelerySettings",
    "ConcurrencySettings",
    "ControlSettings",
    "DispatcherSettings",
    "FailureBudgetSettings",
    "Group",
    "HistorySettings",
    "HttpSettings",
    "LeadershipSettings",
    "LogSettings",
    "MetricsSettings",
    "OpenLineageRule",
    "OpenLineageSettings",
    "PathSetting",
    "RedisSettings",
    "RefreshSettings",
    "RetentionSettings",
    "RunSettings",
    "ShardSettings",
    "ShutdownSettings",
    "StreamSettings",
    "SupervisionSettings",
    "WorkerSettings",
    "starred",
]

_YEAR_MS: Final = 366 * 24 * 60 * 60 * 1_000
_SCHEMES: Final = ("redis", "rediss", "unix")
_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9:._-]*")
_OF_A_DATASET: Final = frozenset({"namespace", "name"})


def _digits(value: Any) -> Any:
    # A variable such as HEADWATER_CONCURRENCY__POOLS__GPU arrives as text.
    return int(value) if isinstance(value, str) and re.fullmatch("[0-9]{1,9}", value) else value


def _no_empty_path(value: Any) -> Any:
    # The path of an empty text would be ".".
    if value == "":
        raise ValueError("is empty; name a directory")
    return value


def _name(text: str) -> str:
    if not _NAME.fullmatch(text):
        raise ValueError(f"{text!r} cannot be used; write letters, digits, ':', '.', '_' and '-'")
    return text


def _check_template(template: str, known: AbstractSet[str]) -> None:
    """Refuse a template with anything in braces but the known names."""
    try:
        fields = [tuple(field) for _, *field in Formatter().parse(template) if field[0] is not None]
    except ValueError as error:
        raise ValueError(f"the template {template!r} cannot be read: {error}") from None
    for name, form, conversion in fields:
        if name not in known:
            raise ValueError(f"the template {template!r} holds {{{name}}}; known are {', '.join(sorted(known))}")
        if form or conversion:
            raise ValueError(f"the template {template!r} says how {name} is written; write {{{name}}} alone")


def starred(url: SplitResult) -> str:
    """A URL with stars for its password, and for values of its query, where one may be too."""
    user, at, host = url.netloc.rpartition("@")
    if ":" in user:
        user = user.partition(":")[0] + ":***"
    query = re.sub(r"=[^&]*", "=***", url.query)
    # Not `urlunsplit`, which would write unix:/path for unix:///path.
    return f"{url.scheme}://{user}{at}{host}{url.path}{query and '?' + query}"


# The other types are strict, so that `max_runs = true` is an error; a path has no other way in than as text.
PathSetting = Annotated[Path, Field(strict=False), BeforeValidator(_no_empty_path)]
OptionalPath = Annotated[Path | None, Field(strict=False), BeforeValidator(lambda value: value or None)]
Name = Annotated[str, Field(max_length=100), BeforeValidator(_name)]
Limit = Annotated[int, Field(ge=1, le=100_000), BeforeValidator(_digits)]
Length = Annotated[int, Field(ge=1, le=1_000_000_000)]
Milliseconds = Annotated[int, Field(ge=1, le=_YEAR_MS)]
Days = Annotated[int, Field(ge=0, le=36_500)]


class Group(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


class RedisSettings(Group):
    """The server. A password in `url` stays out of the repr and of dumps; `safe_url` is for logs."""

    url: Annotated[str, Field(max_length=2_000)] = "embedded"
    prefix: Name = "headwater"
    password_file: OptionalPath = None
    socket_timeout_seconds: Annotated[float, Field(ge=0.1, le=600)] = 5.0
    append_fsync: Literal["everysec", "always"] = "everysec"

    @field_validator("url")
    @classmethod
    def _readable_url(cls, url: str) -> str:
        if url == "embedded":
            return url
        # The text of an error must not hold the URL: it may hold a password.
        try:
            parts = urlsplit(url)
            parts.port  # noqa: B018 - reading it checks it
        except ValueError as error:
            raise ValueError("the URL cannot be read; write 'embedded' or redis://HOST:PORT/0") from error
        if parts.scheme not in _SCHEMES:
            raise ValueError("write 'embedded', or a URL that begins with redis://, rediss:// or unix://")
        if not (parts.path if parts.scheme == "unix" else parts.hostname):
            raise ValueError("the URL names no server; write for example redis://127.0.0.1:6379/0")
        return url

    @model_validator(mode="after")
    def _one_password(self) -> Self:
        if self.password_file is not None and self.is_embedded:
            raise ValueError("password_file has no effect on an embedded server; remove it")
        if self.password_file is not None and self._parts.password is not None:
            raise ValueError("both url and password_file hold a password; keep one of them")
        return self

    @property
    def is_embedded(self) -> bool:
        """Whether the service starts a server of its own, with its files in `data_dir`."""
        return self.url == "embedded"

    @property
    def _parts(self) -> SplitResult:
        return urlsplit(self.url)

    @property
    def safe_url(self) -> str:
        """`url` with stars for the password (and for values of the query, where one may be too)."""
        return self.url if self.is_embedded else starred(self._parts)

    @field_serializer("url")
    def _without_password(self, _: str) -> str:
        return self.safe_url

    def __repr_args__(self) -> list[tuple[str | None, Any]]:
        return [(name, self.safe_url if name == "url" else value) for name, value in super().__repr_args__()]


class ConcurrencySettings(Group):
    max_runs: Limit = 8
    aging_ms: Milliseconds = 60_000
    workflows: dict[str, Limit] = Field(default_factory=dict)
    pools: dict[str, Limit] = Field(default_factory=dict)


class RunSettings(Group):
    lease_seconds: Annotated[float, Field(ge=1, le=3_600)] = 10.0
    start_timeout_seconds: Annotated[float, Field(ge=1, le=86_400)] = 60.0


class CelerySettings(Group):
    """The broker. A password in `broker_url` stays out of the repr and of dumps; `safe_broker_url` is for logs."""

    broker_url: Annotated[str, Field(max_length=2_000)] = ""
    queue: Name = "headwater"
    queues: dict[str, Name] = Field(default_factory=dict)
    visibility_timeout_seconds: Annotated[float, Field(ge=60, le=7 * 86_400)] = 3_600.0
    runs_outlive_service: bool = True

    @field_validator("broker_url")
    @classmethod
    def _readable_url(cls, url: str) -> str:
        # The text of an error must not hold the URL: it may hold a password.
        try:
            is_good = not url or bool(urlsplit(url).scheme and "://" in url)
        except ValueError:
            is_good = False
        if not is_good:
            raise ValueError('the URL cannot be read; write for example redis://127.0.0.1:6379/1, or ""')
        return url

    @property
    def safe_broker_url(self) -> str:
        return self.broker_url and starred(urlsplit(self.broker_url))

    @field_serializer("broker_url")
    def _without_password(self, _: str) -> str:
        return self.safe_broker_url

    def __repr_args__(self) -> list[tuple[str | None, Any]]:
        named = super().__repr_args__()
        return [(name, self.safe_broker_url if name == "broker_url" else value) for name, value in named]


class WorkerSettings(Group):
    processes: Annotated[int, Field(ge=1, le=1_024)] = 2
    max_tasks_per_process: Annotated[int, Field(ge=0, le=1_000_000_000)] = 0


class DispatcherSettings(Group):
    threads: Annotated[int, Field(ge=1, le=256)] = 2
    batch: Annotated[int, Field(ge=1, le=100_000)] = 64
    mailbox_capacity: Annotated[int, Field(ge=1, le=10_000_000)] = 10_000


class BackoffSettings(Group):
    base_ms: Milliseconds = 1_000
    max_ms: Milliseconds = 300_000
    multiplier: Annotated[float, Field(ge=1, le=1_000, allow_inf_nan=False)] = 2.0
    jitter: bool = True

    @model_validator(mode="after")
    def _cap_above_base(self) -> Self:
        self.to_policy()
        return self

    def to_policy(self) -> BackoffPolicy:
        return BackoffPolicy(self.base_ms, self.max_ms, self.multiplier, self.jitter)


class FailureBudgetSettings(Group):
    failures: Annotated[int, Field(ge=1, le=10_000)] = 5
    cool_off_ms: Annotated[int, Field(ge=0, le=_YEAR_MS)] = 0

    def to_policy(self) -> FailureBudget:
        return FailureBudget(self.failures, self.cool_off_ms or None)


class CatchUpSettings(Group):
    after_seconds: Annotated[float, Field(ge=0, le=_YEAR_MS / 1000, allow_inf_nan=False)] = 3600.0


class RefreshSettings(Group):
    interval_seconds: Annotated[float, Field(ge=1, le=86_400)] = 60.0
    watch_seconds: Annotated[float, Field(ge=0.1, le=3_600)] = 2.0


class StreamSettings(Group):
    events: Name = "events"
    dead_letters: Name = "dead-letters"
    audit: Name = "audit"
    events_max_length: Length = 100_000
    dead_letters_max_length: Length = 10_000
    audit_max_length: Length = 100_000
    group: Name = "headwater"
    batch: Annotated[int, Field(ge=1, le=10_000)] = 256

    @model_validator(mode="after")
    def _three_streams(self) -> Self:
        if len({self.events, self.dead_letters, self.audit}) < 3:
            raise ValueError("events, dead_letters and audit are three streams; give each a name of its own")
        return self


class HistorySettings(Group):
    materializations: Annotated[int, Field(ge=1, le=1_000_000)] = 200
    runs: Annotated[int, Field(ge=1, le=100_000_000)] = 10_000


class LeadershipSettings(Group):
    lease_seconds: Annotated[float, Field(ge=1, le=300)] = 5.0


class ShardSettings(Group):
    index: Annotated[int, Field(ge=0, lt=MAX_SHARDS)] = 0
    count: Annotated[int, Field(ge=1, le=MAX_SHARDS)] = 1

    @model_validator(mode="after")
    def _check_index(self) -> Self:
        if self.index >= self.count:
            raise ValueError(f"index is {self.index}, but of {self.count} shard(s) the last is {self.count - 1}")
        return self

    def to_shard(self) -> Shard:
        return Shard(self.index, self.count)


class RetentionSettings(Group):
    materializations_days: Days = 0
    runs_days: Days = 0
    windows_days: Days = 0
    events_days: Days = 0
    audit_days: Days = 0
    dead_letters_days: Days = 0
    interval_seconds: Annotated[float, Field(ge=1, le=86_400)] = 300.0


class LogSettings(Group):
    format: Literal["auto", "console", "json"] = "auto"
    level: Literal["debug", "info", "warning", "error"] = "info"


class MetricsSettings(Group):
    port: Annotated[int, Field(ge=0, le=65_535)] = 0
    host: Annotated[str, Field(min_length=1, max_length=255)] = "127.0.0.1"


class HttpSettings(Group):
    """The HTTP API. Tokens stay out of the repr and of dumps; `Settings.read_http_tokens` has them."""

    port: Annotated[int, Field(ge=0, le=65_535)] = 0
    host: Annotated[str, Field(min_length=1, max_length=255)] = "127.0.0.1"
    token_file: OptionalPath = None
    token: Annotated[SecretStr, Field(strict=False, max_length=1_000)] = SecretStr("")
    read_token: Annotated[SecretStr, Field(strict=False, max_length=1_000)] = SecretStr("")
    requests_per_second: Annotated[float, Field(ge=0, le=1_000_000, allow_inf_nan=False)] = 100.0

    @model_validator(mode="after")
    def _one_token(self) -> Self:
        if self.token_file is not None and self.token.get_secret_value():
            raise ValueError("both token and token_file hold a token; keep one of them")
        return self

    @property
    def is_loopback(self) -> bool:
        """Whether only this machine can connect. A name other than `localhost` may be anybody's."""
        try:
            return self.host == "localhost" or ip_address(self.host).is_loopback
        except ValueError:
            return False


class OpenLineageRule(Group):
    """Which datasets it is for (`namespace` and `name` as globs, `pattern` as a regular expression of the whole name),
    and what they are called here: `asset` and `partition` may hold {namespace}, {name} and the groups of `pattern`.

    An empty `asset` leaves the dataset out; an empty `partition` takes it from the run's nominal time.
    """

    namespace: Annotated[str, Field(min_length=1, max_length=1_000)] = "*"
    name: Annotated[str, Field(min_length=1, max_length=1_000)] = "*"
    pattern: Annotated[str, Field(max_length=1_000)] = ""
    asset: Annotated[str, Field(max_length=1_000)]
    partition: Annotated[str, Field(max_length=1_000)] = ""

    @model_validator(mode="after")
    def _templates_hold(self) -> Self:
        try:
            groups = re.compile(self.pattern).groupindex
        except re.error as error:
            raise ValueError(f"the pattern {self.pattern!r} is no regular expression: {error}") from None
        for template in (self.asset, self.partition):
            _check_template(template, _OF_A_DATASET | groups.keys())
        return self


class OpenLineageSettings(Group):
    """What is heard by OpenLineage, and what it is taken for."""

    namespace: Annotated[str, Field(min_length=1, max_length=200)] = "headwater"
    rules: list[OpenLineageRule] = Field(default_factory=list)
    asset: Annotated[str, Field(max_length=1_000)] = "{name}"
    unknown_assets: Literal["record", "ignore"] = "record"
    keep_runs_days: Annotated[int, Field(ge=1, le=366)] = 7
    max_runs: Annotated[int, Field(ge=1, le=1_000_000)] = 10_000

    @field_validator("asset")
    @classmethod
    def _template_holds(cls, template: str) -> str:
        _check_template(template, _OF_A_DATASET)
        return template


class SupervisionSettings(Group):
    max_restarts: Annotated[int, Field(ge=0, le=10_000)] = 5
    period_seconds: Annotated[float, Field(ge=0.1, le=86_400)] = 60.0


class ShutdownSettings(Group):
    grace_seconds: Annotated[float, Field(ge=0, le=86_400)] = 20.0


class ControlSettings(Group):
    timeout_seconds: Annotated[float, Field(ge=0.1, le=600)] = 5.0

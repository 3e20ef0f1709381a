"""The settings of the service, and the only place that reads configuration files and the environment.

Layers, each over the one before it: `config/default.toml` < the files given, in order < `HEADWATER_*` variables. A
variable names a key in capitals, with two underscores between a group and its key: `HEADWATER_REDIS__URL`. A relative
path is relative to the file that sets it, in a variable to the working directory. An installed package has no
`config/default.toml`; it has the same defaults, with `data`, `workflows` and `jobs` in the working directory.
"""

from __future__ import annotations

import os
import re
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from dataclasses import field as data_field
from difflib import get_close_matches
from pathlib import Path
from typing import Any, Final, Self

from pydantic import BaseModel, ValidationError, model_validator
from pydantic_settings import (
    BaseSettings,
    EnvSettingsSource,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
)
from pydantic_settings import SettingsError as UndecodableVariable

from actors.core.decide import Defaults
from actors.execution_settings import ExecutionSettings
from actors.outgoing_settings import OutgoingSettings, ReceiverSettings
from actors.setting_groups import (
    BackoffSettings,
    CatchUpSettings,
    CelerySettings,
    ConcurrencySettings,
    ControlSettings,
    DispatcherSettings,
    FailureBudgetSettings,
    HistorySettings,
    HttpSettings,
    LeadershipSettings,
    LogSettings,
    MetricsSettings,
    OpenLineageSettings,
    PathSetting,
    RedisSettings,
    RefreshSettings,
    RetentionSettings,
    RunSettings,
    ShardSettings,
    ShutdownSettings,
    StreamSettings,
    SupervisionSettings,
    WorkerSettings,
)

__all__ = ["DEFAULT_FILE", "HttpTokens", "RedisSettings", "Settings", "SettingsError", "load_settings"]

# Beside the package in a checkout; an installed wheel has none, and the defaults below say the same.
DEFAULT_FILE: Final = Path(__file__).resolve().parents[1] / "config" / "default.toml"
_PREFIX: Final = "HEADWATER_"
_FILES_VARIABLE: Final = "HEADWATER_CONFIG"
# Of `actors.client`, which a shell that starts the service may have too.
_NO_SETTINGS: Final = frozenset({_FILES_VARIABLE, "HEADWATER_URL", "HEADWATER_TOKEN"})
# What RFC 6750 lets a bearer token be, and long enough not to be guessed.
_TOKEN: Final = re.compile(r"[A-Za-z0-9._~+/-]{16,1000}=*", re.ASCII)
# What can stand in a header behind "Bearer ".
_SENDABLE: Final = re.compile(r"[\x21-\x7e]+", re.ASCII)
# Tables with keys of the user's own.
_TABLES: Final = (
    *(("concurrency", "workflows"), ("concurrency", "pools"), ("celery", "queues")),
    ("execution", "http", "headers"),
)
_PATHS: Final = (
    *(("data_dir",), ("workflows_dir",), ("jobs_dir",), ("redis", "password_file"), ("http", "token_file")),
    *(("outgoing", "openlineage", "token_file"), ("outgoing", "cloudevents", "token_file")),
    *(("execution", "http", "secret_file"), ("execution", "http", "ca_file")),
)

Key = tuple[str, ...]


class SettingsError(ValueError):
    """The settings cannot be used: a line for each problem, with the file or variable, the key and the reason."""


@dataclass(frozen=True, slots=True)
class HttpTokens:
    """What callers of the HTTP API show: `operator` may do everything, `read` may look. None: there is none."""

    operator: str | None = data_field(default=None, repr=False)
    read: str | None = data_field(default=None, repr=False)

    @property
    def has_any(self) -> bool:
        return self.operator is not None or self.read is not None


class Settings(BaseSettings):
    """All settings; build them with `load_settings`."""

    model_config = SettingsConfigDict(
        frozen=True, extra="forbid", strict=True, env_prefix=_PREFIX, env_nested_delimiter="__"
    )

    data_dir: PathSetting = Path("data")
    workflows_dir: PathSetting = Path("workflows")
    jobs_dir: PathSetting = Path("jobs")
    redis: RedisSettings = RedisSettings()
    concurrency: ConcurrencySettings = ConcurrencySettings()
    runs: RunSettings = RunSettings()
    execution: ExecutionSettings = ExecutionSettings()
    workers: WorkerSettings = WorkerSettings()
    celery: CelerySettings = CelerySettings()
    dispatcher: DispatcherSettings = DispatcherSettings()
    backoff: BackoffSettings = BackoffSettings()
    failure_budget: FailureBudgetSettings = FailureBudgetSettings()
    catch_up: CatchUpSettings = CatchUpSettings()
    refresh: RefreshSettings = RefreshSettings()
    streams: StreamSettings = StreamSettings()
    history: HistorySettings = HistorySettings()
    retention: RetentionSettings = RetentionSettings()
    leadership: LeadershipSettings = LeadershipSettings()
    shard: ShardSettings = ShardSettings()
    log: LogSettings = LogSettings()
    metrics: MetricsSettings = MetricsSettings()
    http: HttpSettings = HttpSettings()
    outgoing: OutgoingSettings = OutgoingSettings()
    openlineage: OpenLineageSettings = OpenLineageSettings()
    supervision: SupervisionSettings = SupervisionSettings()
    shutdown: ShutdownSettings = ShutdownSettings()
    control: ControlSettings = ControlSettings()

    @model_validator(mode="after")
    def _check_shards(self) -> Self:
        if self.shard.count > 1 and self.redis.is_embedded:
            raise ValueError(
                "shard.count: the embedded server serves one service alone; set redis.url to a server that all shards "
                "can reach"
            )
        return self

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],  # noqa: ARG003
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,  # noqa: ARG003
        dotenv_settings: PydanticBaseSettingsSource,  # noqa: ARG003
        file_secret_settings: PydanticBaseSettingsSource,  # noqa: ARG003
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Only what is passed in: `load_settings` reads the layers, to be able to say where a bad value is from."""
        return (init_settings,)

    def defaults(self) -> Defaults:
        """The policies of assets that declare none."""
        return Defaults(
            backoff=self.backoff.to_policy(),
            budget=self.failure_budget.to_policy(),
            catch_up_after_ms=int(self.catch_up.after_seconds * 1000),
        )

    def read_redis_password(self) -> str | None:
        """The content of `redis.password_file` without its line end; None if there is no such setting.

        Raises:
            SettingsError: the file cannot be read, or is empty.
        """
        path = self.redis.password_file
        return None if path is None else _read_secret(path, "password")

    def read_http_tokens(self) -> HttpTokens:
        """The tokens of the HTTP API; that of an operator from `http.token_file` if there is one.

        Raises:
            SettingsError: the file cannot be read or is empty, both tokens are the same, a token cannot be sent in a
                header, or there is none and others than this machine can connect.
        """
        http = self.http
        told = http.token.get_secret_value() if http.token_file is None else _read_secret(http.token_file, "token")
        tokens = HttpTokens(told or None, http.read_token.get_secret_value() or None)
        for key, token in (("token", tokens.operator), ("read_token", tokens.read)):
            if token is not None and not _TOKEN.fullmatch(token):
                raise SettingsError(f"http.{key}: write 16 or more letters, digits and -._~+/= without spaces")
        if tokens.operator is not None and tokens.operator == tokens.read:
            raise SettingsError("http.read_token: it is the same as the token of operators; give it another")
        if not tokens.has_any and not http.is_loopback:
            raise SettingsError(
                f"http.host: others can connect to {http.host}, so a token is required; name a file with one in "
                "http.token_file, set HEADWATER_HTTP__TOKEN, or use 127.0.0.1"
            )
        return tokens

    def read_outgoing_token(self, name: str, receiver: ReceiverSettings) -> str | None:
        """The token shown to a receiver, from its `token_file` if there is one; `name` is what errors call it.

        Raises:
            SettingsError: the file cannot be read or is empty, or the token cannot be sent in a header.
        """
        path = receiver.token_file
        token = receiver.token.get_secret_value() if path is None else _read_secret(path, "token")
        if token and not _SENDABLE.fullmatch(token):
            raise SettingsError(f"outgoing.{name}.token: write printable ASCII without spaces, on one line")
        return token or None


@dataclass(frozen=True, slots=True)
class _Layer:
    """What one file or variable sets; `source` is its name for errors, `base` what relative paths start from."""

    source: str
    base: Path
    values: dict[str, Any]


def load_settings(config_files: Sequence[Path] = (), environ: Mapping[str, str] | None = None) -> Settings:
    """Read every layer. `environ` is `os.environ` unless given; without files, `HEADWATER_CONFIG` names them.

    Raises:
        SettingsError: a file cannot be read, a key is unknown, or a value is bad.
    """
    environ = os.environ if environ is None else environ
    named = [Path(name) for name in environ.get(_FILES_VARIABLE, "").split(os.pathsep) if name]
    layers = [_defaults(), *map(_read_file, config_files or named), *_read_variables(environ)]
    merged: dict[str, Any] = {}
    for layer in layers:
        _merge(merged, _with_absolute_paths(layer.values, layer.base))
    try:
        return Settings(**merged)
    except ValidationError as error:
        raise SettingsError("\n".join(_lines(error, layers))) from None


def _read_text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise SettingsError(f"{path}: the file cannot be read: {error}") from None


def _read_secret(path: Path, what: str) -> str:
    secret = _read_text(path).rstrip("\r\n")
    if not secret:
        raise SettingsError(f"{path}: the {what} file is empty; write the {what} into it")
    return secret


def _defaults() -> _Layer:
    # Beside an installed package there may be a `config` of somebody else's.
    if DEFAULT_FILE.is_file() and (DEFAULT_FILE.parents[1] / "run.py").is_file():
        return _read_file(DEFAULT_FILE)
    paths = {name: Settings.model_fields[name].default for name, *inner in _PATHS if not inner}
    return _Layer("defaults", Path.cwd(), paths)


def _read_file(path: Path) -> _Layer:
    try:
        values = tomllib.loads(_read_text(path))
    except tomllib.TOMLDecodeError as error:
        raise SettingsError(f"{path}: this is no TOML: {error}") from None
    return _Layer(str(path), path.absolute().parent, values)


def _read_variables(environ: Mapping[str, str]) -> Iterator[_Layer]:
    reader = EnvSettingsSource(Settings)
    # Sorted, so that a variable for a whole group comes before those for its keys.
    for name in sorted(environ):
        if not name.startswith(_PREFIX) or name in _NO_SETTINGS:
            continue
        key = _key_of(name)
        if environ[name] == "":
            # The reader would make the path "." of it.
            yield _Layer(f"variable {name}", Path.cwd(), _nested(key, ""))
            continue
        reader.env_vars = {name.lower(): environ[name]}
        try:
            values = reader()
        except UndecodableVariable:
            reason = "the value is no JSON; several keys at once are written as a JSON object"
            raise SettingsError(f"variable {name}: {reason}") from None
        yield _Layer(f"variable {name}", Path.cwd(), values)


def _key_of(variable: str) -> Key:
    key = tuple(variable.removeprefix(_PREFIX).lower().split("__"))
    if any(key[: len(table)] == table for table in _TABLES) or key in _known_keys():
        return key
    near = _nearest(key)
    suggestion = f"; did you mean {_PREFIX}{'__'.join(near).upper()}?" if near else ""
    raise SettingsError(f"variable {variable}: there is no such setting{suggestion}")


def _nested(key: Key, value: str) -> dict[str, Any]:
    return {key[0]: _nested(key[1:], value) if key[1:] else value}


def _known_keys() -> list[Key]:
    """Every group and every key in it."""
    return list(_keys_of(Settings, ()))


def _keys_of(model: type[BaseModel], group: Key) -> Iterator[Key]:
    for name, field in model.model_fields.items():
        yield (*group, name)
        if isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel):
            yield from _keys_of(field.annotation, (*group, name))


def _nearest(key: Key) -> Key | None:
    """The known key that was likely meant: one of the same name in another group, or one like it in the same group."""
    beside = {".".join(known): known for known in _known_keys() if known[:-1] == key[:-1]}
    elsewhere = {".".join(known): known for known in _known_keys() if known[-1] == key[-1]}
    near = get_close_matches(".".join(key), elsewhere or beside, n=1)
    return (elsewhere or beside)[near[0]] if near else next(iter(elsewhere.values()), None)


def _merge(below: dict[str, Any], above: Mapping[str, Any]) -> None:
    for key, value in above.items():
        lower = below.get(key)
        if isinstance(lower, dict) and isinstance(value, dict):
            _merge(lower, value)
        else:
            below[key] = dict(value) if isinstance(value, dict) else value


def _with_absolute_paths(values: dict[str, Any], base: Path) -> dict[str, Any]:
    absolute: dict[str, Any] = {}
    _merge(absolute, values)
    for *groups, name in _PATHS:
        group: Any = absolute
        for step in groups:
            group = group.get(step) if isinstance(group, dict) else None
        if isinstance(group, dict) and isinstance(group.get(name), str | Path) and str(group[name]):
            group[name] = os.path.normpath(base / Path(group[name]).expanduser())
    return absolute


def _lines(error: ValidationError, layers: Sequence[_Layer]) -> Iterator[str]:
    for detail in error.errors(include_url=False, include_input=False):
        key = tuple(str(step) for step in detail["loc"])
        if detail["type"] == "extra_forbidden":
            near = _nearest(key)
            reason = "there is no such setting" + (f"; did you mean {'.'.join(near)}?" if near else "")
        else:
            cause = detail.get("ctx", {}).get("error")
            reason = detail["msg"] if cause is None else str(cause)
        # The last layer that sets a key is the one that counts.
        source = next((layer.source for layer in reversed(layers) if _sets(layer.values, key)), "defaults")
        yield f"{source}: {'.'.join(key)}: {reason}"


def _sets(values: Any, key: Key) -> bool:
    for step in key:
        if not isinstance(values, dict) or step not in values:
            return False
        values = values[step]
    return True

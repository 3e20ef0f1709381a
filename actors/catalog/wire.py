"""What all events have in common on the wire: the base model, and how times and versions are written."""

from __future__ import annotations

from typing import Annotated, Any, Final, Literal

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    JsonValue,
    PlainSerializer,
    ValidationInfo,
    WithJsonSchema,
)
from pydantic.alias_generators import to_camel

from actors.catalog.sections import AssetId
from actors.catalog.timestamps import format_iso, parse_iso_ms
from actors.core.key_format import flaw_of

__all__ = [
    "SCHEMA_VERSION",
    "ComingTimeMs",
    "PartitionKey",
    "ScriptTimeMs",
    "TimeMs",
    "Version",
    "Versions",
    "Wire",
    "WireEvent",
    "example_config",
]

SCHEMA_VERSION: Final = 1


def _alias(name: str) -> str:
    return to_camel(name.removesuffix("_ms"))


def _time(value: Any, info: ValidationInfo) -> Any:
    """On the wire, where there is a context, text only; in Python the milliseconds themselves."""
    context: dict[str, int] | None = info.context
    if isinstance(value, str):
        return parse_iso_ms(value, now_ms=context["now_ms"] if context else None)
    if context:
        raise ValueError(
            f"a {type(value).__name__} is no time; write an ISO 8601 timestamp, '2026-11-23T10:00:00.000Z'"
        )
    return value


def _script_time(value: Any, info: ValidationInfo) -> Any:
    # A script on the server counts milliseconds and has no calendar to write them with.
    return value if isinstance(value, int) else _time(value, info)


def _coming_time(value: Any, info: ValidationInfo) -> Any:
    """A time that may lie far in the future: it is a plan, and no clock can be blamed for it."""
    if isinstance(value, str):
        return parse_iso_ms(value)
    return _time(value, info)


def _partition_key(key: str) -> str:
    if flaw := flaw_of(key):
        raise ValueError(f"partition key {key[:40]!r} {flaw}")
    return key


_IN_PYTHON: Final = Field(strict=True)
_ON_THE_WIRE: Final = PlainSerializer(format_iso, return_type=str)
_SCHEMA: Final = WithJsonSchema({"type": "string", "format": "date-time"})

TimeMs = Annotated[int, _IN_PYTHON, BeforeValidator(_time), _ON_THE_WIRE, _SCHEMA]
ScriptTimeMs = Annotated[int, _IN_PYTHON, BeforeValidator(_script_time), _ON_THE_WIRE, _SCHEMA]
ComingTimeMs = Annotated[int, _IN_PYTHON, BeforeValidator(_coming_time), _ON_THE_WIRE, _SCHEMA]
PartitionKey = Annotated[str, AfterValidator(_partition_key)]
Version = Annotated[int, Field(strict=True, ge=1)]
Versions = dict[AssetId, Annotated[int, Field(strict=True, ge=0)]]


def example_config(**example: JsonValue) -> ConfigDict:
    """The configuration of a model that shows this JSON object as its example."""
    return ConfigDict(json_schema_extra={"example": example})


class Wire(BaseModel):
    """Frozen, written in camelCase; `..._at_ms` is a time, written as `...At`. Unknown keys are ignored."""

    model_config = ConfigDict(alias_generator=_alias, populate_by_name=True, frozen=True, extra="ignore")


class WireEvent(Wire):
    """Every event says in which version of the format it is written."""

    schema_version: Literal[1] = 1

"""What all parts of a definition have in common: the base model, and the kinds of value."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Annotated, Any, Final

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError, model_validator
from pydantic.alias_generators import to_camel
from pydantic_core import InitErrorDetails, PydanticCustomError

from actors.core.key_format import flaw_of

__all__ = [
    "AssetId",
    "Fault",
    "Label",
    "Location",
    "Milliseconds",
    "MillisecondsOrZero",
    "Section",
    "blame",
]

_TEN_YEARS_MS: Final = 10 * 366 * 24 * 60 * 60 * 1_000

Milliseconds = Annotated[int, Field(strict=True, gt=0, le=_TEN_YEARS_MS)]
MillisecondsOrZero = Annotated[int, Field(strict=True, ge=0, le=_TEN_YEARS_MS)]
Location = tuple[str | int, ...]
Fault = tuple[Location, str]


def blame(faults: Iterable[Fault]) -> ValidationError:
    """The error by which a validator of a whole model blames places inside it.

    pydantic puts the path of the model in front of each.
    """
    return ValidationError.from_exception_data(
        "definition",
        [
            # A template of its own text would read braces in the reason as fields.
            InitErrorDetails(
                type=PydanticCustomError("definition", "{reason}", {"reason": reason}),
                loc=location,
                input=None,
            )
            for location, reason in faults
        ],
    )


def _label(text: str) -> str:
    flaw = flaw_of(text)
    if flaw:
        raise ValueError(f"{text!r} {flaw}")
    return text


def _asset_id(text: str) -> str:
    flaw = "holds a space" if " " in text else flaw_of(text)
    if flaw:
        raise ValueError(f"asset id {text!r} {flaw}; use printable characters without spaces, such as 'orders.daily'")
    return text


Label = Annotated[str, Field(max_length=200), AfterValidator(_label)]
AssetId = Annotated[str, Field(max_length=200), AfterValidator(_asset_id)]


class Section(BaseModel):
    """A frozen part of a definition, written in camelCase; keys that are not known are kept."""

    model_config = ConfigDict(
        alias_generator=to_camel,
        populate_by_name=True,
        frozen=True,
        extra="allow",
        # Fields that end in an underscore stand for the name without it, which pydantic has taken.
        protected_namespaces=(),
    )

    @model_validator(mode="before")
    @classmethod
    def _null_is_absent(cls, data: Any) -> Any:
        if not isinstance(data, dict):
            return data
        return {key: value for key, value in data.items() if value is not None or key not in cls.known_keys()}

    @classmethod
    def known_keys(cls) -> frozenset[str]:
        """Every key of the JSON object that means something, as it is spelled there."""
        return frozenset(field.alias or name for name, field in cls.model_fields.items())

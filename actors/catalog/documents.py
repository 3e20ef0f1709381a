"""From the text of a document to a JSON value, bounded in size and depth, without duplicate keys."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from typing import Any, Final, Literal, NoReturn

import yaml
from pydantic import JsonValue

from actors.catalog.problems import Problem, json_path

__all__ = ["MAX_BYTES", "MAX_DEPTH", "Format", "Unreadable", "read_document"]

Format = Literal["json", "yaml"]
MAX_BYTES: Final = 1024 * 1024
MAX_DEPTH: Final = 64
_MERGE_TAG: Final = "tag:yaml.org,2002:merge"
# libyaml's parser takes a tenth of the time; PyYAML may have been built without it.
Location = tuple[str | int, ...]
_SafeLoader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


class Unreadable(ValueError):  # noqa: N818 - named as in the field, like `DefinitionInvalid`
    """The text is no JSON value within the bounds; `problem` says where and why."""

    def __init__(self, problem: Problem) -> None:
        self.problem = problem
        super().__init__(str(problem))


def read_document(text: str | bytes, form: Format) -> JsonValue:
    """Read a document in UTF-8.

    Raises:
        Unreadable: the text is too large, is no such document, or holds what JSON cannot.
    """
    size = len(text) if isinstance(text, bytes) else len(text.encode(errors="surrogatepass"))
    if size > MAX_BYTES:
        raise _unreadable(f"the document is larger than {MAX_BYTES} bytes")
    try:
        decoded = text.decode("utf-8-sig") if isinstance(text, bytes) else text
    except UnicodeDecodeError as error:
        raise _unreadable(f"the text is not UTF-8: {error}") from None
    try:
        value = _read_json(decoded) if form == "json" else _read_yaml(decoded)
    except RecursionError:
        raise _unreadable(f"the document is nested deeper than {MAX_DEPTH} levels") from None
    except (yaml.YAMLError, ValueError) as error:
        raise _unreadable(f"this is no {form.upper()}: {_one_line(error)}") from None
    _check(value)
    checked: JsonValue = value
    return checked


def _unreadable(reason: str, location: Location = ()) -> Unreadable:
    return Unreadable(Problem(json_path(location), reason))


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())


def _read_json(text: str) -> Any:
    return json.loads(text, object_pairs_hook=_unique, parse_constant=_no_constant)


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for key, value in pairs:
        if key in found:
            raise ValueError(f"the key {key!r} appears twice in one object; remove one of them")
        found[key] = value
    return found


def _no_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not a JSON number")


class _Loader(_SafeLoader):  # type: ignore[misc]
    """A safe loader without duplicate keys, and without merge keys: by them a text can outgrow memory."""

    def flatten_mapping(self, node: yaml.MappingNode) -> None:
        if any(key.tag == _MERGE_TAG for key, _ in node.value):
            raise yaml.constructor.ConstructorError(
                None, None, "merge keys (<<) are not supported; write the keys out", node.start_mark
            )

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen = set[str]()
        for key, _ in node.value:
            if isinstance(key, yaml.ScalarNode):
                if key.value in seen:
                    raise yaml.constructor.ConstructorError(
                        None, None, f"the key {key.value!r} appears twice; remove one of them", key.start_mark
                    )
                seen.add(key.value)
        found: dict[Any, Any] = super().construct_mapping(node, deep)
        return found


def _read_yaml(text: str) -> Any:
    return yaml.load(text, Loader=_Loader)  # noqa: S506 - a subclass of the safe loader


def _check(root: Any) -> None:
    """Refuse what JSON lacks. What aliases stand for counts, so a small text cannot mean a huge value."""
    budget = MAX_BYTES
    stack: list[tuple[Any, Location]] = [(root, ())]
    while stack:
        value, location = stack.pop()
        flaw = f"is nested deeper than {MAX_DEPTH} levels" if len(location) > MAX_DEPTH else _flaw(value)
        if flaw:
            raise _unreadable(flaw, location)
        budget -= 1 + (len(value) if isinstance(value, str) else 0)
        if budget < 0:
            raise _unreadable(f"with its aliases written out the document has more than {MAX_BYTES} bytes")
        if isinstance(value, dict | list):
            stack.extend((child, (*location, key)) for key, child in _children(value, location))


def _children(value: dict[Any, Any] | list[Any], location: Location) -> Iterator[tuple[str | int, Any]]:
    if isinstance(value, list):
        yield from enumerate(value)
        return
    for key, child in value.items():
        if not isinstance(key, str):
            raise _unreadable(f"the key {key!r} is not text; write it in quotes", location)
        if flaw := _flaw(key):
            raise _unreadable(f"a key {flaw}", location)
        yield key, child


def _flaw(value: Any) -> str | None:
    match value:
        case str():
            return "holds half a surrogate pair, which is no character" if _has_surrogate(value) else None
        case float():
            return None if math.isfinite(value) else f"{value} is not a JSON number"
        case None | bool() | int() | dict() | list():
            return None
        case _:
            return f"{value} is a {type(value).__name__}, which JSON does not have; write it in quotes"


def _has_surrogate(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return True
    return False

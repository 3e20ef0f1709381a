"""A request and how its answer is read, apart from how it is sent."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Final, Generic, Literal, TypeVar
from urllib.parse import quote, urlencode

from actors.client.records import Page

__all__ = ["API", "Call", "DefinitionFormat", "Listing", "json_body"]

T = TypeVar("T")
API: Final = "/api/v1"
DefinitionFormat = Literal["json", "yaml"]
JSON: Final = "application/json"


@dataclass(frozen=True, slots=True)
class Call(Generic[T]):
    """`route` is written as in the OpenAPI document; `ids` fill it. `is_repeatable`: to ask twice does what asking
    once does. `also` are statuses besides 2xx whose body is an answer."""

    method: str
    route: str
    read: Callable[[bytes], T]
    ids: Mapping[str, str] = field(default_factory=dict)
    query: Mapping[str, str | int | None] = field(default_factory=dict)
    body: bytes | None = None
    content_type: str = JSON
    is_repeatable: bool = False
    also: frozenset[int] = frozenset()
    timeout_seconds: float | None = None

    @property
    def target(self) -> str:
        """Path and query."""
        path = self.route.format_map({name: _segment(value) for name, value in self.ids.items()})
        query = urlencode({name: value for name, value in self.query.items() if value is not None and value != ""})
        return f"{path}?{query}" if query else path


@dataclass(frozen=True, slots=True)
class Listing(Generic[T]):
    """A list that comes in pages, each asked for by the cursor of the one before."""

    first: Call[Page[T]]

    def after(self, page: Page[T]) -> Call[Page[T]] | None:
        """What asks for the next page; None after the last one."""
        if page.next_cursor is None:
            return None
        return replace(self.first, query={**self.first.query, "cursor": page.next_cursor})


def json_body(value: object) -> bytes:
    """
    Raises:
        TypeError, ValueError: it is nothing that JSON has.
    """
    return json.dumps(value, ensure_ascii=False, allow_nan=False).encode()


def _segment(name: str) -> str:
    # A segment of dots alone would be taken for a way up, by whoever normalises the path.
    return quote(name, safe="") if name.strip(".") else name.replace(".", "%2E")

"""What is wrong with a document, and where in it."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

__all__ = ["DefinitionInvalid", "Problem", "json_path"]

_PLAIN_KEY = re.compile(r"[A-Za-z_][A-Za-z0-9_-]*")
_MOST_SHOWN = 20


@dataclass(frozen=True, slots=True)
class Problem:
    """`path` is a JSONPath such as `$.steps[0].id`; `reason` says what is wrong there and what to do."""

    path: str
    reason: str

    def __str__(self) -> str:
        return f"{self.path}: {self.reason}"


class DefinitionInvalid(ValueError):  # noqa: N818 - as `CatalogUnavailable` and the like
    """A definition that cannot be used. `source` is the file, or whatever it came from.

    The text has a line for each problem: `orders.json: $.steps[0].produces[1].freshness.ttlMs: reason`.
    """

    def __init__(self, source: str, problems: Iterable[Problem]) -> None:
        self.source = source
        self.problems = tuple(problems)
        super().__init__(source, self.problems)

    def __str__(self) -> str:
        lines = [f"{self.source}: {problem}" for problem in self.problems[:_MOST_SHOWN]]
        if len(self.problems) > _MOST_SHOWN:
            lines.append(f"{self.source}: and {len(self.problems) - _MOST_SHOWN} more")
        return "\n".join(lines)


def json_path(location: Sequence[str | int]) -> str:
    """The JSONPath of a place in a document: `("steps", 0, "id")` is `$.steps[0].id`."""
    path = "$"
    for step in location:
        if isinstance(step, int):
            path += f"[{step}]"
        elif _PLAIN_KEY.fullmatch(step):
            path += f".{step}"
        else:
            path += f"[{step!r}]"
    return path

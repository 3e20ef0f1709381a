"""One answer of the answers of several shards: each knows its own assets and runs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, cast

from actors.catalog.store import Json

__all__ = ["FIRST_ANSWER", "merged"]

FIRST_ANSWER: Final = frozenset({"debug", "cancel"})
"""What one shard can do and the others cannot: their refusals do not count."""

_EARLIEST: Final = frozenset({"startedAtMs"})


def merged(answers: Sequence[Json]) -> Json:
    """Lists end to end, numbers added, objects key by key; else what the first says. Of instants the earliest."""
    first = answers[0]
    if len(answers) == 1 or isinstance(first, bool | str) or first is None:
        return first
    if isinstance(first, list):
        return [each for answer in answers if isinstance(answer, list) for each in answer]
    if isinstance(first, dict):
        objects = [answer for answer in answers if isinstance(answer, dict)]
        return {name: _merged_field(name, [each[name] for each in objects if name in each]) for name in first}
    return cast("Json", sum(answer for answer in answers if isinstance(answer, int | float)))


def _merged_field(name: str, values: Sequence[Json]) -> Json:
    if name in _EARLIEST:
        return min(value for value in values if isinstance(value, int))
    return merged(values)

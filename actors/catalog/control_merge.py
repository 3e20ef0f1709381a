"""One answer of the answers of several shards: each knows its own assets and runs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, cast

from actors.catalog.store import Json

__all__ = ["FIRST_ANSWER", "merged"]

FIRST_ANSWER: Final = frozenset({"debug", "cancel"})
"""What one shard can do and the others cannot: their refusals do not count."""

_EARLIEST: Final = frozenset({"startedAtMs"})
_OF_ALL: Final = frozenset({"maxRuns", "workflows", "pools", "seconds"})
"""Limits, and over what time rates are told: the same in every shard, as they hold for all of them together."""


def merged(answers: Sequence[Json]) -> Json:
    """Lists end to end, numbers added, objects key by key; else what the first says. Of instants the earliest."""
    first = answers[0]
    if len(answers) == 1 or isinstance(first, bool | str) or first is None:
        return first
    if isinstance(first, list):
        return [each for answer in answers if isinstance(answer, list) for each in answer]
    if isinstance(first, dict):
        objects = [answer for answer in answers if isinstance(answer, dict)]
        # A count may be there in some of them only.
        names = dict.fromkeys(name for each in objects for name in each)
        return {name: _merged_field(name, [each[name] for each in objects if name in each]) for name in names}
    return cast("Json", sum(answer for answer in answers if isinstance(answer, int | float)))


def _merged_field(name: str, values: Sequence[Json]) -> Json:
    if name in _EARLIEST:
        return min(value for value in values if isinstance(value, int))
    return values[0] if name in _OF_ALL else merged(values)

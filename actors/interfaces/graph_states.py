"""How assets stand, in one word each: what a drawing of the graph is coloured by."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from actors.catalog.store import Store
from actors.core.decide import Defaults
from actors.core.graph import Graph
from actors.interfaces.offline import dump_assets
from actors.messages import AssetDump

__all__ = ["COLOURS", "AssetState", "Colours", "read_states"]


class AssetState(StrEnum):
    """What of all its partitions is most worth a look; the first that holds. `outside`: no workflow here makes it."""

    SUSPENDED = "suspended"
    IN_FLIGHT = "in flight"
    PAUSED = "paused"
    STALE = "stale"
    FRESH = "fresh"
    NEVER_MADE = "never made"
    OUTSIDE = "outside"


@dataclass(frozen=True, slots=True)
class Colours:
    """Of a box: its ground, its border and words, each as `#rrggbb`; and the colour of a terminal."""

    fill: str
    line: str
    terminal: str


COLOURS: Final[Mapping[AssetState, Colours]] = {
    AssetState.SUSPENDED: Colours("#fce4e4", "#c62828", "red"),
    AssetState.IN_FLIGHT: Colours("#e3eefc", "#1565c0", "blue"),
    AssetState.PAUSED: Colours("#f1e6fa", "#7b1fa2", "magenta"),
    AssetState.STALE: Colours("#fff3d6", "#a86500", "yellow"),
    AssetState.FRESH: Colours("#e3f4e6", "#2e7d32", "green"),
    AssetState.NEVER_MADE: Colours("#eeeeee", "#616161", "bright_black"),
    AssetState.OUTSIDE: Colours("#ffffff", "#455a64", "cyan"),
}

_STALE: Final = frozenset({"stale", "expired", "backoff"})


def read_states(
    store: Store, graph: Graph, asset_ids: Iterable[str], defaults: Defaults, now_ms: int
) -> dict[str, AssetState]:
    """Of each asset, by what the catalog keeps; only these assets and what they follow are read.

    Raises:
        CatalogUnavailable: the catalog cannot be reached.
    """
    return {dump.asset_id: _state(dump) for dump in dump_assets(store, graph, list(asset_ids), defaults, now_ms)}


def _state(dump: AssetDump) -> AssetState:
    if dump.spec is None:
        return AssetState.OUTSIDE
    words = Counter(partition.state for partition in dump.partitions)
    if words["suspended"]:
        return AssetState.SUSPENDED
    if words["inFlight"]:
        return AssetState.IN_FLIGHT
    if dump.pause is not None or words["paused"]:
        return AssetState.PAUSED
    if any(words[word] for word in _STALE):
        return AssetState.STALE
    return AssetState.FRESH if words["fresh"] else AssetState.NEVER_MADE

"""What the campaign's services keep fresh: a chain, a diamond, a fan, partitions, and a workflow that makes two assets.

The same table tells the services (as definitions) and the checks (as it is here) what follows what.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from tests.integration.service.workflows import produce, workflow

__all__ = ["SOURCES", "WORKFLOWS", "Asset", "Source", "Workflow", "definitions"]

_KEYS: Final = ("x", "y", "z")
_STATIC: Final = {"type": "static", "keys": list(_KEYS)}


@dataclass(frozen=True, slots=True)
class Source:
    """An asset that is made outside; `keys` are its partitions."""

    asset_id: str
    keys: tuple[str | None, ...] = (None,)


@dataclass(frozen=True, slots=True)
class Asset:
    asset_id: str
    upstreams: tuple[str, ...]
    keys: tuple[str | None, ...] = (None,)


@dataclass(frozen=True, slots=True)
class Workflow:
    """`behaviour` are parameters of the job (see `jobs/crash_jobs.py`)."""

    slug: str
    assets: tuple[Asset, ...]
    behaviour: Mapping[str, float] = field(default_factory=dict)


def _one(asset_id: str, *upstreams: str, keys: tuple[str | None, ...] = (None,), **behaviour: float) -> Workflow:
    return Workflow(asset_id, (Asset(asset_id, upstreams, keys),), behaviour)


SOURCES: Final = (Source("a"), Source("b"), Source("c"), Source("raw", _KEYS))

WORKFLOWS: Final = (
    _one("chain1", "a"),
    _one("chain2", "chain1", fails=0.15),
    _one("chain3", "chain2"),
    _one("left", "b"),
    _one("right", "b", dataVersions=2),
    _one("join", "left", "right"),
    _one("fan1", "c"),
    _one("fan2", "c", slowMs=400),
    _one("fanned", "fan1", "fan2", fails=0.1),
    _one("each", "raw", keys=_KEYS, slowMs=100),
    _one("sum", "each"),
    Workflow("twins", (Asset("twin1", ("a", "c")), Asset("twin2", ("a", "c"))), {"slowMs": 60}),
)


def definitions() -> list[dict[str, Any]]:
    """The workflows in the JSON that users write."""
    return [_definition(each) for each in WORKFLOWS]


def _definition(of: Workflow) -> dict[str, Any]:
    partitioned = {source.asset_id for source in SOURCES if source.keys != (None,)}
    upstreams = dict.fromkeys(upstream for asset in of.assets for upstream in asset.upstreams)
    return workflow(
        of.slug,
        *(
            produce(asset.asset_id, **({"partitioning": _STATIC} if asset.keys != (None,) else {}))
            for asset in of.assets
        ),
        consumes=[
            {"assetId": upstream, **({"partitioning": _STATIC} if upstream in partitioned else {})}
            for upstream in upstreams
        ],
        job="crash",
        defaults=dict(of.behaviour),
    )

"""Which dataset of OpenLineage is which asset here, and which of its partitions a run has made."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Final

from pydantic import TypeAdapter, ValidationError

from actors.catalog.sections import AssetId
from actors.core.graph import Graph
from actors.core.partitions import PartitionKeyError
from actors.core.time_windows import TimeWindowPartitioning, Window, count_between, keys_overlapping
from actors.setting_groups import OpenLineageRule, OpenLineageSettings

__all__ = ["MAX_WINDOWS", "DatasetNames", "NotTaken", "Target", "target_of"]

MAX_WINDOWS: Final = 1_000
"""The most partitions that one run makes of one dataset: more than the hours of a month."""
_ASSET_ID: Final[TypeAdapter[str]] = TypeAdapter(AssetId)


@dataclass(frozen=True, slots=True)
class DatasetNames:
    """How datasets are named: as Headwater tells others of them (namespace and name to asset id), else by the rules."""

    told: Mapping[tuple[str, str], str]
    settings: OpenLineageSettings


@dataclass(frozen=True, slots=True)
class Target:
    """An asset, and its partitions that were made; None is the one of an unpartitioned asset.

    Whether the asset has such partitions is not looked at.
    """

    asset_id: str
    keys: tuple[str | None, ...]


@dataclass(frozen=True, slots=True)
class NotTaken:
    """A dataset that stands for no asset partition here, and why."""

    reason: str


def target_of(names: DatasetNames, graph: Graph, namespace: str, name: str, window: Window | None) -> Target | NotTaken:
    """What a run of this nominal time has made, as its names, and the partitioning that the asset declares, have it."""
    settings = names.settings
    told = names.told.get((namespace, name))
    found = (told, None) if told is not None else _by_rules(settings, namespace, name)
    if found is None:
        return NotTaken("the settings leave it out ([openlineage])")
    asset_id, key = found
    try:
        _ASSET_ID.validate_python(asset_id)
    except ValidationError as error:
        return NotTaken(str(error.errors(include_url=False)[0]["msg"]).removeprefix("Value error, "))
    if graph.node(asset_id) is None and settings.unknown_assets == "ignore":
        return NotTaken(f"no workflow here knows asset {asset_id!r}")
    try:
        return Target(asset_id, (key,) if key is not None else _keys_in(graph, asset_id, window))
    except PartitionKeyError as error:
        return NotTaken(str(error))


def _by_rules(settings: OpenLineageSettings, namespace: str, name: str) -> tuple[str, str | None] | None:
    """The asset id, and the partition key if a rule says it; None where the dataset is left out."""
    for rule in settings.rules:
        values = _fit(rule, namespace, name)
        if values is not None:
            asset_id, key = rule.asset.format_map(values), rule.partition.format_map(values)
            return (asset_id, key or None) if asset_id else None
    asset_id = settings.asset.format_map({"namespace": namespace, "name": name})
    return (asset_id, None) if asset_id else None


def _fit(rule: OpenLineageRule, namespace: str, name: str) -> dict[str, str] | None:
    """What the templates of a rule may name, if the rule is for this dataset."""
    if not (fnmatchcase(namespace, rule.namespace) and fnmatchcase(name, rule.name)):
        return None
    match = re.fullmatch(rule.pattern or ".*", name, re.DOTALL)
    return None if match is None else {**match.groupdict(""), "namespace": namespace, "name": name}


def _keys_in(graph: Graph, asset_id: str, window: Window | None) -> tuple[str | None, ...]:
    """The partitions that a run of this nominal time makes.

    Raises:
        PartitionKeyError: it cannot be said.
    """
    node = graph.node(asset_id)
    partitioning = node.partitioning if node is not None else None
    if not isinstance(partitioning, TimeWindowPartitioning):
        return (None,)
    if window is None:
        raise PartitionKeyError(
            f"asset {asset_id!r} has a partition for each {partitioning.granularity}, and the run has no nominalTime "
            "facet that can be read; say the partition in a rule ([openlineage] rules)"
        )
    try:
        count = count_between(partitioning, window)
        if count <= MAX_WINDOWS:
            return keys_overlapping(partitioning, window)
    except ValueError as error:
        raise PartitionKeyError(f"asset {asset_id!r}: {error}") from None
    raise PartitionKeyError(
        f"the nominal time of the run spans {count} partitions of asset {asset_id!r}; at most {MAX_WINDOWS} are taken"
    )

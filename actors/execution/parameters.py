"""The parameters of a run, layer over layer, and the partition that they are about."""

from __future__ import annotations

from collections.abc import Collection

from actors.catalog.definitions import WorkflowDefinition
from actors.catalog.store import Json, JsonObject
from actors.core.partitions import (
    Partitioning,
    PartitionKeyError,
    TimeWindowPartitioning,
    derived_parameters,
    validate_key,
)

__all__ = ["check_partition_key", "partitioned_assets", "run_parameters"]


def run_parameters(
    definition: WorkflowDefinition,
    *,
    asset_ids: Collection[str],
    partition_key: str | None,
    stored: JsonObject,
    given: JsonObject,
) -> JsonObject:
    """Layer a run's parameters; a later layer replaces whole values of the same name.

    In order: `defaultParameters`, the `parameterDefaults` of each of `asset_ids` (in the order of the definition),
    those `stored` for the partition, those `given` by whoever asked, and those derived from the partition
    (`partitionKey`, `windowStart`, `windowEnd`), which nobody can replace. They are derived by the partitioning of
    `asset_ids` if those have one, else by that of any asset that the workflow makes.

    Raises:
        PartitionKeyError: the key fits none of these partitionings.
    """
    layered: dict[str, Json] = dict(definition.default_parameters)
    for step in definition.steps:
        for declared in step.produces:
            if declared.asset_id in asset_ids:
                layered |= definition.parameter_defaults(declared.asset_id)
    layered |= stored
    layered |= given
    if partition_key is not None:
        partitioned = partitioned_assets(definition)
        wanted = {asset_id: p for asset_id, p in partitioned.items() if asset_id in asset_ids}
        layered |= derived_parameters(_fitting(wanted or partitioned, partition_key), partition_key)
    return layered


def check_partition_key(definition: WorkflowDefinition, partition_key: str | None) -> None:
    """Check that a run of the workflow can be about this partition: the key fits an asset that it makes, or it makes no
    partitioned asset and there is no key.

    Raises:
        PartitionKeyError: it cannot; the text says why and shows a good key.
    """
    partitioned = partitioned_assets(definition)
    if partition_key is not None:
        if not partitioned:
            raise PartitionKeyError(
                f"workflow {definition.slug!r} makes no partitioned asset, so it takes no partition key; "
                f"leave {partition_key!r} out"
            )
        _fitting(partitioned, partition_key)
    elif partitioned:
        asset_id, partitioning = next(iter(partitioned.items()))
        validate_key(partitioning, None, asset_id=asset_id)


def partitioned_assets(definition: WorkflowDefinition) -> dict[str, Partitioning]:
    """Of each asset that the workflow makes and that is partitioned: how."""
    found: dict[str, Partitioning] = {}
    for step in definition.steps:
        for declared in step.produces:
            partitioning = declared.to_partitioning()
            if partitioning is not None:
                found[declared.asset_id] = partitioning
    return found


def _fitting(partitioned: dict[str, Partitioning], key: str) -> Partitioning | None:
    """The partitioning that the key fits; of several a time window, because it says the most."""
    fitting: list[Partitioning] = []
    refused: PartitionKeyError | None = None
    for asset_id, partitioning in partitioned.items():
        try:
            validate_key(partitioning, key, asset_id=asset_id)
        except PartitionKeyError as error:
            refused = refused or error
        else:
            fitting.append(partitioning)
    if refused is not None and not fitting:
        raise refused
    return next((p for p in fitting if isinstance(p, TimeWindowPartitioning)), fitting[0] if fitting else None)

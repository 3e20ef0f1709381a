"""Commands about assets: what was made of one, and taking back a suspension."""

from __future__ import annotations

import time
from typing import Annotated

import typer

from actors.catalog.store import Store
from actors.interfaces.dump import partition_name
from actors.interfaces.errors import unknown
from actors.interfaces.graph_view import graph_of
from actors.interfaces.records import history_json
from actors.interfaces.render import print_json, print_table, when_text
from actors.interfaces.session import ConfigOption, JsonOption, LimitOption, PartitionOption, open_session

__all__ = ["AssetArgument", "check_known", "history", "resume"]

AssetArgument = Annotated[str, typer.Argument(metavar="ASSET", help="The asset's id.")]


def history(
    ctx: typer.Context,
    asset: AssetArgument,
    partition: PartitionOption = None,
    limit: LimitOption = 50,
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """List what was made of an asset, newest first: when, by which run, from which versions.

    \b
    Examples:
      python run.py history orders.daily
      python run.py history orders.daily --partition 2026-11-23 --json
    """
    with open_session(ctx, config) as session:
        store = session.catalog.store
        check_known(store, asset)
        entries = store.history(asset, partition_key=partition, limit=limit)
    if as_json:
        print_json([history_json(entry) for entry in entries])
        return
    now_ms = time.time_ns() // 1_000_000
    print_table(
        ("VERSION", "PARTITION", "PRODUCED", "DATA VERSION", "MADE FROM", "WORKFLOW", "RUN"),
        [
            (
                str(entry.materialization.version),
                entry.partition_key,
                when_text(entry.materialization.produced_at_ms, now_ms),
                entry.materialization.data_version,
                "\n".join(f"{name} v{version}" for name, version in entry.materialization.inputs.items()) or None,
                entry.workflow_slug,
                entry.materialization.run_id,
            )
            for entry in entries
        ],
        empty=f"{partition_name(asset, partition)} was never produced",
    )


def resume(
    ctx: typer.Context,
    asset: AssetArgument,
    partition: PartitionOption = None,
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Forget an asset's failures and canceled runs, so that it is made again at once if it needs to be.

    \b
    Examples:
      python run.py resume orders.daily
      python run.py resume orders.daily --partition 2026-11-23
    """
    with open_session(ctx, config) as session:
        store = session.catalog.store
        check_known(store, asset)
        cleared = store.resume(asset, partition)
    if as_json:
        print_json({"assetId": asset, "partitionKey": partition, "cleared": cleared})
    elif cleared:
        print(f"{partition_name(asset, partition)}: {cleared} forgotten")
    else:
        print(f"{partition_name(asset, partition)}: there was nothing to forget")


def check_known(store: Store, asset_id: str) -> None:
    """Refuse an asset that no workflow knows and that was never recorded.

    Raises:
        CommandError: there is no such asset; the text names those that come near.
    """
    graph, _ = graph_of(store.workflows())
    if graph.node(asset_id) is None:
        known = {*graph.assets, *store.asset_ids()}
        if asset_id not in known:
            raise unknown("asset", asset_id, known, otherwise="the catalog knows none yet")

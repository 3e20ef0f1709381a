"""Commands about assets: what was made of one, declaring it stale, and taking back a suspension."""

from __future__ import annotations

import time
from typing import Annotated

import typer

from actors.catalog.store import Store
from actors.core.freshness import ExpiryReason
from actors.core.partitions import validate_key
from actors.core.state import partition_name
from actors.interfaces.dump import iso_or_none
from actors.interfaces.errors import check_text, refused, unknown
from actors.interfaces.graph_view import graph_of
from actors.interfaces.known_graph import known_graph
from actors.interfaces.records import history_json
from actors.interfaces.render import print_json, print_table, when_text
from actors.interfaces.session import ConfigOption, JsonOption, LimitOption, PartitionOption, note, open_session

__all__ = ["AssetArgument", "check_known", "declare_expired", "history", "mark_stale", "resume"]

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


def mark_stale(
    ctx: typer.Context,
    asset: AssetArgument,
    partition: PartitionOption = None,
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Declare the latest version of an asset expired, so that it is made again if it opted in. 1 if there is none.

    \b
    Examples:
      python run.py mark-stale orders.daily
      python run.py mark-stale orders.daily --partition 2026-11-23 --json
    """
    check_text("--partition", partition)
    now_ms = time.time_ns() // 1_000_000
    with open_session(ctx, config) as session:
        store = session.catalog.store
        check_known(store, asset)
        graph, _ = graph_of(store.workflows())
        node = graph.node(asset)
        if node is not None and node.spec is not None:
            validate_key(node.partitioning, partition, asset_id=asset)
        declare_expired(store, asset, partition, now_ms, as_json=as_json)
        if node is None or node.spec is None or node.spec.auto is None:
            note("it is not kept fresh by itself, so nothing makes it again; `trigger` its workflow")


def declare_expired(store: Store, asset_id: str, partition_key: str | None, now_ms: int, *, as_json: bool) -> None:
    """Declare the latest version expired, and print what came of it.

    Raises:
        CommandError: it was never produced, or is produced in the future.
    """
    name = partition_name(asset_id, partition_key)
    made = store.read_assets([asset_id])[asset_id].latest.get(partition_key)
    if made is None:
        raise refused(f"{name} was never produced, so it cannot expire; `trigger` its workflow to make it")
    expired = store.expire(
        asset_id,
        partition_key,
        version=None,
        expires_at_ms=now_ms,
        reason=ExpiryReason.MANUAL,
        now_ms=now_ms,
    )
    if as_json:
        print_json({"assetId": asset_id, "partitionKey": partition_key, "version": made.version, "expired": expired})
    elif expired:
        print(f"{name} version {made.version} expired")
    elif made.produced_at_ms > now_ms:
        raise refused(f"{name} was produced at {iso_or_none(made.produced_at_ms)}, which is still to come")
    else:
        print(f"{name} version {made.version} had expired already")


def check_known(store: Store, asset_id: str) -> None:
    """Refuse an asset that no workflow knows and that was never recorded.

    Raises:
        CommandError: there is no such asset; the text names those that come near.
    """
    graph = known_graph(store)
    if graph.node(asset_id) is None:
        known = {*graph.assets, *store.asset_ids()}
        if asset_id not in known:
            raise unknown("asset", asset_id, known, otherwise="the catalog knows none yet")

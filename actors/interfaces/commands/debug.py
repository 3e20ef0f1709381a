"""`debug`: how assets stand and why, asked of the running service or read from the catalog."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Mapping
from typing import Annotated

import typer
from rich.text import Text

from actors.catalog.control import ServiceNotRunning
from actors.catalog.store import Json, JsonObject
from actors.catalog.timestamps import parse_iso_ms
from actors.interfaces.commands.assets import check_known
from actors.interfaces.debug_view import asset_lines
from actors.interfaces.dump import asset_json
from actors.interfaces.errors import refused
from actors.interfaces.graph_view import graph_of
from actors.interfaces.offline import dump_assets
from actors.interfaces.render import print_json, print_lines, print_table, state_text, when_text
from actors.interfaces.session import (
    ConfigOption,
    JsonOption,
    PartitionOption,
    Session,
    note,
    open_session,
)

__all__ = ["debug"]


def debug(
    ctx: typer.Context,
    asset: Annotated[str | None, typer.Argument(metavar="[ASSET]", help="The asset's id; all without it.")] = None,
    partition: PartitionOption = None,
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Show how assets stand and why: state, versions, what is waited for, and the last decisions.

    Without a running service it shows what the catalog knows, which has no decisions in it.

    \b
    Examples:
      python run.py debug
      python run.py debug orders.daily
      python run.py debug orders.daily --partition 2026-11-23 --json
    """
    with open_session(ctx, config) as session:
        if asset is not None:
            check_known(session.catalog.store, asset)
        assets, live = _states(session, asset, partition)
    if asset is None:
        if as_json:
            print_json({"live": live, "assets": assets})
        else:
            _draw_all(assets)
        return
    shown = _of_partition(assets[0], partition)
    if as_json:
        print_json({**shown, "live": live})
        return
    now_ms = time.time_ns() // 1_000_000
    print_lines(asset_lines(shown, now_ms))


def _states(session: Session, asset_id: str | None, partition_key: str | None) -> tuple[list[JsonObject], bool]:
    """The assets in the form of `asset_json`, and whether a service told of them."""
    store = session.catalog.store
    if asset_id is not None:
        graph, _ = graph_of(store.workflows())
        node = graph.node(asset_id)
        if node is None or node.spec is None:
            # Nobody here makes it, so the service has no actor to ask.
            return _from_catalog(session, asset_id), session.catalog.control.is_service_running()
    args: dict[str, Json] = {}
    if asset_id is not None:
        args["assetId"] = asset_id
    if partition_key is not None:
        args["partitionKey"] = partition_key
    try:
        answer = session.catalog.control.ask("debug", args, timeout_seconds=session.settings.control.timeout_seconds)
    except ServiceNotRunning:
        note("no service is running; this is what the catalog knows")
        return _from_catalog(session, asset_id), False
    listed = answer.get("assets") if isinstance(answer, Mapping) else None
    if isinstance(listed, list):
        return [one for one in listed if isinstance(one, Mapping)], True
    raise refused("the service answered with something that is no asset; is it of another version?")


def _from_catalog(session: Session, asset_id: str | None) -> list[JsonObject]:
    store, settings = session.catalog.store, session.settings
    graph, _ = graph_of(store.workflows())
    wanted = [asset_id] if asset_id is not None else sorted({*graph.assets, *store.asset_ids()})
    defaults = settings.defaults()
    dumps = dump_assets(store, graph, wanted, defaults, time.time_ns() // 1_000_000)
    return [asset_json(dump) for dump in dumps]


def _of_partition(asset: JsonObject, partition_key: str | None) -> JsonObject:
    if partition_key is None:
        return asset
    partitions = asset.get("partitions")
    found = [
        one
        for one in (partitions if isinstance(partitions, list) else [])
        if isinstance(one, Mapping) and one.get("partitionKey") == partition_key
    ]
    if not found:
        raise refused(f"asset {asset.get('assetId')!r} has no partition {partition_key!r}; leave --partition out")
    return {**asset, "partitions": found}


def _draw_all(assets: list[JsonObject]) -> None:
    now_ms = time.time_ns() // 1_000_000
    print_table(
        ("ASSET", "WORKFLOW", "STATE", "LAST PRODUCED"),
        [
            (str(asset["assetId"]), _text(asset.get("workflowSlug")), _states_text(asset), _last(asset, now_ms))
            for asset in assets
        ],
        empty="no assets; the service learns of them from its workflows",
    )


def _partitions(asset: JsonObject) -> list[JsonObject]:
    partitions = asset.get("partitions")
    return [one for one in partitions if isinstance(one, Mapping)] if isinstance(partitions, list) else []


def _states_text(asset: JsonObject) -> Text:
    counted = Counter(str(one.get("state")) for one in _partitions(asset))
    if not counted:
        return state_text("missing")
    if sum(counted.values()) == 1:
        return state_text(next(iter(counted)))
    text = Text()
    for index, (word, count) in enumerate(counted.most_common()):
        text.append(", " if index else "").append(f"{count} ").append_text(state_text(word))
    return text


def _last(asset: JsonObject, now_ms: int) -> str | None:
    times = [at for one in _partitions(asset) if isinstance(at := one.get("producedAt"), str)]
    return when_text(parse_iso_ms(max(times)), now_ms) if times else None


def _text(value: Json) -> str | None:
    return value if isinstance(value, str) else None

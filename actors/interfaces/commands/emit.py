"""`emit`: tell the catalog what was produced, or what is not fresh any more, outside of any run."""

from __future__ import annotations

import time
from enum import StrEnum
from typing import Annotated

import typer
from pydantic import TypeAdapter, ValidationError

from actors.catalog.documents import Unreadable, read_document
from actors.catalog.sections import AssetId
from actors.catalog.store import Json, NewMaterialization
from actors.catalog.timestamps import parse_iso_ms
from actors.core.graph import Graph
from actors.core.partitions import DynamicPartitioning, validate_key
from actors.core.state import partition_name
from actors.interfaces.commands.assets import declare_expired
from actors.interfaces.errors import bad_input, check_text
from actors.interfaces.graph_view import graph_of
from actors.interfaces.near import nearest
from actors.interfaces.render import print_json
from actors.interfaces.session import ConfigOption, JsonOption, PartitionOption, note, open_session

__all__ = ["EventType", "check_key", "emit"]

_ASSET_ID: TypeAdapter[str] = TypeAdapter(AssetId)


class EventType(StrEnum):
    PRODUCED = "asset.produced"
    EXPIRED = "asset.expired"


def emit(
    ctx: typer.Context,
    event: Annotated[EventType, typer.Argument(metavar="EVENT", help="asset.produced or asset.expired.")],
    asset: Annotated[str, typer.Option("--asset", metavar="ID", help="The asset's id.")],
    partition: PartitionOption = None,
    produced_at: Annotated[
        str | None, typer.Option(metavar="ISO", help="When it was produced, such as 2026-11-23T10:00:00Z. [now]")
    ] = None,
    data_version: Annotated[
        str | None, typer.Option(metavar="V", help="The data's own version; the same again re-makes nothing below.")
    ] = None,
    payload: Annotated[str | None, typer.Option(metavar="JSON", help="Anything to keep with it.")] = None,
    dedupe_key: Annotated[
        str | None, typer.Option(metavar="K", help="What makes a repetition of this event harmless.")
    ] = None,
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Tell that an asset was produced outside, or that it is not fresh any more. What depends on it follows.

    \b
    Examples:
      python run.py emit asset.produced --asset orders.raw
      python run.py emit asset.produced --asset orders.daily --partition 2026-11-23 --data-version 8f2c
      python run.py emit asset.expired --asset orders.daily --partition 2026-11-23
    """
    asset_id = _checked_id(asset)
    now_ms = time.time_ns() // 1_000_000
    produced = {"--produced-at": produced_at, "--data-version": data_version, "--payload": payload}
    if event is EventType.EXPIRED:
        for option, value in {**produced, "--dedupe-key": dedupe_key}.items():
            if value is not None:
                raise bad_input(f"{option} is for asset.produced; leave it out with asset.expired")
    for option, value in (*produced.items(), ("--dedupe-key", dedupe_key), ("--partition", partition)):
        check_text(option, value)
    produced_at_ms = now_ms if produced_at is None else _time(produced_at, now_ms)
    parsed = None if payload is None else _payload(payload)
    with open_session(ctx, config) as session:
        store = session.catalog.store
        graph, _ = graph_of(store.workflows())
        check_key(graph, asset_id, partition)
        if event is EventType.EXPIRED:
            declare_expired(store, asset_id, partition, now_ms, as_json=as_json)
            return
        node = graph.node(asset_id)
        recorded = store.record(
            NewMaterialization(
                asset_id=asset_id,
                partition_key=partition,
                produced_at_ms=produced_at_ms,
                upstreams=node.spec.upstreams if node is not None and node.spec is not None else (),
                data_version=data_version,
                payload=parsed,
                dedupe_key=dedupe_key,
            )
        )
    if as_json:
        print_json(
            {
                "assetId": asset_id,
                "partitionKey": partition,
                "version": recorded.version,
                "changed": recorded.changed,
                "duplicate": recorded.duplicate,
            }
        )
        return
    text = f"{partition_name(asset_id, partition)} version {recorded.version}"
    if recorded.duplicate:
        text += " (recorded before; nothing new)"
    elif not recorded.changed:
        text += " (the data is the same as before, so nothing below it is re-made)"
    print(text)


def _checked_id(text: str) -> str:
    try:
        return _ASSET_ID.validate_python(text)
    except ValidationError as error:
        reason = error.errors(include_url=False)[0]["msg"].removeprefix("Value error, ")
        raise bad_input(f"--asset: {reason}") from None


def _time(text: str, now_ms: int) -> int:
    try:
        return parse_iso_ms(text, now_ms=now_ms)
    except ValueError as error:
        raise bad_input(f"--produced-at: {error}") from None


def _payload(text: str) -> Json:
    try:
        return read_document(text, "json")
    except Unreadable as error:
        raise bad_input(f"--payload: {error}; quote it for the shell, such as '{{\"rows\": 3}}'") from None


def check_key(graph: Graph, asset_id: str, partition_key: str | None) -> None:
    """Refuse a key that the asset cannot have; note on stderr when no workflow knows the asset.

    Raises:
        PartitionKeyError: the key does not fit; the text says why and shows a good one.
    """
    node = graph.node(asset_id)
    if node is None:
        near = nearest(asset_id, graph.assets)
        hint = f"; did you mean {near}?" if near else ""
        note(f"no workflow knows asset {asset_id!r}, so nothing follows from this{hint}")
    partitioning = node.partitioning if node is not None else None
    if partitioning is None and partition_key is not None and (node is None or node.spec is None):
        # Nobody here declares what is made outside, so it may have any keys.
        partitioning = DynamicPartitioning()
    validate_key(partitioning, partition_key, asset_id=asset_id)

"""Assets: how they stand, what was made of them, why; resuming one, and declaring one expired."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Annotated, Final, get_args

from fastapi import Depends, Query
from fastapi.responses import JSONResponse

from actors.catalog.store import JsonObject, Store
from actors.core.freshness import ExpiryReason
from actors.core.graph import Graph
from actors.core.partitions import DynamicPartitioning, validate_key
from actors.core.state import partition_name
from actors.interfaces.commands.explain import explain_asset
from actors.interfaces.dump import asset_json, iso_or_none
from actors.interfaces.errors import CommandError
from actors.interfaces.http.access import Access, ServiceAccess, now_ms
from actors.interfaces.http.answers import Cursor, Limit, answer, new_router, require_asset, tells
from actors.interfaces.http.bodies import AssetPath, OfPartition, body_of, takes
from actors.interfaces.http.paging import after, page_json
from actors.interfaces.http.problems import Kind, Refused
from actors.interfaces.http.schemas import (
    AssetDetail,
    AssetSummary,
    Explanation,
    HistoryItem,
    Page,
    PartitionOut,
    Resumed,
    Staled,
    State,
)
from actors.interfaces.known_graph import known_graph
from actors.interfaces.offline import dump_assets
from actors.interfaces.records import history_json

__all__ = ["check_partition", "router"]

_READ_AT_ONCE: Final = 200
MOST_LOOKED_AT: Final = 2_000
"""How many assets one page of a filtered list looks at; then it is short, and the cursor goes on."""

router = new_router("assets")

Partition = Annotated[
    str | None,
    Query(max_length=300, description="The partition key; every partition without it.", examples=["2026-11-23"]),
]
OfPartitionBody = Annotated[OfPartition, Depends(body_of(OfPartition))]


@router.get("/assets", **tells(Page[AssetSummary], "The assets, in the order of their ids."))
def list_assets(
    access: Access,
    state: Annotated[State | None, Query(description="Only assets with a partition that is in this state.")] = None,
    workflow: Annotated[
        str | None, Query(max_length=200, description="Only assets of this workflow.", examples=["orders-daily"])
    ] = None,
    prefix: Annotated[str, Query(max_length=300, description="Only ids that begin so.", examples=["orders."])] = "",
    limit: Limit = 50,
    cursor: Cursor = None,
) -> JSONResponse:
    """How assets stand by what the catalog knows. A page may be short, or empty, although `nextCursor` goes on."""
    store = access.store
    graph = known_graph(store)
    names = sorted(
        name
        for name in {*graph.assets, *store.asset_ids()}
        if name.startswith(prefix) and (workflow is None or _maker(graph, name) == workflow)
    )
    left = after(names, cursor)
    found: list[JsonObject] = []
    looked_at = 0
    while looked_at < len(left) and looked_at < MOST_LOOKED_AT and len(found) < limit:
        chunk = left[looked_at : looked_at + min(_READ_AT_ONCE, MOST_LOOKED_AT - looked_at)]
        if state is None:
            chunk = chunk[: limit - len(found)]
        for dump in dump_assets(store, graph, chunk, access.defaults, now_ms()):
            looked_at += 1
            summary = _summary(asset_json(dump))
            if state is None or state in _states(summary):
                found.append(summary)
            if len(found) == limit:
                break
    return answer(page_json(found, left[looked_at - 1] if 0 < looked_at < len(left) else None))


@router.get("/assets/{asset_id:path}/history", **tells(list[HistoryItem], "What was made of it, newest first."))
def asset_history(access: Access, asset_id: AssetPath, partition: Partition = None, limit: Limit = 50) -> JSONResponse:
    """The materializations that the catalog keeps: when, by which run, from which versions."""
    require_asset(access.store, asset_id)
    entries = access.store.history(asset_id, partition_key=partition, limit=limit)
    return answer([history_json(entry) for entry in entries])


@router.get("/assets/{asset_id:path}/partitions", **tells(Page[PartitionOut], "Its partitions, in the order of keys."))
def asset_partitions(access: Access, asset_id: AssetPath, limit: Limit = 100, cursor: Cursor = None) -> JSONResponse:
    """How its partitions stand by what the catalog knows, which has no decisions in it."""
    require_asset(access.store, asset_id)
    partitions = {str(one.get("partitionKey") or ""): one for one in _partitions(_from_catalog(access, asset_id))}
    left = after(sorted(partitions), cursor)
    page = left[:limit]
    return answer(page_json([partitions[key] for key in page], page[-1] if page and len(left) > limit else None))


@router.get("/assets/{asset_id:path}/explain", **tells(Explanation, "Why it is, or is not, being made."))
def explain(access: Access, asset_id: AssetPath, partition: Partition = None) -> JSONResponse:
    """In plain words: what it was made from, what it waits for and until when, and what would make it run."""
    require_asset(access.store, asset_id)
    try:
        return answer(explain_asset(access.session(), asset_id, partition))
    except CommandError as error:
        raise Refused(Kind.NOT_FOUND, str(error)) from None


@router.post(
    "/assets/{asset_id:path}/resume",
    **tells(Resumed, "How many failures and dismissals were forgotten."),
    openapi_extra=takes(OfPartition),
)
def resume(access: Access, asset_id: AssetPath, body: OfPartitionBody) -> JSONResponse:
    """Forget failures and canceled runs, so that it is made again at once if it needs to be."""
    require_asset(access.store, asset_id)
    cleared = access.store.resume(asset_id, body.partition_key)
    return answer({"assetId": asset_id, "partitionKey": body.partition_key, "cleared": cleared})


@router.post(
    "/assets/{asset_id:path}/mark-stale",
    **tells(Staled, "Whether it was declared expired by this; not if it had been already."),
    openapi_extra=takes(OfPartition),
)
def mark_stale(access: Access, asset_id: AssetPath, body: OfPartitionBody) -> JSONResponse:
    """Declare the latest version expired, so that it is made again if it opted in."""
    store, key = access.store, body.partition_key
    require_asset(store, asset_id)
    graph = known_graph(store)
    check_partition(graph, asset_id, key)
    version, expired = expire_latest(store, asset_id, key, now_ms())
    return answer({"assetId": asset_id, "partitionKey": key, "version": version, "expired": expired})


@router.get("/assets/{asset_id:path}", **tells(AssetDetail, "How it stands, and its last decisions."))
def asset(access: Access, asset_id: AssetPath, partition: Partition = None) -> JSONResponse:
    """What its actor knows: state, versions, what it waits for, failures, decisions. Of one that nobody here makes,
    what the catalog knows."""
    require_asset(access.store, asset_id)
    graph = known_graph(access.store)
    node = graph.node(asset_id)
    is_live = node is not None and node.spec is not None
    found = _from_actor(access, asset_id) if is_live else _from_catalog(access, asset_id)
    partitions = [one for one in _partitions(found) if partition in (None, one.get("partitionKey"))]
    if partition is not None and not partitions:
        raise Refused(Kind.NOT_FOUND, f"asset {asset_id!r} has no partition {partition!r}; leave it out to see them")
    return answer({**found, "partitions": partitions, "live": is_live})


def check_partition(graph: Graph, asset_id: str, partition_key: str | None) -> None:
    """Refuse a key that the asset cannot have. What is made outside, and declared by nobody, may have any.

    Raises:
        PartitionKeyError: the text says why, and shows a good one.
    """
    node = graph.node(asset_id)
    partitioning = node.partitioning if node is not None else None
    if partitioning is None and partition_key is not None and (node is None or node.spec is None):
        partitioning = DynamicPartitioning()
    validate_key(partitioning, partition_key, asset_id=asset_id)


def expire_latest(store: Store, asset_id: str, partition_key: str | None, at_ms: int) -> tuple[int, bool]:
    """The latest version, and whether it was declared expired by this.

    Raises:
        Refused: there is none, or it is produced in the future.
    """
    name = partition_name(asset_id, partition_key)
    made = store.read_assets([asset_id])[asset_id].latest.get(partition_key)
    if made is None:
        raise Refused(Kind.CONFLICT, f"{name} was never produced, so it cannot expire; run its workflow to make it")
    expired = store.expire(
        asset_id, partition_key, version=None, expires_at_ms=at_ms, reason=ExpiryReason.MANUAL, now_ms=at_ms
    )
    if not expired and made.produced_at_ms > at_ms:
        raise Refused(Kind.CONFLICT, f"{name} was produced at {iso_or_none(made.produced_at_ms)}, still to come")
    return made.version, expired


def _from_actor(access: ServiceAccess, asset_id: str) -> JsonObject:
    session = access.session()
    told = session.catalog.control.ask("debug", {"assetId": asset_id}, timeout_seconds=0)
    assets = told.get("assets") if isinstance(told, Mapping) else None
    if not isinstance(assets, list) or not assets or not isinstance(assets[0], Mapping):
        raise Refused(Kind.BUSY, f"the actor of {asset_id!r} is being started; ask again in a moment")
    return assets[0]


def _from_catalog(access: ServiceAccess, asset_id: str) -> JsonObject:
    graph = known_graph(access.store)
    (dump,) = dump_assets(access.store, graph, [asset_id], access.defaults, now_ms())
    return asset_json(dump)


def _maker(graph: Graph, asset_id: str) -> str | None:
    node = graph.node(asset_id)
    return node.spec.workflow_slug if node is not None and node.spec is not None else None


def _partitions(asset_: JsonObject) -> Sequence[JsonObject]:
    listed = asset_.get("partitions")
    return [one for one in listed if isinstance(one, Mapping)] if isinstance(listed, list) else []


def _summary(asset_: JsonObject) -> JsonObject:
    partitions = _partitions(asset_)
    counted = Counter(str(one.get("state")) for one in partitions)
    times = [at for one in partitions if isinstance(at := one.get("producedAt"), str)]
    return {
        **{key: asset_[key] for key in ("assetId", "workflowSlug", "optedIn", "pause")},
        "states": {word: counted[word] for word in get_args(State) if counted[word]},
        "producedAt": max(times, default=None),
    }


def _states(summary: JsonObject) -> Mapping[str, object]:
    states = summary["states"]
    return states if isinstance(states, Mapping) else {}

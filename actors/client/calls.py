"""What can be asked of assets, pauses, the graph, plans and events: a function for each route, which makes its call."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from datetime import datetime, timedelta
from math import ceil
from typing import Final, TypeVar

from pydantic import TypeAdapter

from actors.client.call import API, Call, Listing, json_body
from actors.client.events import Event
from actors.client.records import (
    Asset,
    AssetSummary,
    Explanation,
    Health,
    Materialization,
    Page,
    Partition,
    Pause,
    Resumed,
    Staled,
)
from actors.client.run_records import EventTaken, Graph, Plan, Unpaused

__all__ = [
    "Planned",
    "asset",
    "assets",
    "emit",
    "emit_batch",
    "emit_expired",
    "emit_produced",
    "explain",
    "graph",
    "health",
    "history",
    "mark_stale",
    "partitions",
    "pause",
    "pauses",
    "plan",
    "resume",
    "unpause",
]

T = TypeVar("T")
Planned = str | tuple[str, str | None]
"""An asset, or an asset and a partition key."""

_ASSET: Final = f"{API}/assets/{{asset_id}}"
_PLAN_SECONDS: Final = 45.0
_PAGE: Final = 200


def reader(type_: type[T]) -> Callable[[bytes], T]:
    """Reads a JSON answer of this type; raises `pydantic.ValidationError`."""
    return TypeAdapter(type_).validate_json


_assets = reader(Page[AssetSummary])
_asset = reader(Asset)
_partitions = reader(Page[Partition])
_history = reader(list[Materialization])
_explanation = reader(Explanation)
_resumed = reader(Resumed)
_staled = reader(Staled)
_pauses = reader(list[Pause])
_pause = reader(Pause)
_unpaused = reader(Unpaused)
_graph = reader(Graph)
_plan = reader(Plan)
_taken = reader(EventTaken)
_taken_all = reader(list[EventTaken])
_health = reader(Health)


def health() -> Call[Health]:
    """The role of the service; `is_ready` says whether it can be asked. Needs no token."""
    return Call("GET", "/readyz", _health, is_repeatable=True, also=frozenset({503}))


def assets(
    *, state: str | None = None, workflow: str | None = None, prefix: str = "", page_size: int = _PAGE
) -> Listing[AssetSummary]:
    """The assets in the order of their ids: with a partition in this state, of this workflow, whose id begins so."""
    query = {"state": state, "workflow": workflow, "prefix": prefix, "limit": page_size}
    return Listing(Call("GET", f"{API}/assets", _assets, query=query, is_repeatable=True))


def asset(asset_id: str, *, partition_key: str | None = None) -> Call[Asset]:
    """How an asset stands, by its actor: partitions, versions, what it waits for, its last decisions."""
    query = {"partition": partition_key}
    return Call("GET", _ASSET, _asset, {"asset_id": asset_id}, query, is_repeatable=True)


def partitions(asset_id: str, *, page_size: int = _PAGE) -> Listing[Partition]:
    """How its partitions stand by what the catalog knows, in the order of their keys."""
    query = {"limit": page_size}
    route = f"{_ASSET}/partitions"
    return Listing(Call("GET", route, _partitions, {"asset_id": asset_id}, query, is_repeatable=True))


def history(asset_id: str, *, partition_key: str | None = None, limit: int = 50) -> Call[list[Materialization]]:
    """What was made of it, newest first."""
    query = {"partition": partition_key, "limit": limit}
    return Call("GET", f"{_ASSET}/history", _history, {"asset_id": asset_id}, query, is_repeatable=True)


def explain(asset_id: str, *, partition_key: str | None = None) -> Call[Explanation]:
    """Why it is, or is not, being made."""
    query = {"partition": partition_key}
    return Call("GET", f"{_ASSET}/explain", _explanation, {"asset_id": asset_id}, query, is_repeatable=True)


def resume(asset_id: str, *, partition_key: str | None = None) -> Call[Resumed]:
    """Forget failures and canceled runs, so that it is made again at once if it needs to be."""
    return _post(f"{_ASSET}/resume", _resumed, asset_id, partition_key)


def mark_stale(asset_id: str, *, partition_key: str | None = None) -> Call[Staled]:
    """Declare the latest version expired, so that it is made again if it opted in."""
    return _post(f"{_ASSET}/mark-stale", _staled, asset_id, partition_key)


def _post(route: str, read: Callable[[bytes], T], asset_id: str, partition_key: str | None) -> Call[T]:
    body = json_body({} if partition_key is None else {"partitionKey": partition_key})
    return Call("POST", route, read, {"asset_id": asset_id}, body=body)


def pauses() -> Call[list[Pause]]:
    """The pauses that hold."""
    return Call("GET", f"{API}/pauses", _pauses, is_repeatable=True)


def pause(
    scope: str = "all",
    *,
    until: datetime | None = None,
    lasting: timedelta | str | None = None,
    reason: str | None = None,
) -> Call[Pause]:
    """Hold back what would start by itself: `all`, `workflow:SLUG` or `asset:ID`, until a time, for so long (a
    `timedelta`, or `90s`, `2h`), or until it is unpaused. Nothing is lost."""
    if until is not None and until.tzinfo is None:
        raise ValueError(f"{until!r} has no timezone; give it one")
    told = f"{ceil(lasting.total_seconds() * 1_000)}ms" if isinstance(lasting, timedelta) else lasting
    body = {"scope": scope, "until": until.isoformat() if until else None, "for": told, "reason": reason}
    body = {key: value for key, value in body.items() if value is not None}
    return Call("POST", f"{API}/pauses", _pause, body=json_body(body))


def unpause(scope: str = "all") -> Call[Unpaused]:
    """End a pause; what was held back goes on at once, unless another pause holds it too."""
    return Call("DELETE", f"{API}/pauses/{{scope}}", _unpaused, {"scope": scope})


def graph() -> Call[Graph]:
    """The assets, and the edges between them."""
    return Call("GET", f"{API}/graph", _graph, is_repeatable=True)


def plan(
    *, produced: Iterable[Planned] = (), expired: Iterable[Planned] = (), minutes: float = 60, limit: int = 500
) -> Call[Plan]:
    """Which runs would follow if these were produced, or expired, now; or from time alone. Nothing is changed."""
    body = {"produced": _events(produced), "expired": _events(expired), "minutes": minutes, "limit": limit}
    return Call("POST", f"{API}/plan", _plan, body=json_body(body), is_repeatable=True, timeout_seconds=_PLAN_SECONDS)


def _events(planned: Iterable[Planned]) -> list[dict[str, str | None]]:
    pairs = ((one, None) if isinstance(one, str) else one for one in planned)
    return [{"assetId": asset_id, "partitionKey": key} for asset_id, key in pairs]


def emit(event: Event) -> Call[EventTaken]:
    """Tell of something produced or expired outside; safe to repeat with the same event."""
    body = json_body(event.to_json())
    kind = "application/cloudevents+json"
    return Call("POST", f"{API}/events", _taken, body=body, content_type=kind, is_repeatable=True)


def emit_batch(events: Sequence[Event]) -> Call[list[EventTaken]]:
    """Tell of up to 1,000 events at once: all are checked first, then recorded one after the other."""
    body = json_body([event.to_json() for event in events])
    kind = "application/cloudevents-batch+json"
    return Call("POST", f"{API}/events", _taken_all, body=body, content_type=kind, is_repeatable=True)


def emit_produced(
    asset_id: str,
    *,
    partition_key: str | None = None,
    produced_at: datetime | None = None,
    data_version: str | None = None,
    payload: object = None,
    id: str | None = None,
) -> Call[EventTaken]:
    """Tell that an asset was produced outside. `id` is that of the piece of work: told twice of a partition, it counts
    once; without one each call is a new event."""
    return emit(
        Event.produced(
            asset_id,
            partition_key=partition_key,
            produced_at=produced_at,
            data_version=data_version,
            payload=payload,
            id=id,
        )
    )


def emit_expired(
    asset_id: str, *, partition_key: str | None = None, expired_at: datetime | None = None
) -> Call[EventTaken]:
    """Tell that what was produced of an asset, up to now or to `expired_at`, is not fresh any more."""
    return emit(Event.expired(asset_id, partition_key=partition_key, expired_at=expired_at))

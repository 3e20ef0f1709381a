"""CloudEvents 1.0 in JSON: what is told of assets and runs. Pure.

The type is that of our own events and the data are theirs, so that `POST /events` of another Headwater takes those of
assets. What the catalog itself gave to a production (its version, the versions it was made from) stands apart in
`recorded`: elsewhere it means nothing. The id is the place in the stream, so an event that is sent twice can be known.

Source: https://github.com/cloudevents/spec/blob/v1.0.2/cloudevents/spec.md
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Any, Final, get_args

from actors.catalog.events import (
    AssetExpired,
    AssetProduced,
    RunCanceled,
    RunEnqueued,
    RunFailed,
    RunRequested,
    RunStarted,
    RunSucceeded,
)
from actors.catalog.outgoing_feed import OutgoingEvent
from actors.catalog.store import Json, JsonObject
from actors.catalog.timestamps import format_iso
from actors.outgoing_settings import CloudEventType

__all__ = ["CloudEventsForm"]

_RECORDED: Final = {
    AssetProduced: ("version", "changedVersion", "inputs"),
    AssetExpired: ("version",),
}


class CloudEventsForm:
    """How events are told as CloudEvents, up to `most` in a request: alone in structured mode, else in batched mode.

    Args:
        types: those that are told; none: all.
    """

    name: Final = "cloudevents"
    with_runs: Final = False

    def __init__(self, source: str, *, types: Collection[CloudEventType] = (), most: int = 1) -> None:
        self._source = source
        self._types = frozenset(types or get_args(CloudEventType))
        self.most: Final = most
        batched = "-batch" if most > 1 else ""
        self.content_type: Final = f"application/cloudevents{batched}+json; charset=utf-8"

    def message(self, told: OutgoingEvent) -> JsonObject | None:
        """The event for the receiver; None for what is not told of.

        What an outsider reported without a run is not: whoever reported it knows, and two services that tell each other
        of one asset could not know their own news when it comes back.
        """
        event = told.event
        if event.type not in self._types:
            return None
        match event:
            case AssetProduced():
                if event.run_id is None:
                    return None
                subject, at_ms = event.asset_id, event.produced_at_ms
            case AssetExpired():
                subject, at_ms = event.asset_id, event.expires_at_ms
            case RunRequested() | RunEnqueued() | RunStarted() | RunSucceeded() | RunFailed() | RunCanceled():
                subject, at_ms = event.run_id, event.at_ms
            case _:
                return None
        data: dict[str, Any] = event.model_dump(
            mode="json", by_alias=True, exclude_none=True, exclude={"type", "schema_version", "freshness_source"}
        )
        recorded = {name: data.pop(name) for name in _RECORDED.get(type(event), ()) if name in data}
        return {
            "specversion": "1.0",
            "id": told.entry_id,
            "source": self._source,
            "type": event.type,
            "subject": subject,
            "time": format_iso(at_ms),
            "datacontenttype": "application/json",
            "data": {**data, "recorded": recorded} if recorded else data,
        }

    def body(self, messages: list[JsonObject]) -> Json:
        """What is sent of as many messages as `most` allows."""
        return messages if self.most > 1 else messages[0]

"""Events: what was produced or expired outside, told by CloudEvents; and what assets decide, as it happens."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from typing import Annotated, Any, Final

from fastapi import Depends, Query, Request
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import JSONResponse, StreamingResponse
from starlette.types import Receive, Scope, Send

from actors.catalog.store import Json
from actors.interfaces.http.access import Access, ServiceAccess, now_ms
from actors.interfaces.http.answers import answer, new_router
from actors.interfaces.http.bodies import raw_body
from actors.interfaces.http.cloudevents import BATCHED, STRUCTURED, read_events, record_event
from actors.interfaces.http.decisions import DecisionFeed, Listener
from actors.interfaces.http.problems import Kind, Refused
from actors.interfaces.http.run_schemas import EventTaken
from actors.interfaces.known_graph import known_graph

__all__ = ["router"]

_KEEP_ALIVE_SECONDS: Final = 15.0
_DATA: Final = {"assetId": "orders.raw", "producedAt": "2026-11-23T10:00:00.000Z", "dataVersion": "8f2c"}
_EVENT: Final = {"specversion": "1.0", "id": "1", "source": "/loads/nightly", "type": "asset.produced", "data": _DATA}
_EVENT_SCHEMA: Final[dict[str, Any]] = {
    "type": "object",
    "required": ["specversion", "id", "source", "type", "data"],
    "properties": {
        "specversion": {"const": "1.0"},
        "id": {"type": "string", "minLength": 1},
        "source": {"type": "string", "minLength": 1},
        "type": {"enum": ["asset.produced", "asset.expired"]},
        "time": {"type": "string", "format": "date-time"},
        "data": {"type": "object", "required": ["assetId"]},
    },
}
_BODY: Final[dict[str, Any]] = {
    "parameters": [
        {
            "name": f"ce-{name}",
            "in": "header",
            "required": False,
            "description": "In binary mode.",
            "schema": {"type": "string"},
            "example": _EVENT[name],
        }
        for name in ("specversion", "id", "source", "type")
    ],
    "requestBody": {
        "required": True,
        "content": {
            STRUCTURED: {"schema": _EVENT_SCHEMA, "example": _EVENT},
            BATCHED: {"schema": {"type": "array", "items": _EVENT_SCHEMA, "maxItems": 1_000}, "example": [_EVENT]},
            "application/json": {"schema": {"type": "object"}, "example": _DATA},
        },
    },
}

router = new_router("events")

RawBody = Annotated[bytes, Depends(raw_body)]


@router.post(
    "/events",
    responses={200: {"model": EventTaken | list[EventTaken], "description": "What became of it; of a batch, a list."}},
    openapi_extra=_BODY,
)
def events(request: Request, access: Access, body: RawBody) -> JSONResponse:
    """Tell what was produced, or is not fresh any more, as CloudEvents 1.0: structured, batched or binary.

    The data are those of our own events; `producedAt` and `expiresAt` may be left out when the event has a `time`. An
    event with a source and id that came before is recorded once within seven days, and one that this Headwater sent
    itself (`[outgoing.cloudevents] source`) is not recorded again. A batch is checked as a whole first,
    and recorded one after the other; when that is cut short, send it again.
    """
    graph = known_graph(access.store)
    found = read_events(request.headers, body, graph, now_ms())
    own_source = access.settings().outgoing.cloudevents.source
    told: list[Json] = [record_event(access.store, taken, graph, own_source=own_source) for taken in found]
    is_batch = request.headers.get("content-type", "").lower().startswith(BATCHED)
    return answer(told if is_batch else told[0])


@router.get(
    "/decisions",
    response_class=StreamingResponse,
    responses={
        200: {
            "description": "A stream that does not end by itself.",
            "content": {"text/event-stream": {"schema": {"type": "string"}}},
        }
    },
)
async def decisions(
    access: Access,
    asset: Annotated[
        str | None, Query(max_length=300, description="Only of this asset.", examples=["orders.daily"])
    ] = None,
    workflow: Annotated[
        str | None, Query(max_length=200, description="Only of this workflow.", examples=["orders-daily"])
    ] = None,
) -> StreamingResponse:
    """What assets decide, as it happens, as server-sent events `decision`, each with its data in JSON.

    Decisions that repeat the last one are left out. Who does not keep up is told so by an event `end`, and has to
    connect again; nothing is repeated, so look at the state first.
    """
    await run_in_threadpool(access.require_actors)
    listener = access.decisions.listen()
    if listener is None:
        raise Refused(Kind.BUSY, "too many listen already, or the service stops; try again later")
    return _Stream(access.decisions, listener, _told(access, listener, {"assetId": asset, "workflowSlug": workflow}))


class _Stream(StreamingResponse):
    """Forgets its listener at the end, also when that comes before the beginning."""

    def __init__(self, feed: DecisionFeed, listener: Listener, content: AsyncIterator[str]) -> None:
        headers = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}
        super().__init__(content, media_type="text/event-stream", headers=headers)
        self._feed = feed
        self._listener = listener

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await super().__call__(scope, receive, send)
        finally:
            self._feed.forget(self._listener)


async def _told(access: ServiceAccess, listener: Listener, wanted: dict[str, str | None]) -> AsyncIterator[str]:
    yield ": listening\n\n"
    while True:
        waiting = await listener.take(_KEEP_ALIVE_SECONDS)
        text = "".join(
            _event("decision", told)
            for told in waiting
            if all(value is None or told[key] == value for key, value in wanted.items())
        )
        end = listener.end
        if end is None and access.role() != "leader":
            end = "this service does not lead any more"
        if end is not None:
            yield text + _event("end", {"reason": end})
            return
        yield text or ": nothing new\n\n"


def _event(name: str, data: Json) -> str:
    return f"event: {name}\ndata: {json.dumps(data, ensure_ascii=False)}\n\n"

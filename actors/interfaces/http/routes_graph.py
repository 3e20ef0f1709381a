"""The asset graph, and plans: what would follow from events, or from time alone."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Final

from fastapi import Depends
from fastapi.responses import JSONResponse

from actors.core.graph import Graph
from actors.interfaces.graph_view import draw, graph_json
from actors.interfaces.http.access import Access, now_ms
from actors.interfaces.http.answers import answer, new_router, tells
from actors.interfaces.http.auth import LOOKS
from actors.interfaces.http.bodies import PlanPost, body_of, takes
from actors.interfaces.http.plan_process import PlanRequest
from actors.interfaces.http.routes_assets import check_partition
from actors.interfaces.http.run_schemas import GraphOut, PlanOut
from actors.interfaces.known_graph import known_graph
from actors.planning.plan import Event

__all__ = ["router"]

_MINUTE_MS: Final = 60_000

router = new_router("graph")

PlanBody = Annotated[PlanPost, Depends(body_of(PlanPost))]


@router.get("/graph", **tells(GraphOut, "Assets, and the edges between them."))
def graph(access: Access) -> JSONResponse:
    """What is made from what, and which assets are kept fresh."""
    return answer(graph_json(draw(access.store.workflows())))


@router.post(
    "/plan",
    **tells(PlanOut, "The runs that would start: when, why, in what order."),
    openapi_extra=takes(PlanPost, **LOOKS),
)
def plan(access: Access, body: PlanBody) -> JSONResponse:
    """Which runs would follow. Nothing is changed: the service's own decisions are made on a clock of their own, over a
    copy of the catalog in memory, in a process of its own. One plan is made at a time."""
    known = known_graph(access.store)
    request = PlanRequest(tuple(_events(body, known)), now_ms(), int(body.minutes * _MINUTE_MS), body.limit)
    return answer(access.planner.plan(access.settings(), request))


def _events(body: PlanPost, known: Graph) -> Iterator[Event]:
    for each in body.produced:
        check_partition(known, each.asset_id, each.partition_key)
        yield Event("produced", each.asset_id, each.partition_key)
    for each in body.expired:
        check_partition(known, each.asset_id, each.partition_key)
        yield Event("expired", each.asset_id, each.partition_key)

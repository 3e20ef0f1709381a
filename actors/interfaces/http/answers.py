"""How routes answer, and what all of them declare."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Query
from fastapi.responses import JSONResponse
from pydantic import BaseModel

from actors.catalog.store import Json, Store
from actors.interfaces.commands.assets import check_known
from actors.interfaces.errors import CommandError
from actors.interfaces.http.auth import authorize
from actors.interfaces.http.bodies import known_parameters_only
from actors.interfaces.http.problems import Kind, Refused
from actors.interfaces.near import nearest

__all__ = ["Cursor", "Limit", "answer", "new_router", "no_such", "require_asset", "tells"]

Limit = Annotated[int, Query(ge=1, le=1_000, description="At most so many.")]
Cursor = Annotated[str | None, Query(max_length=2_000, description="Go on after the page whose nextCursor this is.")]


def new_router(tag: str) -> APIRouter:
    """A router whose routes ask for a token, and refuse query parameters that they do not have."""
    return APIRouter(tags=[tag], dependencies=[Depends(authorize), Depends(known_parameters_only)])


def answer(value: Json, status: int = 200, headers: Mapping[str, str] | None = None) -> JSONResponse:
    return JSONResponse(value, status, headers)


def tells(model: type[BaseModel] | Any, description: str, status: int = 200) -> dict[str, Any]:
    """Keyword arguments of a route that answers in this form."""
    return {"responses": {status: {"model": model, "description": description}}, "status_code": status}


def no_such(kind: str, name: str, known: Iterable[str] = ()) -> Refused:
    """There is no such thing; with the names that come near."""
    near = nearest(name, known)
    return Refused(Kind.NOT_FOUND, f"there is no {kind} {name[:300]!r}" + (f"; did you mean {near}?" if near else ""))


def require_asset(store: Store, asset_id: str) -> None:
    """Refuse an asset that no workflow knows and that was never recorded.

    Raises:
        Refused: there is no such asset.
    """
    try:
        check_known(store, asset_id)
    except CommandError as error:
        raise Refused(Kind.NOT_FOUND, str(error)) from None

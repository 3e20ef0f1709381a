"""Pauses: hold back what starts by itself, let it go on, and list what is held back."""

from __future__ import annotations

from typing import Annotated

from fastapi import Depends
from fastapi.responses import JSONResponse

from actors.catalog.problems import Problem
from actors.catalog.timestamps import parse_iso_ms
from actors.core.pauses import check_scope, scope_parts
from actors.interfaces.dump import pause_json
from actors.interfaces.durations import parse_duration_ms
from actors.interfaces.http.access import Access, now_ms
from actors.interfaces.http.answers import answer, new_router, require_asset, tells
from actors.interfaces.http.bodies import PausePut, ScopePath, body_of, takes
from actors.interfaces.http.problems import Kind, Refused
from actors.interfaces.http.routes_workflows import require_workflow
from actors.interfaces.http.run_schemas import Unpaused
from actors.interfaces.http.schemas import PauseOut

__all__ = ["router"]

router = new_router("pauses")

PauseBody = Annotated[PausePut, Depends(body_of(PausePut))]


@router.get("/pauses", **tells(list[PauseOut], "The pauses that hold."))
def list_pauses(access: Access) -> JSONResponse:
    """What is paused: since when, until when, and why."""
    return answer([pause_json(one) for one in access.store.pauses(now_ms()).values()])


@router.post(
    "/pauses", **tells(PauseOut, "The pause, in place of one of the same scope."), openapi_extra=takes(PausePut)
)
def pause(access: Access, body: PauseBody) -> JSONResponse:
    """Hold back what would start by itself, until it is unpaused or a time comes. Nothing is lost: what happens
    meanwhile is remembered and acts once. Runs that are active go on, and runs by hand pass through."""
    at_ms = now_ms()
    scope, until_ms = _scope(body.scope, "$.scope"), _until_ms(body, at_ms)
    kind, name = scope_parts(scope)
    if kind == "asset":
        require_asset(access.store, name)
    elif kind == "workflow":
        require_workflow(access.store, name)
    try:
        return answer(pause_json(access.store.pause(scope, until_ms, body.reason, at_ms)))
    except ValueError as error:
        raise _invalid("$", str(error)) from None


@router.delete("/pauses/{scope:path}", **tells(Unpaused, "It goes on; `left` are the pauses that still hold."))
def unpause(access: Access, scope: ScopePath) -> JSONResponse:
    """End a pause: what was held back goes on at once, unless another pause holds it too."""
    at_ms = now_ms()
    was_paused = access.store.unpause(_scope(scope, "scope"), at_ms)
    left = sorted(access.store.pauses(at_ms))
    if not was_paused:
        others = f"paused are {', '.join(left)}" if left else "nothing is"
        raise Refused(Kind.NOT_FOUND, f"{scope} is not paused; {others}")
    return answer({"scope": scope, "unpaused": True, "left": left})


def _scope(text: str, path: str) -> str:
    try:
        return check_scope(text)
    except ValueError as error:
        raise _invalid(path, str(error)) from None


def _until_ms(body: PausePut, at_ms: int) -> int | None:
    if body.for_ is not None and body.until is not None:
        raise _invalid("$.for", "for and until both say when it ends; keep one of them")
    if body.for_ is not None:
        try:
            return at_ms + parse_duration_ms(body.for_)
        except ValueError as error:
            raise _invalid("$.for", str(error)) from None
    if body.until is None:
        return None
    try:
        until_ms = parse_iso_ms(body.until)
    except ValueError as error:
        raise _invalid("$.until", str(error)) from None
    if until_ms <= at_ms:
        raise _invalid("$.until", f"{body.until!r} is over; give a time that is still to come")
    return until_ms


def _invalid(path: str, reason: str) -> Refused:
    return Refused(Kind.INVALID, "the pause cannot be set", errors=[Problem(path, reason)])

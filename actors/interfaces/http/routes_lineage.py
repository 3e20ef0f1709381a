"""OpenLineage over HTTP, at the path where its clients look for it by themselves."""

from __future__ import annotations

import zlib
from typing import Annotated, Any, Final, Literal

from fastapi import Depends, Request
from fastapi.responses import JSONResponse

from actors.catalog.lineage_runs import LineageRuns
from actors.interfaces.http.access import Access, now_ms
from actors.interfaces.http.answers import answer, new_router
from actors.interfaces.http.bodies import raw_body
from actors.interfaces.http.lineage import LineageTaker
from actors.interfaces.http.problems import Kind, Refused
from actors.interfaces.http.schemas import OfAsset, Out, shows
from actors.interfaces.openlineage import MAX_LINEAGE_BYTES, read_event

__all__ = ["router"]

_GZIP_BITS: Final = 16 + zlib.MAX_WBITS
_RUN: Final = "0197e3b0-6a4c-7c2e-9d3b-5f1f0c6c8d11"
_EVENT: Final = {
    "eventType": "COMPLETE",
    "eventTime": "2026-11-23T10:00:00.000Z",
    "producer": "https://github.com/OpenLineage/OpenLineage/tree/1.54.0/client/python",
    "schemaURL": "https://openlineage.io/spec/2-0-2/OpenLineage.json#/$defs/RunEvent",
    "run": {"runId": _RUN},
    "job": {"namespace": "airflow", "name": "nightly.load"},
    "outputs": [{"namespace": "postgres://warehouse:5432", "name": "orders.raw"}],
}
_BODY: Final[dict[str, Any]] = {
    "requestBody": {
        "required": True,
        "content": {"application/json": {"schema": {"type": "object"}, "example": _EVENT}},
    }
}


class OutputProduced(OfAsset):
    """A dataset that was recorded as an asset's partition; `duplicate` if it had been before."""

    namespace: str
    name: str
    version: int
    changed: bool
    duplicate: bool


class OutputIgnored(Out):
    namespace: str
    name: str
    reason: str


class LineageTaken(Out):
    """What became of an event. `acknowledged` changes nothing; an `open` run is merged until it is `complete`, when its
    outputs are produced, or `dropped`, when they are not."""

    model_config = shows(
        runId=_RUN, state="complete",
        produced=[{
            "namespace": "postgres://warehouse:5432", "name": "orders.raw", "assetId": "orders.raw",
            "partitionKey": None, "version": 6, "changed": True, "duplicate": False,
        }],
        ignored=[],
    )  # fmt: skip
    run_id: str | None
    state: Literal["acknowledged", "open", "complete", "dropped"]
    produced: list[OutputProduced]
    ignored: list[OutputIgnored]


router = new_router("events")

RawBody = Annotated[bytes, Depends(raw_body)]


@router.post(
    "/lineage",
    status_code=201,
    responses={
        200: {"model": LineageTaken, "description": "It changes nothing."},
        201: {"model": LineageTaken, "description": "What became of it."},
    },
    openapi_extra=_BODY,
)
def lineage(request: Request, access: Access, body: RawBody) -> JSONResponse:
    """Tell of a run elsewhere by an OpenLineage event, as the clients of OpenLineage do; also compressed by gzip.

    The events of a run are merged. When it is complete its outputs are produced, each once within seven days; when it
    fails or is aborted they are not. A JobEvent or DatasetEvent, and what comes from this Headwater's own runs, is
    acknowledged and changes nothing. Which dataset is which asset, the settings say (`[openlineage]`).
    """
    told = read_event(_plain(request, body), now_ms())
    settings = access.settings()
    if told is None or told.comes_from(settings.openlineage.namespace):
        run_id = None if told is None else told.run_id
        return answer({"runId": run_id, "state": "acknowledged", "produced": [], "ignored": []})
    runs = LineageRuns(access.catalog.client, prefix=settings.redis.prefix, streams=settings.streams)
    return answer(LineageTaker(runs, access.store, settings).take(told), 201)


def _plain(request: Request, body: bytes) -> bytes:
    """The body as it was before it was compressed.

    Raises:
        Refused: it is no JSON, is compressed in another way, cannot be read, or is too large.
    """
    kind = request.headers.get("content-type", "application/json").partition(";")[0].strip().lower()
    if kind != "application/json" and not kind.endswith("+json"):
        raise Refused(Kind.UNSUPPORTED, f"send application/json, not {kind[:100]!r}")
    coding = request.headers.get("content-encoding", "identity").strip().lower()
    if coding in ("identity", ""):
        return body
    if coding not in ("gzip", "x-gzip"):
        raise Refused(Kind.UNSUPPORTED, f"compress it by gzip or not at all, not by {coding[:100]!r}")
    unpacking = zlib.decompressobj(_GZIP_BITS)
    try:
        plain = unpacking.decompress(body, MAX_LINEAGE_BYTES + 1)
    except zlib.error as error:
        raise Refused(Kind.BAD_REQUEST, f"the body is no gzip: {error}") from None
    if len(plain) > MAX_LINEAGE_BYTES:
        raise Refused(Kind.TOO_LARGE, f"the event is larger than {MAX_LINEAGE_BYTES} bytes; switch facets off")
    if not unpacking.eof or unpacking.unused_data:
        raise Refused(Kind.BAD_REQUEST, "the body is cut short, or goes on behind its end")
    return plain

"""What callers send: bodies read by the bounded reader of documents, and checked by models that refuse unknown keys."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Annotated, Any, Final, TypeVar
from urllib.parse import unquote

from fastapi import Path, Request
from fastapi.routing import APIRoute
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, JsonValue, ValidationError
from pydantic.alias_generators import to_camel
from pydantic_core import PydanticUndefined

from actors.catalog.documents import read_document
from actors.catalog.problems import Problem, json_path
from actors.catalog.sections import AssetId
from actors.catalog.wire import PartitionKey
from actors.core.pauses import MAX_REASON
from actors.interfaces.http.problems import Kind, Refused

__all__ = [
    "AssetPath",
    "OfPartition",
    "PausePut",
    "PlanPost",
    "RunPath",
    "RunPost",
    "ScopePath",
    "SlugPath",
    "body_of",
    "known_parameters_only",
    "raw_body",
    "takes",
]

_WEEK_MINUTES: Final = 7 * 24 * 60


def _decoded(text: str) -> str:
    # Paths arrive as they were sent (see `RawPaths`).
    return unquote(text, errors="replace")


AssetPath = Annotated[
    str, AfterValidator(_decoded), Path(description="The asset's id; write / in it as %2F.", examples=["orders.daily"])
]
SlugPath = Annotated[str, AfterValidator(_decoded), Path(description="The workflow's slug.", examples=["orders-daily"])]
RunPath = Annotated[str, AfterValidator(_decoded), Path(description="The run's id.", examples=["run-1"])]
ScopePath = Annotated[
    str, AfterValidator(_decoded), Path(description="all, workflow:SLUG or asset:ID.", examples=["all"])
]


class Body(BaseModel):
    """A JSON object in camelCase. A key that is not known is refused, as it would do nothing."""

    model_config = ConfigDict(alias_generator=to_camel, populate_by_name=True, frozen=True, extra="forbid")


class OfPartition(Body):
    """Which partition is meant; all of them, or the one of an unpartitioned asset, without it."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"partitionKey": "2026-11-23"}, {}]})
    partition_key: PartitionKey | None = None


class RunPost(Body):
    """A run by hand: of which partition, with which parameters, and whether to keep those for the partition."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [{"partitionKey": "2026-11-23", "parameters": {"full": True}, "remember": False}, {}]
        }
    )
    partition_key: PartitionKey | None = None
    parameters: dict[str, JsonValue] = Field(default_factory=dict)
    remember: bool = False


class PausePut(Body):
    """What is held back (`all`, `workflow:SLUG`, `asset:ID`): until a time, for so long (`90s`, `2h`), or for good."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [{"scope": "workflow:orders-daily", "for": "2h", "reason": "the warehouse is being moved"}]
        }
    )
    scope: Annotated[str, Field(max_length=300)]
    until: Annotated[str, Field(max_length=40)] | None = None
    for_: Annotated[str | None, Field(alias="for", max_length=40)] = None
    reason: Annotated[str, Field(max_length=MAX_REASON)] | None = None


class PlannedEvent(Body):
    asset_id: AssetId
    partition_key: PartitionKey | None = None


class PlanPost(Body):
    """As if these were produced, or expired, now; how many minutes to look ahead, and at how many runs to stop."""

    model_config = ConfigDict(
        json_schema_extra={"examples": [{"produced": [{"assetId": "orders.raw"}], "minutes": 60, "limit": 500}]}
    )
    produced: Annotated[tuple[PlannedEvent, ...], Field(max_length=1_000)] = ()
    expired: Annotated[tuple[PlannedEvent, ...], Field(max_length=1_000)] = ()
    minutes: Annotated[float, Field(ge=0, le=_WEEK_MINUTES, allow_inf_nan=False)] = 60
    limit: Annotated[int, Field(ge=1, le=10_000)] = 500


M = TypeVar("M", bound=Body)


async def raw_body(request: Request) -> bytes:
    return await request.body()


def body_of(model: type[M]) -> Callable[[Request], Awaitable[M]]:
    """A dependency that reads the body as this model; an empty body is an empty object.

    Raises:
        Refused, Unreadable: it is no JSON, or no such object.
    """

    async def read(request: Request) -> M:
        kind = request.headers.get("content-type", "application/json").partition(";")[0].strip().lower()
        text = await request.body()
        if kind != "application/json" and text:
            raise Refused(Kind.UNSUPPORTED, f"send application/json, not {kind[:100]!r}")
        try:
            return model.model_validate(read_document(text, "json") if text.strip() else {})
        except ValidationError as error:
            problems = [
                Problem(json_path(detail["loc"]), str(detail.get("ctx", {}).get("error") or detail["msg"]))
                for detail in error.errors(include_url=False, include_input=False)
            ]
            raise Refused(Kind.INVALID, "the body does not fit", errors=problems) from None

    return read


def takes(model: type[Body], **extra: Any) -> dict[str, Any]:
    """`openapi_extra` of a route that reads this body."""
    schema = model.model_json_schema(by_alias=True, ref_template="#/components/schemas/{model}")
    # What it refers to is put among the components by `app`.
    is_required = any(
        field.default is PydanticUndefined and field.default_factory is None for field in model.model_fields.values()
    )
    return {"requestBody": {"required": is_required, "content": {"application/json": {"schema": schema}}}, **extra}


async def known_parameters_only(request: Request) -> None:
    """Refuse a query parameter that the route does not have: a filter with a typing error would let everything through.

    Raises:
        Refused: there is one.
    """
    route = request.scope["route"]
    if not isinstance(route, APIRoute):
        return
    known = {field.alias for field in route.dependant.query_params}
    for name in request.query_params:
        if name not in known:
            hint = f"known are {', '.join(sorted(known))}" if known else "there are none here"
            raise Refused(Kind.INVALID, f"there is no query parameter {name[:100]!r}; {hint}")
    seen = [name for name, _ in request.query_params.multi_items()]
    for name in seen:
        if seen.count(name) > 1:
            raise Refused(Kind.INVALID, f"the query parameter {name[:100]!r} is given twice; keep one of them")

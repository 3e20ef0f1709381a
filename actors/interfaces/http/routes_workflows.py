"""Workflows: list, show, keep, drop and check them, run one by hand, and see what one does by itself."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Final
from uuid import uuid4

from fastapi import Depends, Request
from fastapi.responses import JSONResponse

from actors.catalog.definitions import WorkflowDefinition, parse_definition
from actors.catalog.documents import Format
from actors.catalog.problems import Problem
from actors.catalog.store import Json, JsonObject, Limits, NewRun, Store
from actors.core.pauses import Pauses
from actors.execution.jobs import JobRegistry
from actors.execution.parameters import check_partition_key, run_parameters
from actors.interfaces.checking import check_files, checked_json
from actors.interfaces.commands.workflows import workflow_json
from actors.interfaces.dump import asset_json, iso_or_none, pause_json
from actors.interfaces.graph_view import graph_of
from actors.interfaces.http.access import Access, ServiceAccess, now_ms
from actors.interfaces.http.answers import Limit, answer, new_router, no_such, tells
from actors.interfaces.http.auth import LOOKS
from actors.interfaces.http.bodies import RunPost, SlugPath, body_of, raw_body, takes
from actors.interfaces.http.problems import Kind, Refused
from actors.interfaces.http.run_schemas import (
    AutoMaterialize,
    Checked,
    PutOut,
    Removed,
    RunOut,
    WorkflowDetail,
    WorkflowOut,
)
from actors.interfaces.known_graph import known_graph
from actors.interfaces.offline import dump_assets
from actors.interfaces.records import run_json
from actors.messages import AssetDump

__all__ = ["require_workflow", "router"]

_MOST_REFRESHES: Final = 20
_FORMATS: Final[dict[str, Format]] = {
    "application/json": "json",
    "application/yaml": "yaml",
    "application/x-yaml": "yaml",
    "text/yaml": "yaml",
}
_EXAMPLE: Final[dict[str, Any]] = {
    "slug": "orders-daily",
    "name": "Daily orders",
    "steps": [
        {
            "id": "load",
            "jobSlug": "load-orders",
            "consumes": [{"assetId": "orders.raw"}],
            "produces": [{"assetId": "orders.daily", "autoMaterialize": {"onUpstreamUpdate": True}}],
        }
    ],
}
_SCHEMA: Final = {"type": "object", "required": ["slug", "name", "steps"], "examples": [_EXAMPLE]}
_DEFINITION: Final[dict[str, Any]] = {
    "requestBody": {
        "required": True,
        "description": "A workflow definition, in JSON or YAML.",
        "content": {"application/json": {"schema": _SCHEMA}, "application/yaml": {"schema": _SCHEMA}},
    }
}

router = new_router("workflows")

RawBody = Annotated[bytes, Depends(raw_body)]
RunBody = Annotated[RunPost, Depends(body_of(RunPost))]


async def _format(request: Request) -> Format:
    """The format of a definition, by its media type.

    Raises:
        Refused: it is neither JSON nor YAML.
    """
    kind = request.headers.get("content-type", "application/json").partition(";")[0].strip().lower()
    if kind not in _FORMATS:
        raise Refused(Kind.UNSUPPORTED, f"send a definition as {' or '.join(_FORMATS)}, not {kind[:100]!r}")
    return _FORMATS[kind]


BodyFormat = Annotated[Format, Depends(_format)]


@router.get("/workflows", **tells(list[WorkflowOut], "The workflows, in the order of their slugs."))
def list_workflows(access: Access) -> JSONResponse:
    """The workflows in the catalog: version, steps, assets, how many opted in, and where each came from."""
    found = sorted(access.store.workflows(), key=lambda w: w.slug)
    sources = access.store.workflow_sources()
    return answer([workflow_json(w, sources[w.slug][0] if w.slug in sources else None) for w in found])


@router.post("/workflows/validate", **tells(Checked, "What was found."), openapi_extra={**_DEFINITION, **LOOKS})
def validate(access: Access, text: RawBody, form: BodyFormat) -> JSONResponse:
    """Check a definition by itself, and together with those that the catalog has. Nothing is changed."""
    return answer(_check(access, text, form))


@router.get("/workflows/{slug}", **tells(WorkflowDetail, "The workflow and its definition."))
def workflow(access: Access, slug: SlugPath) -> JSONResponse:
    """A workflow: its summary, its definition as it was written, and what is likely not what was meant."""
    definition = require_workflow(access.store, slug)
    source = access.store.workflow_sources().get(slug)
    return answer(
        {
            **workflow_json(definition, source[0] if source is not None else None),
            "definition": json.loads(definition.canonical_json()),
            "warnings": _faults(definition.warnings()),
        }
    )


@router.put("/workflows/{slug}", **tells(PutOut, "Whether it is new, or changed."), openapi_extra=_DEFINITION)
def put_workflow(access: Access, slug: SlugPath, text: RawBody, form: BodyFormat) -> JSONResponse:
    """Check a definition and keep it in the catalog; the service follows it at once."""
    definition = parse_definition(text, source="body", format=form)
    if definition.slug != slug:
        reason = f"the slug is {definition.slug!r}, but the path says {slug!r}; make them the same"
        raise Refused(Kind.INVALID, "slug and path differ", errors=[Problem("$.slug", reason)])
    kept, _ = graph_of(access.store.workflows())
    kept.put(definition.to_spec())
    result = access.store.put_workflow(definition, source="command", content_hash=definition.content_hash)
    return answer(
        {
            "slug": slug,
            "version": definition.version,
            "result": result,
            "warnings": _faults(definition.warnings()),
        }
    )


@router.delete("/workflows/{slug}", **tells(Removed, "It was dropped."))
def remove_workflow(access: Access, slug: SlugPath) -> JSONResponse:
    """Drop a workflow from the catalog. What it made stays known; nothing makes it again."""
    require_workflow(access.store, slug)
    source = access.store.workflow_sources().get(slug)
    access.store.remove_workflow(slug)
    note = "it came from a file of the workflows folder; remove that too, or the service loads it again"
    is_file = source is not None and source[0] == "file"
    return answer({"slug": slug, "removed": True, "note": note if is_file else None})


@router.post(
    "/workflows/{slug}/run",
    **tells(RunOut, "The run, which waits for its turn.", 202),
    openapi_extra=takes(RunPost),
)
def run_workflow(access: Access, slug: SlugPath, body: RunBody) -> JSONResponse:
    """Ask for a run by hand. It passes through quiet hours and pauses, and keeps the limits."""
    store, key = access.store, body.partition_key
    definition = require_workflow(store, slug)
    check_partition_key(definition, key)
    if body.remember and (key is None or not body.parameters):
        reason = "parameters are remembered for a partition; give partitionKey and parameters"
        raise Refused(Kind.INVALID, reason, errors=[Problem("$.remember", reason)])
    stored = {} if key is None else store.partition_parameters(slug, key)
    if body.remember and key is not None:
        store.put_partition_parameters(slug, key, {**stored, **body.parameters})
    run = NewRun(
        run_id=f"run-{uuid4().hex}",
        workflow_slug=slug,
        partition_key=key,
        parameters=run_parameters(definition, asset_ids=(), partition_key=key, stored=stored, given=body.parameters),
        trigger={"type": "manual", "reason": "http"},
        created_at_ms=now_ms(),
        limits=Limits(max_runs=access.settings().concurrency.max_runs),
        pools=definition.to_spec().pools,
    )
    store.queue_run(run)
    record = store.run(run.run_id)
    if record is None:
        raise Refused(Kind.CONFLICT, f"run {run.run_id} is not in the catalog any more; something removed it")
    return answer(run_json(record), 202, {"Location": f"/api/v1/runs/{run.run_id}"})


@router.get("/workflows/{slug}/auto-materialize", **tells(AutoMaterialize, "What it does by itself."))
def auto_materialize(access: Access, slug: SlugPath, limit: Limit = 10) -> JSONResponse:
    """Its claims, what waits after failures, what expires next, and its latest automatic runs, by the catalog."""
    store = access.store
    definition = require_workflow(store, slug)
    graph = known_graph(store)
    opted_in = [asset.asset_id for asset in definition.to_spec().assets if asset.auto is not None]
    at_ms = now_ms()
    dumps = dump_assets(store, graph, opted_in, access.defaults, at_ms)
    recent = store.runs(trigger="auto-materialize", workflow=slug, limit=limit)
    refreshes = _refreshes(dumps, at_ms)
    pause = Pauses(store.pauses(at_ms)).paused_until("", slug, at_ms)
    return answer(
        {
            "workflowSlug": slug,
            "optedIn": opted_in,
            "pause": pause_json(pause) if pause is not None else None,
            "inFlight": [
                {"runId": run.run_id, "partitionKey": run.partition_key, "status": run.status.value}
                for run in store.active_runs()
                if run.workflow_slug == slug
            ],
            "backoff": [held for dump in dumps for held in _held(asset_json(dump))],
            "nextRefreshAt": refreshes[0]["at"] if refreshes else None,
            "nextRefreshes": refreshes,
            "lastRun": run_json(recent[0]) if recent else None,
            "recentRuns": [run_json(run) for run in recent],
        }
    )


def require_workflow(store: Store, slug: str) -> WorkflowDefinition:
    """The definition.

    Raises:
        Refused: there is no such workflow.
    """
    definition = store.workflow(slug)
    if definition is None:
        raise no_such("workflow", slug, (w.slug for w in store.workflows()))
    return definition


def _check(access: ServiceAccess, text: bytes, form: Format) -> JsonObject:
    """In the form of `checked_json`, without the file. Files, because that is what `validate` checks."""
    settings = access.settings()
    jobs = JobRegistry.load(settings.jobs_dir)
    with tempfile.TemporaryDirectory(prefix="headwater-") as folder:
        given = Path(folder, f"given.{form}")
        given.write_bytes(text)
        (alone,) = check_files([given], pools=settings.concurrency.pools, jobs=jobs)
        if alone.definition is None:
            return _checked(checked_json(alone))
        # Those that it stands beside, but for the one whose place it takes.
        others = [w for w in access.store.workflows() if w.slug != alone.definition.slug]
        files = [Path(folder, f"{number}.json") for number, _ in enumerate(others)]
        for file, other in zip(files, others, strict=True):
            file.write_text(other.canonical_json(), encoding="utf-8")
        *_, checked = check_files([*files, given], pools=settings.concurrency.pools, jobs=jobs)
    return _checked(checked_json(checked))


def _checked(told: JsonObject) -> JsonObject:
    return {key: value for key, value in told.items() if key != "file"}


def _faults(problems: tuple[Problem, ...]) -> list[Json]:
    return [{"path": problem.path, "reason": problem.reason} for problem in problems]


def _held(asset: JsonObject) -> list[JsonObject]:
    partitions = asset.get("partitions")
    return [
        {
            "assetId": asset["assetId"],
            **{key: one[key] for key in ("partitionKey", "state", "failures", "budgetLeft", "nextEligibleAt")},
        }
        for one in (partitions if isinstance(partitions, list) else [])
        if isinstance(one, Mapping) and one.get("failures")
    ]


def _refreshes(dumps: list[AssetDump], at_ms: int) -> list[JsonObject]:
    """What expires next, the earliest first."""
    coming = sorted(
        (one.expires.at_ms, dump.asset_id, one.partition_key or "", one.partition_key, one.expires.reason.value)
        for dump in dumps
        for one in dump.partitions
        if one.expires is not None and one.expires.at_ms > at_ms
    )
    return [
        {"assetId": asset_id, "partitionKey": key, "at": iso_or_none(at), "rule": rule}
        for at, asset_id, _, key, rule in coming[:_MOST_REFRESHES]
    ]

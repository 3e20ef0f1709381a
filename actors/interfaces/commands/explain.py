"""`explain`: why an asset is, or is not, being made; and why a run exists, back to the first cause."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Annotated

import typer

from actors.catalog.control import ServiceNotRunning
from actors.catalog.store import AssetRecord, Json, JsonObject, Store
from actors.core.graph import Graph
from actors.core.run_queue import Capacity
from actors.interfaces.commands.assets import check_known
from actors.interfaces.dump import asset_json
from actors.interfaces.errors import bad_input, refused, unknown
from actors.interfaces.explain_asset import Facts, explain_partition
from actors.interfaces.explain_queue import Queue
from actors.interfaces.explain_run import story_json, tell_story
from actors.interfaces.explain_story import story_lines
from actors.interfaces.explain_view import MOST_PARTITIONS, explanation_lines
from actors.interfaces.known_graph import known_graph
from actors.interfaces.offline import dump_assets
from actors.interfaces.render import print_json, print_lines
from actors.interfaces.session import ConfigOption, JsonOption, PartitionOption, Session, note, open_session

__all__ = ["explain", "explain_asset"]

_HISTORY_READ = 1_000


def explain(
    ctx: typer.Context,
    asset: Annotated[str | None, typer.Argument(metavar="[ASSET]", help="The asset's id.")] = None,
    partition: PartitionOption = None,
    run: Annotated[
        str | None, typer.Option("--run", metavar="RUN", help="Explain this run instead of an asset.")
    ] = None,
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Say in plain words why an asset is, or is not, being made: what it waits for and until when, a timeline of what
    was made, what has changed since and what was decided, and what would make it run. With --run: why a run exists, as
    a tree back to the first causes, and what followed from it.

    Without a running service the catalog alone is asked, which knows nothing of past decisions.

    \b
    Examples:
      python run.py explain orders.daily
      python run.py explain orders.daily --partition 2026-11-23 --json
      python run.py explain --run run-0198c2f4a7d2
    """
    if (asset is None) == (run is None):
        raise bad_input("name an asset, or a run with --run, and not both")
    if run is not None and partition is not None:
        raise bad_input("--partition is for an asset; leave it out with --run")
    with open_session(ctx, config) as session:
        if run is not None:
            _explain_run(session.catalog.store, run, as_json=as_json)
            return
        explanation = explain_asset(session, asset or "", partition)
    if as_json:
        print_json(explanation)
    else:
        print_lines(explanation_lines(explanation, _now_ms()))


def _explain_run(store: Store, run_id: str, *, as_json: bool) -> None:
    record = store.run(run_id)
    if record is None:
        raise unknown("run", run_id, (r.run_id for r in store.runs(limit=200)), otherwise="the catalog has none yet")
    story = tell_story(store, record)
    if as_json:
        print_json(story_json(story))
    else:
        print_lines(story_lines(story, _now_ms()))


def explain_asset(session: Session, asset_id: str, partition_key: str | None) -> JsonObject:
    """`{assetId, workflowSlug, live, partitions: [...]}`; the partitions in the form of `explain_partition`."""
    store, settings = session.catalog.store, session.settings
    check_known(store, asset_id)
    graph = known_graph(store)
    node = graph.node(asset_id)
    spec = node.spec if node is not None else None
    defaults = settings.defaults()
    asset, queue = _from_service(session, asset_id, graph) if spec is not None else (None, None)
    is_live = asset is not None
    if asset is None:
        asset = asset_json(dump_assets(store, graph, [asset_id], defaults, _now_ms())[0])
    pause = asset.get("pause")
    records = store.read_assets([asset_id, *(spec.upstreams if spec is not None else ())])
    record = records.get(asset_id, AssetRecord())
    facts = Facts(
        asset_id=asset_id,
        spec=spec,
        record=record,
        upstreams=records,
        history=store.history(asset_id, limit=_HISTORY_READ),
        queue=queue,
        pause=pause if isinstance(pause, Mapping) else None,
        errors=_errors(store, record),
        now_ms=_now_ms(),
    )
    listed = asset.get("partitions")
    partitions = [
        one
        for one in (listed if isinstance(listed, list) else [])
        if isinstance(one, Mapping) and partition_key in (None, one.get("partitionKey"))
    ]
    if partition_key is not None and not partitions:
        raise refused(f"asset {asset_id!r} has no partition {partition_key!r}; leave --partition out")
    return {
        "assetId": asset_id,
        "workflowSlug": spec.workflow_slug if spec is not None else None,
        "live": is_live,
        "partitions": [explain_partition(one, facts) for one in partitions],
    }


def _errors(store: Store, record: AssetRecord) -> dict[str, str]:
    """What the runs that failed last said, of as many as a page shows."""
    newest = sorted(record.failures.values(), key=lambda f: f.last_failure_at_ms, reverse=True)[:MOST_PARTITIONS]
    found = [store.run(run_id) for run_id in {failure.last_failed_run_id for failure in newest}]
    return {run.run_id: run.error for run in found if run is not None and run.error}


def _from_service(session: Session, asset_id: str, graph: Graph) -> tuple[JsonObject | None, Queue | None]:
    """The asset in the form of `asset_json` and the queue, as the running service has them; None when none runs."""
    control, settings = session.catalog.control, session.settings
    try:
        answer = control.ask("debug", {"assetId": asset_id}, timeout_seconds=settings.control.timeout_seconds)
        status = control.ask("status", {}, timeout_seconds=settings.control.timeout_seconds)
    except ServiceNotRunning:
        note("no service is running; this is what the catalog knows")
        return None, None
    assets: Json = answer.get("assets") if isinstance(answer, Mapping) else None
    if not isinstance(assets, list) or not assets or not isinstance(assets[0], Mapping):
        raise refused("the service answered with something that is no asset; is it of another version?")
    limits = settings.concurrency
    capacity = Capacity(limits.max_runs, dict(limits.workflows), dict(limits.pools))
    return assets[0], Queue(status, graph, capacity, limits.aging_ms)


def _now_ms() -> int:
    return time.time_ns() // 1_000_000

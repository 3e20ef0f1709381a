"""`status`: which services run, who of them leads, and what it is at."""

from __future__ import annotations

import time
from collections.abc import Mapping

import typer

from actors.catalog.store import Json, JsonObject
from actors.catalog.timestamps import parse_iso_ms
from actors.core.state import partition_name
from actors.interfaces.dump import iso_or_none
from actors.interfaces.look import Looker, objects, service_json
from actors.interfaces.render import age_text, print_json, print_lines
from actors.interfaces.session import ConfigOption, JsonOption, open_session
from actors.interfaces.top_view import comes_text, counter_lines

__all__ = ["service_json", "status"]

_NEXT_SHOWN = 5


def status(ctx: typer.Context, config: ConfigOption = None, as_json: JsonOption = False) -> None:
    """Show which service leads and which stand by, how many assets are stale and why, the runs that are active and
    those that wait for a slot, what fails, what expires next, and how far behind the service is. 1 if none runs, or
    none leads.

    \b
    Examples:
      python run.py status
      python run.py status --json
    """
    with open_session(ctx, config) as session:
        told = Looker(session, limit=None).look()
    if as_json:
        print_json(told)
        return
    now_ms = time.time_ns() // 1_000_000
    started = told.get("startedAtMs")
    if isinstance(started, int):
        print_lines([f"running since {iso_or_none(started)} ({age_text(started, now_ms)})"])
    queued = told.get("queuedRunIds")
    overview = told.get("overview")
    print_lines(
        [
            *_role_lines(told),
            *counter_lines(told, now_ms)[1:],
            *_named("active", told.get("active")),
            *_named("waiting", told.get("wanted")),
            f"asked for by hand and waiting: {len(queued) if isinstance(queued, list) else 0}",
            *_overview_lines(overview if isinstance(overview, Mapping) else {}, now_ms),
        ]
    )


def _role_lines(told: JsonObject) -> list[str]:
    leaders = objects(told.get("leaders"))
    if len(leaders) == 1 and "shard" not in leaders[0]:
        leading = [(leaders[0], f"leads, in term {told.get('term')}")]
    else:
        leading = [(each, f"leads shard {each.get('shard')}") for each in leaders]
    standing = [(each, "stands by" + _for_shard(each)) for each in objects(told.get("standbys"))]
    return [f"{each.get('host')}, pid {each.get('pid')}: {what}" for each, what in [*leading, *standing]]


def _for_shard(service: JsonObject) -> str:
    return f" for shard {service['shard']}" if "shard" in service else ""


def _overview_lines(overview: JsonObject, now_ms: int) -> list[str]:
    failing, coming = objects(overview.get("failing")), objects(overview.get("next"))[:_NEXT_SHOWN]
    lines = [f"failing: {len(failing)}"] if failing else []
    lines += [f"  {_name(each)}  {each.get('state')}, {each.get('failures')} failed in a row" for each in failing]
    lines += ["next:"] if coming else []
    lines += [f"  {_name(each)}  {_comes(each, now_ms)}" for each in coming]
    return lines


def _comes(each: JsonObject, now_ms: int) -> str:
    return f"{comes_text(each)} {age_text(parse_iso_ms(str(each.get('at'))), now_ms)}"


def _name(each: JsonObject) -> str:
    key = each.get("partitionKey")
    return partition_name(str(each.get("assetId")), key if isinstance(key, str) else None)


def _named(word: str, runs: Json) -> list[str]:
    found = objects(runs)
    lines = [f"{word}: {len(found)}"]
    for run in found:
        key, run_id = run.get("partitionKey"), run.get("runId")
        name = partition_name(str(run.get("workflowSlug")), key if isinstance(key, str) else None)
        lines.append(f"  {name}  {run_id}" if run_id is not None else f"  {name}")
    return lines

"""`status`: whether a service runs, and what it is at."""

from __future__ import annotations

import time
from collections.abc import Mapping

import typer

from actors.catalog.store import Json
from actors.core.state import partition_name
from actors.interfaces.dump import iso_or_none
from actors.interfaces.errors import refused
from actors.interfaces.render import age_text, print_json, print_lines
from actors.interfaces.session import ConfigOption, JsonOption, open_session

__all__ = ["status"]


def status(ctx: typer.Context, config: ConfigOption = None, as_json: JsonOption = False) -> None:
    """Show whether a service runs, the runs that are active, and those that wait for a slot. 1 if none runs.

    \b
    Examples:
      python run.py status
      python run.py status --json
    """
    with open_session(ctx, config) as session:
        answer = session.catalog.control.ask("status", {}, timeout_seconds=session.settings.control.timeout_seconds)
    if not isinstance(answer, Mapping):
        raise refused("the service answered with something that is no status; is it of another version?")
    if as_json:
        print_json(answer)
        return
    started = answer.get("startedAtMs")
    if isinstance(started, int):
        print_lines([f"running since {iso_or_none(started)} ({age_text(started, time.time_ns() // 1_000_000)})"])
    queued = answer.get("queuedRunIds")
    print_lines(
        [
            *_named("active", answer.get("active")),
            *_named("waiting", answer.get("wanted")),
            f"asked for by hand and waiting: {len(queued) if isinstance(queued, list) else 0}",
        ]
    )


def _named(word: str, runs: Json) -> list[str]:
    found = [run for run in runs if isinstance(run, Mapping)] if isinstance(runs, list) else []
    lines = [f"{word}: {len(found)}"]
    for run in found:
        key, run_id = run.get("partitionKey"), run.get("runId")
        name = partition_name(str(run.get("workflowSlug")), key if isinstance(key, str) else None)
        lines.append(f"  {name}  {run_id}" if run_id is not None else f"  {name}")
    return lines

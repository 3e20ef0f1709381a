"""`status`: which services run, who of them leads, and what it is at."""

from __future__ import annotations

import time
from collections.abc import Mapping

import typer

from actors.catalog.control import ControlTimeout, LivingService, Services
from actors.catalog.store import Json, JsonObject
from actors.core.state import partition_name
from actors.interfaces.dump import iso_or_none
from actors.interfaces.errors import refused
from actors.interfaces.render import age_text, print_json, print_lines
from actors.interfaces.session import ConfigOption, JsonOption, open_session

__all__ = ["service_json", "status"]


def status(ctx: typer.Context, config: ConfigOption = None, as_json: JsonOption = False) -> None:
    """Show which service leads and which stand by, the runs that are active, and those that wait for a slot. 1 if none
    runs, or none leads.

    \b
    Examples:
      python run.py status
      python run.py status --json
    """
    with open_session(ctx, config) as session:
        control = session.catalog.control
        try:
            answer = control.ask("status", {}, timeout_seconds=session.settings.control.timeout_seconds)
        except ControlTimeout:
            services = control.services()
            if services.leader is not None or not services.living:
                raise
            raise refused(
                f"nobody leads, and {len(services.living)} stand by; one of them leads when the last lease has ended"
            ) from None
        services = control.services()
    if not isinstance(answer, Mapping):
        raise refused("the service answered with something that is no status; is it of another version?")
    if as_json:
        print_json({**answer, **_roles_json(services)})
        return
    started = answer.get("startedAtMs")
    if isinstance(started, int):
        print_lines([f"running since {iso_or_none(started)} ({age_text(started, time.time_ns() // 1_000_000)})"])
    queued = answer.get("queuedRunIds")
    print_lines(
        [
            *_role_lines(services),
            *_named("active", answer.get("active")),
            *_named("waiting", answer.get("wanted")),
            f"asked for by hand and waiting: {len(queued) if isinstance(queued, list) else 0}",
        ]
    )


def _roles_json(services: Services) -> JsonObject:
    """`{term, leaseLeftMs, leader: {id, host, pid, startedAt} | null, standbys: [...]}`."""
    return {
        "term": services.term,
        "leaseLeftMs": services.left_ms,
        "leader": service_json(services.leader) if services.leader is not None else None,
        "standbys": [service_json(each) for each in services.living if not each.is_leader],
    }


def service_json(service: LivingService) -> JsonObject:
    started = service.about.get("startedAtMs")
    return {
        "id": service.service_id,
        "host": service.about.get("host"),
        "pid": service.about.get("pid"),
        "startedAt": iso_or_none(started) if isinstance(started, int) else None,
    }


def _role_lines(services: Services) -> list[str]:
    lines = []
    for each in services.living:
        what = f"leads, in term {services.term}" if each.is_leader else "stands by"
        lines.append(f"{each.about.get('host')}, pid {each.about.get('pid')}: {what}")
    return lines


def _named(word: str, runs: Json) -> list[str]:
    found = [run for run in runs if isinstance(run, Mapping)] if isinstance(runs, list) else []
    lines = [f"{word}: {len(found)}"]
    for run in found:
        key, run_id = run.get("partitionKey"), run.get("runId")
        name = partition_name(str(run.get("workflowSlug")), key if isinstance(key, str) else None)
        lines.append(f"  {name}  {run_id}" if run_id is not None else f"  {name}")
    return lines

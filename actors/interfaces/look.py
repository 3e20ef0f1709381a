"""How everything stands at this moment: what `status` and `top` show, in one document."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import Final

from actors.catalog.control import ControlTimeout, LivingService, Services
from actors.catalog.glance import CatalogGlance, Progress, StreamGlance
from actors.catalog.store import Json, JsonObject
from actors.interfaces.dump import iso_or_none, pause_json
from actors.interfaces.errors import refused
from actors.interfaces.session import Session

__all__ = ["Looker", "objects", "service_json"]

_MOST_LIMITS: Final = 100
"""Of so many limits of workflows and pools it is told how much is used."""


class Looker:
    """Looks as often as it is asked. One look costs a question to the service, whose answer has lists of at most
    `limit` entries, and a few bounded reads of the catalog: nothing grows with the number of assets. Not thread-safe.
    """

    def __init__(self, session: Session, *, limit: int | None) -> None:
        settings = session.settings
        self._catalog = session.catalog
        self._limit = limit
        self._timeout_seconds = settings.control.timeout_seconds
        self._glance = CatalogGlance(
            session.catalog, prefix=settings.redis.prefix, streams=settings.streams, shard=settings.shard
        )

    def look(self, *, with_progress: bool = False) -> JsonObject:
        """`{at, startedAtMs, term, leaseLeftMs, leader, leaders, standbys, activeCount, wantedCount,
        queuedCount, active, wanted, queuedRunIds, overview, stream: {appended, behind, lagMs, deadLetters}, used:
        {workflows, pools}, pauses}`.

        `overview` is that of the service (see `Standing`), with its `mailboxDepth` and `slots`; `used` says how much of
        the limits in the slots is taken. With progress each active run has `createdAt, startedAt, stepsOver, steps,
        goingOn: [{stepId, attempt, startedAt}]`.

        Raises:
            ServiceNotRunning: there is no service to ask.
            CommandError: nobody leads.
            ControlTimeout, ControlFailed, CatalogUnavailable: the service, or the catalog, cannot be asked.
        """
        control = self._catalog.control
        args: JsonObject = {} if self._limit is None else {"limit": self._limit}
        try:
            answer = control.ask("status", args, timeout_seconds=self._timeout_seconds)
        except ControlTimeout:
            services = control.services()
            if services.is_led or not services.living:
                raise
            raise refused(_nobody_leads(services)) from None
        if not isinstance(answer, Mapping):
            raise refused("the service answered with something that is no status; is it of another version?")
        now_ms = time.time_ns() // 1_000_000
        active = objects(answer.get("active"))
        return {
            "at": iso_or_none(now_ms),
            **answer,
            "active": self._with_progress(active) if with_progress else list(active),
            **_roles_json(control.services()),
            "stream": _stream_json(self._glance.stream()),
            "used": self._used(answer.get("overview")),
            "pauses": [pause_json(pause) for pause in self._catalog.store.pauses(now_ms).values()],
        }

    def _with_progress(self, active: Sequence[JsonObject]) -> list[JsonObject]:
        runs = [(str(run.get("runId")), str(run.get("workflowSlug"))) for run in active]
        progress = self._glance.progress(runs)
        return [{**run, **_progress_json(progress.get(str(run.get("runId"))))} for run in active]

    def _used(self, overview: Json) -> JsonObject:
        slots = overview.get("slots") if isinstance(overview, Mapping) else None
        names = (
            [
                list(limits)[:_MOST_LIMITS] if isinstance(limits := slots.get(kind), Mapping) else []
                for kind in ("workflows", "pools")
            ]
            if isinstance(slots, Mapping)
            else [[], []]
        )
        workflows, pools = self._glance.used(*names)
        return {"workflows": workflows, "pools": pools}


def _nobody_leads(services: Services) -> str:
    standing = sum(not service.is_leader for service in services.living)
    who = (
        "nobody leads" if services.shards == 1 else f"only {len(services.leaders)} of {services.shards} shards are led"
    )
    return f"{who}, and {standing} stand by; one that stands by leads when the last lease has ended"


def service_json(service: LivingService) -> JsonObject:
    """`{id, host, pid, startedAt}`, and `shard` if it is one of several."""
    started = service.about.get("startedAtMs")
    return {
        "id": service.service_id,
        "host": service.about.get("host"),
        "pid": service.about.get("pid"),
        "startedAt": iso_or_none(started) if isinstance(started, int) else None,
        **({"shard": service.about["shard"]} if "shard" in service.about else {}),
    }


def objects(value: Json) -> Sequence[JsonObject]:
    """The objects of a list; none when it is no list."""
    return [one for one in value if isinstance(one, Mapping)] if isinstance(value, list) else []


def _roles_json(services: Services) -> JsonObject:
    return {
        "term": services.term,
        "leaseLeftMs": services.left_ms,
        "leader": service_json(services.leader) if services.leader is not None else None,
        "leaders": [service_json(each) for each in services.leaders],
        "standbys": [service_json(each) for each in services.living if not each.is_leader],
    }


def _stream_json(stream: StreamGlance) -> JsonObject:
    return {
        "appended": stream.appended,
        "behind": stream.behind,
        "lagMs": stream.lag_ms,
        "deadLetters": stream.dead_letters,
    }


def _progress_json(progress: Progress | None) -> JsonObject:
    if progress is None:
        return {"createdAt": None, "startedAt": None, "stepsOver": 0, "steps": None, "goingOn": []}
    return {
        "createdAt": iso_or_none(progress.created_at_ms),
        "startedAt": iso_or_none(progress.started_at_ms),
        "stepsOver": progress.over,
        "steps": progress.steps,
        "goingOn": [
            {"stepId": step.step_id, "attempt": step.attempt, "startedAt": iso_or_none(step.started_at_ms)}
            for step in progress.going_on
        ],
    }

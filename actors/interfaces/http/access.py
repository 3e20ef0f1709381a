"""What the API is given of its service, and how it asks."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, cast

from fastapi import Depends, Request
from prometheus_client import CollectorRegistry

from actors.catalog.access import Catalog
from actors.catalog.control import ControlClient
from actors.catalog.store import CatalogUnavailable, Json, JsonObject, Store
from actors.core.decide import Defaults
from actors.interfaces.commands.status import service_json
from actors.interfaces.health import Role
from actors.interfaces.http.decisions import DecisionFeed
from actors.interfaces.http.planner import Planner
from actors.interfaces.http.problems import Kind, Refused
from actors.interfaces.session import Session
from actors.settings import HttpTokens, Settings

__all__ = ["Access", "ServiceAccess", "access_of", "now_ms"]


@dataclass(frozen=True, slots=True)
class ServiceAccess:
    """`ask` puts a question to the actors, as `Operations.handle`; each has a timeout. `settings` are those of now."""

    settings: Callable[[], Settings]
    catalog: Catalog
    ask: Callable[[str, JsonObject], Json]
    role: Callable[[], Role]
    metrics: CollectorRegistry
    decisions: DecisionFeed
    planner: Planner
    tokens: HttpTokens
    trouble: Callable[[], str | None] = lambda: None

    @property
    def store(self) -> Store:
        return self.catalog.store

    @property
    def defaults(self) -> Defaults:
        return self.settings().defaults()

    def require_actors(self) -> None:
        """Go on only where the actors act.

        Raises:
            Refused: this service stands by, and the problem says who leads; or it is starting.
        """
        match self.role():
            case "leader":
                return
            case "starting":
                raise Refused(Kind.STARTING, "the actors are still reading their state; ask again in a moment")
            case "standby":
                leader = self._leader()
                who = (
                    f"{leader.get('host')}, pid {leader.get('pid')}, leads" if leader else "nobody leads at the moment"
                )
                raise Refused(Kind.STANDBY, f"only the service that leads knows this, and {who}", leader=leader)

    def _leader(self) -> JsonObject | None:
        try:
            leader = self.catalog.control.services().leader
        except CatalogUnavailable:
            return None
        return service_json(leader) if leader is not None else None

    def session(self) -> Session:
        """For what commands do with one; what they ask of the service goes to the actors at once."""
        local = _LocalControl(self)
        return Session(self.settings(), Catalog(self.catalog.store, local, self.catalog.client))


class _LocalControl(ControlClient):
    """Asks the service of this process, without the way over the server."""

    def __init__(self, access: ServiceAccess) -> None:
        super().__init__(access.catalog.client, prefix=access.settings().redis.prefix)
        self._access = access

    def ask(self, op: str, args: JsonObject, *, timeout_seconds: float) -> Json:
        self._access.require_actors()
        try:
            return self._access.ask(op, args)
        except LookupError as error:
            # Its definition has just been put, and the registry has not read it yet; or it restarts.
            raise Refused(Kind.BUSY, f"{error.args[0] if error.args else error}") from None


async def access_of(request: Request) -> ServiceAccess:
    return cast("ServiceAccess", request.app.state.access)


Access = Annotated[ServiceAccess, Depends(access_of)]


def now_ms() -> int:
    return time.time_ns() // 1_000_000

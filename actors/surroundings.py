"""What every actor is given: whom to talk to, the clock, the timers, and the ports to the outside."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from pykka import ActorDeadError, ActorRef

from actors.catalog.port import CatalogPort
from actors.core.decide import Defaults
from actors.core.pauses import Pauses
from actors.observer import Observer
from actors.runtime import Clock, Timers
from actors.shard_port import ShardPort, Undivided

__all__ = ["Links", "Surroundings"]


@dataclass(slots=True)
class Links:
    """The refs of the few actors that all others talk to. Bound late: a restart puts a new ref in place."""

    registry: ActorRef[Any] | None = None
    enqueuer: ActorRef[Any] | None = None
    supervisor: ActorRef[Any] | None = None


@dataclass(slots=True)
class Surroundings:
    """Shared by the actors of one service. `defaults` is replaced when the settings are read again, `pauses` by the
    registry alone, each as a whole. `outage_ms` is for how long no service ran before this one; the registry sets it to
    0 when everything was read."""

    clock: Clock
    timers: Timers
    catalog: CatalogPort
    observer: Observer
    defaults: Defaults
    new_run_id: Callable[[], str]
    shards: ShardPort = field(default_factory=Undivided)
    links: Links = field(default_factory=Links)
    pauses: Pauses = field(default_factory=Pauses)
    outage_ms: int = 0

    def to_registry(self, message: object) -> None:
        self._tell(self.links.registry, "registry", message)

    def to_enqueuer(self, message: object) -> None:
        self._tell(self.links.enqueuer, "enqueuer", message)

    def to_supervisor(self, message: object) -> None:
        self._tell(self.links.supervisor, "supervisor", message)

    def tell(self, ref: ActorRef[Any], receiver: str, message: object) -> None:
        """Tell an actor that may have died. What it misses it reads from the catalog when it is started again."""
        self._tell(ref, receiver, message)

    def _tell(self, ref: ActorRef[Any] | None, receiver: str, message: object) -> None:
        try:
            if ref is not None:
                ref.tell(message)
                return
        except ActorDeadError:
            pass
        self.observer.undelivered(message=type(message).__name__, receiver=receiver)

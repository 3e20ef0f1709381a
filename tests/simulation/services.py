"""The services of one seed: mostly one; or several on one catalog, of which one leads and the others stand by.

Where there are several, runs are executed elsewhere and outlive them. A takeover gives a standby the next term while
the former leader may go on for a while: what that one writes must be refused. Then it begins anew, and stands by.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from random import Random

from redis import Redis

from actors.catalog.keys import Keys
from actors.catalog.redis_store import RedisStore
from actors.catalog.scripts import Scripts
from actors.messages import AssetExpired
from actors.runtime import VirtualClock
from tests.simulation.declared import Declared
from tests.simulation.delivery import Delivery
from tests.simulation.oracle import Oracle
from tests.simulation.runs import SimulatedRuns
from tests.simulation.scenario import Scenario
from tests.simulation.system import System
from tests.simulation.term import Term
from tests.simulation.trace import TraceObserver

__all__ = ["Service", "Services"]

ZOMBIE_MS = (0, 0, 2_000, 30_000)


@dataclass(slots=True)
class Service:
    """One life of a service, and how it hears the stream. A former leader is a zombie until some time (monotonic)."""

    system: System
    delivery: Delivery
    trace: TraceObserver
    term: Term | None
    zombie_until_ms: int | None = None


class Services:
    """`leader` is the one that acts. `all` are those that live."""

    def __init__(
        self,
        scenario: Scenario,
        declared: Declared,
        client: Redis,
        prefix: str,
        rng: Random,
        clock: VirtualClock,
        oracle: Oracle,
        next_number: Callable[[], int],
    ) -> None:
        self._scenario = scenario
        self._declared = declared
        self._client = client
        self._prefix = prefix
        self._rng = rng
        self._clock = clock
        self._oracle = oracle
        self._next_number = next_number
        self._store = RedisStore(client, prefix=prefix)
        self._is_healing = False
        self._names = 0
        self._runs: SimulatedRuns | None = None
        if scenario.services > 1:
            self._runs = SimulatedRuns(scenario, declared, self._store, clock, oracle)
        self.leader = self._lead_from_start(None, 0)
        self.all = [self.leader, *(self._stand_by() for _ in range(scenario.services - 1))]

    def crash(self, outage_ms: int = 0) -> None:
        """All memory is gone at once; what the leader was told lately is told again."""
        for service in self.all:
            service.system.crash()
        self.leader.delivery.crash()
        self.leader = self._lead_from_start(self.leader.delivery, outage_ms)
        self.all = [self.leader, *(self._stand_by() for _ in range(self._scenario.services - 1))]

    def takeover(self) -> None:
        """A standby takes the lead, while the former leader does not know of it yet."""
        standbys = [service for service in self.all if service is not self.leader and service.zombie_until_ms is None]
        if not standbys:
            return
        former, self.leader = self.leader, self._rng.choice(standbys)
        former.zombie_until_ms = self._clock.monotonic_ms() + self._rng.choice(ZOMBIE_MS)
        former.delivery.is_heard = False
        self._take_term(self.leader)
        self.leader.delivery.is_heard = True
        self.leader.delivery.go_back_to(former.delivery)
        self.retire()

    def retire(self, *, at_once: bool = False) -> None:
        """Throw away the zombies whose time has come; each begins anew, and stands by."""
        now_ms = self._clock.monotonic_ms()
        for service in list(self.all):
            if service.zombie_until_ms is not None and (at_once or service.zombie_until_ms <= now_ms):
                service.system.crash()
                self.all[self.all.index(service)] = self._stand_by()

    def wrote(self) -> None:
        """Something may have written events."""
        for service in self.all:
            service.delivery.may_have_news = True

    def heal(self) -> None:
        """No more faults from now on."""
        self._is_healing = True
        self.retire(at_once=True)
        for service in self.all:
            service.delivery.is_healing = service.system.runs.is_healing = True

    def _lead_from_start(self, delivery: Delivery | None, outage_ms: int) -> Service:
        service = self._begin(delivery, outage_ms, leads=True)
        if service.term is not None:
            self._take_term(service)
        self._oracle.trace = service.trace
        service.delivery.is_heard = True
        return service

    def _stand_by(self) -> Service:
        service = self._begin(None, 0, leads=False)
        service.delivery.begin_here()
        return service

    def _begin(self, delivery: Delivery | None, outage_ms: int, *, leads: bool) -> Service:
        is_alone = self._scenario.services == 1
        self._names += 1
        trace = self._oracle.trace if is_alone else self._oracle.trace.another(f"s{self._names}")
        term = None if is_alone else Term()
        system = System(
            self._scenario,
            self._declared,
            self._store,
            self._clock,
            self._oracle,
            trace,
            self._next_number,
            outage_ms,
            runs=self._runs,
            term=term,
            leads=leads,
        )

        def tell(news: object) -> None:
            if isinstance(news, AssetExpired):
                system.gateway.expired(news.asset_id, news.partition_key)
            system.around.to_registry(news)

        if delivery is None:
            delivery = Delivery(
                self._scenario, self._client, self._prefix, self._rng, self._clock, self._oracle, tell, system.open
            )
        else:
            delivery.tell_to(tell, system.open)
        system.runs.is_healing = delivery.is_healing = self._is_healing
        return Service(system, delivery, trace, term)

    def _take_term(self, service: Service) -> None:
        _, term, _ = Scripts(self._client, Keys(self._prefix)).call(
            "lease_acquire", id=str(self._names), leaseMs=1_000, sole=True, shard={"index": 0, "count": 1}
        )
        if service.term is not None:
            service.term.number = term
        self._oracle.led_by(term, service.trace)

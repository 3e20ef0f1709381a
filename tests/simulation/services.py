"""The services of one seed: mostly one; or several on one catalog, of which one leads and the others stand by.

Where there are several, runs are executed elsewhere and outlive them. A takeover gives a standby the next term while
the former leader may go on for a while: what that one writes must be refused. Then it begins anew, and stands by.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from random import Random

from redis import Redis

from actors.catalog.keys import Keys
from actors.catalog.redis_shards import RedisShards
from actors.catalog.redis_store import RedisStore
from actors.catalog.scripts import Scripts, shard_argument
from actors.core.shards import WHOLE, Shard
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
    shard: Shard
    zombie_until_ms: int | None = None


class Services:
    """`leaders` are those that act: one, or one for each shard. `all` are those that live."""

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
        if scenario.services > 1 or scenario.shards > 1:
            self._runs = SimulatedRuns(scenario, declared, self._store, clock, oracle)
        self._shards = RedisShards(client, prefix=prefix) if scenario.shards > 1 else None
        self._intake: list[Delivery] = []
        self.leaders: list[Service] = []
        self.all: list[Service] = []
        self._begin_all([None] * scenario.shards, 0)
        if scenario.shards > 1:
            self._intake.append(self._new_intake())

    @property
    def leader(self) -> Service:
        """The service that leads, or that of the first shard."""
        return self.leaders[0]

    @property
    def deliveries(self) -> list[Delivery]:
        """Of all services, and of what records what outsiders append."""
        return [*(service.delivery for service in self.all), *self._intake]

    def _begin_all(self, deliveries: Sequence[Delivery | None], outage_ms: int) -> None:
        """A service for each shard, and those that stand by."""
        count = len(deliveries)
        self.leaders = [
            self._lead_from_start(delivery, outage_ms, Shard(index, count)) for index, delivery in enumerate(deliveries)
        ]
        standbys = range(self._scenario.services - 1)
        self.all = [*self.leaders, *(self._stand_by(Shard(index, count)) for index in range(count) for _ in standbys)]

    def crash(self, outage_ms: int = 0) -> None:
        """All memory is gone at once; what the leader was told lately is told again."""
        for service in self.all:
            service.system.crash()
        for leader in self.leaders:
            leader.delivery.crash()
        self._begin_all([leader.delivery for leader in self.leaders], outage_ms)

    def crash_shard(self, index: int) -> None:
        """One shard begins anew, while the others go on."""
        before = self.leaders[index % len(self.leaders)]
        at, place = self.all.index(before), self.leaders.index(before)
        before.system.crash()
        before.delivery.crash()
        after = self._lead_from_start(before.delivery, 0, Shard(place, len(self.leaders)))
        self.all[at] = self.leaders[place] = after

    def divide(self, count: int) -> None:
        """The catalog is divided into so many shards. One of the former services does not know of it for a while."""
        former = self.leaders
        zombie = self._rng.choice(former)
        for service in former:
            if service is not zombie:
                service.system.crash()
        zombie.zombie_until_ms = self._clock.monotonic_ms() + self._rng.choice(ZOMBIE_MS)
        zombie.delivery.is_heard = False
        self._begin_all([None] * count, 0)
        self.all.append(zombie)
        self.retire()

    def takeover(self) -> None:
        """A standby takes the lead, while the former leader does not know of it yet."""
        standbys = [service for service in self.all if service not in self.leaders and service.zombie_until_ms is None]
        if not standbys:
            return
        leader = self._rng.choice(standbys)
        index = leader.shard.index
        former, self.leaders[index] = self.leaders[index], leader
        former.zombie_until_ms = self._clock.monotonic_ms() + self._rng.choice(ZOMBIE_MS)
        former.delivery.is_heard = False
        if self._shards is not None:
            former.trace.part()
        self._take_term(leader)
        leader.delivery.is_heard = True
        leader.delivery.go_back_to(former.delivery)
        self.retire()

    def retire(self, *, at_once: bool = False) -> None:
        """Throw away the zombies whose time has come; each begins anew, and stands by."""
        now_ms = self._clock.monotonic_ms()
        for service in list(self.all):
            if service.zombie_until_ms is not None and (at_once or service.zombie_until_ms <= now_ms):
                service.system.crash()
                if service.shard.count == len(self.leaders) and self._scenario.services > 1:
                    self.all[self.all.index(service)] = self._stand_by(service.shard)
                else:
                    self.all.remove(service)

    def wrote(self) -> None:
        """Something may have written events."""
        for delivery in self.deliveries:
            delivery.may_have_news = True

    def heal(self) -> None:
        """No more faults from now on."""
        self._is_healing = True
        self.retire(at_once=True)
        for service in self.all:
            service.delivery.is_healing = service.system.runs.is_healing = True

    def _new_intake(self) -> Delivery:
        intake = Delivery(
            self._scenario,
            self._client,
            self._prefix,
            self._rng,
            self._clock,
            self._oracle,
            lambda _news: None,
            lambda: None,
        )
        intake.is_heard = True
        return intake

    def _lead_from_start(self, delivery: Delivery | None, outage_ms: int, shard: Shard) -> Service:
        service = self._begin(delivery, outage_ms, leads=True, shard=shard)
        if service.term is not None:
            self._take_term(service)
        if delivery is None and self._shards is not None:
            service.delivery.begin_here()
        if self._shards is None:
            self._oracle.trace = service.trace
        service.delivery.is_heard = True
        return service

    def _stand_by(self, shard: Shard) -> Service:
        service = self._begin(None, 0, leads=False, shard=shard)
        service.delivery.begin_here()
        return service

    def _begin(self, delivery: Delivery | None, outage_ms: int, *, leads: bool, shard: Shard = WHOLE) -> Service:
        is_alone = self._scenario.services == 1 and self._shards is None
        self._names += 1
        has_own_trace = self._scenario.services > 1
        trace = self._oracle.trace.another(f"s{self._names}") if has_own_trace else self._oracle.trace
        term = None if is_alone else Term(shard=shard)
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
            shards=self._shards,
        )

        def tell(news: object) -> None:
            if isinstance(news, AssetExpired):
                system.gateway.expired(news.asset_id, news.partition_key)
            system.around.to_registry(news)

        if delivery is None:
            delivery = Delivery(
                self._scenario,
                self._client,
                self._prefix,
                self._rng,
                self._clock,
                self._oracle,
                tell,
                system.open,
                stream="events" if shard.is_whole else f"shard:{shard.index}:events",
            )
        else:
            delivery.tell_to(tell, system.open)
        system.runs.is_healing = delivery.is_healing = self._is_healing
        return Service(system, delivery, trace, term, shard)

    def _take_term(self, service: Service) -> None:
        assert service.term is not None
        shard = service.term.shard
        _, service.term.number, _ = Scripts(self._client, Keys(self._prefix)).call(
            "lease_acquire", id=str(self._names), leaseMs=1_000, sole=True, shard=shard_argument(shard)
        )
        if self._shards is None:
            self._oracle.led_by(service.term, service.trace)
        else:
            # Of an asset only the leader of its shard decides, so all of them may write into one.
            if service.trace is not self._oracle.trace:
                service.trace.join(self._oracle.trace)
            self._oracle.led_by(service.term, self._oracle.trace)

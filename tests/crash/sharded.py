"""Several shards under load and faults, and divided anew meanwhile: `python -m tests.crash --shards 2`.

Each shard is led by a process of its own, with another that stands by. Graph, load, job and checks are those of the
campaign with one shard.
"""

from __future__ import annotations

import random
import shutil
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from actors.catalog.connection import connect
from actors.catalog.redis_store import RedisStore
from actors.core.shards import Shard
from actors.settings import load_settings
from tests.crash.emitter import Emitter
from tests.crash.faults import Fault, strike
from tests.crash.graph import definitions
from tests.crash.house import BUDGET, JOBS, SETTINGS
from tests.crash.line import Line
from tests.crash.oracle import Oracle
from tests.crash.processes import Process, Started
from tests.crash.replay import Broken
from tests.crash.server import DurableServer
from tests.integration.service.driver import Service, eventually
from tests.integration.service.peers import living_pids
from tests.integration.service.shards import ShardProcess

__all__ = ["ShardedCampaign", "ShardedHouse", "ShardedReport", "opened"]

_REST_SECONDS: Final = 60.0
_LOOK_SECONDS: Final = 0.1
_ROUNDS_PER_HOUSE: Final = 5
_STRIKES: Final = (
    Fault.KILL_LEADER,
    Fault.KILL_STANDBY,
    Fault.HANG_LEADER,
    Fault.CUT_LEADER,
    Fault.HOLD_LEADER,
    Fault.RESET_LEADER,
    Fault.RESTART_LEADER,
)
_DIVIDE: Final = "another count of shards"
_KILL_SERVER: Final = str(Fault.KILL_SERVER)


class ShardedHouse:
    """A server, the processes of every shard, and a line from each of them to the server."""

    def __init__(self, folder: Path, *, has_standbys: bool) -> None:
        folder.mkdir(parents=True)
        self.server = DurableServer(folder / "server")
        self.service = Service(folder, redis_url=self.server.url)
        """Never started: it has the folders, the settings and the catalog."""
        self.service.configure(**SETTINGS)
        shutil.copytree(JOBS, self.service.jobs_dir, dirs_exist_ok=True)
        self.service.write(*definitions())
        self.processes: list[Process] = []
        self.count = 0
        self._has_standbys = has_standbys
        self._lines: list[Line] = []
        self._ends = ExitStack()
        self._divided = 0

    def open(self, count: int) -> None:
        self.server.start()
        self.begin(count)
        self.wait_led()

    def begin(self, count: int) -> list[Process]:
        """Start the processes of a division; they wait for the end of the former one. Those of that are left."""
        former, self.processes, self.count = self.processes, [], count
        self._divided += 1
        for index in range(count):
            for role in ("first", "second") if self._has_standbys else ("only",):
                shard, name = Shard(index, count), f"{self._divided}-shard-{index}-of-{count}-{role}"
                self._lines.append(Line(self.server.socket_path))
                self.processes.append(Process(name, self._lines[-1], self._beginner(shard)))
        return former

    def divide(self, count: int) -> list[str]:
        """Start services of another count, and stop the former ones; what ended otherwise than it should have."""
        former = self.begin(count)
        self._wait_living()
        for each in former:
            each.let_go_on()
            if each.is_alive:
                each.terminate()
        wrong = [why for each in former if (why := each.why_ended_wrongly()) is not None]
        self.wait_led()
        return wrong

    def heal(self) -> list[str]:
        """Bring everything back. What ended otherwise than it should have."""
        if not self.server.is_up:
            self.server.start()
        for each in self.processes:
            each.let_go_on()
        wrong = [why for each in self.processes if (why := each.why_ended_wrongly()) is not None]
        for each in self.processes:
            each.begin_again()
        self._wait_living()
        self.wait_led()
        return wrong

    def wait_led(self) -> None:
        def is_led() -> bool:
            services = self.service.catalog.control.services()
            return services.shards == self.count and services.is_led

        eventually(is_led, f"all of {self.count} shard(s) are led")

    def leader(self, index: int) -> Process | None:
        """Who leads a shard by the lease's record; None if nobody does."""
        client, keys = self.service.catalog.client, self.service.keys
        holder: Any = client.hget(keys.lease_of(Shard(index, self.count)), "id")
        pids = {each.service_id: each.about["pid"] for each in self.service.catalog.control.services().living}
        return next((each for each in self.processes if each.is_able and each.pid == pids.get(holder)), None)

    def standby(self, index: int) -> Process | None:
        leader = self.leader(index)
        ours = f"shard-{index}-of-"
        return next(
            (each for each in self.processes if each.is_able and each is not leader and ours in each.name), None
        )

    def log_of(self, process: Process) -> str:
        return (self.service.folder / f"{process.name}.log").read_text()

    def close(self) -> None:
        for each in self.processes:
            if each.is_alive:
                each.kill()
        self._ends.close()
        for line in self._lines:
            line.close()
        self.service.leave_catalog()
        self.server.end()

    def emitter(self, chance: random.Random) -> Emitter:
        settings = load_settings([self.service.config_file], environ={})
        client = connect(self.server.url, socket_timeout_seconds=2.0)
        self._ends.callback(client.close)
        store = RedisStore(client, prefix=settings.redis.prefix, streams=settings.streams, history=settings.history)
        return Emitter(store, chance, "e")

    def broken_at_rest(self, emitter: Emitter, oracle: Oracle) -> list[Broken]:
        """Wait for rest, and check; what is not at rest after the deadline is broken too."""
        deadline = time.monotonic() + _REST_SECONDS
        while (why := oracle.why_not_at_rest()) is not None:
            if time.monotonic() > deadline:
                return [Broken("lost", f"after {_REST_SECONDS:g} s it is not at rest: {why}")]
            time.sleep(_LOOK_SECONDS)
        # What the services still meant to do shows itself before their actors have answered.
        self.service.wait_idle()
        return oracle.check(emitter.told)

    def oracle(self) -> Oracle:
        catalog = self.service.catalog
        return Oracle(catalog.client, catalog.store, self.service.keys, budget=BUDGET)

    def _beginner(self, shard: Shard) -> Callable[[str, Line], Started]:
        return lambda name, line: ShardProcess(self.service, shard, name=name, url=line.url)

    def _wait_living(self) -> None:
        pids = {each.pid for each in self.processes}
        eventually(lambda: pids <= living_pids(self.service), "the services of all shards live")


@contextmanager
def opened(folder: Path, count: int, *, has_standbys: bool) -> Iterator[ShardedHouse]:
    house = ShardedHouse(folder, has_standbys=has_standbys)
    try:
        house.open(count)
        yield house
    finally:
        house.close()


@dataclass(slots=True)
class ShardedReport:
    """What was done and seen; `folder` is there if something is broken."""

    seed: int
    rounds: int = 0
    faults: Counter[str] = field(default_factory=Counter)
    emitted: int = 0
    runs: int = 0
    broken: list[Broken] = field(default_factory=list)
    folder: Path | None = None

    def as_json(self) -> dict[str, object]:
        return {
            "seed": self.seed,
            "rounds": self.rounds,
            "faults": dict(sorted(self.faults.items())),
            "emitted": self.emitted,
            "runs": self.runs,
            "broken": [f"{each.kind}: {each.text}" for each in self.broken],
            "folder": self.folder and str(self.folder),
        }


class ShardedCampaign:
    """Rounds of load with one or two faults each. `shards` is the count at first; it goes up and down by one."""

    def __init__(
        self, folder: Path, *, shards: int, rounds: int, seed: int, per_second: float, tell: Callable[[str], None]
    ) -> None:
        self._folder = folder
        self._shards = shards
        self._rounds = rounds
        self._per_second = per_second
        self._tell = tell
        self.report = ShardedReport(seed)

    def run(self) -> ShardedReport:
        report = self.report
        while report.rounds < self._rounds and not report.broken:
            chance = random.Random(f"{report.seed}/{report.rounds}")
            folder = self._folder / f"rounds-{report.rounds + 1}"
            with opened(folder, self._shards, has_standbys=True) as house:
                emitter, oracle = house.emitter(chance), house.oracle()
                emitter.emit_each()
                for _ in range(min(_ROUNDS_PER_HOUSE, self._rounds - report.rounds)):
                    report.broken = self._play(house, emitter, oracle, chance)
                    if report.broken:
                        break
                report.emitted += len(emitter.told)
                report.runs += len(oracle.replay.runs)
        if report.broken:
            report.folder = self._folder
        else:
            shutil.rmtree(self._folder)
        return report

    def _play(self, house: ShardedHouse, emitter: Emitter, oracle: Oracle, chance: random.Random) -> list[Broken]:
        names = chance.sample([*map(str, _STRIKES), _KILL_SERVER, _DIVIDE, _DIVIDE], chance.choice((1, 2)))
        wrong: list[str] = []
        began = time.monotonic()
        emitter.start(per_second=self._per_second)
        try:
            for name in names:
                time.sleep(chance.uniform(0.2, 1.5))
                wrong += self._inject(name, house, chance)
            time.sleep(chance.uniform(0.2, 2.5))
            wrong += house.heal()
            emitter.stop()
            broken = [Broken("inconsistent", why) for why in wrong] + house.broken_at_rest(emitter, oracle)
        except AssertionError as error:  # of the driver: something did not come to be in time
            broken = [Broken("inconsistent", str(error))]
        self.report.rounds += 1
        self.report.faults.update(names)
        self._tell(
            f"round {self.report.rounds}/{self._rounds}: {' + '.join(names)}; {house.count} shard(s), "
            f"{time.monotonic() - began:.1f} s, {f'{len(broken)} BROKEN' if broken else 'all is well'}"
        )
        return broken

    def _inject(self, name: str, house: ShardedHouse, chance: random.Random) -> list[str]:
        match name:
            case _ if name == _DIVIDE:
                counts = {house.count - 1, house.count + 1} & set(range(1, self._shards + 2))
                return house.divide(chance.choice(sorted(counts)))
            case _ if name == _KILL_SERVER:
                house.server.kill()
                time.sleep(chance.uniform(0, 1))
                house.server.start()
            case _:
                fault, index = Fault(name), chance.randrange(house.count)
                struck = house.standby(index) if fault is Fault.KILL_STANDBY else house.leader(index)
                if struck is not None:
                    strike(fault, struck)
        return []

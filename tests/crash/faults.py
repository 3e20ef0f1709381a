"""The faults, and how each is done to the house. What lasts is ended by `House.heal`."""

from __future__ import annotations

import contextlib
import os
import random
import signal
import time
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from redis.exceptions import RedisError

from actors.catalog.connection import without_retry
from actors.catalog.store import CatalogUnavailable
from tests.crash.house import House, Process
from tests.crash.lease_watch import LeaseWatch
from tests.integration.service.driver import now_ms

__all__ = ["Fault", "Injected", "draw", "inject"]

_LONGEST_DOWN_SECONDS: Final = 1.0


class Fault(StrEnum):
    KILL_LEADER = "kill -9 of the leader"
    KILL_STANDBY = "kill -9 of the standby"
    KILL_WORKER = "kill -9 of a worker process"
    KILL_SERVER = "kill -9 of the server"
    HANG_LEADER = "the leader hangs past its lease"
    CUT_LEADER = "the leader's line swallows all"
    RESET_LEADER = "the leader's connections are reset"
    FLUSH_SCRIPTS = "the server forgets its scripts"
    RESTART_LEADER = "clean restart of the leader"
    RESTART_STANDBY = "clean restart of the standby"

    @property
    def takes_the_lead(self) -> bool:
        """Whether the leader dies or falls silent by it, so that the standby has to find out."""
        return self in (Fault.KILL_LEADER, Fault.HANG_LEADER, Fault.CUT_LEADER)


_OF_THE_ONE_LEFT: Final = {Fault.KILL_LEADER: Fault.KILL_STANDBY, Fault.RESTART_LEADER: Fault.RESTART_STANDBY}


@dataclass(frozen=True, slots=True)
class Injected:
    """A fault that was done. `term` was the lead's then; `has_standby`: another service was able to take the lead."""

    fault: Fault
    at_ms: int
    term: int
    has_standby: bool


def draw(chance: random.Random) -> list[Fault]:
    """One or two faults of different kinds."""
    return chance.sample(list(Fault), chance.choice((1, 1, 2)))


def inject(fault: Fault, house: House, watch: LeaseWatch, chance: random.Random) -> Injected | None:
    """Do it now; None if there is nobody to do it to.

    What is meant for the leader strikes the one that is left when nobody leads: then it is told as what it was.
    """
    leader = _leader(house)
    left = [each for each in house.processes if each.is_able and each is not leader]
    if leader is None and fault in _OF_THE_ONE_LEFT:
        fault = _OF_THE_ONE_LEFT[fault]
    injected = Injected(fault, now_ms(), watch.term, has_standby=bool(left) and house.server.is_up)
    match fault:
        case Fault.KILL_SERVER:
            house.server.kill()
            time.sleep(chance.uniform(0, _LONGEST_DOWN_SECONDS))
            house.server.start()
            is_done = True
        case Fault.FLUSH_SCRIPTS:
            is_done = _flush_scripts(house)
        case Fault.KILL_STANDBY | Fault.RESTART_STANDBY:
            is_done = bool(left) and _strike(fault, left[0], chance)
        case _:
            is_done = leader is not None and _strike(fault, leader, chance)
    return injected if is_done else None


def _leader(house: House) -> Process | None:
    """Who leads and is able to; None if nobody is."""
    with contextlib.suppress(CatalogUnavailable):
        leader = house.leader()
        return leader if leader is not None and leader.is_able else None
    return None


def _strike(fault: Fault, process: Process, chance: random.Random) -> bool:
    match fault:
        case Fault.KILL_LEADER | Fault.KILL_STANDBY:
            process.kill()
        case Fault.RESTART_LEADER | Fault.RESTART_STANDBY:
            process.terminate()
        case Fault.HANG_LEADER:
            process.hang()
        case Fault.CUT_LEADER:
            process.line.cut()
        case Fault.RESET_LEADER:
            process.line.reset()
        case Fault.KILL_WORKER:
            return _kill_worker(process, chance)
    return True


def _kill_worker(process: Process, chance: random.Random) -> bool:
    workers = process.workers()
    if not workers:
        return False
    with contextlib.suppress(ProcessLookupError):  # it has just been replaced
        os.kill(chance.choice(workers), signal.SIGKILL)
    return True


def _flush_scripts(house: House) -> bool:
    client = without_retry(house.service.catalog.client)
    with contextlib.closing(client):
        try:
            client.script_flush()
        except RedisError:
            return False
    return True

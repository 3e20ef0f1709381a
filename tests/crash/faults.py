"""The faults, and how each is done to the house. What lasts is ended by `House.heal`."""

from __future__ import annotations

import contextlib
import os
import random
import signal
import time
from collections.abc import Container
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from redis.exceptions import RedisError

from actors.catalog.connection import without_retry
from actors.catalog.store import CatalogUnavailable
from tests.crash.house import House, Launcher
from tests.crash.lease_watch import LeaseWatch
from tests.crash.processes import Process
from tests.integration.service.driver import now_ms

__all__ = ["Fault", "Injected", "draw", "inject", "strike"]

_LONGEST_DOWN_SECONDS: Final = 1.0
_LONGEST_STALL_SECONDS: Final = 1.0
_LONGEST_HANG_SECONDS: Final = 3.0
"""Longer than a lease, and than a client waits for an answer."""


class Fault(StrEnum):
    KILL_LEADER = "kill -9 of the leader"
    KILL_STANDBY = "kill -9 of the standby"
    KILL_JOB_PROCESS = "kill -9 of a process that executes jobs"
    KILL_SERVER = "kill -9 of the server"
    HANG_SERVER = "the server hangs"
    HANG_LEADER = "the leader hangs past its lease"
    CUT_LEADER = "the leader's line swallows all"
    HOLD_LEADER = "the leader's line delivers late"
    RESET_LEADER = "the leader's connections are reset"
    HOLD_PRODUCER = "the producer's line delivers late"
    FLUSH_SCRIPTS = "the server forgets its scripts"
    RESTART_LEADER = "clean restart of the leader"
    RESTART_STANDBY = "clean restart of the standby"
    KILL_CELERY = "kill -9 of a Celery worker"
    HANG_CELERY = "a Celery worker hangs past its runs' leases"
    CUT_CELERY = "a Celery worker's line swallows all"
    RESTART_CELERY = "clean restart of a Celery worker"

    @property
    def silences_worker(self) -> bool:
        """Whether a Celery worker lives on without being heard."""
        return self in (Fault.HANG_CELERY, Fault.CUT_CELERY)

    @property
    def takes_the_lead(self) -> bool:
        """Whether the leader dies or falls silent by it, so that the standby has to find out."""
        return self in (Fault.KILL_LEADER, Fault.HANG_LEADER, Fault.CUT_LEADER, Fault.HOLD_LEADER)


_OF_CELERY: Final = (Fault.KILL_CELERY, Fault.HANG_CELERY, Fault.CUT_CELERY, Fault.RESTART_CELERY)
_OF_THE_ONE_LEFT: Final = {Fault.KILL_LEADER: Fault.KILL_STANDBY, Fault.RESTART_LEADER: Fault.RESTART_STANDBY}


@dataclass(frozen=True, slots=True)
class Injected:
    """A fault that was done. `term` was the lead's then; `has_standby`: another service was able to take the lead."""

    fault: Fault
    at_ms: int
    term: int
    has_standby: bool


def draw(chance: random.Random, launcher: Launcher, without: Container[Fault] = ()) -> list[Fault]:
    """One or two faults of different kinds."""
    kinds = [fault for fault in Fault if fault not in without and (launcher == "celery" or fault not in _OF_CELERY)]
    return chance.sample(kinds, chance.choice((1, 1, 2)))


def inject(fault: Fault, house: House, watch: LeaseWatch, chance: random.Random) -> Injected | None:
    """Do it now; None if there is nobody to do it to.

    What is meant for the leader strikes the one that is left when nobody leads: then it is told as what it was.
    """
    leader = _leader(house)
    left = [each for each in house.services if each.is_able and each is not leader]
    if leader is None and fault in _OF_THE_ONE_LEFT:
        fault = _OF_THE_ONE_LEFT[fault]
    injected = Injected(fault, now_ms(), watch.term, has_standby=bool(left) and house.server.is_up)
    match fault:
        case Fault.KILL_SERVER:
            house.server.kill()
            time.sleep(chance.uniform(0, _LONGEST_DOWN_SECONDS))
            house.server.start()
            is_done = True
        case Fault.HOLD_PRODUCER:
            house.producer_line.hold()
            time.sleep(chance.uniform(0, _LONGEST_STALL_SECONDS))
            house.producer_line.mend()
            is_done = True
        case Fault.HANG_SERVER:
            house.server.hang(chance.uniform(0.2, _LONGEST_HANG_SECONDS))
            is_done = True
        case Fault.FLUSH_SCRIPTS:
            is_done = _flush_scripts(house)
        case Fault.KILL_STANDBY | Fault.RESTART_STANDBY:
            is_done = bool(left) and strike(fault, left[0])
        case Fault.KILL_CELERY | Fault.HANG_CELERY | Fault.CUT_CELERY | Fault.RESTART_CELERY:
            workers = [each for each in house.workers if each.is_able]
            is_done = bool(workers) and strike(fault, chance.choice(workers))
        case Fault.KILL_JOB_PROCESS:
            executing = [each for each in house.workers or house.services if each.is_able]
            is_done = any(_kill_job_process(each, chance) for each in chance.sample(executing, len(executing)))
        case _:
            is_done = leader is not None and strike(fault, leader)
    return injected if is_done else None


def _leader(house: House) -> Process | None:
    """Who leads and is able to; None if nobody is."""
    with contextlib.suppress(CatalogUnavailable):
        leader = house.leader()
        return leader if leader is not None and leader.is_able else None
    return None


def strike(fault: Fault, process: Process) -> bool:
    match fault:
        case Fault.KILL_LEADER | Fault.KILL_STANDBY | Fault.KILL_CELERY:
            process.kill()
        case Fault.RESTART_LEADER | Fault.RESTART_STANDBY | Fault.RESTART_CELERY:
            process.terminate()
        case Fault.HANG_LEADER | Fault.HANG_CELERY:
            process.hang()
        case Fault.CUT_LEADER | Fault.CUT_CELERY:
            process.line.cut()
        case Fault.HOLD_LEADER:
            process.line.hold()
        case Fault.RESET_LEADER:
            process.line.reset()
        case _:
            raise AssertionError(f"{fault} is not done to one process")
    return True


def _kill_job_process(process: Process, chance: random.Random) -> bool:
    pids = process.job_processes()
    if not pids:
        return False
    with contextlib.suppress(ProcessLookupError):  # it has just been replaced
        os.kill(chance.choice(pids), signal.SIGKILL)
    return True


def _flush_scripts(house: House) -> bool:
    client = without_retry(house.service.catalog.client)
    with contextlib.closing(client):
        try:
            client.script_flush()
        except RedisError:
            return False
    return True

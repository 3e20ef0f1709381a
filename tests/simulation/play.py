"""Plays a scenario, and makes a failing one smaller."""

from __future__ import annotations

import logging
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from tests.simulation.generator import GENERATION, make_scenario
from tests.simulation.laws import LawBroken
from tests.simulation.scenario import Scenario
from tests.simulation.server import shared_client
from tests.simulation.world import World

__all__ = ["Failure", "play", "shrink"]


@contextmanager
def _poison_unreported() -> Iterator[None]:
    """Poisoned actors are part of the play; pykka reports each."""
    pykka = logging.getLogger("pykka")
    before = pykka.level
    pykka.setLevel(logging.CRITICAL)
    try:
        yield
    finally:
        pykka.setLevel(before)


@dataclass(frozen=True, slots=True)
class Failure:
    scenario: Scenario
    error: str
    trace: tuple[str, ...]


def play(seed: int, generation: int = GENERATION) -> Failure | None:
    """Play one seed; what broke, or None."""
    return play_scenario(make_scenario(seed, generation))


def play_scenario(scenario: Scenario) -> Failure | None:
    client = shared_client()
    prefix = f"sim-{uuid.uuid4().hex}"
    world = World(scenario, client, prefix)
    try:
        with _poison_unreported():
            world.run()
    except (Exception, LawBroken) as error:
        return Failure(scenario, f"{type(error).__name__}: {error}", tuple(world.trace.lines))
    finally:
        for service in world.services.all:
            service.system.dispatcher.kill()
        client.flushdb()
    return None


def shrink(failure: Failure) -> Failure:
    """Leave out actions, one at a time, as long as the same law breaks."""
    law = failure.error[:20]
    smallest = failure
    index = 0
    while index < len(smallest.scenario.actions):
        shorter = play_scenario(smallest.scenario.without(index))
        if shorter is not None and shorter.error[:20] == law:
            smallest = shorter
        else:
            index += 1
    return smallest

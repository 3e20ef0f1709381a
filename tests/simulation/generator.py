"""From a seed to a scenario. What seeds of former generations mean is frozen; new things belong into the newest.

To play something new: give `Asset` (or `Scenario`) a field, draw it in a new generation, and say its law in the oracle.
Count `GENERATION` up: a draw more, and every seed of the generation before means another thing.
"""

from __future__ import annotations

from tests.simulation.generator_first import first_scenario
from tests.simulation.generator_fourth import fourth_scenario
from tests.simulation.generator_second import second_scenario
from tests.simulation.generator_third import third_scenario
from tests.simulation.scenario import Scenario

__all__ = ["GENERATION", "make_scenario"]

GENERATION = 4


def make_scenario(seed: int, generation: int = GENERATION) -> Scenario:
    """Every fourth seed is calm. A former `generation` brings back what a seed meant then."""
    match generation:
        case 1:
            return first_scenario(seed)
        case 2:
            return second_scenario(seed)
        case 3:
            return third_scenario(seed)
        case _:
            return fourth_scenario(seed)

"""The fourth generation: what the third plays, by the services of several shards.

Each shard reads a stream of its own, in order: news come twice after a crash, but never in another order. A shard
begins anew while the others go on, and the catalog is divided anew. Debounces are left to the other generations: when
which shard heard of an update is not known to the oracle.
"""

from __future__ import annotations

from dataclasses import replace
from random import Random

from tests.simulation.generator_third import third_scenario
from tests.simulation.scenario import Action, Scenario, Workflow

__all__ = ["fourth_scenario"]


def fourth_scenario(seed: int) -> Scenario:
    rng = Random(f"fourth {seed}")
    former = third_scenario(seed)
    scenario = replace(
        former,
        workflows=tuple(map(_without_debounces, former.workflows)),
        duplicate_rate=0.0,
        reorder_rate=0.0,
        late_rate=0.0,
        shards=rng.choice((2, 2, 3)),
        generation=4,
    )
    return scenario if scenario.is_calm else _with_changes(rng, scenario)


def _without_debounces(workflow: Workflow) -> Workflow:
    assets = tuple(replace(asset, debounce_ms=None, max_delay_ms=None) for asset in workflow.assets)
    return replace(workflow, assets=assets)


def _with_changes(rng: Random, scenario: Scenario) -> Scenario:
    """Now and then one shard begins anew, or all of them as others."""
    actions = list(scenario.actions)
    for _ in range(rng.choice((0, 1, 2, 4))):
        kind = rng.choice(("crash_shard", "crash_shard", "divide"))
        action = Action(kind, (rng.choice((2, 3, 4)) if kind == "divide" else rng.randrange(3),))
        actions.insert(rng.randrange(0, len(actions) + 1), action)
    return replace(scenario, actions=tuple(actions))

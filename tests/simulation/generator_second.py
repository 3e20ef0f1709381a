"""The second generation of scenarios: policies, faults of runs, of the stream and of the clock.

Frozen, as are `generator_policies.py` and `generator_first.py`: a draw more, and every seed means another thing.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from random import Random

from tests.simulation.generator_policies import POLICIES, alteration, with_policies
from tests.simulation.malformed import MALFORMED
from tests.simulation.scenario import DYNAMIC_KEYS, STATIC_KEYS, Action, Asset, Scenario, Workflow

__all__ = ["second_scenario", "size_and_shape", "upstreams_of", "wild_action", "with_faults"]

MINUTES = tuple(f"2026-01-01T00:{minute:02d}" for minute in range(4))
_KINDS = ("none", "none", "static", "dynamic", "minute", "hour", "day")


def second_scenario(seed: int) -> Scenario:
    """Every fourth seed is calm."""
    rng = Random(seed)
    is_calm = seed % 4 == 0
    workflows = _calm_graph(rng) if is_calm else _wild_graph(rng)
    actions = [
        _calm_action(rng, workflows) if is_calm else wild_action(rng, workflows) for _ in range(rng.randint(3, 14))
    ]
    slugs = [workflow.slug for workflow in workflows]
    scenario = Scenario(
        seed=seed,
        workflows=workflows,
        actions=tuple(actions),
        max_runs=rng.choice((1, 2, 8)),
        workflow_limits={rng.choice(slugs): 1} if rng.random() < 0.3 else {},
        pool_limits={"narrow": 1} if rng.random() < 0.5 else {},
        slow_rate=rng.choice((0.0, 0.0, 0.3, 0.8)),
        generation=2,
    )
    return scenario if is_calm else with_faults(rng, scenario)


def with_faults(rng: Random, scenario: Scenario) -> Scenario:
    return replace(
        scenario,
        failure_rate=rng.choice((0.0, 0.2, 0.5)),
        vanish_rate=rng.choice((0.0, 0.1)),
        same_data_rate=rng.choice((0.0, 0.3)),
        duplicate_rate=rng.choice((0.0, 0.2)),
        reorder_rate=rng.choice((0.0, 0.2)),
        late_rate=rng.choice((0.0, 0.0, 0.15)),
        retell_rate=rng.choice((0.0, 0.2)),
        vanish_ms=rng.choice((0, 5_000, 60_000)),
    )


# -- graphs ----------------------------------------------------------------------------------------------------------


def _calm_graph(rng: Random) -> tuple[Workflow, ...]:
    """One update makes everything below it exactly once: two assets of one workflow have the same upstreams here."""
    kinds = rng.choice((("none",), ("none",), ("static",), ("none", "static")))
    is_debounced = rng.random() < 0.2
    workflows: list[Workflow] = []
    made: list[Asset] = []
    size, shape = size_and_shape(rng)
    while len(made) < size:
        number = len(workflows)
        upstreams = upstreams_of(rng, made, shape)
        # A workflow that makes two assets of different keys would have runs that make only one of them.
        kind = rng.choice(kinds)
        pool, priority = rng.choice((None, None, "narrow")), rng.choice((10, 100))
        debounce_ms = rng.choice((None, 3_000)) if is_debounced else None
        assets = tuple(
            Asset(
                asset_id=f"a{number}{part}",
                upstreams=upstreams,
                kind=kind,
                follows=bool(upstreams),
                has_policy=True,
                priority=priority,
                pool=pool,
                debounce_ms=debounce_ms,
            )
            for part in ("xy" if made and rng.random() < 0.15 else "x")
        )
        workflows.append(Workflow(f"w{number}", assets))
        made += assets
    return tuple(workflows)


def _wild_graph(rng: Random) -> tuple[Workflow, ...]:
    """A random DAG with a few of the policies; some with partitions, some workflows that make two assets."""
    in_play = rng.sample(POLICIES, rng.choice((0, 1, 2, 3)))
    kinds: tuple[str, ...] = _KINDS if rng.random() < 0.5 else ("none",)
    if "lookback" in in_play:
        kinds = ("none", "minute", "minute", "hour", "day")
    workflows: list[Workflow] = []
    made: list[Asset] = []
    size, shape = size_and_shape(rng)
    while len(made) < size:
        number = len(workflows)
        width = 2 if made and rng.random() < 0.2 else 1
        assets = []
        for part in range(width):
            above = upstreams_of(rng, made, shape)
            asset = _asset(rng, f"a{number}{'xy'[part]}", [a for a in made if a.asset_id in above], kinds)
            assets.append(with_policies(rng, asset, in_play))
        workflows.append(Workflow(f"w{number}", tuple(assets)))
        made += assets
    return tuple(workflows)


def size_and_shape(rng: Random) -> tuple[int, str]:
    if rng.random() < 0.85:
        return rng.randint(2, 7), "any"
    return rng.randint(8, 15), rng.choice(("any", "deep", "wide"))


def upstreams_of(rng: Random, made: Sequence[Asset], shape: str) -> tuple[str, ...]:
    if not made:
        return ()
    match shape:
        case "deep":
            near, count = made[-3:], rng.choice((1, 1, 2))
        case "wide":
            # Many below the first two, and now and then one that joins many.
            near, count = (made, 5) if rng.random() < 0.2 else (made[:2], 1)
        case _:
            near, count = made, rng.choice((0, 1, 1, 2, 3))
    return tuple(sorted(a.asset_id for a in rng.sample(near, min(len(near), count))))


def _asset(rng: Random, asset_id: str, above: Sequence[Asset], kinds: tuple[str, ...]) -> Asset:
    kind = _without_floods(rng, rng.choice(kinds), {a.kind for a in above})
    return Asset(
        asset_id=asset_id,
        upstreams=tuple(a.asset_id for a in above),
        kind=kind,
        follows=bool(above) and rng.random() < 0.85,
        has_policy=rng.random() < 0.9,
        ttl_ms=rng.choice((None, None, None, 40_000, 90_000)),
        priority=rng.choice((10, 100)),
        when="any" if rng.random() < 0.8 else "all",
        pool=rng.choice((None, None, "narrow")),
    )


def _without_floods(rng: Random, kind: str, above: set[str]) -> str:
    """An hour has sixty minutes, each a run; such an edge is played now and then."""
    if kind == "minute" and "day" in above:
        return "day"
    if kind == "hour" and "day" in above and rng.random() < 0.8:
        return "day"
    if kind == "minute" and "hour" in above and rng.random() < 0.8:
        return "hour"
    return kind


# -- what happens ----------------------------------------------------------------------------------------------------

_WILD = (
    *("emit",) * 9,
    *("wait",) * 4,
    *("crash",) * 2,
    *("poison_asset", "poison_registry", "poison_enqueuer"),
    *("malformed", "expire", "expire", "trigger", "cancel", "resume", "late", "twice"),
    *("change", "remove", "alter", "alter", "alter"),
    *("jump", "step"),
    *("pause", "pause", "unpause"),
)


def _calm_action(rng: Random, workflows: tuple[Workflow, ...]) -> Action:
    chosen = rng.choice([a for w in workflows for a in w.assets if not a.upstreams])
    key = _key_for(rng, chosen.kind)
    if rng.random() < 0.75:
        return Action("emit", (chosen.asset_id, key))
    return Action("hold", (chosen.asset_id, key, rng.choice((None, 5_000))))


def wild_action(rng: Random, workflows: tuple[Workflow, ...]) -> Action:
    workflow = rng.choice(workflows)
    asset = rng.choice(workflow.assets)
    key = _key_for(rng, asset.kind)
    match rng.choice(_WILD):
        case "emit":
            chosen = asset
            if rng.random() < 0.8:
                chosen = rng.choice([a for w in workflows for a in w.assets if not a.upstreams])
            own_ttl_ms = 30_000 if rng.random() < 0.05 else None
            return Action("emit", (chosen.asset_id, _key_for(rng, chosen.kind), own_ttl_ms))
        case "pause" | "unpause" as kind:
            scope = rng.choice(("all", f"workflow:{workflow.slug}", f"asset:{asset.asset_id}"))
            return Action(kind, (scope, rng.choice((None, 1_000, 30_000))) if kind == "pause" else (scope,))
        case "wait":
            return Action("wait", (rng.choice((100, 2_000, 15_000)),))
        case "jump":
            return Action("wait", (rng.choice((60_000, 200_000)),))
        case "step":
            return Action("step", (rng.choice((-180_000, -20_000, -1_500, 2_500, 45_000, 240_000)),))
        case "alter":
            return Action("alter", (asset.asset_id, *alteration(rng, asset, workflows)))
        case "malformed":
            return Action("malformed", (rng.choice(sorted(MALFORMED)),))
        case "late" | "twice" | "expire" as kind:
            return Action(kind, (asset.asset_id, key))
        case "trigger":
            return Action("trigger", (workflow.slug, key))
        case "change" | "remove" as kind:
            return Action(kind, (workflow.slug,))
        case "resume" | "poison_asset" as kind:
            return Action(kind, (asset.asset_id,))
        case kind:
            return Action(kind)


def _key_for(rng: Random, kind: str) -> str | None:
    match kind:
        case "static":
            return rng.choice(STATIC_KEYS)
        case "dynamic":
            return rng.choice(DYNAMIC_KEYS)
        case "minute":
            return rng.choice(MINUTES)
        case "hour":
            return "2026-01-01T00"
        case "day":
            return rng.choice(("2025-12-31", "2026-01-01", "2026-01-01"))
        case _:
            return None

"""The first generation of scenarios: no policies but when, ttl, pool, priority; few faults.

Frozen, so that the seeds that once broke a law mean what they meant. New things belong into `generator.py`.
"""

from __future__ import annotations

from random import Random

from tests.simulation.scenario import STATIC_KEYS, Action, Asset, Scenario, Workflow

__all__ = ["first_scenario"]

MINUTES = tuple(f"2026-01-01T00:{minute:02d}" for minute in range(3))


def first_scenario(seed: int) -> Scenario:
    """Every fourth seed is calm."""
    rng = Random(seed)
    is_calm = seed % 4 == 0
    workflows = _graph(rng, is_calm=is_calm)
    actions = [_action(rng, workflows, is_calm=is_calm) for _ in range(rng.randint(3, 14))]
    slugs = [workflow.slug for workflow in workflows]
    return Scenario(
        seed=seed,
        workflows=workflows,
        actions=tuple(actions),
        max_runs=rng.choice((1, 2, 8)),
        workflow_limits={rng.choice(slugs): 1} if rng.random() < 0.3 else {},
        pool_limits={"narrow": 1} if rng.random() < 0.5 else {},
        failure_rate=0.0 if is_calm else rng.choice((0.0, 0.2, 0.5)),
        vanish_rate=0.0 if is_calm else rng.choice((0.0, 0.1)),
        same_data_rate=0.0 if is_calm else rng.choice((0.0, 0.3)),
        duplicate_rate=0.0 if is_calm else rng.choice((0.0, 0.2)),
        reorder_rate=0.0 if is_calm else rng.choice((0.0, 0.2)),
    )


def _graph(rng: Random, *, is_calm: bool) -> tuple[Workflow, ...]:
    """A random DAG: chains, fans and diamonds; some with partitions, some workflows that make two assets."""
    partitioned = not is_calm and rng.random() < 0.5
    workflows: list[Workflow] = []
    made: list[Asset] = []
    for number in range(rng.randint(2, 7)):
        width = 2 if made and not is_calm and rng.random() < 0.2 else 1
        assets = []
        for part in range(width):
            count = min(len(made), rng.choice((0, 1, 1, 2, 3)) if number else 0)
            upstreams = tuple(sorted(a.asset_id for a in rng.sample(made, count)))
            assets.append(_asset(rng, f"a{number}{'xy'[part]}", upstreams, is_calm=is_calm, partitioned=partitioned))
        workflows.append(Workflow(f"w{number}", tuple(assets)))
        made += assets
    return tuple(workflows)


def _asset(rng: Random, asset_id: str, upstreams: tuple[str, ...], *, is_calm: bool, partitioned: bool) -> Asset:
    kind = rng.choice(("none", "none", "static", "minute", "hour")) if partitioned else "none"
    return Asset(
        asset_id=asset_id,
        upstreams=upstreams,
        kind=kind,
        follows=bool(upstreams) and (is_calm or rng.random() < 0.85),
        has_policy=is_calm or rng.random() < 0.9,
        ttl_ms=None if is_calm else rng.choice((None, None, 40_000, 90_000)),
        priority=rng.choice((10, 100)),
        when="any" if is_calm or rng.random() < 0.8 else "all",
        pool=rng.choice((None, None, "narrow")),
    )


_CALM = ("emit", "emit", "emit", "hold")
_WILD = (
    *("emit",) * 8,
    *("wait",) * 3,
    *("crash",) * 2,
    *("poison_asset", "poison_registry", "poison_enqueuer"),
    *("garbage", "expire", "expire", "trigger", "cancel", "resume", "late", "twice"),
    *("change", "remove", "jump"),
    *("pause", "pause", "unpause"),
)


def _action(rng: Random, workflows: tuple[Workflow, ...], *, is_calm: bool) -> Action:
    workflow = rng.choice(workflows)
    asset = rng.choice(workflow.assets)
    key = _key_for(rng, asset.kind)
    match rng.choice(_CALM if is_calm else _WILD):
        case "emit" | "hold" as kind:
            sources = [a for w in workflows for a in w.assets if not a.upstreams]
            chosen = rng.choice(sources) if is_calm or rng.random() < 0.8 else asset
            if kind == "hold":
                return Action(kind, (chosen.asset_id, None, rng.choice((None, 5_000))))
            return Action(kind, (chosen.asset_id, _key_for(rng, chosen.kind)))
        case "pause" | "unpause" as kind:
            scope = rng.choice(("all", f"workflow:{workflow.slug}", f"asset:{asset.asset_id}"))
            return Action(kind, (scope, rng.choice((None, 1_000, 30_000))) if kind == "pause" else (scope,))
        case "wait":
            return Action("wait", (rng.choice((100, 2_000, 15_000)),))
        case "jump":
            return Action("wait", (rng.choice((60_000, 200_000)),))
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
        case "minute":
            return rng.choice(MINUTES)
        case "hour":
            return "2026-01-01T00"
        case _:
            return None

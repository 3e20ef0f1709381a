"""The third generation: what the second plays, and rules by which partitions map, catching up, quiet workflows.

A third of the seeds that are not calm are those of the second generation with such policies; the others have graphs of
their own, in which time windows roll up, and in which many go stale at once.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from random import Random

from tests.simulation.generator_policies import POLICIES, QUIETS, with_policies
from tests.simulation.generator_second import second_scenario, wild_action, with_faults
from tests.simulation.scenario import DYNAMIC_KEYS, STATIC_KEYS, TIME_KINDS, Action, Asset, Rule, Scenario, Workflow

__all__ = ["third_scenario"]

_TYPES = ("identity", "window", "latest", "all")
_LONGER = {"minute": "hour", "hour": "day"}
_KEYS = {
    "none": (None,),
    "static": STATIC_KEYS,
    "dynamic": DYNAMIC_KEYS,
    "minute": tuple(f"2026-01-01T00:{minute:02d}" for minute in range(4)),
    "hour": ("2025-12-31T23", "2026-01-01T00", "2026-01-01T01"),
    "day": ("2025-12-31", "2026-01-01"),
}
CATCH_UP_AFTER_MS = 20_000


def third_scenario(seed: int) -> Scenario:
    rng = Random(f"third {seed}")
    former = second_scenario(seed)
    if former.is_calm:
        return replace(former, workflows=_calm_rules(rng, former.workflows), generation=3)
    match rng.choice(("former", "roll-up", "windows")):
        case "former":
            mapped = tuple(_with_rules(rng, workflow, former.assets) for workflow in former.workflows)
            scenario = replace(former, workflows=_some_quiet(rng, mapped))
        case "roll-up":
            scenario = _scenario(rng, seed, _roll_up(rng))
        case _:
            scenario = _scenario(rng, seed, _windows(rng))
    actions = _with_more(rng, scenario)
    scenario = replace(scenario, actions=actions, catch_up_after_ms=CATCH_UP_AFTER_MS, generation=3)
    return _with_takeovers(rng, scenario) if rng.random() < 0.2 else scenario


def _scenario(rng: Random, seed: int, workflows: tuple[Workflow, ...]) -> Scenario:
    """A scenario with a graph of its own, and with faults in two of three."""
    workflows = _some_quiet(rng, workflows)
    scenario = Scenario(
        seed=seed,
        workflows=workflows,
        actions=tuple(wild_action(rng, workflows) for _ in range(rng.randint(3, 10))),
        max_runs=rng.choice((1, 2, 8)),
        pool_limits={"narrow": 1} if rng.random() < 0.3 else {},
        slow_rate=rng.choice((0.0, 0.0, 0.3, 0.8)),
    )
    return with_faults(rng, scenario) if rng.random() < 0.67 else scenario


# -- rules -----------------------------------------------------------------------------------------------------------


def _calm_rules(rng: Random, workflows: tuple[Workflow, ...]) -> tuple[Workflow, ...]:
    """The same for all that a workflow makes, so that one update still makes everything below it once."""
    if rng.random() < 0.5:
        return workflows
    found = []
    for workflow in workflows:
        type = rng.choice((None, None, *_TYPES))
        mappings = (("*", Rule(type)),) if type is not None else ()
        assets = tuple(replace(a, mappings=mappings) if a.upstreams else a for a in workflow.assets)
        found.append(replace(workflow, assets=assets))
    return tuple(found)


def _with_rules(rng: Random, workflow: Workflow, above: dict[str, Asset]) -> Workflow:
    """Half of the assets below others get rules, and half of those with time windows say how to catch up."""
    assets = []
    for asset in workflow.assets:
        has_rules = bool(asset.upstreams) and rng.random() < 0.5
        rules = _rules(rng, [above[u] for u in asset.upstreams]) if has_rules else ()
        assets.append(_with_catching_up(rng, replace(asset, mappings=rules)))
    return replace(workflow, assets=tuple(assets))


def _rules(rng: Random, above: Sequence[Asset]) -> tuple[tuple[str, Rule], ...]:
    if rng.random() < 0.6:
        return (("*", _rule(rng)),)
    chosen = rng.sample(above, rng.randint(1, len(above)))
    rest = (("*", _rule(rng)),) if rng.random() < 0.5 else ()
    return (*((up.asset_id, _rule(rng)) for up in chosen), *rest)


def _rule(rng: Random) -> Rule:
    waits = rng.random() < 0.4
    return Rule(rng.choice((None, *_TYPES) if waits else _TYPES), waits)


def _with_catching_up(rng: Random, asset: Asset) -> Asset:
    return replace(asset, catch_up=rng.choice((None, "latest", "all", "all"))) if asset.kind in TIME_KINDS else asset


def _some_quiet(rng: Random, workflows: tuple[Workflow, ...]) -> tuple[Workflow, ...]:
    if rng.random() < 0.75:
        return workflows
    return tuple(replace(w, quiet=rng.choice(QUIETS)) if rng.random() < 0.4 else w for w in workflows)


# -- graphs ----------------------------------------------------------------------------------------------------------


def _asset(rng: Random, number: int, above: Sequence[Asset], kind: str, rules: tuple[tuple[str, Rule], ...]) -> Asset:
    asset = Asset(
        asset_id=f"a{number}x",
        upstreams=tuple(sorted(up.asset_id for up in above)),
        kind=kind,
        follows=bool(above) and rng.random() < 0.95,
        has_policy=rng.random() < 0.95,
        priority=rng.choice((10, 100)),
        pool=rng.choice((None, None, "narrow")),
        mappings=rules if above else (),
    )
    return _with_catching_up(rng, asset)


def _workflows(rng: Random, assets: Sequence[Asset]) -> tuple[Workflow, ...]:
    in_play = rng.sample(POLICIES, rng.choice((0, 0, 1, 2)))
    return tuple(Workflow(f"w{n}", (with_policies(rng, asset, in_play),)) for n, asset in enumerate(assets))


def _roll_up(rng: Random) -> tuple[Workflow, ...]:
    """Minutes into hours into days, or keys into one, that wait for all or do not, and a few assets around them."""
    source = rng.choice(("minute", "minute", "hour", "static"))
    assets = [_asset(rng, 0, (), source, ())]
    kind = source
    for _ in range(rng.choice((1, 1, 2))):
        above = assets[-1:] + ([rng.choice(assets[:-1])] if len(assets) > 1 and rng.random() < 0.3 else [])
        kind = _LONGER.get(kind, "day" if kind in TIME_KINDS else rng.choice(("none", "static", "day")))
        rules = (("*", Rule(rng.choice((None, "window", "all" if source == "static" else None)), rng.random() < 0.75)),)
        assets.append(_asset(rng, len(assets), above, kind, rules))
    for _ in range(rng.choice((0, 1, 2, 3))):
        above = rng.sample(assets, min(len(assets), rng.choice((1, 1, 2))))
        assets.append(_around(rng, len(assets), above))
    return _workflows(rng, assets)


def _windows(rng: Random) -> tuple[Workflow, ...]:
    """Windows of one length one below the other, so that several go stale at once; and assets that read the latest."""
    kind = rng.choice(("minute", "minute", "hour", "day"))
    assets = [_asset(rng, 0, (), kind, ())]
    for _ in range(rng.choice((1, 2, 2, 3))):
        above = rng.sample(assets, min(len(assets), rng.choice((1, 1, 2))))
        rules = (("*", Rule(rng.choice((None, "window", "identity")), rng.random() < 0.2)),)
        assets.append(_asset(rng, len(assets), above, kind, rules if rng.random() < 0.5 else ()))
    for _ in range(rng.choice((1, 1, 2, 3))):
        above = rng.sample(assets, min(len(assets), rng.choice((1, 1, 2))))
        assets.append(_around(rng, len(assets), above))
    return _workflows(rng, assets)


def _around(rng: Random, number: int, above: Sequence[Asset]) -> Asset:
    """An asset of any kind, mostly by a rule; minutes go into minutes, so that nothing floods."""
    kinds = {"none", "static", "dynamic", "day", *(up.kind for up in above)}
    kind = rng.choice(sorted(kinds - ({"minute"} if any(up.kind in ("hour", "day") for up in above) else set())))
    asset = _asset(rng, number, above, kind, (("*", Rule("latest")),) if rng.random() < 0.4 else ())
    return replace(asset, mappings=_rules(rng, above)) if not asset.mappings and rng.random() < 0.8 else asset


# -- what happens ----------------------------------------------------------------------------------------------------


def _with_more(rng: Random, scenario: Scenario) -> tuple[Action, ...]:
    """What happens besides: windows are filled, long holds, outages, quiet hours that change."""
    actions = list(scenario.actions)
    sources = [asset for asset in scenario.assets.values() if not asset.upstreams]
    for _ in range(rng.choice((1, 2, 3, 4))):
        actions.insert(rng.randrange(0, len(actions) + 1), _action(rng, scenario, rng.choice(sources)))
    return tuple(actions)


def _with_takeovers(rng: Random, scenario: Scenario) -> Scenario:
    """Two services or three, and the lead changes now and then."""
    actions = list(scenario.actions)
    for _ in range(rng.choice((1, 2, 3, 5))):
        actions.insert(rng.randrange(0, len(actions) + 1), Action("takeover"))
    return replace(scenario, actions=tuple(actions), services=rng.choice((2, 2, 3)))


def _action(rng: Random, scenario: Scenario, source: Asset) -> Action:
    workflow = rng.choice(scenario.workflows)
    below = rng.choice(workflow.assets)
    match rng.choice(("fill", "fill", "long_hold", "long_hold", "outage", "outage", "silence")):
        case "fill" if source.kind in _LONGER:
            longer = _LONGER[source.kind]
            return Action("fill", (source.asset_id, rng.choice(_KEYS[longer][:2]), longer, rng.choice((0, 0, 0, 1, 5))))
        case "outage":
            return Action("outage", (rng.choice((1_000, 25_000, 90_000)), source.asset_id, _keys(rng, source)))
        case "silence":
            return Action("silence", (workflow.slug, rng.choice((None, *QUIETS))))
        case _:
            scope = rng.choice(("all", "all", f"workflow:{workflow.slug}", f"asset:{below.asset_id}"))
            for_ms = rng.choice((0, 5_000, 25_000, 25_000, 70_000))
            return Action("long_hold", (scope, for_ms, source.asset_id, _keys(rng, source)))


def _keys(rng: Random, source: Asset) -> tuple[str | None, ...]:
    keys = _KEYS[source.kind]
    return tuple(rng.sample(keys, rng.randint(1, len(keys))))

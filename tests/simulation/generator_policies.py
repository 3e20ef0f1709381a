"""The policies that a seed gives its assets, and how definitions change them while it plays."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from random import Random
from typing import Any

from tests.simulation.scenario import TIME_KINDS, Asset, Backoff, Budget, Quiet, Workflow

__all__ = ["POLICIES", "QUIETS", "alteration", "with_policies"]

POLICIES = (
    "debounce",
    "quiet",
    "freshness",
    "failure",
    "upstream",
    "missing",
    "lookback",
    "disabled",
)

QUIETS = (
    Quiet("00:00", "00:02"),
    Quiet("00:01", "00:04"),
    Quiet("23:58", "00:03"),
    Quiet("00:02", "00:05", days=("thu",)),
    Quiet("23:59", "00:02", days=("wed",)),
    Quiet("00:03", "00:06", days=("mon", "fri")),
    Quiet("05:31", "05:34", "Asia/Kolkata"),
    Quiet("19:00", "19:03", "America/New_York", ("wed",)),
    Quiet("13:59", "14:03", "Pacific/Kiritimati"),
)
_CRONS = (
    ("* * * * *", "UTC"),
    ("*/3 * * * *", "UTC"),
    ("2 * * * *", "UTC"),
    ("*/5 5 * * *", "Asia/Kolkata"),
    ("4 19 * * *", "America/New_York"),
)
_DEBOUNCES = ((500, None), (3_000, None), (3_000, 4_000), (10_000, None), (10_000, 12_000), (10_000, 30_000))
_BUDGETS = (None, Budget(1), Budget(2), Budget(2, 5_000), Budget(4, 40_000))
_BACKOFFS = (None, Backoff(200, 1_000, True), Backoff(1_000, 4_000, False), Backoff(5_000, 5_000, False))


def with_policies(rng: Random, asset: Asset, in_play: Sequence[str]) -> Asset:
    """Half of the assets get each policy that is in play."""
    for policy in in_play:
        if rng.random() < 0.5:
            asset = replace(asset, **_drawn(rng, policy, asset))
    return asset


def _drawn(rng: Random, policy: str, asset: Asset) -> dict[str, Any]:
    match policy:
        case "debounce":
            debounce_ms, max_delay_ms = rng.choice(_DEBOUNCES)
            return {"debounce_ms": debounce_ms, "max_delay_ms": max_delay_ms}
        case "quiet":
            return {"quiet": rng.choice(QUIETS)}
        case "freshness":
            return _freshness(rng)
        case "failure":
            return {"budget": rng.choice(_BUDGETS), "backoff": rng.choice(_BACKOFFS)}
        case "upstream":
            return _narrowed(rng, asset.upstreams)
        case "missing":
            return {"on_missing": True}
        case "lookback":
            return {"lookback": rng.choice((0, 1, 3))} if asset.kind in TIME_KINDS else {}
        case "disabled":
            return {"enabled": rng.random() < 0.5}
        case unknown:
            raise AssertionError(f"nobody knows the policy {unknown}")


def _freshness(rng: Random) -> dict[str, Any]:
    match rng.choice(("cadence", "max_age", "cron", "cron")):
        case "cadence":
            return {"cadence_ms": rng.choice((45_000, 120_000))}
        case "max_age":
            return {"max_age_ms": rng.choice((60_000, 100_000))}
        case _:
            cron, timezone = rng.choice(_CRONS)
            return {"cron": cron, "timezone": timezone}


def _narrowed(rng: Random, upstreams: tuple[str, ...]) -> dict[str, Any]:
    if not upstreams:
        return {}
    some = tuple(rng.sample(upstreams, rng.randint(1, len(upstreams))))
    return {"only": some} if rng.random() < 0.5 else {"ignore": some}


def alteration(rng: Random, asset: Asset, workflows: Sequence[Workflow]) -> tuple[str, Any]:
    """Which field of the asset's declaration becomes what. Edges come from assets that were declared before it."""
    match rng.choice(("enabled", "enabled", "upstreams", "upstreams", "ttl_ms", "when", "follows", "policy")):
        case "enabled":
            return "enabled", rng.random() < 0.5
        case "upstreams":
            assets = [a for w in workflows for a in w.assets]
            mine = next(w for w in workflows if asset in w.assets)
            before = [a for a in assets[: assets.index(asset)] if a not in mine.assets and _fits(a, asset)]
            count = min(len(before), rng.choice((0, 1, 2)))
            return "upstreams", tuple(sorted(a.asset_id for a in rng.sample(before, count)))
        case "ttl_ms":
            return "ttl_ms", rng.choice((None, 20_000, 70_000))
        case "when":
            return "when", rng.choice(("any", "all"))
        case "follows":
            return "follows", rng.random() < 0.5
        case _:
            return rng.choice(
                (
                    ("debounce_ms", rng.choice((None, 2_000))),
                    ("quiet", rng.choice((None, *QUIETS))),
                    ("budget", rng.choice(_BUDGETS)),
                    ("ignore", asset.upstreams[:1]) if asset.only is None else ("only", None),
                    ("on_missing", rng.random() < 0.5),
                    ("cron", rng.choice((None, "*/2 * * * *"))),
                    ("priority", rng.choice((1, 50))),
                )
            )


def _fits(above: Asset, asset: Asset) -> bool:
    """A day has 1440 minutes, each a run."""
    return not (above.kind in ("day", "hour") and asset.kind in ("minute", "hour") and above.kind != asset.kind)

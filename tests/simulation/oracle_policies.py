"""What the policies of an asset demand, each said in the plainest way: expiry, budget, backoff, quiet hours."""

from __future__ import annotations

from collections.abc import Iterable

from actors.core.state import FailureRecord, Materialization
from tests.simulation.plain import is_quiet, next_tick, window_key, window_start_ms, windows_ago
from tests.simulation.scenario import STATIC_KEYS, TIME_KINDS, Asset, Budget, Quiet

__all__ = [
    "DEFAULT_BUDGET",
    "expected_keys",
    "expires_at_ms",
    "is_in_lookback",
    "is_too_old",
    "why_not_now",
]

DEFAULT_BUDGET = Budget(failures=3, cool_off_ms=60_000)


def expires_at_ms(asset: Asset, key: str | None, made: Materialization) -> int | None:
    """When what was made stopped or stops being fresh; what was made ahead of its window not before that begins."""
    start_ms = window_start_ms(asset.kind, str(key)) if asset.kind in TIME_KINDS else 0
    if made.expired_version >= made.version:
        return max(made.produced_at_ms, start_ms)
    own = made.freshness
    lengths = (own.ttl_ms,) if own is not None else (asset.ttl_ms, asset.cadence_ms, asset.max_age_ms)
    ends = [made.produced_at_ms + length for length in lengths if length is not None]
    if own is None and asset.cron is not None:
        ends.append(next_tick(asset.cron, asset.timezone, made.produced_at_ms))
    return max(min(ends), start_ms) if ends else None


def is_in_lookback(asset: Asset, key: str | None, now_ms: int) -> bool:
    """Windows expire, or are missed, while they are the current one or one of `lookback` before it."""
    return asset.kind not in TIME_KINDS or 0 <= windows_ago(asset.kind, str(key), now_ms) <= (asset.lookback or 0)


def is_too_old(asset: Asset, key: str | None, now_ms: int) -> bool:
    """Updates count for every window, or, where it is given, for those within the lookback and those to come."""
    if asset.kind not in TIME_KINDS or asset.lookback is None:
        return False
    return windows_ago(asset.kind, str(key), now_ms) > asset.lookback


def expected_keys(asset: Asset, now_ms: int) -> tuple[str | None, ...]:
    """What is made though nothing happened, with `onMissing`."""
    if not (asset.opted_in and asset.on_missing):
        return ()
    if asset.kind == "none":
        return (None,)
    if asset.kind == "static":
        return STATIC_KEYS
    if asset.kind == "dynamic":
        return ()
    length_ms = {"minute": 60_000, "hour": 3_600_000, "day": 86_400_000}[asset.kind]
    return tuple(window_key(asset.kind, now_ms - ago * length_ms) for ago in range((asset.lookback or 0) + 1))


def why_not_now(
    asset: Asset, quiets: Iterable[Quiet], failure: FailureRecord | None, now_ms: int, decided_at_ms: int
) -> str | None:
    """The law by which nothing may be started for the asset at this moment, and why; None if it may.

    A wait that was over when the asset decided is over, also if the clock was put back since.
    """
    for quiet in quiets:
        if is_quiet(quiet, now_ms):
            return f"L9: it is quiet for {asset.asset_id} ({quiet})"
    if failure is None:
        return None
    at_ms = max(now_ms, decided_at_ms)
    budget = asset.budget or DEFAULT_BUDGET
    if failure.failures >= budget.failures and (
        budget.cool_off_ms is None or at_ms < failure.last_failure_at_ms + budget.cool_off_ms
    ):
        return f"L7: {asset.asset_id} is suspended after {failure.failures} failures ({budget})"
    backoff = asset.backoff
    if backoff is not None and not backoff.jitter:
        wait_ms = min(backoff.max_ms, backoff.base_ms * 2 ** (failure.failures - 1))
        if at_ms < failure.last_failure_at_ms + wait_ms:
            return f"L7: {asset.asset_id} backs off for {wait_ms} ms after {failure.failures} failures"
    return None

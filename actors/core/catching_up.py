"""What is made after a long pause or outage: of an asset's stale time windows the latest, or all (`CatchUp`)."""

from __future__ import annotations

from collections.abc import Iterable

from actors.core.decide import Defaults, Reason, newer_upstreams, staleness
from actors.core.graph import AssetSpec, CatchUp
from actors.core.partitions import TimeWindowPartitioning, is_key, window_of
from actors.core.state import Dismissal, PartitionState

__all__ = ["passed_over"]


def passed_over(
    spec: AssetSpec, states: Iterable[PartitionState], defaults: Defaults, held_ms: int, now_ms: int
) -> dict[str, Dismissal]:
    """By partition key, which of an asset's partitions are left as they are after it was held back for `held_ms`.

    Those are the time windows that an update made stale, but for the latest; of the versions that are known now, so
    that any newer one counts. None of them when it was not held back for long, or is to catch up on all.
    """
    windows = spec.partitioning
    if spec.auto is None or spec.auto.catch_up is CatchUp.ALL or held_ms < defaults.catch_up_after_ms:
        return {}
    if not isinstance(windows, TimeWindowPartitioning):
        return {}
    stale: list[tuple[int, str, PartitionState]] = []
    for state in states:
        key = state.partition_key
        if key is None or state.run_id is not None or not is_key(windows, key):
            continue
        if staleness(spec, state, now_ms).needed is Reason.UPSTREAM_UPDATED:
            stale.append((window_of(windows, key).start_ms, key, state))
    stale.sort(key=lambda entry: entry[0])
    return {
        key: Dismissal(state.version, {u: state.latest[u] for u in newer_upstreams(spec, state)}, is_passed_over=True)
        for _, key, state in stale[:-1]
    }

"""From what the catalog keeps to what an asset actor knows: the states of an asset's partitions.

The same code serves an actor at its start and a command that looks at the catalog while no service runs.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from actors.core.graph import AssetSpec
from actors.core.partitions import (
    ALL_KNOWN,
    AllKnown,
    DynamicPartitioning,
    Partitioning,
    PartitionKeyError,
    StaticPartitioning,
    TimeWindowPartitioning,
    downstream_keys,
    key_at,
    shift,
    validate_key,
)
from actors.core.state import (
    Cause,
    Dismissal,
    FailureRecord,
    Materialization,
    PartitionState,
    UpstreamSnapshot,
)

__all__ = ["MAX_CAUSES", "concerned_keys", "expected_keys", "load_partitions", "note_cause"]

MAX_CAUSES = 64
"""How many changed upstream partitions a run's trigger lists at most; the newest are kept."""


def concerned_keys(
    upstream: Partitioning | None,
    upstream_key: str | None,
    produced_at_ms: int,
    down: Partitioning | None,
) -> tuple[str | None, ...] | AllKnown:
    """The downstream partitions that an upstream partition concerns; none if the edge cannot be mapped.

    An asset that nobody here makes may have keys without a declared partitioning: a key that is one of the downstream
    asset's own concerns that partition.
    """
    try:
        if upstream is None and upstream_key is not None and down is not None:
            validate_key(down, upstream_key, asset_id="")
            return (upstream_key,)
        return downstream_keys(upstream, upstream_key, produced_at_ms, down)
    except (PartitionKeyError, ValueError):
        return ()


def expected_keys(spec: AssetSpec, now_ms: int) -> tuple[str | None, ...]:
    """The partitions that should exist whether or not anything happened: looked at when `onMissing` is set."""
    match spec.partitioning:
        case None:
            return (None,)
        case StaticPartitioning(keys=keys):
            return keys
        case DynamicPartitioning():
            return ()
        case TimeWindowPartitioning() as windows:
            current = key_at(windows, now_ms)
            return tuple(shift(windows, current, -n) for n in range((windows.lookback_windows or 0) + 1))


def note_cause(state: PartitionState, cause: Cause) -> bool:
    """Remember that an upstream partition changed; False if that was known already."""
    if cause.version <= state.latest.get(cause.asset_id, 0):
        return False
    state.latest[cause.asset_id] = cause.version
    others = tuple(c for c in state.causes if (c.asset_id, c.partition_key) != (cause.asset_id, cause.partition_key))
    state.causes = (*others, cause)[-MAX_CAUSES:]
    return True


def load_partitions(
    spec: AssetSpec,
    *,
    latest: Mapping[str | None, Materialization],
    failures: Mapping[str | None, FailureRecord],
    dismissals: Mapping[str | None, Dismissal],
    upstreams: Mapping[str, UpstreamSnapshot],
    active: Mapping[str | None, str],
    now_ms: int,
) -> dict[str | None, PartitionState]:
    """The state of every partition that was made, failed, is in flight, or that an upstream concerns."""
    expected: Iterable[str | None] = ()
    if spec.partitioning is None or (spec.auto is not None and spec.auto.on_missing):
        expected = expected_keys(spec, now_ms)
    states: dict[str | None, PartitionState] = {}
    for key in (*latest, *failures, *dismissals, *active, *expected):
        if key not in states:
            states[key] = PartitionState(
                key,
                made=latest.get(key),
                failure=failures.get(key),
                dismissed=dismissals.get(key),
                run_id=active.get(key),
            )
    for upstream_id in sorted(spec.considered, key=lambda u: _concerns_all(spec, upstreams.get(u))):
        snapshot = upstreams.get(upstream_id)
        if snapshot is not None:
            _apply_upstream(spec, states, upstream_id, snapshot, _first_made_ms(latest))
    return states


def _first_made_ms(latest: Mapping[str | None, Materialization]) -> int | None:
    return min((made.produced_at_ms for made in latest.values()), default=None)


def _changes(snapshot: UpstreamSnapshot, since_ms: int | None) -> list[tuple[str | None, int, int]]:
    """Latest and earlier changes by version. Earlier ones from before anything was made here would fill in the past."""
    changes = {version: (key, version, at_ms) for key, (version, at_ms) in snapshot.changed.items()}
    for key, version, at_ms in snapshot.history:
        if version in changes or (since_ms is not None and at_ms >= since_ms):
            changes[version] = (key, version, at_ms)
    return [changes[version] for version in sorted(changes)]


def _concerns_all(spec: AssetSpec, snapshot: UpstreamSnapshot | None) -> bool:
    """Whether changes of the upstream concern every known partition: so it goes last, when all of them are known."""
    if snapshot is None or not snapshot.changed:
        return False
    key, (_, produced_at_ms) = next(iter(snapshot.changed.items()))
    return concerned_keys(snapshot.partitioning, key, produced_at_ms, spec.partitioning) is ALL_KNOWN


def _apply_upstream(
    spec: AssetSpec,
    states: dict[str | None, PartitionState],
    upstream_id: str,
    snapshot: UpstreamSnapshot,
    since_ms: int | None,
) -> None:
    # Oldest change first, as it would have been told: note_cause keeps what is newer than what it knows.
    for upstream_key, version, produced_at_ms in _changes(snapshot, since_ms):
        cause = Cause(upstream_id, upstream_key, version)
        keys = concerned_keys(snapshot.partitioning, upstream_key, produced_at_ms, spec.partitioning)
        for key in tuple(states) if keys is ALL_KNOWN else keys:
            state = states.get(key)
            if state is None:
                state = states[key] = PartitionState(key)
            if version > state.inputs.get(upstream_id, 0):
                note_cause(state, cause)
            else:
                state.latest[upstream_id] = max(version, state.latest.get(upstream_id, 0))

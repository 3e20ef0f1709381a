"""From what the catalog keeps to what an asset actor knows: the states of an asset's partitions.

The same code serves an actor at its start and a command that looks at the catalog while no service runs.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Set

from actors.core.graph import AssetSpec
from actors.core.mappings import (
    DEFAULT_MAPPING,
    MAX_MAPPED_WINDOWS,
    AllKnown,
    Keys,
    MappingType,
    PartitionMapping,
    downstream_keys,
    is_by_production,
    is_superseded,
    required_keys,
)
from actors.core.partitions import (
    DynamicPartitioning,
    Partitioning,
    PartitionKeyError,
    StaticPartitioning,
    TimeWindowPartitioning,
    is_key,
    key_at,
    shift,
    window_of,
)
from actors.core.state import (
    Cause,
    Dismissal,
    FailureRecord,
    Materialization,
    PartitionState,
    UpstreamSnapshot,
)

__all__ = [
    "MAX_CAUSES",
    "concerned_keys",
    "expected_keys",
    "load_partitions",
    "newest_key",
    "note_cause",
    "note_present",
    "open_partition",
]

MAX_CAUSES = MAX_MAPPED_WINDOWS
"""How many changed upstream partitions a run's trigger lists at most; the newest are kept."""

NOTHING_PRESENT: Mapping[str, Set[str | None]] = {}

_BY_KEY = frozenset({None, MappingType.IDENTITY, MappingType.WINDOW})


def concerned_keys(
    upstream: Partitioning | None,
    upstream_key: str | None,
    produced_at_ms: int,
    down: Partitioning | None,
    mapping: PartitionMapping = DEFAULT_MAPPING,
) -> Keys:
    """The downstream partitions that an upstream partition concerns; none if the edge cannot be mapped.

    An asset that nobody here makes may have keys without a declared partitioning: by the default rules a key that is
    one of the downstream asset's own concerns that partition.
    """
    if upstream is None and upstream_key is not None:
        if mapping.type in _BY_KEY and down is not None:
            return (upstream_key,) if is_key(down, upstream_key) else ()
        upstream = DynamicPartitioning()
    try:
        return downstream_keys(upstream, upstream_key, produced_at_ms, down, mapping)
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
    """Remember that an upstream partition changed; False if a later change of the upstream was known already."""
    others = []
    for known in state.causes:
        if known.asset_id != cause.asset_id or known.partition_key != cause.partition_key:
            others.append(known)
        elif known.version >= cause.version:
            return False
    state.causes = (*others, cause)[-MAX_CAUSES:]
    if cause.version <= state.latest.get(cause.asset_id, 0):
        return False
    state.latest[cause.asset_id] = cause.version
    return True


def note_present(state: PartitionState, cause: Cause) -> bool:
    """One upstream partition less to wait for; False if it was not waited for."""
    missing = state.missing.get(cause.asset_id)
    # An upstream whose partitioning nobody declares may come with keys: then any of them will do.
    key = None if missing and None in missing else cause.partition_key
    if missing is None or key not in missing:
        return False
    missing.remove(key)
    if not missing:
        del state.missing[cause.asset_id]
    return True


def open_partition(
    spec: AssetSpec | None,
    key: str | None,
    upstreams: Mapping[str, Partitioning | None],
    present: Mapping[str, Set[str | None]] = NOTHING_PRESENT,
) -> PartitionState:
    """The state of a partition of which nothing is known; it waits for every upstream partition that it must.

    `upstreams` says how each of the asset's upstreams is partitioned, `present` which of their partitions were made.
    """
    state = PartitionState(key)
    if spec is None:
        return state
    for upstream_id in spec.waits_for_all_of:
        if upstream_id not in upstreams:
            continue  # what was read from the catalog will say
        keys = required_keys(upstreams[upstream_id], spec.partitioning, key, spec.mapping_of(upstream_id))
        made = present.get(upstream_id, ())
        lacking = set() if None in keys and made else set(keys).difference(made)
        if lacking:
            state.missing[upstream_id] = lacking
    return state


def newest_key(snapshot: UpstreamSnapshot) -> str | None:
    """The latest time window of an upstream that was ever made; None if it has no time windows, or none was made."""
    windows = snapshot.partitioning
    if not isinstance(windows, TimeWindowPartitioning):
        return None
    keys = [key for key in snapshot.changed if key is not None and is_key(windows, key)]
    return max(keys, key=lambda key: window_of(windows, key).start_ms, default=None)


def load_partitions(
    spec: AssetSpec,
    *,
    latest: Mapping[str | None, Materialization],
    failures: Mapping[str | None, FailureRecord],
    dismissals: Mapping[str | None, Dismissal],
    upstreams: Mapping[str, UpstreamSnapshot],
    active: Mapping[str | None, str],
    now_ms: int,
    present: Mapping[str, Set[str | None]] | None = None,
) -> dict[str | None, PartitionState]:
    """The state of every partition that was made, failed, is in flight, or that an upstream concerns.

    `present` says which upstream partitions were made; without it those of the snapshots were.
    """
    expected: Iterable[str | None] = ()
    if spec.partitioning is None or (spec.auto is not None and spec.auto.on_missing):
        expected = expected_keys(spec, now_ms)
    states: dict[str | None, PartitionState] = {}
    kinds = {upstream_id: snapshot.partitioning for upstream_id, snapshot in upstreams.items()}
    if present is None:
        present = {upstream_id: snapshot.changed.keys() for upstream_id, snapshot in upstreams.items()}
    for key in (*latest, *failures, *dismissals, *active, *expected):
        if key not in states:
            state = states[key] = open_partition(spec, key, kinds, present)
            state.made, state.failure = latest.get(key), failures.get(key)
            state.dismissed, state.run_id = dismissals.get(key), active.get(key)
    for upstream_id in sorted(spec.considered, key=lambda u: _concerns_all(spec, u, upstreams.get(u))):
        snapshot = upstreams.get(upstream_id)
        if snapshot is not None:
            _apply_upstream(spec, states, upstream_id, snapshot, _first_made_ms(latest), kinds, present)
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


def _concerns_all(spec: AssetSpec, upstream_id: str, snapshot: UpstreamSnapshot | None) -> bool:
    """Whether changes of the upstream concern every known partition: so it goes last, when all of them are known."""
    if snapshot is None or not snapshot.changed:
        return False
    key, (_, at_ms) = next(iter(snapshot.changed.items()))
    keys = concerned_keys(snapshot.partitioning, key, at_ms, spec.partitioning, spec.mapping_of(upstream_id))
    return isinstance(keys, AllKnown)


def _apply_upstream(
    spec: AssetSpec,
    states: dict[str | None, PartitionState],
    upstream_id: str,
    snapshot: UpstreamSnapshot,
    since_ms: int | None,
    kinds: Mapping[str, Partitioning | None],
    present: Mapping[str, Set[str | None]],
) -> None:
    mapping = spec.mapping_of(upstream_id)
    newest = newest_key(snapshot) if mapping.type is MappingType.LATEST else None
    if not is_by_production(snapshot.partitioning, spec.partitioning, mapping):
        # Whatever concerns a window is in the latest of some partition, or was forgotten with it.
        since_ms = None
    # Oldest change first, as it would have been told: note_cause keeps what is newer than what it knows.
    for upstream_key, version, produced_at_ms in _changes(snapshot, since_ms):
        if is_superseded(snapshot.partitioning, upstream_key, newest, mapping):
            continue
        cause = Cause(upstream_id, upstream_key, version)
        keys = concerned_keys(snapshot.partitioning, upstream_key, produced_at_ms, spec.partitioning, mapping)
        for key in dict.fromkeys((*states, *keys.also)) if isinstance(keys, AllKnown) else keys:
            state = states.get(key)
            if state is None:
                state = states[key] = open_partition(spec, key, kinds, present)
            if version > state.inputs.get(upstream_id, 0):
                note_cause(state, cause)
            else:
                state.latest[upstream_id] = max(version, state.latest.get(upstream_id, 0))

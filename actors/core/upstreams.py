"""What an asset keeps of its upstreams as a whole: how each is partitioned, and which of its time windows is latest."""

from __future__ import annotations

from collections.abc import Mapping

from actors.core.graph import AssetSpec
from actors.core.loading import newest_key, open_partition
from actors.core.mappings import MappingType, is_superseded
from actors.core.partitions import Partitioning, is_key
from actors.core.state import PartitionState, UpstreamSnapshot

__all__ = ["KnownUpstreams"]


class KnownUpstreams:
    """Of one asset. Only upstreams of which the latest window alone counts have a latest one here."""

    __slots__ = ("_kinds", "_newest", "present")

    def __init__(self) -> None:
        self._kinds: dict[str, Partitioning | None] = {}
        self._newest: dict[str, str] = {}
        self.present: dict[str, set[str | None]] = {}

    def take(self, spec: AssetSpec, snapshots: Mapping[str, UpstreamSnapshot]) -> None:
        """Take over what was read from the catalog."""
        self._kinds = {upstream_id: snapshot.partitioning for upstream_id, snapshot in snapshots.items()}
        for upstream_id in spec.waits_for_all_of:
            snapshot = snapshots.get(upstream_id)
            if snapshot is not None:
                self.present.setdefault(upstream_id, set()).update(snapshot.changed)
        for upstream_id, snapshot in snapshots.items():
            if spec.mapping_of(upstream_id).type is MappingType.LATEST:
                self.is_superseded(spec, upstream_id, newest_key(snapshot))

    def open(self, spec: AssetSpec | None, key: str | None) -> PartitionState:
        """The state of a partition of which nothing is known yet."""
        return open_partition(spec, key, self._kinds, self.present)

    def note_made(self, upstream_id: str, key: str | None) -> bool:
        """An upstream partition is there; whether that is news."""
        made = self.present.setdefault(upstream_id, set())
        if key in made:
            return False
        made.add(key)
        return True

    def is_superseded(self, spec: AssetSpec | None, upstream_id: str, key: str | None) -> bool:
        """Whether a change of this upstream partition is of no concern; if it is of concern it may be the latest."""
        mapping = spec.mapping_of(upstream_id) if spec is not None else None
        kind = self._kinds.get(upstream_id)
        if mapping is None or mapping.type is not MappingType.LATEST or key is None or not is_key(kind, key):
            return False
        if is_superseded(kind, key, self._newest.get(upstream_id), mapping):
            return True
        self._newest[upstream_id] = key
        return False

    def drop_superseded(self, spec: AssetSpec, state: PartitionState) -> None:
        """Forget changes that were told before it was known how their upstream is partitioned, and are no concern."""
        for upstream_id in spec.considered:
            if spec.mapping_of(upstream_id).type is not MappingType.LATEST:
                continue
            told = [cause for cause in state.causes if cause.asset_id == upstream_id]
            for cause in told:
                self.is_superseded(spec, upstream_id, cause.partition_key)
            past = {c.partition_key for c in told if self.is_superseded(spec, upstream_id, c.partition_key)}
            state.causes = tuple(c for c in state.causes if c.asset_id != upstream_id or c.partition_key not in past)
            state.latest[upstream_id] = max((c.version for c in told if c.partition_key not in past), default=0)

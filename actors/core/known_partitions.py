"""The states of one asset's partitions, joined with what is read from the catalog."""

from __future__ import annotations

from collections.abc import Container, Iterable, Iterator, Mapping

from actors.core import transitions, waiting
from actors.core.graph import AssetSpec
from actors.core.loading import load_partitions, note_present
from actors.core.mappings import AllKnown, Keys
from actors.core.state import (
    Cause,
    Dismissal,
    FailureRecord,
    Materialization,
    PartitionState,
    UpstreamSnapshot,
)
from actors.core.upstreams import KnownUpstreams

__all__ = ["KnownPartitions"]


class KnownPartitions:
    """A partition comes into being with the first news of it. What changes several at once says which have changed."""

    __slots__ = ("_held_back", "_incomplete", "_states", "_upstreams", "spec")

    def __init__(self, spec: AssetSpec | None) -> None:
        self.spec = spec
        self._states: dict[str | None, PartitionState] = {}
        self._upstreams = KnownUpstreams()
        self._held_back: dict[str | None, None] = {}
        self._incomplete: dict[str | None, None] = {}

    def __iter__(self) -> Iterator[PartitionState]:
        """Those that are known now, also while others come."""
        return iter(list(self._states.values()))

    def find(self, key: str | None) -> PartitionState | None:
        return self._states.get(key)

    def state(self, key: str | None) -> PartitionState:
        state = self._states.get(key)
        if state is None:
            state = self._states[key] = self._upstreams.open(self.spec, key)
            if state.missing:
                self._incomplete[key] = None
        return state

    def select(self, keys: Keys) -> list[PartitionState]:
        found = dict.fromkeys((*self._states, *keys.also)) if isinstance(keys, AllKnown) else keys
        return [self.state(key) for key in found]

    def upstream_made(self, cause: Cause) -> list[PartitionState]:
        """The partitions that waited for an upstream partition to be there at all, and wait for one less now."""
        if self.spec is None or cause.asset_id not in self.spec.waits_for_all_of:
            return []
        if not self._upstreams.note_made(cause.asset_id, cause.partition_key):
            return []
        told = [state for key in self._incomplete if note_present(state := self._states[key], cause)]
        for state in told:
            if not state.missing:
                del self._incomplete[state.partition_key]
        return told

    def is_superseded(self, cause: Cause) -> bool:
        """Whether a change upstream is of no concern, as a later time window is known and the latest alone counts."""
        return self._upstreams.is_superseded(self.spec, cause.asset_id, cause.partition_key)

    def upstreams_pending(
        self, pending: Mapping[str | None, Iterable[tuple[str, str | None]]], wave: int, now_ms: int
    ) -> None:
        for key, marks in pending.items():
            waiting.upstream_pending(self.state(key), marks, wave, now_ms)
            self._held_back[key] = None

    def upstream_settled(
        self, asset_id: str, partition_key: str | None, wave: int, until_ms: int | None, *, every_key: bool
    ) -> list[PartitionState]:
        return [
            state
            for state in self._waiting()
            if waiting.upstream_settled(state, asset_id, partition_key, wave, until_ms, every_key=every_key)
        ]

    def upstream_reported(self, asset_id: str, wave: int, keys: frozenset[str | None]) -> list[PartitionState]:
        return [state for state in self._waiting() if waiting.upstream_reported(state, asset_id, wave, keys)]

    def follow(self, considered: Container[str]) -> None:
        """Nobody waits for an upstream that is not followed: what that one does it tells others."""
        for state in self._waiting():
            waiting.follow(state, considered)

    def take(
        self,
        spec: AssetSpec,
        *,
        latest: Mapping[str | None, Materialization],
        failures: Mapping[str | None, FailureRecord],
        dismissals: Mapping[str | None, Dismissal],
        upstreams: Mapping[str, UpstreamSnapshot],
        active: Mapping[str | None, str],
        pos: int,
        wave: int,
        now_ms: int,
    ) -> None:
        """Take over what was read from the catalog as of `pos`, when the newest wave was `wave`."""
        self._upstreams.take(spec, upstreams)
        loaded = load_partitions(
            spec,
            latest=latest,
            failures=failures,
            dismissals=dismissals,
            upstreams=upstreams,
            active=active,
            now_ms=now_ms,
            present=self._upstreams.present,
        )
        for key, state in self._states.items():
            self._upstreams.drop_superseded(spec, state)
            if key not in loaded:
                loaded[key] = self._upstreams.open(spec, key)
            transitions.merge_loaded(state, loaded[key], pos)
        self._states = loaded
        self._incomplete = dict.fromkeys(key for key, state in loaded.items() if state.missing)
        self.follow(spec.considered)
        for state in loaded.values():
            transitions.read_as_of(state, pos, wave)

    def _waiting(self) -> list[PartitionState]:
        """Those that an upstream holds back. Asked for a run, or told of its end, one may have ceased to wait."""
        waiting = [state for key in self._held_back if (state := self._states[key]).pending]
        if len(waiting) < len(self._held_back):
            self._held_back = dict.fromkeys(state.partition_key for state in waiting)
        return waiting

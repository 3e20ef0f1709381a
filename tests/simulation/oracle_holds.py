"""What may be passed over after a long pause or outage, and what was: `catchUp`, said in the plainest way."""

from __future__ import annotations

from collections.abc import Mapping

from actors.core.state import Dismissal
from actors.runtime import VirtualClock
from tests.simulation.declared import Declared
from tests.simulation.oracle_changes import Changes
from tests.simulation.oracle_updates import Records, is_covered
from tests.simulation.plain import concerned, is_key_of, window_start_ms
from tests.simulation.scenario import TIME_KINDS, Asset, Scenario
from tests.simulation.trace import TraceObserver

__all__ = ["Holds"]


class Holds:
    """Pauses and outages by when they began, and what was passed over after them."""

    def __init__(self, scenario: Scenario, declared: Declared, clock: VirtualClock, changes: Changes) -> None:
        self._long_ms = scenario.catch_up_after_ms
        self._declared = declared
        self._clock = clock
        self._changes = changes
        self._began: dict[str, int] = {}
        self._highest_ms = clock.now_ms()
        self._was_long_outage = False
        self._passed: dict[tuple[str, str | None], tuple[int, int]] = {}

    @property
    def has_passed_over(self) -> bool:
        return bool(self._passed)

    def began(self, scope: str) -> None:
        """Somebody paused it; by the wall clock, as pauses are measured."""
        self._began[scope] = min(self._clock.now_ms(), self._began.get(scope, self._clock.now_ms()))

    def clock_steps(self) -> None:
        """The wall clock is about to jump, or has."""
        self._highest_ms = max(self._highest_ms, self._clock.now_ms())

    def outage(self, ms: int) -> None:
        self._was_long_outage = self._was_long_outage or ms >= self._long_ms

    def objection(
        self, records: Records, asset: Asset, dismissals: Mapping[str, Dismissal], trace: TraceObserver
    ) -> str | None:
        """Why these partitions of an asset may not be passed over now; None if they may."""
        self.clock_steps()
        for key in dismissals:
            self._passed[asset.asset_id, key] = (trace.decisions, self._clock.monotonic_ms())
        if not self._was_held_for_long(asset):
            return f"{asset.asset_id} was not held back for long, but {sorted(dismissals)} were passed over"
        if self._declared.slug_of(asset.asset_id) in self._declared.unsettled:
            return None
        if asset.catch_up == "all" or asset.kind not in TIME_KINDS or not asset.opted_in:
            return f"{asset.asset_id} catches up on all, but {sorted(dismissals)} were passed over"
        windows = {key for key in self._windows(records, asset) if key is not None}
        for key, dismissal in dismissals.items():
            if not dismissal.is_passed_over:
                return f"what was passed over of {asset.asset_id}@{key} is told as canceled"
            start_ms = window_start_ms(asset.kind, key)
            if not any(window_start_ms(asset.kind, other) > start_ms for other in windows):
                return f"{asset.asset_id}@{key} is the latest of its windows, but was passed over"
        return None

    def is_passed_over(
        self, records: Records, asset: Asset, key: str | None, changed: Mapping[str, int], trace: TraceObserver
    ) -> bool:
        """Whether nothing but resuming, or a newer update, may start a run of this partition.

        A decision from before that was noted does not know of it, nor does an actor that was started since.
        """
        dismissal = records[asset.asset_id].dismissals.get(key)
        if dismissal is None or not dismissal.is_passed_over or not changed or not is_covered(dismissal, changed):
            return False
        decisions, monotonic_ms = self._passed[asset.asset_id, key]
        is_of_before = trace.decided_as.get((asset.asset_id, key), 0) <= decisions
        return not is_of_before and not self._changes.forgotten_since(asset.asset_id, monotonic_ms)

    def _was_held_for_long(self, asset: Asset) -> bool:
        scopes = ("all", f"workflow:{self._declared.slug_of(asset.asset_id)}", f"asset:{asset.asset_id}")
        began = [self._began[scope] for scope in scopes if scope in self._began]
        return self._was_long_outage or any(self._highest_ms - since_ms >= self._long_ms for since_ms in began)

    def _windows(self, records: Records, asset: Asset) -> set[str | None]:
        """Those that were made, or that a change of an upstream concerns, be it one that is still to be made again."""
        found = {key for key in records[asset.asset_id].latest if is_key_of(asset, key)}
        for upstream in asset.considered:
            up = self._declared.assets[upstream]
            made_at = {key: made.produced_at_ms for key, made in records[upstream].latest.items()}
            for up_key in {*made_at, *self._windows(records, up)}:
                found |= concerned(up, up_key, made_at.get(up_key, self._clock.now_ms()), asset, ())
        return found

"""The laws of what is left when all is still: everything was made, or it is on record why not."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from actors.runtime import VirtualClock
from tests.simulation.declared import Declared
from tests.simulation.laws import LawBroken
from tests.simulation.oracle_changes import Changes
from tests.simulation.oracle_policies import expected_keys, expires_at_ms, is_in_lookback, why_not_now
from tests.simulation.oracle_updates import Records, is_covered, missing, not_made
from tests.simulation.plain import is_quiet
from tests.simulation.scenario import Asset

__all__ = ["AtRest"]


class AtRest:
    def __init__(self, declared: Declared, clock: VirtualClock, changes: Changes) -> None:
        self._declared = declared
        self._clock = clock
        self._changes = changes

    def is_quiet_anywhere(self) -> bool:
        now_ms = self._clock.now_ms()
        return any(
            asset.opted_in and any(is_quiet(quiet, now_ms) for quiet in self._declared.quiets(asset.asset_id))
            for asset in self._declared.assets.values()
        )

    def check_left_as_they_are(self, records: Records) -> None:
        """L9: nothing is held back any more, but not resumed yet: only what was passed over, or failed, is stale."""
        waiting = self._waiting()
        for asset in self._declared.assets.values():
            if asset.opted_in and asset.asset_id not in waiting:
                why = not_made(self._declared, records, asset, self._clock.now_ms(), self._excuses(records, asset))
                if why is not None:
                    raise LawBroken(f"L9: nothing holds it back, and it was not passed over: {why}")

    def _excuses(self, records: Records, asset: Asset) -> Callable[[str | None, Mapping[str, int]], bool]:
        record = records[asset.asset_id]

        def is_excused(key: str | None, changed: Mapping[str, int]) -> bool:
            failure = record.failures.get(key)
            if failure is not None and why_not_now(asset, (), failure, self._clock.now_ms(), 0) is not None:
                return True
            return is_covered(record.dismissals.get(key), changed)

        return is_excused

    def check(self, records: Records) -> None:
        """L1 and L6: whatever could be held back was resumed, so everything was made."""
        waiting = self._waiting()
        for asset in self._declared.assets.values():
            if asset.opted_in and asset.asset_id not in waiting:
                if (why := not_made(self._declared, records, asset, self._clock.now_ms())) is not None:
                    raise LawBroken(f"L1: {why}")
                self._check_not_expired(records, asset)
                self._check_nothing_missing(records, asset)

    def _waiting(self) -> set[str]:
        """The assets that may still wait: updates come so often that they, or what lies above them, debounce."""
        found: set[str] = set()
        for asset in self._declared.assets.values():  # upstream ones come first
            if self._changes.is_debounced(asset) or found.intersection(asset.considered):
                found.add(asset.asset_id)
        return found

    def _check_not_expired(self, records: Records, asset: Asset) -> None:
        now_ms = self._clock.now_ms()
        for key, made in records[asset.asset_id].latest.items():
            end_ms = expires_at_ms(asset, key, made)
            if end_ms is None or end_ms > now_ms or not is_in_lookback(asset, key, now_ms):
                continue
            if missing(self._declared, records, asset, key) is None:
                raise LawBroken(f"L6: {asset.asset_id}@{key} is expired and was not made again")

    def _check_nothing_missing(self, records: Records, asset: Asset) -> None:
        for key in expected_keys(asset, self._clock.now_ms()):
            if key not in records[asset.asset_id].latest and missing(self._declared, records, asset, key) is None:
                raise LawBroken(f"L6: {asset.asset_id}@{key} has onMissing and was never made")

"""When each change was recorded and told, by which debounces are measured: not too early, and not never."""

from __future__ import annotations

from dataclasses import dataclass

from actors.runtime import VirtualClock
from tests.simulation.declared import Declared
from tests.simulation.oracle_updates import Records, superseded
from tests.simulation.plain import concerned, is_by_time, is_latest_only, window_start_ms
from tests.simulation.scenario import Asset

__all__ = ["Changes"]


@dataclass(slots=True)
class _Change:
    """Of the partition `key`. `earliest_ms` is the least that the wall clock showed between its recording and the
    asset's hearing of it, `latest_ms` the most that it showed when the asset heard of it. `told_as` counts what was
    told."""

    key: str | None
    earliest_ms: int
    latest_ms: int = 0
    told_at_ms: int | None = None
    told_at_monotonic_ms: int | None = None
    told_as: int | None = None


class Changes:
    def __init__(self, declared: Declared, clock: VirtualClock) -> None:
        self._declared = declared
        self._clock = clock
        self._changes: dict[tuple[str, int], _Change] = {}
        self._forgotten_at_ms: dict[str, int] = {}
        self._told = 0

    def recorded(self, asset_id: str, version: int, key: str | None) -> None:
        self._changes.setdefault((asset_id, version), _Change(key, self._clock.now_ms()))

    def told(self, asset_id: str, version: int) -> None:
        change = self._changes.get((asset_id, version))
        if change is not None and change.told_at_ms is None:
            change.told_at_ms = change.latest_ms = self._clock.now_ms()
            change.told_at_monotonic_ms = self._clock.monotonic_ms()
            self._told += 1
            change.told_as = self._told

    def clock_stepped(self) -> None:
        now_ms, monotonic_ms = self._clock.now_ms(), self._clock.monotonic_ms()
        for change in self._changes.values():
            # Told in this moment may not be heard yet.
            if change.told_at_monotonic_ms in (None, monotonic_ms):
                change.earliest_ms = min(change.earliest_ms, now_ms)
                change.latest_ms = max(change.latest_ms, now_ms)

    def forget(self, asset_id: str) -> None:
        """Its actor was started again, or declared anew: it does not know when it heard of what it reads."""
        self._forgotten_at_ms[asset_id] = self._clock.monotonic_ms()

    def forgotten_since(self, asset_id: str, monotonic_ms: int) -> bool:
        return self._forgotten_at_ms.get(asset_id, -1) >= monotonic_ms

    def came_too_soon(self, records: Records, asset: Asset, key: str | None) -> bool:
        """Whether a window that was told before any later one may count, though the latest alone should."""
        mine = records[asset.asset_id].latest.get(key)
        for upstream in asset.considered:
            up = self._declared.assets[upstream]
            if not is_latest_only(up, asset):
                continue
            read = mine.inputs.get(upstream, 0) if mine else 0
            told = [
                (change.told_as, window_start_ms(up.kind, str(change.key)), version)
                for (asset_id, version), change in self._changes.items()
                if asset_id == upstream and change.told_as is not None
            ]
            for told_as, start_ms, version in told:
                if version > read and not any(other < told_as and later > start_ms for other, later, _ in told):
                    return True
        return False

    def too_early(self, records: Records, asset: Asset, key: str | None, decided_at_ms: int) -> str | None:
        """Why an update-run of this partition should still wait for further updates; None if it need not.

        Only changes that were told before this moment count: of others the asset may not know yet. And where it is the
        time of production that says which windows they concern, the catalog does not tell.
        """
        if asset.debounce_ms is None or any(is_by_time(self._declared.assets[u], asset) for u in asset.considered):
            return None
        now_ms = max(self._clock.now_ms(), decided_at_ms)
        known = [
            change
            for change in self._unread(records, asset, key)
            if change.told_at_monotonic_ms is not None
            and self._forgotten_at_ms.get(asset.asset_id, -1) < change.told_at_monotonic_ms
            and change.told_at_monotonic_ms < self._clock.monotonic_ms()
        ]
        if not known:
            return None
        last_ms, first_ms = max(c.earliest_ms for c in known), self._first_unread_ms(records, asset, key)
        is_long = asset.max_delay_ms is not None and first_ms + asset.max_delay_ms <= now_ms
        if is_long or last_ms + asset.debounce_ms <= now_ms:
            return None
        return f"{asset.asset_id}@{key} debounces {asset.debounce_ms} ms, its last update was {now_ms - last_ms} ms ago"

    def too_late(self, records: Records, asset: Asset, key: str | None, until_ms: int) -> str | None:
        """Why a wait until then is longer than `maxDelayMs` after the first update allows; None if it is not."""
        forgotten_at_ms = self._forgotten_at_ms.get(asset.asset_id, -1)
        heard = [
            change.latest_ms
            for change in self._unread(records, asset, key)
            if change.told_at_monotonic_ms is not None and forgotten_at_ms < change.told_at_monotonic_ms
        ]
        if asset.max_delay_ms is None or not heard or until_ms <= min(heard) + asset.max_delay_ms:
            return None
        return (
            f"{asset.asset_id}@{key} debounces for {until_ms - min(heard)} ms after an update that it heard of, "
            f"more than {asset.max_delay_ms}"
        )

    def is_debounced(self, asset: Asset) -> bool:
        """Whether an update was told so lately that the asset may still wait for the next."""
        if asset.debounce_ms is None:
            return False
        now_ms, considered = self._clock.now_ms(), set(asset.considered)
        return any(
            upstream in considered and change.told_at_ms is not None and now_ms < change.told_at_ms + asset.debounce_ms
            for (upstream, _), change in self._changes.items()
        )

    def _unread(self, records: Records, asset: Asset, key: str | None) -> list[_Change]:
        latest = records[asset.asset_id].latest
        mine = latest.get(key)
        found = []
        for upstream in asset.considered:
            up = self._declared.assets[upstream]
            read = mine.inputs.get(upstream, 0) if mine else 0
            past = superseded(up, asset, records[upstream].latest)
            for up_key, made in records[upstream].latest.items():
                change = self._changes.get((upstream, made.changed_version))
                if change is None or made.changed_version <= read or up_key in past:
                    continue
                if key in concerned(up, up_key, made.produced_at_ms, asset, (*latest, key)):
                    found.append(change)
        return found

    def _first_unread_ms(self, records: Records, asset: Asset, key: str | None) -> int:
        """When the first change was recorded that the partition was not made from, superseded ones included."""
        mine = records[asset.asset_id].latest.get(key)
        inputs = mine.inputs if mine else {}
        considered = set(asset.considered)
        return min(
            change.earliest_ms
            for (upstream, version), change in self._changes.items()
            if upstream in considered and version > inputs.get(upstream, 0)
        )

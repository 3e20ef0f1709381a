"""What follows from which version each partition was made from: what is stale, and what one update should make."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping

from actors.catalog.store import AssetRecord
from tests.simulation.declared import Declared
from tests.simulation.oracle_policies import expires_at_ms, is_in_lookback, is_too_old
from tests.simulation.plain import concerned, is_by_time
from tests.simulation.scenario import Asset

__all__ = ["Records", "is_stale", "newer", "not_made", "once_below"]

Records = Mapping[str, AssetRecord]


def newer(declared: Declared, records: Records, asset: Asset, key: str | None) -> dict[str, int]:
    """The considered upstreams that changed since the partition was made, each with its newest change."""
    latest = records[asset.asset_id].latest
    made = latest.get(key)
    found: dict[str, int] = {}
    for upstream in asset.considered:
        up = declared.assets[upstream]
        read = made.inputs.get(upstream, 0) if made else 0
        for up_key, up_made in records[upstream].latest.items():
            if up_made.changed_version <= read:
                continue
            # Where it is the time of production that counts, older versions may concern other windows.
            if is_by_time(up, asset) or key in concerned(up, up_key, up_made.produced_at_ms, asset, (*latest, key)):
                found[upstream] = max(found.get(upstream, 0), up_made.changed_version)
    return found


def is_stale(declared: Declared, records: Records, asset: Asset, key: str | None, at_ms: int) -> bool:
    """Whether an opted-in asset calls for a run of this partition."""
    made = records[asset.asset_id].latest.get(key)
    changed = newer(declared, records, asset, key)
    is_enough = len(changed) == len(asset.considered) if asset.when == "all" else True
    if changed and is_enough and not is_too_old(asset, key, at_ms):
        return True
    if made is None:
        return asset.on_missing
    end_ms = expires_at_ms(asset, key, made)
    return end_ms is not None and end_ms <= at_ms and is_in_lookback(asset, key, at_ms)


def not_made(declared: Declared, records: Records, asset: Asset, now_ms: int) -> str | None:
    """L1: an update that no partition was made from though it concerns it, in words; None if there is none."""
    latest = records[asset.asset_id].latest
    behind: dict[str | None, dict[str, str]] = {}
    for upstream in asset.considered:
        up = declared.assets[upstream]
        for up_key, made in records[upstream].latest.items():
            keys = concerned(up, up_key, made.produced_at_ms, asset, latest)
            if is_by_time(up, asset):
                read = max((m.inputs.get(upstream, 0) for m in latest.values()), default=0)
                if asset.when == "any" and asset.lookback is None and read < made.changed_version:
                    return f"no window of {asset.asset_id} was made from {upstream}@{up_key}"
                continue
            for key in keys:
                mine = latest.get(key)
                read = mine.inputs.get(upstream, 0) if mine else 0
                if read < made.changed_version and not is_too_old(asset, key, now_ms):
                    behind.setdefault(key, {})[upstream] = (
                        f"{asset.asset_id}@{key} was made from {upstream} up to version {read}, "
                        f"but {upstream}@{up_key} changed in version {made.changed_version}"
                    )
    for texts in behind.values():
        if asset.when == "any" or len(texts) == len(asset.considered):
            return next(iter(texts.values()))
    return None


def once_below(declared: Declared, asset_id: str, key: str | None) -> Counter[tuple[str, str | None]]:
    """L4: what one update of a partition makes, where nothing else happens: all that lies below it, once."""
    below: Counter[tuple[str, str | None]] = Counter()
    todo: list[tuple[str, str | None]] = [(asset_id, key)]
    while todo:
        up_id, up_key = todo.pop()
        for asset in declared.assets.values():
            if up_id not in asset.considered:
                continue
            for found in concerned(declared.assets[up_id], up_key, 0, asset, ()):
                if (asset.asset_id, found) not in below:
                    below[asset.asset_id, found] = 1
                    todo.append((asset.asset_id, found))
    return below

"""What follows from which version each partition was made from: what is stale, and what one update should make."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Container, Iterable, Mapping

from actors.catalog.store import AssetRecord
from actors.core.state import Dismissal
from tests.simulation.declared import Declared
from tests.simulation.oracle_policies import expires_at_ms, is_in_lookback, is_too_old
from tests.simulation.plain import concerned, is_by_time, is_latest_only, required, window_key, window_start_ms
from tests.simulation.scenario import Asset

__all__ = ["Records", "is_covered", "is_stale", "missing", "newer", "not_made", "once_below", "superseded"]

Records = Mapping[str, AssetRecord]


def newer(declared: Declared, records: Records, asset: Asset, key: str | None) -> dict[str, int]:
    """The considered upstreams that changed since the partition was made, each with its newest change."""
    latest = records[asset.asset_id].latest
    made = latest.get(key)
    found: dict[str, int] = {}
    for upstream in asset.considered:
        up = declared.assets[upstream]
        read = made.inputs.get(upstream, 0) if made else 0
        past = superseded(up, asset, records[upstream].latest)
        for up_key, up_made in records[upstream].latest.items():
            if up_made.changed_version <= read or up_key in past:
                continue
            # Where it is the time of production that counts, older versions may concern other windows.
            if is_by_time(up, asset) or key in concerned(up, up_key, up_made.produced_at_ms, asset, (*latest, key)):
                found[upstream] = max(found.get(upstream, 0), up_made.changed_version)
    return found


def superseded(up: Asset, asset: Asset, keys: Iterable[str | None]) -> set[str | None]:
    """Of these windows of an upstream those that are of no concern, as only the latest counts."""
    if not is_latest_only(up, asset):
        return set()
    by_age = sorted(keys, key=lambda key: window_start_ms(up.kind, str(key)))
    return set(by_age[:-1])


def missing(
    declared: Declared, records: Records, asset: Asset, key: str | None, unknown: Container[str] = ()
) -> str | None:
    """An upstream partition that must be there before this one is made by itself, and was never made.

    Of the assets of `unknown` workflows nobody knew how they are partitioned, and so what there is to wait for.
    """
    for upstream in asset.considered:
        if asset.rule_of(upstream).waits and declared.slug_of(upstream) not in unknown:
            lacking = required(declared.assets[upstream], asset, key).difference(records[upstream].latest)
            if lacking:
                return f"{upstream}@{min(map(str, lacking))}"
    return None


def is_covered(dismissal: Dismissal | None, changed: Mapping[str, int]) -> bool:
    """Whether it was decided of all these changes that they start nothing."""
    return dismissal is not None and all(v <= dismissal.inputs.get(u, 0) for u, v in changed.items())


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


def _is_excused_never(key: str | None, changed: Mapping[str, int]) -> bool:
    return False


def not_made(
    declared: Declared,
    records: Records,
    asset: Asset,
    now_ms: int,
    is_excused: Callable[[str | None, Mapping[str, int]], bool] = _is_excused_never,
) -> str | None:
    """L1: an update that no partition was made from though it concerns it, in words; None if there is none.

    Partitions that wait for upstream partitions which were never made are left out, and so are those that are excused.
    """
    latest = records[asset.asset_id].latest

    def may_wait(key: str | None, changed: Mapping[str, int]) -> bool:
        return is_excused(key, changed) or missing(declared, records, asset, key) is not None

    behind: dict[str | None, dict[str, tuple[int, str]]] = {}
    for upstream in asset.considered:
        up = declared.assets[upstream]
        past = superseded(up, asset, records[upstream].latest)
        for up_key, made in records[upstream].latest.items():
            if up_key in past:
                continue
            keys = concerned(up, up_key, made.produced_at_ms, asset, latest)
            if is_by_time(up, asset):
                read = max((m.inputs.get(upstream, 0) for m in latest.values()), default=0)
                is_due = asset.when == "any" and asset.lookback is None
                window = window_key(asset.kind, made.produced_at_ms)
                changed = {upstream: made.changed_version}
                if is_due and read < made.changed_version and not may_wait(window, changed):
                    return f"no window of {asset.asset_id} was made from {upstream}@{up_key}"
                if asset.rule_of(upstream).type != "all":
                    continue
                keys = set(latest)
            for key in keys:
                mine = latest.get(key)
                read = mine.inputs.get(upstream, 0) if mine else 0
                if read < made.changed_version and not is_too_old(asset, key, now_ms):
                    text = (
                        f"{asset.asset_id}@{key} was made from {upstream} up to version {read}, "
                        f"but {upstream}@{up_key} changed in version {made.changed_version}"
                    )
                    changes = behind.setdefault(key, {})
                    changes[upstream] = max(changes.get(upstream, (0, "")), (made.changed_version, text))
    for key, changes in behind.items():
        is_enough = asset.when == "any" or len(changes) == len(asset.considered)
        if is_enough and not may_wait(key, {upstream: version for upstream, (version, _) in changes.items()}):
            return next(iter(changes.values()))[1]
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

"""Materializations, failures and dismissals of a plan, kept in memory by the rules of `record.lua`, `expire.lua` and
`resume.lua`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from actors.catalog.store import AssetRecord
from actors.core.freshness import ExpiryReason, FreshnessPolicy
from actors.core.state import Dismissal, FailureRecord, Materialization
from actors.messages import POS_SHIFT, StreamNews

__all__ = ["Journal", "MemoryAssets"]


class Journal:
    """The stream of a plan: news in the order of what happened, each at a position after all before it."""

    def __init__(self, pos: int) -> None:
        self.pos = pos
        self.news: list[StreamNews] = []

    def next_pos(self, now_ms: int) -> int:
        self.pos = max(now_ms << POS_SHIFT, self.pos + 1)
        return self.pos

    def append(self, news: StreamNews) -> None:
        self.news.append(news)


@dataclass(slots=True)
class _Asset:
    latest: dict[str | None, Materialization] = field(default_factory=dict)
    failures: dict[str | None, FailureRecord] = field(default_factory=dict)
    dismissals: dict[str | None, Dismissal] = field(default_factory=dict)
    counter: int = 0


class MemoryAssets:
    """What is known of every asset, by partition."""

    def __init__(self, records: Mapping[str, AssetRecord]) -> None:
        self._assets = {
            asset_id: _Asset(dict(r.latest), dict(r.failures), dict(r.dismissals), r.counter)
            for asset_id, r in records.items()
        }

    def read(self, asset_ids: Sequence[str]) -> dict[str, AssetRecord]:
        """Copies: what was read does not change when something is made afterwards."""
        return {asset_id: self._record_of(asset_id) for asset_id in asset_ids}

    def made(self, asset_id: str, partition_key: str | None) -> Materialization | None:
        return self._asset(asset_id).latest.get(partition_key)

    def failures(self, asset_id: str, partition_key: str | None) -> int:
        failure = self._asset(asset_id).failures.get(partition_key)
        return failure.failures if failure else 0

    def counters(self, asset_ids: Sequence[str]) -> dict[str, int]:
        """The versions of now: what a run that starts now reads."""
        return {asset_id: self._asset(asset_id).counter for asset_id in asset_ids}

    def make(
        self,
        asset_id: str,
        partition_key: str | None,
        *,
        produced_at_ms: int,
        inputs: Mapping[str, int],
        data_version: str | None,
        run_id: str | None,
        freshness: FreshnessPolicy | None,
    ) -> Materialization:
        """The next version; equal data does not count as a change, and failures and dismissals are forgotten."""
        asset = self._kept(asset_id)
        asset.counter += 1
        before = asset.latest.get(partition_key)
        changed_version = asset.counter
        if before is not None:
            produced_at_ms = max(produced_at_ms, before.produced_at_ms)
            if data_version is not None and before.data_version == data_version:
                changed_version = before.changed_version
        made = Materialization(
            version=asset.counter,
            changed_version=changed_version,
            produced_at_ms=produced_at_ms,
            data_version=data_version,
            run_id=run_id,
            inputs=inputs,
            freshness=freshness,
        )
        asset.latest[partition_key] = made
        asset.failures.pop(partition_key, None)
        asset.dismissals.pop(partition_key, None)
        return made

    def expire(
        self, asset_id: str, partition_key: str | None, version: int | None, expires_at_ms: int, reason: ExpiryReason
    ) -> Materialization | None:
        """What has expired by this; None when nothing has, or it had already."""
        made = self.made(asset_id, partition_key)
        if made is None or (version and version != made.version) or made.produced_at_ms > expires_at_ms:
            return None
        if made.expired_version >= made.version:
            return None
        expired = replace(made, expired_version=made.version, expired_reason=reason)
        self._kept(asset_id).latest[partition_key] = expired
        return expired

    def fail(self, asset_id: str, partition_key: str | None, now_ms: int, run_id: str) -> FailureRecord:
        failure = FailureRecord(self.failures(asset_id, partition_key) + 1, now_ms, run_id)
        self._kept(asset_id).failures[partition_key] = failure
        return failure

    def dismiss(self, asset_id: str, partition_key: str | None, inputs: Mapping[str, int]) -> Dismissal:
        made = self.made(asset_id, partition_key)
        dismissal = Dismissal(made.version if made else 0, inputs)
        self._kept(asset_id).dismissals[partition_key] = dismissal
        return dismissal

    def pass_over(self, asset_id: str, partition_key: str, dismissal: Dismissal) -> bool:
        """False if it was made since."""
        made = self.made(asset_id, partition_key)
        if (made.version if made else 0) != dismissal.version:
            return False
        self._kept(asset_id).dismissals[partition_key] = dismissal
        return True

    def resume(self, asset_id: str, partition_key: str | None) -> int:
        """Of one partition, or of every one when None is given; of how many there was something to forget."""
        asset = self._asset(asset_id)
        keys = {*asset.failures, *asset.dismissals}
        if partition_key is not None:
            keys &= {partition_key}
        for key in keys:
            asset.failures.pop(key, None)
            asset.dismissals.pop(key, None)
        return len(keys)

    def _record_of(self, asset_id: str) -> AssetRecord:
        asset = self._asset(asset_id)
        return AssetRecord(dict(asset.latest), dict(asset.failures), dict(asset.dismissals), asset.counter)

    def _asset(self, asset_id: str) -> _Asset:
        return self._assets.get(asset_id) or _Asset()

    def _kept(self, asset_id: str) -> _Asset:
        return self._assets.setdefault(asset_id, _Asset())

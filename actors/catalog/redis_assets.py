"""Materializations, failures and dismissals on the server."""

from __future__ import annotations

import uuid
from collections.abc import Mapping, Sequence
from typing import Any, Final

from actors.catalog.codec import dump, dump_entry, dump_given, load_asset, load_history
from actors.catalog.connection import server_errors
from actors.catalog.declarations import FreshnessSection
from actors.catalog.events import AssetExpired, AssetPassedOver, AssetProduced, AssetResumed, Dismissed
from actors.catalog.keys import partition_field
from actors.catalog.redis_root import BATCH, RedisRoom, position_of
from actors.catalog.scripts import ScriptCall
from actors.catalog.store import AssetRecord, HistoryEntry, NewMaterialization, Recorded, RunFenced
from actors.core.freshness import ExpiryReason, FreshnessPolicy
from actors.core.state import Dismissal
from actors.core.wallclock import DAY_MS

__all__ = ["RedisAssets"]

_SEEN_FOR_MS: Final = 7 * DAY_MS
"""How long an outsider's dedupe key is remembered."""
_SENT_AGAIN_FOR_MS: Final = 600_000
"""Longer than a connection goes on sending a call whose answer was lost."""


class RedisAssets(RedisRoom):
    def record(self, new: NewMaterialization) -> Recorded:
        event = AssetProduced(
            asset_id=new.asset_id,
            partition_key=new.partition_key,
            workflow_slug=new.workflow_slug,
            run_id=new.run_id,
            step_id=new.step_id,
            produced_at_ms=new.produced_at_ms,
            data_version=new.data_version,
            freshness=_section(new.freshness or new.declared_freshness),
            freshness_source="declared" if new.freshness is None else "result",
            payload=_plain(new.payload),
        )
        answer = self._call(
            "record",
            assetId=new.asset_id,
            partition=partition_field(new.partition_key),
            producedAtMs=new.produced_at_ms,
            upstreams=new.upstreams,
            runId=new.run_id,
            stepId=new.step_id,
            startToken=new.start_token,
            dataVersion=new.data_version,
            given=dump_given(new),
            entry=dump_entry(new),
            historyLimit=self._history.materializations,
            seen=_seen(new),
            seenForMs=_SEEN_FOR_MS,
            **self._told(event),
        )
        outcome, *rest = answer
        if outcome == "fenced":
            raise RunFenced(
                f"run {new.run_id} is {rest[0]}, not running: {new.asset_id} was not recorded by it; "
                "stop working on the run"
            )
        version, changed = rest
        return Recorded(version=version, changed=bool(changed), duplicate=outcome == "duplicate")

    def expire(
        self,
        asset_id: str,
        partition_key: str | None,
        *,
        version: int | None,
        expires_at_ms: int,
        reason: ExpiryReason,
        now_ms: int,
    ) -> bool:
        event = AssetExpired(asset_id=asset_id, partition_key=partition_key, expires_at_ms=expires_at_ms, reason=reason)
        return bool(
            self._call(
                "expire",
                assetId=asset_id,
                partition=partition_field(partition_key),
                version=version or 0,
                expiresAtMs=expires_at_ms,
                reason=reason.value,
                **self._told(event),
            )
        )

    def pass_over(self, asset_id: str, dismissals: Mapping[str, Dismissal]) -> int:
        calls: list[ScriptCall] = []
        for partition_key, left in dismissals.items():
            event = AssetPassedOver(
                asset_id=asset_id,
                partition_key=partition_key,
                dismissed=Dismissed(version=left.version, inputs=dict(left.inputs)),
            )
            args = {
                "assetId": asset_id,
                "partition": partition_field(partition_key),
                "version": left.version,
                "dismissed": dump({"version": left.version, "inputs": left.inputs, "passedOver": True}),
                **self._told(event),
            }
            calls.append(ScriptCall("pass_over", args))
        applied = 0
        for start in range(0, len(calls), BATCH):
            with server_errors(self._server):
                applied += sum(self._scripts.call_all(calls[start : start + BATCH]))
        return applied

    def read_assets(self, asset_ids: Sequence[str]) -> dict[str, AssetRecord]:
        wanted = list(dict.fromkeys(asset_ids))
        if not wanted:
            return {}
        # The counters first: a counter may then lag behind a version that is read after it, never the other way round.
        counters = self._read("HMGET", self._keys.counters, *wanted)
        hashes = self._read_each([("HGETALL", self._keys.asset(asset_id)) for asset_id in wanted])
        return {
            asset_id: load_asset(fields, counter)
            for asset_id, counter, fields in zip(wanted, counters, hashes, strict=True)
        }

    def history(self, asset_id: str, *, partition_key: str | None = None, limit: int = 100) -> list[HistoryEntry]:
        # Only what is kept of the asset can be asked for, so the whole list is bounded by the settings.
        last = limit - 1 if partition_key is None else -1
        if limit < 1:
            return []
        texts: list[str] = self._read("LRANGE", self._keys.history(asset_id), 0, last)
        entries = (load_history(asset_id, text) for text in texts)
        return [e for e in entries if partition_key is None or e.partition_key == partition_key][:limit]

    def asset_ids(self) -> list[str]:
        asset_ids: list[str] = self._read("HKEYS", self._keys.counters)
        return sorted(asset_ids)

    def resume(self, asset_id: str, partition_key: str | None = None) -> int:
        cleared: int = self._call(
            "resume",
            assetId=asset_id,
            partition=partition_key,
            call=uuid.uuid4().hex,
            seenForMs=_SENT_AGAIN_FOR_MS,
            **self._told(AssetResumed(asset_id=asset_id, partition_key=partition_key)),
        )
        return cleared

    def position(self) -> int:
        newest = self._read("XREVRANGE", self._keys.events, "+", "-", "COUNT", 1)
        return position_of(newest[0][0]) if newest else 0


def _seen(new: NewMaterialization) -> list[str]:
    if new.dedupe_key is not None:
        return [f"key:{new.dedupe_key}"]
    # Nothing identifies it, so it is new by definition; but a call that is sent again after its answer was lost is not.
    return [f"call:{uuid.uuid4().hex}"] if new.run_id is None else []


def _section(policy: FreshnessPolicy | None) -> FreshnessSection | None:
    if policy is None:
        return None
    return FreshnessSection(
        ttl_ms=policy.ttl_ms,
        cadence_ms=policy.cadence_ms,
        max_age_ms=policy.max_age_ms,
        cron=policy.cron,
        timezone=policy.timezone,
    )


def _plain(value: Any) -> Any:
    """A JSON value of plain lists and dictionaries, as pydantic wants it."""
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    return value

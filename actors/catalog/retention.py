"""Keeps the past within its bounds: drops what is older than the settings allow, or more than they allow to keep.

Whatever writes keeps the counts as it writes; ages, and counts that were lowered, are seen to here. Everything is
dropped in small pieces, each one script. Nothing that a decision needs is dropped: not the latest materialization of
a partition (but see `retention_partitions`), failures, dismissals, claims or active runs.
"""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any, Final, Literal

import structlog
from redis import Redis

from actors.catalog.catalog_scan import CatalogScan, pieces
from actors.catalog.connection import server_errors
from actors.catalog.keys import partition_field
from actors.catalog.redis_root import RedisRoom
from actors.catalog.retention_partitions import Ages, Changes, ages_of, forgettable, newest_window, old_at_ms
from actors.catalog.scripts import ScriptCall
from actors.catalog.store import AssetRecord, CatalogUnavailable, Deposed, Store
from actors.core.graph import CycleError, Graph
from actors.core.mappings import is_by_production
from actors.core.wallclock import DAY_MS, HOUR_MS
from actors.setting_groups import HistorySettings, RetentionSettings, StreamSettings

__all__ = ["Retention", "RetentionThread", "Swept"]

_MOST: Final = 100
"""How much one script drops: a fraction of a millisecond of the server for each."""
_ASSETS_AT_ONCE: Final = 100
_ASSETS_IN_A_SWEEP: Final = 1_000
_LOOK_AGAIN_MS: Final = HOUR_MS
_HISTORY_READ: Final = 1_000
_FOR_EVER_MS: Final = 1 << 62
_TIMES: Final = {"made": "producedAtMs", "failed": "lastFailureAtMs"}
"""The field that says when a partition was last heard of."""

_log = structlog.stdlib.get_logger("headwater")

Past = Literal["runs", "history", "events", "audit", "dead-letters"]


@dataclass(frozen=True, slots=True)
class Swept:
    """How much of each was dropped; of streams about as much."""

    runs: int = 0
    materializations: int = 0
    partitions: int = 0
    events: int = 0
    audit: int = 0
    dead_letters: int = 0

    @property
    def is_nothing(self) -> bool:
        return not any(asdict(self).values())


class Retention(RedisRoom):
    """Sweeps one catalog. Not thread-safe: it remembers how far it has come.

    `store` is asked what decisions need; a service uses `fenced_by`, so that only the leader drops anything.
    """

    def __init__(
        self,
        client: Redis,
        store: Store,
        *,
        prefix: str,
        streams: StreamSettings,
        history: HistorySettings,
        retention: RetentionSettings,
    ) -> None:
        super().__init__(client, prefix=prefix, streams=streams, history=history)
        self._scan = CatalogScan(client, self._keys)
        self._store = store
        self._retention = retention
        self._cursor = "0"
        self._next_looks: dict[str, int] = {}

    def sweep(self, now_ms: int, *, is_stopping: Callable[[], bool] = lambda: False) -> Swept:
        """Drop what is due; of histories those of the next thousand assets, in turn. `is_stopping` ends it early.

        Raises:
            CatalogUnavailable: the server cannot be reached.
            Deposed: the service does not lead any more.
        """
        days = self._retention
        return Swept(
            runs=self._drop("runs", days.runs_days, now_ms, is_stopping, keep=self._history.runs),
            materializations=self._sweep_histories(now_ms, is_stopping),
            partitions=self._sweep_partitions(now_ms, is_stopping),
            events=self._sweep_stream("events", days.events_days, now_ms, is_stopping),
            audit=self._sweep_stream("audit", days.audit_days, now_ms, is_stopping),
            dead_letters=self._sweep_stream("dead-letters", days.dead_letters_days, now_ms, is_stopping),
        )

    def _drop(self, kind: Past, days: int, now_ms: int, is_stopping: Callable[[], bool], **args: Any) -> int:
        count, dropped = 0, 1
        least = 1 if kind in ("events", "audit", "dead-letters") else _MOST
        while not is_stopping():
            dropped = self._call(
                "forget_past", kind=kind, most=_MOST, cutoffMs=now_ms - days * DAY_MS if days else 0, **args
            )
            count += dropped
            if dropped < least:
                break
        return count

    def _sweep_stream(self, kind: Past, days: int, now_ms: int, is_stopping: Callable[[], bool]) -> int:
        # Their counts are kept by the server with each entry that is added.
        if not days:
            return 0
        key = {"events": self._keys.events, "audit": self._keys.audit, "dead-letters": self._keys.dead_letters}[kind]
        if not self._scan.ask("EXISTS", key):
            return 0
        return self._drop(kind, days, now_ms, is_stopping, group=self._streams.group)

    def _sweep_histories(self, now_ms: int, is_stopping: Callable[[], bool]) -> int:
        count = 0
        for asset_ids in pieces(self._next_assets(), _ASSETS_AT_ONCE):
            count += self._drop(
                "history",
                self._retention.materializations_days,
                now_ms,
                is_stopping,
                keep=self._history.materializations,
                assetIds=asset_ids,
            )
        return count

    def _next_assets(self) -> list[str]:
        """Assets that were ever recorded, some in each sweep, all of them in turn."""
        found: dict[str, None] = {}
        while len(found) < _ASSETS_IN_A_SWEEP:
            self._cursor, flat = self._scan.ask("HSCAN", self._keys.counters, self._cursor, "COUNT", _ASSETS_IN_A_SWEEP)
            found |= dict.fromkeys(flat[::2])
            if self._cursor == "0":
                break
        return list(found)

    # -- partitions --------------------------------------------------------------------------------------------------

    def _sweep_partitions(self, now_ms: int, is_stopping: Callable[[], bool]) -> int:
        definitions = self._store.workflows()
        graph = Graph()
        for definition in definitions:
            try:
                graph.put(definition.to_spec())
            except CycleError:
                # The service refuses it as well: nothing decides by it.
                continue
        ages = ages_of(definitions, graph, self._retention.windows_days)
        self._next_looks = {asset_id: at_ms for asset_id, at_ms in self._next_looks.items() if asset_id in ages}
        count = 0
        for asset_id, of_asset in ages.items():
            if is_stopping():
                break
            if now_ms >= self._next_looks.get(asset_id, 0):
                count += self._sweep_asset(asset_id, of_asset, graph, now_ms)
        return count

    def _sweep_asset(self, asset_id: str, ages: Ages, graph: Graph, now_ms: int) -> int:
        due = self._due(asset_id, ages)
        # What stays although it is old stays for a while: it is not looked at in every sweep.
        coming = [at_ms for at_ms in due.values() if at_ms > now_ms]
        self._next_looks[asset_id] = max(min(coming, default=now_ms + ages.limit_ms), now_ms + _LOOK_AGAIN_MS)
        old = {key for key, at_ms in due.items() if at_ms <= now_ms} - {newest_window(ages, due)}
        if not old:
            return 0
        node = graph.assets[asset_id]
        upstreams = node.spec.considered if node.spec is not None else ()
        records = self._store.read_assets([asset_id, *upstreams])
        keys = forgettable(
            {key for key in old if key is not None},
            asset_id,
            graph,
            records,
            self._histories(asset_id, graph),
            ages=ages,
            now_ms=now_ms,
        )
        if keys != old:
            self._next_looks[asset_id] = now_ms + _LOOK_AGAIN_MS
        return self._forget(asset_id, sorted(keys), records[asset_id], list(node.producers))

    def _due(self, asset_id: str, ages: Ages) -> dict[str, int]:
        """When each partition of which a time is known gets old."""
        record_at: dict[str, int] = {}
        for field, text in self._scan.fields(self._keys.asset(asset_id)):
            kind, _, key = field.partition(":")
            time_field = _TIMES.get(kind)
            if time_field is not None and key:
                at_ms = _number(text, time_field)
                record_at[key] = max(at_ms, record_at.get(key, at_ms))
        found = {key: old_at_ms(ages, key, at_ms) for key, at_ms in record_at.items()}
        return {key: at_ms for key, at_ms in found.items() if at_ms is not None}

    def _histories(self, asset_id: str, graph: Graph) -> dict[str, Changes]:
        """Of upstreams whose time of production says which windows of the asset they concern."""
        spec = graph.assets[asset_id].spec
        found: dict[str, Changes] = {}
        for upstream_id in spec.considered if spec is not None else ():
            upstream = graph.node(upstream_id)
            kind = upstream.partitioning if upstream is not None else None
            if spec is not None and is_by_production(kind, spec.partitioning, spec.mapping_of(upstream_id)):
                found[upstream_id] = tuple(
                    (entry.partition_key, made.version, made.produced_at_ms)
                    for entry in self._store.history(upstream_id, limit=_HISTORY_READ)
                    if (made := entry.materialization).changed_version == made.version
                )
        return found

    def _forget(self, asset_id: str, keys: list[str], record: AssetRecord, workflows: list[str]) -> int:
        judged = [
            {
                "partition": partition_field(key),
                "version": made.version if (made := record.latest.get(key)) else 0,
                "failures": failed.failures if (failed := record.failures.get(key)) else 0,
            }
            for key in keys
        ]
        calls = [
            ScriptCall("forget_partitions", {"assetId": asset_id, "workflows": workflows, "partitions": piece})
            for piece in pieces(judged, _MOST)
        ]
        with server_errors(self._server):
            return sum(self._scripts.call_all(calls))


class RetentionThread:
    """Sweeps now and then while `leads` says so. It can be started once."""

    def __init__(self, retention: Retention, interval_seconds: float, leads: Callable[[], bool]) -> None:
        self._retention = retention
        self._interval_seconds = interval_seconds
        self._leads = leads
        self._is_stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="headwater-retention", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        """Stop after the script under way."""
        self._is_stopping.set()
        if self._thread.is_alive():
            self._thread.join(10.0)

    def _run(self) -> None:
        while not self._is_stopping.wait(self._interval_seconds):
            if not self._leads():
                continue
            try:
                swept = self._retention.sweep(time.time_ns() // 1_000_000, is_stopping=self._is_stopping.is_set)
            except (CatalogUnavailable, Deposed) as error:
                # The next sweep, of this service or of whoever leads then, goes on.
                _log.debug("retention.put_off", reason=str(error))
            except Exception:
                _log.exception("retention.failed")
            else:
                if not swept.is_nothing:
                    _log.info("retention.swept", **asdict(swept), text=_text(swept))


def _number(text: str, name: str) -> int:
    """A field of a JSON text; for ever, if it cannot be read: then nothing is dropped for its age."""
    try:
        return int(json.loads(text)[name])
    except (ValueError, KeyError, TypeError):
        return _FOR_EVER_MS


def _text(swept: Swept) -> str:
    parts = [f"{count:,} {name.replace('_', ' ')}" for name, count in asdict(swept).items() if count]
    return f"dropped by age or count: {', '.join(parts)}"

"""The laws, checked from the catalog alone, by code that shares nothing with the code that decides.

What a partition mapping, an expiry or a budget means is said again here in the plainest way.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from typing import Any, cast

from redis import Redis

from actors.catalog.redis_store import RedisStore
from actors.catalog.store import NewRun, Store, SubmitOutcome, Submitted
from actors.runtime import VirtualClock
from tests.simulation.scenario import STATIC_KEYS, Action, Asset, Scenario
from tests.simulation.trace import TraceObserver

__all__ = ["LawBroken", "Oracle"]

BUDGET = 3
COOL_OFF_MS = 60_000


class LawBroken(BaseException):
    """A law does not hold; the text begins with its number.

    No `Exception`: the code under test calls the oracle, and must not take this for a failure that it can deal with.
    """


class Oracle:
    def __init__(
        self, scenario: Scenario, client: Redis, prefix: str, clock: VirtualClock, trace: TraceObserver
    ) -> None:
        self._scenario = scenario
        self._client = client
        self._prefix = prefix
        self._store = RedisStore(client, prefix=prefix)
        self._clock = clock
        self._trace = trace
        self._changed: set[str] = set()
        self._captured: dict[str, dict[str, int]] = {}
        self._made: list[tuple[str, str | None]] = []
        self._slug_of = {a.asset_id: w.slug for w in scenario.workflows for a in w.assets}
        self.garbage = 0
        self.dead_letters = 0
        self.submissions = 0
        self.pauses: dict[str, int | None] = {}

    def definition_changed(self, slug: str) -> None:
        """What a run of this workflow was needed for can no longer be told from the scenario alone."""
        self._changed.add(slug)

    # -- while it runs -----------------------------------------------------------------------------------------------

    def watched_store(self) -> Store:
        return cast(Store, _WatchedStore(self._store, self))

    def run_starts(self, run_id: str, upstreams: Iterable[str]) -> None:
        records = self._store.read_assets(list(upstreams))
        self._captured[run_id] = {asset_id: record.counter for asset_id, record in records.items()}

    def run_made(self, run_id: str, asset_id: str, key: str | None) -> None:
        self._made.append((asset_id, key))
        if self._slug_of[asset_id] in self._changed:
            return
        made = self._store.read_assets([asset_id])[asset_id].latest[key]
        captured = self._captured[run_id]
        for upstream in self._scenario.assets[asset_id].upstreams:
            if made.inputs.get(upstream, 0) != captured.get(upstream, 0):
                raise LawBroken(
                    f"L3: {run_id} started when {upstream} stood at {captured.get(upstream, 0)}, but what it made of "
                    f"{asset_id}@{key} says {made.inputs.get(upstream, 0)}"
                )

    def submit(self, run: NewRun) -> SubmitOutcome:
        is_auto = run.trigger["type"] == "auto-materialize"
        needed = self._is_needed(run) if is_auto else True
        suspended = self._suspended(run) if is_auto else None
        paused = self._paused(run) if is_auto else None
        (outcome,) = self._store.submit([run])
        if not isinstance(outcome, Submitted):
            return outcome
        self.submissions += 1
        if not needed:
            raise LawBroken(
                f"L2: {run.run_id} of {run.workflow_slug}@{run.partition_key} was started, but nothing is stale"
            )
        if suspended is not None:
            raise LawBroken(f"L7: {run.run_id} was started although {suspended} is suspended")
        if paused is not None:
            raise LawBroken(f"L9: {run.run_id} was started for {paused}, which is paused")
        self._check_limits()
        if is_auto:
            self._check_explained(run)
        return outcome

    def check_always(self) -> None:
        if self._trace.unexplained:
            raise LawBroken(f"L10: decisions without a cause: {self._trace.unexplained}")

    def _check_limits(self) -> None:
        active = self._store.active_runs()
        keys = Counter((run.workflow_slug, run.partition_key) for run in active)
        twice = [key for key, count in keys.items() if count > 1]
        if twice:
            raise LawBroken(f"L2: two active runs of {twice}")
        if len(active) > self._scenario.max_runs:
            raise LawBroken(f"L8: {len(active)} active runs, {self._scenario.max_runs} allowed")
        by_slug = Counter(run.workflow_slug for run in active)
        for slug, most in self._scenario.workflow_limits.items():
            if by_slug[slug] > most:
                raise LawBroken(f"L8: {by_slug[slug]} active runs of {slug}, {most} allowed")
        for pool, most in self._scenario.pool_limits.items():
            slugs = {w.slug for w in self._scenario.workflows if any(a.pool == pool and a.opted_in for a in w.assets)}
            used = sum(by_slug[slug] for slug in slugs)
            if used > most:
                raise LawBroken(f"L8: {used} active runs in pool {pool}, {most} allowed")

    def _check_explained(self, run: NewRun) -> None:
        trigger = run.trigger
        asset_id, key = trigger.get("assetId"), trigger.get("partitionKey")
        reasons = self._trace.wanted.get((str(asset_id), cast("str | None", key)), set())
        if trigger.get("reason") not in reasons:
            raise LawBroken(f"L10: {run.run_id} says {trigger}, but that asset decided {sorted(reasons)}")

    def _is_needed(self, run: NewRun) -> bool:
        """Some asset of the workflow is stale, expired or missing in the catalog at this moment."""
        read = {upstream for asset in self._assets_of(run.workflow_slug) for upstream in asset.upstreams}
        involved = {run.workflow_slug, *(self._slug_of[upstream] for upstream in read)}
        if involved & self._changed or run.trigger["reason"] == "missing":
            return True
        now_ms = self._clock.now_ms()
        for asset in self._assets_of(run.workflow_slug):
            if not asset.opted_in:
                continue
            key = None if asset.kind == "none" else run.partition_key
            made = self._store.read_assets([asset.asset_id])[asset.asset_id].latest.get(key)
            newer = self._newer(asset, key)
            if asset.follows and newer and (asset.when == "any" or len(newer) == len(asset.upstreams)):
                return True
            if made is not None and made.expired_version >= made.version:
                return True
            if made is not None and asset.ttl_ms is not None and made.produced_at_ms + asset.ttl_ms <= now_ms:
                return True
        return False

    def _suspended(self, run: NewRun) -> str | None:
        """An asset that alone calls for the run, and has used up its budget."""
        now_ms = self._clock.now_ms()
        wanting = run.trigger.get("assets") or [run.trigger["assetId"]]
        key = cast("str | None", run.trigger.get("partitionKey"))
        for asset_id in cast("list[str]", wanting):
            failure = self._store.read_assets([asset_id])[asset_id].failures.get(key)
            if failure is not None and failure.failures >= BUDGET and now_ms < failure.last_failure_at_ms + COOL_OFF_MS:
                return asset_id
        return None

    def _paused(self, run: NewRun) -> str | None:
        """An asset that calls for the run although it is paused."""
        now_ms = self._clock.now_ms()
        for asset_id in cast("list[str]", run.trigger.get("assets") or [run.trigger["assetId"]]):
            for scope in ("all", f"workflow:{run.workflow_slug}", f"asset:{asset_id}"):
                if scope in self.pauses and ((until_ms := self.pauses[scope]) is None or now_ms < until_ms):
                    return asset_id
        return None

    # -- when all is still -------------------------------------------------------------------------------------------

    def check_nothing_made(self) -> None:
        """L9: all is paused, and nothing was made."""
        if self._made:
            raise LawBroken(f"L9: all is paused, and {self._made} was made")

    def check_calm_update(self, action: Action) -> None:
        """L4: without faults one update makes everything below it once, and nothing else."""
        below = self._below(str(action.args[0]))
        made = Counter(self._made)
        self._made.clear()
        for asset in self._scenario.assets.values():
            expected = 1 if asset.asset_id in below else 0
            if made[asset.asset_id, None] != expected:
                raise LawBroken(
                    f"L4: after {action} {asset.asset_id} was made {made[asset.asset_id, None]} times, not {expected}"
                )

    def check_end(self) -> None:
        self._check_nothing_active()
        for asset in self._scenario.assets.values():
            if asset.opted_in:
                self._check_up_to_date(asset)
                self._check_not_expired(asset)
        self._check_events()
        if self.dead_letters < self.garbage:
            raise LawBroken(f"L11: {self.garbage} unreadable events, {self.dead_letters} put aside")

    def _check_nothing_active(self) -> None:
        active = self._store.active_runs()
        queued = self._store.queued_runs()
        if active or queued:
            raise LawBroken(
                f"L1: all is still, but runs are left: active {active}, queued {[r.run_id for r in queued]}"
            )

    def _check_up_to_date(self, asset: Asset) -> None:
        if not asset.follows or asset.when == "all":
            return
        latest = self._store.read_assets([asset.asset_id])[asset.asset_id].latest
        for upstream in asset.upstreams:
            up = self._scenario.assets[upstream]
            for up_key, made in self._store.read_assets([upstream])[upstream].latest.items():
                if _is_by_time(up, asset):
                    if max((m.inputs.get(upstream, 0) for m in latest.values()), default=0) < made.changed_version:
                        raise LawBroken(f"L1: no window of {asset.asset_id} was made from {upstream}@{up_key}")
                    continue
                for key in _concerned(up, up_key, made.produced_at_ms, asset):
                    mine = latest.get(key)
                    read = mine.inputs.get(upstream, 0) if mine else 0
                    if read < made.changed_version:
                        raise LawBroken(
                            f"L1: {asset.asset_id}@{key} was made from {upstream} up to version {read}, "
                            f"but {upstream}@{up_key} changed in version {made.changed_version}"
                        )

    def _check_not_expired(self, asset: Asset) -> None:
        if asset.kind in ("minute", "hour"):
            return  # their windows are over
        for key, made in self._store.read_assets([asset.asset_id])[asset.asset_id].latest.items():
            is_over = asset.ttl_ms is not None and made.produced_at_ms + asset.ttl_ms <= self._clock.now_ms()
            if is_over or made.expired_version >= made.version:
                raise LawBroken(f"L6: {asset.asset_id}@{key} is expired and was not made again")

    def _check_events(self) -> None:
        published: Counter[Any] = Counter()
        for entry in self._events():
            if entry["type"] == "asset.expired":
                published[entry["assetId"], entry.get("partitionKey"), entry.get("version")] += 1
        twice = [expiry for expiry, count in published.items() if count > 1]
        if twice:
            raise LawBroken(f"L6: asset.expired was published twice for {twice}")

    def _events(self) -> list[dict[str, Any]]:
        entries: Any = self._client.xrange(f"{self._prefix}:events")
        return [
            {**json.loads(fields["data"]), "type": fields["type"], "version": fields.get("version")}
            for _, fields in entries
            if fields["data"].endswith("}")
        ]

    # -- small things ------------------------------------------------------------------------------------------------

    def _newer(self, asset: Asset, key: str | None) -> list[str]:
        made = self._store.read_assets([asset.asset_id])[asset.asset_id].latest.get(key)
        newer = []
        for upstream in asset.upstreams:
            up = self._scenario.assets[upstream]
            read = made.inputs.get(upstream, 0) if made else 0
            for up_key, up_made in self._store.read_assets([upstream])[upstream].latest.items():
                is_concerned = _is_by_time(up, asset) or key in _concerned(up, up_key, up_made.produced_at_ms, asset)
                if is_concerned and up_made.changed_version > read:
                    newer.append(upstream)
                    break
        return newer

    def _below(self, asset_id: str) -> set[str]:
        below: set[str] = set()
        todo = [asset_id]
        while todo:
            current = todo.pop()
            for asset in self._scenario.assets.values():
                if current in asset.upstreams and asset.follows and asset.asset_id not in below:
                    below.add(asset.asset_id)
                    todo.append(asset.asset_id)
        return below

    def _assets_of(self, slug: str) -> Sequence[Asset]:
        return next(w.assets for w in self._scenario.workflows if w.slug == slug)


class _WatchedStore:
    """The store as the gateway sees it; each submission passes the oracle."""

    def __init__(self, store: RedisStore, oracle: Oracle) -> None:
        self._store = store
        self._oracle = oracle

    def submit(self, runs: Sequence[NewRun]) -> list[SubmitOutcome]:
        return [self._oracle.submit(run) for run in runs]

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)


def _is_by_time(up: Asset, down: Asset) -> bool:
    """The window that a version is about is the one in which it was produced; the catalog keeps the last one's only."""
    return up.kind in ("none", "static") and down.kind in ("minute", "hour")


def _concerned(up: Asset, up_key: str | None, produced_at_ms: int, down: Asset) -> set[str | None]:
    """Which partitions of `down` a partition of `up` is about."""
    minute = datetime.fromtimestamp(produced_at_ms / 1000, UTC).strftime("%Y-%m-%dT%H:%M")
    match up.kind, down.kind:
        case _, "none":
            return {None}
        case ("none", "static") | ("minute", "static") | ("hour", "static"):
            return set(STATIC_KEYS)
        case "static", "static":
            return {up_key}
        case ("none" | "static", "minute"):
            return {minute}
        case ("none" | "static", "hour"):
            return {minute[:13]}
        case "minute", "hour":
            return {str(up_key)[:13]}
        case "hour", "minute":
            return {f"{up_key}:{number:02d}" for number in range(60)}
        case _:
            return {up_key}

"""The laws, checked from the catalog alone, by code that shares nothing with the code that decides.

What a partition mapping, an expiry or a budget means is said again in the plainest way: in `plain.py` and in the other
files named `oracle_`. Nothing here assumes that the wall clock only goes forward.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any, cast

from redis import Redis

from actors.catalog.redis_store import RedisStore
from actors.catalog.store import NewRun, Store, SubmitOutcome, Submitted
from actors.core.shards import Shard
from actors.core.state import Dismissal
from actors.runtime import VirtualClock
from tests.simulation.declared import Declared
from tests.simulation.laws import LawBroken
from tests.simulation.oracle_at_rest import AtRest
from tests.simulation.oracle_changes import Changes
from tests.simulation.oracle_holds import Holds
from tests.simulation.oracle_policies import why_not_now
from tests.simulation.oracle_store import WatchedStore
from tests.simulation.oracle_updates import Records, is_stale, missing, newer, once_below
from tests.simulation.plain import is_key_of, is_latest_only
from tests.simulation.scenario import Action, Asset, Scenario
from tests.simulation.term import Term
from tests.simulation.trace import TraceObserver

__all__ = ["Oracle"]


class Oracle:
    def __init__(
        self,
        scenario: Scenario,
        declared: Declared,
        client: Redis,
        prefix: str,
        clock: VirtualClock,
        trace: TraceObserver,
    ) -> None:
        self._scenario = scenario
        self._declared = declared
        self._client = client
        self._prefix = prefix
        self._store = RedisStore(client, prefix=prefix)
        self._clock = clock
        self.trace = trace
        self._captured: dict[str, dict[str, int]] = {}
        self._terms: dict[Shard, int] = {}
        self._made: list[tuple[str, str | None]] = []
        self.changes = Changes(declared, clock)
        self.malformed: set[str] = set()
        self.dead_letters: set[str] = set()
        self.pauses: dict[str, int | None] = {}
        self.holds = Holds(scenario, declared, clock, self.changes)
        self._at_rest = AtRest(declared, clock, self.changes)

    # -- while it runs -----------------------------------------------------------------------------------------------

    def watched_store(self, term: Term | None = None) -> Store:
        """The store of a service; with its `term` fenced by it."""
        store = self._store if term is None else self._store.fenced_by(term)
        return cast(Store, WatchedStore(store, self, term))

    def led_by(self, term: Term, trace: TraceObserver) -> None:
        """A service leads from now on; when it heard of what it knows is not known here."""
        self._terms = {shard: number for shard, number in self._terms.items() if shard.count == term.shard.count}
        self._terms[term.shard] = term.number or 0
        self.trace = trace
        trace.debounced.clear()
        for asset_id in self._declared.assets:
            self.changes.forget(asset_id)

    def wrote(self, what: str, term: Term | None) -> None:
        if term is not None and self._is_over(term):
            raise LawBroken(f"L2: {what} was written in term {term.number} of shard {term.shard}, which is over")

    def _is_over(self, term: Term) -> bool:
        return term.number != self._terms.get(term.shard)

    def paused(self, scope: str, until_ms: int | None) -> None:
        self.pauses[scope] = until_ms
        self.holds.began(scope)

    def pass_over(
        self, asset_id: str, dismissals: Mapping[str, Dismissal], store: RedisStore, term: Term | None
    ) -> None:
        if term is not None and self._is_over(term):
            store.pass_over(asset_id, dismissals)  # it is refused
            self.wrote(f"what is passed over of {asset_id}", term)
        asset = self._declared.assets[asset_id]
        records = self._store.read_assets(list(self._declared.assets))
        if (why := self.holds.objection(records, asset, dismissals, self.trace)) is not None:
            raise LawBroken(f"L9: {why}")
        store.pass_over(asset_id, dismissals)

    def run_starts(self, run_id: str, upstreams: Iterable[str]) -> None:
        asset_ids = list(upstreams)
        counters: Any = self._client.hmget(f"{self._prefix}:counters", asset_ids) if asset_ids else ()
        self._captured[run_id] = {asset_id: int(n or 0) for asset_id, n in zip(asset_ids, counters, strict=True)}

    def run_made(self, run_id: str, asset: Asset, key: str | None) -> None:
        self._made.append((asset.asset_id, key))
        made = self._store.read_assets([asset.asset_id])[asset.asset_id].latest[key]
        captured = self._captured[run_id]
        for upstream in asset.upstreams:
            if made.inputs.get(upstream, 0) != captured.get(upstream, 0):
                raise LawBroken(
                    f"L3: {run_id} started when {upstream} stood at {captured.get(upstream, 0)}, but what it made of "
                    f"{asset.asset_id}@{key} says {made.inputs.get(upstream, 0)}"
                )

    def submit(self, run: NewRun, store: RedisStore, term: Term | None) -> SubmitOutcome:
        if term is not None and term.number is None:
            raise LawBroken(f"L2: {run.run_id} was submitted by a service that stands by")
        is_auto = run.trigger["type"] == "auto-materialize"
        objection = self._objection(run) if is_auto else None
        (outcome,) = store.submit([run])
        self.wrote(run.run_id, term)
        if not isinstance(outcome, Submitted):
            return outcome
        if objection is not None:
            raise LawBroken(objection)
        self._check_limits()
        if is_auto:
            self._check_explained(run)
        return outcome

    def check_always(self) -> None:
        if self.trace.unexplained:
            raise LawBroken(f"L10: decisions without a cause: {self.trace.unexplained}")
        for asset_id, key, until_ms in self.trace.debounced:
            self._check_debounce(self._declared.assets[asset_id], key, until_ms)
        self.trace.debounced.clear()

    def _check_debounce(self, asset: Asset, key: str | None, until_ms: int) -> None:
        if asset.max_delay_ms is None or self._declared.slug_of(asset.asset_id) in self._declared.unsettled:
            return
        records = self._store.read_assets([asset.asset_id, *asset.considered])
        if (why := self.changes.too_late(records, asset, key, until_ms)) is not None:
            raise LawBroken(f"L1: {why}")

    def _objection(self, run: NewRun) -> str | None:
        """The law that stands against this run at this moment, if any. What it would read is read once."""
        if (paused := self._paused(run)) is not None:
            return f"L9: {run.run_id} was started for {paused}, which is paused"
        assets = self._declared.workflows[run.workflow_slug].assets
        involved = {run.workflow_slug, *(self._declared.slug_of(u) for asset in assets for u in asset.upstreams)}
        if involved & self._declared.unsettled:
            return None
        records = self._store.read_assets([*(a.asset_id for a in assets), *(u for a in assets for u in a.upstreams)])
        if not any(self._calls_for(run, records, asset) for asset in assets):
            return f"L2: {run.run_id} of {run.workflow_slug}@{run.partition_key} was started, but nothing is stale"
        for asset, key in self._wanting(run):
            decided_at_ms = self.trace.decided_at.get((asset.asset_id, key), 0)
            failure = records[asset.asset_id].failures.get(key)
            quiets = self._declared.quiets(asset.asset_id)
            if (why := why_not_now(asset, quiets, failure, self._clock.now_ms(), decided_at_ms)) is not None:
                return f"{why}, but {run.run_id} was started"
            unknown = self._declared.removed_once
            if (lacking := missing(self._declared, records, asset, key, unknown)) is not None:
                return f"L1: {asset.asset_id}@{key} is to wait for {lacking}, but {run.run_id} was started"
        lead, key = self._wanting(run)[0]
        if run.trigger["reason"] == "upstream-updated":
            decided_at_ms = self.trace.decided_at.get((lead.asset_id, key), 0)
            if (why := self.changes.too_early(records, lead, key, decided_at_ms)) is not None:
                return f"L1: {why}, but {run.run_id} was started"
        return None

    def _calls_for(self, run: NewRun, records: Records, asset: Asset) -> bool:
        key = None if asset.kind == "none" else run.partition_key
        if not asset.opted_in or not is_key_of(asset, key):
            return False
        changed = newer(self._declared, records, asset, key)
        if self.holds.is_passed_over(records, asset, key, changed, self.trace):
            return False
        if self._may_count_all_windows(asset) or self.changes.came_too_soon(records, asset, key):
            return True
        # What was wanted in time is made, be it that a limit held it back, or that the clock was put back, until later.
        times = {self._clock.now_ms(), self.trace.decided_at.get((asset.asset_id, key), 0)}
        return any(is_stale(self._declared, records, asset, key, at_ms) for at_ms in times)

    def _may_count_all_windows(self, asset: Asset) -> bool:
        """Of an upstream that no workflow makes nobody knows which of its windows is the latest.

        And of one that stood by it is not known here in which order it heard of them.
        """
        return any(
            is_latest_only(self._declared.assets[upstream], asset)
            and (
                self._scenario.services > 1
                or self._scenario.shards > 1
                or self._declared.slug_of(upstream) in self._declared.removed_once
            )
            for upstream in asset.considered
        )

    def _wanting(self, run: NewRun) -> list[tuple[Asset, str | None]]:
        """The assets that call for the run, the leading one first."""
        lead = cast(str, run.trigger["assetId"])
        key = cast("str | None", run.trigger.get("partitionKey"))
        others = cast("list[str]", run.trigger.get("assets") or [])
        return [(self._declared.assets[a], key) for a in (lead, *(other for other in others if other != lead))]

    def _paused(self, run: NewRun) -> str | None:
        """An asset that calls for the run although it is paused."""
        now_ms = self._clock.now_ms()
        for asset, _ in self._wanting(run):
            for scope in ("all", f"workflow:{run.workflow_slug}", f"asset:{asset.asset_id}"):
                if scope in self.pauses and ((until_ms := self.pauses[scope]) is None or now_ms < until_ms):
                    return asset.asset_id
        return None

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
            slugs = {
                slug
                for slug, workflow in self._declared.workflows.items()
                if any(a.pool == pool and a.opted_in for a in workflow.assets)
            }
            used = sum(by_slug[slug] for slug in slugs)
            if used > most:
                raise LawBroken(f"L8: {used} active runs in pool {pool}, {most} allowed")

    def _check_explained(self, run: NewRun) -> None:
        trigger = run.trigger
        asset_id, key = trigger.get("assetId"), trigger.get("partitionKey")
        reasons = self.trace.wanted.get((str(asset_id), cast("str | None", key)), set())
        if trigger.get("reason") not in reasons:
            raise LawBroken(f"L10: {run.run_id} says {trigger}, but that asset decided {sorted(reasons)}")

    # -- when all is still -------------------------------------------------------------------------------------------

    def check_nothing_made(self) -> None:
        """L9: all is paused, and nothing was made."""
        if self._made:
            raise LawBroken(f"L9: all is paused, and {self._made} was made")

    def check_calm_update(self, action: Action) -> None:
        """L4: without faults one update makes everything below it once, and nothing else."""
        expected = once_below(self._declared, str(action.args[0]), action.args[1])
        made = Counter(self._made)
        self._made.clear()
        for asset_id, key in {*expected, *made}:
            if made[asset_id, key] != expected[asset_id, key]:
                raise LawBroken(
                    f"L4: after {action} {asset_id}@{key} was made {made[asset_id, key]} times, "
                    f"not {expected[asset_id, key]}"
                )

    def is_quiet_anywhere(self) -> bool:
        return self._at_rest.is_quiet_anywhere()

    def check_left_as_they_are(self) -> None:
        """L9: nothing is held back any more, but not resumed yet."""
        self._at_rest.check_left_as_they_are(self._store.read_assets(list(self._declared.assets)))

    def check_end(self) -> None:
        self._check_nothing_active()
        self._at_rest.check(self._store.read_assets(list(self._declared.assets)))
        self._check_events()
        if self.dead_letters != self.malformed:
            wrong = self.dead_letters ^ self.malformed
            raise LawBroken(f"L11: put aside though readable, or unreadable and not put aside: {sorted(wrong)}")

    def _check_nothing_active(self) -> None:
        active = self._store.active_runs()
        queued = self._store.queued_runs()
        if active or queued:
            raise LawBroken(
                f"L1: all is still, but runs are left: active {active}, queued {[r.run_id for r in queued]}"
            )

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
            for entry_id, fields in entries
            if entry_id not in self.malformed
        ]

"""What happens from outside: somebody produces, asks, pauses, redefines, or writes nonsense into the stream."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from redis import Redis

from actors.catalog.definitions import parse_definition
from actors.catalog.redis_store import RedisStore
from actors.catalog.store import Limits, NewMaterialization, NewRun
from actors.core.freshness import ExpiryReason, FreshnessPolicy
from actors.runtime import VirtualClock
from tests.simulation.declared import Declared
from tests.simulation.malformed import MALFORMED
from tests.simulation.oracle import Oracle
from tests.simulation.plain import keys_within
from tests.simulation.scenario import Action, Quiet, Scenario

__all__ = ["Outside"]


class Outside:
    """Acts on the catalog alone, as commands and other programs do."""

    def __init__(
        self,
        scenario: Scenario,
        declared: Declared,
        client: Redis,
        prefix: str,
        store: RedisStore,
        clock: VirtualClock,
        oracle: Oracle,
        next_number: Callable[[], int],
    ) -> None:
        self._scenario = scenario
        self._declared = declared
        self._client = client
        self._stream = f"{prefix}:events"
        self._store = store
        self._clock = clock
        self._oracle = oracle
        self._next_number = next_number
        self._removed: dict[str, None] = {}
        for workflow in scenario.workflows:
            self._put(workflow.definition())
        declared.unsettled.clear()

    def do(self, action: Action) -> None:
        now_ms = self._clock.now_ms()
        match action.kind, action.args:
            case "emit", (str(asset_id), key):
                self.record(asset_id, key, now_ms)
            case "emit", (str(asset_id), key, own_ttl_ms):
                self.record(asset_id, key, now_ms, own_ttl_ms=own_ttl_ms)
            case "late", (str(asset_id), key):
                self.record(asset_id, key, now_ms - 30_000)
            case "twice", (str(asset_id), key):
                dedupe_key = f"twice-{self._next_number()}"
                for _ in range(2):
                    self.record(asset_id, key, now_ms, dedupe_key=dedupe_key)
            case "expire", (str(asset_id), key):
                self._store.expire(
                    asset_id, key, version=None, expires_at_ms=now_ms, reason=ExpiryReason.MANUAL, now_ms=now_ms
                )
            case "trigger", (str(slug), key):
                self._trigger(slug, key)
            case "pause", (str(scope), for_ms):
                self.pause(scope, for_ms)
            case "unpause", (str(scope),):
                self.unpause(scope)
            case "resume", (str(asset_id),):
                self._store.resume(asset_id)
            case "garbage", ():
                self._append_malformed("no json")
            case "malformed", (str(name),):
                self._append_malformed(name)
            case "change", (str(slug),):
                if slug not in self._removed:
                    self._put(self._declared.workflows[slug].definition(self._next_number()))
            case "alter", (str(asset_id), str(name), value):
                self._alter(asset_id, name, value)
            case "silence", (str(slug), quiet):
                self._silence(slug, quiet)
            case "fill", (str(asset_id), str(window), str(kind), int(but)):
                self._fill(asset_id, window, kind, but)
            case "remove", (str(slug),):
                self._remove_or_restore(slug)
            case unknown:
                raise AssertionError(f"the scenario has an action that nobody knows: {unknown}")

    def record(
        self,
        asset_id: str,
        key: str | None,
        produced_at_ms: int,
        *,
        dedupe_key: str | None = None,
        own_ttl_ms: int | None = None,
    ) -> None:
        recorded = self._store.record(
            NewMaterialization(
                asset_id=asset_id,
                partition_key=key,
                produced_at_ms=produced_at_ms,
                upstreams=self._declared.assets[asset_id].upstreams,
                freshness=None if own_ttl_ms is None else FreshnessPolicy(ttl_ms=own_ttl_ms),
                dedupe_key=dedupe_key,
            )
        )
        self._oracle.changes.recorded(asset_id, recorded.version, key)

    def pause(self, scope: str, for_ms: int | None) -> None:
        now_ms = self._clock.now_ms()
        until_ms = None if for_ms is None else now_ms + for_ms
        self._store.pause(scope, until_ms, "simulation", now_ms)
        self._oracle.paused(scope, until_ms)

    def unpause(self, scope: str) -> None:
        self._store.unpause(scope, self._clock.now_ms())
        self._oracle.pauses.pop(scope, None)

    def restore_all(self) -> None:
        for slug in list(self._removed):
            self._remove_or_restore(slug)

    def unpause_all(self) -> None:
        for scope in list(self._oracle.pauses):
            self.unpause(scope)

    def resume_all(self) -> None:
        for asset_id in self._declared.assets:
            self._store.resume(asset_id)

    def _append_malformed(self, name: str) -> None:
        fields: Any = dict(MALFORMED[name])
        entry_id: Any = self._client.xadd(self._stream, fields)
        self._oracle.malformed.add(entry_id)

    def _trigger(self, slug: str, key: str | None) -> None:
        self._store.queue_run(
            NewRun(
                run_id=f"manual-{self._next_number()}",
                workflow_slug=slug,
                partition_key=key,
                parameters={},
                trigger={"type": "manual", "reason": "simulation"},
                created_at_ms=self._clock.now_ms(),
                limits=Limits(self._scenario.max_runs),
            )
        )

    def _alter(self, asset_id: str, name: str, value: Any) -> None:
        workflow = self._declared.alter(asset_id, name, value)
        for asset in workflow.assets:
            self._oracle.changes.forget(asset.asset_id)
        if workflow.slug not in self._removed:
            self._put(workflow.definition(self._next_number()))

    def _silence(self, slug: str, quiet: Quiet | None) -> None:
        workflow = self._declared.silence(slug, quiet)
        if slug not in self._removed:
            self._put(workflow.definition(self._next_number()))

    def _fill(self, asset_id: str, window: str, kind: str, but: int) -> None:
        """Produce what was never made of an asset's windows inside a longer one, `but` for so many."""
        made = self._store.read_assets([asset_id])[asset_id].latest
        keys = [key for key in keys_within(self._declared.assets[asset_id].kind, kind, window) if key not in made]
        for key in keys[: max(0, len(keys) - but)]:
            self.record(asset_id, key, self._clock.now_ms())

    def _remove_or_restore(self, slug: str) -> None:
        self._declared.unsettled.add(slug)
        self._declared.removed_once.add(slug)
        if slug in self._removed:
            del self._removed[slug]
            self._put(self._declared.workflows[slug].definition())
        else:
            self._removed[slug] = None
            self._store.remove_workflow(slug)

    def _put(self, definition: dict[str, Any]) -> None:
        parsed = parse_definition(json.dumps(definition), source="simulation", format="json")
        self._declared.unsettled.add(parsed.slug)
        self._store.put_workflow(parsed, source="command", content_hash=parsed.content_hash)

"""Several observers in place of one."""

from __future__ import annotations

from collections.abc import Sequence

from actors.core.decide import Decision, Reason
from actors.observer import Observer

__all__ = ["FanOut"]


class FanOut:
    """An Observer that passes every report on to each of `observers`, in their order."""

    __slots__ = ("_observers",)

    def __init__(self, observers: Sequence[Observer]) -> None:
        self._observers = tuple(observers)

    def decided(
        self,
        *,
        asset_id: str,
        workflow_slug: str | None,
        partition_key: str | None,
        decision: Decision,
        cause: str,
        run_id: str | None,
        failures: int,
        next_look_ms: int | None,
        is_news: bool,
    ) -> None:
        for observer in self._observers:
            observer.decided(
                asset_id=asset_id,
                workflow_slug=workflow_slug,
                partition_key=partition_key,
                decision=decision,
                cause=cause,
                run_id=run_id,
                failures=failures,
                next_look_ms=next_look_ms,
                is_news=is_news,
            )

    def run_submitted(
        self,
        *,
        run_id: str,
        workflow_slug: str,
        partition_key: str | None,
        trigger: str,
        reason: str,
        cause: str,
        waited_ms: int | None,
    ) -> None:
        for observer in self._observers:
            observer.run_submitted(
                run_id=run_id,
                workflow_slug=workflow_slug,
                partition_key=partition_key,
                trigger=trigger,
                reason=reason,
                cause=cause,
                waited_ms=waited_ms,
            )

    def run_deduplicated(self, *, workflow_slug: str, partition_key: str | None, asset_id: str, because: str) -> None:
        for observer in self._observers:
            observer.run_deduplicated(
                workflow_slug=workflow_slug, partition_key=partition_key, asset_id=asset_id, because=because
            )

    def run_delayed(self, *, workflow_slug: str, partition_key: str | None, limit: str) -> None:
        for observer in self._observers:
            observer.run_delayed(workflow_slug=workflow_slug, partition_key=partition_key, limit=limit)

    def run_ended(
        self,
        *,
        run_id: str,
        workflow_slug: str,
        partition_key: str | None,
        trigger: str,
        reason: str,
        outcome: str,
        error: str | None,
        duration_ms: int | None,
    ) -> None:
        for observer in self._observers:
            observer.run_ended(
                run_id=run_id,
                workflow_slug=workflow_slug,
                partition_key=partition_key,
                trigger=trigger,
                reason=reason,
                outcome=outcome,
                error=error,
                duration_ms=duration_ms,
            )

    def run_lost(self, *, run_id: str, workflow_slug: str, partition_key: str | None, error: str) -> None:
        for observer in self._observers:
            observer.run_lost(run_id=run_id, workflow_slug=workflow_slug, partition_key=partition_key, error=error)

    def run_relaunched(self, *, run_id: str, workflow_slug: str, partition_key: str | None) -> None:
        for observer in self._observers:
            observer.run_relaunched(run_id=run_id, workflow_slug=workflow_slug, partition_key=partition_key)

    def failed(self, *, asset_id: str, partition_key: str | None, failures: int, reason: Reason) -> None:
        for observer in self._observers:
            observer.failed(asset_id=asset_id, partition_key=partition_key, failures=failures, reason=reason)

    def stale_changed(self, delta: int) -> None:
        for observer in self._observers:
            observer.stale_changed(delta)

    def queue_changed(self, *, active: int, queued: int) -> None:
        for observer in self._observers:
            observer.queue_changed(active=active, queued=queued)

    def dead_letter(self, *, reason: str) -> None:
        for observer in self._observers:
            observer.dead_letter(reason=reason)

    def undelivered(self, *, message: str, receiver: str) -> None:
        for observer in self._observers:
            observer.undelivered(message=message, receiver=receiver)

    def child_restarted(self, *, name: str, error: str, restarts: int) -> None:
        for observer in self._observers:
            observer.child_restarted(name=name, error=error, restarts=restarts)

    def workflow_changed(self, *, slug: str, change: str) -> None:
        for observer in self._observers:
            observer.workflow_changed(slug=slug, change=change)

    def catalog_unavailable(self, *, error: str) -> None:
        for observer in self._observers:
            observer.catalog_unavailable(error=error)

    def catalog_available(self) -> None:
        for observer in self._observers:
            observer.catalog_available()

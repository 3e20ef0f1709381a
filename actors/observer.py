"""What actors report about themselves. Logs, metrics and the simulation's trace are made from these calls alone.

Calls come from any dispatcher thread and must neither block nor raise.
"""

from __future__ import annotations

from typing import Any, Protocol

from actors.core.decide import Decision, Reason

__all__ = ["Observer", "Unheard"]


class Observer(Protocol):
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
        """A decision was taken; `cause` names the news behind it; `is_news` is False when nothing changed by it."""

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
        """A run was claimed and handed to the launcher, `waited_ms` after the event that called for it."""

    def run_deduplicated(self, *, workflow_slug: str, partition_key: str | None, asset_id: str, because: str) -> None:
        """A wanted run was not started: one is active already, or what it was wanted for has been made."""

    def run_delayed(self, *, workflow_slug: str, partition_key: str | None, limit: str) -> None:
        """A wanted run waits for a slot of `limit` (`global`, `workflow` or `pool:NAME`)."""

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
    ) -> None: ...

    def run_lost(self, *, run_id: str, workflow_slug: str, partition_key: str | None, error: str) -> None:
        """A run was given up: nobody works on it. `error` says who did, and since when it was not heard of."""

    def run_relaunched(self, *, run_id: str, workflow_slug: str, partition_key: str | None) -> None:
        """A run that nobody has started in time was handed to the launcher once more."""

    def failed(self, *, asset_id: str, partition_key: str | None, failures: int, reason: Reason) -> None:
        """An asset partition now waits because of failures: `backoff` or `suspended`."""

    def stale_changed(self, delta: int) -> None:
        """So many more (or fewer) asset partitions are stale."""

    def queue_changed(self, *, active: int, queued: int) -> None: ...

    def dead_letter(self, *, reason: str) -> None:
        """An event that could not be read was put aside."""

    def undelivered(self, *, message: str, receiver: str) -> None:
        """A message to an actor that had stopped; it knows all from the catalog when it is back."""

    def child_restarted(self, *, name: str, error: str, restarts: int) -> None: ...

    def workflow_changed(self, *, slug: str, change: str) -> None:
        """`change` is `loaded`, `updated`, `removed` or `refused: reason`."""

    def catalog_unavailable(self, *, error: str) -> None: ...

    def catalog_available(self) -> None: ...


class Unheard:
    """An `Observer` that passes over every report. Whoever derives from it says anew what it hears."""

    def decided(self, *_told: Any, **_named: Any) -> None:
        return

    def run_submitted(self, *_told: Any, **_named: Any) -> None:
        return

    def run_deduplicated(self, *_told: Any, **_named: Any) -> None:
        return

    def run_delayed(self, *_told: Any, **_named: Any) -> None:
        return

    def run_ended(self, *_told: Any, **_named: Any) -> None:
        return

    def run_lost(self, *_told: Any, **_named: Any) -> None:
        return

    def run_relaunched(self, *_told: Any, **_named: Any) -> None:
        return

    def failed(self, *_told: Any, **_named: Any) -> None:
        return

    def stale_changed(self, *_told: Any, **_named: Any) -> None:
        return

    def queue_changed(self, *_told: Any, **_named: Any) -> None:
        return

    def dead_letter(self, *_told: Any, **_named: Any) -> None:
        return

    def undelivered(self, *_told: Any, **_named: Any) -> None:
        return

    def child_restarted(self, *_told: Any, **_named: Any) -> None:
        return

    def workflow_changed(self, *_told: Any, **_named: Any) -> None:
        return

    def catalog_unavailable(self, *_told: Any, **_named: Any) -> None:
        return

    def catalog_available(self, *_told: Any, **_named: Any) -> None:
        return

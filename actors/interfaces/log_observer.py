"""What actors report, as canonical log lines: one for each decision, and each start and end of a run."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable

import structlog

from actors.core.decide import Decision, Reason, Wait
from actors.core.state import partition_name
from actors.interfaces.dump import decision_kind, iso_or_none
from actors.interfaces.program import command
from actors.interfaces.render import clock_text, duration_text

__all__ = ["LogObserver"]


class LogObserver:
    """Writes each report as one line; `text` is what the console says in place of the fields.

    Services that stand by decide as the leader does, and nothing follows: they tell it at level debug, if at all.
    """

    def __init__(self, leads: Callable[[], bool] = lambda: True) -> None:
        self._leads = leads
        self._log = structlog.stdlib.get_logger("headwater")
        # Asked before a line is composed, which costs more than all that led to it.
        self._level = logging.getLogger("headwater")
        self._lock = threading.Lock()
        self._is_catalog_up: bool | None = None

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
        is_news = is_news and self._leads()
        if not self._level.isEnabledFor(logging.INFO if is_news else logging.DEBUG):
            return
        until = next_look_ms
        if isinstance(decision, Wait) and decision.until_ms is not None:
            until = decision.until_ms
        kind, reason = decision_kind(decision), decision.reason.value
        text = f"{partition_name(asset_id, partition_key)}  {kind}: {reason}, after {cause}"
        if failures:
            text += f", {failures} failed"
        if until is not None:
            text += f", next look {clock_text(until)}"
        (self._log.info if is_news else self._log.debug)(
            "decision",
            asset_id=asset_id,
            workflow=workflow_slug,
            partition_key=partition_key,
            decision=kind,
            reason=reason,
            cause=cause,
            run_id=run_id,
            failures=failures,
            next_look=iso_or_none(until),
            text=text,
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
        if not self._level.isEnabledFor(logging.INFO):
            return
        why = reason if trigger == "auto-materialize" else f"{trigger}: {reason}"
        text = f"{partition_name(workflow_slug, partition_key)}  {why}"
        if cause:
            text += f", because of {cause}"
        self._log.info(
            "run submitted",
            workflow=workflow_slug,
            partition_key=partition_key,
            run_id=run_id,
            trigger=trigger,
            reason=reason,
            because_of=cause or None,
            waited_ms=waited_ms,
            text=f"{text}  ({run_id})",
        )

    def run_deduplicated(self, *, workflow_slug: str, partition_key: str | None, asset_id: str, because: str) -> None:
        if not self._leads():
            return
        self._log.info(
            "run not needed",
            workflow=workflow_slug,
            partition_key=partition_key,
            asset_id=asset_id,
            because=because,
            text=f"{partition_name(workflow_slug, partition_key)}  for {asset_id}: {because}",
        )

    def run_delayed(self, *, workflow_slug: str, partition_key: str | None, limit: str) -> None:
        self._log.info(
            "run delayed",
            workflow=workflow_slug,
            partition_key=partition_key,
            limit=limit,
            text=f"{partition_name(workflow_slug, partition_key)}  waits for a slot: limit {limit}",
        )

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
        if not self._leads():
            return
        is_well = outcome in ("succeeded", "canceled")
        took = "" if duration_ms is None else f" after {duration_text(duration_ms)}"
        why = "" if error is None else f": {error}"
        (self._log.info if is_well else self._log.warning)(
            "run ended",
            workflow=workflow_slug,
            partition_key=partition_key,
            run_id=run_id,
            trigger=trigger,
            reason=reason,
            outcome=outcome,
            error=error,
            duration_ms=duration_ms,
            text=f"{partition_name(workflow_slug, partition_key)}  {outcome}{took}{why}  ({run_id})",
        )

    def run_lost(self, *, run_id: str, workflow_slug: str, partition_key: str | None, error: str) -> None:
        self._log.warning(
            "run.lost",
            workflow=workflow_slug,
            partition_key=partition_key,
            run_id=run_id,
            error=error,
            text=f"{partition_name(workflow_slug, partition_key)}  lost, retried by policy: {error}  ({run_id})",
        )

    def run_relaunched(self, *, run_id: str, workflow_slug: str, partition_key: str | None) -> None:
        self._log.warning(
            "run.relaunched",
            workflow=workflow_slug,
            partition_key=partition_key,
            run_id=run_id,
            text=f"{partition_name(workflow_slug, partition_key)}  nobody started it; launched again  ({run_id})",
        )

    def failed(self, *, asset_id: str, partition_key: str | None, failures: int, reason: Reason) -> None:
        if not self._leads():
            return
        name = partition_name(asset_id, partition_key)
        text = f"{name}  {failures} failed in a row"
        if reason is Reason.SUSPENDED:
            text += f"; nothing more is tried until `{command('resume', asset_id)}`, or until the cool-off passes"
        self._log.warning(
            str(reason.value),
            asset_id=asset_id,
            partition_key=partition_key,
            failures=failures,
            text=text,
        )

    def stale_changed(self, delta: int) -> None:
        """Not a line of its own: the decision that made it so has one."""

    def queue_changed(self, *, active: int, queued: int) -> None:
        if self._level.isEnabledFor(logging.DEBUG):
            self._log.debug("queue", active=active, queued=queued)

    def dead_letter(self, *, reason: str) -> None:
        self._log.warning("dead letter", reason=reason, text=f"an event was put aside: {reason}")

    def undelivered(self, *, message: str, receiver: str) -> None:
        self._log.debug("undelivered", message=message, receiver=receiver)

    def child_restarted(self, *, name: str, error: str, restarts: int) -> None:
        self._log.error("restarted", child=name, error=error, restarts=restarts)

    def workflow_changed(self, *, slug: str, change: str) -> None:
        refused = change.startswith("refused")
        (self._log.warning if refused else self._log.info)(
            "workflow", workflow=slug, change=change, text=f"{slug}  {change}"
        )

    def catalog_unavailable(self, *, error: str) -> None:
        if self._is_news(is_up=False):
            self._log.error("catalog down", error=error, text=error)

    def catalog_available(self) -> None:
        if self._is_news(is_up=True):
            self._log.info("catalog up")

    def _is_news(self, *, is_up: bool) -> bool:
        """Several threads find the catalog away, or back, each on its own; the first tells."""
        with self._lock:
            before, self._is_catalog_up = self._is_catalog_up, is_up
            return before is not is_up

"""What the actors said of themselves, in order, for the oracle and for whoever replays a failing seed."""

from __future__ import annotations

from collections import deque
from typing import Any

from actors.core.decide import Decision, Materialize, Reason, Wait
from actors.runtime import VirtualClock

__all__ = ["TraceObserver"]


class TraceObserver:
    """Implements `Observer`; keeps the last lines, and which partitions decided to be made, why, when and as which of
    all decisions last.

    `debounced` are the waits for further updates that the oracle has not looked at yet, with their ends.
    """

    def __init__(self, clock: VirtualClock, name: str = "") -> None:
        self._clock = clock
        self._name = name
        self._start_ms = clock.now_ms()
        self.lines: deque[str] = deque(maxlen=400)
        self.wanted: dict[tuple[str, str | None], set[Reason]] = {}
        self.decided_at: dict[tuple[str, str | None], int] = {}
        self._counted = [0]
        self.decided_as: dict[tuple[str, str | None], int] = {}
        self.debounced: list[tuple[str, str | None, int]] = []
        self.unexplained: list[str] = []

    @property
    def decisions(self) -> int:
        """How many there were."""
        return self._counted[0]

    def another(self, name: str) -> TraceObserver:
        """That of another service, in the same lines."""
        trace = TraceObserver(self._clock, f"{name}: ")
        trace.lines, trace._start_ms = self.lines, self._start_ms
        return trace

    def join(self, whole: TraceObserver) -> None:
        """Write into that of all leaders from now on, and what is known of those assets that decided here."""
        whole.wanted |= self.wanted
        whole.decided_at |= self.decided_at
        whole.decided_as |= dict.fromkeys(self.decided_as, whole.decisions)
        self.wanted, self.decided_at, self.decided_as = whole.wanted, whole.decided_at, whole.decided_as
        self.debounced, self.unexplained, self._counted = whole.debounced, whole.unexplained, whole._counted

    def part(self) -> None:
        """Write for itself from now on."""
        self.wanted, self.decided_at, self.decided_as = dict(self.wanted), dict(self.decided_at), dict(self.decided_as)
        self.debounced, self.unexplained, self._counted = [], [], list(self._counted)

    def note(self, text: str) -> None:
        self.lines.append(f"{(self._clock.now_ms() - self._start_ms) / 1000:9.3f}  {self._name}{text}")

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
        self._counted[0] += 1
        if isinstance(decision, Materialize):
            self.decided_as[asset_id, partition_key] = self.decisions
            self.wanted.setdefault((asset_id, partition_key), set()).add(decision.reason)
            self.decided_at[asset_id, partition_key] = self._clock.now_ms()
        if isinstance(decision, Wait) and decision.reason is Reason.DEBOUNCE and decision.until_ms is not None:
            self.debounced.append((asset_id, partition_key, decision.until_ms))
        if not cause:
            self.unexplained.append(asset_id)
        self.note(f"{asset_id}@{partition_key}: {type(decision).__name__} {decision.reason} after {cause}")

    def run_submitted(self, **report: Any) -> None:
        self.note(f"submitted {report}")

    def run_deduplicated(self, **report: Any) -> None:
        self.note(f"deduplicated {report}")

    def run_delayed(self, **report: Any) -> None:
        self.note(f"delayed {report}")

    def run_ended(self, **report: Any) -> None:
        self.note(f"ended {report}")

    def run_lost(self, **report: Any) -> None:
        self.note(f"lost {report}")

    def run_relaunched(self, **report: Any) -> None:
        self.note(f"relaunched {report}")

    def failed(self, **report: Any) -> None:
        self.note(f"failed {report}")

    def stale_changed(self, delta: int) -> None:
        return

    def queue_changed(self, *, active: int, queued: int) -> None:
        return

    def dead_letter(self, *, reason: str) -> None:
        self.note(f"dead letter: {reason}")

    def undelivered(self, *, message: str, receiver: str) -> None:
        self.note(f"undelivered {message} to {receiver}")

    def child_restarted(self, *, name: str, error: str, restarts: int) -> None:
        self.note(f"restarted {name}: {error}")

    def workflow_changed(self, *, slug: str, change: str) -> None:
        self.note(f"workflow {slug} {change}")

    def catalog_unavailable(self, *, error: str) -> None:
        self.note(f"unavailable: {error}")

    def catalog_available(self) -> None:
        return

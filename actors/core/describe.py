"""One word for how a partition stands, and the numbers behind it: for dumps, status and explanations."""

from __future__ import annotations

from dataclasses import dataclass

from actors.core.backoff import next_eligible_ms
from actors.core.decide import (
    Decision,
    Defaults,
    Materialize,
    Reason,
    Skip,
    Wait,
    decide,
    expiry_of,
    newer_upstreams,
)
from actors.core.freshness import Expiry
from actors.core.graph import AssetSpec
from actors.core.pauses import Pause
from actors.core.state import PartitionState

__all__ = ["PartitionView", "describe"]

_WAITING = {
    Reason.IN_FLIGHT: "inFlight",
    Reason.PAUSED: "paused",
    Reason.BACKOFF: "backoff",
    Reason.SUSPENDED: "suspended",
    Reason.QUIET_HOURS: "paused",
}


@dataclass(frozen=True, slots=True)
class PartitionView:
    """`state` is one of fresh, stale, expired, missing, inFlight, backoff, suspended, paused."""

    state: str
    reason: Reason
    decision: Decision
    expires: Expiry | None
    budget_left: int
    next_eligible_ms: int | None


def describe(
    spec: AssetSpec | None, state: PartitionState, defaults: Defaults, now_ms: int, pause: Pause | None = None
) -> PartitionView:
    decision = decide(spec, state, defaults, now_ms, pause)
    auto = spec.auto if spec else None
    budget = (auto.failure_budget if auto else None) or defaults.budget
    eligible: int | None = None
    if isinstance(decision, Wait) and decision.reason in (Reason.BACKOFF, Reason.SUSPENDED):
        eligible = decision.until_ms
    elif state.failure is not None:
        eligible = next_eligible_ms(
            (auto.backoff if auto else None) or defaults.backoff,
            state.failure.failures,
            state.failure.last_failure_at_ms,
            state.failure.last_failed_run_id,
        )
    return PartitionView(
        state=_word(spec, state, decision, now_ms),
        reason=decision.reason,
        decision=decision,
        expires=expiry_of(spec, state, now_ms) if spec else None,
        budget_left=max(0, budget.failures - state.failures),
        next_eligible_ms=eligible,
    )


def _word(spec: AssetSpec | None, state: PartitionState, decision: Decision, now_ms: int) -> str:
    if state.run_id is not None:
        return "inFlight"
    match decision:
        case Wait(reason=reason) if reason in _WAITING:
            return _WAITING[reason]
        case Materialize(reason=Reason.EXPIRED):
            return "expired"
        case Wait() | Materialize():
            return "stale" if state.made else "missing"
        case Skip():
            return _level(spec, state, now_ms)


def _level(spec: AssetSpec | None, state: PartitionState, now_ms: int) -> str:
    if state.made is None:
        return "missing"
    if spec is None:
        return "fresh"
    expiry = expiry_of(spec, state, now_ms)
    if expiry is not None and expiry.at_ms <= now_ms:
        return "expired"
    return "stale" if newer_upstreams(spec, state) else "fresh"

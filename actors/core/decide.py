"""The one decision of the system: given what is known of an asset partition, run its producer, wait, or leave it.

`decide` is a ladder: the first rung that holds gives the answer. It compares levels, never edges: it does not ask what
just happened but whether what is known now calls for a run. So a message that comes twice, late or out of order
changes nothing, and a restart needs no replay.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from enum import StrEnum

from actors.core.backoff import BackoffPolicy, FailureBudget, next_eligible_ms, suspended_until
from actors.core.freshness import Expiry, ExpiryReason, next_expiry
from actors.core.graph import AssetSpec, When
from actors.core.partitions import PartitionKeyError, TimeWindowPartitioning, window_of, windows_ago
from actors.core.pauses import Pause
from actors.core.quiet_hours import quiet_until_all
from actors.core.state import PartitionState

__all__ = [
    "Decision",
    "Defaults",
    "Materialize",
    "Reason",
    "Skip",
    "Staleness",
    "Wait",
    "decide",
    "expiry_of",
    "is_settled",
    "newer_upstreams",
    "staleness",
]


class Reason(StrEnum):
    """Why a run is needed, why it waits, or why none is needed."""

    UPSTREAM_UPDATED = "upstream-updated"
    EXPIRED = "expired"
    MISSING = "missing"

    IN_FLIGHT = "in-flight"
    PAUSED = "paused"
    SUSPENDED = "suspended"
    BACKOFF = "backoff"
    QUIET_HOURS = "quiet-hours"
    UPSTREAM_PENDING = "upstream-pending"
    UPSTREAM_MISSING = "upstream-missing"
    DEBOUNCE = "debounce"

    FRESH = "fresh"
    NEVER_MADE = "never-made"
    NOT_OPTED_IN = "not-opted-in"
    NO_PRODUCER = "no-producer"
    OUT_OF_LOOKBACK = "out-of-lookback"
    RUN_CANCELED = "run-canceled"
    PASSED_OVER = "passed-over"


@dataclass(frozen=True, slots=True)
class Materialize:
    """Start the producer now."""

    reason: Reason


@dataclass(frozen=True, slots=True)
class Wait:
    """A run is needed, but not yet; `until_ms` None means until news comes."""

    until_ms: int | None
    reason: Reason


@dataclass(frozen=True, slots=True)
class Skip:
    """No run is needed; look again at `next_look_ms`, if ever."""

    reason: Reason
    next_look_ms: int | None = None


Decision = Materialize | Wait | Skip


@dataclass(frozen=True, slots=True)
class Defaults:
    """The service's policies for assets that name none. `pending_limit_ms` bounds the wait for upstreams in a wave; a
    pause or an outage of `catch_up_after_ms` counts as long."""

    backoff: BackoffPolicy = field(default_factory=BackoffPolicy)
    budget: FailureBudget = field(default_factory=FailureBudget)
    pending_limit_ms: int = 3_600_000
    catch_up_after_ms: int = 3_600_000


@dataclass(frozen=True, slots=True)
class Staleness:
    """Why a run is needed (None: it is not) and, if none is, why not."""

    needed: Reason | None
    otherwise: Reason = Reason.FRESH


_SETTLED_WAITS = frozenset(
    {Reason.PAUSED, Reason.SUSPENDED, Reason.BACKOFF, Reason.QUIET_HOURS, Reason.UPSTREAM_MISSING}
)


def is_settled(decision: Decision) -> bool:
    """Whether those below need not wait for this partition: nothing will be made of it soon."""
    match decision:
        case Skip():
            return True
        case Wait(reason=reason):
            return reason in _SETTLED_WAITS
        case Materialize():
            return False


def expiry_of(spec: AssetSpec, state: PartitionState, now_ms: int) -> Expiry | None:
    """When what was made stops, or stopped, being fresh; None if never, or if its time window is over.

    The materialization's own policy, if its run returned one, goes before the declared one. What was made ahead of its
    time window expires when that begins, or later.
    """
    made = state.made
    if made is None:
        return None
    ago = _windows_ago(spec, state, now_ms)
    if ago is None or ago > _lookback(spec):
        return None
    if made.expired_version >= made.version:
        expiry: Expiry | None = Expiry(made.produced_at_ms, made.expired_reason or ExpiryReason.MANUAL)
    else:
        expiry = next_expiry(made.freshness or spec.freshness, made.produced_at_ms)
    partitioning = spec.partitioning
    if ago < 0 and expiry and isinstance(partitioning, TimeWindowPartitioning) and state.partition_key is not None:
        return replace(expiry, at_ms=max(expiry.at_ms, window_of(partitioning, state.partition_key).start_ms))
    return expiry


def newer_upstreams(spec: AssetSpec, state: PartitionState) -> tuple[str, ...]:
    """The considered upstreams that changed in a version above the one this partition was made from."""
    inputs, latest = state.inputs, state.latest
    return tuple(u for u in spec.considered if latest.get(u, 0) > inputs.get(u, 0))


def staleness(spec: AssetSpec, state: PartitionState, now_ms: int) -> Staleness:
    """Whether an opted-in asset partition calls for a run, guardrails aside."""
    auto = spec.auto
    if auto is None:
        return Staleness(None, Reason.NOT_OPTED_IN)
    newer = newer_upstreams(spec, state)
    if newer and (auto.when is When.ANY or len(newer) == len(spec.considered)):
        return _unless_dismissed_update(spec, state, newer, now_ms)
    expiry = expiry_of(spec, state, now_ms)
    if expiry is not None and expiry.at_ms <= now_ms:
        return _unless_dismissed_version(state, Reason.EXPIRED)
    if state.made is None:
        if auto.on_missing:
            if not _is_in_window(spec, state, now_ms):
                return Staleness(None, Reason.OUT_OF_LOOKBACK)
            return _unless_dismissed_version(state, Reason.MISSING)
        return Staleness(None, Reason.NEVER_MADE)
    return Staleness(None, Reason.FRESH)


def decide(
    spec: AssetSpec | None, state: PartitionState, defaults: Defaults, now_ms: int, pause: Pause | None = None
) -> Decision:
    """The answer for one partition at `now_ms`, always with its reason; `pause` is what holds its asset back."""
    if spec is None:
        return Skip(Reason.NO_PRODUCER)
    stale = staleness(spec, state, now_ms)
    if stale.needed is None or spec.auto is None:
        return Skip(stale.otherwise, _next_expiry_after(spec, state, now_ms))
    if state.run_id is not None:
        return Wait(None, Reason.IN_FLIGHT)
    if pause is not None and pause.holds(now_ms):
        return Wait(pause.until_ms, Reason.PAUSED)
    if (waiting := _after_failures(spec, state, defaults, now_ms)) is not None:
        return waiting
    if spec.auto.quiet_hours and (until := quiet_until_all(spec.auto.quiet_hours, now_ms)) is not None:
        return Wait(until, Reason.QUIET_HOURS)
    if (waiting := _for_upstreams(spec, state, defaults, now_ms)) is not None:
        return waiting
    if state.missing:
        return Wait(None, Reason.UPSTREAM_MISSING)
    if stale.needed is Reason.UPSTREAM_UPDATED:
        until = _debounced_until(spec, state)
        if until is not None and until > now_ms:
            return Wait(until, Reason.DEBOUNCE)
    return Materialize(stale.needed)


def _next_expiry_after(spec: AssetSpec, state: PartitionState, now_ms: int) -> int | None:
    expiry = expiry_of(spec, state, now_ms)
    return expiry.at_ms if expiry is not None and expiry.at_ms > now_ms else None


def _windows_ago(spec: AssetSpec, state: PartitionState, now_ms: int) -> int | None:
    """How many time windows ago the partition's was; 0 for one that is no time window, None for a key that is none."""
    partitioning = spec.partitioning
    if not isinstance(partitioning, TimeWindowPartitioning) or state.partition_key is None:
        return 0
    try:
        return windows_ago(partitioning, state.partition_key, now_ms)
    except PartitionKeyError:
        return None


def _lookback(spec: AssetSpec) -> int:
    """How many windows before the current one can expire or be missing."""
    return (spec.partitioning.lookback_windows or 0) if isinstance(spec.partitioning, TimeWindowPartitioning) else 0


def _is_in_window(spec: AssetSpec, state: PartitionState, now_ms: int) -> bool:
    """Absence counts for the current time window and `lookbackWindows` before it, not for older or coming ones."""
    ago = _windows_ago(spec, state, now_ms)
    return ago is not None and 0 <= ago <= _lookback(spec)


def _is_too_old(spec: AssetSpec, state: PartitionState, now_ms: int) -> bool:
    """Updates count for every window but those older than `lookbackWindows`, where that is given."""
    partitioning = spec.partitioning
    if not isinstance(partitioning, TimeWindowPartitioning) or partitioning.lookback_windows is None:
        return False
    ago = _windows_ago(spec, state, now_ms)
    return ago is None or ago > partitioning.lookback_windows


def _unless_dismissed_update(spec: AssetSpec, state: PartitionState, newer: tuple[str, ...], now_ms: int) -> Staleness:
    if _is_too_old(spec, state, now_ms):
        return Staleness(None, Reason.OUT_OF_LOOKBACK)
    dismissed = state.dismissed
    if dismissed is not None and all(state.latest[u] <= dismissed.inputs.get(u, 0) for u in newer):
        return Staleness(None, Reason.PASSED_OVER if dismissed.is_passed_over else Reason.RUN_CANCELED)
    return Staleness(Reason.UPSTREAM_UPDATED)


def _unless_dismissed_version(state: PartitionState, reason: Reason) -> Staleness:
    dismissed = state.dismissed
    if dismissed is not None and not dismissed.is_passed_over and dismissed.version >= state.version:
        return Staleness(None, Reason.RUN_CANCELED)
    return Staleness(reason)


def _after_failures(spec: AssetSpec, state: PartitionState, defaults: Defaults, now_ms: int) -> Wait | None:
    failure, auto = state.failure, spec.auto
    if failure is None or auto is None:
        return None
    suspension = suspended_until(auto.failure_budget or defaults.budget, failure.failures, failure.last_failure_at_ms)
    if suspension is not None and (suspension.until_ms is None or suspension.until_ms > now_ms):
        return Wait(suspension.until_ms, Reason.SUSPENDED)
    until = next_eligible_ms(
        auto.backoff or defaults.backoff, failure.failures, failure.last_failure_at_ms, failure.last_failed_run_id
    )
    return Wait(until, Reason.BACKOFF) if until > now_ms else None


def _for_upstreams(spec: AssetSpec, state: PartitionState, defaults: Defaults, now_ms: int) -> Wait | None:
    """Hold back while an upstream is about to be re-made in the wave that made this partition stale, or an older one.

    Waves that began later do not hold it: it would never run below an upstream that is always in flight. Nor does an
    upstream that it follows no more: that one reports to others.
    """
    since, followed = state.since_wave, spec.considered
    if since is None:
        return None
    marks = (mark for (upstream_id, _), mark in state.pending.items() if upstream_id in followed)
    held_from = max((m.from_ms for m in marks if m.first <= since and m.from_ms <= now_ms), default=None)
    if held_from is None:
        return None
    until = max(held_from, state.pending_since_ms or 0) + defaults.pending_limit_ms
    return Wait(until, Reason.UPSTREAM_PENDING) if until > now_ms else None


def _debounced_until(spec: AssetSpec, state: PartitionState) -> int | None:
    auto = spec.auto
    if auto is None or auto.debounce_ms is None or state.changed_at_ms is None or state.stale_since_ms is None:
        return None
    until = state.changed_at_ms + auto.debounce_ms
    if auto.max_delay_ms is not None:
        until = min(until, state.stale_since_ms + auto.max_delay_ms)
    return until

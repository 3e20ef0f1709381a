from __future__ import annotations

from dataclasses import replace

import pytest

from actors.core.backoff import BackoffPolicy, FailureBudget
from actors.core.decide import Defaults, Reason
from actors.core.describe import describe
from actors.core.freshness import Expiry, ExpiryReason, FreshnessPolicy
from actors.core.graph import AssetSpec, AutoMaterialize
from actors.core.quiet_hours import QuietHours, QuietWindow
from actors.core.state import Dismissal, FailureRecord, Mark, Materialization, PartitionState

NOON = 1_772_366_400_000
DEFAULTS = Defaults(BackoffPolicy(base_ms=10_000, max_ms=60_000, jitter=False), FailureBudget(failures=3))
FOLLOWS = AutoMaterialize(on_upstream_update=True)
SPEC = AssetSpec("x", "w", "s", ("a",), FreshnessPolicy(ttl_ms=1_000), auto=FOLLOWS)
LASTING = replace(SPEC, freshness=FreshnessPolicy())
WATCHED = replace(SPEC, auto=None)
QUIET = replace(LASTING, auto=replace(FOLLOWS, quiet_hours=(QuietHours((QuietWindow(frozenset(), 700, 800),)),)))

MADE = Materialization(1, 1, NOON - 1_000, inputs={"a": 1})
FRESH = PartitionState(None, made=MADE, latest={"a": 1})
STALE = replace(FRESH, latest={"a": 2})
NEW = PartitionState(None)


def failed(state: PartitionState, times: int) -> PartitionState:
    return replace(state, failure=FailureRecord(times, NOON, "run-1"))


@pytest.mark.parametrize(
    ("spec", "state", "word", "reason"),
    [
        (LASTING, FRESH, "fresh", Reason.FRESH),
        (LASTING, STALE, "stale", Reason.UPSTREAM_UPDATED),
        (SPEC, FRESH, "expired", Reason.EXPIRED),
        (WATCHED, FRESH, "expired", Reason.NOT_OPTED_IN),
        (WATCHED, NEW, "missing", Reason.NOT_OPTED_IN),
        (LASTING, NEW, "missing", Reason.NEVER_MADE),
        (LASTING, replace(NEW, latest={"a": 1}), "missing", Reason.UPSTREAM_UPDATED),
        (replace(LASTING, auto=AutoMaterialize(on_missing=True)), NEW, "missing", Reason.MISSING),
        (LASTING, replace(STALE, run_id="run-1"), "inFlight", Reason.IN_FLIGHT),
        (LASTING, replace(FRESH, run_id="run-1"), "inFlight", Reason.FRESH),
        (LASTING, failed(STALE, 1), "backoff", Reason.BACKOFF),
        (LASTING, failed(STALE, 3), "suspended", Reason.SUSPENDED),
        (LASTING, failed(FRESH, 3), "fresh", Reason.FRESH),
        (QUIET, STALE, "paused", Reason.QUIET_HOURS),
        (LASTING, replace(STALE, dismissed=Dismissal(1, {"a": 2})), "stale", Reason.RUN_CANCELED),
        (
            LASTING,
            replace(STALE, pending={("a", None): Mark(1, 1)}, since_wave=1, pending_since_ms=NOON),
            "stale",
            Reason.UPSTREAM_PENDING,
        ),
        (None, FRESH, "fresh", Reason.NO_PRODUCER),
        (None, NEW, "missing", Reason.NO_PRODUCER),
    ],
)
def test_one_word_for_how_a_partition_stands(
    spec: AssetSpec | None, state: PartitionState, word: str, reason: Reason
) -> None:
    view = describe(spec, state, DEFAULTS, NOON)
    assert (view.state, view.reason) == (word, reason)


@pytest.mark.parametrize(
    ("failures", "left", "eligible_after_ms"), [(1, 2, 10_000), (2, 1, 20_000), (3, 0, None), (9, 0, None)]
)
def test_the_numbers_behind_it(failures: int, left: int, eligible_after_ms: int | None) -> None:
    view = describe(LASTING, failed(STALE, failures), DEFAULTS, NOON)
    assert view.budget_left == left
    assert view.next_eligible_ms == (None if eligible_after_ms is None else NOON + eligible_after_ms)


def test_the_assets_own_policies_go_before_the_services() -> None:
    own = replace(
        FOLLOWS,
        backoff=BackoffPolicy(base_ms=5_000, max_ms=5_000, jitter=False),
        failure_budget=FailureBudget(failures=9),
    )
    view = describe(replace(LASTING, auto=own), failed(FRESH, 2), DEFAULTS, NOON)
    assert (view.budget_left, view.next_eligible_ms) == (7, NOON + 5_000)


def test_when_it_expires() -> None:
    assert describe(SPEC, FRESH, DEFAULTS, NOON - 500).expires == Expiry(NOON, ExpiryReason.TTL)
    assert describe(None, FRESH, DEFAULTS, NOON).expires is None
    assert describe(SPEC, FRESH, DEFAULTS, NOON).next_eligible_ms is None

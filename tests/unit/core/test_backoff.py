from __future__ import annotations

import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from actors.core.backoff import (
    BackoffPolicy,
    FailureBudget,
    Suspension,
    delay_ms,
    next_eligible_ms,
    suspended_until,
    unit_interval,
)

POLICIES = st.builds(
    BackoffPolicy,
    base_ms=st.integers(1, 10_000),
    max_ms=st.integers(10_000, 10**9),
    multiplier=st.floats(1, 50),
    jitter=st.booleans(),
)
UNITS = st.floats(0, 1, exclude_max=True)


@pytest.mark.parametrize(
    ("field", "arguments"),
    [
        ("base_ms", {"base_ms": 0}),
        ("base_ms", {"base_ms": -5}),
        ("max_ms", {"base_ms": 2_000, "max_ms": 1_999}),
        ("multiplier", {"multiplier": 0.5}),
        ("multiplier", {"multiplier": float("inf")}),
        ("multiplier", {"multiplier": float("nan")}),
    ],
)
def test_a_policy_that_makes_no_sense_is_refused_by_the_name_of_its_field(
    field: str, arguments: dict[str, float]
) -> None:
    with pytest.raises(ValueError, match=f"^{field} "):
        BackoffPolicy(**arguments)  # type: ignore[arg-type]


def test_a_budget_that_makes_no_sense_is_refused_by_the_name_of_its_field() -> None:
    with pytest.raises(ValueError, match=r"^failures "):
        FailureBudget(failures=0)
    with pytest.raises(ValueError, match=r"^cool_off_ms "):
        FailureBudget(cool_off_ms=0)


def test_without_jitter_the_wait_doubles_up_to_the_cap() -> None:
    policy = BackoffPolicy(base_ms=1_000, max_ms=9_000, multiplier=2.0, jitter=False)
    assert [delay_ms(policy, failures, 0.9) for failures in range(7)] == [
        0,
        1_000,
        2_000,
        4_000,
        8_000,
        9_000,
        9_000,
    ]


def test_jitter_spreads_over_the_whole_wait() -> None:
    policy = BackoffPolicy(base_ms=1_000, max_ms=300_000)
    assert [delay_ms(policy, 3, u) for u in (0.0, 0.25, 0.5)] == [0, 1_000, 2_000]


@pytest.mark.parametrize(("multiplier", "wait"), [(1.0, 1_000), (2.0, 300_000), (1e300, 300_000)])
def test_ten_thousand_failures_do_not_overflow(multiplier: float, wait: int) -> None:
    assert delay_ms(BackoffPolicy(multiplier=multiplier, jitter=False), 10_000, 0.0) == wait


@given(POLICIES, st.integers(1, 10_000), UNITS)
def test_the_wait_never_leaves_its_bounds_and_never_shrinks_with_more_failures(
    policy: BackoffPolicy, failures: int, u: float
) -> None:
    wait = delay_ms(policy, failures, u)
    assert 0 <= wait <= policy.max_ms
    assert wait <= delay_ms(policy, failures + 1, u)


@pytest.mark.parametrize(("failures", "u"), [(-1, 0.5), (1, 1.0), (1, -0.1)])
def test_a_wait_is_refused_for_impossible_numbers(failures: int, u: float) -> None:
    with pytest.raises(ValueError, match=r"failures|u must"):
        delay_ms(BackoffPolicy(), failures, u)


@given(st.text())
def test_any_text_gives_a_number_of_the_unit_interval(seed: str) -> None:
    assert 0 <= unit_interval(seed) < 1


def test_a_lone_surrogate_from_json_is_a_seed_too() -> None:
    assert 0 <= unit_interval("\ud800") < 1


def test_seeds_spread_evenly() -> None:
    tenths = [0] * 10
    for number in range(10_000):
        tenths[int(unit_interval(f"run-{number}") * 10)] += 1
    assert all(850 < count < 1_150 for count in tenths)


def test_another_process_derives_the_same_jitter() -> None:
    code = "from actors.core.backoff import unit_interval; print(repr(unit_interval('orders.daily')))"
    other = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert float(other.stdout) == unit_interval("orders.daily")


def test_each_failure_in_a_row_gets_its_own_jitter() -> None:
    policy = BackoffPolicy(base_ms=1_000_000, max_ms=1_000_000)
    waits = {next_eligible_ms(policy, failures, 0, "orders.daily") for failures in range(1, 20)}
    assert len(waits) == 19


@given(POLICIES, st.integers(0, 100), st.integers(0, 2**41), st.text())
def test_the_next_try_is_never_before_the_failure(
    policy: BackoffPolicy, failures: int, last_failure_at_ms: int, seed: str
) -> None:
    eligible = next_eligible_ms(policy, failures, last_failure_at_ms, seed)
    assert last_failure_at_ms <= eligible <= last_failure_at_ms + policy.max_ms


def test_the_budget_suspends_with_its_last_failure_and_not_before() -> None:
    budget = FailureBudget(failures=3, cool_off_ms=500)
    assert suspended_until(budget, 2, 1_000) is None
    assert suspended_until(budget, 3, 1_000) == Suspension(1_500)
    assert suspended_until(budget, 4, 2_000) == Suspension(2_500)


def test_without_a_cool_off_the_suspension_has_no_end() -> None:
    assert suspended_until(FailureBudget(failures=1), 1, 1_000) == Suspension(None)

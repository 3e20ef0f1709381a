"""Waits between the attempts of a step."""

from __future__ import annotations

from typing import Any

import pytest

from actors.catalog.definitions import RetryPolicy
from actors.execution.retries import retry_delay_ms


def policy(**fields: Any) -> RetryPolicy:
    return RetryPolicy.model_validate({"maxAttempts": 10, "initialDelayMs": 100, "maxDelayMs": 1_000, **fields})


@pytest.mark.parametrize(
    ("strategy", "delays"),
    [("none", [0, 0, 0]), ("fixed", [100, 100, 100]), ("exponential", [100, 200, 400])],
)
def test_strategies(strategy: str, delays: list[int]) -> None:
    assert [retry_delay_ms(policy(strategy=strategy), n, 0.5) for n in (1, 2, 3)] == delays


@pytest.mark.parametrize(("jitter", "low", "high"), [("none", 400, 400), ("full", 0, 399), ("equal", 200, 399)])
def test_jitter(jitter: str, low: int, high: int) -> None:
    jittered = policy(strategy="exponential", jitter=jitter)
    assert retry_delay_ms(jittered, 3, 0.0) == low
    assert retry_delay_ms(jittered, 3, 0.999) == high


def test_the_delay_is_capped() -> None:
    assert retry_delay_ms(policy(strategy="exponential"), 9, 0.0) == 1_000
    assert retry_delay_ms(policy(strategy="fixed", initialDelayMs=5_000), 1, 0.0) == 1_000


def test_attempts_end() -> None:
    assert retry_delay_ms(policy(strategy="fixed"), 9, 0.0) == 100
    assert retry_delay_ms(policy(strategy="fixed"), 10, 0.0) is None
    assert retry_delay_ms(RetryPolicy(), 1, 0.0) is None

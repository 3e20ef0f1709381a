"""Which queue and which priority a run gets."""

from __future__ import annotations

import pytest

from actors.core.graph import AssetSpec, AutoMaterialize, WorkflowSpec
from actors.execution.celery_launcher import queue_of, step_of


@pytest.mark.parametrize(
    ("priority", "step"), [(-1_000_000, 0), (0, 0), (19, 0), (20, 1), (100, 5), (180, 9), (1_000_000, 9)]
)
def test_a_broker_s_few_priorities_stand_for_all_of_ours(priority: int, step: int) -> None:
    assert step_of(priority) == step


def test_a_better_priority_never_gets_a_worse_step() -> None:
    steps = [step_of(priority) for priority in range(-50, 400)]
    assert steps == sorted(steps)


@pytest.mark.parametrize(
    ("pools", "queue"),
    [((), "usual"), (("other",), "usual"), (("gpu",), "gpu-machines"), (("other", "gpu"), "gpu-machines")],
)
def test_a_run_goes_to_the_queue_of_its_first_pool_that_has_one(pools: tuple[str, ...], queue: str) -> None:
    assets = tuple(AssetSpec(f"a.{pool}", "w", "s", auto=AutoMaterialize(pool=pool)) for pool in pools)
    assert queue_of(WorkflowSpec("w", assets=assets), {"gpu": "gpu-machines"}, "usual") == queue

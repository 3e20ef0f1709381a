"""Builders of the workflows and runs that the launcher tests need, over the real store."""

from __future__ import annotations

import json
import time
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

from actors.catalog.definitions import WorkflowDefinition, parse_definition
from actors.catalog.store import Limits, NewRun, RunRecord, StepRecord, Store, Submitted
from actors.execution.launcher import RunLauncher, RunOrder

JOBS_DIR = Path(__file__).parent / "jobs"
DEADLINE_SECONDS = 30
T = TypeVar("T")


def step(step_id: str, job: str, **more: Any) -> dict[str, Any]:
    return {"id": step_id, "name": step_id, "type": "job", "jobSlug": job, **more}


def workflow(*steps: dict[str, Any], slug: str = "made") -> WorkflowDefinition:
    return parse_definition(json.dumps({"slug": slug, "name": slug, "version": 1, "steps": steps}), source="test")


def submit(
    store: Store,
    definition: WorkflowDefinition,
    *,
    parameters: dict[str, Any] | None = None,
    partition_key: str | None = None,
    trigger: dict[str, Any] | None = None,
) -> RunOrder:
    """Keep the definition, and claim and create a run of it as the enqueuer does."""
    store.put_workflow(definition, source="command", content_hash=definition.content_hash)
    run = NewRun(
        run_id=uuid.uuid4().hex,
        workflow_slug=definition.slug,
        partition_key=partition_key,
        parameters=parameters or {},
        trigger=trigger or {"type": "manual", "reason": "a test"},
        created_at_ms=now_ms(),
        limits=Limits(max_runs=1_000),
    )
    (outcome,) = store.submit([run])
    assert outcome == Submitted(run.run_id)
    return RunOrder(run.run_id, run.workflow_slug, run.partition_key)


def now_ms() -> int:
    return time.time_ns() // 1_000_000


def ended(store: Store, order: RunOrder) -> RunRecord:
    """The run once it is over."""

    def over() -> RunRecord | None:
        record = store.run(order.run_id)
        return record if record is not None and record.status.is_over else None

    return eventually(over, f"run {order.run_id} is over")


def run(launcher: RunLauncher, store: Store, *steps: dict[str, Any], **more: Any) -> RunRecord:
    """Submit and launch a run of these steps, and wait for its end."""
    order = submit(store, workflow(*steps), **more)
    launcher.launch(order)
    return ended(store, order)


def step_of(record: RunRecord, step_id: str) -> StepRecord:
    return next(s for s in record.steps if s.step_id == step_id)


def eventually(look: Callable[[], T | None], what: str) -> T:
    """Look until there is something to see, and fail after the deadline."""
    deadline = time.monotonic() + DEADLINE_SECONDS
    while True:
        seen = look()
        if seen:
            return seen
        assert time.monotonic() < deadline, f"after {DEADLINE_SECONDS} s it is still not so that {what}"
        time.sleep(0.01)


def pids_of(folder: Path, step_id: str) -> list[int]:
    """Once the `hold` job of a step runs: its process, and that of its child if it has one."""
    file = folder / f"{step_id}.begun"
    eventually(file.exists, f"step {step_id} runs")
    return [int(pid) for pid in file.read_text().split()]


def is_gone(pid: int) -> bool:
    """Whether a process is dead; a zombie that nobody has collected yet is."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return True
    return state in "ZX"

"""The job of the crash campaign: quick, and by chance slow, failing, or with data that is the same as before.

What chance decides is drawn from the run's id, so another execution of the same run would do the same.
"""

from __future__ import annotations

import random
import time
from typing import Any

from actors.execution.step_runner import JobContext


def crash(job: JobContext) -> dict[str, Any]:
    """Parameters: `assets`; maybe `slowMs` (at most so long), `fails` (a probability), `dataVersions` (so many)."""
    chance = random.Random(job.run_id)
    parameters = job.parameters
    time.sleep(chance.uniform(0, _number(parameters.get("slowMs"), 10)) / 1_000)
    if chance.random() < _number(parameters.get("fails"), 0):
        raise RuntimeError("it fails now and then")
    versions = int(_number(parameters.get("dataVersions"), 0))
    extra = {"dataVersion": f"data {chance.randrange(versions)}"} if versions else {}
    assets = parameters["assets"]
    assert isinstance(assets, list)
    return {"assets": [{"assetId": asset_id, "payload": {"runId": job.run_id}, **extra} for asset_id in assets]}


def _number(value: object, default: float) -> float:
    return float(value) if isinstance(value, int | float) else default

"""The jobs of the workflows in these tests."""

from __future__ import annotations

import time
from typing import Any

from actors.execution.job_process import JobContext


def make(job: JobContext) -> dict[str, Any]:
    """Make the asset that the parameters name."""
    print(f"making {job.parameters['asset']}")
    entry = {"assetId": job.parameters["asset"]}
    if job.partition_key is not None:
        entry["partitionKey"] = job.partition_key
    return {"assets": [entry]}


def fail(job: JobContext) -> None:
    raise RuntimeError(f"no luck in {job.run_id}")


def hold(job: JobContext) -> None:
    """Go on until somebody cancels the run."""
    while True:
        time.sleep(0.01)

"""The jobs of the acceptance tests. What they do is told by files in a folder, so that a test controls when they end.

Of workflow W the file `hold-W` (or `hold-W@PARTITION`) keeps its runs going while it is there, `fail-W` makes them
fail (with a number in it: only so many), `data-version-W` is the data version of what they make.
"""

from __future__ import annotations

import json
import os
import time
from pathlib import Path
from typing import Any

from actors.execution.step_runner import JobContext

MAKER = "first"


def work(job: JobContext) -> dict[str, Any]:
    folder = Path(str(job.parameters["folder"]))
    slug = job.workflow_slug
    _log(folder, job, "begun")
    holds = [folder / f"hold-{slug}", folder / f"hold-{slug}@{job.partition_key}"]
    while any(hold.exists() for hold in holds):
        time.sleep(0.005)
    if _fails(folder, slug):
        _log(folder, job, "failed")
        raise RuntimeError(f"{slug} fails, as it was told")
    data_version = folder / f"data-version-{slug}"
    extra = {"dataVersion": data_version.read_text()} if data_version.exists() else {}
    assets = job.parameters["assets"]
    assert isinstance(assets, list)
    _log(folder, job, "ended")
    return {"assets": [{"assetId": asset_id, "payload": {"maker": MAKER}, **extra} for asset_id in assets]}


def answer(job: JobContext) -> Any:
    """Returns whatever it is told to, sound or not."""
    _log(Path(str(job.parameters["folder"])), job, "begun")
    return job.parameters["answer"]


def _fails(folder: Path, slug: str) -> bool:
    try:
        most = (folder / f"fail-{slug}").read_text()
    except FileNotFoundError:
        return False
    lines = map(json.loads, (folder / "calls.jsonl").read_text().splitlines())
    begun = sum(line["workflow"] == slug and line["what"] == "begun" for line in lines)
    return not most or begun <= int(most)


def _log(folder: Path, job: JobContext, what: str) -> None:
    """One line in one write to a file opened for appending, so lines of many processes do not mix."""
    line = {
        "what": what,
        "workflow": job.workflow_slug,
        "partition": job.partition_key,
        "runId": job.run_id,
        "parameters": {name: value for name, value in job.parameters.items() if name not in ("folder", "assets")},
        "trigger": job.trigger,
        "pid": os.getpid(),
    }
    file = os.open(folder / "calls.jsonl", os.O_APPEND | os.O_CREAT | os.O_WRONLY)
    try:
        os.write(file, json.dumps(line).encode() + b"\n")
    finally:
        os.close(file)

"""What the tests of the example share: a job context as the service makes it, and the results' shape."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

CONFIG = Path(__file__).parents[3] / "config"
JOBS = CONFIG / "jobs"
WORKFLOWS = CONFIG / "workflows"
MINUTE = timedelta(minutes=1)
HOUR = timedelta(hours=1)
THRESHOLDS = {
    "springhead": {"watchCm": 68, "floodCm": 90},
    "millbridge": {"watchCm": 107, "floodCm": 126},
    "oldharbour": {"watchCm": 155, "floodCm": 172},
}


@dataclass(frozen=True)
class Context:
    """The attributes that a job may read."""

    parameters: Mapping[str, object]
    partition_key: str | None = None
    trigger: Mapping[str, object] = field(default_factory=dict)
    run_id: str = "run-1"
    workflow_slug: str = "example"
    step_id: str = "step"
    logger: logging.Logger = field(default_factory=lambda: logging.getLogger("example"))


Job = Callable[[Context], dict[str, Any]]


@dataclass(frozen=True)
class River:
    """The example's output folder, and the runs that a test starts in it."""

    root: Path

    def whole(self, job: Job, **parameters: object) -> dict[str, Any]:
        """Call the job of a workflow without partitions."""
        return job(Context({"outputDir": str(self.root), **parameters}))

    def window(self, job: Job, start: datetime, length: timedelta = MINUTE, **parameters: object) -> dict[str, Any]:
        """Call a job for one time window with the parameters derived for it; the result's one asset."""
        key = start.strftime("%Y-%m-%dT%H:%M" if length == MINUTE else "%Y-%m-%dT%H")
        derived = {
            "partitionKey": key,
            "windowStart": stamp(start),
            "windowEnd": stamp(start + length),
        }
        result = job(Context({"outputDir": str(self.root), **derived, **parameters}, key))
        (made,) = result["assets"]
        assert made["partitionKey"] == key
        assert isinstance(made, dict)
        return made

    def document(self, *parts: str) -> Any:
        return json.loads(self.root.joinpath(*parts).read_text())

    def files(self) -> dict[str, str]:
        """Every file by its path under the folder, hidden ones too."""
        return {str(path.relative_to(self.root)): path.read_text() for path in self.root.rglob("*") if path.is_file()}


def stamp(at: datetime) -> str:
    return at.strftime("%Y-%m-%dT%H:%M:%SZ")

"""What the enqueuer keeps for itself: runs that are wanted, on their way, and under way."""

from __future__ import annotations

from dataclasses import dataclass, field

from actors.catalog.store import RunRecord
from actors.core.run_queue import RunKey
from actors.messages import WantRun

__all__ = ["Started", "Submission", "Wanted"]

MANUAL_PRIORITY = 0


@dataclass(slots=True)
class Wanted:
    """A run that assets want (by asset id), or that somebody asked for by hand."""

    key: RunKey
    wants: dict[str, WantRun] = field(default_factory=dict)
    queued: RunRecord | None = None
    since_ms: int = 0

    @property
    def priority(self) -> int:
        return min((want.priority for want in self.wants.values()), default=MANUAL_PRIORITY)


@dataclass(slots=True)
class Submission:
    """A run that was handed over and not answered yet, and what was wanted of its key meanwhile."""

    run_id: str
    late: list[WantRun] = field(default_factory=list)


@dataclass(slots=True)
class Started:
    """An active run: why it exists, and when it was seen to start, for its duration."""

    trigger: str
    reason: str
    since_ms: int

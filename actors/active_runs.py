"""Which runs the registry holds for active, and which it knows to be over: news of a run may be late, or never come."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence

from actors.catalog.store import ActiveRun
from actors.core.run_queue import RunKey

__all__ = ["ActiveRuns"]

ENDED_KEPT = 10_000


class ActiveRuns:
    """Active runs by (workflow, partition), and the ids of the last ones that ended."""

    def __init__(self) -> None:
        self._active: dict[RunKey, tuple[str, int]] = {}
        self._ended: OrderedDict[str, None] = OrderedDict()

    def is_over(self, run_id: str) -> bool:
        return run_id in self._ended

    def began(self, key: RunKey, run_id: str, pos: int) -> None:
        self._active[key] = (run_id, pos)

    def claimed_by(self, key: RunKey, run_id: str) -> None:
        """A refusal named the run that holds the claim; nothing else is known of it."""
        self._active.setdefault(key, (run_id, 0))

    def ended(self, key: RunKey, run_id: str) -> None:
        if self._active.get(key, ("", 0))[0] == run_id:
            del self._active[key]
        self._ended[run_id] = None
        if len(self._ended) > ENDED_KEPT:
            self._ended.popitem(last=False)

    def take_over(self, active: Sequence[ActiveRun], pos: int) -> list[ActiveRun]:
        """Those of the catalog's active runs, read at `pos`, that are not known to be over; they are kept."""
        taken = [run for run in active if run.run_id not in self._ended]
        for run in taken:
            self._active.setdefault((run.workflow_slug, run.partition_key), (run.run_id, pos))
        return taken

    def lost(self, active: Sequence[ActiveRun], pos: int) -> list[tuple[RunKey, str]]:
        """Runs held for active that were not when the catalog was read at `pos`: the news of their end never came."""
        known = {run.run_id for run in active}
        return [(key, run_id) for key, (run_id, since) in self._active.items() if run_id not in known and since <= pos]

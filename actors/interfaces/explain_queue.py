"""Which limit holds a wanted run back: told from what the running service says of its queue, by its own rules."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from actors.catalog.store import Json, JsonObject
from actors.core.graph import Graph
from actors.core.run_queue import Capacity, RunQueue, Slot
from actors.interfaces.explain_words import Wait

__all__ = ["Queue"]


class Queue:
    """The active and wanted runs in the form of the `status` operation.

    `capacity` and `aging_ms` are those of the command's settings, which are the service's if both read the same files.
    """

    def __init__(self, status: Json, graph: Graph, capacity: Capacity, aging_ms: int) -> None:
        told = status if isinstance(status, Mapping) else {}
        self._graph = graph
        self._capacity = capacity
        self._wanted = [_key(run) for run in _objects(told.get("wanted"))]
        self._queue = RunQueue(capacity, aging_ms=aging_ms)
        for run in _objects(told.get("active")):
            self._queue.occupy(str(run.get("runId")), self._slot(_key(run)))

    def wait_of(self, slug: str, partition_key: str | None, name: str) -> Wait:
        """What a run that is wanted waits for."""
        key = (slug, partition_key)
        if key not in self._wanted:
            return Wait("submission", None, f"nothing: the run of {name} is being started at this moment")
        place = self._wanted.index(key)
        behind = f"; {place} wait before it" if place else "; it is the next"
        active = self._queue.active
        if len(active) >= self._capacity.max_runs:
            return Wait("slot", None, f"a slot: {len(active)} runs are active, the limit of all runs{behind}")
        full = self._queue.full_limit(self._slot(key))
        if full is None:
            return Wait("slot", None, f"its turn: there is room, and it starts as soon as it comes{behind}")
        kind, _, limited = full.partition(":")
        if kind == "key":
            return Wait("slot", None, f"the active run of the same workflow and partition to end{behind}")
        most = (self._capacity.workflows if kind == "workflow" else self._capacity.pools)[limited]
        return Wait("slot", None, f"a slot of {kind} {limited}, which is limited to {most} runs at once{behind}")

    def _slot(self, key: tuple[str, str | None]) -> Slot:
        workflow = self._graph.workflows.get(key[0])
        return Slot(key, workflow.pools if workflow is not None else ())


def _key(run: JsonObject) -> tuple[str, str | None]:
    partition_key = run.get("partitionKey")
    return str(run.get("workflowSlug")), partition_key if isinstance(partition_key, str) else None


def _objects(value: Json) -> Sequence[JsonObject]:
    return [one for one in value if isinstance(one, Mapping)] if isinstance(value, list) else []

"""A `RunLauncher` that puts runs on a broker, from which workers on any machine take them.

It knows no broker: `RunQueues` does. What becomes of a run is in the catalog, where its worker and this launcher meet.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping
from typing import Final, Protocol

import structlog

from actors.catalog.store import RunRecord, RunStatus, Store
from actors.core.graph import WorkflowSpec
from actors.execution.launcher import LaunchFailed, RunOrder
from actors.runtime.clock import Clock, SystemClock

__all__ = ["LAST_STEP", "BrokerUnavailable", "CeleryLauncher", "RunQueues", "queue_of", "step_of"]

LAST_STEP: Final = 9
"""Brokers know few priorities: 0, which goes first, to this one."""

_STEP_WIDTH: Final = 20
_NOBODY: Final = "launcher"
"""No worker's token, so a write with it is refused once a worker has started the run."""
_POLL_SECONDS: Final = 0.1
_FORGET_ABOVE: Final = 1_000
_STOP_LEASES: Final = 2
_log: Final = structlog.get_logger(__name__)


class BrokerUnavailable(RuntimeError):  # noqa: N818 - as `CatalogUnavailable`
    """The broker cannot be reached; the message says what to check."""


class RunQueues(Protocol):
    """The broker, as far as launching needs it. Every method may raise `BrokerUnavailable`."""

    def put(self, run_id: str, *, queue: str, step: int) -> None:
        """Hand a run to the workers of a queue; a lower step goes first."""

    def length(self, queue: str) -> int:
        """How many messages no worker has taken yet."""


def step_of(priority: int) -> int:
    """The broker's priority for one of ours: a run by hand (0) first, the default (100) in the middle."""
    return min(LAST_STEP, max(0, priority // _STEP_WIDTH))


def queue_of(spec: WorkflowSpec, queues: Mapping[str, str], otherwise: str) -> str:
    """The queue of the first pool of a workflow that has one."""
    return next((queues[pool] for pool in spec.pools if pool in queues), otherwise)


class CeleryLauncher:
    """Thread-safe.

    Args:
        queue, queues: the queue of a run, and those of runs in a pool, by its name.
        lease_ms: how long a worker may take to learn that it is to end a run.
        runs_outlive: whether runs go on when this launcher stops.
    """

    def __init__(
        self,
        store: Store,
        broker: RunQueues,
        *,
        queue: str,
        queues: Mapping[str, str],
        lease_ms: int,
        runs_outlive: bool,
        clock: Clock | None = None,
    ) -> None:
        self._store = store
        self._broker = broker
        self._queue = queue
        self._queues = dict(queues)
        self._lease_seconds = lease_ms / 1_000
        self._runs_outlive = runs_outlive
        self._clock = clock or SystemClock()
        self._lock = threading.Lock()
        self._launched: set[str] = set()
        self._unsent: set[str] = set()
        self._accepting = False

    def start(self) -> None:
        """See `RunLauncher.start`."""
        with self._lock:
            self._accepting = True

    def launch(self, order: RunOrder) -> None:
        """See `RunLauncher.launch`. A run that is launched again runs once: only one start of it counts.

        While the broker is away the run stays enqueued; it is put there when `is_waiting` is asked of it (see
        `reaper.py`).
        """
        self._remember(order.run_id)
        self._hand_over(order)

    def is_waiting(self, order: RunOrder) -> bool:
        """Whether runs wait in the queue of this one, so that it may be among them; also when nobody can tell.

        A run that did not get to the broker is put there now, and waits from here on.
        """
        with self._lock:
            is_unsent = order.run_id in self._unsent
        if is_unsent:
            self._hand_over(order)
            return True
        try:
            return self._broker.length(queue_of(self._spec(order.workflow_slug), self._queues, self._queue)) > 0
        except BrokerUnavailable:
            return True

    def cancel(self, run_id: str) -> bool:
        """See `RunLauncher.cancel`. Any service on the catalog can cancel the run; its worker learns it when it renews
        its lease."""
        record = self._store.run(run_id)
        if record is None or not record.status.is_active:
            return False
        return self._end_unstarted(record, RunStatus.CANCELED, "canceled by a user") or self._store.ask_run(
            run_id, "cancel"
        )

    def owns(self, run_id: str) -> bool:
        """See `RunLauncher.owns`."""
        with self._lock:
            if run_id not in self._launched:
                return False
        record = self._store.run(run_id)
        return record is not None and record.status.is_active

    def stop(self, grace_seconds: float) -> None:
        """See `RunLauncher.stop`; with `runs_outlive` the runs are left to their workers."""
        with self._lock:
            self._accepting = False
        if self._runs_outlive:
            return
        self._wait_for_ends(grace_seconds)
        for run_id in self._active():
            record = self._store.run(run_id)
            if record is not None and not self._end_unstarted(record, RunStatus.LOST, "the service stopped"):
                self._store.ask_run(run_id, "stop")
        self._wait_for_ends(_STOP_LEASES * self._lease_seconds)

    def _remember(self, run_id: str) -> None:
        with self._lock:
            if not self._accepting:
                raise LaunchFailed(f"run {run_id} cannot be launched: the launcher is not started, or it stops")
            is_full = len(self._launched) >= _FORGET_ABOVE
            self._launched.add(run_id)
        if is_full:
            active = {run.run_id for run in self._store.active_runs()}
            with self._lock:
                self._launched &= active
                self._unsent &= active

    def _hand_over(self, order: RunOrder) -> None:
        spec = self._spec(order.workflow_slug)
        priority = _priority(self._store.run(order.run_id), spec)
        try:
            self._broker.put(order.run_id, queue=queue_of(spec, self._queues, self._queue), step=step_of(priority))
        except BrokerUnavailable as error:
            with self._lock:
                is_news = order.run_id not in self._unsent
                self._unsent.add(order.run_id)
            if is_news:
                _log.warning(
                    "run.not_handed_over", run_id=order.run_id, workflow=order.workflow_slug, reason=str(error)
                )
        else:
            with self._lock:
                self._unsent.discard(order.run_id)

    def _active(self) -> set[str]:
        """The runs launched here that are not over."""
        active = {run.run_id for run in self._store.active_runs()}
        with self._lock:
            return self._launched & active

    def _wait_for_ends(self, seconds: float) -> None:
        _until(lambda: not self._active(), seconds)

    def _end_unstarted(self, record: RunRecord, status: RunStatus, error: str) -> bool:
        return self._store.finish_run(
            record.run_id,
            status,
            now_ms=self._clock.now_ms(),
            error=error,
            expected=self._spec(record.workflow_slug).expected(record.partition_key),
            token=_NOBODY,
        )

    def _spec(self, slug: str) -> WorkflowSpec:
        definition = self._store.workflow(slug)
        return definition.to_spec() if definition else WorkflowSpec(slug)


def _priority(record: RunRecord | None, spec: WorkflowSpec) -> int:
    """That of the asset for which the run is; a run by hand goes first."""
    asset_id = record.trigger.get("assetId") if record else None
    autos = {asset.asset_id: asset.auto for asset in spec.assets}
    auto = autos.get(asset_id) if isinstance(asset_id, str) else None
    return auto.priority if auto is not None else 0


def _until(condition: Callable[[], bool], seconds: float) -> None:
    deadline = time.monotonic() + seconds
    while not condition() and time.monotonic() < deadline:
        time.sleep(_POLL_SECONDS)

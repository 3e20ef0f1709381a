"""Heartbeats: one thread for each process renews the leases of every run that the process works on.

A run whose lease ends is given up by the service (`reaper.py`). Its worker, should it live after all, learns that here:
the run is fenced, it stops, and the catalog refuses what it would still write.
"""

from __future__ import annotations

import os
import socket
import threading
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Final

import structlog

from actors.catalog.store import CatalogUnavailable, Renewal, Store
from actors.execution.cancel import CancelReason, CancelToken

__all__ = ["RENEWALS_PER_LEASE", "Hold", "LeaseKeeper"]

RENEWALS_PER_LEASE: Final = 10 / 3
"""A lease of 10 s is renewed every 3 s: two renewals may be lost before it ends."""

_TRIES_PER_LEASE: Final = 40
"""A renewal that failed is tried again this much sooner, so that the first moment of the server's return is used."""
_SHORTEST_RETRY_SECONDS: Final = 0.05
_LONGEST_RETRY_SECONDS: Final = 1.0

_REASONS: Final = {
    Renewal.CANCEL: CancelReason.CANCELED,
    Renewal.STOP: CancelReason.LOST,
    Renewal.FENCED: CancelReason.FENCED,
}
_log: Final = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Hold:
    """What one execution of a run shows the catalog: `token` is made anew for each, `worker` is the process's name."""

    token: str
    worker: str
    lease_ms: int | None = None

    @classmethod
    def new(cls, *, lease_ms: int | None = None) -> Hold:
        return cls(uuid.uuid4().hex, f"{socket.gethostname()}:{os.getpid()}", lease_ms)


@dataclass(frozen=True, slots=True)
class _Held:
    run_id: str
    cancel: CancelToken


class LeaseKeeper:
    """Renews the leases of the runs that this process executes. Thread-safe."""

    def __init__(self, store: Store, *, lease_ms: int) -> None:
        self._store = store
        self._lease_ms = lease_ms
        self._lock = threading.Lock()
        self._held: dict[str, _Held] = {}
        self._changed = threading.Event()
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._serve, name="run-leases", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        """Renew nothing any more; call it when every run has ended."""
        self._stopping.set()
        self._changed.set()
        if self._thread.is_alive():
            self._thread.join()

    def hold(self) -> Hold:
        """For one execution of a run; `start_run` begins its lease."""
        return Hold.new(lease_ms=self._lease_ms)

    @contextmanager
    def renewing(self, run_id: str, hold: Hold, cancel: CancelToken) -> Iterator[None]:
        """Within the block the lease of a started run is renewed, and `cancel` is set when the run is to end."""
        with self._lock:
            self._held[hold.token] = _Held(run_id, cancel)
        self._changed.set()
        try:
            yield
        finally:
            with self._lock:
                del self._held[hold.token]

    def renew(self) -> None:
        """Renew every lease, and pass on what the catalog says of each run.

        Raises:
            CatalogUnavailable: the server did not answer.
        """
        with self._lock:
            held = dict(self._held)
        if not held:
            return
        # Of two executions of one run only one was started, and only that one is here.
        tokens = {one.run_id: token for token, one in held.items()}
        for run_id, renewal in self._store.renew_runs(tokens, lease_ms=self._lease_ms).items():
            if renewal is not Renewal.HELD:
                self._end(held[tokens[run_id]], renewal)

    def _end(self, held: _Held, renewal: Renewal) -> None:
        # Of a fenced run its execution tells; one that has just ended is fenced too, and that is no news.
        if renewal is not Renewal.FENCED and not held.cancel.is_set:
            _log.info("run.told_to_end", run_id=held.run_id, reason=renewal.value)
        held.cancel.cancel(_REASONS[renewal])

    def _serve(self) -> None:
        lease_seconds = self._lease_ms / 1_000
        pause = lease_seconds / RENEWALS_PER_LEASE
        retry = min(max(lease_seconds / _TRIES_PER_LEASE, _SHORTEST_RETRY_SECONDS), _LONGEST_RETRY_SECONDS)
        is_well = True
        while not self._stopping.is_set():
            if not self._held:
                # Without a run there is nothing to do, and nothing is done.
                self._changed.wait()
                self._changed.clear()
                continue
            self._stopping.wait(pause if is_well else retry)
            is_well = self._try_to_renew(was_well=is_well)

    def _try_to_renew(self, *, was_well: bool) -> bool:
        """Whether the leases were renewed; what keeps them from it is told once, until they are renewed again."""
        try:
            self.renew()
        except CatalogUnavailable as error:
            if was_well:
                _log.warning("leases.wait_for_catalog", runs=len(self._held), reason=str(error))
            return False
        except Exception:
            # The runs of this process would be given up for a fault that may be over at the next turn.
            if was_well:
                _log.exception("leases.broken")
            return False
        if not was_well:
            _log.info("leases.renewed_again", runs=len(self._held))
        return True

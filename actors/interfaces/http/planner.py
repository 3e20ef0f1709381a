"""Plans are made in a process of their own: to rehearse a catalog takes a processor, which the actors need."""

from __future__ import annotations

import multiprocessing
import threading
from concurrent.futures import CancelledError
from concurrent.futures import TimeoutError as FutureTimeout
from typing import Final

from pebble import ProcessExpired, ProcessFuture, ProcessPool

from actors.catalog.store import JsonObject
from actors.execution.worker_process import set_up_worker
from actors.interfaces.http.plan_process import PlanRequest, make
from actors.interfaces.http.problems import Kind, Refused
from actors.planning.plan import NothingToExpire
from actors.settings import Settings

__all__ = ["Planner"]

_SECONDS: Final = 30.0
_PLANS_OF_ONE_PROCESS: Final = 1_000


class Planner:
    """Makes one plan at a time. The process is started with the first one, and started again when it dies."""

    def __init__(self) -> None:
        self._is_busy = threading.Lock()
        self._pool: ProcessPool | None = None
        self._is_stopped = False

    def plan(self, settings: Settings, request: PlanRequest) -> JsonObject:
        """The plan in the form of `plan_json`.

        Raises:
            Refused: another plan is being made, it takes too long, or there is nothing to expire.
        """
        if not self._is_busy.acquire(blocking=False):
            raise Refused(Kind.BUSY, "another plan is being made; ask again when it is done")
        try:
            made: JsonObject = self._schedule(settings, request).result()
        except NothingToExpire as error:
            raise Refused(Kind.CONFLICT, str(error)) from None
        except FutureTimeout:
            detail = f"the plan took longer than {_SECONDS:g} s; look fewer minutes ahead, or at fewer runs"
            raise Refused(Kind.TIMEOUT, detail) from None
        except (ProcessExpired, CancelledError) as error:
            raise Refused(Kind.BUSY, f"the process that makes plans ended ({error}); ask again") from error
        finally:
            self._is_busy.release()
        return made

    def stop(self) -> None:
        """End the process, and a plan under way with it."""
        self._is_stopped = True
        if self._pool is not None:
            self._pool.stop()  # type: ignore[no-untyped-call]
            self._pool.join()

    def _schedule(self, settings: Settings, request: PlanRequest) -> ProcessFuture[JsonObject]:
        if self._is_stopped:
            raise Refused(Kind.BUSY, "the service stops")
        if self._pool is None or not self._pool.active:
            # As the workers of jobs: not forked from here, as this process has threads, and connections.
            context = multiprocessing.get_context("forkserver")
            self._pool = ProcessPool(1, _PLANS_OF_ONE_PROCESS, initializer=set_up_worker, context=context)
        return self._pool.schedule(make, args=(settings, request), timeout=_SECONDS)

"""Lanes of questions to the catalog: each has its own order and one thread, which may block.

While the catalog is unavailable a lane tries the same question again, slower each time, until it is answered or the
lane stops: every one of them is safe to repeat. What a leader asks that was deposed is dropped: others see to it now.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from queue import SimpleQueue
from typing import Final, Protocol

import structlog

from actors.catalog.store import CatalogUnavailable, Deposed
from actors.observer import Observer

__all__ = ["Lane", "ThreadLane"]

_log = structlog.get_logger(__name__)

_FIRST_RETRY_SECONDS: Final = 0.1
_LAST_RETRY_SECONDS: Final = 5.0


class Lane(Protocol):
    """Work that waits its turn. Each piece is safe to repeat, and is repeated while the catalog is unavailable."""

    def put(self, work: Callable[[], None]) -> None: ...

    def start(self) -> None: ...

    def stop(self) -> None: ...


class ThreadLane:
    """A lane served by one thread, in order."""

    def __init__(self, name: str, observer: Observer) -> None:
        self._work: SimpleQueue[Callable[[], None] | None] = SimpleQueue()
        self._observer = observer
        self._is_stopping = threading.Event()
        self._thread = threading.Thread(target=self._serve, name=f"headwater-{name}", daemon=True)

    def put(self, work: Callable[[], None]) -> None:
        self._work.put(work)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self._is_stopping.set()
        self._work.put(None)
        if self._thread.is_alive():
            self._thread.join(10.0)

    def _serve(self) -> None:
        while (work := self._work.get()) is not None and not self._is_stopping.is_set():
            try:
                self._do(work)
            except Exception:
                # A question that cannot be answered must not silence those behind it.
                _log.exception("catalog question failed", lane=self._thread.name)

    def _do(self, work: Callable[[], None]) -> None:
        wait_seconds = _FIRST_RETRY_SECONDS
        is_unanswered = False
        while not self._is_stopping.is_set():
            try:
                work()
            except CatalogUnavailable as error:
                if not is_unanswered:
                    self._observer.catalog_unavailable(error=str(error))
                is_unanswered = True
                self._is_stopping.wait(wait_seconds)
                wait_seconds = min(2 * wait_seconds, _LAST_RETRY_SECONDS)
            except Deposed:
                return  # the actors that asked are about to be stopped
            else:
                if is_unanswered:
                    # The stream's reader may never have noticed: a server that refuses writes can still be read.
                    self._observer.catalog_available()
                return

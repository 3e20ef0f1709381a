"""Beginning again what ended though nobody asked it to: after a wait that grows, and not for ever."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Final

import structlog

__all__ = ["keep_serving"]

_FIRST_WAIT_SECONDS: Final = 0.5
_LONGEST_WAIT_SECONDS: Final = 30.0
_WELL_SECONDS: Final = 60.0
"""After so long the next end is taken for another trouble than the last."""
_MOST_IN_A_ROW: Final = 10
_log: Final = structlog.get_logger(__name__)


def keep_serving(serve: Callable[[], int], is_ending: threading.Event) -> int:
    """Call `serve`, which returns an exit code, and again whenever it ends before it was asked to.

    It gives up, with code 1 at least, when it ended ten times in a row within a minute each: a new process may be well
    where this one is not.
    """
    in_a_row = 0
    while True:
        began = time.monotonic()
        code, reason = _outcome(serve)
        if is_ending.is_set():
            return 0 if reason is not None else code
        if time.monotonic() - began >= _WELL_SECONDS:
            in_a_row = 0
        if in_a_row >= _MOST_IN_A_ROW:
            _log.error(
                "worker.given_up", restarts=in_a_row, reason=reason, text="it ends as often as it is begun again"
            )
            return code or 1
        wait_seconds = min(_FIRST_WAIT_SECONDS * 2**in_a_row, _LONGEST_WAIT_SECONDS)
        in_a_row += 1
        _log.warning("worker.restarted", reason=reason or f"it ended with code {code}", in_seconds=wait_seconds)
        if is_ending.wait(wait_seconds):
            return 0


def _outcome(serve: Callable[[], int]) -> tuple[int, str | None]:
    """Its exit code, and what it raised."""
    try:
        return serve(), None
    except Exception as error:
        return 1, f"{type(error).__name__}: {error}"

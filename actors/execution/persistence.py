"""Patience with the catalog: a result must not get lost because the server restarts just then."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, TypeVar

import structlog

from actors.catalog.store import CatalogUnavailable
from actors.execution.cancel import CancelToken

__all__ = ["persist"]

T = TypeVar("T")

_FIRST_DELAY_SECONDS: Final = 0.1
_MAX_DELAY_SECONDS: Final = 5.0
_log: Final = structlog.get_logger(__name__)


def persist(operation: Callable[[], T], cancel: CancelToken, *, run_id: str) -> T:
    """Call the store until it answers; `operation` must be one that may be repeated.

    Raises:
        CatalogUnavailable: the service stops, and the server did not answer even then.
    """
    delay = _FIRST_DELAY_SECONDS
    while True:
        try:
            return operation()
        except CatalogUnavailable as error:
            if delay == _FIRST_DELAY_SECONDS:
                _log.warning("run.waits_for_catalog", run_id=run_id, reason=str(error))
            if cancel.wait_for_stop(delay):
                return operation()
            delay = min(delay * 2, _MAX_DELAY_SECONDS)

"""The store as the gateway of a service sees it; what it submits and passes over goes by the oracle."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from actors.catalog.redis_store import RedisStore
from actors.catalog.store import NewRun, SubmitOutcome
from actors.core.state import Dismissal
from tests.simulation.term import Term

if TYPE_CHECKING:
    from tests.simulation.oracle import Oracle

__all__ = ["WatchedStore"]

_WRITES = frozenset({"expire", "finish_run", "cancel_queued"})


class WatchedStore:
    def __init__(self, store: RedisStore, oracle: Oracle, term: Term | None) -> None:
        self._store = store
        self._oracle = oracle
        self._term = term

    def submit(self, runs: Sequence[NewRun]) -> list[SubmitOutcome]:
        return [self._oracle.submit(run, self._store, self._term) for run in runs]

    def pass_over(self, asset_id: str, dismissals: Mapping[str, Dismissal]) -> None:
        self._oracle.pass_over(asset_id, dismissals, self._store, self._term)

    def __getattr__(self, name: str) -> Any:
        found: Callable[..., Any] = getattr(self._store, name)
        if name not in _WRITES or self._term is None:
            return found

        def write(*args: Any, **named: Any) -> Any:
            answer = found(*args, **named)
            self._oracle.wrote(name, self._term)
            return answer

        return write

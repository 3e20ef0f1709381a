"""The load: sources that are produced at a steady rate, each recorded once, whatever happens to the server."""

from __future__ import annotations

import random
import threading
from dataclasses import dataclass
from typing import Final

from actors.catalog.store import CatalogUnavailable, NewMaterialization, Store
from tests.crash.graph import SOURCES
from tests.integration.service.driver import now_ms

__all__ = ["Emitter", "Told"]

_RETRY_SECONDS: Final = 0.05


@dataclass(frozen=True, slots=True)
class Told:
    """What the catalog acknowledged: the production with this dedupe key is this version."""

    key: str
    asset_id: str
    partition_key: str | None
    version: int


class Emitter:
    """One outside producer. It repeats what was not acknowledged, with the same dedupe key."""

    def __init__(self, store: Store, chance: random.Random, name: str) -> None:
        self._store = store
        self._chance = chance
        self._name = name
        self._number = 0
        self._stopping = threading.Event()
        self._thread: threading.Thread | None = None
        self.told: list[Told] = []

    def emit_each(self) -> None:
        """Every partition of every source, once."""
        for source in SOURCES:
            for key in source.keys:
                self._emit(source.asset_id, key)

    def start(self, *, per_second: float) -> None:
        self._stopping.clear()
        self._thread = threading.Thread(target=self._run, args=(1 / per_second,), name="emitter", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Returns once the last one is acknowledged; the server must be up."""
        self._stopping.set()
        assert self._thread is not None
        self._thread.join(60)
        assert not self._thread.is_alive(), "the emitter could not record its last production within 60 s"
        self._thread = None

    def _run(self, pause_seconds: float) -> None:
        while not self._stopping.wait(self._chance.uniform(0, 2 * pause_seconds)):
            source = self._chance.choice(SOURCES)
            self._emit(source.asset_id, self._chance.choice(source.keys))

    def _emit(self, asset_id: str, partition_key: str | None) -> None:
        self._number += 1
        key = f"{self._name}-{self._number}"
        new = NewMaterialization(asset_id, partition_key, now_ms(), payload={"key": key}, dedupe_key=key)
        while True:
            try:
                recorded = self._store.record(new)
            except CatalogUnavailable:
                threading.Event().wait(_RETRY_SECONDS)
                continue
            self.told.append(Told(key, asset_id, partition_key, recorded.version))
            return

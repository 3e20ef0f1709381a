"""Watches the lease's record: who led when, by the server's clock, and that terms only grow."""

from __future__ import annotations

import itertools
import threading
from dataclasses import dataclass
from typing import Any, Final

from redis import Redis
from redis.exceptions import RedisError

from actors.catalog.connection import without_retry
from actors.catalog.keys import Keys
from tests.integration.service.driver import eventually

__all__ = ["LeaseWatch", "Reign"]

_LOOK_SECONDS: Final = 0.02


@dataclass(frozen=True, slots=True)
class Reign:
    """One term: which service took it, and when, by the server's clock."""

    term: int
    service_id: str
    since_ms: int


class LeaseWatch:
    """A thread that looks at the record, many times in each lease."""

    def __init__(self, client: Redis, keys: Keys) -> None:
        self._client = without_retry(client)
        self._keys = keys
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="lease-watch", daemon=True)
        self.reigns: list[Reign] = []

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self._stopping.set()
        self._thread.join(10)
        self._client.close()

    def after(self, term: int, seconds: float) -> Reign | None:
        """The first reign after this term, once there is one; None if there is none for so long."""
        try:
            return eventually(lambda: self.first_after(term), f"a term after {term} began", seconds)
        except AssertionError:
            return None

    def first_after(self, term: int) -> Reign | None:
        return next((reign for reign in list(self.reigns) if reign.term > term), None)

    @property
    def term(self) -> int:
        return self.reigns[-1].term if self.reigns else 0

    def steps_back(self) -> list[str]:
        """Terms that were seen after a higher one, or that two services had."""
        reigns = list(self.reigns)
        return [
            f"term {after.term} of {after.service_id} came after term {before.term} of {before.service_id}"
            for before, after in itertools.pairwise(reigns)
            if after.term <= before.term
        ]

    def _run(self) -> None:
        while not self._stopping.wait(_LOOK_SECONDS):
            try:
                row: Any = self._client.hmget(self._keys.leader, ["term", "id", "sinceMs"])
            except RedisError:
                continue  # the server is down; it is the campaign that restarts it
            if None not in row:
                reign = Reign(int(row[0]), row[1], int(row[2]))
                if not self.reigns or reign != self.reigns[-1]:
                    self.reigns.append(reign)

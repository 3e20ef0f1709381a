"""The lease in memory, on a virtual clock: what `lease_*.lua` do on a server. Both pass the contract of
`tests/integration/catalog/test_lease.py`."""

from __future__ import annotations

from dataclasses import dataclass, field

from actors.catalog.leadership import HeldByOther
from actors.catalog.store import CatalogUnavailable
from actors.runtime import VirtualClock

__all__ = ["MemoryLease", "MemoryServer"]


@dataclass(slots=True)
class MemoryServer:
    """One lease; it can be out of reach."""

    clock: VirtualClock
    term: int = 0
    holder: str | None = None
    until_ms: int = 0
    is_reachable: bool = True
    calls: list[str] = field(default_factory=list)

    def asked(self, what: str) -> None:
        self.calls.append(what)
        if not self.is_reachable:
            raise CatalogUnavailable("out of reach")


class MemoryLease:
    """A `Lease` of one service. `latency_ms` passes on the clock before the server has a request."""

    def __init__(self, server: MemoryServer, service_id: str, lease_ms: int, *, sole: bool = False) -> None:
        self._server = server
        self._service_id = service_id
        self._lease_ms = lease_ms
        self._sole = sole
        self.latency_ms = 0

    def acquire(self) -> int | HeldByOther:
        server = self._reach("acquire")
        left_ms = server.until_ms - server.clock.now_ms()
        if not self._sole and left_ms > 0 and server.holder is not None and server.holder != self._service_id:
            return HeldByOther(server.holder, left_ms)
        server.term += 1
        server.holder, server.until_ms = self._service_id, server.clock.now_ms() + self._lease_ms
        return server.term

    def renew(self, term: int) -> bool:
        server = self._reach("renew")
        if (server.term, server.holder) != (term, self._service_id):
            return False
        server.until_ms = server.clock.now_ms() + self._lease_ms
        return True

    def release(self, term: int) -> None:
        server = self._reach("release")
        if (server.term, server.holder) == (term, self._service_id):
            server.until_ms = 0

    def _reach(self, what: str) -> MemoryServer:
        self._server.clock.advance(self.latency_ms)
        self._server.asked(what)
        return self._server

"""Which of several services on one catalog leads: a lease on the server, and a term that fences the former leader.

The lease ends by the server's clock, so the clocks of two machines need not agree. Whoever holds it renews it every
third of its length, and gives it up by the own monotonic clock before anybody else can have it. A leader that was
suspended (SIGSTOP, a long pause of its machine) may not notice in time; therefore what it writes carries its term, and
the server refuses what is not of the present one: the fencing token of Martin Kleppmann's "How to do distributed
locking" (2016).
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, Protocol

import structlog
from redis import Redis

from actors.catalog.connection import server_errors, server_of, without_retry
from actors.catalog.keys import Keys
from actors.catalog.scripts import Scripts, shard_argument
from actors.catalog.store import CatalogUnavailable, Deposed
from actors.core.shards import WHOLE, Shard
from actors.runtime.clock import Clock

__all__ = ["HeldByOther", "Leadership", "Lease", "RedisLease"]

_PARTS: Final = 3
"""A lease is renewed after so great a part of it: one renewal may fail, and the next still comes in time."""
_MARGIN: Final = 0.1
"""How much earlier than the server, as a part of the lease, the leader takes it for ended: clocks differ in pace."""
_POLL_SECONDS: Final = 0.25
"""How often those who stand by look whether the lead was released; a lease that ends is known to the millisecond."""


_PATIENCE_SECONDS: Final = 5.0
"""The longest wait for an answer of the server; a stop waits for it too."""


@dataclass(frozen=True, slots=True)
class HeldByOther:
    """Another service leads, and its lease goes on for so long unless it is renewed. With a `shard_count` services that
    divide the catalog in another way lead, into so many shards."""

    service_id: str
    left_ms: int
    shard_count: int | None = None


class Lease(Protocol):
    """The lease as one service sees it. Every method may raise `CatalogUnavailable`."""

    def acquire(self) -> int | HeldByOther:
        """Take the lead unless another holds it; the new term, which is higher than any before."""

    def renew(self, term: int) -> bool:
        """Keep it for another whole lease from now; False if it is another's."""

    def release(self, term: int) -> None:
        """Give it up, if it is still held."""


class RedisLease:
    """The lease on the server; connections of its own, whose timeout leaves time to try again.

    `sole` is for a service that knows by other means that it is alone: it takes the lead whatever the lease says.
    """

    def __init__(
        self,
        client: Redis,
        *,
        prefix: str,
        service_id: str,
        lease_seconds: float,
        sole: bool,
        shard: Shard = WHOLE,
    ) -> None:
        self._client = without_retry(client, socket_timeout_seconds=min(lease_seconds / _PARTS, _PATIENCE_SECONDS))
        self._scripts = Scripts(self._client, Keys(prefix))
        self._server = server_of(client)
        self._service_id = service_id
        self._lease_ms = int(lease_seconds * 1000)
        self._sole = sole
        self._shard = shard_argument(shard)

    def acquire(self) -> int | HeldByOther:
        """See `Lease.acquire`."""
        with server_errors(self._server):
            answer = self._scripts.call(
                "lease_acquire", id=self._service_id, leaseMs=self._lease_ms, sole=self._sole, shard=self._shard
            )
        match answer:
            case ["held", _, str(holder), int(left_ms)]:
                return HeldByOther(holder, left_ms)
            case ["divided", int(count), int(left_ms)]:
                return HeldByOther(f"a service of {count} shard(s)", left_ms, shard_count=count)
            case _:
                return int(answer[1])

    def renew(self, term: int) -> bool:
        """See `Lease.renew`."""
        try:
            with server_errors(self._server):
                return bool(
                    self._scripts.call(
                        "lease_renew", term=term, id=self._service_id, leaseMs=self._lease_ms, shard=self._shard
                    )
                )
        except Deposed:
            return False

    def release(self, term: int) -> None:
        """See `Lease.release`."""
        try:
            with server_errors(self._server):
                self._scripts.call("lease_release", term=term, id=self._service_id, shard=self._shard)
        except Deposed:
            return  # another leads already

    def close(self) -> None:
        self._client.close()


class Leadership:
    """Whether this service leads. A `Fence` for the catalog's scripts. Thread-safe.

    `on_change` is called whenever `term()` may answer otherwise; it must return at once. After a loss the service does
    not try again before `stand` says that it is ready to: what it believed while it led must be thrown away first.

    With `sole` (see `RedisLease`) the lead is not given up for want of renewals: there is nobody to take it.
    """

    def __init__(
        self,
        lease: Lease,
        clock: Clock,
        *,
        lease_seconds: float,
        on_change: Callable[[], None],
        sole: bool = False,
        shard: Shard = WHOLE,
    ) -> None:
        self.shard: Final = shard
        self._lease = lease
        self._clock = clock
        self._lease_ms = int(lease_seconds * 1000)
        self._on_change = on_change
        self._sole = sole
        self._lock = threading.Lock()  # guards the four below
        self._term: int | None = None
        self._ends_ms = 0
        self._stands = True
        self._to_release: int | None = None
        self._is_unanswered = False
        self._told_of_count: int | None = None
        self._log = structlog.stdlib.get_logger("headwater")
        self._is_stopping = threading.Event()
        self._wake = threading.Event()
        self._thread = threading.Thread(target=self._run, name="catalog-leadership", daemon=True)

    def start(self) -> bool:
        """Try once, and go on trying and renewing on a thread; whether this service leads from the start.

        Raises:
            CatalogUnavailable: the server cannot be reached; no thread was started.
        """
        self._acquire()
        self._thread.start()
        return self.term() is not None

    def stop(self) -> None:
        """Give the lead up, so that another has it at once."""
        self.step_down("it stops", stands=False)
        self._is_stopping.set()
        self._wake.set()
        if self._thread.is_alive():
            self._thread.join()

    def term(self) -> int | None:
        """The term in which this service leads now; None if it does not, or is not sure."""
        with self._lock:
            return self._term if self._sole or self._clock.monotonic_ms() < self._ends_ms else None

    def leads(self) -> bool:
        return self.term() is not None

    def stand(self) -> None:
        """Try to take the lead from now on."""
        with self._lock:
            self._stands = True
        self._wake.set()

    def step_down(self, reason: str, *, stands: bool = False) -> None:
        """Give the lead up for a reason of this service's own; nothing if it does not lead."""
        with self._lock:
            self._stands = stands
            is_lost = self._lose(release=True)
        self._told(is_lost, reason, is_own_wish=True)
        self._wake.set()

    def refused(self, term: int) -> None:
        """The server refused a write of ours: it is in another term."""
        with self._lock:
            is_lost = self._term is not None and self._term != term and self._lose(release=False)
        self._told(is_lost, f"another service leads, in term {term}")

    def turn(self) -> float:
        """Do what is due: renew, take, give up or release. How many seconds there are until the next is due."""
        with self._lock:
            term, stands, to_release = self._term, self._stands, self._to_release
        try:
            if to_release is not None:
                self._lease.release(to_release)
                with self._lock:
                    self._to_release = None
            if term is not None:
                return self._renew(term)
            if stands:
                wait_seconds = self._acquire()
                self._is_unanswered = False
                return wait_seconds
        except CatalogUnavailable as error:
            return self._after_error(str(error))
        return self._lease_ms / 1000 / _PARTS

    def _renew(self, term: int) -> float:
        began_ms = self._clock.monotonic_ms()
        if not self._sole and began_ms >= self._ends_ms:
            self._expire("it was not renewed in time")
            return 0.0
        is_kept = self._lease.renew(term)
        with self._lock:
            if self._term != term:
                return 0.0  # given up meanwhile
            # Whoever asked in between was told that this service does not lead: it must not seem to lead on.
            is_late = not self._sole and self._clock.monotonic_ms() >= self._ends_ms
            is_lost = (is_late or not is_kept) and self._lose(release=is_kept)
            if is_kept and not is_lost:
                self._ends_ms = self._end(began_ms)
        self._told(is_lost, "it was not renewed in time" if is_late else "another service leads")
        return self._lease_ms / 1000 / _PARTS

    def _acquire(self) -> float:
        began_ms = self._clock.monotonic_ms()
        answer = self._lease.acquire()
        if isinstance(answer, HeldByOther):
            self._tell_divided(answer.shard_count)
            return min(_POLL_SECONDS, answer.left_ms / 1000)
        with self._lock:
            if not self._stands:
                self._to_release = answer
                return 0.0
            self._term, self._ends_ms, self._stands = answer, self._end(began_ms), False
        self._log.info("leadership.taken", term=answer, text=f"this service leads, in term {answer}")
        self._on_change()
        return self._lease_ms / 1000 / _PARTS

    def _tell_divided(self, count: int | None) -> None:
        """Say once that services which divide the catalog otherwise are in the way."""
        if count is not None and count != self._told_of_count:
            self._log.warning(
                "leadership.divided_otherwise",
                shards=count,
                text=f"services of {count} shard(s) still lead; this one, shard {self.shard}, waits until they end",
            )
        self._told_of_count = count

    def _after_error(self, error: str) -> float:
        with self._lock:
            is_leading = self._term is not None
            left_ms = self._ends_ms - self._clock.monotonic_ms()
        if is_leading and not self._sole and left_ms <= 0:
            self._expire(f"the lease could not be renewed: {error}")
        elif is_leading and not self._sole:
            return min(_POLL_SECONDS, left_ms / 1000)
        elif not (is_leading or self._is_unanswered):
            self._is_unanswered = True
            text = f"this service does not lead, and cannot ask for the lead: {error}"
            self._log.warning("leadership.unanswered", reason=error, text=text)
        return _POLL_SECONDS

    def _expire(self, reason: str) -> None:
        with self._lock:
            # The server may still hold it for us: whoever stands by need not wait for that.
            is_lost = self._lose(release=True)
        self._told(is_lost, reason)

    def _end(self, began_ms: int) -> int:
        """Until when a lease that was asked for then is ours for certain: the server began to count no earlier."""
        return began_ms + int(self._lease_ms * (1 - _MARGIN))

    def _lose(self, *, release: bool) -> bool:
        """Under the lock: lead no more; whether it did before."""
        term, self._term, self._ends_ms = self._term, None, 0
        if term is not None and release:
            self._to_release = term
        return term is not None

    def _told(self, is_lost: bool, reason: str, *, is_own_wish: bool = False) -> None:
        if is_lost:
            tell = self._log.info if is_own_wish else self._log.warning
            tell("leadership.lost", reason=reason, text=f"this service does not lead any more: {reason}")
            self._on_change()

    def _run(self) -> None:
        while not self._is_stopping.is_set():
            self._wake.clear()
            try:
                wait_seconds = self.turn()
            except Exception:
                # A defect must not end it: the lead would be held by nobody, or its loss not be told.
                self._log.exception("leadership.failed")
                wait_seconds = _POLL_SECONDS
            self._wake.wait(wait_seconds)
        self._release_at_last()

    def _release_at_last(self) -> None:
        try:
            if self._to_release is not None:
                self._lease.release(self._to_release)
        except CatalogUnavailable:
            return  # it ends by itself

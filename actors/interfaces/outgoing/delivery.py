"""Delivery to one receiver: at least once, in order, from a cursor that outlives the service.

Each receiver has a thread, a cursor and a connection of its own, so that a slow one holds up nobody. In memory is one
batch of the stream; the rest waits there. While the service does not lead, the thread sleeps; when it leads (again), it
goes on from the cursor, where the last leader was.
"""

from __future__ import annotations

import json
import random
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Final, Protocol

import structlog

from actors.catalog.outgoing_feed import OutgoingEvent, OutgoingFeed
from actors.catalog.store import CatalogUnavailable, Deposed, Json, JsonObject
from actors.core.backoff import BackoffPolicy, delay_ms
from actors.interfaces.outgoing.metrics import OutgoingMetrics
from actors.interfaces.outgoing.outcomes import Outcome, Refused, Taken, Unavailable

__all__ = ["Delivery", "Form", "Sending"]

RETRY: Final = BackoffPolicy(base_ms=500, max_ms=60_000)
_STOP_SECONDS: Final = 2.0
_MOST_BODY_CHARACTERS: Final = 1 << 20

_log = structlog.stdlib.get_logger("headwater")


class Form(Protocol):
    """How events are told to a receiver."""

    @property
    def name(self) -> str: ...

    @property
    def most(self) -> int:
        """The most messages in one request."""

    def message(self, told: OutgoingEvent) -> JsonObject | None:
        """The event for the receiver; None for what is not told of."""

    def body(self, messages: list[JsonObject]) -> Json:
        """What is sent of them."""


class Sending(Protocol):
    """Whoever carries a body to the receiver."""

    @property
    def receiver(self) -> str:
        """Where to, as it may be shown."""

    def send(self, body: Json) -> Outcome: ...

    def close(self) -> None: ...


@dataclass(frozen=True, slots=True)
class _Parcel:
    """What goes in one request; `last` is the position of its last message, `oldest_ms` the time of its first."""

    messages: list[JsonObject]
    last: int
    oldest_ms: int


class _Interrupted(Exception):  # noqa: N818 - reads as the event it tells of
    """The service stops, or does not lead any more."""


class Delivery:
    """A thread that delivers to one receiver while `leads` says so. It can be started once.

    Args:
        retry: how long it rests after failures in a row.
        block_ms: how long it waits for events at a time; a stop may take so long.
        look_seconds: how often it looks whether the service leads.
    """

    def __init__(
        self,
        feed: OutgoingFeed,
        form: Form,
        sender: Sending,
        metrics: OutgoingMetrics,
        *,
        leads: Callable[[], bool],
        retry: BackoffPolicy = RETRY,
        block_ms: int = 500,
        look_seconds: float = 1.0,
    ) -> None:
        self._feed = feed
        self._form = form
        self._sender = sender
        self._metrics = metrics
        self._leads = leads
        self._retry = retry
        self._block_ms = block_ms
        self._look_seconds = look_seconds
        self._position: int | None = None
        self._kept: int | None = None
        self._oldest_ms: int | None = None
        self._is_down = False
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name=f"outgoing-{form.name}", daemon=True)
        metrics.watch(form.name, self.lag_seconds)

    def prepare(self) -> None:
        """Let a receiver that is new begin here; see `OutgoingFeed.cursor`."""
        self._feed.cursor()

    def start(self) -> None:
        self._thread.start()
        _log.info(
            "outgoing.started",
            receiver=self._form.name,
            url=self._sender.receiver,
            text=f"{self._form.name}: the service that leads tells {self._sender.receiver} what happens",
        )

    def signal_stop(self) -> None:
        """Stop soon; returns at once."""
        self._stopping.set()

    def stop(self) -> None:
        """Stop, after the request under way if that ends soon; whoever leads next sends again what was not taken."""
        self._stopping.set()
        if self._thread.is_alive():
            self._thread.join(_STOP_SECONDS)

    def lag_seconds(self) -> float:
        """The age of the oldest event that the receiver has not been sent yet; 0 when there is none, or this service
        does not lead."""
        oldest_ms = self._oldest_ms
        return 0.0 if oldest_ms is None else max(0.0, time.time() - oldest_ms / 1_000)

    def _run(self) -> None:
        faults = 0
        while not self._stopping.is_set():
            if not self._leads():
                self._forget()
                self._stopping.wait(self._look_seconds)
                continue
            try:
                self._turn()
                faults = 0
            except (_Interrupted, Deposed):
                self._forget()
                # Whether it leads is known for certain at the next look.
                self._stopping.wait(self._look_seconds)
            except CatalogUnavailable as error:
                _log.debug("outgoing.waits", receiver=self._form.name, reason=str(error))
                self._feed.disconnect()
                faults += 1
                self._stopping.wait(self._wait_seconds(faults))
            except Exception:
                # A defect must not end it: all that comes would be lost when the stream is trimmed.
                _log.exception("outgoing.failed", receiver=self._form.name)
                faults += 1
                self._stopping.wait(self._wait_seconds(faults))
        self._feed.close()
        self._sender.close()

    def _forget(self) -> None:
        """Another may lead and go on from here: where it came to is in the catalog."""
        self._position = self._kept = self._oldest_ms = None

    def _turn(self) -> None:
        """Deliver one batch, or wait for one."""
        if self._position is None:
            self._position = self._kept = self._feed.cursor()
        batch = self._feed.read(self._position)
        if batch.has_gap:
            self._tell_gap(self._position, batch.events)
        for parcel in self._parcels(batch.events):
            self._oldest_ms = parcel.oldest_ms
            self._deliver(parcel)
            self._position = parcel.last
            self._keep()
        self._oldest_ms = None
        is_idle = batch.last == self._position and not batch.events
        self._position = batch.last
        self._keep()
        if is_idle:
            self._feed.wait(self._position, self._block_ms)

    def _keep(self) -> None:
        if self._position is not None and self._position != self._kept:
            self._feed.move(self._position)
            self._kept = self._position

    def _parcels(self, events: tuple[OutgoingEvent, ...]) -> Iterator[_Parcel]:
        """What is told of, in order, in parcels that a request may hold."""
        messages: list[JsonObject] = []
        characters, last, oldest_ms = 0, 0, 0
        for told in events:
            message = self._message(told)
            if message is None:
                continue
            size = len(json.dumps(message)) if self._form.most > 1 else 0
            if messages and (len(messages) >= self._form.most or characters + size > _MOST_BODY_CHARACTERS):
                yield _Parcel(messages, last, oldest_ms)
                messages, characters = [], 0
            oldest_ms = oldest_ms if messages else told.appended_at_ms
            messages.append(message)
            characters += size
            last = told.position
        if messages:
            yield _Parcel(messages, last, oldest_ms)

    def _message(self, told: OutgoingEvent) -> JsonObject | None:
        try:
            return self._form.message(told)
        except Exception:
            _log.exception("outgoing.not_told", receiver=self._form.name, entry=told.entry_id, type=told.event.type)
            self._metrics.dropped(self._form.name, 1)
            return None

    def _deliver(self, parcel: _Parcel) -> None:
        """Send it until it is taken or refused.

        Raises:
            _Interrupted: neither came about.
        """
        failures = 0
        while True:
            outcome = self._sender.send(self._form.body(parcel.messages))
            match outcome:
                case Taken():
                    self._tell_up()
                    self._metrics.delivered(self._form.name, len(parcel.messages))
                    return
                case Refused() if len(parcel.messages) > 1:
                    # One of them is the cause. Alone, each of the others gets through.
                    for message in parcel.messages:
                        self._deliver(_Parcel([message], parcel.last, parcel.oldest_ms))
                    return
                case Refused():
                    self._tell_up()
                    self._tell_dropped(outcome.reason, parcel.messages[0])
                    return
                case Unavailable():
                    failures += 1
                    self._tell_down(outcome.reason)
                    self._metrics.retried(self._form.name)
                    self._rest(max(outcome.after_seconds, self._wait_seconds(failures)))

    def _wait_seconds(self, failures: int) -> float:
        return delay_ms(self._retry, failures, random.random()) / 1_000  # noqa: S311 - jitter, no secret

    def _rest(self, seconds: float) -> None:
        until = time.monotonic() + seconds
        while True:
            left = until - time.monotonic()
            if self._stopping.wait(max(0.0, min(left, self._look_seconds))) or not self._leads():
                raise _Interrupted
            if left <= self._look_seconds:
                return

    # -- what is told of it ------------------------------------------------------------------------------------------

    def _tell_gap(self, after: int, events: tuple[OutgoingEvent, ...]) -> None:
        self._metrics.gap(self._form.name)
        first = events[0].entry_id if events else None
        _log.warning(
            "outgoing.gap",
            receiver=self._form.name,
            after=f"{after >> 64}-{after & ((1 << 64) - 1)}",
            first=first,
            text=f"{self._form.name}: events were trimmed from the stream before they were sent to "
            f"{self._sender.receiver}; raise [streams] events_max_length if receivers may be away for so long",
        )

    def _tell_dropped(self, reason: str, message: JsonObject) -> None:
        self._metrics.dropped(self._form.name, 1)
        about = message.get("id") or message.get("run")
        _log.warning(
            "outgoing.dropped",
            receiver=self._form.name,
            about=about.get("runId") if isinstance(about, dict) else about,
            reason=reason,
            text=f"{self._form.name}: {self._sender.receiver} refused an event, which is not sent again: {reason}",
        )

    def _tell_down(self, reason: str) -> None:
        if not self._is_down:
            self._is_down = True
            _log.warning(
                "outgoing.unavailable",
                receiver=self._form.name,
                reason=reason,
                text=f"{self._form.name}: {self._sender.receiver} does not take events, which wait: {reason}",
            )

    def _tell_up(self) -> None:
        if self._is_down:
            self._is_down = False
            _log.info(
                "outgoing.available",
                receiver=self._form.name,
                text=f"{self._form.name}: {self._sender.receiver} takes events again",
            )

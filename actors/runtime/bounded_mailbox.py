"""A mailbox with a capacity: senders that are too fast have to wait (back-pressure)."""

from __future__ import annotations

import threading
import time
from typing import Any

from pykka import ActorDeadError
from pykka._envelope import Envelope
from pykka.messages import _ActorStop

from actors.runtime.mailbox import Mailbox


class MailboxFull(Exception):  # noqa: N818 - named after queue.Full, which it is the counterpart of
    """A bounded mailbox stayed full for the whole time a sender was willing to wait."""


class _SendingThread(threading.local):
    """In which mailboxes the current thread must not wait for room: none of them, all of them, or one."""

    pool_thread = False
    own_mailbox: Mailbox | None = None


_sending_thread = _SendingThread()


def never_wait_for_room(own_mailbox: Mailbox | None = None) -> None:
    """Let the current thread send past the capacity of `own_mailbox`, or of every mailbox if it is None.

    A thread that waited for room could be the very one that makes room. A pool thread or the timer thread
    serves all actors; the thread of a pinned actor serves one.
    """
    _sending_thread.pool_thread = own_mailbox is None
    _sending_thread.own_mailbox = own_mailbox


class BoundedMailbox(Mailbox):
    """A mailbox that makes its senders wait while it is full (back-pressure).

    Not every sender: a stop always gets in, and a thread that actors depend on (see `never_wait_for_room`)
    goes past the capacity and is counted.

    Args:
        capacity: how many messages may wait before senders have to
        timeout_seconds: how long a sender waits for room
    """

    __slots__ = ("_capacity", "_room", "_timeout_seconds", "_waiting")

    def __init__(self, capacity: int, timeout_seconds: float) -> None:
        if capacity < 1:
            msg = f"the capacity of a mailbox is {capacity}: it must be at least 1"
            raise ValueError(msg)
        super().__init__()
        self._capacity = capacity
        self._timeout_seconds = timeout_seconds
        self._room = threading.Condition(threading.Lock())
        self._waiting = 0

    def put(self, envelope: Envelope[Any], /) -> None:
        """Add a message, waiting for room if the mailbox is full and the current thread may wait.

        Raises:
            MailboxFull: if there was no room for `timeout_seconds`
            ActorDeadError: if the actor stopped while the sender waited
        """
        if len(self) >= self._capacity and not isinstance(envelope.message, _ActorStop):
            if _sending_thread.pool_thread or _sending_thread.own_mailbox is self:
                if self._home is not None:
                    self._home.overflowed()
            else:
                self._put_when_room(envelope)
                return
        super().put(envelope)

    def end_turn(self) -> bool:
        self._signal_room()
        return super().end_turn()

    def close(self) -> list[Envelope[Any]]:
        left = super().close()
        with self._room:
            self._room.notify_all()
        return left

    def _put_when_room(self, envelope: Envelope[Any]) -> None:
        deadline = time.monotonic() + self._timeout_seconds
        with self._room:
            self._waiting += 1
            try:
                while len(self) >= self._capacity:
                    if self._owner is None and self.started:
                        msg = f"the actor stopped while a sender waited for room for {envelope.message!r}"
                        raise ActorDeadError(msg)
                    left = deadline - time.monotonic()
                    if left <= 0:
                        raise MailboxFull(self._why_full(envelope))
                    self._room.wait(left)
                # Under the lock, so that the waiting senders do not all take the one free place.
                super().put(envelope)
            finally:
                self._waiting -= 1

    def _why_full(self, envelope: Envelope[Any]) -> str:
        return (
            f"{type(envelope.message).__name__} was not sent: after {self._timeout_seconds} s the mailbox "
            f"still holds {len(self)}, its capacity is {self._capacity}; send slower or raise the capacity"
        )

    def _signal_room(self) -> None:
        # A sender counts itself as waiting before it looks for room, so one of the two looks sees the other.
        if self._waiting and len(self) < self._capacity:
            with self._room:
                self._room.notify_all()

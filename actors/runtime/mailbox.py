"""The mailbox: what pykka calls an actor's inbox, made for actors that share threads.

`put` may be called from any thread; everything else belongs to the one thread that holds the actor's turn.
It is a queue of two lists (Okasaki's banker's queue): senders append to one, the reader takes the whole of
it, reversed, into the other and pops from there, so both ends are O(1) and an idle mailbox is two empty
lists.

**No lock on the usual path.** A sender appends, then looks at the `scheduled` flag. The reader lowers the
flag, then looks at the list again. Whatever the interleaving one of them sees the other, so no message
waits unseen; the change from idle to scheduled goes through a lock, so only one of them acts on it. This
needs `list.append`, slicing and slice deletion to be atomic and the order of two plain operations to be
kept, both true under CPython's GIL. Free-threaded builds lock each list operation too, but this package has
not been tested on one.
"""

from __future__ import annotations

import queue
import threading
import time
from typing import TYPE_CHECKING, Any, Protocol

from pykka import ActorDeadError
from pykka._envelope import Envelope
from pykka.messages import _ActorStop

if TYPE_CHECKING:
    from actors.runtime.pooled import PooledActor


class MailboxFull(Exception):  # noqa: N818 - named after queue.Full, which it is the counterpart of
    """A bounded mailbox stayed full for the whole time a sender was willing to wait."""


class Home(Protocol):
    """Where an actor gets its turns: a pool, a thread of its own, or a simulation."""

    def adopt(self, actor: PooledActor) -> None:
        """Take in a new actor; `schedule` follows at once for its `on_start`."""
        ...

    def schedule(self, actor: PooledActor) -> None:
        """Give `actor` a turn soon. Called once for each change from idle to having mail; never blocks."""
        ...

    def release(self, actor: PooledActor) -> None:
        """Forget an actor that has stopped."""
        ...

    def overflowed(self) -> None:
        """Count a message that went past the capacity of a bounded mailbox."""
        ...


# Held for two assignments when a mailbox turns from idle to scheduled. One for all mailboxes: the next thing
# that happens is a put on the shared run queue anyway, and a lock each would add 90 bytes to every actor.
_scheduling = threading.Lock()


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


class Mailbox:
    """An unbounded FIFO mailbox with a lane for urgent messages."""

    __slots__ = ("_arriving", "_home", "_owner", "_ready", "_scheduled", "started")

    def __init__(self) -> None:
        self._arriving: list[Envelope[Any]] = []
        self._ready: list[Envelope[Any]] = []  # reversed: the next message is the last
        # Until `attach`, messages only pile up: an actor may write to itself in its __init__.
        self._scheduled = True
        self._owner: PooledActor | None = None
        self._home: Home | None = None
        self.started = False

    @property
    def home(self) -> Home | None:
        """Where the owner runs; None before it was started and after it stopped."""
        return self._home

    def __len__(self) -> int:
        return len(self._arriving) + len(self._ready)

    def empty(self) -> bool:
        return not self._arriving and not self._ready

    def put(self, envelope: Envelope[Any], /) -> None:
        """Add a message and wake the owner if it is idle. Never blocks."""
        self._arriving.append(envelope)
        if not self._scheduled:
            self._schedule()

    def put_urgent(self, envelope: Envelope[Any], /) -> None:
        """Add a message that is handled before all waiting ones, whatever the capacity."""
        self._ready.append(envelope)
        if not self._scheduled:
            self._schedule()

    def get(self) -> Envelope[Any]:
        """Take the next message, for the thread that holds the turn.

        Raises:
            queue.Empty: if there is none; it never waits, since a waiting thread is what the pool avoids
        """
        ready = self.refill()
        if not ready:
            raise queue.Empty
        return ready.pop()

    def refill(self) -> list[Envelope[Any]]:
        """Move what arrived behind what is ready; the list to `pop` from, always the same one."""
        ready = self._ready
        arriving = self._arriving
        if len(arriving) == 1:
            ready.insert(
                0, arriving.pop(0)
            )  # the usual case, and quicker; pop(0), as more may have arrived since
        elif arriving:
            batch = arriving[:]
            del arriving[: len(batch)]
            batch.reverse()
            ready[0:0] = batch
        return ready

    def attach(self, owner: PooledActor, home: Home) -> None:
        """Bind the mailbox to its actor and ask for the first turn."""
        self._owner = owner
        self._home = home
        home.adopt(owner)
        home.schedule(owner)

    def end_turn(self) -> bool:
        """Give the turn back.

        Returns:
            True if there is more mail: the caller still holds the turn and must schedule the owner again.
            False if the owner is now idle: it may already be running on another thread.
        """
        if self._arriving or self._ready:
            return True
        self._scheduled = False
        return bool(self._arriving or self._ready) and self._claim()

    def close(self) -> list[Envelope[Any]]:
        """Let go of the owner for good; what is left in the mailbox is returned, in order.

        Messages that are put later are refused (see `refuse`): the sender saw the actor alive, but lost the
        race.
        """
        self._owner = self._home = None
        left = self._take_all()
        self._scheduled = False
        if self._arriving or self._ready:
            self._schedule()
        return left

    def _claim(self) -> bool:
        """Turn idle into scheduled; true for the one caller that did it."""
        with _scheduling:
            if self._scheduled:
                return False
            self._scheduled = True
            return True

    def _schedule(self) -> None:
        if not self._claim():
            return
        owner, home = self._owner, self._home
        if owner is not None and home is not None:
            home.schedule(owner)
        else:
            self._refuse_late()

    def _refuse_late(self) -> None:
        """Refuse what was put after `close`. The caller has claimed the turn that nobody else will take."""
        while True:
            refuse(self._take_all())
            self._scheduled = False
            if self.empty() or not self._claim():
                return

    def _take_all(self) -> list[Envelope[Any]]:
        ready = self.refill()
        left = ready[:]
        del ready[: len(left)]  # not clear(): an urgent message may have come in since the copy
        left.reverse()
        return left


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

    def refill(self) -> list[Envelope[Any]]:
        self._signal_room()
        return super().refill()

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
                        msg = (
                            f"{type(envelope.message).__name__} was not sent: after {self._timeout_seconds} s "
                            f"the mailbox still holds {len(self)}, its capacity is {self._capacity}; "
                            "send slower or raise the capacity"
                        )
                        raise MailboxFull(msg)
                    self._room.wait(left)
                # Under the lock, so that the waiting senders do not all take the one free place.
                super().put(envelope)
            finally:
                self._waiting -= 1

    def _signal_room(self) -> None:
        # A sender that starts to wait after this look is told at the next one, one batch later at most.
        if self._waiting and len(self) < self._capacity:
            with self._room:
                self._room.notify_all()


def refuse(envelopes: list[Envelope[Any]]) -> None:
    """Answer messages that nobody will handle, as pykka does for what is left when an actor stops."""
    for envelope in envelopes:
        if envelope.reply_to is None:
            continue
        if isinstance(envelope.message, _ActorStop):
            envelope.reply_to.set(None)
        else:
            error = ActorDeadError("the actor stopped before handling the message")
            envelope.reply_to.set_exception((ActorDeadError, error, None))


def stop_envelope() -> Envelope[Any]:
    """A stop that nobody waits for."""
    return Envelope(_ActorStop())

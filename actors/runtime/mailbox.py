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
from typing import TYPE_CHECKING, Any, Protocol

from pykka import ActorDeadError, ActorRef
from pykka._envelope import Envelope
from pykka.messages import _ActorStop

if TYPE_CHECKING:
    from actors.runtime.pooled import PooledActor


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
            ready.insert(0, arriving.pop(0))  # the usual case, and quicker; pop(0), as more may have arrived since
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


def tell_to_stop(ref: ActorRef[Any]) -> None:
    """Have an actor stop after what it has in its mailbox. Nobody waits for it: `ref.stop(block=False)` would make
    futures to wait with, which takes seconds for 100,000 actors."""
    ref.actor_inbox.put(stop_envelope())


def stop_envelope() -> Envelope[Any]:
    """A stop that nobody waits for."""
    return Envelope(_ActorStop())

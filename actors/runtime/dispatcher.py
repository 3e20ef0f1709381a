"""The dispatcher: a few threads that serve any number of actors."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from queue import SimpleQueue
from types import TracebackType
from typing import Any, ParamSpec, Protocol, Self, TypeVar, cast

import pykka

from actors.runtime import spawning
from actors.runtime.mailbox import Home, stop_envelope
from actors.runtime.pinned import PinnedHome
from actors.runtime.pooled import PooledActor, Tally
from actors.runtime.worker import RunQueue, serve

__all__ = ["Dispatcher", "DispatcherStats", "PooledActor", "Spawner", "default_dispatcher"]

logger = logging.getLogger(__name__)

P = ParamSpec("P")
A = TypeVar("A", bound=PooledActor)


class Spawner(Protocol):
    """Starts actors somewhere: on a pool of threads, or under the hand of a simulation."""

    def spawn(self, actor_class: Callable[P, A], *args: P.args, **kwargs: P.kwargs) -> pykka.ActorRef[A]:
        """Start an actor of a `PooledActor` class with the arguments of its `__init__`."""
        ...


@dataclass(frozen=True, slots=True)
class DispatcherStats:
    """What a dispatcher is doing. Counters run from its start; read while it works, so approximate."""

    threads: int
    """Threads of the pool, without those of pinned actors."""
    actors: int
    """Actors that were started and have not stopped, pinned ones included."""
    pinned: int
    """Actors with a thread of their own."""
    runnable: int
    """Actors with mail that wait for a thread. Steadily above `threads` means that handlers are too slow."""
    handled: int
    """Messages handled, those of pinned actors included."""
    max_mailbox_depth: int
    """The deepest mailbox seen at the start of a turn."""
    overflow: int
    """Messages that went past the capacity of a bounded mailbox, because their sender must not wait."""


class Dispatcher:
    """Runs pooled actors on a fixed number of threads.

    An actor with mail is put on the run queue; a thread takes it, handles up to `batch` messages, and puts
    it back at the end if there are more, so a flooded actor delays the others by one batch at most. The
    threads are daemons and cost nothing while no actor has mail.

    Args:
        threads: how many actors may run at the same time; more helps only where handlers wait or
            release the GIL
        batch: the most messages an actor handles before it yields
        name: prefix of the thread names
    """

    def __init__(self, threads: int = 4, batch: int = 64, name: str = "headwater") -> None:
        if threads < 1 or batch < 1:
            msg = f"a dispatcher needs at least 1 thread and a batch of 1, not threads={threads}, batch={batch}"
            raise ValueError(msg)
        self._name = name
        self._batch = batch
        self._queue: RunQueue = SimpleQueue()
        self._tallies = [Tally() for _ in range(threads)]
        self._threads = [
            threading.Thread(target=self._serve, args=(tally,), name=f"{name}-{number}", daemon=True)
            for number, tally in enumerate(self._tallies)
        ]
        self._changed = threading.Condition()  # guards what follows
        self._state = "new"
        self._live: dict[str, PooledActor] = {}
        self._pinned: dict[PinnedHome, None] = {}
        self._handled_by_stopped_pinned = 0
        self._overflow = 0

    def __repr__(self) -> str:
        return f"<Dispatcher {self._name} {self._state} actors={len(self._live)} threads={len(self._threads)}>"

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self,
        error_type: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.stop()

    @property
    def running(self) -> bool:
        """Whether it was started and not yet asked to stop."""
        return self._state == "running"

    def start(self) -> None:
        """Start the threads. Actors may be spawned before; they begin now.

        Raises:
            RuntimeError: if it was started or stopped before
        """
        with self._changed:
            if self._state != "new":
                msg = f"dispatcher {self._name} cannot start: it is {self._state}; make a new one"
                raise RuntimeError(msg)
            self._state = "running"
            for thread in self._threads:
                thread.start()

    def spawn(self, actor_class: Callable[P, A], *args: P.args, **kwargs: P.kwargs) -> pykka.ActorRef[A]:
        """Start an actor on the pool: its `start`, with arguments that the type checker checks.

        Raises:
            RuntimeError: if the dispatcher was stopped
            TypeError: if it is not a `PooledActor`
        """
        return spawn_in(self, actor_class, *args, **kwargs)

    def spawn_pinned(self, actor_class: Callable[P, A], *args: P.args, **kwargs: P.kwargs) -> pykka.ActorRef[A]:
        """Start an actor with a thread of its own, for one that must block. Its children are on the pool.

        Raises:
            RuntimeError: if the dispatcher was stopped
            TypeError: if it is not a `PooledActor`
        """
        return spawn_in(PinnedHome(self, self._name, self._batch), actor_class, *args, **kwargs)

    def stop(self, timeout_seconds: float = 10.0) -> list[pykka.ActorRef[Any]]:
        """Stop every actor and then the threads.

        Actors are told to stop last-started first, and handle what they had in their mailbox before; who
        needs a strict order stops those actors itself before. After four fifths of the time the remaining
        ones are told urgently: they stop after the message they are at. Calling it again does nothing.

        Returns:
            the actors that still run, because a handler of theirs does not return; empty after a clean stop

        Raises:
            RuntimeError: if called by an actor of this dispatcher, which would wait for itself
        """
        if spawning.inherited() is self:
            msg = f"dispatcher {self._name} cannot be stopped by an actor of its own: it would wait for itself"
            raise RuntimeError(msg)
        deadline = time.monotonic() + timeout_seconds
        with self._changed:
            if self._state in ("stopping", "stopped"):
                return [actor.actor_ref for actor in self._live.values()]
            if self._state == "new":
                for thread in self._threads:
                    thread.start()
            self._state = "stopping"
        for actor in self._running_actors():
            actor.actor_inbox.put(stop_envelope())
        if not self._wait_until_empty(deadline - timeout_seconds / 5):
            for actor in self._running_actors():
                actor.actor_inbox.put_urgent(stop_envelope())
            self._wait_until_empty(deadline)
        left = [actor.actor_ref for actor in self._running_actors()]
        if left:
            logger.error(
                "dispatcher %s stopped with %d actors still in a handler: %s",
                self._name,
                len(left),
                ", ".join(str(ref) for ref in left[:10]),
            )
        for _ in self._threads:
            self._queue.put(None)
        for thread in self._threads:
            thread.join(max(0.0, deadline - time.monotonic()))
        self._state = "stopped"
        return left

    def stats(self) -> DispatcherStats:
        """What is going on now, and the counters since the start."""
        with self._changed:
            tallies = [*self._tallies, *(pinned.tally for pinned in self._pinned)]
            return DispatcherStats(
                threads=len(self._threads),
                actors=len(self._live),
                pinned=len(self._pinned),
                runnable=self._queue.qsize(),
                handled=sum(tally.handled for tally in tallies) + self._handled_by_stopped_pinned,
                max_mailbox_depth=max(tally.deepest for tally in tallies),
                overflow=self._overflow,
            )

    def adopt(self, actor: PooledActor) -> None:
        with self._changed:
            if self._state in ("stopping", "stopped"):
                msg = f"{actor} cannot start: dispatcher {self._name} is {self._state}"
                raise RuntimeError(msg)
            self._live[actor.actor_urn] = actor

    def schedule(self, actor: PooledActor) -> None:
        self._queue.put(actor)

    def release(self, actor: PooledActor) -> None:
        with self._changed:
            self._live.pop(actor.actor_urn, None)
            if not self._live:
                self._changed.notify_all()

    def overflowed(self) -> None:
        with self._changed:
            self._overflow += 1

    def pin(self, home: PinnedHome) -> None:
        """Count a pinned actor's thread."""
        with self._changed:
            self._pinned[home] = None

    def unpin(self, home: PinnedHome) -> None:
        """Forget a pinned actor's thread, keeping its count of messages."""
        with self._changed:
            if home in self._pinned:
                del self._pinned[home]
                self._handled_by_stopped_pinned += home.tally.handled

    def _serve(self, tally: Tally) -> None:
        serve(self._queue, self._batch, tally, children_in=self)

    def _wait_until_empty(self, deadline: float) -> bool:
        with self._changed:
            return self._changed.wait_for(lambda: not self._live, max(0.0, deadline - time.monotonic()))

    def _running_actors(self) -> list[PooledActor]:
        """Last started first."""
        with self._changed:
            return list(reversed(self._live.values()))


def spawn_in(home: Home, actor_class: Callable[P, A], *args: P.args, **kwargs: P.kwargs) -> pykka.ActorRef[A]:
    """Start an actor in `home`: what every `Spawner` does."""
    if not (isinstance(actor_class, type) and issubclass(actor_class, PooledActor)):
        msg = f"cannot spawn {actor_class!r}: it is not a subclass of PooledActor"
        raise TypeError(msg)
    with spawning.next_start_in(home):
        return cast("pykka.ActorRef[A]", actor_class.start(*args, **kwargs))


_default: Dispatcher | None = None
_making_default = threading.Lock()


def default_dispatcher() -> Dispatcher:
    """The dispatcher of actors that are started with `start` outside any other; made when first needed."""
    global _default  # noqa: PLW0603 - one for the process, as pykka's registry is
    with _making_default:
        if _default is None or not _default.running:
            _default = Dispatcher(name="headwater-default")
            _default.start()
        return _default

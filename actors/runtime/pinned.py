"""A home for one actor that has a thread to itself."""

from __future__ import annotations

import threading
from queue import SimpleQueue
from typing import TYPE_CHECKING

from actors.runtime.pooled import PooledActor, Tally
from actors.runtime.worker import RunQueue, serve

if TYPE_CHECKING:
    from actors.runtime.dispatcher import Dispatcher


class PinnedHome:
    """One actor and its thread, counted by the dispatcher that spawned it. The thread ends with the actor."""

    def __init__(self, pool: Dispatcher, name: str, batch: int) -> None:
        self.pool = pool
        self.tally = Tally()
        self._name = name
        self._batch = batch
        self._queue: RunQueue = SimpleQueue()

    def adopt(self, actor: PooledActor) -> None:
        self.pool.adopt(actor)
        self.pool.pin(self)
        threading.Thread(
            target=serve,
            args=(self._queue, self._batch, self.tally),
            # It may wait for room in other mailboxes: nobody but its own actor needs this thread.
            kwargs={"children_in": self.pool, "own_mailbox": actor.actor_inbox},
            name=f"{self._name}-{type(actor).__name__}",
            daemon=True,
        ).start()

    def schedule(self, actor: PooledActor) -> None:
        self._queue.put(actor)

    def release(self, actor: PooledActor) -> None:
        self._queue.put(None)
        self.pool.unpin(self)
        self.pool.release(actor)

    def overflowed(self) -> None:
        self.pool.overflowed()

"""What a thread that serves actors does."""

from __future__ import annotations

import logging
from queue import SimpleQueue
from typing import TYPE_CHECKING, TypeAlias

from actors.runtime import spawning
from actors.runtime.bounded_mailbox import never_wait_for_room

if TYPE_CHECKING:
    from actors.runtime.mailbox import Home, Mailbox
    from actors.runtime.pooled import PooledActor, Tally

logger = logging.getLogger(__name__)

RunQueue: TypeAlias = "SimpleQueue[PooledActor | None]"
"""Actors with mail, longest waiting first. None ends the thread that takes it."""


def serve(queue: RunQueue, batch: int, tally: Tally, *, children_in: Home, own_mailbox: Mailbox | None = None) -> None:
    """Give turns to the actors on `queue` until None comes.

    Args:
        queue: where the actors come from; one with more mail after its turn goes to the end
        batch: the most messages handled in one turn
        tally: where this thread alone counts what it handled
        children_in: the home of the actors that are started by the actors served here
        own_mailbox: the mailbox of the one actor this thread serves; None on a shared thread, which
            must never wait
            for room in any mailbox
    """
    never_wait_for_room(own_mailbox)
    spawning.inherit(children_in)
    while (actor := queue.get()) is not None:
        try:
            actor.run_turn(batch, tally)
        except BaseException as error:
            logger.warning("%s raised %r, which stops all actors", actor, error)
        if actor.end_turn():
            queue.put(actor)
        del actor  # or an idle thread would keep the last actor it served alive

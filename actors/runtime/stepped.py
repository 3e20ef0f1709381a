"""A dispatcher without threads, for simulations: every interleaving is a choice of the caller."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any, ParamSpec, TypeVar

import pykka

from actors.runtime import spawning
from actors.runtime.dispatcher import spawn_in
from actors.runtime.mailbox import stop_envelope
from actors.runtime.pooled import PooledActor, Tally

P = ParamSpec("P")
A = TypeVar("A", bound=PooledActor)

Choose = Callable[[int], int]
"""Given how many actors are runnable (at least 1), says which of them goes next, from 0."""


def longest_waiting(_runnable: int) -> int:
    """The choice a fair pool of one thread makes."""
    return 0


class SteppedDispatcher:
    """Runs pooled actors one message at a time, on the caller's thread, in the order that `choose` decides.

    Runnable actors are kept in the order they became so; the same choices give the same run. An actor's
    `on_start` is its first step. Blocking on an `ask` inside a handler waits forever, as nobody else can
    take a step; outside, ask with `block=False`, step, and then `get` the future. Not for use by several
    threads.
    """

    def __init__(self) -> None:
        self._runnable: list[PooledActor] = []
        self._live: dict[PooledActor, None] = {}
        self._tally = Tally()
        self._overflow = 0
        self._stopped = False

    @property
    def handled(self) -> int:
        """How many messages were handled so far."""
        return self._tally.handled

    @property
    def actors(self) -> int:
        """How many actors were started and have not stopped."""
        return len(self._live)

    def spawn(self, actor_class: Callable[P, A], *args: P.args, **kwargs: P.kwargs) -> pykka.ActorRef[A]:
        """Start an actor. Its `on_start` runs in a later step.

        Raises:
            RuntimeError: if the dispatcher was stopped
            TypeError: if it is not a `PooledActor`
        """
        return spawn_in(self, actor_class, *args, **kwargs)

    def runnable(self) -> int:
        """How many actors have something to do."""
        return len(self._runnable)

    def step(self, choose: Choose = longest_waiting) -> bool:
        """Let one actor start, or handle one message.

        Returns:
            False if there was nothing to do

        Raises:
            IndexError: if `choose` answers with a number that is not below the one it was given
            BaseException: what a handler raised that is not an `Exception`, after all actors
                were told to stop
        """
        count = len(self._runnable)
        if count == 0:
            return False
        chosen = choose(count)
        if not 0 <= chosen < count:
            msg = f"choose({count}) answered {chosen}: it must be from 0 to {count - 1}"
            raise IndexError(msg)
        actor = self._runnable.pop(chosen)
        before = spawning.inherit(self)
        try:
            actor.run_turn(1 if actor.actor_inbox.started else 0, self._tally)
        finally:
            spawning.inherit(before)
            if actor.end_turn():
                self._runnable.append(actor)
        return True

    def run_to_stop(self, ref: pykka.ActorRef[Any]) -> None:
        """Stop one actor and let it handle its mail until it has: what a handler that waits for it would see."""
        ref.stop(block=False)
        while ref.is_alive():
            places = [place for place, actor in enumerate(self._runnable) if actor.actor_ref == ref]
            self.step(lambda _, place=places[0]: place)  # type: ignore[misc]

    def run_until_idle(self, choose: Choose = longest_waiting, max_steps: int = sys.maxsize) -> int:
        """Step until no actor has anything to do.

        Returns:
            how many steps it took

        Raises:
            RuntimeError: if there is still something to do after `max_steps`
        """
        steps = 0
        while self._runnable:
            if steps >= max_steps:
                count = len(self._runnable)
                msg = f"{count} actors are still runnable after {max_steps} steps: do they feed each other?"
                raise RuntimeError(msg)
            self.step(choose)
            steps += 1
        return steps

    def stop(self, timeout_seconds: float = 10.0) -> list[pykka.ActorRef[Any]]:
        """Stop every actor, last started first, once each has handled what it had in its mailbox.

        Returns:
            the actors that still run: none, here
        """
        if self._stopped:
            return []
        self._stopped = True
        for actor in reversed(list(self._live)):
            actor.actor_inbox.put(stop_envelope())
        self.run_until_idle()
        return [actor.actor_ref for actor in self._live]

    def kill(self) -> None:
        """Let every actor vanish as in a crash: no `on_stop`, the mail is lost, asks get `ActorDeadError`."""
        for actor in list(self._live):
            pykka.ActorRegistry.unregister(actor.actor_ref)
            actor.actor_stopped.set()
            actor.end_turn()
        self._runnable.clear()
        self._stopped = True

    def adopt(self, actor: PooledActor) -> None:
        if self._stopped:
            msg = f"{actor} cannot start: the dispatcher is stopped"
            raise RuntimeError(msg)
        self._live[actor] = None

    def schedule(self, actor: PooledActor) -> None:
        self._runnable.append(actor)

    def release(self, actor: PooledActor) -> None:
        self._live.pop(actor, None)

    def overflowed(self) -> None:
        self._overflow += 1

"""`PooledActor`: a pykka actor that borrows a thread when it has mail."""

from __future__ import annotations

import logging
import sys
from typing import Any, ClassVar, Self

import pykka
from pykka import ActorRef, ActorRegistry, Future, ThreadingFuture

from actors.runtime import spawning
from actors.runtime.bounded_mailbox import BoundedMailbox
from actors.runtime.mailbox import Mailbox, refuse
from actors.runtime.stop_flag import StopFlag

logger = logging.getLogger("pykka")


class Tally:
    """What one thread has done. Written by that thread only, so it needs no lock."""

    __slots__ = ("deepest", "handled")

    def __init__(self) -> None:
        self.handled = 0
        self.deepest = 0


class PooledActor(pykka.Actor):
    """An actor that runs on the threads of a dispatcher instead of one of its own.

    Subclass it as you would `pykka.ThreadingActor`. Start it with `Dispatcher.spawn`, or with pykka's own
    `start`, which uses the dispatcher of the actor it is called in, else a default one. All of pykka's
    promises hold: `on_start` before the first message, one message at a time, the messages of one sender in
    order, errors of an `ask` to the caller, errors of a `tell` to `on_failure` and the end of this actor
    only.

    The threads are daemons: unlike `ThreadingActor`, a living actor does not keep the program from ending.

    A handler must not block: it would hold one of the few threads. An actor that has to block is for
    `spawn_pinned`.
    """

    mailbox_capacity: ClassVar[int | None] = None
    """How many messages may wait before senders outside the pool have to wait too; None for no bound."""

    mailbox_timeout_seconds: ClassVar[float] = 30.0
    """How long such a sender waits for room before it gets `MailboxFull`."""

    actor_inbox: Mailbox

    @classmethod
    def start(cls, *args: Any, **kwargs: Any) -> ActorRef[Self]:
        """Start an actor, as `pykka.Actor.start`."""
        with spawning.starting():
            return super().start(*args, **kwargs)

    # A class method where pykka has a static one: it is called on the instance, and the bound is the class's.
    @classmethod
    def _create_actor_inbox(cls) -> Mailbox:
        if cls.mailbox_capacity is None:
            return Mailbox()
        return BoundedMailbox(cls.mailbox_capacity, cls.mailbox_timeout_seconds)

    @staticmethod
    def _create_future() -> Future[Any]:
        return ThreadingFuture()

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        # pykka's event costs 1 KB; the ref holds it too, so it is made anew.
        self.actor_stopped = StopFlag()
        self._actor_ref = ActorRef(self)

    @property
    def mailbox_depth(self) -> int:
        """How many messages wait, not counting the one being handled."""
        return len(self.actor_inbox)

    def _start_actor_loop(self) -> None:
        try:
            self.actor_inbox.attach(self, spawning.home_of_starting())
        except BaseException:
            # pykka registered it already, and nobody would ever unregister it.
            ActorRegistry.unregister(self.actor_ref)
            self.actor_stopped.set()
            raise

    def run_turn(self, limit: int, tally: Tally) -> None:
        """Handle up to `limit` messages on the calling thread, which holds this actor's turn.

        The first turn begins with `on_start`; `end_turn` must follow, whatever happens. For dispatchers,
        not for actors.

        Raises:
            BaseException: what a handler raised that is not an `Exception`; every actor has been told to stop
        """
        mailbox = self.actor_inbox
        stopped = self.actor_stopped
        handled = 0
        try:
            if not mailbox.started:
                mailbox.started = True
                self._actor_loop_setup()
            ready = mailbox.refill()
            if len(ready) > tally.deepest:  # noqa: PLR1730 - max() is a call, on the hot path
                tally.deepest = len(ready)
            handle = self._handle_receive
            while handled < limit and not stopped.is_set():
                if not ready:
                    break
                envelope = ready.pop()
                handled += 1
                if envelope.reply_to is None:
                    handle(envelope.message)
                else:
                    self._answer(envelope.message, envelope.reply_to)
        except Exception:
            self._fail()
        except BaseException as error:
            self._stop_everything(error)
            raise
        finally:
            tally.handled += handled

    def end_turn(self) -> bool:
        """Give the turn back; true if the caller has to schedule another one."""
        mailbox = self.actor_inbox
        if not self.actor_stopped.is_set():
            return mailbox.end_turn()
        home = mailbox.home
        self._actor_loop_teardown()
        refuse(mailbox.close())
        if home is not None:
            home.release(self)
        return False

    def _answer(self, message: Any, reply_to: Future[Any]) -> None:
        try:
            response = self._handle_receive(message)
        except Exception:
            logger.info(f"Exception returned from {self} to caller:", exc_info=True)
            reply_to.set_exception()
        except BaseException:
            reply_to.set_exception()
            raise
        else:
            reply_to.set(response)

    def _fail(self) -> None:
        """A message told to this actor raised: stop it, alone. Called while the exception is handled."""
        self._handle_failure(*sys.exc_info())
        try:
            self.on_failure(*sys.exc_info())
        except Exception:
            self._handle_failure(*sys.exc_info())

    def _stop_everything(self, error: BaseException) -> None:
        logger.debug(f"{error!r} in {self}. Stopping all actors.")
        if not self.actor_stopped.is_set():
            self._stop()
        # pykka waits here for the others to stop. This thread is one that they need to do so.
        ActorRegistry.stop_all(block=False)

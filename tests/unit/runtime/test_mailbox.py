"""The mailbox by itself, against a model; then bounds and urgency, on running actors."""

from __future__ import annotations

import queue
import threading
from typing import Any

import pykka
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pykka._envelope import Envelope
from pykka.messages import _ActorStop

from actors.runtime import BoundedMailbox, Dispatcher, Mailbox, MailboxFull, PooledActor
from tests.unit.runtime.runtimes import DEADLINE_SECONDS, eventually


class Gated(PooledActor):
    """Keeps what it handles; does not get past its first message until it may."""

    def __init__(self, may_go: threading.Event) -> None:
        super().__init__()
        self.handled: list[object] = []
        self.reached = threading.Event()
        self._may_go = may_go

    def on_receive(self, message: object) -> object:
        self.handled.append(message)
        self.reached.set()
        assert self._may_go.wait(DEADLINE_SECONDS)
        return message


class BoundedGated(Gated):
    mailbox_capacity = 3
    mailbox_timeout_seconds = DEADLINE_SECONDS


class ImpatientGated(BoundedGated):
    mailbox_timeout_seconds = 0.01


def actor_of(ref: pykka.ActorRef[Any]) -> Any:
    actor = ref._actor_weakref()
    assert actor is not None
    return actor


def fill(ref: pykka.ActorRef[Any]) -> Any:
    """Occupy the actor with a first message, and put three more in its mailbox."""
    actor = actor_of(ref)
    ref.tell("first")
    assert actor.reached.wait(DEADLINE_SECONDS)
    for number in range(3):
        ref.tell(number)
    assert actor.mailbox_depth == 3
    return actor


operations = st.lists(st.sampled_from(["put", "urgent", "get", "refill"]), max_size=60)


@given(operations)
def test_a_mailbox_is_a_queue_with_an_urgent_end(operations: list[str]) -> None:
    mailbox = Mailbox()
    model: list[int] = []
    for number, operation in enumerate(operations):
        match operation:
            case "put":
                mailbox.put(Envelope(number))
                model.append(number)
            case "urgent":
                mailbox.put_urgent(Envelope(number))
                model.insert(0, number)
            case "get" if model:
                assert mailbox.get().message == model.pop(0)
            case "get":
                with pytest.raises(queue.Empty):
                    mailbox.get()
            case _:
                mailbox.refill()
        assert len(mailbox) == len(model)
        assert mailbox.empty() is not bool(model)
    assert [envelope.message for envelope in mailbox.close()] == model


def test_a_message_put_after_the_close_is_refused() -> None:
    """A sender that saw the actor alive may put its message after the actor's last look at the mailbox."""
    mailbox = Mailbox()
    mailbox.close()
    answer, stopping = pykka.ThreadingFuture[object](), pykka.ThreadingFuture[object]()
    mailbox.put(Envelope("told"))
    mailbox.put(Envelope("asked", reply_to=answer))
    mailbox.put_urgent(Envelope(_ActorStop(), reply_to=stopping))
    assert mailbox.empty()
    assert stopping.get(timeout=0) is None
    with pytest.raises(pykka.ActorDeadError, match="stopped before handling"):
        answer.get(timeout=0)


def test_a_stopped_actor_is_let_go_though_its_ref_is_kept(dispatcher: Dispatcher) -> None:
    may_go = threading.Event()
    may_go.set()
    ref = dispatcher.spawn(Gated, may_go)
    ref.ask("hello", timeout=DEADLINE_SECONDS)
    ref.stop(timeout=DEADLINE_SECONDS)
    eventually(lambda: ref._actor_weakref() is None, "the actor is freed")


def test_an_urgent_message_goes_before_the_waiting_ones(dispatcher: Dispatcher) -> None:
    may_go = threading.Event()
    actor = fill(dispatcher.spawn(Gated, may_go))
    done = pykka.ThreadingFuture[object]()
    actor.actor_inbox.put_urgent(Envelope("urgent", reply_to=done))
    may_go.set()
    done.get(timeout=DEADLINE_SECONDS)
    assert actor.handled[:2] == ["first", "urgent"]


def test_a_sender_waits_while_the_mailbox_is_full(dispatcher: Dispatcher) -> None:
    may_go = threading.Event()
    ref = dispatcher.spawn(BoundedGated, may_go)
    actor = fill(ref)
    sent: list[int] = []

    def send() -> None:
        for number in range(3, 50):
            ref.tell(number)
            sent.append(number)

    sender = threading.Thread(target=send)
    sender.start()
    eventually(lambda: actor.actor_inbox._waiting == 1, "the sender waits for room")
    assert sent == []
    assert actor.mailbox_depth == 3
    may_go.set()
    sender.join(DEADLINE_SECONDS)
    assert not sender.is_alive()
    eventually(lambda: len(actor.handled) == 51, "all messages are handled")
    assert actor.handled == ["first", *range(50)]
    assert dispatcher.stats().max_mailbox_depth <= 3
    assert dispatcher.stats().overflow == 0


def test_many_waiting_senders_never_overfill_the_mailbox(dispatcher: Dispatcher) -> None:
    may_go = threading.Event()
    ref = dispatcher.spawn(BoundedGated, may_go)
    actor = fill(ref)
    senders = [threading.Thread(target=ref.tell, args=(("late", number),)) for number in range(8)]
    for sender in senders:
        sender.start()
    eventually(lambda: actor.actor_inbox._waiting == 8, "all senders wait for room")
    may_go.set()
    for sender in senders:
        sender.join(DEADLINE_SECONDS)
    eventually(lambda: len(actor.handled) == 12, "all messages are handled")
    assert {message for message in actor.handled if isinstance(message, tuple)} == {("late", n) for n in range(8)}
    assert dispatcher.stats().max_mailbox_depth <= 3


def test_a_sender_that_waited_in_vain_is_told_so(dispatcher: Dispatcher) -> None:
    may_go = threading.Event()
    ref = dispatcher.spawn(ImpatientGated, may_go)
    fill(ref)
    with pytest.raises(MailboxFull, match=r"str was not sent: after 0.01 s .* holds 3, its capacity is 3"):
        ref.tell("one too many")
    may_go.set()


def test_a_stop_gets_into_a_full_mailbox_and_waits_its_turn(dispatcher: Dispatcher) -> None:
    may_go = threading.Event()
    ref = dispatcher.spawn(ImpatientGated, may_go)
    actor = fill(ref)
    stopping = ref.stop(block=False)
    may_go.set()
    assert stopping.get(timeout=DEADLINE_SECONDS) is True
    assert actor.handled == ["first", 0, 1, 2]


def test_a_sender_that_waits_for_an_actor_that_stops_gets_an_error(dispatcher: Dispatcher) -> None:
    may_go = threading.Event()
    ref = dispatcher.spawn(BoundedGated, may_go)
    actor = fill(ref)
    errors: list[BaseException] = []

    def send() -> None:
        try:
            ref.tell("never handled")
        except pykka.ActorDeadError as error:
            errors.append(error)

    sender = threading.Thread(target=send)
    sender.start()
    eventually(lambda: actor.actor_inbox._waiting == 1, "the sender waits for room")
    actor.actor_inbox.put_urgent(Envelope(_ActorStop()))
    may_go.set()
    sender.join(DEADLINE_SECONDS)
    assert not sender.is_alive()
    # Room may open in the instant before the actor stops: then the message was sent, and dropped as any other.
    assert actor.handled == ["first"]
    assert errors == [] or "stopped while a sender waited" in str(errors[0])


def test_an_actor_of_the_pool_does_not_wait_and_nothing_is_lost(dispatcher: Dispatcher) -> None:
    may_go = threading.Event()
    full = dispatcher.spawn(ImpatientGated, may_go)
    actor = fill(full)

    class Flooder(PooledActor):
        def on_receive(self, message: object) -> object:
            for number in range(3, 20):
                full.tell(number)
            return "sent"

    assert dispatcher.spawn(Flooder).ask("go", timeout=DEADLINE_SECONDS) == "sent"
    assert dispatcher.stats().overflow == 17
    may_go.set()
    eventually(lambda: len(actor.handled) == 21, "all messages are handled")
    assert actor.handled == ["first", *range(20)]


def test_a_pinned_actor_waits_for_room_in_a_mailbox_but_its_own(dispatcher: Dispatcher) -> None:
    may_go = threading.Event()
    full = dispatcher.spawn(ImpatientGated, may_go)
    fill(full)

    class Pinned(PooledActor):
        mailbox_capacity = 1
        mailbox_timeout_seconds = 0.01

        def on_receive(self, message: object) -> object:
            if message == "send to yourself":
                for number in range(3):
                    self.actor_ref.tell(number)
                return "sent"
            if message == "send to the full one":
                full.tell("one too many")
            return None

    ref = dispatcher.spawn_pinned(Pinned)
    assert ref.ask("send to yourself", timeout=DEADLINE_SECONDS) == "sent"
    eventually(lambda: actor_of(ref).mailbox_depth == 0, "it has read its own messages")
    with pytest.raises(MailboxFull):
        ref.ask("send to the full one", timeout=DEADLINE_SECONDS)
    may_go.set()


def test_a_capacity_below_one_is_refused() -> None:
    with pytest.raises(ValueError, match="capacity of a mailbox is 0"):
        BoundedMailbox(0, 1.0)

"""What happens to a message between `tell` or `ask` and its handling."""

from __future__ import annotations

import pickle
import threading

import pykka
import pytest

from tests.unit.runtime.runtimes import DEADLINE_SECONDS, Runtime, ask, stop


class Ledger(pykka.Actor):
    """Keeps what it is told; answers with all of it."""

    def __init__(self) -> None:
        super().__init__()
        self.kept: list[object] = []

    def on_receive(self, message: object) -> object:
        if message == "show":
            return list(self.kept)
        self.kept.append(message)
        return message


class Gate(pykka.Actor):
    """Does not get past its first message until it may."""

    def __init__(self, may_go: threading.Event) -> None:
        super().__init__()
        self._may_go = may_go

    def on_receive(self, message: object) -> object:
        assert self._may_go.wait(DEADLINE_SECONDS)
        return message


@pytest.mark.parametrize("message", ["text", 7, None, ("a", 1), {"command": "x"}, object()])
def test_any_object_may_be_a_message(runtime: Runtime, message: object) -> None:
    ref = runtime.start(Ledger)
    ref.tell(message)
    assert ask(runtime, ref, "show") == [message]


def test_messages_of_one_sender_are_handled_in_order(runtime: Runtime) -> None:
    ref = runtime.start(Ledger)
    for number in range(1_000):
        ref.tell(number)
        if number % 100 == 0:
            runtime.settle()
    assert ask(runtime, ref, "show") == list(range(1_000))


def test_each_of_many_senders_keeps_its_order(threaded: Runtime) -> None:
    ref = threaded.start(Ledger)
    together = threading.Barrier(4)

    def send(sender: int) -> None:
        together.wait(DEADLINE_SECONDS)
        for number in range(500):
            ref.tell((sender, number))

    senders = [threading.Thread(target=send, args=(sender,)) for sender in range(4)]
    for thread in senders:
        thread.start()
    for thread in senders:
        thread.join(DEADLINE_SECONDS)
    kept: list[tuple[int, int]] = ask(threaded, ref, "show")
    assert len(kept) == 2_000
    for sender in range(4):
        assert [number for who, number in kept if who == sender] == list(range(500))


def test_telling_a_dead_actor_is_an_error(runtime: Runtime) -> None:
    ref = runtime.start(Ledger)
    stop(runtime, ref)
    with pytest.raises(pykka.ActorDeadError, match=rf"{ref.actor_urn}\) not found"):
        ref.tell("anybody there?")


def test_asking_a_dead_actor_is_an_error_in_the_answer(runtime: Runtime) -> None:
    ref = runtime.start(Ledger)
    stop(runtime, ref)
    answer = ref.ask("anybody there?", block=False)
    with pytest.raises(pykka.ActorDeadError, match=rf"{ref.actor_urn}\) not found"):
        answer.get(timeout=DEADLINE_SECONDS)


def test_ask_waits_for_the_answer(threaded: Runtime) -> None:
    ref = threaded.start(Ledger)
    assert ref.ask("hello", timeout=DEADLINE_SECONDS) == "hello"


def test_ask_gives_up_after_its_timeout_and_the_actor_goes_on(threaded: Runtime) -> None:
    may_go = threading.Event()
    ref = threaded.start(Gate, may_go)
    with pytest.raises(pykka.Timeout):
        ref.ask("now", timeout=0.01)
    may_go.set()
    assert ref.ask("again", timeout=DEADLINE_SECONDS) == "again"


def test_answers_can_be_joined_mapped_and_reduced(runtime: Runtime) -> None:
    refs = [runtime.start(Ledger) for _ in range(3)]
    first, *others = [ref.ask(number, block=False) for number, ref in enumerate(refs)]
    runtime.settle()
    joined = first.join(*others)
    assert list(joined.get(timeout=DEADLINE_SECONDS)) == [0, 1, 2]
    assert joined.reduce(lambda total, number: total + number, 10).get(timeout=DEADLINE_SECONDS) == 13
    assert first.map(lambda number: number + 5).get(timeout=DEADLINE_SECONDS) == 5


def test_actors_can_ask_each_other(threaded: Runtime) -> None:
    class Forwarder(pykka.Actor):
        def __init__(self, target: pykka.ActorRef[Ledger]) -> None:
            super().__init__()
            self._target = target

        def on_receive(self, message: object) -> object:
            return self._target.ask(message, timeout=DEADLINE_SECONDS)

    ref = threaded.start(Forwarder, threaded.start(Ledger))
    assert ref.ask("through", timeout=DEADLINE_SECONDS) == "through"


def test_refs_describe_their_actor(runtime: Runtime) -> None:
    ref = runtime.start(Ledger)
    assert str(ref) == f"Ledger ({ref.actor_urn})"
    assert repr(ref) == f"<ActorRef for {ref}>"


def test_refs_are_equal_only_to_themselves(runtime: Runtime) -> None:
    one, two = runtime.start(Ledger), runtime.start(Ledger)
    assert one == one
    assert one != two
    assert len({one, two, one}) == 2


def test_a_ref_cannot_be_pickled_as_its_actor_lives_in_this_process(runtime: Runtime) -> None:
    ref = runtime.start(Ledger)
    with pytest.raises(TypeError, match="cannot pickle"):
        pickle.dumps(ref)

"""The races that the runtime must win, played instruction by instruction."""

from __future__ import annotations

from collections.abc import Callable

import pykka
import pytest
from pykka._envelope import Envelope

from actors.runtime import Mailbox, PooledActor
from actors.runtime import mailbox as mailbox_module
from actors.runtime.mailbox import refuse
from actors.runtime.stop_flag import StopFlag
from tests.unit.runtime.interleaving import code_of, everywhere, interrupt

MAILBOX_FILE = code_of(Mailbox.put).co_filename
FLAG_FILE = code_of(StopFlag.wait).co_filename

Put = Callable[[Mailbox, str], object]


def ordinary(mailbox: Mailbox, text: str) -> None:
    mailbox.put(Envelope(text))


def urgent(mailbox: Mailbox, text: str) -> None:
    mailbox.put_urgent(Envelope(text))


class CountingHome:
    """Counts turns asked for and not yet given: more than one is two threads in an actor, none is a lost wake-up."""

    def __init__(self) -> None:
        self.turns = 0

    def adopt(self, actor: PooledActor) -> None: ...

    def schedule(self, actor: PooledActor) -> None:
        self.turns += 1

    def release(self, actor: PooledActor) -> None: ...

    def overflowed(self) -> None: ...


class Silent(PooledActor): ...


def unlocked() -> bool:
    return not mailbox_module._scheduling.locked()


def in_a_turn(home: CountingHome) -> Mailbox:
    """An empty mailbox whose owner has the turn."""
    actor = Silent()
    mailbox = actor.actor_inbox
    mailbox.attach(actor, home)
    home.turns -= 1  # taken
    return mailbox


def idle(home: CountingHome) -> Mailbox:
    """An empty mailbox whose owner has no turn and needs none."""
    mailbox = in_a_turn(home)
    assert mailbox.end_turn() is False
    return mailbox


def drain(mailbox: Mailbox) -> list[str]:
    texts = []
    while not mailbox.empty():
        texts.append(mailbox.get().message)
    return texts


either_lane = pytest.mark.parametrize("put", [ordinary, urgent])


@either_lane
def test_a_message_that_comes_as_a_turn_ends_gets_a_turn(put: Put) -> None:
    def scenario(at_instruction: int) -> bool:
        home = CountingHome()
        mailbox = in_a_turn(home)
        keeps: list[bool] = []
        happened = interrupt(
            lambda: keeps.append(mailbox.end_turn()),
            lambda: put(mailbox, "x"),
            at_instruction,
            MAILBOX_FILE,
            unlocked,
        )
        if happened:
            assert home.turns + keeps[0] == 1
            assert drain(mailbox) == ["x"]
        return happened

    assert everywhere(scenario) > 10


@either_lane
def test_a_turn_that_ends_while_a_message_is_sent_leaves_no_message_without_a_turn(put: Put) -> None:
    def scenario(at_instruction: int) -> bool:
        home = CountingHome()
        mailbox = in_a_turn(home)
        handled: list[str] = []
        keeps: list[bool] = []

        def finish_the_turn() -> None:
            handled.extend(drain(mailbox))
            keeps.append(mailbox.end_turn())

        happened = interrupt(lambda: put(mailbox, "x"), finish_the_turn, at_instruction, MAILBOX_FILE, unlocked)
        if happened:
            turns = home.turns + keeps[0]
            # A turn for mail that is gone does no harm; two turns at once do, and mail without one.
            assert turns == 1 or (turns == 0 and handled == ["x"])
            assert handled + drain(mailbox) == ["x"]
        return happened

    assert everywhere(scenario) > 5


@either_lane
def test_two_messages_to_an_idle_actor_get_one_turn(put: Put) -> None:
    def scenario(at_instruction: int) -> bool:
        home = CountingHome()
        mailbox = idle(home)
        happened = interrupt(
            lambda: put(mailbox, "x"), lambda: put(mailbox, "y"), at_instruction, MAILBOX_FILE, unlocked
        )
        assert home.turns == 1
        assert sorted(drain(mailbox)) == (["x", "y"] if happened else ["x"])
        return happened

    assert everywhere(scenario) > 10


@pytest.mark.parametrize("waiting", [["a"], ["a", "b", "c"]])
def test_messages_that_come_during_a_refill_are_neither_lost_nor_out_of_order(waiting: list[str]) -> None:
    def scenario(put: Put, at_instruction: int) -> bool:
        mailbox = Mailbox()
        for text in waiting:
            ordinary(mailbox, text)
        happened = interrupt(mailbox.refill, lambda: put(mailbox, "x"), at_instruction, MAILBOX_FILE)
        if happened:
            assert drain(mailbox) == ([*waiting, "x"] if put is ordinary else ["x", *waiting])
        return happened

    assert everywhere(lambda at_instruction: scenario(ordinary, at_instruction)) > 10
    assert everywhere(lambda at_instruction: scenario(urgent, at_instruction)) > 10


Ask = Callable[[Mailbox], pykka.Future[object]]


def ask(mailbox: Mailbox) -> pykka.Future[object]:
    """Put a message that wants an answer."""
    answer = pykka.ThreadingFuture[object]()
    mailbox.put(Envelope("x", reply_to=answer))
    return answer


def ask_urgently(mailbox: Mailbox) -> pykka.Future[object]:
    """The same, before all others."""
    answer = pykka.ThreadingFuture[object]()
    mailbox.put_urgent(Envelope("x", reply_to=answer))
    return answer


def assert_refused(answer: pykka.Future[object]) -> None:
    with pytest.raises(pykka.ActorDeadError):
        answer.get(timeout=0)


@pytest.mark.parametrize("ask", [ask, ask_urgently])
def test_an_ask_that_comes_as_the_mailbox_closes_is_refused(ask: Ask) -> None:
    def scenario(at_instruction: int) -> bool:
        home = CountingHome()
        mailbox = in_a_turn(home)
        answers: list[pykka.Future[object]] = []
        happened = interrupt(
            lambda: refuse(mailbox.close()),
            lambda: answers.append(ask(mailbox)),
            at_instruction,
            MAILBOX_FILE,
            unlocked,
        )
        for answer in answers:
            assert_refused(answer)
        assert (mailbox.empty(), home.turns) == (True, 0)
        return happened

    assert everywhere(scenario) > 20


def test_a_mailbox_that_closes_during_an_ask_refuses_it() -> None:
    def scenario(at_instruction: int) -> bool:
        home = CountingHome()
        mailbox = in_a_turn(home)
        answers: list[pykka.Future[object]] = []
        happened = interrupt(
            lambda: answers.append(ask(mailbox)),
            lambda: refuse(mailbox.close()),
            at_instruction,
            MAILBOX_FILE,
            unlocked,
        )
        if happened:
            assert_refused(answers[0])
            assert (mailbox.empty(), home.turns) == (True, 0)
        return happened

    assert everywhere(scenario) > 5


def test_two_late_asks_at_once_are_both_refused() -> None:
    def scenario(at_instruction: int) -> bool:
        mailbox = in_a_turn(CountingHome())
        mailbox.close()
        answers: list[pykka.Future[object]] = []
        happened = interrupt(
            lambda: answers.append(ask(mailbox)),
            lambda: answers.append(ask(mailbox)),
            at_instruction,
            MAILBOX_FILE,
            unlocked,
        )
        for answer in answers:
            assert_refused(answer)
        return happened

    assert everywhere(scenario) > 20


def test_a_flag_set_while_somebody_starts_to_wait_wakes_them() -> None:
    def scenario(at_instruction: int) -> bool:
        flag = StopFlag()
        happened = interrupt(lambda: flag.wait(0), flag.set, at_instruction, FLAG_FILE)
        # Whoever waits does so on the event: it must not be left unset behind the flag.
        assert not happened or flag._event is None or flag._event.is_set()
        return happened

    assert everywhere(scenario) > 10


def test_a_wait_that_starts_while_the_flag_is_set_is_woken() -> None:
    def scenario(at_instruction: int) -> bool:
        flag = StopFlag()
        happened = interrupt(flag.set, lambda: flag.wait(0), at_instruction, FLAG_FILE)
        assert flag._event is None or flag._event.is_set()
        return happened

    assert everywhere(scenario) > 3

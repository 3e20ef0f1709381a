"""The dispatcher without threads: what happens is exactly what `choose` decides."""

from __future__ import annotations

import random
from collections.abc import Iterator
from types import TracebackType

import pykka
import pytest
from hypothesis import given
from hypothesis import strategies as st

from actors.runtime import PooledActor, SteppedDispatcher, longest_waiting
from tests.unit.runtime.runtimes import DEADLINE_SECONDS


class Scribe(PooledActor):
    """Writes what happens to it into a log that all of them share, and passes messages on."""

    def __init__(self, log: list[str], name: str) -> None:
        super().__init__()
        self._log = log
        self._name = name

    def on_start(self) -> None:
        self._log.append(f"{self._name} started")

    def on_receive(self, message: tuple[str, list[pykka.ActorRef[PooledActor]]]) -> str:
        text, then = message
        self._log.append(f"{self._name} got {text}")
        if then:
            then[0].tell((f"{text} by {self._name}", then[1:]))
        return text

    def on_stop(self) -> None:
        self._log.append(f"{self._name} stopped")

    def on_failure(
        self,
        exception_type: type[BaseException] | None,
        exception_value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._log.append(f"{self._name} failed")


@pytest.fixture
def stepped() -> Iterator[SteppedDispatcher]:
    made = SteppedDispatcher()
    yield made
    made.stop()


def last(runnable: int) -> int:
    return runnable - 1


def test_nothing_happens_between_steps(stepped: SteppedDispatcher) -> None:
    log: list[str] = []
    ref = stepped.spawn(Scribe, log, "a")
    ref.tell(("x", []))
    ref.tell(("y", []))
    seen = []
    while stepped.step(longest_waiting):
        seen.append(list(log))
    assert seen == [["a started"], ["a started", "a got x"], ["a started", "a got x", "a got y"]]
    assert stepped.step(longest_waiting) is False
    assert stepped.handled == 2


def test_the_choice_decides_who_goes_next(stepped: SteppedDispatcher) -> None:
    log: list[str] = []
    refs = [stepped.spawn(Scribe, log, name) for name in "abc"]
    assert stepped.runnable() == 3
    stepped.step(lambda count: 1)
    assert log == ["b started"]
    assert stepped.runnable() == 2
    stepped.run_until_idle(last)
    assert log == ["b started", "c started", "a started"]
    refs[0].tell(("x", []))
    assert stepped.runnable() == 1


def test_the_choice_is_asked_with_the_number_of_runnable_actors(stepped: SteppedDispatcher) -> None:
    counts: list[int] = []

    def choose(count: int) -> int:
        counts.append(count)
        return 0

    for name in "abc":
        stepped.spawn(Scribe, [], name)
    assert stepped.run_until_idle(choose) == 3
    assert counts == [3, 2, 1]


@pytest.mark.parametrize("answer", [-1, 1, 7])
def test_an_impossible_choice_is_refused_and_changes_nothing(stepped: SteppedDispatcher, answer: int) -> None:
    stepped.spawn(Scribe, [], "a")
    with pytest.raises(IndexError, match=rf"choose\(1\) answered {answer}: it must be from 0 to 0"):
        stepped.step(lambda count: answer)
    assert stepped.runnable() == 1


def story(seed: int) -> list[str]:
    """What six actors that pass messages around write, with the interleaving that a seed makes."""
    rng = random.Random(seed)
    log: list[str] = []
    stepped = SteppedDispatcher()
    refs = [stepped.spawn(Scribe, log, name) for name in "abcdef"]
    for number in range(12):
        path = [rng.choice(refs) for _ in range(4)]
        path[0].tell((str(number), path[1:]))
    stepped.run_until_idle(rng.randrange)
    stepped.stop()
    return log


@given(st.integers())
def test_the_same_choices_make_the_same_run(seed: int) -> None:
    assert story(seed) == story(seed)


def test_other_choices_make_other_runs() -> None:
    assert len({tuple(story(seed)) for seed in range(20)}) == 20


@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 3)), max_size=40), st.randoms(use_true_random=False))
def test_messages_keep_their_order_whatever_is_chosen(sends: list[tuple[int, int]], rng: random.Random) -> None:
    class Keeper(PooledActor):
        def __init__(self) -> None:
            super().__init__()
            self.kept: list[tuple[int, int]] = []

        def on_receive(self, message: tuple[int, int]) -> None:
            self.kept.append(message)

    stepped = SteppedDispatcher()
    try:
        refs = [stepped.spawn(Keeper) for _ in range(4)]
        actors = [ref._actor_weakref() for ref in refs]
        expected: list[list[tuple[int, int]]] = [[] for _ in refs]
        for number, (to, steps) in enumerate(sends):
            refs[to].tell((number, to))
            expected[to].append((number, to))
            for _ in range(steps):
                stepped.step(rng.randrange)
        stepped.run_until_idle(rng.randrange)
        assert [actor.kept for actor in actors if actor is not None] == expected
    finally:
        stepped.kill()  # hypothesis may break off an example wherever it draws a number


def test_actors_that_feed_each_other_are_noticed(stepped: SteppedDispatcher) -> None:
    class Restless(PooledActor):
        def on_receive(self, message: object) -> None:
            self.actor_ref.tell(message)

    ref = stepped.spawn(Restless)
    ref.tell("again")
    with pytest.raises(RuntimeError, match="1 actors are still runnable after 100 steps"):
        stepped.run_until_idle(longest_waiting, max_steps=100)
    stepped.kill()


def test_an_actor_started_by_an_actor_is_stepped_too(stepped: SteppedDispatcher) -> None:
    log: list[str] = []

    class Parent(PooledActor):
        def on_start(self) -> None:
            Scribe.start(log, "child").tell(("hello", []))

    stepped.spawn(Parent)
    assert stepped.run_until_idle() == 3
    assert log == ["child started", "child got hello"]
    assert stepped.actors == 2


def test_stop_stops_the_last_started_first_after_their_mail() -> None:
    log: list[str] = []
    stepped = SteppedDispatcher()
    refs = [stepped.spawn(Scribe, log, name) for name in "ab"]
    stepped.run_until_idle()
    refs[0].tell(("x", []))
    assert stepped.stop() == []
    assert log[2:] == ["a got x", "b stopped", "a stopped"]
    with pytest.raises(RuntimeError, match="the dispatcher is stopped"):
        stepped.spawn(Scribe, log, "c")
    assert pykka.ActorRegistry.get_by_class(Scribe) == []


def test_kill_is_a_crash() -> None:
    log: list[str] = []
    stepped = SteppedDispatcher()
    refs = [stepped.spawn(Scribe, log, name) for name in "ab"]
    stepped.run_until_idle()
    answer = refs[0].ask(("x", []), block=False)
    stepped.kill()
    assert log == ["a started", "b started"]
    assert (stepped.actors, stepped.runnable()) == (0, 0)
    assert not any(ref.is_alive() for ref in refs)
    assert pykka.ActorRegistry.get_by_class(Scribe) == []
    with pytest.raises(pykka.ActorDeadError):
        answer.get(timeout=DEADLINE_SECONDS)


def test_a_base_exception_stops_all_and_reaches_who_stepped(stepped: SteppedDispatcher) -> None:
    log: list[str] = []

    class Interrupted(PooledActor):
        def on_receive(self, message: object) -> None:
            raise KeyboardInterrupt

    stepped.spawn(Scribe, log, "a")
    ref = stepped.spawn(Interrupted)
    ref.tell("now")
    with pytest.raises(KeyboardInterrupt):
        stepped.run_until_idle()
    assert not ref.is_alive()
    stepped.run_until_idle()
    assert log == ["a started", "a stopped"]
    assert stepped.actors == 0


def test_a_failing_actor_fails_alone(stepped: SteppedDispatcher) -> None:
    log: list[str] = []
    bad, good = stepped.spawn(Scribe, log, "bad"), stepped.spawn(Scribe, log, "good")
    bad.tell("not a pair")
    good.tell(("x", []))
    stepped.run_until_idle()
    assert log == ["bad started", "good started", "bad failed", "good got x"]
    assert stepped.actors == 1


def test_one_actor_can_be_stopped_while_the_others_wait(stepped: SteppedDispatcher) -> None:
    heard: list[str] = []

    class Listener(PooledActor):
        def on_receive(self, message: str) -> None:
            heard.append(message)

    first, second = stepped.spawn(Listener), stepped.spawn(Listener)
    first.tell("to the first")
    second.tell("to the second")
    stepped.run_to_stop(first)
    assert heard == ["to the first"]
    assert not first.is_alive()
    assert second.is_alive()

"""Timers on a virtual clock, against a sorted list."""

from __future__ import annotations

import bisect
import logging
import random
from collections.abc import Iterator
from typing import Any

import pykka
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, invariant, multiple, rule

from actors.runtime import PooledActor, SteppedDispatcher, TimerHandle, VirtualClock, VirtualTimers
from actors.runtime.timers import TimerHeap

START_MS = 1_700_000_000_000


class Heard(PooledActor):
    def __init__(self, heard: list[object]) -> None:
        super().__init__()
        self._heard = heard

    def on_receive(self, message: object) -> None:
        self._heard.append(message)


class Bench:
    """A virtual clock, its timers, and an actor whose mail is read after each firing."""

    def __init__(self) -> None:
        self.clock = VirtualClock(START_MS)
        self.timers = VirtualTimers(self.clock)
        self.heard: list[object] = []
        self.stepped = SteppedDispatcher()
        self.ref = self.stepped.spawn(Heard, self.heard)

    def arm(self, in_ms: int, message: object = None) -> TimerHandle:
        return self.timers.tell_at(self.clock.now_ms() + in_ms, self.ref, message)

    def fire(self) -> int:
        fired = self.timers.fire_due()
        self.stepped.run_until_idle()
        return fired


@pytest.fixture
def bench() -> Iterator[Bench]:
    made = Bench()
    yield made
    made.stepped.stop()


class TimersAgainstASortedList(RuleBasedStateMachine):
    """Arm, cancel, let time pass and let the wall clock jump: what is told, and when, is what the list says."""

    armed = Bundle("armed")

    def __init__(self) -> None:
        super().__init__()
        self.bench = Bench()
        self.model: list[tuple[int, int]] = []
        self.expected: list[object] = []
        self.number = 0

    @rule(target=armed, in_ms=st.integers(-5, 30), count=st.integers(1, 40))
    def arm(self, in_ms: int, count: int) -> Any:
        made = []
        for _ in range(count):
            self.number += 1
            handle = self.bench.arm(in_ms, self.number)
            bisect.insort(self.model, (handle.at_ms, self.number))
            made.append((handle, self.number))
        return multiple(*made)

    @rule(one=consumes(armed))
    def cancel(self, one: tuple[TimerHandle, int]) -> None:
        handle, number = one
        entry = (handle.at_ms, number)
        was_armed = entry in self.model
        assert handle.armed is was_armed
        assert handle.cancel() is was_armed
        assert handle.cancel() is False
        if was_armed:
            self.model.remove(entry)

    @rule(ms=st.integers(0, 10))
    def let_time_pass(self, ms: int) -> None:
        self.bench.clock.advance(ms)
        self.fire()

    @rule(ms=st.integers(-20, 20))
    def let_the_wall_clock_jump(self, ms: int) -> None:
        self.bench.clock.set_wall(self.bench.clock.now_ms() + ms)
        self.fire()

    def fire(self) -> None:
        due = [entry for entry in self.model if entry[0] <= self.bench.clock.now_ms()]
        del self.model[: len(due)]
        self.expected += [number for _, number in due]
        assert self.bench.fire() == len(due)

    @invariant()
    def what_was_told_and_what_is_left_agree(self) -> None:
        assert self.bench.heard == self.expected
        assert len(self.bench.timers) == len(self.model)
        assert self.bench.timers.next_at() == (self.model[0][0] if self.model else None)

    def teardown(self) -> None:
        self.bench.stepped.kill()


TestTimersAgainstASortedList = TimersAgainstASortedList.TestCase
TestTimersAgainstASortedList.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)


def test_a_timer_fires_at_its_time_and_once(bench: Bench) -> None:
    bench.arm(100, "now")
    bench.clock.advance(99)
    assert bench.fire() == 0
    bench.clock.advance(1)
    assert bench.fire() == 1
    assert bench.fire() == 0
    assert bench.heard == ["now"]


def test_a_time_in_the_past_fires_at_once(bench: Bench) -> None:
    bench.arm(-1_000_000, "late")
    assert bench.fire() == 1


def test_timers_of_one_time_fire_in_the_order_they_were_armed(bench: Bench) -> None:
    for number in range(20):
        bench.arm(5, number)
    bench.clock.advance(5)
    bench.fire()
    assert bench.heard == list(range(20))


def test_a_message_is_never_compared(bench: Bench) -> None:
    for message in ({"a": 1}, {"b": 2}, object()):
        bench.arm(5, message)
    bench.clock.advance(5)
    assert bench.fire() == 3


def test_a_jump_forward_fires_what_it_passed(bench: Bench) -> None:
    bench.arm(3_600_000, "in an hour")
    bench.clock.set_wall(START_MS + 7_200_000)
    assert bench.fire() == 1


def test_a_jump_back_delays_until_the_wall_clock_is_there_again(bench: Bench) -> None:
    bench.arm(1_000, "then")
    bench.clock.set_wall(START_MS - 5_000)
    bench.clock.advance(5_999)
    assert bench.fire() == 0
    bench.clock.advance(1)
    assert bench.fire() == 1


def test_a_dead_actor_costs_no_more_than_a_count(bench: Bench) -> None:
    bench.arm(1, "for nobody")
    bench.stepped.stop()
    bench.clock.advance(1)
    assert bench.timers.fire_due() == 1
    assert (bench.timers.fired, bench.timers.undeliverable) == (1, 1)


def test_what_is_armed_while_firing_waits_for_its_time(bench: Bench) -> None:
    class ArmsItself(PooledActor):
        """Is told directly, by the timers' thread: puts a new timer in the middle of the firing."""

        def on_receive(self, message: object) -> None:
            bench.arm(10, "later")

    ref = bench.stepped.spawn(ArmsItself)
    bench.timers.tell_at(START_MS, ref, "go")
    assert bench.fire() == 1
    assert bench.timers.next_at() == START_MS + 10


def test_a_mailbox_that_refuses_does_not_stop_the_others(
    bench: Bench, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Broken:
        def put(self, envelope: object) -> None:
            raise OSError("no room")

    broken = bench.stepped.spawn(Heard, [])
    monkeypatch.setattr(broken, "actor_inbox", Broken())
    bench.timers.tell_at(START_MS, broken, "first")
    bench.timers.tell_at(START_MS, bench.ref, "second")
    with caplog.at_level(logging.ERROR):
        assert bench.fire() == 2
    assert bench.heard == ["second"]
    assert bench.timers.undeliverable == 1
    assert "timer could not tell Heard" in caplog.text


def test_a_cancelled_timer_lets_go_of_its_message_at_once(bench: Bench) -> None:
    class Message:
        alive = 0

        def __init__(self) -> None:
            Message.alive += 1

        def __del__(self) -> None:
            Message.alive -= 1

    handle = bench.arm(1_000, Message())
    assert Message.alive == 1
    handle.cancel()
    assert Message.alive == 0
    assert repr(handle) == f"<TimerHandle at_ms={START_MS + 1_000} done>"


@given(st.integers(1, 400), st.integers())
def test_cancelled_timers_do_not_pile_up(armed: int, seed: int) -> None:
    """Re-arming, as an asset does at each production, keeps the heap within a constant of what is armed."""
    rng = random.Random(seed)
    heap = TimerHeap()
    ref = pykka.ActorRef(Heard([]))
    handles = [heap.add(rng.randrange(1_000), ref, None) for _ in range(armed)]
    for _ in range(1_000):
        place = rng.randrange(armed)
        handles[place].cancel()
        handles[place] = heap.add(rng.randrange(1_000), ref, None)
    assert len(heap) == armed
    assert heap.size <= 2 * armed + 65

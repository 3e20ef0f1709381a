"""The timer thread, on a clock that the test holds."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import pykka
import pytest

from actors.runtime import Dispatcher, PooledActor, SystemClock, TimerThread, VirtualClock
from tests.unit.runtime.runtimes import DEADLINE_SECONDS, eventually

START_MS = 1_700_000_000_000


class Heard(PooledActor):
    def __init__(self) -> None:
        super().__init__()
        self.heard: list[object] = []
        self.more = threading.Semaphore(0)

    def on_receive(self, message: object) -> None:
        self.heard.append(message)
        self.more.release()

    def wait_for(self, count: int) -> list[object]:
        for _ in range(count):
            assert self.more.acquire(timeout=DEADLINE_SECONDS), f"only {self.heard} came"
        return self.heard


class CountingClock(VirtualClock):
    """Counts how often it is read, and says when it was."""

    def __init__(self, start_ms: int) -> None:
        super().__init__(start_ms)
        self.reads = 0
        self.was_read = threading.Semaphore(0)

    def now_ms(self) -> int:
        now_ms = super().now_ms()
        self.reads += 1
        self.was_read.release()
        return now_ms

    def wait_for_read(self) -> None:
        """Wait until the thread has read the time once more, and is on its way to sleep by it."""
        while self.was_read.acquire(blocking=False):
            pass
        assert self.was_read.acquire(timeout=DEADLINE_SECONDS)


@pytest.fixture
def clock() -> CountingClock:
    return CountingClock(START_MS)


@pytest.fixture
def timers(clock: CountingClock) -> Iterator[TimerThread]:
    made = TimerThread(clock, recheck_seconds=0.005)
    made.start()
    yield made
    made.stop()


def heard_by(ref: pykka.ActorRef[Heard]) -> Heard:
    actor = ref._actor_weakref()
    assert actor is not None
    return actor


def test_a_timer_fires_by_the_real_clock(dispatcher: Dispatcher) -> None:
    clock = SystemClock()
    timers = TimerThread(clock)
    timers.start()
    actor = heard_by(dispatcher.spawn(Heard))
    armed_at_ms = clock.now_ms()
    timers.tell_at(armed_at_ms + 40, actor.actor_ref, "second")
    timers.tell_at(armed_at_ms + 20, actor.actor_ref, "first")
    assert actor.wait_for(2) == ["first", "second"]
    assert clock.now_ms() >= armed_at_ms + 40
    timers.stop()
    assert "headwater-timers" not in {thread.name for thread in threading.enumerate()}


def test_a_time_in_the_past_fires_at_once(dispatcher: Dispatcher, timers: TimerThread) -> None:
    actor = heard_by(dispatcher.spawn(Heard))
    timers.tell_at(0, actor.actor_ref, "late")
    assert actor.wait_for(1) == ["late"]
    assert (len(timers), timers.fired) == (0, 1)


def test_an_earlier_timer_wakes_the_thread_from_a_long_sleep(dispatcher: Dispatcher) -> None:
    timers = TimerThread(SystemClock(), recheck_seconds=3_600)
    timers.start()
    actor = heard_by(dispatcher.spawn(Heard))
    timers.tell_at(SystemClock().now_ms() + 3_600_000, actor.actor_ref, "in an hour")
    timers.tell_at(SystemClock().now_ms() + 10, actor.actor_ref, "soon")
    assert actor.wait_for(1) == ["soon"]
    timers.stop()


def test_a_jump_forward_is_noticed(dispatcher: Dispatcher, timers: TimerThread, clock: CountingClock) -> None:
    """An NTP step, or a laptop that was closed: nobody tells the thread, it has to look."""
    actor = heard_by(dispatcher.spawn(Heard))
    timers.tell_at(START_MS + 3_600_000, actor.actor_ref, "in an hour")
    clock.wait_for_read()
    clock.set_wall(START_MS + 3_600_000)
    assert actor.wait_for(1) == ["in an hour"]


def test_a_jump_back_delays(dispatcher: Dispatcher, timers: TimerThread, clock: CountingClock) -> None:
    actor = heard_by(dispatcher.spawn(Heard))
    clock.set_wall(START_MS - 1_000)
    timers.tell_at(START_MS, actor.actor_ref, "then")
    for _ in range(5):
        clock.wait_for_read()
    assert actor.heard == []
    clock.set_wall(START_MS)
    assert actor.wait_for(1) == ["then"]


def test_the_clock_is_not_read_while_nothing_is_armed(
    dispatcher: Dispatcher, timers: TimerThread, clock: CountingClock
) -> None:
    ref = dispatcher.spawn(Heard)
    handle = timers.tell_at(START_MS + 1_000, ref, "never")
    reads = clock.reads
    eventually(lambda: clock.reads > reads + 3, "the clock is read again and again while a timer is armed")
    handle.cancel()

    def at_rest() -> bool:
        before = clock.reads
        # Ten times as long as the thread sleeps with a timer armed.
        return not threading.Event().wait(0.05) and clock.reads == before

    eventually(at_rest, "the thread sleeps without limit once nothing is armed")
    actor = heard_by(ref)
    timers.tell_at(START_MS, ref, "awake")
    assert actor.wait_for(1) == ["awake"]


def test_a_timer_cancelled_in_time_does_not_fire(
    dispatcher: Dispatcher, timers: TimerThread, clock: CountingClock
) -> None:
    actor = heard_by(dispatcher.spawn(Heard))
    cancelled = timers.tell_at(START_MS + 10, actor.actor_ref, "cancelled")
    timers.tell_at(START_MS + 10, actor.actor_ref, "kept")
    assert cancelled.cancel() is True
    clock.advance(10)
    assert actor.wait_for(1) == ["kept"]
    assert cancelled.cancel() is False


def test_more_timers_than_fire_at_a_time_all_fire_in_order(
    dispatcher: Dispatcher, timers: TimerThread, clock: CountingClock
) -> None:
    actor = heard_by(dispatcher.spawn(Heard))
    for number in range(2_500):
        timers.tell_at(START_MS + number % 50, actor.actor_ref, number)
    clock.advance(50)
    told = actor.wait_for(2_500)
    assert told == sorted(range(2_500), key=lambda number: number % 50)


def test_a_dead_actor_is_counted_and_the_thread_goes_on(dispatcher: Dispatcher, timers: TimerThread) -> None:
    dead = dispatcher.spawn(Heard)
    dead.stop(timeout=DEADLINE_SECONDS)
    timers.tell_at(0, dead, "for nobody")
    actor = heard_by(dispatcher.spawn(Heard))
    timers.tell_at(0, actor.actor_ref, "for somebody")
    assert actor.wait_for(1) == ["for somebody"]
    assert (timers.fired, timers.undeliverable) == (2, 1)


def test_a_full_mailbox_does_not_hold_up_the_thread(dispatcher: Dispatcher, timers: TimerThread) -> None:
    may_go = threading.Event()

    class Full(PooledActor):
        mailbox_capacity = 1
        mailbox_timeout_seconds = DEADLINE_SECONDS

        def on_receive(self, message: object) -> None:
            may_go.wait(DEADLINE_SECONDS)

    full = dispatcher.spawn(Full)
    for number in range(5):
        timers.tell_at(0, full, number)
    actor = heard_by(dispatcher.spawn(Heard))
    timers.tell_at(0, actor.actor_ref, "not held up")
    assert actor.wait_for(1) == ["not held up"]
    may_go.set()


def test_start_and_stop_may_be_repeated_and_keep_what_is_armed(dispatcher: Dispatcher) -> None:
    clock = VirtualClock(START_MS)
    timers = TimerThread(clock, recheck_seconds=0.005)
    actor = heard_by(dispatcher.spawn(Heard))
    timers.tell_at(0, actor.actor_ref, "armed before the start")
    assert timers.fired == 0
    timers.start()
    timers.start()
    actor.wait_for(1)
    timers.stop()
    timers.stop()
    timers.tell_at(0, actor.actor_ref, "armed after the stop")
    assert len(timers) == 1
    timers.start()
    assert actor.wait_for(1) == ["armed before the start", "armed after the stop"]
    timers.stop()


def test_arming_and_cancelling_from_many_threads_loses_no_timer(dispatcher: Dispatcher) -> None:
    timers = TimerThread(SystemClock())
    timers.start()
    actor = heard_by(dispatcher.spawn(Heard))
    kept = 4 * 250

    def work(worker: int) -> None:
        for number in range(250):
            later = timers.tell_at(SystemClock().now_ms() + 3_600_000, actor.actor_ref, "cancelled")
            timers.tell_at(SystemClock().now_ms() + number % 3, actor.actor_ref, (worker, number))
            assert later.cancel()

    workers = [threading.Thread(target=work, args=(worker,)) for worker in range(4)]
    for thread in workers:
        thread.start()
    for thread in workers:
        thread.join(DEADLINE_SECONDS)
    told = actor.wait_for(kept)
    assert set(told) == {(worker, number) for worker in range(4) for number in range(250)}
    assert len(timers) == 0
    timers.stop()

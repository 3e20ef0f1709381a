"""Timers per second that can be armed, cancelled and fired while a million are armed."""

from __future__ import annotations

import random
import threading

from actors.runtime import Dispatcher, PooledActor, SystemClock, TimerThread
from tests.benchmarks.common import Options, Result, resident_bytes, stopwatch

NAME = "timers"

_HOUR_MS = 3_600_000


class Sink(PooledActor):
    """Counts down what it is told and says when that was all."""

    def __init__(self, expected: int, finished: threading.Event) -> None:
        super().__init__()
        self._left = expected
        self._finished = finished

    def on_receive(self, _message: object) -> None:
        self._left -= 1
        if self._left == 0:
            self._finished.set()


def run(options: Options) -> Result:
    """Arm a million at random times of an hour; then arm, cancel, re-arm and fire a tenth as many."""
    armed = options.scaled(1_000_000)
    some = options.scaled(100_000)
    rng = random.Random(1)
    clock = SystemClock()
    timers = TimerThread(clock)
    timers.start()
    with Dispatcher() as dispatcher:
        finished = threading.Event()
        ref = dispatcher.spawn(Sink, some, finished)
        later = clock.now_ms() + _HOUR_MS
        times = [later + rng.randrange(_HOUR_MS) for _ in range(armed)]
        before = resident_bytes()
        with stopwatch() as filling:
            handles = [timers.tell_at(at_ms, ref, None) for at_ms in times]
        per_timer = (resident_bytes() - before) / armed
        with stopwatch() as arming:
            extra = [timers.tell_at(at_ms, ref, None) for at_ms in times[:some]]
        with stopwatch() as cancelling:
            for handle in extra:
                handle.cancel()
        # What an asset does each time it is produced.
        with stopwatch() as rearming:
            for number in range(some):
                handles[number].cancel()
                handles[number] = timers.tell_at(times[number], ref, None)
        with stopwatch() as firing:
            for _ in range(some):
                timers.tell_at(0, ref, None)
            finished.wait(60)
        with stopwatch() as clearing:
            for handle in handles:
                handle.cancel()
        left = len(timers)
    timers.stop()
    return {
        "armed": armed,
        "bytes_per_timer": per_timer,
        "fill_per_second": armed / filling.seconds,
        "arm_per_second": some / arming.seconds,
        "cancel_per_second": some / cancelling.seconds,
        "rearm_per_second": some / rearming.seconds,
        "fire_per_second": some / firing.seconds,
        "clear_per_second": armed / clearing.seconds,
        "left_armed": left,
    }

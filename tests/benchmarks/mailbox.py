"""Messages per second: pooled actors against pykka's ThreadingActor, the same actors and the same messages.

Each actor gets the same number of messages, told by one thread in rounds over all actors, so that neighbours
in time go to different actors: the pattern of news that spreads over a graph, and the worst for a thread per
actor. The clock runs from the first tell until the last actor has handled its last message; starting and
stopping are not counted. The rates of the pool are medians of several runs, as one is over in no time.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from statistics import median
from typing import Any

import pykka

from actors.runtime import Dispatcher, PooledActor
from tests.benchmarks.common import Options, Result, stopwatch

NAME = "mailbox"

Start = Callable[[threading.Semaphore, int], pykka.ActorRef[Any]]


class Counting(pykka.Actor):
    """Counts its messages down and says when it has had all of them."""

    def __init__(self, finished: threading.Semaphore, messages: int) -> None:
        super().__init__()
        self._finished = finished
        self._left = messages

    def on_receive(self, _message: object) -> None:
        self._left -= 1
        if self._left == 0:
            self._finished.release()


class PooledCounting(Counting, PooledActor): ...


class ThreadingCounting(Counting, pykka.ThreadingActor):
    use_daemon_thread = True


def rate(start: Start, actors: int, rounds: int) -> float:
    """Messages per second of `actors` actors that get `rounds` messages each."""
    finished = threading.Semaphore(0)
    refs = [start(finished, rounds) for _ in range(actors)]
    with stopwatch() as watch:
        for number in range(rounds):
            for ref in refs:
                ref.tell(number)
        for _ in refs:
            finished.acquire()
    return actors * rounds / watch.seconds


def pooled_rate(actors: int, rounds: int) -> float:
    """Messages per second on a dispatcher with its default number of threads."""
    dispatcher = Dispatcher()
    dispatcher.start()
    try:
        return rate(lambda finished, messages: dispatcher.spawn(PooledCounting, finished, messages), actors, rounds)
    finally:
        dispatcher.stop(timeout_seconds=60)


def threading_rate(actors: int, rounds: int) -> float:
    """Messages per second with a thread for each actor."""
    refs: list[pykka.ActorRef[Any]] = []

    def start(finished: threading.Semaphore, messages: int) -> pykka.ActorRef[Any]:
        refs.append(ThreadingCounting.start(finished, messages))
        return refs[-1]

    try:
        return rate(start, actors, rounds)
    finally:
        for stopping in [ref.stop(block=False) for ref in refs]:
            stopping.get(timeout=60)


def run(options: Options) -> Result:
    """Rates at 1,000 and 5,000 actors on both, at 100,000 on the pool; how many times faster that is."""
    thousand, five, hundred = (options.scaled(size) for size in (1_000, 5_000, 100_000))
    pooled_1000 = median(pooled_rate(thousand, rounds=20) for _ in range(5))
    pooled_5000 = median(pooled_rate(five, rounds=20) for _ in range(5))
    pooled_100000 = median(pooled_rate(hundred, rounds=5) for _ in range(3))
    threading_1000 = threading_rate(thousand, rounds=20)
    threading_5000 = threading_rate(five, rounds=20)
    return {
        "pooled_1000_per_second": pooled_1000,
        "pooled_5000_per_second": pooled_5000,
        "pooled_100000_per_second": pooled_100000,
        "threading_1000_per_second": threading_1000,
        "threading_5000_per_second": threading_5000,
        "ratio_1000": pooled_1000 / threading_1000,
        "ratio_5000": pooled_5000 / threading_5000,
    }

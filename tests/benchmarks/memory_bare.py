"""Bytes per bare pooled actor, at 100,000 that each handled a message, and the threads that serve them."""

from __future__ import annotations

import threading

from actors.runtime import Dispatcher, PooledActor
from tests.benchmarks.common import Options, Result, resident_bytes, stopwatch

NAME = "memory_bare"


class Bare(PooledActor):
    """An actor with no state of its own."""

    def on_receive(self, message: threading.Semaphore) -> None:
        message.release()


def run(options: Options) -> Result:
    """Resident memory before and after, divided by the actors; refs and places in the registry count."""
    count = options.scaled(100_000)
    dispatcher = Dispatcher()
    dispatcher.start()
    # The first instances of a class are larger, until CPython has learnt which attributes they have.
    for _ in range(1_000):
        dispatcher.spawn(Bare)
    handled = threading.Semaphore(0)
    before = resident_bytes()
    with stopwatch() as starting:
        refs = [dispatcher.spawn(Bare) for _ in range(count)]
    for ref in refs:
        ref.tell(handled)
    for _ in refs:
        handled.acquire()
    after = resident_bytes()
    threads = threading.active_count() - 1
    with stopwatch() as stopping:
        leftovers = dispatcher.stop(timeout_seconds=60)
    return {
        "actors": count,
        "bytes_per_actor": (after - before) / count,
        "threads": threads,
        "starts_per_second": count / starting.seconds,
        "stops_per_second": (count + 1_000 - len(leftovers)) / stopping.seconds,
    }

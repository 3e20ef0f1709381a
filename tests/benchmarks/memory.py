"""Bytes per idle actor at 100,000 of them: a bare pooled one, and an AssetActor with one partition; their threads.

An idle AssetActor here has read its partition from the catalog, found it fresh, noted that decision and armed the timer
of its expiry; all of that is counted, the declarations of the assets (which the graph holds) are not. With `--million`
a million of them are started too, and the resident memory of the whole process is told.
"""

from __future__ import annotations

import multiprocessing
import threading
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from pykka import ActorRef

from actors.asset import AssetActor
from actors.catalog.store import AssetRecord
from actors.core.decide import Defaults
from actors.core.freshness import Expiry, FreshnessPolicy
from actors.core.graph import AssetSpec, AutoMaterialize
from actors.core.state import Dismissal, Materialization
from actors.interfaces.observers import FanOut
from actors.messages import DumpAsset, Load, Reported, RunRequest
from actors.runtime import Dispatcher, PooledActor, SystemClock, TimerThread
from actors.surroundings import Surroundings
from tests.benchmarks.common import Options, Result, resident_bytes, stopwatch

NAME = "memory"

DAY_MS = 86_400_000
LEARNING = 1_000
"""The first instances of a class are larger, until CPython has learnt which attributes they have."""


class Bare(PooledActor):
    """An actor with no state of its own."""

    def on_receive(self, message: threading.Semaphore) -> None:
        message.release()


class Reports(PooledActor):
    """In the registry's place: counts the assets that have read their state and decided."""

    def __init__(self, decided: threading.Semaphore) -> None:
        super().__init__()
        self._decided = decided

    def on_receive(self, message: object) -> None:
        if isinstance(message, Reported):
            self._decided.release()


class NoCatalog:
    """A catalog that an idle asset asks nothing of."""

    def _unexpected(self, *_args: object, **_kwargs: object) -> None:
        raise AssertionError("an idle asset asked the catalog")

    load_workflows = load_workflow = load_assets = load_pauses = load_runs = load_queued_run = _unexpected

    def submit(self, requests: Sequence[RunRequest], receiver: ActorRef[Any]) -> None:
        self._unexpected()

    def expire(self, asset_id: str, partition_key: str | None, version: int, expiry: Expiry) -> None:
        self._unexpected()

    def pass_over(self, asset_id: str, dismissals: Mapping[str, Dismissal]) -> None:
        self._unexpected()


def bare(count: int) -> Result:
    """Bare actors that each handled a message; refs and places in the registry count."""
    with Dispatcher() as dispatcher:
        for _ in range(LEARNING):
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
    return {
        "actors": count,
        "bytes_per_actor": (after - before) / count,
        "starts_per_second": count / starting.seconds,
    }


class Assets:
    """Starts AssetActors, each with one partition that is fresh until tomorrow."""

    def __init__(self, dispatcher: Dispatcher) -> None:
        clock = SystemClock()
        self._dispatcher = dispatcher
        self._timers = TimerThread(clock)
        self._timers.start()
        self._decided = threading.Semaphore(0)
        self._around = Surroundings(
            clock=clock,
            timers=self._timers,
            catalog=NoCatalog(),
            observer=FanOut([]),
            defaults=Defaults(),
            new_run_id=lambda: "run-0",
        )
        self._around.links.registry = dispatcher.spawn(Reports, self._decided)
        self._now_ms = clock.now_ms()

    def start(self, specs: Sequence[AssetSpec]) -> list[ActorRef[Any]]:
        refs = []
        for spec in specs:
            ref = self._dispatcher.spawn(AssetActor, spec.asset_id, spec, self._around)
            made = Materialization(1, 1, self._now_ms, run_id=f"run-{spec.asset_id}")
            ref.tell(Load(AssetRecord({None: made}), {}, {}, pos=1, wave=0))
            refs.append(ref)
        for _ in refs:
            self._decided.acquire()
        return refs

    def check(self, ref: ActorRef[Any]) -> None:
        """Whether what was measured is what it should be."""
        dump: Any = ref.ask(DumpAsset("?"), timeout=10)
        (partition,) = dump.partitions
        assert partition.state == "fresh"
        assert partition.expires is not None

    def stop(self) -> None:
        self._timers.stop()


def specs_of(count: int) -> list[AssetSpec]:
    freshness, auto = FreshnessPolicy(ttl_ms=DAY_MS), AutoMaterialize(on_upstream_update=True)
    return [
        AssetSpec(f"asset.{n}", f"workflow-{n}", "step", (f"source.{n}",), freshness, None, auto) for n in range(count)
    ]


def assets(count: int) -> Result:
    """AssetActors, the threads that serve them, and how fast they come and go."""
    dispatcher = Dispatcher()
    dispatcher.start()
    starter = Assets(dispatcher)
    starter.start(specs_of(LEARNING))
    specs = specs_of(count)
    before = resident_bytes()
    with stopwatch() as starting:
        refs = starter.start(specs)
    resident = resident_bytes()
    threads = threading.active_count() - 1
    starter.check(refs[-1])
    with stopwatch() as stopping:
        leftovers = dispatcher.stop(timeout_seconds=300)
    starter.stop()
    return {
        "bytes_per_asset": (resident - before) / count,
        "resident_gib": resident / 2**30,
        "threads": threads,
        "asset_starts_per_second": count / starting.seconds,
        "asset_stops_per_second": (count - len(leftovers)) / stopping.seconds,
    }


def apart(measure: Callable[[int], Result], count: int) -> Result:
    """Measure in a process of its own: memory that another measurement has freed would be used again, and not seen."""
    with multiprocessing.get_context("spawn").Pool(1) as process:
        return process.apply(measure, (count,))


def run(options: Options) -> Result:
    """Resident memory before and after, divided by the actors."""
    count = options.scaled(100_000)
    result = apart(bare, count) | apart(assets, count)
    if options.million:
        million = options.scaled(1_000_000)
        result |= {f"million_{name}": value for name, value in apart(assets, million).items()}
        result["million_actors"] = million
    return result

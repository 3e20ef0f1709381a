"""Rounds of load, faults, rest and checks; what was seen in them is told at the end."""

from __future__ import annotations

import json
import random
import shutil
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from tests.crash.emitter import Emitter
from tests.crash.faults import Fault, Injected, draw, inject
from tests.crash.house import BUDGET, LEASE_SECONDS, House, Launcher
from tests.crash.lease_watch import LeaseWatch, Reign
from tests.crash.oracle import Oracle
from tests.crash.replay import Broken
from tests.integration.service.driver import now_ms

__all__ = ["Campaign", "Options", "Report"]

_REST_SECONDS: Final = 40.0
_LATE_SECONDS: Final = 8.0
"""What a busy machine may add to a takeover before the campaign goes on without it."""
_LONGEST_REIGN_SECONDS: Final = 3.0
_LONGEST_SILENCE_SECONDS: Final = 4.0
"""Of a Celery worker: some of its runs are given up, others are not yet."""
_LOOK_SECONDS: Final = 0.1


@dataclass(frozen=True, slots=True)
class Options:
    """`rounds_per_house`: then everything is ended and begun anew on an empty server, so that checks stay quick.
    `without`: faults that are not drawn. `keep`: also the folders of houses in which all was well."""

    rounds: int
    seed: int
    per_second: float = 20.0
    rounds_per_house: int = 10
    launcher: Launcher = "local"
    without: frozenset[Fault] = frozenset()
    keep: bool = False


@dataclass(slots=True)
class Report:
    """What was done and seen. `failed_round` and `folder` are there if something is broken.

    `takeovers_ms`: from a leader's death or silence to the next one's term; `first_made_ms`: to what a run made first
    in that term; `handovers_ms`: from the request to stop to the next term; `rest_ms`: from the load's end to rest.
    """

    seed: int
    launcher: Launcher
    rounds: int = 0
    seconds: float = 0.0
    faults: Counter[Fault] = field(default_factory=Counter)
    emitted: int = 0
    events: int = 0
    runs: int = 0
    runs_ended: Counter[str] = field(default_factory=Counter)
    takeovers_ms: list[int] = field(default_factory=list)
    first_made_ms: list[int] = field(default_factory=list)
    handovers_ms: list[int] = field(default_factory=list)
    rest_ms: list[int] = field(default_factory=list)
    broken: list[Broken] = field(default_factory=list)
    failed_round: int | None = None
    folder: Path | None = None

    def count(self, kind: str) -> int:
        return sum(each.kind == kind for each in self.broken)


class Campaign:
    """`folder` is where the houses are; it is removed at the end unless something is broken."""

    def __init__(self, options: Options, folder: Path, *, tell: Callable[[str], None]) -> None:
        self._options = options
        self._folder = folder
        self._tell = tell
        self._began = time.monotonic()
        self.report = Report(options.seed, options.launcher)

    def run(self) -> Report:
        """Play every round, or up to the first that breaks something."""
        report, options = self.report, self._options
        for first in range(1, options.rounds + 1, options.rounds_per_house):
            self._play_house(range(first, min(first + options.rounds_per_house, options.rounds + 1)))
            if report.broken:
                break
        report.seconds = time.monotonic() - self._began
        if report.broken:
            report.folder = self._folder
        elif not options.keep:
            shutil.rmtree(self._folder)
        return report

    def _play_house(self, rounds: range) -> None:
        folder = self._folder / f"rounds-{rounds[0]}-{rounds[-1]}"
        with _opened(folder, self._options.launcher) as (house, watch):
            # Each round draws from a seed of its own, so a single one can be understood without those before it.
            chance = random.Random(f"{self._options.seed}/{rounds[0]}")
            emitter = Emitter(house.producer_store(), chance, f"e{rounds[0]}")
            catalog = house.service.catalog
            oracle = Oracle(catalog.client, catalog.store, house.service.keys, budget=BUDGET)
            play = _House(house, watch, emitter, oracle)
            emitter.emit_each()
            broken = play.broken_at_rest()
            if broken:
                self.report.failed_round = rounds[0]
            for number in rounds:
                if not broken:
                    broken = self._play_round(play, number)
            self._count(play)
            self.report.broken = broken
            if broken or self._options.keep:
                play.keep_stream(broken)
        if not (broken or self._options.keep):
            shutil.rmtree(house.folder)

    def _play_round(self, play: _House, number: int) -> list[Broken]:
        chance = random.Random(f"{self._options.seed}/{number}/faults")
        began = time.monotonic()
        told_before, runs_before = len(play.emitter.told), len(play.oracle.replay.runs)
        play.emitter.start(per_second=self._options.per_second)
        faults = draw(chance, self._options.launcher, self._options.without)
        injected = play.inject_all(faults, chance, load_seconds=chance.uniform(1, 3))
        load_seconds, rest_began = 0.0, time.monotonic()
        try:
            broken = play.heal()
            play.emitter.stop()
            load_seconds, rest_began = time.monotonic() - began, time.monotonic()
            broken += play.broken_at_rest()
        except AssertionError as error:  # of the driver: something did not come to be in time
            broken = [Broken("inconsistent", str(error))]
        rest_ms = round((time.monotonic() - rest_began) * 1_000)
        report = self.report
        report.rounds += 1
        report.rest_ms.append(rest_ms)
        report.faults.update(each.fault for each in injected)
        report.handovers_ms += [reign.since_ms - done.at_ms for done, reign in play.handovers(injected)]
        for done, reign in play.takeovers(injected):
            report.takeovers_ms.append(reign.since_ms - done.at_ms)
            made_at_ms = play.oracle.first_made_after(reign.since_ms)
            if made_at_ms is not None:
                report.first_made_ms.append(made_at_ms - done.at_ms)
        if broken:
            report.failed_round = number
        told, runs = len(play.emitter.told) - told_before, len(play.oracle.replay.runs) - runs_before
        self._tell(
            f"round {number}/{self._options.rounds}: {' + '.join(each.fault for each in injected) or 'no fault'}; "
            f"{told} productions and {runs} runs in {load_seconds:.1f} s, at rest after {rest_ms} ms, "
            + (f"{len(broken)} BROKEN" if broken else "all is well")
        )
        play.note(f"round {number}", injected)
        return broken

    def _count(self, play: _House) -> None:
        replay, report = play.oracle.replay, self.report
        report.emitted += len(play.emitter.told)
        report.events += replay.entries
        report.runs += len(replay.runs)
        for run in replay.runs.values():
            report.runs_ended["lost" if run.is_lost else str(run.ended)] += 1


@dataclass(slots=True)
class _House:
    """One house with what acts on it and what watches it."""

    house: House
    watch: LeaseWatch
    emitter: Emitter
    oracle: Oracle

    def inject_all(self, faults: list[Fault], chance: random.Random, *, load_seconds: float) -> list[Injected]:
        """Under the load, each fault at its time; what silences the leader lasts until another leads."""
        began = time.monotonic()
        injected: list[Injected] = []
        for fault, at in zip(faults, sorted(chance.uniform(0.1, 0.7) for _ in faults), strict=True):
            time.sleep(max(0.0, began + at * load_seconds - time.monotonic()))
            done = inject(fault, self.house, self.watch, chance)
            if done is not None:
                injected.append(done)
        time.sleep(max(0.0, began + load_seconds - time.monotonic()))
        silenced = [each for each in injected if each.fault.takes_the_lead]
        if silenced and any(each.is_able for each in self.house.services):
            self.watch.after(silenced[-1].term, LEASE_SECONDS + _LATE_SECONDS)
            # The former leader comes back while the next one takes over, or when it has led for a while.
            time.sleep(chance.choice((0.0, chance.uniform(0, _LONGEST_REIGN_SECONDS))))
        if any(each.fault.silences_worker for each in injected):
            time.sleep(chance.uniform(0, _LONGEST_SILENCE_SECONDS))
        return injected

    def heal(self) -> list[Broken]:
        return [Broken("inconsistent", why) for why in self.house.heal()]

    def broken_at_rest(self) -> list[Broken]:
        """Wait for rest, and check; what is not at rest after the deadline is broken too."""
        deadline = time.monotonic() + _REST_SECONDS
        while (why := self.oracle.why_not_at_rest()) is not None:
            if time.monotonic() > deadline:
                return [*self._terms(), Broken("lost", f"after {_REST_SECONDS:g} s it is not at rest: {why}")]
            time.sleep(_LOOK_SECONDS)
        # What the service still meant to do shows itself before its actors have answered.
        self.house.service.wait_idle()
        return [*self._terms(), *self.oracle.check(self.emitter.told)]

    def _terms(self) -> list[Broken]:
        return [Broken("inconsistent", why) for why in self.watch.steps_back()]

    def takeovers(self, injected: list[Injected]) -> Iterator[tuple[Injected, Reign]]:
        """Of each silence of a leader the reign that ended it, where nothing else kept the other from leading."""
        disturbs = (Fault.KILL_SERVER, Fault.HANG_SERVER, Fault.KILL_STANDBY, Fault.RESTART_STANDBY)
        if not any(each.fault in disturbs for each in injected):
            yield from self._reigns([each for each in injected if each.fault.takes_the_lead])

    def handovers(self, injected: list[Injected]) -> Iterator[tuple[Injected, Reign]]:
        """The same where a leader was asked to stop and nothing else was done."""
        if len(injected) == 1:
            yield from self._reigns([each for each in injected if each.fault is Fault.RESTART_LEADER])

    def _reigns(self, injected: list[Injected]) -> Iterator[tuple[Injected, Reign]]:
        for each in injected:
            reign = self.watch.first_after(each.term) if each.has_standby else None
            if reign is not None:
                yield each, reign

    def note(self, title: str, injected: list[Injected]) -> None:
        """For whoever looks into the folder: what was done when."""
        with (self.house.folder / "faults.txt").open("a") as notes:
            for each in injected:
                notes.write(f"{title}: at {each.at_ms}, in term {each.term}: {each.fault}\n")
            notes.write(f"{title}: ended at {now_ms()}; terms so far: {self.watch.reigns}\n")

    def keep_stream(self, broken: list[Broken]) -> None:
        (self.house.folder / "broken.txt").write_text("".join(f"{each.kind}: {each.text}\n" for each in broken))
        client, keys = self.house.service.catalog.client, self.house.service.keys
        entries: Any = client.xrange(keys.events)
        lines = (json.dumps({"id": entry_id, **fields}) for entry_id, fields in entries)
        (self.house.folder / "events.jsonl").write_text("\n".join(lines))


@contextmanager
def _opened(folder: Path, launcher: Launcher) -> Iterator[tuple[House, LeaseWatch]]:
    house = House(folder, launcher)
    try:
        house.open()
        watch = LeaseWatch(house.service.catalog.client, house.service.keys)
        watch.start()
        try:
            yield house, watch
        finally:
            watch.stop()
    finally:
        house.close()

"""Sends cases, many at once, and then asks the catalog what became of them."""

from __future__ import annotations

import asyncio
import json
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any, Final

from actors.catalog.redis_root import position_of
from tests.fuzz.cases import Append, Case, Expected, case_of
from tests.fuzz.house import Answer, House, housed, limit_threads

__all__ = ["Report", "fuzz"]

_AT_ONCE: Final = 32
_TOLD_SECONDS: Final = 5.0
_REST_SECONDS: Final = 120.0
_PROBLEM: Final = "application/problem+json"


@dataclass(slots=True)
class Report:
    """`broken` says what went wrong; each text names the case where one is to blame."""

    seed: int
    first: int
    bodies: int
    requests: int = 0
    entries: int = 0
    seconds: float = 0.0
    kinds: Counter[str] = field(default_factory=Counter)
    statuses: Counter[int] = field(default_factory=Counter)
    expected: int = 0
    recorded: int = 0
    dead_letters: int = 0
    broken: list[str] = field(default_factory=list)


def fuzz(bodies: int, seed: int, *, first: int = 0, tell: Callable[[str], None] = lambda _text: None) -> Report:
    """Send the cases from `first` on; `tell` is told how far it is."""
    report = Report(seed, first, bodies)
    began = time.monotonic()
    with housed(bodies) as house:
        run = _Run(house, report, tell)
        asyncio.run(run.send_all())
        _check(house, report, run.expected, run.told_recorded)
    report.seconds = time.monotonic() - began
    return report


class _Run:
    def __init__(self, house: House, report: Report, tell: Callable[[str], None]) -> None:
        self._house = house
        self._report = report
        self._tell = tell
        self._told_at = time.monotonic()
        self._done = 0
        self.expected: list[tuple[Case, Expected]] = []
        self.told_recorded: Counter[str] = Counter()

    async def send_all(self) -> None:
        limit_threads()
        report = self._report
        numbers = iter(range(report.first, report.first + report.bodies))
        await asyncio.gather(*(self._send_some(numbers) for _ in range(_AT_ONCE)))

    async def _send_some(self, numbers: Iterator[int]) -> None:
        for number in numbers:
            await self._send(case_of(self._report.seed, number))

    async def _send(self, case: Case) -> None:
        report = self._report
        report.kinds[f"{case.kind} {'good' if case.is_good else 'hostile'}"] += 1
        self.expected += [(case, each) for each in case.expected]
        for part in case.parts:
            try:
                if isinstance(part, Append):
                    report.entries += 1
                    await self._house.append(part)
                else:
                    report.requests += 1
                    self._look(case, await self._house.post(part))
            except Exception as error:
                report.broken.append(f"case {case.number} ({case.kind}) raised {type(error).__name__}: {error}")
        self._done += 1
        if time.monotonic() - self._told_at > _TOLD_SECONDS:
            self._told_at = time.monotonic()
            self._tell(f"{self._done:,} of {report.bodies:,} bodies, {len(report.broken)} things broken")

    def _look(self, case: Case, answer: Answer) -> None:
        report = self._report
        report.statuses[answer.status] += 1
        where = f"case {case.number} ({case.kind})"
        if answer.status >= 500:
            report.broken.append(f"{where} was answered {answer.status}: {answer.body[:300]!r}")
            return
        body = json.loads(answer.body)
        if answer.status >= 400:
            if answer.kind != _PROBLEM or body["status"] != answer.status:
                report.broken.append(f"{where} was answered {answer.status} without a problem")
            if case.is_good:
                report.broken.append(f"{where} is good and was refused: {answer.body[:500]!r}")
            return
        told = body if isinstance(body, list) else body.get("produced", [body])
        for each in told:
            if each["version"] is not None and not each["duplicate"] and each.get("type") != "asset.expired":
                self.told_recorded[each["assetId"]] += 1


def _check(house: House, report: Report, expected: list[tuple[Case, Expected]], told: Counter[str]) -> None:
    """Compare the catalog with what was sent, once the service has read the whole stream."""
    if not _has_read_all(house):
        report.broken.append(f"after {_REST_SECONDS:g} s the service has not read the stream to its end")
    marks: dict[str, Counter[tuple[str | None, str]]] = {}
    for asset_id in {each.asset_id for _, each in expected}:
        marks[asset_id] = Counter(
            (entry.partition_key, str(_mark(entry.payload) or entry.materialization.run_id))
            for entry in house.catalog.store.history(asset_id, limit=10_000_000)
        )
    for case, each in expected:
        count = marks[each.asset_id][each.partition_key, each.mark]
        if count != 1:
            what = "lost" if count == 0 else f"recorded {count} times"
            report.broken.append(f"case {case.number} ({case.kind}): {each.asset_id} {each.mark} was {what}")
    wanted = Counter(each.asset_id for _, each in expected)
    for asset_id, seen in marks.items():
        if seen.total() != wanted[asset_id]:
            report.broken.append(f"{asset_id} was made {seen.total()} times, not {wanted[asset_id]}")
    counters: Any = house.client.hgetall(house.keys.counters)
    for asset_id, count in told.items():
        # What is only on the stream is recorded by the service, and nobody is told.
        if int(counters.get(asset_id, 0)) < count:
            report.broken.append(f"{asset_id} is said to be recorded {count} times, but is {counters.get(asset_id, 0)}")
    report.expected = len(expected)
    report.recorded = sum(map(int, counters.values()))
    report.dead_letters = int(house.client.xlen(house.keys.dead_letters))
    report.broken += [f"the service gave up, or a thread died: {text}" for text in house.given_up]
    report.broken += [f"the log tells of a defect: {json.dumps(line)[:2_000]}" for line in house.logged()[:20]]


def _has_read_all(house: House) -> bool:
    deadline = time.monotonic() + _REST_SECONDS
    while time.monotonic() < deadline:
        newest: Any = house.client.xrevrange(house.keys.events, count=1)
        groups: Any = house.client.xinfo_groups(house.keys.events)
        cursor = max(position_of(each["last-delivered-id"]) for each in groups)
        if not newest or cursor >= position_of(newest[0][0]):
            return True
        time.sleep(0.02)
    return False


def _mark(payload: Any) -> Any:
    return payload.get("mark") if isinstance(payload, dict) else None

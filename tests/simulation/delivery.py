"""The stream of events as the service hears it: in order at best; else twice, in another order, late."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from random import Random
from typing import Any

from redis import Redis

from actors.catalog.events import EventInvalid, parse_entry
from actors.catalog.news import news_of
from actors.catalog.redis_store import position_of
from actors.catalog.signals import SIGNAL, parse_signal
from actors.messages import AssetProduced
from actors.runtime import VirtualClock
from tests.simulation.oracle import Oracle
from tests.simulation.scenario import Scenario

__all__ = ["Delivery"]

Entry = tuple[str, dict[str, str]]

LATE_MS = (200, 5_000)


@dataclass(slots=True)
class _Late:
    """Held back until so many others were delivered, and so much time has passed (monotonic)."""

    entry: Entry
    behind: int
    due_at_ms: int


class Delivery:
    """`tell` is given each piece of news, and `on_leading` is called as `go_back_to` says. `may_have_news` is to be set
    after whatever may have written an event, `is_heard` while its service leads: what others hear starts nothing."""

    def __init__(
        self,
        scenario: Scenario,
        client: Redis,
        prefix: str,
        rng: Random,
        clock: VirtualClock,
        oracle: Oracle,
        tell: Callable[[object], None],
        on_leading: Callable[[], None],
        *,
        stream: str = "events",
    ) -> None:
        self._scenario = scenario
        self._client = client
        self._stream = f"{prefix}:{stream}"
        self._rng = rng
        self._clock = clock
        self._oracle = oracle
        self._tell_news = tell
        self._on_leading = on_leading
        self._leads_at: str | None = None
        self._delivered = "0"
        self._incoming: deque[Entry] = deque()
        self._redelivered: list[Entry] = []
        self._late: list[_Late] = []
        self.may_have_news = True
        self.is_healing = False
        self.is_heard = False

    def tell_to(self, tell: Callable[[object], None], on_leading: Callable[[], None]) -> None:
        """Another life of the service hears from here on."""
        self._tell_news, self._on_leading = tell, on_leading

    def begin_here(self) -> None:
        """Tell only what is still to come."""
        self._delivered = self._newest()

    def go_back_to(self, other: Delivery) -> None:
        """Go on where another was, or earlier, and lead when all that there is now was told."""
        for late in self._late:
            late.behind = late.due_at_ms = 0
        self._leads_at = self._newest()
        self._delivered = min(self._delivered, other.before_lately(), key=position_of)
        self._incoming.clear()
        self.may_have_news = True
        self._lead_if_due()

    def before_lately(self) -> str:
        """Where it would begin after a crash: some of what was told lately is not acknowledged, nor what is late."""
        held = [late.entry[0] for late in self._late]
        entries: Any = self._client.xrevrange(self._stream, max=min([self._delivered, *held], key=position_of), count=4)
        return entries[-1][0] if len(entries) == 4 else "0"

    def _newest(self) -> str:
        newest: Any = self._client.xrevrange(self._stream, count=1)
        return newest[0][0] if newest else "0"

    def _lead_if_due(self) -> None:
        if self._leads_at is not None and position_of(self._delivered) >= position_of(self._leads_at):
            self._leads_at = None
            self._on_leading()

    @property
    def is_holding_back(self) -> bool:
        return bool(self._late)

    def has_something(self) -> bool:
        return bool(self._redelivered) or self._has_news() or any(self._is_due(late) for late in self._late)

    def wait_ms(self) -> int | None:
        """How long until what is late comes by itself; None if nothing is late."""
        return min((late.due_at_ms - self._clock.monotonic_ms() for late in self._late), default=None)

    def release_overtaken(self) -> bool:
        """Nothing else goes on: what was to be overtaken by more comes now. False if there is no such."""
        held = [late for late in self._late if late.behind > 0]
        for late in held:
            late.behind = 0
        return bool(held)

    def deliver(self) -> None:
        """Deliver the next entry; now and then one twice, or two in the wrong order, or another instead."""
        self._deliver()
        self._lead_if_due()

    def _deliver(self) -> None:
        due = next((late for late in self._late if self._is_due(late)), None)
        if due is not None:
            self._late.remove(due)
            self._tell(*due.entry)
            return
        for late in self._late:
            late.behind -= 1
        if self._redelivered and (not self._has_news() or self._rng.random() < 0.5):
            self._tell(*self._redelivered.pop(0))
            return
        if len(self._incoming) >= 2 and self._happens(self._scenario.reorder_rate):
            first, second = self._incoming.popleft(), self._incoming.popleft()
            self._delivered = second[0]
            self._tell(*second)
            self._tell(*first)
            return
        entry_id, fields = self._incoming.popleft()
        self._delivered = entry_id
        if self._scenario.late_rate > 0 and self._happens(self._scenario.late_rate):
            self._hold_back((entry_id, fields))
            return
        self._tell(entry_id, fields)
        if self._happens(self._scenario.duplicate_rate):
            self._redelivered.append((entry_id, fields))

    def crash(self) -> None:
        """What was delivered lately is delivered again; what was held back was not acknowledged and comes too."""
        again = self._rng.randrange(0, 4)
        entries: Any = self._client.xrevrange(self._stream, max=self._delivered, count=again + 1)
        if entries and self._delivered != "0":
            self._delivered = entries[-1][0] if len(entries) > again else "0"
        self._redelivered = [late.entry for late in self._late]
        self._late.clear()
        self._incoming.clear()
        self.may_have_news = True

    def _has_news(self) -> bool:
        """Whether an entry waits to be delivered; the server is asked only after something may have written."""
        if self.may_have_news and len(self._incoming) < 2:
            last = self._incoming[-1][0] if self._incoming else self._delivered
            found: Any = self._client.xrange(self._stream, min="-" if last == "0" else f"({last}", count=100)
            self._incoming.extend(found)
            self.may_have_news = len(found) == 100
        return bool(self._incoming)

    def _is_due(self, late: _Late) -> bool:
        return self.is_healing or (late.behind <= 0 and late.due_at_ms <= self._clock.monotonic_ms())

    def _hold_back(self, entry: Entry) -> None:
        """Behind a few others, or for some time."""
        if self._rng.random() < 0.7:
            self._late.append(_Late(entry, self._rng.randint(1, 6), self._clock.monotonic_ms()))
        else:
            self._late.append(_Late(entry, 0, self._clock.monotonic_ms() + self._rng.choice(LATE_MS)))

    def _tell(self, entry_id: str, fields: dict[str, str]) -> None:
        if SIGNAL in fields:
            self._tell_news(parse_signal(fields[SIGNAL]))
            return
        try:
            event = parse_entry(
                {k.encode(errors="surrogateescape"): v.encode(errors="surrogateescape") for k, v in fields.items()}
            )
        except EventInvalid:
            if self.is_heard:
                self._oracle.dead_letters.add(entry_id)
            return
        news = news_of(event, position_of(fields.get("pos", entry_id)))
        if news is None:
            return
        if self.is_heard and isinstance(news, AssetProduced):
            self._oracle.changes.told(news.asset_id, news.made.changed_version)
        self._tell_news(news)

    def _happens(self, rate: float) -> bool:
        return not self.is_healing and self._rng.random() < rate

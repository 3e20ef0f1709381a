"""Instants around which clocks change, as strategies for the tests of time."""

from __future__ import annotations

from datetime import UTC, datetime
from zoneinfo import ZoneInfo

from hypothesis import strategies as st

HOUR_MS = 3_600_000
MINUTE_MS = 60_000


def ms(text: str) -> int:
    """An ISO 8601 instant as epoch milliseconds."""
    return round(datetime.fromisoformat(text).timestamp() * 1_000)


CHANGES = (
    ("Europe/Berlin", ms("2026-03-29T01:00Z")),
    ("Europe/Berlin", ms("2026-10-25T01:00Z")),
    ("America/New_York", ms("2026-03-08T07:00Z")),
    ("America/New_York", ms("2026-11-01T06:00Z")),
    ("Australia/Lord_Howe", ms("2026-04-04T15:00Z")),  # half an hour back
    ("Australia/Lord_Howe", ms("2026-10-03T15:30Z")),  # half an hour forward
    ("Asia/Kathmandu", ms("1985-12-31T18:30Z")),  # a quarter of an hour forward, at midnight
    ("Asia/Kathmandu", ms("2026-06-01T00:00Z")),
    ("America/St_Johns", ms("2006-10-29T02:31Z")),  # from 00:01 back into the day before
    ("America/St_Johns", ms("2006-04-02T03:31Z")),  # forward at 00:01: an hour of one minute
    ("Africa/Cairo", ms("2026-04-23T22:00Z")),  # no midnight
    ("Antarctica/Troll", ms("2026-10-25T01:00Z")),  # two hours back
    ("Pacific/Apia", ms("2011-12-30T10:00Z")),  # a whole day skipped
    ("UTC", ms("2026-01-01T00:00Z")),
)


@st.composite
def zoned_instants(draw: st.DrawFn, hours: int = 36) -> tuple[str, int]:
    """(timezone, epoch milliseconds) within some hours of a change of that timezone's clocks."""
    name, change = draw(st.sampled_from(CHANGES))
    unit = draw(st.sampled_from((1, 1_000, MINUTE_MS, HOUR_MS // 4)))
    steps = hours * HOUR_MS // unit
    return name, change + unit * draw(st.integers(-steps, steps))


def wall(name: str, at_ms: int) -> datetime:
    """What the clock on the wall shows, by the standard library alone."""
    seconds, rest = divmod(at_ms, 1_000)
    local = datetime.fromtimestamp(seconds, UTC).astimezone(ZoneInfo(name))
    return local.replace(tzinfo=None, fold=0, microsecond=rest * 1_000)

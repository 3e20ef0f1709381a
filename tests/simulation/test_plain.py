"""What the oracle measures by: known answers, and the same answers as the code that decides gives by another way."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from actors.catalog.declarations import QuietHoursSection
from actors.catalog.events import EventInvalid, parse_entry
from actors.core.freshness import FreshnessPolicy, next_expiry
from actors.core.quiet_hours import quiet_until
from actors.core.time_windows import Granularity, TimeWindowPartitioning
from actors.core.time_windows import windows_ago as core_windows_ago
from tests.simulation.generator import make_scenario
from tests.simulation.malformed import MALFORMED
from tests.simulation.plain import is_quiet, next_tick, windows_ago
from tests.simulation.scenario import BASE_MS, Quiet


def at(text: str) -> int:
    return int(datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp() * 1_000)


@pytest.mark.parametrize(
    ("quiet", "inside", "outside"),
    [
        (Quiet("00:01", "00:04"), "2026-01-01T00:03:59", "2026-01-01T00:04:00"),
        (Quiet("23:58", "00:03"), "2026-01-01T00:02:59", "2026-01-01T23:57:59"),
        (Quiet("23:58", "00:03", days=("wed",)), "2026-01-01T00:02:00", "2026-01-02T00:02:00"),
        (Quiet("19:00", "19:03", "America/New_York", ("wed",)), "2026-01-01T00:00:00", "2026-01-02T00:00:00"),
        (Quiet("13:59", "14:03", "Pacific/Kiritimati"), "2025-12-31T23:59:00", "2026-01-01T00:03:00"),
    ],
)
def test_quiet_windows(quiet: Quiet, inside: str, outside: str) -> None:
    assert is_quiet(quiet, at(inside))
    assert not is_quiet(quiet, at(outside))


@pytest.mark.parametrize(
    ("cron", "timezone", "after", "tick"),
    [
        ("*/3 * * * *", "UTC", "2026-01-01T00:03:00", "2026-01-01T00:06:00"),
        ("2 * * * *", "UTC", "2026-01-01T00:02:30", "2026-01-01T01:02:00"),
        ("4 19 * * *", "America/New_York", "2026-01-01T00:05:00", "2026-01-02T00:04:00"),
    ],
)
def test_ticks(cron: str, timezone: str, after: str, tick: str) -> None:
    assert next_tick(cron, timezone, at(after)) == at(tick)


def test_both_ways_of_reckoning_agree() -> None:
    assets = [asset for seed in range(1, 200) for asset in make_scenario(seed).assets.values()]
    quiets = {asset.quiet for asset in assets if asset.quiet is not None}
    crons = {(asset.cron, asset.timezone) for asset in assets if asset.cron is not None}
    assert quiets
    assert crons
    for at_ms in range(BASE_MS - 600_000, BASE_MS + 1_200_000, 20_000):
        for quiet in quiets:
            hours = QuietHoursSection.model_validate(quiet.declaration()).to_quiet_hours()
            assert is_quiet(quiet, at_ms) == (quiet_until(hours, at_ms) is not None), (quiet, at_ms)
        for cron, timezone in crons:
            expiry = next_expiry(FreshnessPolicy(cron=cron, timezone=timezone), at_ms)
            assert expiry is not None
            assert next_tick(cron, timezone, at_ms) == expiry.at_ms
        for kind, key in (("minute", "2026-01-01T00:02"), ("hour", "2026-01-01T00"), ("day", "2026-01-01")):
            partitioning = TimeWindowPartitioning(Granularity(kind))
            assert windows_ago(kind, key, at_ms) == core_windows_ago(partitioning, key, at_ms)


@pytest.mark.parametrize("name", MALFORMED)
def test_nobody_can_read_the_malformed(name: str) -> None:
    with pytest.raises(EventInvalid):
        parse_entry(MALFORMED[name])

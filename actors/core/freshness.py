"""When a materialization stops being fresh.

Nothing here is stored: the expiry is derived from the policy and the time of production, so a restart derives
the very same one.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from functools import lru_cache
from zoneinfo import ZoneInfo

from cronsim import CronSim, CronSimError

from actors.core.wallclock import SECOND_MS, epoch_ms, first_at, moment, naive_wall, wall_at, zone

__all__ = ["Expiry", "ExpiryReason", "FreshnessPolicy", "next_expiry"]

_UTC_START = datetime(2000, 1, 1, tzinfo=UTC)


class ExpiryReason(StrEnum):
    """Which rule of the policy ended the freshness; `MANUAL` when a person declared it over."""

    TTL = "ttl"
    CADENCE = "cadence"
    CRON = "cron"
    MAX_AGE = "maxAge"
    MANUAL = "manual"


@dataclass(frozen=True, slots=True)
class FreshnessPolicy:
    """How long a materialization is fresh. `None` switches a rule off; durations are positive milliseconds.

    `cron` has five fields (or six, with seconds in front) and is read in `timezone`, an IANA name.

    Raises:
        ValueError: a duration is not positive, or the cron or timezone cannot be read; the text names the
        field.
    """

    ttl_ms: int | None = None
    cadence_ms: int | None = None
    max_age_ms: int | None = None
    cron: str | None = None
    timezone: str = "UTC"

    def __post_init__(self) -> None:
        for name, value in (
            ("ttl_ms", self.ttl_ms),
            ("cadence_ms", self.cadence_ms),
            ("max_age_ms", self.max_age_ms),
        ):
            if value is not None and value <= 0:
                raise ValueError(f"{name} must be a positive number of milliseconds, got {value}")
        zone(self.timezone)
        if self.cron is not None:
            _check_cron(self.cron)

    @property
    def is_empty(self) -> bool:
        """True when no rule is set, so that a materialization stays fresh for ever."""
        return self.ttl_ms is None and self.cadence_ms is None and self.max_age_ms is None and self.cron is None


@dataclass(frozen=True, slots=True)
class Expiry:
    """The instant at which freshness ends (epoch milliseconds) and the rule that ends it."""

    at_ms: int
    reason: ExpiryReason


def next_expiry(policy: FreshnessPolicy, produced_at_ms: int) -> Expiry | None:
    """The earliest end of freshness of what was produced at `produced_at_ms`, or None if it has none.

    When rules end at the same instant the reason is the first of ttl, cadence, cron, maxAge. A cron that
    never fires again ends nothing.

    Raises:
        ValueError: the policy has a cron and `produced_at_ms` lies outside the years 1900 to 2999.
    """
    found: list[Expiry] = []
    if policy.ttl_ms is not None:
        found.append(Expiry(produced_at_ms + policy.ttl_ms, ExpiryReason.TTL))
    if policy.cadence_ms is not None:
        found.append(Expiry(produced_at_ms + policy.cadence_ms, ExpiryReason.CADENCE))
    if policy.cron is not None and (tick := _next_tick(policy.cron, policy.timezone, produced_at_ms)) is not None:
        found.append(Expiry(tick, ExpiryReason.CRON))
    if policy.max_age_ms is not None:
        found.append(Expiry(produced_at_ms + policy.max_age_ms, ExpiryReason.MAX_AGE))
    # min keeps the first of equals, which is the order of the list.
    return min(found, key=lambda expiry: expiry.at_ms, default=None)


@lru_cache(maxsize=1024)
def _check_cron(cron: str) -> None:
    try:
        CronSim(cron, _UTC_START)
    except (CronSimError, ValueError) as error:
        raise ValueError(
            f"cron {cron!r} cannot be read ({error}); use five fields such as '0 6 * * MON-FRI'"
        ) from error


# An actor asks again for the same materialization at every decision, and a rare tick takes milliseconds.
@lru_cache(maxsize=16384)
def _next_tick(cron: str, timezone: str, after_ms: int) -> int | None:
    """The first tick strictly after an instant.

    As Debian's cron does: an expression with fixed minute and hour fires once a day whatever the clocks do (a
    skipped time at the moment of the jump, a repeated one the first time); one with a star there fires
    whenever the wall clock matches. cronsim walks the bare wall clock and the days of change are resolved
    here, because on an aware datetime it can answer with a tick of the past (inside a repeated hour) and
    loses ticks where DST is half an hour.
    """
    tz = zone(timezone)
    minute, hour = cron.split()[-5:-3]
    fixed = len(cron.split()) == 5 and not minute.startswith("*") and not hour.startswith("*")
    here = moment(tz, after_ms)
    forward = _first_after(cron, tz, here, after_ms, fixed=fixed)
    if fixed or here.fold or not _is_repeated(here):
        return forward
    again = _again_after(cron, tz, here)
    return again if forward is None or (again is not None and again < forward) else forward


def _first_after(cron: str, tz: ZoneInfo, here: datetime, after_ms: int, *, fixed: bool) -> int | None:
    for wall in CronSim(cron, here.replace(tzinfo=None)):
        aware = wall.replace(tzinfo=tz)
        first = epoch_ms(aware)
        if wall_at(tz, first) != epoch_ms(wall.replace(tzinfo=UTC)):
            if not fixed:
                continue
            first = first_at(tz, epoch_ms(wall.replace(tzinfo=UTC)))
        if first > after_ms:
            return first
        second = epoch_ms(aware.replace(fold=1))
        if not fixed and second > after_ms:
            return second
    return None


def _again_after(cron: str, tz: ZoneInfo, here: datetime) -> int | None:
    """The first tick in the second pass of a repeated hour whose first pass it is."""
    back_by = epoch_ms(here.replace(fold=1)) - epoch_ms(here)
    rewound = naive_wall(epoch_ms(here.replace(tzinfo=UTC)) - back_by - SECOND_MS)
    for wall in CronSim(cron, rewound):
        if wall > here.replace(tzinfo=None):
            return None
        aware = wall.replace(tzinfo=tz)
        if _is_repeated(aware):
            return epoch_ms(aware.replace(fold=1))
    return None


def _is_repeated(at: datetime) -> bool:
    first, second = at.replace(fold=0).utcoffset(), at.replace(fold=1).utcoffset()
    return first is not None and second is not None and first > second

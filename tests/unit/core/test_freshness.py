from __future__ import annotations

from datetime import datetime, timedelta

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from actors.core.freshness import Expiry, ExpiryReason, FreshnessPolicy, next_expiry
from tests.unit.core.zones import HOUR_MS, MINUTE_MS, ms, wall, zoned_instants

MINUTES = {
    "*": range(60),
    "*/15": range(0, 60, 15),
    "*/7": range(0, 60, 7),
    "0": (0,),
    "30": (30,),
    "15,45": (15, 45),
    "0-20": range(21),
}
HOURS = {
    "*": range(24),
    "*/2": range(0, 24, 2),
    "*/3": range(0, 24, 3),
    "0": (0,),
    "1": (1,),
    "2": (2,),
    "3": (3,),
    "23": (23,),
    "1-3": (1, 2, 3),
    "0,2": (0, 2),
}
DAYS = {"*": range(7), "SUN": (6,), "MON-FRI": range(5)}
CRONS = st.tuples(st.sampled_from(sorted(MINUTES)), st.sampled_from(sorted(HOURS)), st.sampled_from(sorted(DAYS)))
DURATIONS = st.none() | st.integers(1, 10**12)


def tick_by_definition(cron: tuple[str, str, str], timezone: str, after_ms: int) -> int:
    """The next tick, from a walk over every minute of twelve days and what the wall clock shows in it."""
    minute, hour, day = cron
    wanted = set(MINUTES[minute]), set(HOURS[hour]), set(DAYS[day])

    def matches(local: datetime) -> bool:
        return local.minute in wanted[0] and local.hour in wanted[1] and local.weekday() in wanted[2]

    start = after_ms // MINUTE_MS * MINUTE_MS - 48 * HOUR_MS
    instants = range(start, start + 12 * 24 * HOUR_MS, MINUTE_MS)
    shown = ((at_ms, wall(timezone, at_ms)) for at_ms in instants)
    if minute.startswith("*") or hour.startswith("*"):
        return next(at_ms for at_ms, local in shown if at_ms > after_ms and matches(local))
    # Fixed times: each wall time once, the first time it shows or is jumped over.
    _, highest = next(shown)
    for at_ms, local in shown:
        if local > highest:
            passed = ((highest + timedelta(minutes=n + 1)) for n in range((local - highest) // timedelta(minutes=1)))
            if any(matches(time) for time in passed) and at_ms > after_ms:
                return at_ms
            highest = local
    raise AssertionError("no tick in ten days")


@settings(deadline=None, max_examples=150)
@given(CRONS, zoned_instants())
@example(("30", "1", "*"), ("America/New_York", ms("2026-11-01T06:10Z")))  # in the repeated hour, after the tick
@example(("*/15", "3", "*"), ("Australia/Lord_Howe", ms("2026-10-03T15:00Z")))  # lost by cronsim on aware times
@example(("*/15", "2", "*"), ("Europe/Berlin", ms("2026-10-25T00:50Z")))  # again in the second pass
@example(("30", "2", "*"), ("Europe/Berlin", ms("2026-03-29T00:00Z")))  # skipped: at the jump
def test_the_cron_tick_agrees_with_a_walk_minute_by_minute(cron: tuple[str, str, str], place: tuple[str, int]) -> None:
    timezone, produced_at_ms = place
    minute, hour, day = cron
    policy = FreshnessPolicy(cron=f"{minute} {hour} * * {day}", timezone=timezone)
    expected = tick_by_definition(cron, timezone, produced_at_ms)
    assert next_expiry(policy, produced_at_ms) == Expiry(expected, ExpiryReason.CRON)


@pytest.mark.parametrize(
    ("cron", "timezone", "produced_at", "expires_at"),
    [
        ("0 6 * * *", "UTC", "2026-11-23T05:59:59.999Z", "2026-11-23T06:00Z"),
        ("0 6 * * *", "UTC", "2026-11-23T06:00Z", "2026-11-24T06:00Z"),
        ("0 6 * * *", "Europe/Berlin", "2026-03-28T12:00Z", "2026-03-29T04:00Z"),
        ("0 6 * * *", "Asia/Kathmandu", "2026-03-28T12:00Z", "2026-03-29T00:15Z"),
        ("30 2 * * *", "Europe/Berlin", "2026-03-28T12:00Z", "2026-03-29T01:00Z"),
        ("30 2 * * *", "Europe/Berlin", "2026-10-25T00:30Z", "2026-10-26T01:30Z"),
        ("30 * * * *", "Europe/Berlin", "2026-10-25T00:30Z", "2026-10-25T01:30Z"),
        ("30 2 * * *", "Australia/Lord_Howe", "2026-10-03T12:00Z", "2026-10-03T15:30Z"),
        ("0 30 2 * * *", "Europe/Berlin", "2026-03-28T12:00Z", "2026-03-30T00:30Z"),
        ("*/10 * * * * *", "UTC", "2026-11-23T05:59:59.999Z", "2026-11-23T06:00Z"),
        ("0 0 29 2 *", "UTC", "2026-01-01T00:00Z", "2028-02-29T00:00Z"),
        ("0 0 L * *", "UTC", "2026-02-10T00:00Z", "2026-02-28T00:00Z"),
        ("0 0 1 jan *", "UTC", "1969-06-01T00:00Z", "1970-01-01T00:00Z"),
    ],
)
def test_a_cron_ends_freshness_on_its_wall_clock(cron: str, timezone: str, produced_at: str, expires_at: str) -> None:
    policy = FreshnessPolicy(cron=cron, timezone=timezone)
    assert next_expiry(policy, ms(produced_at)) == Expiry(ms(expires_at), ExpiryReason.CRON)


@pytest.mark.parametrize("produced_at", ["2026-01-01T00:00Z", "2999-12-31T23:59Z"])
def test_a_cron_that_never_fires_again_ends_nothing(produced_at: str) -> None:
    first_day_and_second_monday = FreshnessPolicy(cron="0 0 */31 * MON#2")
    assert next_expiry(first_day_and_second_monday, ms(produced_at)) is None


def test_a_cron_that_never_fires_leaves_the_other_rules_alone() -> None:
    policy = FreshnessPolicy(ttl_ms=5, cron="0 0 */31 * MON#2")
    assert next_expiry(policy, 0) == Expiry(5, ExpiryReason.TTL)


@given(DURATIONS, DURATIONS, DURATIONS, st.integers(0, 2**41))
def test_the_earliest_rule_ends_freshness(
    ttl_ms: int | None, cadence_ms: int | None, max_age_ms: int | None, produced_at_ms: int
) -> None:
    policy = FreshnessPolicy(ttl_ms=ttl_ms, cadence_ms=cadence_ms, max_age_ms=max_age_ms)
    expiry = next_expiry(policy, produced_at_ms)
    given_ms = [value for value in (ttl_ms, cadence_ms, max_age_ms) if value is not None]
    assert (expiry is None) == (not given_ms) == policy.is_empty
    if expiry is not None:
        assert expiry.at_ms - produced_at_ms == min(given_ms)
        of_reason = {"ttl": ttl_ms, "cadence": cadence_ms, "maxAge": max_age_ms}
        assert of_reason[expiry.reason] == min(given_ms)


def test_rules_that_end_together_are_told_in_order() -> None:
    midnight, hour = ms("2026-11-23T23:00Z"), HOUR_MS
    together = {"ttl_ms": hour, "cadence_ms": hour, "max_age_ms": hour}
    reasons = []
    for left_out in ("", "ttl_ms", "cadence_ms"):
        together.pop(left_out, None)
        expiry = next_expiry(FreshnessPolicy(**together, cron="0 0 * * *"), midnight)  # type: ignore[arg-type]
        assert expiry is not None
        assert expiry.at_ms == midnight + hour
        reasons.append(expiry.reason)
    assert reasons == [ExpiryReason.TTL, ExpiryReason.CADENCE, ExpiryReason.CRON]


@pytest.mark.parametrize("field", ["ttl_ms", "cadence_ms", "max_age_ms"])
@pytest.mark.parametrize("value", [0, -1])
def test_a_duration_that_is_not_positive_is_refused_by_the_name_of_its_field(field: str, value: int) -> None:
    with pytest.raises(ValueError, match=f"^{field} .* {value}$"):
        FreshnessPolicy(**{field: value})  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "cron",
    ["", "* * * *", "60 * * * *", "0 25 * * *", "0 0 30 2 *", "* * * * * * *", "every day", "0 0 * * FUN"],
)
def test_a_bad_cron_is_refused_and_shown(cron: str) -> None:
    with pytest.raises(ValueError, match=r"^cron ") as caught:
        FreshnessPolicy(cron=cron)
    assert repr(cron) in str(caught.value)


@given(st.text("0123456789*/,-#L W?SUNMO", max_size=20) | st.text(max_size=20))
@example("9" * 5_000 + " * * * *")
@example("*/" + "1/" * 500 + " * * * *")
def test_any_text_is_a_cron_or_a_value_error(text: str) -> None:
    try:
        policy = FreshnessPolicy(cron=text)
    except ValueError:
        return
    expiry = next_expiry(policy, ms("2026-11-23T00:00Z"))
    assert expiry is None or expiry.at_ms > ms("2026-11-23T00:00Z")


@pytest.mark.parametrize("timezone", ["", "America", "Mars/Olympus", "../etc/passwd", "x" * 5_000, "\ud800", "UTC\0"])
def test_a_bad_timezone_is_refused_by_its_name(timezone: str) -> None:
    with pytest.raises(ValueError, match=r"^timezone "):
        FreshnessPolicy(ttl_ms=1, timezone=timezone)


def test_a_time_that_is_no_epoch_millisecond_is_refused() -> None:
    nanoseconds = ms("2026-11-23T00:00Z") * 1_000_000
    with pytest.raises(ValueError, match="milliseconds"):
        next_expiry(FreshnessPolicy(cron="0 0 * * *"), nanoseconds)

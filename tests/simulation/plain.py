"""Times and partitions in the plainest way: windows of UTC, quiet hours, cron, and which partition concerns which.

Said again here, for the oracle: nothing is shared with the code that decides.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from zoneinfo import ZoneInfo

from tests.simulation.scenario import DYNAMIC_KEYS, STATIC_KEYS, TIME_KINDS, Asset, Quiet

__all__ = [
    "concerned",
    "is_by_time",
    "is_key_of",
    "is_latest_only",
    "is_quiet",
    "keys_within",
    "next_tick",
    "required",
    "window_key",
    "window_start_ms",
    "windows_ago",
]

_FORM = {"minute": "%Y-%m-%dT%H:%M", "hour": "%Y-%m-%dT%H", "day": "%Y-%m-%d"}
_LENGTH_MS = {"minute": 60_000, "hour": 3_600_000, "day": 86_400_000}
_DAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")


@lru_cache(maxsize=4096)
def window_key(kind: str, at_ms: int) -> str:
    return datetime.fromtimestamp(at_ms / 1_000, UTC).strftime(_FORM[kind])


@lru_cache(maxsize=4096)
def window_start_ms(kind: str, key: str) -> int:
    return int(datetime.strptime(key, _FORM[kind]).replace(tzinfo=UTC).timestamp()) * 1_000


def windows_ago(kind: str, key: str, now_ms: int) -> int:
    """0 is the window of now, negative one to come."""
    return (now_ms // _LENGTH_MS[kind]) - (window_start_ms(kind, key) // _LENGTH_MS[kind])


def is_quiet(quiet: Quiet | None, at_ms: int) -> bool:
    if quiet is None:
        return False
    wall = datetime.fromtimestamp(at_ms / 1_000, ZoneInfo(quiet.timezone))
    time = wall.strftime("%H:%M")

    def begins_on(day: datetime) -> bool:
        return not quiet.days or _DAYS[day.weekday()] in quiet.days

    if quiet.start < quiet.end:
        return quiet.start <= time < quiet.end and begins_on(wall)
    return (time >= quiet.start and begins_on(wall)) or (time < quiet.end and begins_on(wall - timedelta(days=1)))


@lru_cache(maxsize=4096)
def next_tick(cron: str, timezone: str, after_ms: int) -> int:
    """The first minute after an instant that fits `MINUTE HOUR * * *`; each is `*`, `*/n` or a number."""
    minute, hour = cron.split()[:2]
    at_ms = after_ms // 60_000 * 60_000
    while True:
        at_ms += 60_000
        wall = datetime.fromtimestamp(at_ms / 1_000, ZoneInfo(timezone))
        if _fits(minute, wall.minute) and _fits(hour, wall.hour):
            return at_ms


def _fits(cron_field: str, number: int) -> bool:
    if cron_field.startswith("*/"):
        return number % int(cron_field[2:]) == 0
    return cron_field == "*" or number == int(cron_field)


def is_key_of(asset: Asset, key: str | None) -> bool:
    """Whether the asset has such a partition; the keys of a scenario differ by kind."""
    match asset.kind:
        case "none":
            return key is None
        case "static":
            return key in STATIC_KEYS
        case "dynamic":
            return key is not None
        case kind:
            form = {"minute": 16, "hour": 13, "day": 10}[kind]
            return key is not None and key not in (*STATIC_KEYS, *DYNAMIC_KEYS) and len(key) == form


def is_by_time(up: Asset, down: Asset) -> bool:
    """The window that a version is about is the one in which it was produced; the catalog keeps the last one's only."""
    rule = down.rule_of(up.asset_id).type
    if down.kind not in TIME_KINDS or rule == "identity":
        return False
    return up.kind not in TIME_KINDS or rule in ("latest", "all")


def is_latest_only(up: Asset, down: Asset) -> bool:
    """Whether only the latest time window of the upstream counts."""
    return up.kind in TIME_KINDS and down.rule_of(up.asset_id).type == "latest"


def concerned(
    up: Asset, up_key: str | None, produced_at_ms: int, down: Asset, known: Iterable[str | None]
) -> set[str | None]:
    """Which partitions of `down` a partition of `up` is about; `known` are those of `down` that were made."""
    match down.rule_of(up.asset_id).type:
        case "identity":
            return {up_key} if is_key_of(down, up_key) else set()
        case "latest":
            return _concerned_as_a_whole(produced_at_ms, down, known)
        case "all":
            whole = _concerned_as_a_whole(produced_at_ms, down, known)
            return whole | set(known) if down.kind in TIME_KINDS else whole
        case _:
            pass
    match up.kind, down.kind:
        case _, "none":
            return {None}
        case (("static" | "dynamic"), "static"):
            return {up_key} & set(STATIC_KEYS)
        case (("static" | "dynamic"), "dynamic"):
            return {up_key}
        case finer, coarser if {finer, coarser} <= set(TIME_KINDS):
            if _LENGTH_MS[finer] <= _LENGTH_MS[coarser]:
                return {window_key(coarser, window_start_ms(finer, str(up_key)))}
            return set(keys_within(coarser, finer, str(up_key)))
        case _:
            return _concerned_as_a_whole(produced_at_ms, down, known)


def _concerned_as_a_whole(produced_at_ms: int, down: Asset, known: Iterable[str | None]) -> set[str | None]:
    match down.kind:
        case "none":
            return {None}
        case "static":
            return set(STATIC_KEYS)
        case "dynamic":
            return set(known)
        case kind:
            return {window_key(kind, produced_at_ms)}


@lru_cache(maxsize=256)
def keys_within(finer: str, coarser: str, key: str) -> tuple[str, ...]:
    """The windows of one kind inside a window of a longer one."""
    start_ms = window_start_ms(coarser, key)
    return tuple(window_key(finer, start_ms + passed) for passed in range(0, _LENGTH_MS[coarser], _LENGTH_MS[finer]))


def required(up: Asset, down: Asset, down_key: str | None) -> set[str | None]:
    """The partitions of `up` that go into a partition of `down`, where they can be told in advance."""
    rule = down.rule_of(up.asset_id).type
    if rule == "identity":
        return {down_key} if is_key_of(up, down_key) else set()
    if rule == "latest" or up.kind == "dynamic":
        return set()
    if up.kind == "none":
        return {None}
    if up.kind == "static":
        is_by_key = down.kind in ("static", "dynamic") and rule != "all"
        return {down_key} & set(STATIC_KEYS) if is_by_key else set(STATIC_KEYS)
    if down.kind not in TIME_KINDS or rule == "all":
        return set()
    if _LENGTH_MS[up.kind] <= _LENGTH_MS[down.kind]:
        return set(keys_within(up.kind, down.kind, str(down_key)))
    return {window_key(up.kind, window_start_ms(down.kind, str(down_key)))}

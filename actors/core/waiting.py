"""Waiting for upstreams that are about to be re-made (law L4): the marks of a partition, and what it reports to others.

A wave numbers one change and everything below it that the change may re-make. Watermarks compare numbers, so waves that
overlap need no counting.
"""

from __future__ import annotations

from collections.abc import Container, Iterable

from actors.core.decide import Decision, Defaults, Reason, Wait, is_settled
from actors.core.state import Mark, PartitionState

__all__ = [
    "MARKS_LIVE_MS",
    "announce",
    "asked_for_run",
    "begin",
    "begin_next_wave",
    "follow",
    "upstream_pending",
    "upstream_reported",
    "upstream_settled",
    "wave_to_report",
]

MARKS_LIVE_MS = Defaults().pending_limit_ms
"""Marks this old are forgotten when new ones come: whoever should have settled them never will."""

_INDIFFERENT = frozenset({Reason.NO_PRODUCER, Reason.NOT_OPTED_IN, Reason.OUT_OF_LOOKBACK})


def announce(state: PartitionState, wave: int) -> None:
    """A wave has reached this partition; it has to be reported as settled some time."""
    state.owed_wave = max(state.owed_wave, wave)
    if wave < state.settled_wave:
        # Another shard's wave, by a number below what was reported meanwhile: those below wait for it to be reported.
        state.settled_wave = wave - 1
    if state.since_wave is None:
        state.since_wave = wave


def upstream_pending(state: PartitionState, marks: Iterable[tuple[str, str | None]], wave: int, now_ms: int) -> None:
    announce(state, wave)
    if state.pending_since_ms is not None and now_ms - state.pending_since_ms >= MARKS_LIVE_MS:
        state.pending = {upstream: mark for upstream, mark in state.pending.items() if mark.from_ms}
        state.pending_since_ms = None
    for upstream in marks:
        known = state.pending.get(upstream)
        state.pending[upstream] = Mark(min(known.first, wave), max(known.last, wave)) if known else Mark(wave, wave)
    _count_pending(state, now_ms)


def upstream_settled(
    state: PartitionState,
    asset_id: str,
    partition_key: str | None,
    wave: int,
    until_ms: int | None = None,
    *,
    every_key: bool,
) -> bool:
    """Watermarks compare numbers: a mark goes when its newest wave is dealt with, and moves up when its oldest is.

    With `until_ms` it is dealt with until then: the mark stays, and counts again from that time on.
    """
    upstreams = [u for u in state.pending if u[0] == asset_id and (every_key or u[1] == partition_key)]
    if not upstreams:
        return False
    before = dict(state.pending)
    for upstream in upstreams:
        mark = state.pending[upstream]
        if mark.last <= wave and until_ms is None:
            del state.pending[upstream]
        elif mark.last <= wave:
            state.pending[upstream] = mark._replace(from_ms=until_ms or 0)
        elif mark.first <= wave:
            state.pending[upstream] = mark._replace(first=wave + 1)
    _count_pending(state, state.pending_since_ms or 0)
    return state.pending != before


def upstream_reported(state: PartitionState, asset_id: str, wave: int, keys: frozenset[str | None]) -> bool:
    """An upstream that was started anew may know nothing of what was announced of it: only `keys` will be re-made."""
    gone = [
        upstream
        for upstream, mark in state.pending.items()
        if upstream[0] == asset_id and upstream[1] not in keys and mark.last <= wave
    ]
    for upstream in gone:
        del state.pending[upstream]
    _count_pending(state, state.pending_since_ms or 0)
    return bool(gone)


def follow(state: PartitionState, considered: Container[str]) -> None:
    """Marks of upstreams that the asset follows no more are forgotten."""
    state.pending = {upstream: mark for upstream, mark in state.pending.items() if upstream[0] in considered}
    _count_pending(state, state.pending_since_ms or 0)


def begin(state: PartitionState) -> None:
    """All that was announced before the first decision counts as one wave, whatever the numbers of its parts.

    Each upstream announces what it will re-make by itself when a start, or the end of a pause, lets it.
    """
    if state.since_wave is not None and state.pending:
        oldest = min(state.since_wave, *(mark.first for mark in state.pending.values()))
        state.since_wave = oldest
        state.pending = {upstream: mark._replace(first=oldest) for upstream, mark in state.pending.items()}


def asked_for_run(state: PartitionState, now_ms: int) -> None:
    """The run that was asked for reads what every wave has brought that is not pending any more, or more.

    Upstreams that held it back until the limit on waiting are given up: else one report that never comes would leave
    the limit passed for good, and switch off waiting altogether.
    """
    since = state.since_wave
    if since is not None and state.pending:
        state.pending = {u: mark for u, mark in state.pending.items() if mark.first > since or mark.from_ms > now_ms}
        _count_pending(state, now_ms)
    state.asked_wave = _newest_not_pending(state, now_ms)


def wave_to_report(
    state: PartitionState, decision: Decision, now_ms: int, *, was_made: bool
) -> tuple[int, int | None] | None:
    """The newest wave that is dealt with, and until when if not for good, unless that was reported already; it counts
    as reported from now on.

    A partition that is held back for long, or that no upstream can move, has dealt with every wave. One that is content
    has not dealt with those in which an upstream is pending: that one may still change. One that was just made has
    dealt with those it knew of when it asked for the run, and may be stale again already.
    """
    if is_settled(decision):
        is_indifferent = isinstance(decision, Wait) or decision.reason in _INDIFFERENT
        wave = state.owed_wave if is_indifferent else _newest_not_pending(state, now_ms)
        until_ms = _made_again_at(state, decision, now_ms)
        begin_next_wave(state)
    elif was_made:
        wave, until_ms = state.asked_wave, None
    else:
        return None
    told = state.settled_wave, state.settled_until_ms
    if wave < state.settled_wave or wave == 0 or told == (wave, until_ms):
        return None
    state.settled_wave, state.settled_until_ms = wave, until_ms
    return wave, until_ms


def _made_again_at(state: PartitionState, decision: Decision, now_ms: int) -> int | None:
    """When the partition is to be made again, if it is held back by quiet hours: its own, or those of an upstream."""
    if isinstance(decision, Wait) and decision.reason is Reason.QUIET_HOURS:
        return decision.until_ms
    if isinstance(decision, Wait):
        return None
    return min((mark.from_ms for mark in state.pending.values() if mark.from_ms > now_ms), default=None)


def _newest_not_pending(state: PartitionState, now_ms: int) -> int:
    return min((m.first - 1 for m in state.pending.values() if m.from_ms <= now_ms), default=state.owed_wave)


def begin_next_wave(state: PartitionState) -> None:
    """From here on the partition has dealt with all but what is pending."""
    state.since_wave = min((mark.first for mark in state.pending.values() if not mark.from_ms), default=None)


def _count_pending(state: PartitionState, now_ms: int) -> None:
    """The wait for upstreams is measured from when the first of them held this partition back."""
    if all(mark.from_ms for mark in state.pending.values()):
        state.pending_since_ms = None
    elif state.pending_since_ms is None:
        state.pending_since_ms = now_ms

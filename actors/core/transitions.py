"""What news does to the state of a partition. Each function applies one piece of news and says whether it was news.

All of them are idempotent, and news that is older than what is known changes nothing (law L11).
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from actors.core.decide import Decision, Defaults, Reason, Wait, is_settled
from actors.core.freshness import ExpiryReason
from actors.core.loading import MAX_CAUSES, note_cause
from actors.core.state import Cause, Dismissal, FailureRecord, Materialization, PartitionState

__all__ = [
    "announce",
    "asked_for_run",
    "asset_expired",
    "asset_produced",
    "asset_resumed",
    "begin",
    "merge_loaded",
    "run_ended",
    "run_enqueued",
    "upstream_changed",
    "upstream_pending",
    "upstream_settled",
    "wave_to_report",
]

MARKS_LIVE_MS = Defaults().pending_limit_ms
"""Marks this old are forgotten when new ones come: whoever should have settled them never will."""

_INDIFFERENT = frozenset({Reason.NO_PRODUCER, Reason.NOT_OPTED_IN, Reason.OUT_OF_LOOKBACK})


def asset_produced(state: PartitionState, made: Materialization, pos: int) -> bool:
    """A success clears failures and dismissals; causes that the new version was made from are done with."""
    # Also of a version that a snapshot told of already: an older failure may have been told in between.
    is_news = asset_resumed(state, pos)
    if made.version <= state.version:
        return is_news
    state.made = _joined(made, state.made)
    _drop_causes_done_with(state)
    return True


def asset_expired(state: PartitionState, version: int, reason: ExpiryReason) -> bool:
    if state.made is None or version < state.made.version or state.made.expired_version >= version:
        return False
    state.made = replace(state.made, expired_version=version, expired_reason=reason)
    return True


def asset_resumed(state: PartitionState, pos: int) -> bool:
    """Failures and dismissals are forgotten, unless news or a snapshot that came after has told of them."""
    if pos <= max(state.pos, state.failure_pos, state.dismissed_pos):
        return False
    is_news = state.failure is not None or state.dismissed is not None
    state.failure = state.dismissed = None
    state.failure_pos = state.dismissed_pos = pos
    return is_news


def upstream_changed(state: PartitionState, cause: Cause, wave: int, now_ms: int) -> bool:
    announce(state, wave)
    if cause.version <= state.inputs.get(cause.asset_id, 0):
        state.latest[cause.asset_id] = max(cause.version, state.latest.get(cause.asset_id, 0))
        return False
    if not note_cause(state, cause):
        return False
    state.changed_at_ms = now_ms
    if state.stale_since_ms is None:
        state.stale_since_ms = now_ms
    return True


def upstream_pending(state: PartitionState, marks: Iterable[tuple[str, str | None]], wave: int, now_ms: int) -> None:
    announce(state, wave)
    if state.pending_since_ms is not None and now_ms - state.pending_since_ms >= MARKS_LIVE_MS:
        state.pending.clear()
        state.pending_since_ms = None
    for mark in marks:
        first, last = state.pending.get(mark, (wave, wave))
        state.pending[mark] = (min(first, wave), max(last, wave))
    if state.pending_since_ms is None and state.pending:
        state.pending_since_ms = now_ms


def upstream_settled(
    state: PartitionState, asset_id: str, partition_key: str | None, wave: int, *, every_key: bool
) -> bool:
    """Watermarks compare numbers: a mark goes when its newest wave is dealt with, and moves up when its oldest is."""
    marks = [m for m in state.pending if m[0] == asset_id and (every_key or m[1] == partition_key)]
    is_news = False
    for mark in marks:
        first, last = state.pending[mark]
        if last <= wave:
            del state.pending[mark]
            is_news = True
        elif first <= wave:
            state.pending[mark] = (wave + 1, last)
            is_news = True
    if not state.pending:
        state.pending_since_ms = None
    return is_news


def run_enqueued(state: PartitionState, run_id: str, pos: int) -> bool:
    if state.run_id == run_id or pos <= state.pos:
        return False
    state.run_id = run_id
    state.pos = pos
    _begin_next_wave(state)
    return True


def run_ended(
    state: PartitionState,
    run_id: str,
    failure: FailureRecord | None,
    dismissed: Dismissal | None,
    pos: int,
) -> bool:
    is_news = state.run_id == run_id
    if is_news:
        state.run_id = None
    if pos <= state.pos:
        return is_news
    state.pos = pos
    if failure is not None and pos > state.failure_pos:
        state.failure, state.failure_pos = failure, pos
        is_news = True
    if dismissed is not None and pos > state.dismissed_pos:
        state.dismissed, state.dismissed_pos = dismissed, pos
        is_news = True
    return is_news


def merge_loaded(old: PartitionState, loaded: PartitionState, pos: int) -> PartitionState:
    """What is known in memory joined with a snapshot of the catalog as of `pos`: the newer of each wins."""
    if old.made is not None:
        newer, older = (old.made, loaded.made) if old.version > loaded.version else (loaded.made or old.made, old.made)
        loaded.made = _joined(newer, older)
    for upstream_id, version in old.latest.items():
        if version > loaded.latest.get(upstream_id, 0):
            loaded.latest[upstream_id] = version
    newest = {(c.asset_id, c.partition_key): c for c in loaded.causes}
    for cause in old.causes:
        known = newest.get((cause.asset_id, cause.partition_key))
        if known is None or known.version < cause.version:
            newest[cause.asset_id, cause.partition_key] = cause
    loaded.causes = tuple(newest.values())[-MAX_CAUSES:]
    if old.pos > pos:
        loaded.run_id = old.run_id
    if old.failure_pos > pos:
        loaded.failure = old.failure
    if old.dismissed_pos > pos:
        loaded.dismissed = old.dismissed
    loaded.pos = max(old.pos, pos)
    loaded.failure_pos, loaded.dismissed_pos = max(old.failure_pos, pos), max(old.dismissed_pos, pos)
    loaded.stale_since_ms, loaded.changed_at_ms = old.stale_since_ms, old.changed_at_ms
    loaded.pending, loaded.pending_since_ms = old.pending, old.pending_since_ms
    loaded.since_wave, loaded.owed_wave = old.since_wave, old.owed_wave
    loaded.asked_wave, loaded.settled_wave = old.asked_wave, old.settled_wave
    _drop_causes_done_with(loaded)
    return loaded


def announce(state: PartitionState, wave: int) -> None:
    """A wave has reached this partition; it has to be reported as settled some time."""
    state.owed_wave = max(state.owed_wave, wave)
    if state.since_wave is None:
        state.since_wave = wave


def begin(state: PartitionState) -> None:
    """All that was announced before the first decision counts as one wave, whatever the numbers of its parts.

    Each upstream announces what it will re-make by itself when a start, or the end of a pause, lets it.
    """
    if state.since_wave is not None and state.pending:
        oldest = min(state.since_wave, *(first for first, _ in state.pending.values()))
        state.since_wave = oldest
        state.pending = {mark: (oldest, last) for mark, (_, last) in state.pending.items()}


def asked_for_run(state: PartitionState) -> None:
    """The run that was asked for reads what every wave has brought that is not pending any more, or more.

    Upstreams that held it back until the limit on waiting are given up: else one report that never comes would leave
    the limit passed for good, and switch off waiting altogether.
    """
    since = state.since_wave
    if since is not None and state.pending:
        state.pending = {mark: waves for mark, waves in state.pending.items() if waves[0] > since}
        if not state.pending:
            state.pending_since_ms = None
    state.asked_wave = _newest_not_pending(state)


def wave_to_report(state: PartitionState, decision: Decision, *, was_made: bool) -> int | None:
    """The newest wave that is dealt with and was not reported yet, if any; it counts as reported from now on.

    A partition that is held back for long, or that no upstream can move, has dealt with every wave. One that is content
    has not dealt with those in which an upstream is pending: that one may still change. One that was just made has
    dealt with those it knew of when it asked for the run, and may be stale again already.
    """
    if is_settled(decision):
        is_indifferent = isinstance(decision, Wait) or decision.reason in _INDIFFERENT
        wave = state.owed_wave if is_indifferent else _newest_not_pending(state)
        state.since_wave = None
        if state.pending:
            _begin_next_wave(state)
    elif was_made:
        wave = state.asked_wave
    else:
        return None
    if wave <= state.settled_wave:
        return None
    state.settled_wave = wave
    return wave


def _joined(newer: Materialization, older: Materialization | None) -> Materialization:
    """The newer of two, produced no earlier, and expired if that was told before it."""
    if older is None:
        return newer
    was_told = older.expired_version >= newer.version and older.expired_version > newer.expired_version
    expired = older if was_told else newer
    return replace(
        newer,
        produced_at_ms=max(newer.produced_at_ms, older.produced_at_ms),
        expired_version=expired.expired_version,
        expired_reason=expired.expired_reason,
    )


def _drop_causes_done_with(state: PartitionState) -> None:
    inputs = state.inputs
    state.causes = tuple(c for c in state.causes if c.version > inputs.get(c.asset_id, 0))
    if not state.causes:
        state.stale_since_ms = None
        state.changed_at_ms = None


def _newest_not_pending(state: PartitionState) -> int:
    return min((first - 1 for first, _ in state.pending.values()), default=state.owed_wave)


def _begin_next_wave(state: PartitionState) -> None:
    state.since_wave = min((first for first, _ in state.pending.values()), default=None)

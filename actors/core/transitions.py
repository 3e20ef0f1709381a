"""What news does to the state of a partition. Each function applies one piece of news and says whether it was news.

All of them are idempotent, and news that is older than what is known changes nothing (law L11).
"""

from __future__ import annotations

from collections.abc import Container, Iterable
from dataclasses import replace

from actors.core.decide import Decision, Defaults, Reason, Wait, is_settled
from actors.core.freshness import ExpiryReason
from actors.core.loading import MAX_CAUSES, note_cause, note_present
from actors.core.state import Cause, Dismissal, FailureRecord, Mark, Materialization, PartitionState

__all__ = [
    "announce",
    "asked_for_run",
    "asset_expired",
    "asset_passed_over",
    "asset_produced",
    "asset_resumed",
    "begin",
    "follow",
    "merge_loaded",
    "run_ended",
    "run_enqueued",
    "upstream_changed",
    "upstream_pending",
    "upstream_reported",
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
    _expire_early(state)
    _drop_causes_done_with(state)
    return True


def asset_expired(state: PartitionState, version: int, reason: ExpiryReason) -> bool:
    """One that is told before the version that it is about is kept until then."""
    if state.made is None:
        state.expired_early = (version, reason)
        return False
    if version < state.made.version or state.made.expired_version >= version:
        return False
    state.made = replace(state.made, expired_version=version, expired_reason=reason)
    return True


def asset_passed_over(state: PartitionState, dismissal: Dismissal, pos: int) -> bool:
    if pos <= state.dismissed_pos or dismissal.version != state.version:
        return False
    is_news = state.dismissed != dismissal
    state.dismissed, state.dismissed_pos = dismissal, pos
    return is_news


def asset_resumed(state: PartitionState, pos: int) -> bool:
    """Failures and dismissals are forgotten, unless news or a snapshot that came after has told of them."""
    is_news = False
    if pos > state.failure_pos:
        is_news = state.failure is not None
        state.failure, state.failure_pos = None, pos
    if pos > state.dismissed_pos:
        is_news = is_news or state.dismissed is not None
        state.dismissed, state.dismissed_pos = None, pos
    return is_news


def upstream_changed(state: PartitionState, cause: Cause, wave: int, now_ms: int) -> bool:
    announce(state, wave)
    was_missing = note_present(state, cause)
    if cause.version <= state.inputs.get(cause.asset_id, 0):
        state.latest[cause.asset_id] = max(cause.version, state.latest.get(cause.asset_id, 0))
        return was_missing
    if not note_cause(state, cause):
        return was_missing
    state.changed_at_ms = now_ms
    if state.stale_since_ms is None:
        state.stale_since_ms = now_ms
    return True


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
    state.pos = max(state.pos, pos)
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
    loaded.expired_early = old.expired_early
    _expire_early(loaded)
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
    loaded.settled_until_ms = old.settled_until_ms
    _join_missing(old, loaded)
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
        _begin_next_wave(state)
    elif was_made:
        wave, until_ms = state.asked_wave, None
    else:
        return None
    told = state.settled_wave, state.settled_until_ms
    if wave < state.settled_wave or wave == 0 or told == (wave, until_ms):
        return None
    state.settled_wave, state.settled_until_ms = wave, until_ms
    return wave, until_ms


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


def _expire_early(state: PartitionState) -> None:
    if state.made is not None and state.expired_early is not None:
        early, state.expired_early = state.expired_early, None
        asset_expired(state, *early)


def _drop_causes_done_with(state: PartitionState) -> None:
    inputs = state.inputs
    state.causes = tuple(c for c in state.causes if c.version > inputs.get(c.asset_id, 0))
    if not state.causes:
        state.stale_since_ms = None
        state.changed_at_ms = None


def _join_missing(old: PartitionState, loaded: PartitionState) -> None:
    """What is there does not go away again: present in either is present."""
    for upstream_id, keys in old.missing.items():
        if upstream_id in loaded.missing:
            loaded.missing[upstream_id] &= keys
            if not loaded.missing[upstream_id]:
                del loaded.missing[upstream_id]
    for cause in loaded.causes:
        note_present(loaded, cause)


def _made_again_at(state: PartitionState, decision: Decision, now_ms: int) -> int | None:
    """When the partition is to be made again, if it is held back by quiet hours: its own, or those of an upstream."""
    if isinstance(decision, Wait) and decision.reason is Reason.QUIET_HOURS:
        return decision.until_ms
    if isinstance(decision, Wait):
        return None
    return min((mark.from_ms for mark in state.pending.values() if mark.from_ms > now_ms), default=None)


def _newest_not_pending(state: PartitionState, now_ms: int) -> int:
    return min((m.first - 1 for m in state.pending.values() if m.from_ms <= now_ms), default=state.owed_wave)


def _begin_next_wave(state: PartitionState) -> None:
    state.since_wave = min((mark.first for mark in state.pending.values() if not mark.from_ms), default=None)


def _count_pending(state: PartitionState, now_ms: int) -> None:
    """The wait for upstreams is measured from when the first of them held this partition back."""
    if not any(not mark.from_ms for mark in state.pending.values()):
        state.pending_since_ms = None
    elif state.pending_since_ms is None:
        state.pending_since_ms = now_ms

"""What news does to the state of a partition. Each function applies one piece of news and says whether it was news.

All of them are idempotent, and news that is older than what is known changes nothing (law L11).
"""

from __future__ import annotations

from dataclasses import replace

from actors.core.freshness import ExpiryReason
from actors.core.loading import MAX_CAUSES, note_cause, note_present
from actors.core.state import Cause, Dismissal, FailureRecord, Materialization, PartitionState
from actors.core.waiting import announce, begin_next_wave

__all__ = [
    "asset_expired",
    "asset_passed_over",
    "asset_produced",
    "asset_resumed",
    "merge_loaded",
    "read_as_of",
    "run_ended",
    "run_enqueued",
    "upstream_changed",
]


def asset_produced(state: PartitionState, made: Materialization, pos: int) -> bool:
    """A success clears failures and dismissals; causes that the new version was made from are done with."""
    # Also of a version that a snapshot told of already: an older failure may have been told in between.
    is_news = asset_resumed(state, pos)
    if made.version <= state.version:
        return is_news
    state.made = _joined(made, state.made)
    _expire_early(state)
    _drop_causes_done_with(state)
    if state.changed_since_run_ms is not None:
        # What is left came after the run was submitted that read the rest: `maxDelayMs` counts from there.
        state.stale_since_ms = state.changed_since_run_ms
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
    if state.changed_since_run_ms is None:
        state.changed_since_run_ms = now_ms
    if state.stale_since_ms is None:
        state.stale_since_ms = now_ms
    return True


def run_enqueued(state: PartitionState, run_id: str, pos: int) -> bool:
    if state.run_id == run_id or pos <= state.pos:
        return False
    state.run_id = run_id
    state.pos = pos
    state.changed_since_run_ms = None
    begin_next_wave(state)
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
    loaded.changed_since_run_ms = old.changed_since_run_ms
    loaded.pending, loaded.pending_since_ms = old.pending, old.pending_since_ms
    loaded.since_wave, loaded.owed_wave = old.since_wave, old.owed_wave
    loaded.asked_wave, loaded.settled_wave = old.asked_wave, old.settled_wave
    loaded.settled_until_ms = old.settled_until_ms
    _drop_causes_done_with(loaded)
    return loaded


def read_as_of(state: PartitionState, pos: int, wave: int) -> None:
    """The catalog was read at a position: news of before it is known, and so is every wave up to `wave`."""
    state.pos = max(state.pos, pos)
    state.failure_pos = max(state.failure_pos, pos)
    state.dismissed_pos = max(state.dismissed_pos, pos)
    state.owed_wave = max(state.owed_wave, wave)


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
        state.stale_since_ms = state.changed_at_ms = state.changed_since_run_ms = None

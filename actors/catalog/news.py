"""From the wire to the actors: an event of the stream as the message that it means to them."""

from __future__ import annotations

from actors import messages
from actors.catalog import events
from actors.core.state import Dismissal, FailureRecord, Materialization

__all__ = ["news_of"]


def news_of(event: events.Event, pos: int) -> messages.StreamNews | None:
    """What the event tells the actors; None for an outsider's event that has not been recorded."""
    match event:
        case events.AssetProduced():
            return _produced(event, pos)
        case events.AssetExpired():
            if event.version is None:
                return None
            return messages.AssetExpired(event.asset_id, event.partition_key, event.version, event.reason, pos)
        case events.AssetResumed():
            return messages.AssetResumed(event.asset_id, event.partition_key, pos)
        case events.AssetPassedOver(dismissed=left):
            dismissal = Dismissal(left.version, left.inputs, is_passed_over=True)
            return messages.AssetPassedOver(event.asset_id, event.partition_key, dismissal, pos)
        case events.AssetAnnounced():
            return messages.AssetAnnounced(event.asset_id, event.partition_key, pos)
        case events.WorkflowUpdated():
            return messages.WorkflowUpdated(event.slug, pos)
        case events.PauseChanged():
            return messages.PauseChanged(event.scope, pos)
        case events.RunRequested():
            return messages.RunRequested(event.run_id, pos)
        case events.RunEnqueued():
            return messages.RunEnqueued(event.run_id, event.workflow_slug, event.partition_key, pos)
        case events.RunStarted():
            return messages.RunEnqueued(event.run_id, event.workflow_slug, event.partition_key, pos, is_started=True)
        case events.RunSucceeded():
            return _ended(event, "succeeded", pos)
        case events.RunFailed():
            return _ended(event, "lost" if event.lost else "failed", pos)
        case events.RunCanceled():
            return _ended(event, "canceled", pos)


def _produced(event: events.AssetProduced, pos: int) -> messages.AssetProduced | None:
    if event.version is None:
        return None
    own_policy = event.freshness is not None and event.freshness_source == "result"
    made = Materialization(
        version=event.version,
        changed_version=event.changed_version if event.changed_version is not None else event.version,
        produced_at_ms=event.produced_at_ms,
        data_version=event.data_version,
        run_id=event.run_id,
        inputs=event.inputs,
        freshness=event.freshness.to_policy() if own_policy and event.freshness is not None else None,
    )
    return messages.AssetProduced(event.asset_id, event.partition_key, made, pos)


def _ended(
    event: events.RunSucceeded | events.RunFailed | events.RunCanceled, outcome: str, pos: int
) -> messages.RunEnded:
    return messages.RunEnded(
        event.run_id,
        event.workflow_slug,
        event.partition_key,
        outcome,
        tuple(_unmade(entry, event) for entry in event.unmade),
        pos,
        event.error if isinstance(event, events.RunFailed) else None,
    )


def _unmade(
    entry: events.Unmade, event: events.RunSucceeded | events.RunFailed | events.RunCanceled
) -> messages.Unmade:
    failure = None
    # A canceled run is no failure; what failed before it stands as it was.
    if entry.failures and not isinstance(event, events.RunCanceled):
        at_ms = entry.last_failure_at_ms if entry.last_failure_at_ms is not None else event.at_ms
        failure = FailureRecord(entry.failures, at_ms, event.run_id)
    dismissed = Dismissal(entry.dismissed.version, entry.dismissed.inputs) if entry.dismissed else None
    return messages.Unmade(entry.asset_id, entry.partition_key, failure, dismissed)

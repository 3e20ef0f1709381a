"""Every report that an observer can get, with arguments that a test can recognise."""

from __future__ import annotations

from typing import Any

from actors.core.decide import Reason, Wait

__all__ = ["REPORTS"]

REPORTS: dict[str, dict[str, Any]] = {
    "decided": {
        "asset_id": "orders.daily",
        "workflow_slug": "orders",
        "partition_key": "2026-11-23",
        "decision": Wait(1_763_892_000_000, Reason.BACKOFF),
        "cause": "workflow.run.failed run-1",
        "run_id": None,
        "failures": 2,
        "next_look_ms": 1_763_892_000_000,
        "is_news": True,
    },
    "run_submitted": {
        "run_id": "run-2",
        "workflow_slug": "orders",
        "partition_key": "2026-11-23",
        "trigger": "auto-materialize",
        "reason": "upstream-updated",
        "cause": "gauges.raw@2026-11-23 v12",
        "waited_ms": 4,
    },
    "run_deduplicated": {
        "workflow_slug": "orders",
        "partition_key": None,
        "asset_id": "orders.daily",
        "because": "no longer needed",
    },
    "run_delayed": {"workflow_slug": "orders", "partition_key": None, "limit": "pool:gpu"},
    "run_ended": {
        "run_id": "run-2",
        "workflow_slug": "orders",
        "partition_key": "2026-11-23",
        "trigger": "auto-materialize",
        "reason": "upstream-updated",
        "outcome": "failed",
        "error": "step load: exit code 3",
        "duration_ms": 1_500,
    },
    "run_lost": {
        "run_id": "run-2",
        "workflow_slug": "orders",
        "partition_key": "2026-11-23",
        "error": "its worker host:1 was last heard of at 2026-11-23T10:00:00.000Z",
    },
    "run_relaunched": {"run_id": "run-2", "workflow_slug": "orders", "partition_key": None},
    "failed": {
        "asset_id": "orders.daily",
        "partition_key": None,
        "failures": 5,
        "reason": Reason.SUSPENDED,
    },
    "stale_changed": {"delta": 1},
    "queue_changed": {"active": 3, "queued": 2},
    "dead_letter": {"reason": "$.assetId: is missing"},
    "undelivered": {"message": "AssetProduced", "receiver": "registry"},
    "child_restarted": {"name": "registry", "error": "ValueError: boo", "restarts": 1},
    "workflow_changed": {"slug": "orders", "change": "loaded"},
    "catalog_unavailable": {"error": "redis://x cannot be reached"},
    "catalog_available": {},
}

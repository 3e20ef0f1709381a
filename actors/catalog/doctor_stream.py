"""What may be wrong with the stream's reading: entries that were handed out and that nobody will acknowledge."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

from actors.catalog.catalog_scan import PIECE, CatalogScan
from actors.catalog.doctor_findings import Finding, Suspicion
from actors.catalog.keys import Keys

__all__ = ["suspect_pending"]

_IDLE_MS: Final = 60_000
"""What was handed out a shorter time ago may be acknowledged yet."""


def suspect_pending(keys: Keys, scan: CatalogScan, group: str) -> Iterator[Suspicion]:
    """Entries that are pending in the service's group, which is a cursor: no service reads as a consumer of it."""
    if group not in {found["name"] for found in scan.groups(keys.events)}:
        return
    start = "-"
    while True:
        pending: list[Any] = scan.ask("XPENDING", keys.events, group, "IDLE", _IDLE_MS, start, "+", PIECE)
        for entry_id, consumer, idle_ms, _ in pending:
            yield Suspicion(
                Finding(
                    "entry-pending",
                    keys.events,
                    entry_id,
                    f"was handed to consumer {consumer} {idle_ms // 1_000} seconds ago and never acknowledged",
                    "acknowledges it, and lets the service read on from before it",
                ),
                "mend_stream",
                {"group": group, "entryId": entry_id, "idleMs": _IDLE_MS},
            )
        if len(pending) < PIECE:
            return
        start = f"({pending[-1][0]}"

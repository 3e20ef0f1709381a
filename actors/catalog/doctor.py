"""Looks through a catalog for what must not be, and mends it.

A reading of many keys beside a living service sees half of what happens meanwhile, so it only raises suspicions. Each
is then looked at again by one atomic script, which mends it in the same step if that is wanted. So what ended or began
between two reads is no finding, and a mend never undoes what is right by then.
"""

from __future__ import annotations

import time
from collections.abc import Iterator

from redis import Redis

from actors.catalog.catalog_scan import CatalogScan, pieces
from actors.catalog.connection import server_errors
from actors.catalog.doctor_assets import suspect_assets, suspect_parameters
from actors.catalog.doctor_findings import Finding, Suspicion
from actors.catalog.doctor_runs import suspect_entries, suspect_leftovers, suspect_runs
from actors.catalog.doctor_stream import suspect_pending
from actors.catalog.redis_root import RedisRoom
from actors.catalog.scripts import ScriptCall
from actors.setting_groups import StreamSettings

__all__ = ["Doctor", "Finding"]

_AT_ONCE = 100
"""Suspicions that are looked at in one round trip: each is a script."""


class Doctor(RedisRoom):
    """Safe beside a service. Every method may raise `CatalogUnavailable`."""

    def __init__(self, client: Redis, *, prefix: str, streams: StreamSettings) -> None:
        super().__init__(client, prefix=prefix, streams=streams)
        self._scan = CatalogScan(client, self._keys)

    def examine(self, *, fix: bool) -> Iterator[Finding]:
        """What is wrong, as it is found; with `fix` it is mended by the time it is told."""
        told = set[tuple[str, str, str]]()
        for piece in pieces(self._suspicions(), _AT_ONCE):
            with server_errors(self._server):
                answers = self._scripts.call_all(
                    [ScriptCall(s.script, {**s.args, "kind": s.finding.kind, "fix": fix}) for s in piece]
                )
            for suspicion, answer in zip(piece, answers, strict=True):
                finding = suspicion.finding
                # A key may be met twice in a reading; what is mended is not found again.
                if answer and finding.identity not in told:
                    told.add(finding.identity)
                    yield finding

    def dead_letters(self) -> int:
        """How many events were put aside because they could not be read. They do no harm."""
        count: int = self._read("XLEN", self._keys.dead_letters)
        return count

    def _suspicions(self) -> Iterator[Suspicion]:
        keys, scan = self._keys, self._scan
        now_ms = time.time_ns() // 1_000_000
        # Runs before the lists of them: an unreadable one is dropped from every list at once.
        yield from suspect_runs(keys, scan, self._told, now_ms)
        yield from suspect_entries(keys, scan)
        yield from suspect_leftovers(keys, scan)
        yield from suspect_assets(keys, scan)
        yield from suspect_parameters(keys, scan)
        yield from suspect_pending(keys, scan, self._streams.group)

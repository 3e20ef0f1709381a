"""Who works on which run, and runs that nobody seems to work on. All times are the server's."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final, Literal

from actors.catalog.connection import server_errors, without_retry
from actors.catalog.keys import partition_of
from actors.catalog.redis_root import RedisRoom
from actors.catalog.scripts import ScriptCall, Scripts
from actors.catalog.store import Overdue, OverdueRun, Renewal

__all__ = ["RedisLeases"]

_MOST_OVERDUE: Final = 100
"""Overdue runs of each kind in one reading; the next reading finds the others."""

_PATIENCE_PARTS: Final = 10
_LEAST_PATIENCE_SECONDS: Final = 0.25
_MOST_PATIENCE_SECONDS: Final = 5.0


class RedisLeases(RedisRoom):
    _renewals: tuple[int, Scripts] | None = None

    def renew_runs(self, tokens: Mapping[str, str], *, lease_ms: int) -> dict[str, Renewal]:
        calls = [
            ScriptCall("renew_run", {"runId": run_id, "token": token, "leaseMs": lease_ms})
            for run_id, token in tokens.items()
        ]
        with server_errors(self._server):
            answers = self._impatient(lease_ms).call_all(calls)
        return {run_id: Renewal(answer) for run_id, answer in zip(tokens, answers, strict=True)}

    def _impatient(self, lease_ms: int) -> Scripts:
        """On connections of their own, whose timeout leaves time to try again while the lease goes on."""
        if self._renewals is None or self._renewals[0] != lease_ms:
            patience = lease_ms / 1_000 / _PATIENCE_PARTS
            timeout = min(max(patience, _LEAST_PATIENCE_SECONDS), _MOST_PATIENCE_SECONDS)
            client = without_retry(self._client, socket_timeout_seconds=timeout)
            self._renewals = lease_ms, Scripts(client, self._keys)
        return self._renewals[1]

    def ask_run(self, run_id: str, what: Literal["cancel", "stop"]) -> bool:
        return bool(self._call("ask_run", runId=run_id, what=what))

    def overdue_runs(self, *, start_timeout_ms: int) -> Overdue:
        now, found = self._call("overdue_runs", startTimeoutMs=start_timeout_ms, most=_MOST_OVERDUE)
        return Overdue(int(now), tuple(_overdue(entry) for entry in found))

    def await_start(self, run_id: str, *, is_launched: bool) -> bool:
        return bool(self._call("await_start", runId=run_id, isLaunched=is_launched))


def _overdue(entry: Sequence[str]) -> OverdueRun:
    kind, run_id, since, workflow, partition, worker, seen_at, asked, launches = entry
    return OverdueRun(
        kind="lease" if kind == "lease" else "start",
        run_id=run_id,
        workflow_slug=workflow,
        partition_key=partition_of(partition),
        since_ms=int(float(since)),
        worker=worker,
        seen_at_ms=int(seen_at),
        is_cancel_asked=asked == Renewal.CANCEL,
        launches=int(launches),
    )

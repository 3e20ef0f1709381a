"""Runs on the server: claims, limits, steps, ends, and the audit line of each auto-triggered run."""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from actors.catalog.codec import (
    dump,
    dump_step,
    load_audit,
    load_produced,
    load_run,
    load_steps,
    run_fields,
)
from actors.catalog.connection import server_errors
from actors.catalog.events import (
    Event,
    RunCanceled,
    RunEnqueued,
    RunFailed,
    RunRequested,
    RunStarted,
    RunSucceeded,
)
from actors.catalog.keys import partition_field, partition_of
from actors.catalog.redis_root import BATCH, RedisRoom
from actors.catalog.scripts import ScriptCall
from actors.catalog.store import (
    ActiveRun,
    AuditEntry,
    BasisOutdated,
    Busy,
    Gone,
    LimitReached,
    NewRun,
    OverdueRun,
    Paused,
    RunFenced,
    RunRecord,
    RunStatus,
    StepRecord,
    SubmitOutcome,
    Submitted,
)

__all__ = ["RedisRuns"]

AUTO_TRIGGER = "auto-materialize"
_LONGEST_ERROR = 20_000


class RedisRuns(RedisRoom):
    def submit(self, runs: Sequence[NewRun]) -> list[SubmitOutcome]:
        with server_errors(self._server):
            answers = self._scripts.call_all([self._submit_call(run) for run in runs])
        return [_outcome(answer) for answer in answers]

    def _submit_call(self, run: NewRun) -> ScriptCall:
        limits, trigger_text = run.limits, dump(run.trigger)
        pool_limits = [
            {"name": pool, "max": limits.max_pool_runs[pool]} for pool in run.pools if pool in limits.max_pool_runs
        ]
        return ScriptCall(
            "submit",
            {
                "runId": run.run_id,
                "workflow": run.workflow_slug,
                "partition": partition_field(run.partition_key),
                "queued": run.queued,
                "createdAtMs": run.created_at_ms,
                "fields": run_fields(run, trigger_text),
                "pools": run.pools,
                "poolsText": dump(run.pools),
                "upstreamsText": dump(run.upstreams),
                "basis": [
                    {
                        "assetId": basis.asset_id,
                        "partition": partition_field(basis.partition_key),
                        "version": basis.version,
                        "failures": basis.failures,
                    }
                    for basis in run.basis
                ],
                "maxRuns": limits.max_runs,
                "maxWorkflowRuns": limits.max_workflow_runs,
                "poolLimits": pool_limits,
                "audit": trigger_text if run.trigger.get("type") == AUTO_TRIGGER else None,
                "auditLimit": self._streams.audit_max_length,
                **self._told(RunEnqueued(**_about(run, trigger_text), at_ms=run.created_at_ms)),
            },
        )

    def queue_run(self, run: NewRun) -> None:
        trigger_text = dump(run.trigger)
        self._call(
            "queue_run",
            runId=run.run_id,
            createdAtMs=run.created_at_ms,
            fields=run_fields(run, trigger_text),
            **self._told(RunRequested(**_about(run, trigger_text), at_ms=run.created_at_ms)),
        )

    def queued_runs(self) -> list[RunRecord]:
        run_ids: list[str] = self._read("ZRANGE", self._keys.queued, 0, -1)
        return [run for run in self._read_runs(run_ids) if run.status is RunStatus.QUEUED]

    def active_runs(self) -> list[ActiveRun]:
        run_ids = sorted(self._read("SMEMBERS", self._keys.active))
        rows = self._read_each(
            [("HMGET", self._keys.run(run_id), "workflow", "partition", "status") for run_id in run_ids]
        )
        return [
            ActiveRun(run_id, workflow, partition_of(partition), RunStatus(status))
            for run_id, (workflow, partition, status) in zip(run_ids, rows, strict=True)
            # It may have ended, and even been dropped, between the two reads.
            if status is not None and RunStatus(status).is_active
        ]

    def start_run(
        self,
        run_id: str,
        *,
        upstreams: Sequence[str],
        now_ms: int,
        token: str | None = None,
        worker: str = "",
        lease_ms: int | None = None,
    ) -> Mapping[str, int]:
        about = self._about_kept(run_id)
        if about is None:
            raise RunFenced(f"run {run_id} is not known to the catalog; do not work on it")
        outcome, text = self._call(
            "start_run",
            runId=run_id,
            upstreams=list(upstreams),
            nowMs=now_ms,
            token=token or uuid.uuid4().hex,
            worker=worker,
            leaseMs=lease_ms,
            **self._told(RunStarted(**about, at_ms=now_ms)),
        )
        if outcome == "fenced":
            raise RunFenced(f"run {run_id} is {text}, not enqueued, and was not started; do not work on it")
        inputs: dict[str, int] = json.loads(text)
        return inputs

    def put_step(self, run_id: str, step: StepRecord, *, token: str | None = None) -> None:
        answer = self._call("put_step", runId=run_id, stepId=step.step_id, step=dump_step(step), startToken=token)
        if isinstance(answer, str):
            raise RunFenced(f"run {run_id} is {answer} and not ours; stop working on it")

    def finish_run(
        self,
        run_id: str,
        status: RunStatus,
        *,
        now_ms: int,
        error: str | None = None,
        expected: Iterable[tuple[str, str | None]] = (),
        token: str | None = None,
    ) -> bool:
        return self._finish(run_id, status, now_ms=now_ms, error=error, expected=expected, token=token)

    def end_overdue(
        self,
        run: OverdueRun,
        status: RunStatus,
        *,
        now_ms: int,
        error: str | None = None,
        expected: Iterable[tuple[str, str | None]] = (),
    ) -> bool:
        return self._finish(run.run_id, status, now_ms=now_ms, error=error, expected=expected, overdue=run)

    def cancel_queued(self, run_id: str, *, now_ms: int) -> bool:
        return self._finish(run_id, RunStatus.CANCELED, now_ms=now_ms, only_queued=True)

    def _finish(
        self,
        run_id: str,
        status: RunStatus,
        *,
        now_ms: int,
        error: str | None = None,
        expected: Iterable[tuple[str, str | None]] = (),
        only_queued: bool = False,
        token: str | None = None,
        overdue: OverdueRun | None = None,
    ) -> bool:
        if not status.is_over:
            raise ValueError(f"run {run_id} cannot end as {status.value}; it must be over")
        about = self._about_kept(run_id)
        if about is None:
            return False
        error = error and error[:_LONGEST_ERROR]
        return bool(
            self._call(
                "finish_run",
                runId=run_id,
                status=status.value,
                nowMs=now_ms,
                # A worker calls again when the server was away, and is to hear that it has ended the run.
                token=f"{token}:{status.value}" if token else uuid.uuid4().hex,
                error=error,
                expected=[
                    {"assetId": asset_id, "partition": partition_field(key)}
                    for asset_id, key in dict.fromkeys(expected)
                ],
                onlyQueued=only_queued,
                startToken=token,
                overdue=overdue and {"kind": overdue.kind, "sinceMs": overdue.since_ms},
                runsLimit=self._history.runs,
                **self._told(_ended(about, status, at_ms=now_ms, error=error)),
            )
        )

    def run(self, run_id: str) -> RunRecord | None:
        with server_errors(self._server), self._client.pipeline(transaction=True) as pipe:
            pipe.hgetall(self._keys.run(run_id))
            pipe.hgetall(self._keys.steps(run_id))
            pipe.hgetall(self._keys.produced(run_id))
            fields, steps, produced = pipe.execute()
        if not fields:
            return None
        return load_run(run_id, fields, steps=load_steps(steps), produced=load_produced(produced))

    def runs(
        self,
        *,
        trigger: str | None = None,
        workflow: str | None = None,
        status: RunStatus | None = None,
        limit: int = 50,
    ) -> list[RunRecord]:
        found: list[RunRecord] = []
        for run in self._newest_runs():
            if len(found) >= limit:
                break
            if (
                (trigger is None or run.trigger.get("type") == trigger)
                and (workflow is None or run.workflow_slug == workflow)
                and (status is None or run.status is status)
            ):
                found.append(run)
        return found

    def audit(self, *, limit: int = 50) -> list[AuditEntry]:
        if limit < 1:
            return []
        entries = self._read("XREVRANGE", self._keys.audit, "+", "-", "COUNT", limit)
        return [load_audit(fields) for _, fields in entries]

    def _newest_runs(self) -> Iterator[RunRecord]:
        start = 0
        while True:
            run_ids: list[str] = self._read("ZRANGE", self._keys.runs, start, start + BATCH - 1, "REV")
            yield from self._read_runs(run_ids)
            if len(run_ids) < BATCH:
                return
            start += BATCH

    def _read_runs(self, run_ids: Sequence[str]) -> list[RunRecord]:
        rows = self._read_each([("HGETALL", self._keys.run(run_id)) for run_id in run_ids])
        # A run that ended long ago may be dropped between the two reads.
        return [load_run(run_id, row) for run_id, row in zip(run_ids, rows, strict=True) if row]

    def _about_kept(self, run_id: str) -> dict[str, Any] | None:
        """What every event of a run says of it; it never changes, so it can be read ahead of the script."""
        workflow, partition, trigger = self._read("HMGET", self._keys.run(run_id), "workflow", "partition", "trigger")
        if workflow is None:
            return None
        return {
            "run_id": run_id,
            "workflow_slug": workflow,
            "partition_key": partition_of(partition),
            "trigger": json.loads(trigger),
        }


def _about(run: NewRun, trigger_text: str) -> dict[str, Any]:
    return {
        "run_id": run.run_id,
        "workflow_slug": run.workflow_slug,
        "partition_key": run.partition_key,
        "trigger": json.loads(trigger_text),
    }


def _ended(about: Mapping[str, Any], status: RunStatus, *, at_ms: int, error: str | None) -> Event:
    match status:
        case RunStatus.SUCCEEDED:
            return RunSucceeded(**about, at_ms=at_ms)
        case RunStatus.CANCELED:
            return RunCanceled(**about, at_ms=at_ms)
        case _:
            return RunFailed(**about, at_ms=at_ms, error=error, lost=status is RunStatus.LOST)


def _outcome(answer: Sequence[str]) -> SubmitOutcome:
    kind, *rest = answer
    match kind:
        case "submitted":
            return Submitted(rest[0])
        case "busy":
            return Busy(rest[0])
        case "limit":
            return LimitReached(rest[0])
        case "outdated":
            return BasisOutdated(tuple(rest))
        case "paused":
            return Paused(tuple(rest))
        case "gone":
            return Gone(rest[0])
        case _:
            raise AssertionError(f"the script answered {kind!r}")

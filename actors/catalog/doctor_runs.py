"""What may be wrong with runs: claims, slots, lists and records that do not fit together."""

from __future__ import annotations

import json
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Final

from actors.catalog.catalog_scan import CatalogScan, pieces
from actors.catalog.codec import load_run
from actors.catalog.doctor_findings import Finding, Suspicion
from actors.catalog.events import Event, RunFailed
from actors.catalog.keys import UNIT, Keys, partition_of
from actors.catalog.store import RunRecord, RunStatus
from actors.core.state import partition_name

__all__ = ["suspect_entries", "suspect_leftovers", "suspect_runs"]

_FIELDS: Final = ("status", "workflow", "partition", "parameters", "trigger", "createdAtMs", "endedAtMs", "pools")
_SECOND: Final = "another run holds the claim of its workflow and partition"

Told = Callable[[Event], dict[str, Any]]


def suspect_runs(keys: Keys, scan: CatalogScan, told: Told, now_ms: int) -> Iterator[Suspicion]:
    """Every run against the claims, slots and lists that it must, or must not, have."""
    ids = (name.partition(":")[2] for name in scan.names() if name.startswith("run:"))
    for piece in pieces(ids):
        rows = scan.read_each([("HMGET", keys.run(run_id), *_FIELDS) for run_id in piece])
        known: list[tuple[RunRecord, list[str]]] = []
        for run_id, row in zip(piece, rows, strict=True):
            fields = {name: text for name, text in zip(_FIELDS, row, strict=True) if text is not None}
            if not fields:
                continue
            try:
                known.append((load_run(run_id, fields), _pools(fields)))
            except (KeyError, ValueError):
                yield _unreadable(keys, run_id)
        yield from _without_place(keys, scan, known, told, now_ms)


def suspect_entries(keys: Keys, scan: CatalogScan) -> Iterator[Suspicion]:
    """Every claim, slot and entry of a list against the run that it is of."""
    for piece in pieces(scan.fields(keys.claims)):
        runs = scan.read_each([("HMGET", keys.run(run_id), "workflow", "partition", "status") for _, run_id in piece])
        for (claim, run_id), (workflow, partition, status) in zip(piece, runs, strict=True):
            if status not in ("enqueued", "running") or f"{workflow}{UNIT}{partition}" != claim:
                slug, _, key = claim.partition(UNIT)
                yield Suspicion(
                    Finding(
                        "claim-without-run",
                        keys.claims,
                        partition_name(slug, partition_of(key)),
                        f"is claimed by run {run_id}, which is {_status_text(status)}",
                        "gives the claim free",
                    ),
                    "mend_runs",
                    {"runId": run_id, "claim": claim},
                )
    for name in {name for name in scan.names() if name.partition(":")[0] == "active"}:
        yield from _slots(keys, scan, name)
    for name in ("queued", "unstarted", "leases", "runs", "ended"):
        yield from _entries(keys, scan, name)


def suspect_leftovers(keys: Keys, scan: CatalogScan) -> Iterator[Suspicion]:
    """Steps and productions of runs that are not known any more."""
    names = (name for name in scan.names() if name.startswith(("steps:", "produced:")))
    for piece in pieces(names):
        of = [name.partition(":") for name in piece]
        found = scan.read_each([("EXISTS", keys.run(run_id)) for _, _, run_id in of])
        for (kind, _, run_id), exists in zip(of, found, strict=True):
            if not exists:
                yield Suspicion(
                    Finding(
                        "records-without-run",
                        f"{keys.prefix}:{kind}:{run_id}",
                        run_id,
                        f"holds {'steps' if kind == 'steps' else 'productions'} of a run that is not known",
                        "removes it",
                    ),
                    "mend_runs",
                    {"runId": run_id, "name": kind},
                )


def _pools(fields: Mapping[str, str]) -> list[str]:
    pools = json.loads(fields.get("pools", "[]"))
    return [str(pool) for pool in pools] if isinstance(pools, list) else []


def _unreadable(keys: Keys, run_id: str) -> Suspicion:
    return Suspicion(
        Finding(
            "run-unreadable",
            keys.run(run_id),
            run_id,
            "lacks a field that every run has, or has one that cannot be read",
            "drops the run with its steps, its claim and its slots",
        ),
        "mend_runs",
        {"runId": run_id},
    )


def _without_place(
    keys: Keys, scan: CatalogScan, runs: Sequence[tuple[RunRecord, list[str]]], told: Told, now_ms: int
) -> Iterator[Suspicion]:
    asked: list[list[tuple[str | int, ...]]] = []
    for run, pools in runs:
        commands: list[tuple[str | int, ...]] = [("ZSCORE", keys.runs, run.run_id)]
        if run.status.is_active:
            claim = f"{run.workflow_slug}{UNIT}{run.partition_key or ''}"
            commands.append(("HGET", keys.claims, claim))
            slots = [keys.active, f"{keys.active}:workflow:{run.workflow_slug}"]
            slots += [f"{keys.active}:pool:{pool}" for pool in pools]
            commands += [("SISMEMBER", slot, run.run_id) for slot in slots]
            if run.status is RunStatus.ENQUEUED:
                commands.append(("ZSCORE", f"{keys.prefix}:unstarted", run.run_id))
        else:
            commands.append(("ZSCORE", keys.ended if run.status.is_over else keys.queued, run.run_id))
        asked.append(commands)
    answers = iter(scan.read_each([command for commands in asked for command in commands]))
    for (run, _), commands in zip(runs, asked, strict=True):
        listed, *rest = (next(answers) for _ in commands)
        if listed is None:
            yield _without_entry(keys, run, "runs")
        if run.status.is_active:
            if rest[0] != run.run_id:
                yield _without_claim(keys, run, told, now_ms)
            if run.status is RunStatus.ENQUEUED and rest.pop() is None:
                yield _without_entry(keys, run, "unstarted")
            if not all(rest[1:]):
                yield _without_slot(keys, run)
        elif rest[0] is None:
            yield _without_entry(keys, run, "ended" if run.status.is_over else "queued")


def _without_entry(keys: Keys, run: RunRecord, name: str) -> Suspicion:
    return Suspicion(
        Finding(
            "run-without-entry",
            f"{keys.prefix}:{name}",
            run.run_id,
            f"lacks this run, which is {run.status.value}",
            "adds it",
        ),
        "mend_runs",
        {"runId": run.run_id, "name": name},
    )


def _without_claim(keys: Keys, run: RunRecord, told: Told, now_ms: int) -> Suspicion:
    lost = RunFailed(
        run_id=run.run_id,
        workflow_slug=run.workflow_slug,
        partition_key=run.partition_key,
        trigger=json.loads(json.dumps(run.trigger)),
        at_ms=now_ms,
        error=_SECOND,
        lost=True,
    )
    return Suspicion(
        Finding(
            "run-without-claim",
            keys.run(run.run_id),
            run.run_id,
            f"is {run.status.value}, but has no claim of {partition_name(run.workflow_slug, run.partition_key)}",
            "gives it the claim; if another active run holds that, ends this one as lost",
        ),
        "mend_runs",
        {"runId": run.run_id, "nowMs": now_ms, "token": uuid.uuid4().hex, "error": _SECOND, **told(lost)},
    )


def _without_slot(keys: Keys, run: RunRecord) -> Suspicion:
    return Suspicion(
        Finding(
            "run-without-slot",
            keys.run(run.run_id),
            run.run_id,
            f"is {run.status.value}, but does not count in each of the active sets of its workflow and pools",
            "counts it in each",
        ),
        "mend_runs",
        {"runId": run.run_id},
    )


def _slots(keys: Keys, scan: CatalogScan, name: str) -> Iterator[Suspicion]:
    _, _, of = name.partition(":")
    kind, _, value = of.partition(":")
    for piece in pieces(scan.members(f"{keys.prefix}:{name}")):
        rows = scan.read_each([("HMGET", keys.run(run_id), "status", "workflow", "pools") for run_id in piece])
        for run_id, (status, workflow, pools) in zip(piece, rows, strict=True):
            counts = kind == "" or (value == workflow if kind == "workflow" else f'"{value}"' in (pools or ""))
            if status not in ("enqueued", "running") or not counts:
                yield Suspicion(
                    Finding(
                        "slot-without-run",
                        f"{keys.prefix}:{name}",
                        run_id,
                        f"counts this run as active, which is {_status_text(status)}"
                        + ("" if counts else " and belongs elsewhere"),
                        "gives its slot free",
                    ),
                    "mend_runs",
                    {"runId": run_id, "name": name},
                )


_BELONGS: Final[Mapping[str, tuple[str, ...]]] = {
    "queued": ("queued",),
    "unstarted": ("enqueued",),
    "leases": ("running",),
    "ended": ("succeeded", "failed", "canceled", "lost"),
}


def _entries(keys: Keys, scan: CatalogScan, name: str) -> Iterator[Suspicion]:
    for piece in pieces(scan.scores(f"{keys.prefix}:{name}")):
        found = scan.read_each([("HGET", keys.run(run_id), "status") for run_id, _ in piece])
        for (run_id, _), status in zip(piece, found, strict=True):
            if status is None or (name in _BELONGS and status not in _BELONGS[name]):
                yield Suspicion(
                    Finding(
                        "entry-without-run",
                        f"{keys.prefix}:{name}",
                        run_id,
                        f"lists this run, which is {_status_text(status)}",
                        "takes it out",
                    ),
                    "mend_runs",
                    {"runId": run_id, "name": name},
                )


def _status_text(status: str | None) -> str:
    return "not known" if status is None else status

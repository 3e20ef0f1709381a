"""Where each cause of a planned run comes from: an event that was given, another planned run, or before the plan."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from actors.planning.rehearsed_runs import PlannedRun

__all__ = ["GivenEvent", "SourcedCause", "makers", "sourced"]

Version = tuple[str, int]
"""An asset and one of its versions: they count up over all its partitions, so they name one production."""

CauseKind = Literal["upstream", "expiry", "missing", "manual"]


@dataclass(frozen=True, slots=True)
class GivenEvent:
    """An event of the plan, and the version that it made or ended."""

    kind: Literal["produced", "expired"]
    asset_id: str
    partition_key: str | None
    version: int


@dataclass(frozen=True, slots=True)
class SourcedCause:
    """`upstream`: a newer version of an upstream; `expiry`: the asset's own; `missing`: it has never been made;
    `manual`: the run was asked for by hand before the plan.

    `by_run` is the number of the planned run that made the version; `is_given` that an event of the plan did; with
    neither it was there before (or, of an expiry, time alone brings it). `rule` is the rule of an expiry.
    """

    kind: CauseKind
    asset_id: str | None = None
    partition_key: str | None = None
    version: int | None = None
    rule: str | None = None
    by_run: int | None = None
    is_given: bool = False


def makers(planned: Iterable[PlannedRun]) -> dict[Version, int]:
    """Of each version that planned runs make: the number of the run."""
    return {(made.asset_id, made.version): run.number for run in planned for made in run.made}


def sourced(run: PlannedRun, by_run: Mapping[Version, int], given: Sequence[GivenEvent]) -> tuple[SourcedCause, ...]:
    """The causes that the trigger of a planned run names; `by_run` are the `makers` of the plan."""
    trigger = run.trigger
    asset_id, key = _text(trigger.get("assetId")), _text(trigger.get("partitionKey"))
    causes: list[SourcedCause] = []
    expiry = trigger.get("expiry")
    if isinstance(expiry, Mapping):
        rule = _text(expiry.get("reason"))
        is_given = rule == "manual" and any(
            (g.kind, g.asset_id, g.partition_key) == ("expired", asset_id, key) for g in given
        )
        causes.append(SourcedCause("expiry", asset_id, key, rule=rule, is_given=is_given))
    elif trigger.get("reason") == "missing":
        causes.append(SourcedCause("missing", asset_id, key))
    by_event = {(g.asset_id, g.version) for g in given if g.kind == "produced"}
    upstream = trigger.get("upstream")
    for cause in upstream if isinstance(upstream, list) else []:
        if isinstance(cause, Mapping):
            made_id, version = _text(cause.get("assetId")), cause.get("version")
            number = version if isinstance(version, int) else None
            causes.append(
                SourcedCause(
                    "upstream",
                    made_id,
                    _text(cause.get("partitionKey")),
                    number,
                    by_run=by_run.get((made_id or "", number or 0)),
                    is_given=(made_id, number) in by_event,
                )
            )
    return tuple(causes) or (SourcedCause("manual"),)


def _text(value: object) -> str | None:
    return value if isinstance(value, str) else None

"""Plays the stream of events again, in order, and says at each one what must not be.

Every change of the catalog appends its event in the same atomic step, so the stream's order is that of the changes: no
clocks are compared. Nothing here shares code with what decides; what is stale is said again in the plainest way.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Literal

from tests.crash.graph import SOURCES, WORKFLOWS, Asset, Workflow

__all__ = ["Broken", "Made", "Replay", "Tale"]

_ENDS: Final = ("workflow.run.succeeded", "workflow.run.failed", "workflow.run.canceled")


@dataclass(frozen=True, slots=True)
class Broken:
    """`lost`: something that was produced is not reflected. `duplicate`: something was done twice, or for nothing.
    `inconsistent`: the catalog contradicts itself."""

    kind: Literal["lost", "duplicate", "inconsistent"]
    text: str


@dataclass(frozen=True, slots=True)
class Made:
    """The latest materialization of a partition."""

    version: int
    changed_version: int
    inputs: Mapping[str, int]


@dataclass(slots=True)
class Tale:
    """What the stream tells of one run. `number` counts runs in the order of their claims."""

    run_id: str
    slug: str
    partition_key: str | None
    number: int
    inputs: Mapping[str, int] | None = None
    made: set[str] = field(default_factory=set)
    ended: str | None = None
    is_lost: bool = False

    @property
    def unmade(self) -> set[str]:
        return {asset.asset_id for asset in _WORKFLOWS[self.slug].assets} - self.made


_WORKFLOWS: Final[Mapping[str, Workflow]] = {each.slug: each for each in WORKFLOWS}
_KEYS: Final[Mapping[str, Sequence[str | None]]] = {
    **{source.asset_id: source.keys for source in SOURCES},
    **{asset.asset_id: asset.keys for each in WORKFLOWS for asset in each.assets},
}


class Replay:
    """What is known after the events so far. `broken` are the violations found on the way."""

    def __init__(self) -> None:
        self.broken: list[Broken] = []
        self.entries = 0
        self.made_by_runs = 0
        self.made: dict[tuple[str, str | None], Made] = {}
        self.versions: Counter[str] = Counter()
        """The highest version of each asset; they are told in order, so it is their number too."""
        self.runs: dict[str, Tale] = {}
        self.told: dict[str, tuple[str, str | None, int]] = {}
        """Of each dedupe key: what it was recorded as."""
        self._active: dict[tuple[str, str | None], str] = {}

    def play(self, fields: Mapping[str, str]) -> None:
        self.entries += 1
        data = json.loads(fields["data"])
        match fields["type"]:
            case "asset.produced":
                self._produced(data, fields)
            case "workflow.run.enqueued":
                self._enqueued(data)
            case "workflow.run.started":
                self._started(data, json.loads(fields["inputs"]))
            case kind if kind in _ENDS:
                self._ended(data, kind)

    def active(self) -> dict[tuple[str, str | None], str]:
        return dict(self._active)

    def stale(self) -> list[str]:
        """Every partition that is not made from the latest of all its upstreams."""
        return [
            why
            for workflow in WORKFLOWS
            for asset in workflow.assets
            for key in asset.keys
            if (why := self.why_stale(asset, key)) is not None
        ]

    def why_stale(self, asset: Asset, key: str | None) -> str | None:
        made = self.made.get((asset.asset_id, key))
        if made is None:
            return f"{_name(asset.asset_id, key)} was never made"
        for upstream in asset.upstreams:
            for upstream_key in _concerned(asset, key, upstream):
                latest = self.made.get((upstream, upstream_key))
                if latest is not None and latest.changed_version > made.inputs.get(upstream, 0):
                    return (
                        f"{_name(asset.asset_id, key)} was made from {upstream} up to version "
                        f"{made.inputs.get(upstream, 0)}, but {_name(upstream, upstream_key)} changed in version "
                        f"{latest.changed_version}"
                    )
        return None

    def _produced(self, data: Mapping[str, Any], fields: Mapping[str, str]) -> None:
        asset_id, key = data["assetId"], data.get("partitionKey")
        version, inputs = int(fields["version"]), json.loads(fields["inputs"])
        if version != self.versions[asset_id] + 1:
            self._breaks("inconsistent", f"{asset_id} has version {version} after version {self.versions[asset_id]}")
        self.versions[asset_id] = version
        self.made[asset_id, key] = Made(version, int(fields["changedVersion"]), inputs)
        if "runId" in data:
            self._produced_by_run(data["runId"], asset_id, inputs)
            return
        dedupe_key = data["payload"]["key"]
        if dedupe_key in self.told:
            self._breaks("duplicate", f"the production with the dedupe key {dedupe_key} was recorded twice")
        self.told[dedupe_key] = (asset_id, key, version)

    def _produced_by_run(self, run_id: str, asset_id: str, inputs: Mapping[str, int]) -> None:
        self.made_by_runs += 1
        run = self.runs.get(run_id)
        if run is None or run.inputs is None or run.ended is not None:
            self._breaks("inconsistent", f"{asset_id} was made by run {run_id}, which did not run then")
            return
        if asset_id in run.made:
            self._breaks("duplicate", f"{asset_id} was recorded twice by run {run_id}")
        run.made.add(asset_id)
        if any(run.inputs.get(upstream) != version for upstream, version in inputs.items()):
            self._breaks("inconsistent", f"{asset_id} says that it was made from {inputs}, its run read {run.inputs}")

    def _enqueued(self, data: Mapping[str, Any]) -> None:
        run = Tale(data["runId"], data["workflowSlug"], data.get("partitionKey"), len(self.runs) + 1)
        run_key = (run.slug, run.partition_key)
        if run.run_id in self.runs:
            self._breaks("duplicate", f"run {run.run_id} was claimed twice")
        if run_key in self._active:
            self._breaks("duplicate", f"{_name(*run_key)} has two active runs: {self._active[run_key]}, {run.run_id}")
        if not any(self.why_stale(asset, run.partition_key) for asset in _WORKFLOWS[run.slug].assets):
            self._breaks("duplicate", f"run {run.run_id} of {_name(*run_key)} was claimed, but nothing was stale")
        self._active[run_key] = run.run_id
        self.runs[run.run_id] = run

    def _started(self, data: Mapping[str, Any], inputs: Mapping[str, int]) -> None:
        run = self.runs.get(data["runId"])
        if run is None or run.ended is not None:
            self._breaks("inconsistent", f"run {data['runId']} was started, but was not claimed")
            return
        if run.inputs is not None:
            self._breaks("duplicate", f"run {run.run_id} was started twice")
        run.inputs = inputs
        now = {upstream: self.versions[upstream] for upstream in inputs}
        if now != inputs:
            self._breaks("inconsistent", f"run {run.run_id} captured {inputs} when the versions were {now}")

    def _ended(self, data: Mapping[str, Any], kind: str) -> None:
        run = self.runs.get(data["runId"])
        if run is None or run.ended is not None:
            self._breaks("duplicate", f"run {data['runId']} ended ({kind}), but was not active")
            return
        run.ended = kind.rpartition(".")[2]
        run.is_lost = bool(data.get("lost"))
        if run.ended == "succeeded" and run.unmade:
            self._breaks("lost", f"run {run.run_id} of {run.slug} succeeded without making {sorted(run.unmade)}")
        self._active.pop((run.slug, run.partition_key), None)

    def _breaks(self, kind: Literal["lost", "duplicate", "inconsistent"], text: str) -> None:
        self.broken.append(Broken(kind, f"entry {self.entries}: {text}"))


def _concerned(asset: Asset, key: str | None, upstream: str) -> Sequence[str | None]:
    """The upstream's partitions that a partition is made from: the same one where both have partitions, else all."""
    keys = _KEYS[upstream]
    return (key,) if keys != (None,) and asset.keys != (None,) else keys


def _name(name: str, key: str | None) -> str:
    return name if key is None else f"{name}@{key}"

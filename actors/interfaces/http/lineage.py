"""What becomes of an OpenLineage event: it is merged with what was told of its run before, and a run that is complete
has produced its outputs, by the script that every event takes."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Final

import structlog

from actors.catalog.events import EventInvalid
from actors.catalog.lineage_runs import LineageFull, LineageRuns, MergedRun, OutputSeen, RunState
from actors.catalog.store import Json, JsonObject, NewMaterialization, RunFenced, Store
from actors.core.graph import Graph
from actors.core.partitions import PartitionKeyError
from actors.interfaces.graph_view import graph_of
from actors.interfaces.http.routes_assets import check_partition
from actors.interfaces.openlineage import EventType, RunTold
from actors.interfaces.openlineage_datasets import DatasetNames, NotTaken, target_of
from actors.settings import Settings

__all__ = ["LineageTaker"]

_STATES: Final[dict[EventType, RunState]] = {"COMPLETE": "complete", "FAIL": "dropped", "ABORT": "dropped"}

_log = structlog.stdlib.get_logger("headwater")


@dataclass(frozen=True, slots=True)
class LineageTaker:
    """Takes the events of one catalog."""

    runs: LineageRuns
    store: Store
    settings: Settings

    def take(self, told: RunTold) -> JsonObject:
        """`{runId, state, produced: [...], ignored: [{namespace, name, reason}]}`; the last two of a complete run only.

        Raises:
            EventInvalid: the run has too many outputs.
        """
        bounds = self.settings.openlineage
        try:
            merged = self.runs.merge(
                told.run_id,
                _STATES.get(told.type, "open"),
                told.at_ms,
                [OutputSeen(each.namespace, each.name, each.version) for each in told.outputs if not each.is_dropped],
                told.window,
                keep_days=bounds.keep_runs_days,
                max_runs=bounds.max_runs,
            )
        except LineageFull as error:
            raise EventInvalid(str(error), "$.outputs") from None
        if merged.forgotten:
            _log.warning(
                "lineage.forgotten",
                runs=merged.forgotten,
                text=f"{merged.forgotten} runs of others were forgotten: only {bounds.max_runs} are remembered "
                "([openlineage] max_runs)",
            )
        produced: list[Json] = []
        ignored: list[Json] = []
        making = self._making(told, merged)
        for output in merged.outputs:
            made = making.produce(output)
            if isinstance(made, NotTaken):
                ignored.append({"namespace": output.namespace, "name": output.name, "reason": made.reason})
            else:
                produced += made
        if ignored:
            _log.info(
                "lineage.ignored",
                run_id=told.run_id,
                datasets=ignored[:10],
                text=f"{len(ignored)} outputs of {told.job_namespace}/{told.job_name} stand for no asset here",
            )
        return {"runId": told.run_id, "state": merged.state, "produced": produced, "ignored": ignored}

    def _making(self, told: RunTold, merged: MergedRun) -> _Making:
        named = self.settings.outgoing.openlineage.datasets
        names = {(each.namespace, each.name): asset_id for asset_id, each in named.items()}
        # All definitions are read for it, and most events make nothing.
        graph = graph_of(self.store.workflows())[0] if merged.outputs else Graph()
        return _Making(self.store, graph, DatasetNames(names, self.settings.openlineage), told, merged)


@dataclass(frozen=True, slots=True)
class _Making:
    """What a complete run has made."""

    store: Store
    graph: Graph
    names: DatasetNames
    told: RunTold
    merged: MergedRun

    def produce(self, output: OutputSeen) -> list[JsonObject] | NotTaken:
        target = target_of(self.names, self.graph, output.namespace, output.name, self.merged.window)
        if isinstance(target, NotTaken):
            return target
        try:
            for key in target.keys:
                check_partition(self.graph, target.asset_id, key)
            return [self._record(output, target.asset_id, key) for key in target.keys]
        except (PartitionKeyError, RunFenced) as error:
            return NotTaken(str(error))

    def _record(self, output: OutputSeen, asset_id: str, key: str | None) -> JsonObject:
        told, completed_at_ms = self.told, self.merged.completed_at_ms
        node = self.graph.node(asset_id)
        recorded = self.store.record(
            NewMaterialization(
                asset_id=asset_id,
                partition_key=key,
                produced_at_ms=told.at_ms if completed_at_ms is None else completed_at_ms,
                upstreams=node.spec.upstreams if node is not None and node.spec is not None else (),
                run_id=told.run_id,
                data_version=output.version or None,
                payload={
                    "openlineage": {
                        "job": {"namespace": told.job_namespace, "name": told.job_name},
                        "dataset": {"namespace": output.namespace, "name": output.name},
                    }
                },
                # As JSON, because any letter may stand in each.
                dedupe_key=f"openlineage:{json.dumps([told.run_id, output.namespace, output.name, key])}",
            )
        )
        return {
            "namespace": output.namespace,
            "name": output.name,
            "assetId": asset_id,
            "partitionKey": key,
            "version": recorded.version,
            "changed": recorded.changed,
            "duplicate": recorded.duplicate,
        }

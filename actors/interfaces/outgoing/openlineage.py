"""OpenLineage 2-0-2: what is told of a run when it starts and when it ends. Pure.

A workflow is a job and an asset is a dataset, in the namespace of the settings unless those say otherwise. Versions are
those of the catalog, which counts them for each asset: version 12 of an input is "everything of it up to version 12".
What is known of a run is spread over its events, as OpenLineage has it: who wants all of it puts them together.

Sources: the specification and its facets at https://openlineage.io/spec/.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from types import MappingProxyType
from typing import Final
from uuid import NAMESPACE_URL, UUID, uuid5

from actors.catalog.events import RunCanceled, RunFailed, RunStarted, RunSucceeded
from actors.catalog.outgoing_feed import OutgoingEvent
from actors.catalog.store import Json, JsonObject, Produced, RunRecord
from actors.catalog.timestamps import format_iso, parse_iso_ms
from actors.interfaces.openlineage_names import HEADWATER_PRODUCER, RUN_FACET, RUN_FACET_SCHEMA
from actors.outgoing_settings import DatasetName

__all__ = ["MAX_CAUSES", "OpenLineageForm", "run_uuid"]

MAX_CAUSES: Final = 100
"""Of how many upstream partitions an event says that they caused the run: the newest."""

_SPEC: Final = "https://openlineage.io/spec"
_RUN_EVENT: Final = f"{_SPEC}/2-0-2/OpenLineage.json#/$defs/RunEvent"
_PARTITIONS_FACET: Final = "headwater_partitions"
_PARTITIONS_SCHEMA: Final = "urn:headwater:openlineage:headwater_partitions:1"

_RunEvent = RunStarted | RunSucceeded | RunFailed | RunCanceled


def run_uuid(run_id: str) -> str:
    """The UUID that a run has in OpenLineage: the one in its id, or one that follows from the id."""
    try:
        return str(UUID(hex=run_id.removeprefix("run-")))
    except ValueError:
        return str(uuid5(NAMESPACE_URL, f"{HEADWATER_PRODUCER}:{run_id}"))


class OpenLineageForm:
    """How events are told as OpenLineage, one in a request, as Marquez and others take them.

    Args:
        namespace: of jobs, and of assets that `datasets` has no other name for.
    """

    name: Final = "openlineage"
    with_runs: Final = True
    most: Final = 1
    content_type: Final = "application/json"

    def __init__(self, namespace: str, datasets: Mapping[str, DatasetName] = MappingProxyType({})) -> None:
        self._namespace = namespace
        self._datasets = datasets

    def message(self, told: OutgoingEvent) -> JsonObject | None:
        """The event for the receiver; None for what is not told of."""
        match told.event:
            case RunStarted() as event:
                return self._run_event("START", event, told.run, inputs=event.inputs)
            case RunSucceeded() as event:
                return self._ended("COMPLETE", event, told.run)
            case RunFailed() as event:
                reason = event.error or ("nobody worked on it any more" if event.lost else "the run failed")
                return self._ended("FAIL", event, told.run, error=reason)
            case RunCanceled() as event:
                return self._ended("ABORT", event, told.run)
            case _:
                return None

    def body(self, messages: list[JsonObject]) -> Json:
        """What is sent of as many messages as `most` allows."""
        (message,) = messages
        return message

    def _ended(self, kind: str, event: _RunEvent, run: RunRecord | None, *, error: str | None = None) -> JsonObject:
        inputs = run.inputs if run is not None else {}
        return self._run_event(kind, event, run, inputs=inputs, produced=run.produced if run else (), error=error)

    def _run_event(
        self,
        kind: str,
        event: _RunEvent,
        run: RunRecord | None,
        *,
        inputs: Mapping[str, int],
        produced: Iterable[Produced] = (),
        error: str | None = None,
    ) -> JsonObject:
        facets: dict[str, Json] = {RUN_FACET: _facet(RUN_FACET_SCHEMA, **_about(event))}
        if (nominal := _nominal_time(run)) is not None:
            facets["nominalTime"] = nominal
        if error is not None:
            schema = _schema("1-0-1", "ErrorMessageRunFacet")
            # Required; what a job in another language says is passed on by Headwater.
            facets["errorMessage"] = _facet(schema, message=error, programmingLanguage="PYTHON")
        job_type = _facet(
            _schema("2-0-4", "JobTypeJobFacet"), processingType="BATCH", integration="HEADWATER", jobType="WORKFLOW"
        )
        return {
            "eventTime": format_iso(event.at_ms),
            "eventType": kind,
            "producer": HEADWATER_PRODUCER,
            "schemaURL": _RUN_EVENT,
            "run": {"runId": run_uuid(event.run_id), "facets": facets},
            "job": {"namespace": self._namespace, "name": event.workflow_slug, "facets": {"jobType": job_type}},
            "inputs": [self._dataset(asset_id, version) for asset_id, version in sorted(inputs.items())],
            "outputs": self._outputs(produced),
        }

    def _outputs(self, produced: Iterable[Produced]) -> list[Json]:
        by_asset: dict[str, list[Produced]] = {}
        for each in produced:
            by_asset.setdefault(each.asset_id, []).append(each)
        return [
            self._dataset(asset_id, max(each.version for each in made), made)
            for asset_id, made in sorted(by_asset.items())
        ]

    def _dataset(self, asset_id: str, version: int, made: Iterable[Produced] = ()) -> JsonObject:
        facets: dict[str, Json] = {}
        if version:
            # Version 0 says that there was none yet.
            schema = _schema("1-0-1", "DatasetVersionDatasetFacet")
            facets["version"] = _facet(schema, datasetVersion=str(version))
        partitions: list[Json] = [
            {"partitionKey": each.partition_key, "version": each.version}
            for each in made
            if each.partition_key is not None
        ]
        if partitions:
            facets[_PARTITIONS_FACET] = _facet(_PARTITIONS_SCHEMA, partitions=partitions)
        named = self._datasets.get(asset_id)
        namespace, name = (self._namespace, asset_id) if named is None else (named.namespace, named.name)
        return {"namespace": namespace, "name": name, "facets": facets}


def _about(event: _RunEvent) -> dict[str, Json]:
    trigger = event.trigger
    upstream = trigger.get("upstream")
    causes: list[Json] = list(upstream[-MAX_CAUSES:]) if isinstance(upstream, list) else []
    known: dict[str, Json] = {
        "type": trigger.get("type"),
        "reason": trigger.get("reason"),
        "assetId": trigger.get("assetId"),
        "attempt": trigger.get("attempt"),
    }
    told: dict[str, Json] = {name: value for name, value in known.items() if value is not None}
    about: dict[str, Json] = {
        "runId": event.run_id,
        "workflowSlug": event.workflow_slug,
        "partitionKey": event.partition_key,
        "trigger": {**told, "causes": causes},
    }
    if isinstance(event, RunFailed):
        about["lost"] = event.lost
    return about


def _nominal_time(run: RunRecord | None) -> JsonObject | None:
    """The time window that the run is about, as its parameters say it (see `core.partitions.derived_parameters`)."""
    if run is None or run.partition_key is None:
        return None
    times: list[str] = []
    for name in ("windowStart", "windowEnd"):
        value = run.parameters.get(name)
        try:
            times.append(format_iso(parse_iso_ms(value)) if isinstance(value, str) else "")
        except ValueError:
            return None  # a parameter of the user's own
    if not all(times):
        return None
    return _facet(_schema("1-0-1", "NominalTimeRunFacet"), nominalStartTime=times[0], nominalEndTime=times[1])


def _facet(schema_url: str, **fields: Json) -> JsonObject:
    return {"_producer": HEADWATER_PRODUCER, "_schemaURL": schema_url, **fields}


def _schema(version: str, name: str) -> str:
    return f"{_SPEC}/facets/{version}/{name}.json#/$defs/{name}"

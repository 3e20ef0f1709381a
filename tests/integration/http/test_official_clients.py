"""The clients that others use, as they are published, drive a cascade in a real service."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest
from cloudevents.core.bindings.http import to_binary_event, to_structured_event
from cloudevents.core.v1.event import CloudEvent
from openlineage.client import OpenLineageClient
from openlineage.client.event_v2 import DatasetEvent, Job, OutputDataset, Run, RunEvent, RunState, StaticDataset
from openlineage.client.generated.dataset_version_dataset import DatasetVersionDatasetFacet
from openlineage.client.generated.nominal_time_run import NominalTimeRunFacet
from openlineage.client.uuid import generate_new_uuid

from tests.integration.http.conftest import API, OPERATOR
from tests.integration.http.test_service import Caller, caller, shared_caller
from tests.integration.service.driver import DEADLINE_SECONDS
from tests.integration.service.workflows import produce, workflow

__all__ = ["caller", "shared_caller"]

pytestmark = pytest.mark.integration

DAILY = {"type": "timeWindow", "granularity": "day"}
BATCHED = "application/cloudevents-batch+json"


@pytest.mark.parametrize(("transport", "compression"), [("http", "gzip"), ("async_http", None)])
def test_openlineage(caller: Caller, transport: str, compression: str | None) -> None:
    caller.put(
        workflow(f"{transport}-clean", produce(f"{transport}.clean", partitioning=DAILY), consumes=[
            {"assetId": f"public.{transport}", "partitioning": DAILY}
        ]),
        workflow(f"{transport}-report", produce(f"{transport}.report", partitioning=DAILY), consumes=[
            f"{transport}.clean"
        ]),
    )  # fmt: skip
    client = OpenLineageClient(
        config={
            "transport": {
                "type": transport,
                "url": str(caller.http.base_url),
                "auth": {"type": "api_key", "apiKey": OPERATOR},
                "compression": compression,
            }
        }
    )
    night = NominalTimeRunFacet("2026-11-22T00:00:00Z", "2026-11-23T00:00:00Z")
    run = Run(str(generate_new_uuid()), {"nominalTime": night})
    job = Job("elsewhere", f"{transport}.load")
    version = DatasetVersionDatasetFacet("8f2c")
    table = OutputDataset("postgres://warehouse:5432", f"public.{transport}", facets={"version": version})
    client.emit(DatasetEvent(eventTime=_now(), dataset=StaticDataset(table.namespace, table.name)))
    client.emit(RunEvent(eventTime=_now(), run=run, job=job, eventType=RunState.START, outputs=[table]))
    client.emit(RunEvent(eventTime=_now(), run=Run(run.runId), job=job, eventType=RunState.COMPLETE))
    assert client.close(DEADLINE_SECONDS)
    (ended,) = caller.wait_runs(f"{transport}-report", "succeeded")
    assert (ended["partitionKey"], ended["trigger"]["assetId"]) == ("2026-11-22", f"{transport}.report")
    (entry,) = caller.get(f"/assets/public.{transport}/history")
    assert (entry["version"], entry["dataVersion"], entry["runId"]) == (1, "8f2c", run.runId)


@pytest.mark.parametrize("mode", ["structured", "binary", "batched"])
def test_cloudevents(caller: Caller, mode: str) -> None:
    caller.put(
        workflow(f"{mode}-clean", produce(f"{mode}.clean"), consumes=[f"{mode}.raw"]),
        workflow(f"{mode}-report", produce(f"{mode}.report"), consumes=[f"{mode}.clean"]),
    )
    attributes: dict[str, Any] = {"type": "asset.produced", "source": "/läden/1", "time": datetime.now(UTC)}
    event = CloudEvent({**attributes, "datacontenttype": "application/json"}, {"assetId": f"{mode}.raw"})
    if mode == "batched":
        # The SDK writes no batches; they are lists of what it writes.
        other = CloudEvent(attributes, {"assetId": f"{mode}.other"})
        body = b"[" + b",".join(to_structured_event(each).body for each in (event, other)) + b"]"
        headers = {"content-type": BATCHED}
    else:
        message = (to_binary_event if mode == "binary" else to_structured_event)(event)
        body, headers = message.body, message.headers
    for _ in range(2):
        answer = caller.http.post(f"{API}/events", content=body, headers=headers)
        assert answer.status_code == 200, answer.text
    caller.wait_runs(f"{mode}-report", "succeeded")
    (entry,) = caller.get(f"/assets/{mode}.raw/history")
    assert entry["version"] == 1


def _now() -> str:
    return datetime.now(UTC).isoformat()

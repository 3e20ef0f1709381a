"""The real service tells receivers what happens: all of it, in order, over faults of the receiver and a restart."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from actors.catalog.store import RunStatus
from tests.integration.outgoing.receiver import Answer, Receiver, receiving
from tests.integration.service.driver import Service, eventually
from tests.integration.service.workflows import produce, workflow

TOKEN = "secret-token-0123456789"
KEY = "secret-key-0123456789"
SOURCE = "urn:headwater:test"
WINDOWS = {"type": "timeWindow", "granularity": "day"}


@pytest.fixture
def lineage() -> Iterator[Receiver]:
    with receiving() as receiver:
        yield receiver


@pytest.fixture
def broker() -> Iterator[Receiver]:
    with receiving() as receiver:
        yield receiver


def wait_told(service: Service, lineage: Receiver, broker: Receiver) -> None:
    """Until both have what the stream holds."""
    service.wait_idle()
    # The first is older than the service, and so than its receivers.
    events = service.events()[1:]
    runs = [e for e in events if e.type.startswith("workflow.run.") and not e.type.endswith(("requested", "enqueued"))]
    sent = [e for e in events if e.type.startswith("workflow.run.") or (e.type == "asset.produced" and e.run_id)]
    eventually(lambda: len(lineage.taken) >= len(runs), "every run is told")
    eventually(lambda: sum(map(len, broker.taken)) >= len(sent), "every event is told")


def test_runs_and_assets_are_told_over_faults_and_a_restart(
    service: Service, lineage: Receiver, broker: Receiver
) -> None:
    lineage.answers += [Answer(503), Answer(429)]
    broker.answers += [Answer(500)]
    service.configure(
        outgoing={
            "openlineage": {"url": f"{lineage.url}/api/v1/lineage", "token": TOKEN, "gzip": True},
            "cloudevents": {"url": f"{broker.url}/?key={KEY}", "source": SOURCE, "batch": 10},
        }
    )
    service.put(workflow("daily", produce("daily", None, partitioning=WINDOWS)))
    service.put(workflow("report", consumes=["raw"]))
    service.catalog.client.xtrim(service.keys.events, maxlen=0, approximate=False)
    service.trigger("daily", "2026-11-23")
    service.start()
    (daily,) = service.wait_runs("daily", RunStatus.SUCCEEDED)
    wait_told(service, lineage, broker)

    assert service.terminate() == 0
    # Told while no service runs, and made by the next one.
    service.emit("raw")
    service.start()
    (report,) = service.wait_runs("report", RunStatus.SUCCEEDED)
    wait_told(service, lineage, broker)

    told = [(each["job"]["name"], each["eventType"]) for each in lineage.taken]
    assert told == [(name, kind) for name in ("daily", "report") for kind in ("START", "COMPLETE")]
    assert {request.headers["Authorization"] for request in lineage.requests} == {f"Bearer {TOKEN}"}
    complete = lineage.taken[1]
    assert complete["run"]["facets"]["nominalTime"]["nominalStartTime"] == "2026-11-23T00:00:00.000Z"
    assert [each["name"] for each in complete["outputs"]] == ["daily"]
    assert [each["name"] for each in lineage.taken[2]["inputs"]] == ["raw"]
    assert lineage.taken[2]["run"]["facets"]["headwater_run"]["trigger"]["reason"] == "upstream-updated"

    sent: list[dict[str, Any]] = [each for batch in broker.taken for each in batch]
    entries: Any = service.catalog.client.xrange(service.keys.events)
    # In the order of the stream, and with the id of its entry. (Each once, because nothing crashed.)
    wanted = [
        (entry_id, fields["type"])
        for (entry_id, fields), event in zip(entries[1:], service.events()[1:], strict=True)
        if event.type.startswith("workflow.run.") or (event.type == "asset.produced" and event.run_id)
    ]
    assert [(each["id"], each["type"]) for each in sent] == wanted
    assert {each["subject"] for each in sent} == {"daily", "report", daily.run_id, report.run_id}
    assert broker.requests[0].path == f"/?key={KEY}"
    assert not any(secret in service.log for secret in (TOKEN, KEY))
    assert [line["receiver"] for line in service.logged("outgoing.unavailable")].count("openlineage") == 1

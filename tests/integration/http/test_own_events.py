"""What Headwater told others and comes back is not recorded again; what another Headwater tells is."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest
from fastapi.testclient import TestClient
from redis import Redis

from actors.catalog.outgoing_feed import OutgoingFeed
from actors.catalog.store import NewMaterialization
from actors.interfaces.http.app import make_app
from actors.interfaces.outgoing.cloudevents import CloudEventsForm
from actors.outgoing_settings import CloudEventsSettings, OutgoingSettings
from actors.setting_groups import StreamSettings
from tests.integration.http.conftest import API, OPERATOR, House, bearer

pytestmark = pytest.mark.integration

SOURCE = "urn:headwater:warehouse"


@pytest.fixture
def telling(filled: House) -> TestClient:
    """The application of a Headwater that tells others what happens."""
    outgoing = OutgoingSettings(cloudevents=CloudEventsSettings(url="http://broker.internal/", source=SOURCE))
    settings = filled.access.settings().model_copy(update={"outgoing": outgoing})
    return TestClient(make_app(replace(filled.access, settings=lambda: settings)), headers=bearer(OPERATOR))


def sent(client: Redis, prefix: str, source: str) -> list[Any]:
    """Everything in the stream, as it is told."""
    feed = OutgoingFeed(client, name="test", prefix=prefix, streams=StreamSettings())
    form = CloudEventsForm(source)
    found = [form.message(told) for told in feed.read(0).events]
    feed.close()
    return [message for message in found if message is not None]


@pytest.mark.parametrize(("source", "versions"), [(SOURCE, [1]), ("urn:headwater:elsewhere", [2, 1])])
def test_only_own_events_are_known(
    telling: TestClient, filled: House, client: Redis, prefix: str, source: str, versions: list[int]
) -> None:
    filled.store.record(NewMaterialization("orders.raw", None, 1_764_000_000_000, run_id="run-1", step_id="load"))
    told = [message for message in sent(client, prefix, source) if message["type"] == "asset.produced"]
    # So that the run does not make it known.
    for message in told:
        message["data"]["runId"] = "run-elsewhere"
    headers = {"Content-Type": "application/cloudevents-batch+json"}
    answer = telling.post(f"{API}/events", content=json.dumps(told), headers=headers)
    assert answer.status_code == 200, answer.text
    (taken,) = answer.json()
    assert (taken["duplicate"], taken["version"]) == ((True, None) if source == SOURCE else (False, 2))
    assert [each.materialization.version for each in filled.store.history("orders.raw")] == versions

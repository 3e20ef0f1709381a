"""OpenLineage events: merged by run, produced once when the run is complete."""

from __future__ import annotations

import gzip
import json
from typing import Any

import pytest
from redis import Redis

from actors.catalog.events import RunSucceeded
from actors.catalog.outgoing_feed import OutgoingEvent
from actors.catalog.store import Produced, RunRecord, RunStatus
from actors.interfaces.outgoing.openlineage import OpenLineageForm
from actors.outgoing_settings import DatasetName, OpenLineageReceiverSettings, OutgoingSettings
from actors.setting_groups import OpenLineageRule, OpenLineageSettings
from tests.integration.http.conftest import API, READER, Build, House, bearer
from tests.integration.service.workflows import produce, workflow

pytestmark = pytest.mark.integration

AT = "2026-11-23T10:00:00.000Z"
AT_MS = 1_795_428_000_000
RUN = "0197e3b0-6a4c-7c2e-9d3b-5f1f0c6c8d11"
NIGHT = {"nominalTime": {"nominalStartTime": "2026-11-22T00:00:00Z", "nominalEndTime": "2026-11-23T00:00:00Z"}}


def output(name: str = "orders.raw", **facets: Any) -> dict[str, Any]:
    return {"namespace": "postgres://warehouse", "name": name, **({"facets": facets} if facets else {})}


def event(
    type_: str | None = "COMPLETE", *outputs: dict[str, Any], run: str = RUN, facets: Any = None, **more: Any
) -> dict[str, Any]:
    return {
        "eventTime": AT,
        "producer": "https://example.org/elsewhere",
        "run": {"runId": run, **({"facets": facets} if facets is not None else {})},
        "job": {"namespace": "elsewhere", "name": "load"},
        "outputs": list(outputs),
        **({"eventType": type_} if type_ is not None else {}),
        **more,
    }


def post(house: House, told: Any, status: int = 201, **headers: str) -> Any:
    content = told if isinstance(told, bytes) else json.dumps(told).encode()
    answer = house.client.post(
        f"{API}/lineage", content=content, headers={"Content-Type": "application/json", **headers}
    )
    assert answer.status_code == status, answer.text
    assert status < 400 or answer.headers["content-type"] == "application/problem+json"
    return answer.json()


def made(house: House, asset_id: str = "orders.raw") -> list[tuple[int, str | None, str | None]]:
    return [
        (entry.materialization.version, entry.partition_key, entry.materialization.data_version)
        for entry in house.store.history(asset_id)
    ]


def with_rules(house: House, *rules: dict[str, str], **more: Any) -> None:
    """Let its settings have these; what is wired at its start stays as it is."""
    settings = house.access.settings()
    section = OpenLineageSettings(rules=[OpenLineageRule(**each) for each in rules], **more)
    object.__setattr__(house.access, "settings", lambda: settings.model_copy(update={"openlineage": section}))


def test_a_run_is_merged_and_produced_once_when_it_is_complete(filled: House) -> None:
    assert post(filled, event("START", output()))["state"] == "open"
    post(filled, event("RUNNING", output(version={"datasetVersion": "8f2c"}), output("orders.extra")))
    assert made(filled) == []
    told = post(filled, event("COMPLETE"))
    assert told["state"] == "complete"
    assert [(each["name"], each["assetId"], each["version"], each["duplicate"]) for each in told["produced"]] == [
        ("orders.extra", "orders.extra", 1, False),
        ("orders.raw", "orders.raw", 1, False),
    ]
    (entry,) = filled.store.history("orders.raw")
    assert (entry.materialization.data_version, entry.materialization.produced_at_ms) == ("8f2c", AT_MS)
    assert entry.materialization.run_id == RUN
    # Sent again, with what the other events had told, and late.
    for again in (event("COMPLETE"), event("COMPLETE", output()), event("START", output())):
        assert all(each["duplicate"] for each in post(filled, again)["produced"])
    assert made(filled) == [(1, None, "8f2c")]
    # Another run is another production.
    post(filled, event("COMPLETE", output(version={"datasetVersion": 7}), run="another"))
    assert made(filled) == [(2, None, "7"), (1, None, "8f2c")]


def test_what_is_told_after_the_end_counts_as_well(filled: House) -> None:
    assert post(filled, event("COMPLETE"))["produced"] == []
    post(filled, event("START", output()))
    assert made(filled) == [(1, None, None)]


@pytest.mark.parametrize("end", ["FAIL", "ABORT"])
def test_a_run_that_failed_has_made_nothing(filled: House, client: Redis, prefix: str, end: str) -> None:
    post(filled, event("START", output("orders.extra")))
    assert post(filled, event(end, output())) == {"runId": RUN, "state": "dropped", "produced": [], "ignored": []}
    post(filled, event("RUNNING", output("orders.extra")))
    (kept,) = client.scan_iter(f"{prefix}:lineage:*")
    assert client.hgetall(kept) == {"state": "dropped"}
    # Its next attempt completes, and tells what it made.
    post(filled, event("COMPLETE", output()))
    post(filled, event(end, output("orders.late")))
    assert filled.store.asset_ids() == ["orders.raw"]


def test_events_that_say_less_or_say_it_otherwise(filled: House) -> None:
    old = event(None, output(), run="old", _producer="x", eventTime="2026-11-23T10:00:00.123456")
    assert post(filled, {**old, "inputs": None, "schemaURL": 7})["state"] == "open"
    facets = {"nominalTime": "yesterday", "parent": [], "unheard": {"of": []}}
    told = event("complete", output(version=7), run="old", facets=facets, eventTime="2026-11-23 10:00:00+0000")
    assert post(filled, told)["state"] == "complete"
    assert made(filled) == [(1, None, None)]
    dropped = output("orders.gone", lifecycleStateChange={"lifecycleStateChange": "DROP"})
    assert post(filled, event("COMPLETE", dropped, run="drop"))["produced"] == []


def test_the_nominal_time_is_the_partition(house: House) -> None:
    for slug, kind in (("daily", "day"), ("hourly", "hour"), ("weekly", "week")):
        partitioning = {"type": "timeWindow", "granularity": kind}
        house.put(workflow(slug, produce(f"orders.{slug}", None, partitioning=partitioning)))
    post(house, event("START", facets=NIGHT))
    told = post(house, event("COMPLETE", *(output(f"orders.{slug}") for slug in ("daily", "hourly", "weekly"))))
    assert made(house, "orders.daily") == [(1, "2026-11-22", None)]
    assert made(house, "orders.weekly") == [(1, "2026-W47", None)]
    assert [key for _, key, _ in made(house, "orders.hourly")][::-1] == [f"2026-11-22T{hour:02}" for hour in range(24)]
    assert len(told["produced"]) == 26
    (ignored,) = post(house, event("COMPLETE", output("orders.daily"), run="timeless"))["ignored"]
    assert "nominalTime" in ignored["reason"]
    ages = {"nominalTime": {"nominalStartTime": "1990-01-01T00:00:00Z", "nominalEndTime": "2026-01-01T00:00:00Z"}}
    (ignored,) = post(house, event("COMPLETE", output("orders.hourly"), run="ages", facets=ages))["ignored"]
    assert "315576 partitions" in ignored["reason"]


def test_rules_say_which_dataset_is_which_asset(filled: House) -> None:
    with_rules(
        filled,
        {"namespace": "s3://*", "pattern": r"(?P<table>\w+)/store=(?P<store>\w+)/.*", "asset": "orders/{table}",
         "partition": "{store}"},
        {"name": "tmp_*", "asset": ""},
        {"namespace": "postgres://warehouse", "name": "public.*", "asset": "wh.{name}"},
        asset="{namespace}/{name}", unknown_assets="ignore",
    )  # fmt: skip
    lake = {"namespace": "s3://lake", "name": "store/store=a/part-1"}
    told = post(
        filled,
        event(
            "COMPLETE", lake, {**lake, "name": "store/store=a/part-2"}, {**lake, "name": "store/store=c/x"},
            output("tmp_1"), output("public.t"), output("a b"), output(),
        ),
    )  # fmt: skip
    # Two files of one partition are one production of it.
    assert [(each["assetId"], each["partitionKey"], each["duplicate"]) for each in told["produced"]] == [
        ("orders/store", "a", False),
        ("orders/store", "a", True),
    ]
    reasons = {each["name"]: each["reason"] for each in told["ignored"]}
    assert "leave it out" in reasons["tmp_1"]
    assert "no workflow here knows asset 'wh.public.t'" in reasons["public.t"]
    assert "holds a space" in reasons["a b"]
    assert "expected one of 'a', 'b'" in reasons["store/store=c/x"]
    assert "postgres://warehouse/orders.raw" in reasons["orders.raw"]


def test_what_others_are_told_it_is_called_it_is_called_by_others_too(filled: House) -> None:
    settings = filled.access.settings()
    datasets = {"orders.raw": DatasetName(namespace="postgres://warehouse", name="public.orders")}
    outgoing = OutgoingSettings(openlineage=OpenLineageReceiverSettings(datasets=datasets))
    changed = settings.model_copy(update={"outgoing": outgoing})
    object.__setattr__(filled.access, "settings", lambda: changed)
    post(filled, event("COMPLETE", output("public.orders")))
    assert made(filled) == [(1, None, None)]


def outward(namespace: str) -> dict[str, Any]:
    """What a Headwater of this namespace tells others of a run that made `orders.raw`."""
    ended = RunSucceeded(run_id="run-1", workflow_slug="raw", partition_key=None, at_ms=AT_MS, trigger={})
    produced = (Produced("orders.raw", None, 12),)
    run = RunRecord("run-1", "raw", None, RunStatus.SUCCEEDED, {}, {}, AT_MS, produced=produced)
    message = OpenLineageForm(namespace).message(OutgoingEvent(1, ended, run))
    assert message is not None
    return dict(message)


def test_its_own_runs_and_what_they_start_are_no_news(filled: House) -> None:
    ours, theirs = ({"run": {"runId": "x"}, "job": {"namespace": each, "name": "y"}} for each in ("headwater", "dags"))
    parents = (ours, {**theirs, "root": ours})
    started = [event("COMPLETE", output(), facets={"parent": each}) for each in parents]
    for told in (outward("headwater"), *started):
        assert post(filled, told, 200)["state"] == "acknowledged"
    assert made(filled) == []
    post(filled, event("COMPLETE", output(), facets={"parent": {**theirs, "root": 7}}))
    # What another Headwater makes, it tells as anybody does.
    post(filled, outward("another"))
    assert made(filled) == [(2, None, "12"), (1, None, None)]


def test_static_events_change_nothing(filled: House) -> None:
    job = {"eventTime": AT, "job": {"namespace": "x", "name": "y"}, "outputs": [output()]}
    for told in (job, {"eventTime": AT, "dataset": output()}):
        assert post(filled, told, 200)["state"] == "acknowledged"
    assert filled.store.asset_ids() == []


@pytest.mark.parametrize(
    ("told", "path"),
    [
        ({}, "$"),
        ([event()], "$"),
        (event(run=""), "$.run.runId"),
        (event(job=None), "$.job"),
        (event(job={"name": "x"}), "$.job.namespace"),
        (event(eventTime=None), "$.eventTime"),
        (event(eventTime="soon"), "$.eventTime"),
        (event(eventTime="2999-01-01T00:00:00Z"), "$.eventTime"),
        (event("COMPLETE", output(), {"namespace": "x"}), "$.outputs[1].name"),
        (event("COMPLETE", *(output(str(number)) for number in range(1_001))), "$.outputs"),
    ],
)
def test_what_cannot_be_read_is_a_problem_that_says_where(filled: House, told: Any, path: str) -> None:
    assert [error["path"] for error in post(filled, told, 422)["errors"]] == [path]
    assert filled.store.asset_ids() == []


@pytest.mark.parametrize("told", [b"", b"{", b"\xff", b"[" * 100_000, b'{"run": "\\ud800"}'])
def test_what_is_no_json_is_a_problem(filled: House, told: bytes) -> None:
    assert [error["path"] for error in post(filled, told, 400)["errors"]] == ["$"]


def test_bodies_may_be_compressed_within_bounds(filled: House) -> None:
    packed = gzip.compress(json.dumps(event("COMPLETE", output())).encode())
    post(filled, packed, 201, **{"Content-Encoding": "gzip"})
    assert made(filled) == [(1, None, None)]
    for broken in (packed[:-4], packed + packed, b"no gzip", b""):
        post(filled, broken, 400, **{"Content-Encoding": "gzip"})
    post(filled, gzip.compress(b" " * 5_000_000), 413, **{"Content-Encoding": "gzip"})
    post(filled, packed, 415, **{"Content-Encoding": "br"})
    post(filled, packed, 415, **{"Content-Type": "text/plain"})


def test_only_operators_may_tell(filled: House) -> None:
    post(filled, event("COMPLETE", output()), 403, **bearer(READER))
    assert made(filled) == []


def test_only_so_many_runs_are_remembered_and_those_that_ended_go_first(
    filled: House, client: Redis, prefix: str
) -> None:
    with_rules(filled, max_runs=3)
    post(filled, event("START", output(), run="1"))
    post(filled, event("COMPLETE", output("orders.extra"), run="ended"))
    for run in ("2", "3", "4"):
        post(filled, event("START", output(), run=run))
    assert len(list(client.scan_iter(f"{prefix}:lineage:*"))) == 3
    assert all(client.pttl(key) > 0 for key in client.scan_iter(f"{prefix}:lineage*"))
    # The first was forgotten, after the one that had ended; its end has nothing to tell.
    assert [post(filled, event("COMPLETE", run=run))["produced"] != [] for run in ("1", "4")] == [False, True]


def test_another_service_goes_on_with_a_run(build: Build) -> None:
    post(build(), event("START", output()))
    assert len(post(build(role="standby"), event("COMPLETE"))["produced"]) == 1

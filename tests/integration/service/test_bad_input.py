"""Bad input of each kind: it is told of, and nothing else is disturbed."""

from __future__ import annotations

import json
from typing import Any

import pytest

from actors.catalog.store import Limits, NewRun, RunStatus
from tests.integration.service.driver import Service, now_ms
from tests.integration.service.workflows import produce, workflow

GARBAGE = {
    "no data": {"hello": "world"},
    "no json": {"type": "asset.produced", "data": "{nope"},
    "no object": {"type": "asset.produced", "data": "[1]"},
    "unknown type": {"type": "asset.dreamt", "data": "{}"},
    "no asset": {"type": "asset.produced", "data": '{"producedAt": "2026-01-01T00:00:00Z"}'},
    "no time": {"type": "asset.produced", "data": '{"assetId": "a"}'},
    "bad time": {"type": "asset.produced", "data": '{"assetId": "a", "producedAt": "yesterday"}'},
    "future": {"type": "asset.produced", "data": '{"assetId": "a", "producedAt": "2999-01-01T00:00:00Z"}'},
    "bad version": {
        "type": "asset.produced",
        "data": '{"assetId": "a", "producedAt": "2026-01-01T00:00:00Z"}',
        "version": "NaN",
    },
    "newer format": {"type": "asset.resumed", "data": '{"assetId": "a", "schemaVersion": 99}'},
    "run unknown": {"type": "asset.produced", "data": '{"assetId": "a"', "x" * 200: "y" * 200_000},
}


def test_L11_what_cannot_be_read_is_put_aside_with_its_reason_and_the_others_go_on(running: Service) -> None:
    running.put(workflow("clean", consumes=["clean.raw"]))
    running.emit("clean.raw")
    entry_ids = [running.append(**fields) for fields in GARBAGE.values()]
    running.emit("clean.raw")
    running.wait_idle()
    assert running.latest("clean").materialization.inputs == {"clean.raw": 2}
    dead: Any = running.catalog.client.xrange(running.keys.dead_letters)
    by_entry = {fields["entryId"]: fields["reason"] for _, fields in dead}
    assert list(by_entry) == entry_ids
    assert all(by_entry.values())


def test_L11_news_of_runs_that_never_were_changes_nothing(running: Service) -> None:
    """Forged or very late entries: well formed, about a run that the catalog does not know."""
    running.put(workflow("forged", consumes=["forged.raw"]))
    running.wait_idle()
    at = "2026-01-01T00:00:00.000Z"
    run = {"runId": "run-never", "workflowSlug": "forged", "at": at}
    for kind in ("enqueued", "started", "succeeded", "failed", "canceled", "requested"):
        running.append(type=f"workflow.run.{kind}", data=json.dumps(run))
    running.wait_idle()
    running.emit("forged.raw")
    running.wait_runs("forged", RunStatus.SUCCEEDED)


@pytest.mark.parametrize(
    ("partitioning", "key"),
    [
        (None, "stray"),
        ({"type": "static", "keys": ["eu"]}, "nowhere"),
        ({"type": "static", "keys": ["eu"]}, None),
        ({"type": "timeWindow", "granularity": "day"}, "2026-13-45"),
        ({"type": "timeWindow", "granularity": "day"}, None),
        ({"type": "dynamic"}, None),
    ],
)
def test_L11_a_partition_key_that_does_not_fit_starts_nothing_and_blocks_nothing(
    running: Service, partitioning: dict[str, Any] | None, key: str | None
) -> None:
    name = f"key-{(partitioning or {'type': 'none'})['type'].lower()}-{'none' if key is None else 'bad'}"
    extra = {"partitioning": partitioning} if partitioning else {}
    running.put(workflow(name, produce(name, freshness={"ttlMs": 50}, **extra)))
    running.put(workflow(f"{name}-probe", consumes=[f"{name}.raw"]))
    running.wait_idle()
    data = {"assetId": name, "producedAt": "2026-01-01T00:00:00Z", **({"partitionKey": key} if key else {})}
    running.append(type="asset.produced", data=json.dumps(data))
    for _ in range(3):
        running.emit(f"{name}.raw")
        running.wait_idle()
    running.wait_runs(f"{name}-probe", RunStatus.SUCCEEDED, 1)
    assert running.runs(name) == []
    assert running.store.history(name) == []
    running.put(workflow(name, produce(name, None)))


@pytest.mark.parametrize(
    ("name", "answer"),
    [
        ("text", "done"),
        ("assets", {"assets": "all"}),
        ("entry", {"assets": ["bad.entry"]}),
        ("undeclared", {"assets": [{"assetId": "somebody.elses"}]}),
        ("stray-key", {"assets": [{"assetId": "res-stray-key", "partitionKey": "x"}]}),
        ("time", {"assets": [{"assetId": "res-time", "producedAt": "soon"}]}),
        ("policy", {"assets": [{"assetId": "res-policy", "freshness": {"ttlMs": -1}}]}),
    ],
)
def test_a_result_that_cannot_be_used_fails_the_run_with_its_reason(
    running: Service, name: str, answer: object
) -> None:
    slug = f"res-{name}"
    running.put(workflow(slug, job="answer", consumes=[f"{slug}.raw"], defaults={"answer": answer}))
    running.emit(f"{slug}.raw")
    running.wait_state(slug, "suspended")
    runs = running.runs(slug)
    assert [run.status for run in runs] == [RunStatus.FAILED] * 3
    assert runs[0].error
    assert running.store.history(slug) == []


@pytest.mark.parametrize("job", ["no-such-job", "unimportable"])
def test_a_job_that_is_unknown_or_does_not_import_fails_the_run_and_names_it(running: Service, job: str) -> None:
    running.put(workflow(f"job-{job}", job=job, consumes=[f"job-{job}.raw"]))
    running.put(workflow(f"job-{job}-other", consumes=[f"job-{job}.raw"]))
    running.emit(f"job-{job}.raw")
    running.wait_state(f"job-{job}", "suspended")
    (run, *_) = running.runs(f"job-{job}")
    assert run.error is not None
    assert ("no job 'no-such-job'" if job == "no-such-job" else "this module does not import") in run.error
    running.wait_runs(f"job-{job}-other", RunStatus.SUCCEEDED)


def test_a_run_asked_for_with_a_bad_partition_key_ends_with_its_reason(running: Service) -> None:
    """The command refuses such a key; what another program queues is refused by the run."""
    running.put(workflow("ask", produce("ask", None, partitioning={"type": "static", "keys": ["eu"]})))
    running.wait_idle()
    running.store.queue_run(
        NewRun("run-ask", "ask", "mars", {}, {"type": "manual", "reason": "test"}, now_ms(), Limits(8))
    )
    running.wait_runs("ask", RunStatus.FAILED)
    running.wait_idle()


def test_a_run_asked_for_of_a_workflow_that_is_gone_is_canceled(running: Service) -> None:
    running.store.queue_run(
        NewRun("run-gone", "never-was", None, {}, {"type": "manual", "reason": "test"}, now_ms(), Limits(8))
    )
    running.wait_runs("never-was", RunStatus.CANCELED)
    running.wait_idle()


def test_a_request_that_cannot_be_read_does_not_end_the_answering(running: Service) -> None:
    client = running.catalog.client
    for text in (
        "",
        "nope",
        "[]",
        '{"id": 1}',
        '{"id": "x", "op": "explode", "args": {}, "deadlineMs": 99999999999999}',
    ):
        client.rpush(running.keys.control(), text)
    answer: Any = running.catalog.control.ask("ping", {}, timeout_seconds=5)
    assert answer["startedAtMs"] > 0

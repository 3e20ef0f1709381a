"""Services that share the assets of one catalog: each asset is kept by one of them, and nothing else is different."""

from __future__ import annotations

import json
import socket
import subprocess
from collections import Counter
from collections.abc import Iterator, Sequence

import httpx
import pytest

from actors.catalog.events import AssetExpired
from actors.catalog.store import RunStatus
from actors.core.shards import Shard
from tests.integration.conftest import SERVER_KINDS
from tests.integration.service.conftest import closing
from tests.integration.service.driver import Call, Service, eventually, most_at_once, now_ms
from tests.integration.service.shards import Shards, slug_in
from tests.integration.service.workflows import produce, workflow

pytestmark = [
    pytest.mark.integration,
    pytest.mark.parametrize("server_kind", SERVER_KINDS[-1:], indirect=True, scope="session"),
]

LEASE_SECONDS = 1.0
LATE_SECONDS = 6.0
"""What a busy machine may add to a takeover."""
TOKEN = "operator-token-0123456789"


def unused_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port: int = server.getsockname()[1]
    return port


@pytest.fixture(scope="module")
def http_port() -> int:
    return unused_port()


@pytest.fixture(scope="module")
def started(server_url: str, http_port: int, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shards]:
    """Two shards; the second one serves the HTTP API."""
    with closing(Service(tmp_path_factory.mktemp("shards"), redis_url=server_url)) as service:
        service.configure(
            leadership={"lease_seconds": LEASE_SECONDS}, concurrency={"max_runs": 2}, runs={"lease_seconds": 2.0}
        )
        shards = Shards(service)
        try:
            shards.begin(Shard(0, 2))
            shards.begin(Shard(1, 2), more=f'[http]\nport = {http_port}\ntoken = "{TOKEN}"\n')
            shards.wait_led(2)
            yield shards
        finally:
            shards.end()


@pytest.fixture
def two(started: Shards) -> Iterator[Shards]:
    """Each test puts workflows of its own names into them; what one that failed holds is in no other's way."""
    yield started
    for hold in started.service.folder.glob("hold-*"):
        hold.unlink()
    started.service.store.unpause("all", now_ms())


def commands(service: Service, *lines: str) -> list[subprocess.CompletedProcess[str]]:
    """What these commands say, given at once."""
    begun = [
        subprocess.Popen([*service.command, *line.split()], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        for line in lines
    ]
    told = [process.communicate(timeout=60) for process in begun]
    return [
        subprocess.CompletedProcess(line, process.returncode, *texts)
        for line, process, texts in zip(lines, begun, told, strict=True)
    ]


def succeeded(service: Service, slug: str) -> int:
    return len(service.runs(slug, RunStatus.SUCCEEDED))


def test_L4_a_chain_and_a_diamond_across_shards_are_made_once_each_and_in_order(two: Shards) -> None:
    service = two.service
    first, second, third = slug_in(0, "first"), slug_in(1, "second"), slug_in(0, "third")
    top, left, right, bottom = slug_in(1, "top"), slug_in(0, "left"), slug_in(1, "right"), slug_in(0, "bottom")
    for definition in (
        workflow(first, consumes=["raw.chain"]),
        workflow(second, consumes=[first]),
        workflow(third, consumes=[second]),
        workflow(top, consumes=["raw.diamond"]),
        workflow(left, consumes=[top]),
        workflow(right, consumes=[top]),
        workflow(bottom, consumes=[left, right]),
    ):
        service.put(definition)
    for number in (1, 2):
        service.hold(left)
        service.emit("raw.chain")
        service.emit("raw.diamond")
        service.wait_runs(third, RunStatus.SUCCEEDED, number)
        service.wait_runs(right, RunStatus.SUCCEEDED, number)
        service.wait_begun(left, number)
        service.release(left)
        service.wait_runs(bottom, RunStatus.SUCCEEDED, number)
    two.wait_idle()
    counts = Counter(run.workflow_slug for run in service.store.runs(limit=1_000))
    assert counts == dict.fromkeys((first, second, third, top, left, right, bottom), 2)
    assert service.latest(bottom).materialization.inputs == {left: 2, right: 2}
    begun = [call.workflow for call in service.calls if call.what == "begun" and call.workflow in (left, right, bottom)]
    assert [slug for slug in begun if slug == bottom] == [bottom] * 2
    assert begun[2] == begun[5] == bottom


def test_L6_what_expires_in_one_shard_is_made_again_and_what_follows_in_the_other_too(two: Shards) -> None:
    service = two.service
    short, below = slug_in(1, "short"), slug_in(0, "below-short")
    service.put(workflow(short, produce(short, {}, freshness={"ttlMs": 1_000})))
    service.put(workflow(below, consumes=[short]))
    service.trigger(short)
    service.wait_runs(below, RunStatus.SUCCEEDED, 3)
    service.store.remove_workflow(short)
    two.wait_idle()
    expired = [event for event in service.events("asset.expired") if isinstance(event, AssetExpired)]
    versions = [event.version or 0 for event in expired if event.asset_id == short]
    assert versions == sorted(set(versions)), "each expiry is told once"
    assert succeeded(service, below) == succeeded(service, short)


def test_what_an_outsider_appends_or_posts_reaches_the_shard_that_follows_it(two: Shards, http_port: int) -> None:
    service = two.service
    slugs = [slug_in(index, "outside") for index in range(2)]
    for slug in slugs:
        service.put(workflow(slug, consumes=[f"raw.{slug}"]))
    produced_at = "2026-01-01T00:00:00Z"
    for slug in slugs:
        service.append(type="asset.produced", data=json.dumps({"assetId": f"raw.{slug}", "producedAt": produced_at}))
    for slug in slugs:
        service.wait_runs(slug, RunStatus.SUCCEEDED)
    with httpx.Client(
        base_url=f"http://127.0.0.1:{http_port}/api/v1", headers={"Authorization": f"Bearer {TOKEN}"}, timeout=20
    ) as http:
        for number, slug in enumerate(slugs):
            told = {"specversion": "1.0", "id": f"e{number}", "source": "/test", "type": "asset.produced"}
            told["time"] = "2026-01-02T00:00:00Z"
            answer = http.post(
                "/events",
                content=json.dumps({**told, "data": {"assetId": f"raw.{slug}"}}),
                headers={"Content-Type": "application/cloudevents+json"},
            )
            assert answer.status_code == 200, answer.text
        for slug in slugs:
            service.wait_runs(slug, RunStatus.SUCCEEDED, 2)
        two.wait_idle()
        for slug in slugs:
            assert http.get(f"/assets/{slug}/explain").json()["live"]
            (asset,) = http.get("/assets", params={"prefix": slug}).json()["items"]
            assert asset["assetId"] == slug
    assert [succeeded(service, slug) for slug in slugs] == [2, 2]


def test_commands_are_answered_whichever_shard_keeps_what_they_are_about(two: Shards) -> None:
    service = two.service
    held, free = slug_in(1, "held"), slug_in(0, "free")
    for slug in (held, free):
        service.put(workflow(slug, consumes=[f"raw.{slug}"]))
    service.hold(held)
    run_id = service.trigger(held)
    service.wait_begun(held)
    for slug in (held, free):
        service.emit(f"raw.{slug}")
    service.wait_runs(free, RunStatus.SUCCEEDED)
    told, explained, unknown = commands(service, "status --json", f"explain {held} --json", "debug nobody-makes-this")
    status = json.loads(told.stdout)
    assert [run["runId"] for run in status["active"]] == [run_id]
    assert status["overview"]["slots"]["maxRuns"] == 2
    assert json.loads(explained.stdout)["live"]
    assert unknown.returncode != 0
    assert "nobody-makes-this" in unknown.stderr
    assert service.partition(held)["state"] == "inFlight"
    assert service.partition(free)["state"] == "fresh"
    assert service.catalog.control.ask("cancel", {"runId": run_id}, timeout_seconds=20)
    service.wait_runs(held, RunStatus.CANCELED)
    service.release(held)
    two.wait_idle()


def test_L9_a_pause_holds_in_every_shard_and_drops_nothing(two: Shards) -> None:
    service = two.service
    slugs = [slug_in(index, "paused") for index in range(2)]
    for slug in slugs:
        service.put(workflow(slug, consumes=["raw.paused"]))
    service.emit("raw.paused")
    for slug in slugs:
        service.wait_runs(slug, RunStatus.SUCCEEDED)
    service.store.pause("all", None, "test", now_ms())
    service.emit("raw.paused")
    two.wait_idle()
    assert [succeeded(service, slug) for slug in slugs] == [1, 1]
    service.store.unpause("all", now_ms())
    for slug in slugs:
        service.wait_runs(slug, RunStatus.SUCCEEDED, 2)


def test_a_definition_may_move_an_asset_to_another_shard(two: Shards) -> None:
    service = two.service
    before, after, below = slug_in(0, "before"), slug_in(1, "after"), slug_in(0, "below-moved")
    service.put(workflow(before, produce("moved"), consumes=["raw.moved"]))
    service.put(workflow(below, consumes=["moved"]))
    service.emit("raw.moved")
    service.wait_runs(below, RunStatus.SUCCEEDED)
    service.store.remove_workflow(before)
    service.put(workflow(after, produce("moved"), consumes=["raw.moved"]))
    service.emit("raw.moved")
    service.wait_runs(below, RunStatus.SUCCEEDED, 2)
    two.wait_idle()
    assert [succeeded(service, slug) for slug in (before, after, below)] == [1, 1, 2]


def test_L8_limits_hold_for_all_shards_together_and_a_freed_slot_is_used_by_any(two: Shards) -> None:
    service = two.service
    slugs = [slug_in(index, f"limited{number}") for number in range(3) for index in range(2)]
    for slug in slugs:
        service.put(workflow(slug, consumes=["raw.limited"]))
        service.hold(slug)
    before = len(service.calls)
    service.emit("raw.limited")
    eventually(lambda: service.waiting() == 4, "two run, and four wait")
    begun = eventually(lambda: _two_begun(service.calls[before:]), "the jobs of both have begun")
    for slug in slugs:
        service.release(slug)
    for slug in slugs:
        service.wait_runs(slug, RunStatus.SUCCEEDED)
    two.wait_idle()
    assert most_at_once(service.calls[before:]) == 2
    assert begun <= set(slugs)
    # The end of a run is told to a shard that keeps another workflow, because that was refused.
    ends = [
        (index, json.loads(entry["data"])["workflowSlug"])
        for index in range(2)
        for entry in two.stream(index)
        if entry.get("type") == "workflow.run.succeeded"
    ]
    foreign = [slug for index, slug in ends if slug in slugs and not Shard(index, 2).owns(slug)]
    assert foreign
    assert not service.catalog.client.exists(f"{service.keys.prefix}:held-back")


def _two_begun(calls: Sequence[Call]) -> set[str] | None:
    found = {call.workflow for call in calls if call.what == "begun"}
    return found if len(found) == 2 else None


def test_a_killed_leader_of_one_shard_is_followed_by_its_standby_and_the_other_goes_on(two: Shards) -> None:
    service = two.service
    here, there = slug_in(1, "here"), slug_in(0, "there")
    service.put(workflow(here, consumes=["raw.here"]))
    service.put(workflow(there, consumes=["raw.there", here]))
    service.emit("raw.here")
    service.wait_runs(there, RunStatus.SUCCEEDED)
    (standby,) = two.begin(Shard(1, 2), name="standby")
    two.wait_living(standby)
    leader = two.leader(1)
    assert leader is not None
    service.hold(here)
    service.emit("raw.here")
    service.wait_begun(here, 2)
    two.wait_read(0)

    leader.kill()
    # Nobody leads that shard now; the other one acts.
    service.emit("raw.here")
    service.emit("raw.there")
    service.release(here)
    eventually(lambda: two.leader(1) is standby, "the standby leads", LEASE_SECONDS + LATE_SECONDS)
    service.wait_runs(here, RunStatus.SUCCEEDED, 2)
    two.wait_idle()
    assert service.latest(here).materialization.inputs == {"raw.here": 3}
    inputs = service.latest(there).materialization.inputs
    assert inputs == {"raw.there": 1, here: service.latest(here).materialization.version}

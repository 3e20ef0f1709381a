"""What the campaign must notice, played to it as a stream that nobody wrote."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.crash.graph import SOURCES, WORKFLOWS
from tests.crash.replay import Replay

UPSTREAMS = {asset.asset_id: asset.upstreams for each in WORKFLOWS for asset in each.assets}


class Stream:
    """Writes the events as the catalog does."""

    def __init__(self) -> None:
        self.replay = Replay()
        self._versions: dict[str, int] = {}
        self._runs = 0

    def tell(self, kind: str, data: dict[str, Any], **computed: Any) -> None:
        texts = {name: json.dumps(value) for name, value in computed.items()}
        self.replay.play({"type": kind, "data": json.dumps(data), **texts})

    def outside(self, asset_id: str, key: str | None = None, *, dedupe_key: str = "", version: int = 0) -> None:
        """`dedupe_key` and `version` are new ones if they are not given."""
        next_version = version or self._versions.get(asset_id, 0) + 1
        self._versions[asset_id] = next_version
        data = {"assetId": asset_id, "partitionKey": key, "payload": {"key": dedupe_key or f"{asset_id}{next_version}"}}
        self.tell("asset.produced", data, version=next_version, changedVersion=next_version, inputs={})

    def run(self, slug: str, kind: str, run_id: str, key: str | None = None, **computed: Any) -> None:
        data = {"runId": run_id, "workflowSlug": slug, "partitionKey": key}
        self.tell(f"workflow.run.{kind}", data, **computed)

    def start(self, slug: str, run_id: str, key: str | None = None) -> dict[str, int]:
        self.run(slug, "enqueued", run_id, key)
        inputs = {upstream: self._versions.get(upstream, 0) for upstream in UPSTREAMS[slug]}
        self.run(slug, "started", run_id, key, inputs=inputs)
        return inputs

    def make(self, asset_id: str, run_id: str, inputs: dict[str, int], key: str | None = None) -> None:
        version = self._versions[asset_id] = self._versions.get(asset_id, 0) + 1
        data = {"assetId": asset_id, "partitionKey": key, "runId": run_id}
        self.tell("asset.produced", data, version=version, changedVersion=version, inputs=inputs)

    def whole_run(self, slug: str, key: str | None = None) -> str:
        self._runs += 1
        run_id = f"run-{self._runs}"
        self.make(slug, run_id, self.start(slug, run_id, key), key)
        self.run(slug, "succeeded", run_id, key)
        return run_id

    def only_broken(self) -> tuple[str, str]:
        (broken,) = self.replay.broken
        return broken.kind, broken.text


@pytest.fixture
def stream() -> Stream:
    return Stream()


def test_a_graph_that_is_made_from_the_latest_of_everything_breaks_nothing(stream: Stream) -> None:
    for source in SOURCES:
        for key in source.keys:
            stream.outside(source.asset_id, key)
    for workflow in WORKFLOWS:
        for key in workflow.assets[0].keys:
            if workflow.slug != "twins":
                stream.whole_run(workflow.slug, key)
    inputs = {"a": 1, "c": 1}
    stream.run("twins", "enqueued", "run-t")
    stream.run("twins", "started", "run-t", inputs=inputs)
    for asset_id in ("twin1", "twin2"):
        stream.make(asset_id, "run-t", inputs)
    stream.run("twins", "succeeded", "run-t")
    assert stream.replay.broken == []
    assert stream.replay.stale() == []
    assert stream.replay.active() == {}


def test_what_came_after_the_run_had_started_is_not_reflected(stream: Stream) -> None:
    stream.outside("a")
    inputs = stream.start("chain1", "run-0")
    stream.outside("a")
    stream.make("chain1", "run-0", inputs)
    stale = "chain1 was made from a up to version 1, but a changed in version 2"
    assert stale in stream.replay.stale()
    stream.run("chain1", "succeeded", "run-0")
    stream.whole_run("chain1")
    assert stale not in stream.replay.stale()
    assert stream.replay.broken == []


def test_a_partition_follows_its_own_and_a_total_follows_each(stream: Stream) -> None:
    stream.outside("raw", "x")
    stream.outside("raw", "y")
    stream.whole_run("each", "x")
    stream.whole_run("sum")
    assert "each@y was never made" in stream.replay.stale()
    stream.whole_run("each", "y")
    assert "sum was made from each up to version 1, but each@y changed in version 2" in stream.replay.stale()


def test_two_active_runs_of_one_key(stream: Stream) -> None:
    stream.outside("a")
    stream.start("chain1", "run-1")
    stream.run("chain1", "enqueued", "run-2")
    assert stream.only_broken() == ("duplicate", "entry 4: chain1 has two active runs: run-1, run-2")


def test_runs_of_two_partitions_at_once_are_well(stream: Stream) -> None:
    for key in ("x", "y"):
        stream.outside("raw", key)
    for key in ("x", "y"):
        stream.start("each", f"run-{key}", key)
    assert stream.replay.broken == []


def test_a_run_for_nothing(stream: Stream) -> None:
    stream.outside("a")
    stream.whole_run("chain1")
    stream.run("chain1", "enqueued", "run-2")
    assert stream.only_broken() == ("duplicate", "entry 6: run run-2 of chain1 was claimed, but nothing was stale")


def test_a_dedupe_key_that_is_recorded_twice(stream: Stream) -> None:
    stream.outside("a", dedupe_key="k")
    stream.outside("a", dedupe_key="k")
    assert stream.only_broken() == (
        "duplicate",
        "entry 2: the production with the dedupe key k was recorded twice",
    )


def test_a_version_that_is_told_twice_or_never(stream: Stream) -> None:
    stream.outside("a", version=1)
    stream.outside("a", version=3)
    assert stream.only_broken() == ("inconsistent", "entry 2: a has version 3 after version 1")


def test_a_run_that_makes_something_after_its_end(stream: Stream) -> None:
    stream.outside("a")
    inputs = stream.start("chain1", "run-1")
    stream.run("chain1", "failed", "run-1")
    stream.make("chain1", "run-1", inputs)
    assert stream.only_broken() == ("inconsistent", "entry 5: chain1 was made by run run-1, which did not run then")


def test_a_run_that_ends_twice(stream: Stream) -> None:
    stream.outside("a")
    stream.whole_run("chain1")
    stream.run("chain1", "failed", "run-1")
    assert stream.only_broken() == ("duplicate", "entry 6: run run-1 ended (workflow.run.failed), but was not active")


def test_a_run_that_starts_twice(stream: Stream) -> None:
    stream.outside("a")
    inputs = stream.start("chain1", "run-1")
    stream.run("chain1", "started", "run-1", inputs=inputs)
    assert stream.only_broken() == ("duplicate", "entry 4: run run-1 was started twice")


def test_a_run_that_captures_what_is_not_the_latest(stream: Stream) -> None:
    stream.outside("a")
    stream.outside("a")
    stream.run("chain1", "enqueued", "run-1")
    stream.run("chain1", "started", "run-1", inputs={"a": 1})
    assert stream.only_broken() == (
        "inconsistent",
        "entry 4: run run-1 captured {'a': 1} when the versions were {'a': 2}",
    )


def test_a_success_that_made_nothing(stream: Stream) -> None:
    stream.outside("a")
    stream.start("chain1", "run-1")
    stream.run("chain1", "succeeded", "run-1")
    assert stream.only_broken() == (
        "lost",
        "entry 4: run run-1 of chain1 succeeded without making ['chain1']",
    )

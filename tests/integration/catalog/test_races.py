"""What must hold whatever happens at the same time: one run for each run key, and limits that are never exceeded."""

from __future__ import annotations

import random
import threading
from collections import Counter
from typing import Any

import pytest
from redis import Redis

from actors.catalog.redis_store import RedisStore
from actors.catalog.store import Busy, LimitReached, Limits, RunFenced, RunStatus, Submitted
from tests.integration.catalog.builders import (
    T0,
    event_types,
    made,
    on_every_server,
    start,
    together,
    wanted,
)

pytestmark = on_every_server


def test_of_many_submits_of_one_run_key_exactly_one_claims(store: RedisStore, client: Redis, prefix: str) -> None:
    for number in range(20):
        runs = [wanted(f"r{number}-{index}", "orders", str(number)) for index in range(8)]
        outcomes = together(8, lambda index, runs=runs: store.submit([runs[index]])[0])  # type: ignore[misc]
        (winner,) = [o for o in outcomes if isinstance(o, Submitted)]
        assert [o for o in outcomes if o != winner] == [Busy(winner.run_id)] * 7
    assert event_types(client, prefix).count("workflow.run.enqueued") == 20


def test_fifty_submitters_never_exceed_a_limit(store: RedisStore, client: Redis, prefix: str) -> None:
    limits = Limits(max_runs=6, max_workflow_runs=3, max_pool_runs={"db": 2})
    most: Counter[str] = Counter()
    done = threading.Event()

    def watch() -> None:
        # One atomic look at all the sets, against the server and not against what the store says.
        while not done.is_set():
            with client.pipeline(transaction=True) as pipe:
                for name in ("active", "active:workflow:w0", "active:workflow:w1", "active:pool:db"):
                    pipe.scard(f"{prefix}:{name}")
                for name, count in zip(("global", "w0", "w1", "db"), pipe.execute(), strict=True):
                    most[name] = max(most[name], count)

    def submit_and_end(index: int) -> Counter[str]:
        told: Counter[str] = Counter()
        choose = random.Random(index)
        for round_number in range(12):
            run_id = f"r{index}-{round_number}"
            pools = ("db",) if choose.random() < 0.5 else ()
            run = wanted(run_id, f"w{choose.randrange(4)}", run_id, limits=limits, pools=pools)
            (outcome,) = store.submit([run])
            told[outcome.limit if isinstance(outcome, LimitReached) else type(outcome).__name__] += 1
            if isinstance(outcome, Submitted):
                assert store.finish_run(run_id, choose.choice([RunStatus.SUCCEEDED, RunStatus.LOST]), now_ms=T0)
        return told

    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        told = sum(together(50, submit_and_end), Counter[str]())
    finally:
        done.set()
        watcher.join()
    assert told["Submitted"] > 0
    assert sum(told.values()) == 600
    assert most["global"] <= 6
    assert most["w0"] <= 3
    assert most["w1"] <= 3
    assert most["db"] <= 2
    left: Any = [client.scard(key) for key in client.scan_iter(f"{prefix}:active*")]
    assert sum(left) == 0
    assert client.hlen(f"{prefix}:claims") == 0


def test_a_limit_is_filled_to_the_last_slot(store: RedisStore) -> None:
    limits = Limits(max_runs=10)
    outcomes = together(30, lambda index: store.submit([wanted(f"r{index}", "w", str(index), limits=limits)])[0])
    assert Counter(type(outcome).__name__ for outcome in outcomes) == {"Submitted": 10, "LimitReached": 20}
    assert len(store.active_runs()) == 10


def test_of_many_workers_one_starts_a_run(store: RedisStore) -> None:
    store.submit([wanted("r")])

    def begin(_: int) -> bool:
        try:
            store.start_run("r", upstreams=[], now_ms=T0)
        except RunFenced:
            return False
        return True

    assert sorted(together(8, begin)) == [False] * 7 + [True]


@pytest.mark.parametrize("repetition", range(5))
def test_a_run_that_records_while_it_is_ended_is_either_made_or_unmade(store: RedisStore, repetition: int) -> None:
    run_id = f"r{repetition}"
    start(store, run_id)

    def turn(index: int) -> str:
        if index == 0:
            store.finish_run(run_id, RunStatus.LOST, now_ms=T0, expected=[("a", None)])
            return "ended"
        try:
            store.record(made("a", run_id=run_id, step_id="s"))
        except RunFenced:
            return "fenced"
        return "recorded"

    outcomes = together(3, turn)
    record = store.read_assets(["a"])["a"]
    if "recorded" in outcomes:
        assert (len(record.latest), len(record.failures)) == (1, 0)
    else:
        assert (len(record.latest), len(record.failures)) == (0, 1)


def test_failures_of_concurrent_ends_are_all_counted(store: RedisStore) -> None:
    for index in range(12):
        start(store, f"r{index}", partition_key=str(index))
    together(
        12,
        lambda index: store.finish_run(f"r{index}", RunStatus.FAILED, now_ms=T0, expected=[("a", None)]),
    )
    assert store.read_assets(["a"])["a"].failures[None].failures == 12

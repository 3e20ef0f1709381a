"""Retention: what is older or more than allowed goes, in small pieces; what a decision needs stays."""

from __future__ import annotations

import contextlib
import json
import threading
import uuid
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from redis import Redis

from actors.catalog.definitions import parse_definition
from actors.catalog.doctor import Doctor
from actors.catalog.keys import Keys
from actors.catalog.redis_store import RedisStore
from actors.catalog.retention import Retention, RetentionThread, Swept
from actors.catalog.store import Basis, RunStatus, Submitted
from actors.core.decide import staleness
from actors.core.graph import Graph
from actors.core.loading import load_partitions
from actors.core.state import UpstreamSnapshot
from actors.core.wallclock import DAY_MS, HOUR_MS
from actors.setting_groups import HistorySettings, RetentionSettings, StreamSettings
from tests.integration.catalog.builders import T0, end, eventually, made, on_every_server, start, wanted

pytestmark = on_every_server

DYNAMIC = {"type": "dynamic", "retentionDays": 10}
DAYS = {"type": "timeWindow", "granularity": "day"}
HOURS = {"type": "timeWindow", "granularity": "hour"}
FOLLOWS = {"onUpstreamUpdate": True}


@pytest.fixture
def keys(prefix: str) -> Keys:
    return Keys(prefix)


def retention(client: Redis, prefix: str, *, history: HistorySettings | None = None, **days: Any) -> Retention:
    return Retention(
        client,
        RedisStore(client, prefix=prefix),
        prefix=prefix,
        streams=StreamSettings(),
        history=history or HistorySettings(),
        retention=RetentionSettings(**days),
    )


def put(store: RedisStore, slug: str, asset_id: str, *, reads: tuple[str, ...] = (), **declared: Any) -> None:
    """A workflow that makes one asset."""
    document = {
        "slug": slug,
        "name": slug,
        "steps": [
            {
                "id": "s",
                "jobSlug": "j",
                "consumes": [{"assetId": read} for read in reads],
                "produces": [{"assetId": asset_id, **declared}],
            }
        ],
    }
    definition = parse_definition(json.dumps(document), source="test")
    store.put_workflow(definition, source="command", content_hash="x")


def partitions(store: RedisStore, asset_id: str) -> set[str | None]:
    record = store.read_assets([asset_id])[asset_id]
    return {*record.latest, *record.failures, *record.dismissals}


# -- runs, history, streams --------------------------------------------------------------------------------------------


def test_ended_runs_go_by_age_with_all_that_is_of_them(
    client: Redis, prefix: str, store: RedisStore, keys: Keys
) -> None:
    for day in range(5):
        start(store, f"r{day}", workflow=f"w{day}")
        store.record(made("a", run_id=f"r{day}", step_id="s"))
        end(store, f"r{day}", at_ms=T0 + day * DAY_MS)
    start(store, "active", at_ms=T0)
    store.queue_run(wanted("queued", "other", at_ms=T0))
    swept = retention(client, prefix, runs_days=2).sweep(T0 + 4 * DAY_MS)
    assert swept == Swept(runs=3)
    assert {run.run_id for run in store.runs()} == {"r3", "r4", "active", "queued"}
    assert client.exists(*(keys.produced(f"r{day}") for day in range(3)), keys.run("r2")) == 0
    assert list(Doctor(client, prefix=prefix, streams=StreamSettings()).examine(fix=False)) == []


def test_more_runs_than_are_kept_go_in_pieces(client: Redis, prefix: str, store: RedisStore) -> None:
    for number in range(450):
        store.queue_run(wanted(f"r{number}", f"w{number}"))
        store.cancel_queued(f"r{number}", now_ms=T0 + number)
    small = retention(client, prefix, history=HistorySettings(runs=10))
    assert small.sweep(T0 + DAY_MS) == Swept(runs=440)
    assert {run.run_id for run in store.runs()} == {f"r{number}" for number in range(440, 450)}
    assert small.sweep(T0 + DAY_MS).is_nothing


def test_history_goes_by_age_and_count_and_its_newest_stays(client: Redis, prefix: str, store: RedisStore) -> None:
    for day in range(6):
        store.record(made("old", produced_at_ms=T0 + day * HOUR_MS, payload={"day": day}))
        store.record(made("mixed", produced_at_ms=T0 + day * DAY_MS))
    now_ms = T0 + 6 * DAY_MS
    assert retention(client, prefix).sweep(now_ms).is_nothing
    assert retention(client, prefix, materializations_days=3).sweep(now_ms) == Swept(materializations=5 + 4)
    assert [entry.materialization.version for entry in store.history("old")] == [6]
    assert [entry.materialization.version for entry in store.history("mixed")] == [6, 5]
    lowered = retention(client, prefix, history=HistorySettings(materializations=1))
    assert lowered.sweep(now_ms) == Swept(materializations=1)
    assert store.read_assets(["old", "mixed"])["mixed"].latest[None].version == 6


def test_histories_of_many_assets_are_looked_at_in_turn(client: Redis, prefix: str, store: RedisStore) -> None:
    for number in range(2_300):
        client.hset(f"{prefix}:counters", f"a{number}", "2")
        made_then = {"version": 1, "changedVersion": 1, "producedAtMs": T0, "inputs": {}, "given": {}}
        entry = json.dumps({"made": made_then, "entry": {}}, separators=(",", ":"))
        client.rpush(f"{prefix}:history:a{number}", entry, entry)
    sweeper = retention(client, prefix, materializations_days=1)
    counts = [sweeper.sweep(T0 + 2 * DAY_MS).materializations for _ in range(4)]
    assert sum(counts) == 2_300
    assert counts[0] < 2_300, "a part in each sweep"


def test_an_entry_that_cannot_be_read_is_not_dropped_for_its_age(client: Redis, prefix: str, store: RedisStore) -> None:
    store.record(made("a"))
    client.rpush(f"{prefix}:history:a", "{", "[]")
    assert retention(client, prefix, materializations_days=1).sweep(T0 + 9 * DAY_MS).is_nothing


def add_old(client: Redis, key: str, count: int) -> None:
    for number in range(count):
        client.xadd(key, {"n": str(number)}, id=f"{T0 + number * HOUR_MS}-0")


@pytest.mark.parametrize(("name", "setting"), [("audit", "audit_days"), ("dead-letters", "dead_letters_days")])
def test_entries_go_by_age(client: Redis, prefix: str, name: str, setting: str) -> None:
    add_old(client, f"{prefix}:{name}", 500)
    limits: dict[str, Any] = {setting: 10}
    sweeper = retention(client, prefix, **limits)
    sweeper.sweep(T0 + 20 * DAY_MS)
    ((first, _),) = client.xrange(f"{prefix}:{name}", count=1)  # type: ignore[misc]
    assert first == f"{T0 + 241 * HOUR_MS}-0", "to the entry"
    assert sweeper.sweep(T0 + 20 * DAY_MS).is_nothing


def test_events_stay_until_the_service_has_read_them(client: Redis, prefix: str, keys: Keys) -> None:
    add_old(client, keys.events, 300)
    sweeper = retention(client, prefix, events_days=1)
    assert sweeper.sweep(T0 + 90 * DAY_MS).is_nothing, "nobody has read any"
    client.xgroup_create(keys.events, "headwater", id=f"{T0 + 120 * HOUR_MS}-0")
    assert sweeper.sweep(T0 + 90 * DAY_MS) == Swept(events=120)
    client.xgroup_setid(keys.events, "headwater", id="$")
    assert sweeper.sweep(T0 + 90 * DAY_MS) == Swept(events=179)
    assert client.xlen(keys.events) == 1, "the newest says how far the catalog has come"


# -- partitions --------------------------------------------------------------------------------------------------------


def test_a_dynamic_partition_is_forgotten_when_it_was_not_produced_for_long(
    client: Redis, prefix: str, store: RedisStore
) -> None:
    put(store, "w", "d", partitioning=DYNAMIC, autoMaterialize={}, freshness={"ttlMs": HOUR_MS})
    for key, day in (("old", 0), ("new", 5)):
        store.record(made("d", key, produced_at_ms=T0 + day * DAY_MS))
    start(store, "r", workflow="w", partition_key="failed")
    store.finish_run("r", RunStatus.FAILED, now_ms=T0 + DAY_MS, expected=[("d", "failed")])
    sweeper = retention(client, prefix)
    assert sweeper.sweep(T0 + 10 * DAY_MS - 1).is_nothing
    later = retention(client, prefix)
    assert later.sweep(T0 + 12 * DAY_MS) == Swept(partitions=2)
    assert partitions(store, "d") == {"new"}
    assert store.record(made("d", "old")).version == 3, "versions go on"


def test_the_sweep_looks_again_when_the_next_one_is_due(client: Redis, prefix: str, store: RedisStore) -> None:
    put(store, "w", "d", partitioning=DYNAMIC)
    for day in range(3):
        store.record(made("d", f"k{day}", produced_at_ms=T0 + day * DAY_MS))
    sweeper = retention(client, prefix)
    counts = [sweeper.sweep(T0 + 9 * DAY_MS + hour * HOUR_MS).partitions for hour in range(0, 96, 12)]
    assert sum(counts) == 3
    assert max(counts) == 1


def test_a_partition_that_a_run_is_at_work_on_stays(client: Redis, prefix: str, store: RedisStore) -> None:
    put(store, "w", "d", partitioning=DYNAMIC)
    store.record(made("d", "k"))
    start(store, "r", workflow="w", partition_key="k")
    assert retention(client, prefix).sweep(T0 + 99 * DAY_MS).is_nothing
    assert partitions(store, "d") == {"k"}


def test_one_that_would_be_made_again_after_a_restart_stays_as_long_as_its_upstream(
    client: Redis, prefix: str, store: RedisStore
) -> None:
    put(store, "up", "u", partitioning={"type": "dynamic", "retentionDays": 40})
    put(store, "down", "d", reads=("u",), partitioning=DYNAMIC, autoMaterialize=FOLLOWS)
    put(store, "by-hand", "h", reads=("u",), partitioning=DYNAMIC)
    for asset_id, upstreams in (("u", ()), ("d", ("u",)), ("h", ("u",))):
        store.record(made(asset_id, "k", upstreams=upstreams))
    assert retention(client, prefix).sweep(T0 + 20 * DAY_MS) == Swept(partitions=1)
    assert (partitions(store, "u"), partitions(store, "d"), partitions(store, "h")) == ({"k"}, {"k"}, set())
    sweeper = retention(client, prefix)
    sweeper.sweep(T0 + 41 * DAY_MS)
    sweeper.sweep(T0 + 42 * DAY_MS)
    assert (partitions(store, "u"), partitions(store, "d")) == (set(), set())


def test_time_windows_go_after_their_end_but_not_the_newest(client: Redis, prefix: str, store: RedisStore) -> None:
    put(store, "w", "daily", partitioning=DAYS)
    for day in (1, 2, 3, 20):
        store.record(made("daily", f"2026-01-{day:02}", produced_at_ms=T0))
    third_ended_ms = 1_767_484_800_000  # 2026-01-04T00:00Z
    assert retention(client, prefix).sweep(third_ended_ms + 99 * DAY_MS).is_nothing, "without a limit"
    assert retention(client, prefix, windows_days=7).sweep(third_ended_ms + 7 * DAY_MS - 1) == Swept(partitions=2)
    assert retention(client, prefix, windows_days=7).sweep(third_ended_ms + 7 * DAY_MS) == Swept(partitions=1)
    assert retention(client, prefix, windows_days=7).sweep(third_ended_ms + 999 * DAY_MS).is_nothing
    assert partitions(store, "daily") == {"2026-01-20"}


def test_windows_that_count_as_missing_stay(client: Redis, prefix: str, store: RedisStore) -> None:
    put(
        store,
        "w",
        "daily",
        partitioning={**DAYS, "lookbackWindows": 30},
        autoMaterialize={"onMissing": True},
    )
    for day in (1, 2, 3, 20):
        store.record(made("daily", f"2026-01-{day:02}", produced_at_ms=T0))
    now_ms = 1_768_867_200_000 + 12 * DAY_MS  # 2026-02-01: the first of January lies behind the lookback
    assert retention(client, prefix, windows_days=7).sweep(now_ms) == Swept(partitions=1)
    assert partitions(store, "daily") == {"2026-01-02", "2026-01-03", "2026-01-20"}


def test_windows_that_a_longer_one_waits_for_stay_until_it_is_old_as_well(
    client: Redis, prefix: str, store: RedisStore
) -> None:
    put(store, "h", "hourly", partitioning=HOURS)
    put(
        store,
        "m",
        "monthly",
        reads=("hourly",),
        partitioning={"type": "timeWindow", "granularity": "month"},
        autoMaterialize={**FOLLOWS, "partitionMapping": {"hourly": {"type": "window", "wait": "all"}}},
    )
    for key in ("2026-01-01T00", "2026-01-01T01", "2026-03-01T00"):
        store.record(made("hourly", key, produced_at_ms=T0))
    in_january, in_february = 1_768_867_200_000, 1_768_867_200_000 + 20 * DAY_MS
    assert retention(client, prefix, windows_days=2).sweep(in_january).is_nothing
    assert retention(client, prefix, windows_days=2).sweep(in_february) == Swept(partitions=2)


def test_what_a_service_still_knows_of_a_forgotten_partition_does_no_harm(
    client: Redis, prefix: str, store: RedisStore
) -> None:
    put(store, "w", "d", partitioning=DYNAMIC)
    store.record(made("d", "k"))
    retention(client, prefix).sweep(T0 + 20 * DAY_MS)
    basis = (Basis("d", "k", version=1, failures=0),)
    (outcome,) = store.submit([wanted("r", "w", "k", basis=basis)])
    assert outcome == Submitted("r"), "to refuse it as outdated would have it asked for again at once, for ever"
    store.start_run("r", upstreams=[], now_ms=T0)
    assert store.record(made("d", "k", run_id="r", step_id="s")).version == 2


@contextlib.contextmanager
def own_prefix(client: Redis) -> Iterator[str]:
    prefix = f"test-{uuid.uuid4().hex[:12]}"
    yield prefix
    for key in client.scan_iter(f"{prefix}:*", count=1000):
        client.delete(key)


ASSETS = ("hours", "days", "followers", "names", "same-names", "one")
declared = st.fixed_dictionaries(
    {
        "follows": st.sampled_from([True, True, True, False]),
        "missing": st.booleans(),
        "when": st.sampled_from(["any", "all"]),
        "retention": st.sampled_from([None, 1, 3]),
        "lookback": st.sampled_from([None, 0, 2]),
    }
)
productions = st.lists(
    st.tuples(st.sampled_from(ASSETS), st.integers(0, 9), st.integers(0, 9), st.booleans()), min_size=5, max_size=40
)


@given(drawn=st.lists(declared, min_size=5, max_size=5), produced=productions, later=st.integers(0, 12))
@example(
    # What is left in the history of a forgotten window says nothing to one that reads the same window.
    drawn=[{"follows": True, "missing": False, "when": "any", "retention": None, "lookback": None}] * 5,
    produced=[
        ("hours", 0, 0, False),
        ("days", 2, 0, False),
        ("days", 3, 0, False),
        ("followers", 2, 0, True),
        ("followers", 3, 0, False),
    ],
    later=6,
)
@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_forgetting_starts_nothing(
    client: Redis, drawn: list[dict[str, Any]], produced: list[tuple[str, int, int, bool]], later: int
) -> None:
    """Whatever is loaded after a sweep wants nothing that was not wanted before."""
    with own_prefix(client) as prefix:
        store = RedisStore(client, prefix=prefix)
        kinds = {"hours": HOURS, "days": DAYS, "followers": DAYS, "names": None, "same-names": None}
        upstreams: dict[str, tuple[str, ...]] = {
            "hours": ("one",),
            "days": ("hours", "one"),
            "followers": ("days",),
            "names": ("one",),
            "same-names": ("names", "one"),
        }
        for (asset_id, kind), one in zip(kinds.items(), drawn, strict=True):
            partitioning: dict[str, Any] = dict(kind or {"type": "dynamic"})
            if kind is None and one["retention"]:
                partitioning["retentionDays"] = one["retention"]
            if kind is not None and one["lookback"] is not None:
                partitioning["lookbackWindows"] = one["lookback"]
            auto = {"onUpstreamUpdate": one["follows"], "onMissing": one["missing"], "when": one["when"]}
            put(store, asset_id, asset_id, reads=upstreams[asset_id], partitioning=partitioning, autoMaterialize=auto)
        start_ms = 1_767_225_600_000  # 2026-01-01T00:00Z
        for asset_id, which, day, has_read in produced:
            key = {
                "hours": f"2026-01-0{which % 5 + 1}T0{which}",
                "days": f"2026-01-0{which % 5 + 1}",
                "followers": f"2026-01-0{which % 5 + 1}",
                "one": None,
            }.get(asset_id, f"k{which % 3}")
            at_ms = start_ms + day * DAY_MS
            read = upstreams.get(asset_id, ()) if has_read else ()
            store.record(made(asset_id, key, produced_at_ms=at_ms, upstreams=read))
        now_ms = start_ms + later * DAY_MS
        before = _wanted(store, now_ms)
        retention(client, prefix, windows_days=3).sweep(now_ms)
        assert _wanted(store, now_ms) <= before
        # Nor does a service that goes on, and sweeps again.
        retention(client, prefix, windows_days=3).sweep(now_ms)
        assert _wanted(store, now_ms) <= before


def _wanted(store: RedisStore, now_ms: int) -> set[tuple[str, str | None]]:
    """What the service would have made at a start."""
    graph = Graph()
    for definition in store.workflows():
        graph.put(definition.to_spec())
    records = store.read_assets(list(graph.assets))
    found: set[tuple[str, str | None]] = set()
    for asset_id, node in graph.assets.items():
        if node.spec is None:
            continue
        snapshots = {
            u: UpstreamSnapshot(
                graph.assets[u].partitioning,
                {key: (m.changed_version, m.produced_at_ms) for key, m in records[u].latest.items()},
                tuple(
                    (entry.partition_key, entry.materialization.version, entry.materialization.produced_at_ms)
                    for entry in store.history(u)
                ),
            )
            for u in node.spec.considered
        }
        record = records[asset_id]
        states = load_partitions(
            node.spec,
            latest=record.latest,
            failures=record.failures,
            dismissals=record.dismissals,
            upstreams=snapshots,
            active={},
            now_ms=now_ms,
        )
        found |= {(asset_id, key) for key, s in states.items() if staleness(node.spec, s, now_ms).needed is not None}
    return found


# -- the thread --------------------------------------------------------------------------------------------------------


def test_the_service_sweeps_while_it_leads(client: Redis, prefix: str, store: RedisStore, keys: Keys) -> None:
    leads = threading.Event()
    start(store, "r")
    end(store, "r", at_ms=T0)
    asked = threading.Event()

    def is_leading() -> bool:
        asked.set()
        return leads.is_set()

    thread = RetentionThread(retention(client, prefix, runs_days=1), 0.01, is_leading)
    thread.start()
    try:
        assert asked.wait(20)
        assert store.run("r") is not None
        leads.set()
        eventually(lambda: store.run("r") is None, what="the run is dropped")
    finally:
        thread.stop()

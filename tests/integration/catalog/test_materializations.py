"""Recording, expiring, resuming and reading materializations."""

from __future__ import annotations

import pytest
from redis import Redis

from actors.catalog import events as wire
from actors.catalog.redis_store import RedisStore
from actors.catalog.store import NewMaterialization, Recorded, RunFenced, RunStatus
from actors.core.freshness import ExpiryReason, FreshnessPolicy
from actors.core.state import Dismissal, Materialization
from actors.setting_groups import HistorySettings
from tests.integration.catalog.builders import (
    T0,
    end,
    event_types,
    events,
    made,
    on_every_server,
    start,
    together,
    wanted,
)

pytestmark = on_every_server

ODD_IDS = ["a:b:c", "orders/daily", "käse☃", 'quote"\\back', "{tag}", "*", "made:x", "%s%d"]


def latest(store: RedisStore, asset_id: str, partition_key: str | None = None) -> Materialization:
    return store.read_assets([asset_id])[asset_id].latest[partition_key]


def test_versions_of_an_asset_count_up_across_its_partitions(store: RedisStore) -> None:
    versions = [store.record(made("a", key)).version for key in ("x", "y", "x", None)]
    assert versions == [1, 2, 3, 4]
    assert store.record(made("b")).version == 1

    record = store.read_assets(["a"])["a"]
    assert {key: m.version for key, m in record.latest.items()} == {"x": 3, "y": 2, None: 4}
    assert record.counter == 4


def test_a_materialization_is_read_as_it_was_recorded(store: RedisStore) -> None:
    policy = FreshnessPolicy(ttl_ms=5, cadence_ms=6, max_age_ms=7, cron="0 6 * * *", timezone="Europe/Berlin")
    store.record(made("up"))
    store.record(
        made(
            "a",
            "2026-11-23",
            upstreams=("up", "never-made"),
            data_version="sha:1",
            workflow_slug="orders",
            step_id="load",
            payload={"rows": [], "nested": {"none": None, "big": 12345678901234567}, "text": "käse☃\n\\"},
            schema={"fields": []},
            freshness=policy,
        )
    )
    expected = Materialization(
        version=1,
        changed_version=1,
        produced_at_ms=T0,
        data_version="sha:1",
        inputs={"up": 1, "never-made": 0},
        freshness=policy,
    )
    assert latest(store, "a", "2026-11-23") == expected
    (entry,) = store.history("a")
    assert entry.materialization == expected
    assert entry.partition_key == "2026-11-23"
    assert (entry.workflow_slug, entry.step_id, entry.schema) == ("orders", "load", {"fields": []})
    assert entry.payload == {"rows": [], "nested": {"none": None, "big": 12345678901234567}, "text": "käse☃\n\\"}


@pytest.mark.parametrize("odd", ODD_IDS)
def test_ids_may_hold_any_printable_character(store: RedisStore, client: Redis, prefix: str, odd: str) -> None:
    store.record(made(odd, odd))
    store.record(made("below", upstreams=(odd,)))
    assert store.read_assets([odd])[odd].latest[odd].version == 1
    assert latest(store, "below").inputs == {odd: 1}
    told = events(client, prefix)
    assert isinstance(told[1], wire.AssetProduced)
    assert told[1].inputs == {odd: 1}
    assert odd in store.asset_ids()


def test_the_event_tells_what_was_recorded(store: RedisStore, client: Redis, prefix: str) -> None:
    store.record(made("up"))
    store.record(made("a", "x", upstreams=("up",), data_version="1", payload={"files": []}))
    store.record(made("a", "x", produced_at_ms=T0 + 5, upstreams=("up",), data_version="1"))
    _, first, second = events(client, prefix)
    assert isinstance(first, wire.AssetProduced)
    assert isinstance(second, wire.AssetProduced)
    assert (first.version, first.changed_version, first.inputs) == (1, 1, {"up": 1})
    assert first.payload == {"files": []}
    assert (second.version, second.changed_version, second.produced_at_ms) == (2, 1, T0 + 5)


def test_equal_data_versions_keep_the_version_in_which_the_data_changed(store: RedisStore) -> None:
    outcomes = [store.record(made("a", data_version=data)) for data in ("1", "1", "1", "2", "1", None, None)]
    assert [o.changed for o in outcomes] == [True, False, False, True, True, True, True]
    versions = [e.materialization.changed_version for e in reversed(store.history("a"))]
    assert versions == [1, 1, 1, 4, 5, 6, 7]


def test_equal_data_versions_of_two_partitions_are_two_changes(store: RedisStore) -> None:
    store.record(made("a", "x", data_version="1"))
    assert store.record(made("a", "y", data_version="1")) == Recorded(version=2, changed=True, duplicate=False)


def test_a_late_event_does_not_turn_the_time_of_production_back(store: RedisStore) -> None:
    store.record(made("a", produced_at_ms=T0 + 500))
    store.record(made("a", produced_at_ms=T0))
    assert latest(store, "a").produced_at_ms == T0 + 500
    assert latest(store, "a").version == 2
    assert [e.materialization.produced_at_ms for e in store.history("a")] == [T0, T0 + 500]


def test_a_run_s_inputs_are_those_captured_at_its_start(store: RedisStore) -> None:
    store.record(made("up"))
    start(store, "r", upstreams=("up",))
    store.record(made("up"))
    store.record(made("late"))
    store.record(made("a", run_id="r", step_id="s", upstreams=("up", "late")))
    assert latest(store, "a").inputs == {"up": 1, "late": 1}
    assert latest(store, "a").run_id == "r"


def test_an_outsider_s_inputs_are_the_latest_at_the_recording(store: RedisStore) -> None:
    store.record(made("up"))
    store.record(made("up"))
    store.record(made("a", run_id="somebody-elses", upstreams=("up",)))
    assert latest(store, "a").inputs == {"up": 2}


def test_a_run_records_an_asset_partition_of_a_step_once(store: RedisStore, client: Redis, prefix: str) -> None:
    start(store, "r")
    first = store.record(made("a", "x", run_id="r", step_id="s", data_version="1"))
    again = store.record(made("a", "x", run_id="r", step_id="s", data_version="2"))
    assert again == Recorded(version=first.version, changed=first.changed, duplicate=True)
    assert store.record(made("a", "y", run_id="r", step_id="s")).version == 2
    assert store.record(made("a", "x", run_id="r", step_id="other")).version == 3
    assert event_types(client, prefix).count("asset.produced") == 3


@pytest.mark.parametrize(
    "same",
    [{"dedupe_key": "cloud-event-1"}, {"run_id": "theirs", "step_id": "s"}, {"run_id": "theirs"}],
    ids=["dedupe key", "their run and step", "their run"],
)
def test_an_outsider_s_duplicate_is_recorded_once(
    store: RedisStore, client: Redis, prefix: str, same: dict[str, str]
) -> None:
    first = store.record(made("a", **same))
    store.record(made("a"))
    again = store.record(made("a", **same))
    assert again == Recorded(version=first.version, changed=True, duplicate=True)
    assert latest(store, "a").version == 2
    assert event_types(client, prefix) == ["asset.produced"] * 2


def test_a_dedupe_key_is_forgotten_after_days(store: RedisStore, client: Redis, prefix: str) -> None:
    store.record(made("a", dedupe_key="once"))
    (seen,) = client.scan_iter(f"{prefix}:seen:*")
    week_ms = 7 * 24 * 3600 * 1000
    assert week_ms - 60_000 < client.pttl(seen) <= week_ms


def test_what_nothing_identifies_is_recorded_each_time(store: RedisStore) -> None:
    assert [store.record(made("a")).version for _ in range(3)] == [1, 2, 3]


def test_of_many_equal_reports_at_once_one_is_recorded(store: RedisStore, client: Redis, prefix: str) -> None:
    outcomes = together(16, lambda _: store.record(made("a", dedupe_key="once")))
    assert sorted(o.duplicate for o in outcomes) == [False] + [True] * 15
    assert {o.version for o in outcomes} == {1}
    assert len(events(client, prefix)) == 1


def test_concurrent_records_lose_no_version(store: RedisStore, client: Redis, prefix: str) -> None:
    outcomes = together(16, lambda index: [store.record(made("a", f"k{index}")).version for _ in range(10)])
    versions = sorted(version for row in outcomes for version in row)
    assert versions == list(range(1, 161))
    told = [event.version for event in events(client, prefix) if isinstance(event, wire.AssetProduced)]
    assert told == versions, "the stream's order is the order of versions"


@pytest.mark.parametrize("status", [RunStatus.SUCCEEDED, RunStatus.FAILED, RunStatus.CANCELED, RunStatus.LOST])
def test_a_run_that_is_over_cannot_record(store: RedisStore, client: Redis, prefix: str, status: RunStatus) -> None:
    start(store, "r")
    end(store, "r", status)
    before = event_types(client, prefix)
    with pytest.raises(RunFenced, match=f"run r is {status.value}"):
        store.record(made("a", run_id="r", step_id="s"))
    assert store.read_assets(["a"])["a"].latest == {}
    assert store.asset_ids() == []
    assert event_types(client, prefix) == before


def test_a_run_that_has_not_started_cannot_record(store: RedisStore) -> None:
    store.submit([wanted("r")])
    with pytest.raises(RunFenced, match="enqueued"):
        store.record(made("a", run_id="r"))


def test_a_record_that_is_sent_again_after_the_run_s_end_is_still_a_duplicate(store: RedisStore) -> None:
    start(store, "r")
    store.record(made("a", run_id="r", step_id="s"))
    end(store, "r")
    assert store.record(made("a", run_id="r", step_id="s")).duplicate


def test_a_success_clears_failures_and_dismissals_of_its_partition_only(store: RedisStore) -> None:
    for run_id, status in (("r1", RunStatus.FAILED), ("r2", RunStatus.CANCELED)):
        start(store, run_id)
        store.finish_run(run_id, status, now_ms=T0 + 2, expected=[("a", "x"), ("a", "y")])
    store.record(made("a", "x"))
    record = store.read_assets(["a"])["a"]
    assert set(record.failures) == {"y"}
    assert set(record.dismissals) == {"y"}


def test_a_record_that_cannot_be_published_writes_nothing(store: RedisStore) -> None:
    with pytest.raises(ValueError, match="bytes"):
        store.record(made("a", payload="x" * 300_000))
    with pytest.raises(ValueError, match="JSON"):
        store.record(made("a", payload=[float("nan")]))
    assert store.asset_ids() == []


def test_history_is_newest_first_and_capped(client: Redis, prefix: str) -> None:
    store = RedisStore(client, prefix=prefix, history=HistorySettings(materializations=5))
    for index in range(8):
        store.record(made("a", "even" if index % 2 == 0 else "odd"))
    assert [e.materialization.version for e in store.history("a")] == [8, 7, 6, 5, 4]
    assert [e.materialization.version for e in store.history("a", limit=2)] == [8, 7]
    assert [e.materialization.version for e in store.history("a", partition_key="even")] == [7, 5]
    assert [e.materialization.version for e in store.history("a", partition_key="even", limit=1)] == [7]
    assert store.history("a", limit=0) == []
    assert store.history("unknown") == []


def test_many_assets_are_read_in_few_round_trips(store: RedisStore, client: Redis) -> None:
    ids = [f"asset-{index}" for index in range(1200)]
    for asset_id in ids[:600]:
        store.record(made(asset_id))
    before = client.info("stats")["total_commands_processed"]
    reads = client.info("stats").get("total_reads_processed", 0)
    found = store.read_assets([*ids, *ids[:10]])
    trips = client.info("stats").get("total_reads_processed", 0) - reads
    commands = client.info("stats")["total_commands_processed"] - before
    assert list(found) == ids
    assert sum(1 for record in found.values() if record.latest) == 600
    assert found["asset-1199"].latest == {}
    assert commands < 1_300
    assert trips < 60, "the commands went one by one"
    assert store.read_assets([]) == {}


def expire(store: RedisStore, version: int | None = None, at_ms: int = T0 + 10, key: str | None = None) -> bool:
    return store.expire("a", key, version=version, expires_at_ms=at_ms, reason=ExpiryReason.TTL, now_ms=at_ms)


def test_a_version_expires_once(store: RedisStore, client: Redis, prefix: str) -> None:
    store.record(made("a"))
    outcomes = together(8, lambda _: expire(store, 1))
    assert sorted(outcomes) == [False] * 7 + [True]
    assert latest(store, "a").expired_version == 1
    assert latest(store, "a").expired_reason is ExpiryReason.TTL
    *_, told = events(client, prefix)
    assert isinstance(told, wire.AssetExpired)
    assert (told.version, told.expires_at_ms, told.reason) == (1, T0 + 10, ExpiryReason.TTL)
    assert event_types(client, prefix).count("asset.expired") == 1


def test_only_the_latest_version_expires(store: RedisStore) -> None:
    assert not expire(store), "nothing was made"
    store.record(made("a"))
    store.record(made("a"))
    assert not expire(store, 1)
    assert not expire(store, 3)
    assert expire(store, None)
    assert latest(store, "a").expired_version == 2


def test_what_was_produced_after_the_expiry_is_not_expired_by_it(store: RedisStore) -> None:
    store.record(made("a", produced_at_ms=T0 + 11))
    assert not expire(store, 1, at_ms=T0 + 10)
    assert expire(store, 1, at_ms=T0 + 11)


def test_a_new_materialization_is_not_expired(store: RedisStore) -> None:
    store.record(made("a"))
    expire(store, 1)
    store.record(made("a"))
    assert latest(store, "a").expired_version == 0
    assert expire(store, 2)


def test_partitions_expire_by_themselves(store: RedisStore) -> None:
    store.record(made("a", "x"))
    store.record(made("a", "y"))
    assert expire(store, None, key="x")
    assert latest(store, "a", "y").expired_version == 0


def test_resuming_forgets_failures_and_dismissals(store: RedisStore, client: Redis, prefix: str) -> None:
    start(store, "r1")
    store.finish_run("r1", RunStatus.FAILED, now_ms=T0, expected=[("a", "x"), ("a", "y"), ("a", None)])
    start(store, "r2")
    store.finish_run("r2", RunStatus.CANCELED, now_ms=T0, expected=[("a", "y"), ("a", "z")])
    store.record(made("a", "w"))

    assert store.resume("a", "x") == 1
    assert set(store.read_assets(["a"])["a"].failures) == {"y", None}
    assert store.resume("a") == 3, "y has both and counts once"
    record = store.read_assets(["a"])["a"]
    assert (record.failures, record.dismissals) == ({}, {})
    assert set(record.latest) == {"w"}
    assert store.resume("a") == 0
    first, second, _ = [event for event in events(client, prefix) if isinstance(event, wire.AssetResumed)]
    assert (first.partition_key, second.partition_key) == ("x", None)


def test_what_is_passed_over_is_kept_told_and_resumed(store: RedisStore, client: Redis, prefix: str) -> None:
    store.record(made("a", "x"))
    store.record(made("a", "y"))
    left = {
        "x": Dismissal(1, {"up": 7}, is_passed_over=True),
        "y": Dismissal(1, {"up": 8}, is_passed_over=True),
        "never": Dismissal(0, {"up": 9}, is_passed_over=True),
    }
    assert store.pass_over("a", left) == 2, "y was made since"
    assert store.read_assets(["a"])["a"].dismissals == {"x": left["x"], "never": left["never"]}
    told = [event for event in events(client, prefix) if isinstance(event, wire.AssetPassedOver)]
    assert [(e.partition_key, e.dismissed.version, e.dismissed.inputs) for e in told] == [
        ("x", 1, {"up": 7}),
        ("never", 0, {"up": 9}),
    ]
    store.record(made("a", "x"))
    assert store.resume("a") == 1
    assert store.pass_over("a", {}) == 0


def test_the_position_grows_with_every_event(store: RedisStore) -> None:
    positions = [store.position()]
    for _ in range(3):
        store.record(made("a"))
        positions.append(store.position())
    assert positions[0] == 0
    assert positions == sorted(set(positions))


def test_scripts_are_sent_again_when_the_server_forgot_them(store: RedisStore, client: Redis) -> None:
    store.record(made("a"))
    client.script_flush()
    assert store.record(NewMaterialization("a", None, T0)).version == 2

"""Backup and restore: what is read afterwards is what was there, whatever it was; a damaged file changes nothing."""

from __future__ import annotations

import contextlib
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from redis import Redis

from actors.catalog.backup import BackupSummary, write_catalog
from actors.catalog.backup_file import BackupInvalid, BackupWriter, read_records, write_backup
from actors.catalog.backup_restore import RestoreRefused, RestoreSummary, restore, write_records
from actors.catalog.catalog_scan import CatalogScan
from actors.catalog.connection import connect
from actors.catalog.doctor import Doctor
from actors.catalog.keys import Keys
from actors.catalog.redis_store import RedisStore
from actors.catalog.schema_version import SCHEMA_VERSION, SchemaRefused, ensure_schema
from actors.setting_groups import StreamSettings
from tests.integration.catalog.builders import T0, end, made, on_every_server, start, wanted
from tests.integration.catalog.random_operations import Life, everything, operations

pytestmark = on_every_server

STREAMS = StreamSettings()
HEADER = {"schemaVersion": SCHEMA_VERSION}
REPEATED = settings(
    max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)


@pytest.fixture
def keys(prefix: str) -> Keys:
    return Keys(prefix)


@contextlib.contextmanager
def own_prefix(client: Redis) -> Iterator[str]:
    prefix = f"test-{uuid.uuid4().hex[:12]}"
    yield prefix
    for key in client.scan_iter(f"{prefix}:*", count=1000):
        client.delete(key)


def back_up(client: Redis, prefix: str, path: Path) -> BackupSummary:
    with write_backup(path, HEADER) as writer:
        return write_catalog(client, Keys(prefix), writer)


def restored(client: Redis, prefix: str, path: Path, *, replace: bool = False) -> RestoreSummary:
    return restore(client, path, prefix=prefix, streams=STREAMS, replace=replace)


def kept(client: Redis, prefix: str) -> dict[str, Any]:
    return {name: what for name, what in everything(client, Keys(prefix)).items() if not Keys.is_fleeting(name)}


@given(todo=operations)
@REPEATED
def test_what_is_restored_reads_as_what_was_backed_up(
    client: Redis, tmp_path: Path, todo: list[tuple[str, int]]
) -> None:
    file = tmp_path / "backup"
    with own_prefix(client) as prefix, own_prefix(client) as other:
        store, copy = RedisStore(client, prefix=prefix), RedisStore(client, prefix=other)
        Life(store).live(todo)
        assert back_up(client, prefix, file).is_consistent
        assert restored(client, other, file).mended == ()
        assert kept(client, other) == kept(client, prefix)
        asset_ids = store.asset_ids()
        assert copy.read_assets(asset_ids) == store.read_assets(asset_ids)
        assert copy.runs(limit=100) == store.runs(limit=100)
        assert [copy.run(run.run_id) for run in store.runs()] == [store.run(run.run_id) for run in store.runs()]
        assert copy.position() == store.position()
        assert (copy.active_runs(), copy.queued_runs()) == (store.active_runs(), store.queued_runs())
        assert [copy.history(a) for a in asset_ids] == [store.history(a) for a in asset_ids]
        # It can be gone on with.
        Life(copy, now_ms=T0 + 1_000_000).live(todo)
        assert list(Doctor(client, prefix=other, streams=STREAMS).examine(fix=False)) == []


@given(fields=st.dictionaries(st.binary(), st.binary(), min_size=1), items=st.lists(st.binary(), min_size=1))
@REPEATED
def test_any_bytes_come_back(client: Redis, tmp_path: Path, fields: dict[bytes, bytes], items: list[bytes]) -> None:
    file = tmp_path / "backup"
    with own_prefix(client) as prefix, own_prefix(client) as other:
        client.hset(f"{prefix}:counters", mapping=fields)  # type: ignore[arg-type]
        client.rpush(f"{prefix}:history:x", *items)
        client.sadd(f"{prefix}:active:pool:x", *items)
        client.zadd(f"{prefix}:runs", {item: index + 0.1 for index, item in enumerate(items)})
        client.xadd(f"{prefix}:dead-letters", fields)  # type: ignore[arg-type]
        client.set(f"{prefix}:seen:x", items[0], px=1_000_000)
        before = kept(client, prefix)
        back_up(client, prefix, file)
        with write_backup(tmp_path / "undoctored", HEADER) as writer:
            write_catalog(client, Keys(prefix), writer)
        _write_only(client, other, tmp_path / "undoctored")
        assert kept(client, other) == before
        assert 0 < client.pttl(f"{other}:seen:x") <= 1_000_000


def _write_only(client: Redis, prefix: str, path: Path) -> None:
    """Without the doctor, who would take out what is no catalog's."""
    write_records(client, Keys(prefix), read_records(path))


def test_many_items_go_through_in_pieces(client: Redis, prefix: str, store: RedisStore, tmp_path: Path) -> None:
    client.hset(f"{prefix}:parameters:w", mapping={f"k{n}": "x" * 1_000 for n in range(3_000)})
    client.rpush(f"{prefix}:history:x", *(f"{n}" for n in range(3_000)))
    for n in range(1_200):
        client.xadd(f"{prefix}:audit", {"n": str(n)})
    file = tmp_path / "backup"
    back_up(client, prefix, file)
    with own_prefix(client) as other:
        _write_only(client, other, file)
        assert kept(client, other) == kept(client, prefix)


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory, server_url: str) -> bytes:
    """The bytes of a small backup."""
    client = connect(server_url, socket_timeout_seconds=10)
    file = tmp_path_factory.mktemp("sound") / "backup"
    with own_prefix(client) as prefix:
        store = RedisStore(client, prefix=prefix)
        store.record(made("up", payload={"text": "x" * 200}))
        start(store, "r")
        back_up(client, prefix, file)
    client.close()
    return file.read_bytes()


def test_a_damaged_file_changes_nothing(
    client: Redis, prefix: str, store: RedisStore, tmp_path: Path, sound: bytes
) -> None:
    store.record(made("here"))
    before = everything(client, Keys(prefix))
    (tmp_path / "damaged").write_bytes(sound[:-40] + b"\0" + sound[-39:])
    with pytest.raises(BackupInvalid, match="damaged"):
        restored(client, prefix, tmp_path / "damaged", replace=True)
    assert everything(client, Keys(prefix)) == before


@pytest.mark.parametrize(
    ("header", "records", "said"),
    [
        ({"schemaVersion": SCHEMA_VERSION + 1}, [], "knows versions up to"),
        ({"schemaVersion": 1, "formatVersion": 2}, [], "format 2"),
        ({"schemaVersion": 1, "format": "other"}, [], "no backup of a catalog"),
        (HEADER, [{"name": "leader", "type": "hash", "items": [["term", "9"]]}], "nothing that a catalog keeps"),
        (HEADER, [{"name": "elsewhere", "type": "hash", "items": [["a", "b"]]}], "nothing that a catalog keeps"),
        (HEADER, [{"name": "runs", "type": "bloom", "items": []}], "no kind that this program knows"),
        (HEADER, [{"type": "hash", "items": []}], "no kind that this program knows"),
    ],
)
def test_a_sound_file_with_something_else_in_it_is_refused(
    client: Redis, prefix: str, tmp_path: Path, header: dict[str, Any], records: list[dict[str, Any]], said: str
) -> None:
    with write_backup(tmp_path / "backup", header) as writer:
        for record in records:
            writer.write(record)
    with pytest.raises(BackupInvalid, match=said):
        restored(client, prefix, tmp_path / "backup")
    assert everything(client, Keys(prefix)) == {}


def test_what_is_there_is_kept_unless_it_is_to_be_replaced(
    client: Redis, prefix: str, store: RedisStore, tmp_path: Path, sound: bytes
) -> None:
    (tmp_path / "backup").write_bytes(sound)
    store.record(made("here"))
    start(store, "mine", pools=("gpu",))
    with pytest.raises(RestoreRefused, match="--replace"):
        restored(client, prefix, tmp_path / "backup")
    assert store.asset_ids() == ["here"]
    client.hset(f"{prefix}:leader", "term", "7")
    restored(client, prefix, tmp_path / "backup", replace=True)
    assert store.asset_ids() == ["up"]
    assert [run.run_id for run in store.active_runs()] == ["r"]
    assert client.hget(f"{prefix}:leader", "term") == "7", "a leader that was deposed must stay so"


def test_beside_a_service_nothing_is_restored(
    client: Redis, keys: Keys, prefix: str, tmp_path: Path, sound: bytes
) -> None:
    (tmp_path / "backup").write_bytes(sound)
    client.sadd(keys.services, "one")
    client.set(keys.service("one"), "{}")
    with pytest.raises(RestoreRefused, match="stop it first"):
        restored(client, prefix, tmp_path / "backup", replace=True)
    assert kept(client, prefix) == {}
    assert client.exists(keys.restoring) == 0


def test_one_that_was_cut_off_keeps_others_out_until_it_is_done_again(
    client: Redis, keys: Keys, prefix: str, tmp_path: Path, sound: bytes
) -> None:
    (tmp_path / "backup").write_bytes(sound)

    def cut_off(done: int, _all: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        restore(
            client,
            tmp_path / "backup",
            prefix=prefix,
            streams=STREAMS,
            on_stage=lambda name: cut_off if name == "restoring" else lambda _done, _all: None,
        )
    with pytest.raises(SchemaRefused, match="--replace"):
        ensure_schema(client, keys)
    with pytest.raises(RestoreRefused, match="--replace"):
        restored(client, prefix, tmp_path / "backup")
    restored(client, prefix, tmp_path / "backup", replace=True)
    ensure_schema(client, keys)


def test_streams_may_have_other_names_where_they_are_restored(
    client: Redis, prefix: str, tmp_path: Path, sound: bytes
) -> None:
    (tmp_path / "backup").write_bytes(sound)
    streams = StreamSettings(events="what-happened", audit="why", dead_letters="lost")
    restore(client, tmp_path / "backup", prefix=prefix, streams=streams)
    assert client.xlen(f"{prefix}:what-happened") == 3
    assert client.exists(f"{prefix}:events") == 0


def test_readers_go_on_where_they_were_and_read_again_what_was_pending(
    client: Redis, keys: Keys, prefix: str, store: RedisStore, tmp_path: Path
) -> None:
    for _ in range(5):
        store.record(made("a"))
    ids = [entry_id for entry_id, _ in CatalogScan(client, keys).entries(keys.events)]
    client.xgroup_create(keys.events, "read", id=ids[2])
    client.xgroup_create(keys.events, "pending", id="0")
    client.xreadgroup("pending", "c", {keys.events: ">"}, count=3)
    client.xack(keys.events, "pending", ids[0])
    client.xdel(keys.events, ids[4])
    back_up(client, prefix, tmp_path / "backup")
    with own_prefix(client) as other:
        restored(client, other, tmp_path / "backup")
        scan, key = CatalogScan(client, Keys(other)), f"{other}:events"
        cursors = {group["name"]: group["last-delivered-id"] for group in scan.groups(key)}
        assert [entry_id for entry_id, _ in scan.entries(key, cursors["read"])] == [ids[3]]
        assert [entry_id for entry_id, _ in scan.entries(key, cursors["pending"])] == ids[1:4]
        about = scan.stream_info(key)
        assert about is not None
        assert about["last-generated-id"] == ids[4], "no later event comes before one that was told"


def test_a_backup_beside_a_living_catalog_is_one_of_an_instant(
    client: Redis, keys: Keys, prefix: str, store: RedisStore, tmp_path: Path
) -> None:
    """Whatever happens between two reads is read again; here at the worst time, after each record."""
    for number in range(3):
        store.record(made(f"a{number}"))
    start(store, "before", pools=("gpu",), upstreams=("a0",))
    left = iter(range(80))

    class Busy(BackupWriter):
        def write(self, record: Any) -> None:
            super().write(record)
            number = next(left, None)
            if number is None:
                return
            run_id = f"r{number}"
            start(store, run_id, workflow=f"w{number}", pools=("cpu",), upstreams=("a0",))
            store.record(made("a0", upstreams=("a1",)))
            store.record(made("b", run_id=run_id, step_id="s", upstreams=("a0",)))
            if number % 3 or number > 20:
                end(store, run_id)
            if number == 5:
                end(store, "before")
            store.queue_run(wanted(f"q{number}", "other"))

    file = tmp_path / "backup"
    with write_backup(file, HEADER) as writer:
        writer.__class__ = Busy
        summary = write_catalog(client, keys, writer)
    assert summary.is_consistent
    assert summary.rounds > 1
    with own_prefix(client) as other:
        assert restored(client, other, file).mended == ()
        there, here = ({n: k for n, k in kept(client, p).items() if not n.startswith("seen:")} for p in (other, prefix))
        assert there == here


def test_a_catalog_that_never_rests_is_read_again_from_the_beginning_of_its_backup(
    client: Redis, keys: Keys, prefix: str, store: RedisStore, tmp_path: Path
) -> None:
    store.record(made("a"))
    client.xgroup_create(keys.events, "reader", id="$")
    (first,) = [entry_id for entry_id, _ in CatalogScan(client, keys).entries(keys.events)]

    class Restless(BackupWriter):
        def write(self, record: Any) -> None:
            super().write(record)
            store.record(made("a"))
            client.xgroup_setid(keys.events, "reader", id="$")

    file = tmp_path / "backup"
    with write_backup(file, HEADER) as writer:
        writer.__class__ = Restless
        summary = write_catalog(client, keys, writer)
    assert not summary.is_consistent
    with own_prefix(client) as other:
        assert restored(client, other, file).header["isConsistent"] is False
        assert list(Doctor(client, prefix=other, streams=STREAMS).examine(fix=False)) == []
        (group,) = CatalogScan(client, Keys(other)).groups(f"{other}:events")
        assert group["last-delivered-id"] == first

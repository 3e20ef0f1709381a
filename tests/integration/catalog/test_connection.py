"""Connecting, and what a caller is told when the server cannot be reached or cannot serve."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from redis import Redis
from redis.exceptions import ConnectionError as RedisConnectionError

from actors.catalog.connection import connect, safe_url, server_of, without_retry
from actors.catalog.redis_store import RedisStore
from actors.catalog.store import CatalogUnavailable, RunStatus
from tests.integration.catalog.builders import T0, end, event_types, made, start, wanted

pytestmark = pytest.mark.integration


@contextmanager
def cutting_proxy(target: Path, path: Path, *, cut_after: bytes) -> Iterator[str]:
    """A server in front of the server that breaks the first connection whose request holds `cut_after`: the request has
    been carried out, and the answer is lost."""
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
        listener.listen(16)
        is_cut = threading.Event()

        def serve(outer: socket.socket) -> None:
            with outer, socket.socket(socket.AF_UNIX) as inner:
                inner.connect(str(target))
                while request := outer.recv(65536):
                    inner.sendall(request)
                    answer = inner.recv(65536)
                    if cut_after in request and not is_cut.is_set():
                        is_cut.set()
                        return
                    outer.sendall(answer)

        def accept() -> None:
            while True:
                try:
                    connection, _ = listener.accept()
                except OSError:
                    return
                threading.Thread(target=serve, args=(connection,), daemon=True).start()

        threading.Thread(target=accept, daemon=True).start()
        yield f"unix://{path}"
        assert is_cut.is_set(), "nothing was cut, so nothing was tested"
        listener.shutdown(socket.SHUT_RDWR)


@pytest.fixture
def known_scripts(store: RedisStore, client: Redis, prefix: str) -> None:
    """Uses every script that is cut below once, under another prefix."""
    other = RedisStore(client, prefix=f"{prefix}-warm")
    start(other, "r")
    other.record(made("a"))
    end(other, "r")
    client.delete(*client.scan_iter(f"{prefix}-warm:*"))


@pytest.fixture
def cut(known_scripts: None, server_url: str, prefix: str) -> Iterator[RedisStore]:
    """A store whose first EVALSHA is carried out and not answered. The server has every script already."""
    target = Path(server_url.removeprefix("unix://"))
    path = target.parent / f"proxy-{prefix}"
    with cutting_proxy(target, path, cut_after=b"EVALSHA") as url:
        client = connect(url, socket_timeout_seconds=10)
        yield RedisStore(client, prefix=prefix)
        client.close()


def test_a_submit_whose_answer_was_lost_claims_once(
    cut: RedisStore, store: RedisStore, client: Redis, prefix: str
) -> None:
    (outcome,) = cut.submit([wanted("r")])
    assert type(outcome).__name__ == "Submitted"
    assert [run.run_id for run in store.active_runs()] == ["r"]
    assert event_types(client, prefix) == ["workflow.run.enqueued"]


def test_a_start_whose_answer_was_lost_is_not_fenced(cut: RedisStore, store: RedisStore) -> None:
    store.record(made("up"))
    store.submit([wanted("r")])
    assert cut.start_run("r", upstreams=["up"], now_ms=T0) == {"up": 1}


def test_an_end_whose_answer_was_lost_says_that_it_ended(
    cut: RedisStore, store: RedisStore, client: Redis, prefix: str
) -> None:
    start(store, "r")
    assert cut.finish_run("r", RunStatus.FAILED, now_ms=T0, expected=[("a", None)])
    assert store.read_assets(["a"])["a"].failures[None].failures == 1
    assert event_types(client, prefix).count("workflow.run.failed") == 1


@pytest.mark.parametrize("from_run", [True, False])
def test_a_record_whose_answer_was_lost_is_recorded_once(
    cut: RedisStore, store: RedisStore, client: Redis, prefix: str, from_run: bool
) -> None:
    start(store, "r")
    outcome = cut.record(made("a", run_id="r", step_id="s") if from_run else made("a"))
    assert outcome.version == 1
    assert event_types(client, prefix).count("asset.produced") == 1


def test_without_retry_a_lost_answer_is_told(server_url: str, client: Redis, prefix: str) -> None:
    client.xadd(f"{prefix}:events", {"x": "1"})
    client.xgroup_create(f"{prefix}:events", "group", id="0")
    target = Path(server_url.removeprefix("unix://"))
    with cutting_proxy(target, target.parent / f"proxy-{prefix}", cut_after=b"XREADGROUP") as url:
        once = without_retry(connect(url))
        with pytest.raises(RedisConnectionError):
            once.xreadgroup("group", "reader", {f"{prefix}:events": ">"})
        once.close()
    assert client.xpending(f"{prefix}:events", "group")["pending"] == 1, "it was delivered, to nobody"


def test_an_absent_server_is_named_with_what_to_check(tmp_path: Path) -> None:
    store = RedisStore(connect(f"unix://{tmp_path}/none.sock"), prefix="p")
    with pytest.raises(CatalogUnavailable, match=r"none\.sock cannot be reached .*check that the server runs"):
        store.asset_ids()
    with pytest.raises(CatalogUnavailable, match="cannot be reached"):
        store.submit([wanted("r")])
    with pytest.raises(CatalogUnavailable, match="cannot be reached"):
        store.read_assets(["a"])


def test_a_wrong_password_is_told_without_the_password(server_url: str, client: Redis) -> None:
    client.config_set("requirepass", "the-right-one")
    try:
        right = connect(server_url, password="the-right-one")
        assert right.ping()
        store = RedisStore(connect(server_url, password="a-wrong-one"), prefix="p")
        with pytest.raises(CatalogUnavailable, match="check the store's password") as told:
            store.asset_ids()
        assert "a-wrong-one" not in str(told.value)
    finally:
        client.config_set("requirepass", "")


def test_a_server_without_memory_is_told_and_nothing_is_half_written(
    store: RedisStore, client: Redis, prefix: str
) -> None:
    client.config_set("maxmemory", "1")
    try:
        with pytest.raises(CatalogUnavailable, match="memory"):
            store.record(made("a"))
    finally:
        client.config_set("maxmemory", "0")
    assert list(client.scan_iter(f"{prefix}:*")) == []


def test_a_key_of_somebody_else_is_told(store: RedisStore, client: Redis, prefix: str) -> None:
    client.set(f"{prefix}:counters", "not a hash")
    with pytest.raises(CatalogUnavailable, match="WRONGTYPE"):
        store.asset_ids()


@pytest.mark.parametrize("url", ["http://example.org/", "localhost:6379", "memcached://x"])
def test_other_schemes_are_refused(url: str) -> None:
    with pytest.raises(ValueError, match="begin it with redis://"):
        connect(url)


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("redis://user:secret@db.example.org:6380/2?x=secret", "redis://db.example.org:6380/2"),
        ("rediss://:secret@db.example.org", "rediss://db.example.org"),
        ("unix:///run/v.sock?password=secret", "unix:///run/v.sock"),
        ("redis://[broken", "(a URL that cannot be read)"),
        ("secret", "(a URL without scheme)"),
    ],
)
def test_a_url_is_shown_without_its_secrets(url: str, shown: str) -> None:
    assert safe_url(url) == shown


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("redis://user:secret@db.example.org:6380/2", "redis://db.example.org:6380/2"),
        ("rediss://:secret@db.example.org", "rediss://db.example.org:6379/0"),
        ("unix:///run/v.sock?password=secret", "unix:///run/v.sock"),
    ],
)
def test_a_client_s_server_is_shown_without_its_secrets(url: str, shown: str) -> None:
    assert server_of(connect(url)) == shown

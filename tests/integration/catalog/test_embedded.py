"""The embedded server: shared by service and commands, outliving a killed service, its data never lost."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from redis import Redis

from actors.catalog.connection import connect
from actors.catalog.embedded import DataDirInUse, EmbeddedServer, EmbeddedServerFailed
from actors.catalog.file_lock import FileLock
from actors.catalog.server_record import ServerRecord
from tests.integration.catalog.builders import eventually, together

pytestmark = pytest.mark.integration

REPOSITORY = Path(__file__).parents[3]


@pytest.fixture
def data_dir(tmp_path: Path) -> Iterator[Path]:
    folder = tmp_path / "data"
    yield folder
    # Whatever a failing test has left running.
    if (pid := server_pid(folder)) is not None and lives(folder):
        os.kill(pid, signal.SIGKILL)


def lives(data_dir: Path) -> bool:
    """Whether a server process holds the lock that it inherited."""
    lock = FileLock(data_dir / "process.lock")
    if not lock.try_acquire():
        return True
    lock.release()
    return False


def server_pid(data_dir: Path) -> int | None:
    return ServerRecord(data_dir).pid if data_dir.exists() else None


@contextmanager
def using(data_dir: Path, *, service: bool = False) -> Iterator[Redis]:
    server = EmbeddedServer(data_dir, start_timeout_seconds=20)
    client = connect(server.acquire(service=service))
    try:
        yield client
    finally:
        client.close()
        server.release()


@contextmanager
def another_process(data_dir: Path, body: str) -> Iterator[subprocess.Popen[str]]:
    """A process that has acquired the server as `server`, runs `body`, says so, and waits to be told to go on."""
    code = f"""
    import sys
    from pathlib import Path
    from actors.catalog.connection import connect
    from actors.catalog.embedded import EmbeddedServer
    server = EmbeddedServer(Path({str(data_dir)!r}), start_timeout_seconds=20)
    {body}
    print("ready", flush=True)
    sys.stdin.readline()
    server.release()
    """
    process = subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(code)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        cwd=REPOSITORY,
    )
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        assert process.stdout.readline() == "ready\n"
        yield process
        if process.poll() is None:
            process.stdin.write("\n")
            process.stdin.flush()
            assert process.wait(20) == 0
    finally:
        process.kill()
        process.wait(10)
        process.stdin.close()
        process.stdout.close()


AS_SERVICE = "client = connect(server.acquire(service=True)); client.set('k', 'of the service')"
AS_COMMAND = "client = connect(server.acquire()); client.set('k', 'of the command')"


def test_the_last_user_stops_the_server_and_the_data_stay(data_dir: Path) -> None:
    with using(data_dir) as client:
        client.set("k", "v")
        assert lives(data_dir)
        assert client.config_get("appendonly", "save", "maxmemory-policy", "port") == {
            "appendonly": "yes",
            "save": "",
            "maxmemory-policy": "noeviction",
            "port": "0",
        }
    assert not lives(data_dir)
    assert not (data_dir / "valkey.sock").exists()
    with using(data_dir) as client:
        assert client.get("k") == "v"


def test_two_users_share_one_server(data_dir: Path) -> None:
    with using(data_dir) as first, another_process(data_dir, AS_COMMAND):
        assert first.get("k") == "of the command"
        pid = first.info("server")["process_id"]
        with using(data_dir) as third:
            assert third.info("server")["process_id"] == pid
        assert first.ping(), "the third was not the last"
    assert not lives(data_dir)


def test_a_user_that_leaves_first_leaves_the_server_to_the_others(data_dir: Path) -> None:
    with another_process(data_dir, AS_SERVICE):
        pid = server_pid(data_dir)
        with using(data_dir) as client:
            assert client.get("k") == "of the service"
        assert lives(data_dir)
    assert not lives(data_dir)
    assert pid is not None


def test_a_killed_service_leaves_its_server_and_the_next_adopts_it(data_dir: Path) -> None:
    with another_process(data_dir, AS_SERVICE) as service:
        pid = server_pid(data_dir)
        service.send_signal(signal.SIGKILL)
        service.wait(10)
        assert lives(data_dir)
        with using(data_dir, service=True) as client:
            assert client.get("k") == "of the service"
            assert client.info("server")["process_id"] == pid
        assert not lives(data_dir)


def test_ctrl_c_in_the_terminal_does_not_reach_the_server(data_dir: Path) -> None:
    with using(data_dir):
        pid = server_pid(data_dir)
        assert pid is not None
        assert os.getsid(pid) == pid != os.getsid(0)


def test_a_killed_server_is_started_again_with_what_was_synced(data_dir: Path) -> None:
    with using(data_dir) as client:
        client.config_set("appendfsync", "always")
        client.set("k", "v")
        pid = server_pid(data_dir)
        assert pid is not None
        os.kill(pid, signal.SIGKILL)
        eventually(lambda: not lives(data_dir), what="the server's death")
        with using(data_dir) as again:
            assert again.get("k") == "v"


def test_a_second_service_is_refused_and_told_who_holds_the_folder(data_dir: Path) -> None:
    with another_process(data_dir, AS_SERVICE) as service:
        with pytest.raises(DataDirInUse, match=f"pid {service.pid}; stop that one") as refused:
            EmbeddedServer(data_dir).acquire(service=True)
        assert refused.value.pid == service.pid
        with using(data_dir) as client:
            assert client.ping(), "a command is not refused"
        assert lives(data_dir)
    with using(data_dir, service=True):
        pass


def test_many_users_that_come_and_go_at_once_never_lose_the_server(data_dir: Path) -> None:
    def come_and_go(index: int) -> list[str | None]:
        seen: list[str | None] = []
        for number in range(5):
            with using(data_dir) as client:
                client.set(f"{index}-{number}", "v")
                value = client.get(f"{index}-{number}")
                assert value is None or isinstance(value, str)
                seen.append(value)
        return seen

    assert together(6, come_and_go) == [["v"] * 5] * 6
    assert not lives(data_dir)
    with using(data_dir) as client:
        assert client.dbsize() == 30


def test_a_folder_too_deep_for_a_socket_gets_one_elsewhere(tmp_path: Path) -> None:
    deep = tmp_path / ("x" * 60) / ("y" * 60)
    with using(deep) as client:
        client.set("k", "v")
        socket_path = Path(client.connection_pool.connection_kwargs["path"])
        assert deep not in socket_path.parents
        assert socket_path.parent.stat().st_mode & 0o777 == 0o700
        with using(deep) as other:
            assert other.get("k") == "v"
    assert not socket_path.parent.exists()


def test_a_folder_with_spaces_and_umlauts_works(tmp_path: Path) -> None:
    with using(tmp_path / "kä se%20#1?") as client:
        assert client.ping()


def test_a_stale_socket_and_record_are_no_obstacle(data_dir: Path) -> None:
    with using(data_dir):
        record = (data_dir / "server.json").read_text()
    (data_dir / "server.json").write_text(record)
    (data_dir / "valkey.sock").touch()
    with using(data_dir) as client:
        assert client.ping()
    (data_dir / "server.json").write_text("{")
    with using(data_dir) as client:
        assert client.ping()


def test_a_living_server_whose_socket_was_deleted_is_replaced(data_dir: Path) -> None:
    with using(data_dir) as client:
        client.set("k", "v")
        before = server_pid(data_dir)
        (data_dir / "valkey.sock").unlink()
        with using(data_dir) as other:
            assert other.get("k") == "v"
            assert server_pid(data_dir) != before


def test_a_copied_folder_has_a_server_of_its_own(data_dir: Path, tmp_path: Path) -> None:
    with using(data_dir) as client:
        client.set("k", "v")
        pid = server_pid(data_dir)
        copy = tmp_path / "copy"
        shutil.copytree(data_dir, copy, ignore=lambda _, names: [n for n in names if n.endswith(".sock")])
        with using(copy) as other:
            assert other.get("k") == "v"
            other.set("k", "changed")
        assert client.get("k") == "v"
        assert lives(data_dir)
        with using(data_dir) as again:
            assert again.info("server")["process_id"] == pid


def append_files(data_dir: Path) -> list[Path]:
    return sorted((data_dir / "valkey" / "appendonlydir").glob("*.incr.aof"))


def test_a_torn_last_write_is_cut_off(data_dir: Path) -> None:
    with using(data_dir) as client:
        client.set("k", "v")
    (log,) = append_files(data_dir)
    with log.open("ab") as file:
        file.write(b"*3\r\n$3\r\nSET\r\n$4\r\nto")
    with using(data_dir) as client:
        assert client.keys() == ["k"]


def test_a_corrupt_log_is_explained_and_kept(data_dir: Path) -> None:
    with using(data_dir) as client:
        client.mset({f"k{n}": "v" * 100 for n in range(100)})
    (log,) = append_files(data_dir)
    content = bytearray(log.read_bytes())
    content[0:1] = b"X"
    log.write_bytes(content)
    with pytest.raises(EmbeddedServerFailed, match="Bad file format") as failed:
        EmbeddedServer(data_dir, start_timeout_seconds=20).acquire()
    assert str(data_dir / "valkey") in str(failed.value)
    assert log.read_bytes() == content
    assert not lives(data_dir)


def test_a_folder_that_cannot_be_made_is_explained(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(EmbeddedServerFailed, match="choose another data_dir"):
        EmbeddedServer(tmp_path / "file" / "data").acquire()


def test_a_folder_that_was_deleted_is_explained_at_the_end(data_dir: Path) -> None:
    server = EmbeddedServer(data_dir)
    server.acquire()
    pid = server_pid(data_dir)
    assert pid is not None
    shutil.rmtree(data_dir)
    with pytest.raises(EmbeddedServerFailed, match="end its valkey-server by hand"):
        server.release()
    os.kill(pid, signal.SIGKILL)


def test_a_failed_start_leaves_no_lock(data_dir: Path) -> None:
    data_dir.mkdir()
    (data_dir / "valkey").touch()
    with pytest.raises(EmbeddedServerFailed):
        EmbeddedServer(data_dir).acquire(service=True)
    (data_dir / "valkey").unlink()
    with using(data_dir, service=True) as client:
        assert client.ping()


def test_the_fsync_policy_of_an_adopted_server_is_the_new_one(data_dir: Path) -> None:
    with using(data_dir) as client:
        assert client.config_get("appendfsync") == {"appendfsync": "everysec"}
        strict = EmbeddedServer(data_dir, "always")
        strict.acquire()
        try:
            assert client.config_get("appendfsync") == {"appendfsync": "always"}
        finally:
            strict.release()


def test_acquiring_twice_is_a_mistake_and_releasing_twice_is_none(data_dir: Path) -> None:
    server = EmbeddedServer(data_dir)
    server.acquire()
    with pytest.raises(ValueError, match="acquired already"):
        server.acquire()
    server.release()
    server.release()
    assert not lives(data_dir)


def test_a_forked_child_does_not_keep_the_service_s_lock(data_dir: Path) -> None:
    fork = """
    import os, time
    server.acquire(service=True)
    if os.fork() == 0:
        os.close(1)
        time.sleep(600)"""
    with another_process(data_dir, textwrap.dedent(fork).strip().replace("\n", "\n    ")) as service:
        children = Path(f"/proc/{service.pid}/task/{service.pid}/children")
        if not children.exists():
            pytest.skip("the children of a process cannot be listed here")
        service.send_signal(signal.SIGKILL)
        orphans = [int(pid) for pid in children.read_text().split()] if children.exists() else []
        service.wait(10)
        try:
            with using(data_dir, service=True) as client:
                assert client.ping()
            assert not lives(data_dir)
        finally:
            for pid in orphans:
                os.kill(pid, signal.SIGKILL)

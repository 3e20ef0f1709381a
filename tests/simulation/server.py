"""One real server for all seeds of a process; every seed has a prefix of its own, dropped when the seed is done."""

from __future__ import annotations

import atexit
import shutil
import tempfile
from functools import cache
from pathlib import Path

from redis import Redis

from actors.catalog.connection import connect
from actors.catalog.embedded import EmbeddedServer

__all__ = ["shared_client"]


@cache
def shared_client() -> Redis:
    folder = Path(tempfile.mkdtemp(prefix="hw-sim-"))
    server = EmbeddedServer(folder)
    client = connect(server.acquire())
    client.config_set("appendonly", "no")

    def stop() -> None:
        client.close()
        server.release()
        shutil.rmtree(folder, ignore_errors=True)

    atexit.register(stop)
    return client

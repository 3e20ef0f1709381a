"""Connections break, in the middle of requests and answers; the server forgets its scripts."""

from __future__ import annotations

import random

import pytest

from actors.catalog.store import RunStatus
from tests.integration.faults.conftest import Guarded
from tests.integration.faults.laws import assert_laws, begin
from tests.integration.faults.proxy import Cut, Proxy, Way
from tests.integration.faults.servers import Server
from tests.integration.service.driver import eventually

pytestmark = pytest.mark.integration

_BURST = 6


@pytest.mark.parametrize("way", ["request", "answer"])
def test_connections_that_break_while_scripts_run(guarded: Guarded, proxy: Proxy, way: Way) -> None:
    """The request never arrives as a whole; or the script was run, and the answer is lost or torn."""
    begin(guarded)
    drawn = random.Random(way)
    cut = Cut(way, lambda: drawn.choice((0, 1, 3, drawn.randrange(200))), mark=b"EVALSHA", times=20)
    proxy.cut(cut)
    for number in range(2, 2 + _BURST):
        guarded.emit("raw")
        guarded.wait_begun("mid", number)
    eventually(cut.done.is_set, "all were cut", 20)
    proxy.cut(None)
    assert_laws(guarded)


def test_connections_that_are_killed_and_scripts_that_are_flushed(guarded: Guarded, server: Server) -> None:
    begin(guarded)
    for number in range(2, 2 + _BURST):
        guarded.emit("raw")
        server.client.script_flush()
        server.client.client_kill_filter(_type="normal", skipme=True)
        guarded.wait_begun("mid", number)
    guarded.wait_runs("mid", RunStatus.SUCCEEDED, 1 + _BURST)
    assert_laws(guarded)
    assert not guarded.logged("stream.server_changed")

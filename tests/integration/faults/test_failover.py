"""A replica takes the place of the server, behind the same address; maybe without the last writes."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from actors.catalog.store import RunStatus
from tests.integration.faults.conftest import Guarded
from tests.integration.faults.laws import assert_laws, begin, begin_held
from tests.integration.faults.proxy import Proxy
from tests.integration.faults.servers import Server
from tests.integration.service.driver import eventually

pytestmark = pytest.mark.integration


@pytest.fixture
def replica(server: Server) -> Iterator[Server]:
    replica = Server()
    replica.follow(server)
    yield replica
    replica.close()


def test_a_failover_to_a_replica_loses_nothing_that_it_had(
    server: Server, replica: Server, proxy: Proxy, guarded: Guarded
) -> None:
    begin_held(guarded)
    guarded.emit("raw")
    replica.follow(server)
    server.kill()
    guarded.release("mid")
    replica.lead()
    guarded.look_at(replica)
    proxy.switch(replica.address)
    guarded.wait_runs("mid", RunStatus.SUCCEEDED, 3)
    assert_laws(guarded)
    assert len(guarded.logged("stream.server_changed")) == 1


def test_connections_that_outlive_a_failover_are_left(
    server: Server, replica: Server, proxy: Proxy, guarded: Guarded
) -> None:
    """The former master lives on as a replica, and answers READONLY to whoever is still connected with it."""
    begin_held(guarded)
    replica.follow(server)
    replica.lead()
    proxy.switch(replica.address, sever=False)
    server.client.replicaof(*map(str, replica.address))
    guarded.look_at(replica)
    guarded.emit("raw")
    guarded.release("mid")
    guarded.wait_runs("mid", RunStatus.SUCCEEDED, 3)
    # Also the heartbeat has found the new master: a command is answered.
    eventually(guarded.catalog.control.is_service_running, "it shows that it lives", 15)
    assert_laws(guarded)
    assert guarded.metric("headwater_catalog_up") == 1


def test_what_a_replica_never_had_is_made_again(
    server: Server, replica: Server, proxy: Proxy, guarded: Guarded
) -> None:
    """The run, its result and the update behind it are forgotten with the former master. What the actors believe of
    them must be, too: the next update gets the version that the forgotten one had."""
    begin(guarded)
    replica.follow(server)
    replica.lead()
    guarded.emit("raw")
    guarded.wait_runs("end", RunStatus.SUCCEEDED, 2)
    guarded.wait_idle()
    forgotten = guarded.latest("raw").materialization.version
    calls = len(guarded.calls)
    server.kill()
    guarded.look_at(replica)
    proxy.switch(replica.address)
    assert guarded.emit("raw").version == forgotten
    guarded.wait_runs("end", RunStatus.SUCCEEDED, 2)
    assert_laws_of_the_rest(guarded)
    assert len(guarded.calls) == calls + 4, "the update that came after went through both, once"


def test_a_run_whose_start_was_forgotten_is_fenced_and_the_work_done_anew(
    server: Server, replica: Server, proxy: Proxy, guarded: Guarded
) -> None:
    begin(guarded)
    replica.follow(server)
    replica.lead()
    guarded.hold("mid")
    guarded.emit("raw")
    guarded.wait_begun("mid", 2)
    server.kill()
    guarded.look_at(replica)
    proxy.switch(replica.address)
    # Nobody could know of the forgotten update; it is told again, as its sender would.
    guarded.emit("raw")
    guarded.release("mid")
    guarded.wait_runs("end", RunStatus.SUCCEEDED, 2)
    eventually(lambda: guarded.logged("run.fenced"), "what was begun for the former master is fenced", 15)
    assert_laws_of_the_rest(guarded)


def assert_laws_of_the_rest(service: Guarded) -> None:
    """As `assert_laws`, of what the catalog knows: it has forgotten runs of which the jobs' log still tells."""
    service.wait_idle()
    known = {run.run_id for slug in ("mid", "end") for run in service.runs(slug)}
    begun = [call.run_id for call in service.calls if call.what == "begun" and call.run_id in known]
    assert sorted(begun) == sorted(known)
    for asset_id, upstream_id in (("mid", "raw"), ("end", "mid")):
        newest = service.latest(upstream_id).materialization
        assert service.latest(asset_id).materialization.inputs == {upstream_id: newest.version}
    assert service.store.active_runs() == []

"""The server goes away: it is stopped, hangs, loads its data, is full, or is restarted."""

from __future__ import annotations

import pytest
from redis.exceptions import BusyLoadingError, RedisError

from actors.catalog.store import RunStatus
from tests.integration.faults.conftest import Guarded
from tests.integration.faults.laws import assert_laws, begin, begin_held
from tests.integration.faults.proxy import Proxy
from tests.integration.faults.servers import Server
from tests.integration.service.driver import eventually, now_ms
from tests.integration.service.workflows import produce, workflow

pytestmark = pytest.mark.integration


def test_a_restart_in_the_middle_of_work_loses_nothing(guarded: Guarded, server: Server) -> None:
    begin_held(guarded)
    guarded.emit("raw")
    server.kill()
    guarded.release("mid")
    guarded.wait_ended("mid", 2)
    server.start()
    guarded.wait_runs("mid", RunStatus.SUCCEEDED, 3)
    assert_laws(guarded)
    assert len(guarded.logged("stream.server_changed")) == 1
    guarded.emit("raw")
    guarded.wait_runs("mid", RunStatus.SUCCEEDED, 4)
    assert_laws(guarded)


def test_an_outage_is_told_by_metric_and_log_and_not_for_each_try(
    guarded: Guarded, server: Server, proxy: Proxy
) -> None:
    begin(guarded)
    assert guarded.metric("headwater_catalog_up") == 1
    guarded.emit("raw")  # maybe heard before the server goes, maybe not
    server.kill()
    guarded.wait_told_down()
    status, body = guarded.page("/readyz")
    assert status == 503
    assert "the catalog cannot be reached" in body
    assert '"role": "leader"' in body, "its lease goes on"
    eventually(lambda: proxy.refused >= 25, "it was tried again and again", 20)
    assert guarded.is_alive()
    assert len(guarded.logged("catalog down")) == 1
    server.start()
    guarded.wait_told_up()
    # The server is another than before to it, so its actors may begin anew.
    eventually(lambda: guarded.page("/readyz") == (200, '{"role": "leader"}\n'), "it leads", 15)
    guarded.wait_runs("end", RunStatus.SUCCEEDED, 2)
    assert_laws(guarded)
    assert guarded.metric("headwater_catalog_up") == 1
    assert len(guarded.logged("catalog down")) == 1


def test_a_run_survives_an_outage_that_is_longer_than_its_lease(guarded: Guarded, server: Server) -> None:
    guarded.set_up(run_lease_seconds=2.0)
    run_id = begin_held(guarded)
    ends_ms = guarded.lease_end_ms(run_id)
    server.kill()
    eventually(lambda: now_ms() > ends_ms + 500, "the lease would be over", 10)
    server.start()
    for _ in range(3):
        # The reaper looks more often than that.
        before_ms = guarded.lease_end_ms(run_id)
        eventually(lambda before_ms=before_ms: guarded.lease_end_ms(run_id) > before_ms, "the lease is renewed", 10)  # type: ignore[misc]
    guarded.release("mid")
    guarded.wait_runs("end", RunStatus.SUCCEEDED, 2)
    assert_laws(guarded)


def test_the_lead_is_given_up_in_a_long_outage_and_taken_again(guarded: Guarded, server: Server) -> None:
    guarded.set_up(lease_seconds=2.0)
    begin_held(guarded)
    server.kill()
    guarded.release("mid")
    eventually(lambda: guarded.page("/readyz")[0] == 503, "it says that it is not ready", 15)
    assert guarded.is_alive()
    server.start()
    eventually(lambda: guarded.page("/readyz") == (200, '{"role": "leader"}\n'), "it leads again", 15)
    guarded.wait_told_up()
    guarded.emit("raw")
    guarded.wait_runs("mid", RunStatus.SUCCEEDED, 3)
    assert_laws(guarded)


def test_a_server_that_hangs_is_waited_for(guarded: Guarded, server: Server) -> None:
    begin_held(guarded)
    guarded.emit("raw")
    server.hang()
    guarded.release("mid")
    guarded.wait_told_down()
    # The worker too; by then more than one connection has waited in vain, for a second each.
    eventually(lambda: guarded.logged("run.waits_for_catalog"), "the run cannot record", 20)
    assert guarded.is_alive()
    server.go_on()
    guarded.wait_told_up()
    guarded.wait_runs("mid", RunStatus.SUCCEEDED, 3)
    assert_laws(guarded)
    assert not guarded.logged("stream.server_changed")


def test_slow_commands_only_delay(guarded: Guarded, server: Server) -> None:
    begin_held(guarded)
    guarded.emit("raw")
    guarded.release("mid")
    server.client.execute_command("DEBUG", "SLEEP", "2.5")  # type: ignore[no-untyped-call]
    guarded.wait_runs("mid", RunStatus.SUCCEEDED, 3)
    guarded.emit("raw")
    server.client.client_pause(2_500)
    guarded.wait_runs("mid", RunStatus.SUCCEEDED, 4)
    assert_laws(guarded)
    assert guarded.metric("headwater_catalog_up") == 1


def test_a_server_that_loads_its_data_is_waited_for(guarded: Guarded, server: Server) -> None:
    begin_held(guarded)
    with server.client.pipeline(transaction=False) as pipe:
        for number in range(5_000):
            pipe.set(f"filler:{number}", "x")
        pipe.execute()
    guarded.emit("raw")
    server.kill()
    guarded.release("mid")
    # Half a millisecond for each key.
    server.start("--key-load-delay", "500", wait=False)
    eventually(lambda: _is_loading(server), "the server is loading", 15)
    guarded.wait_runs("mid", RunStatus.SUCCEEDED, 3)
    assert_laws(guarded)


def test_a_full_server_is_told_and_waited_for(guarded: Guarded, server: Server) -> None:
    guarded.write(workflow("brief", produce("brief", {}, freshness={"ttlMs": 2_000})))
    begin_held(guarded)
    guarded.trigger("brief")
    guarded.wait_runs("brief", RunStatus.SUCCEEDED)
    # Reading goes on: only who writes finds out, as a run that records and the service that publishes an expiry.
    server.client.config_set("maxmemory", "1")
    guarded.release("mid")
    eventually(lambda: guarded.logged("run.waits_for_catalog"), "the run cannot record", 15)
    assert "'maxmemory'" in guarded.logged("run.waits_for_catalog")[0]["reason"]
    guarded.wait_told_down()
    assert "'maxmemory'" in guarded.logged("catalog down")[-1]["error"]
    assert guarded.is_alive()
    server.client.config_set("maxmemory", "0")
    guarded.wait_told_up()
    guarded.wait_runs("brief", RunStatus.SUCCEEDED, 2)
    guarded.wait_runs("end", RunStatus.SUCCEEDED, 2)
    assert_laws(guarded)


def _is_loading(server: Server) -> bool:
    try:
        server.client.ping()
    except BusyLoadingError:
        return True
    except RedisError:
        return False
    return False

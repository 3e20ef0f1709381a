"""Commands asking the running service."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import pytest
from redis import Redis

from actors.catalog.connection import connect
from actors.catalog.control import (
    ControlClient,
    ControlFailed,
    ControlServer,
    ControlTimeout,
    ServiceNotRunning,
)
from actors.catalog.leadership import RedisLease
from actors.catalog.store import CatalogUnavailable, Json, JsonObject
from tests.integration.catalog.builders import eventually, together

pytestmark = pytest.mark.integration


@pytest.fixture
def asking(client: Redis, prefix: str) -> ControlClient:
    return ControlClient(client, prefix=prefix)


def server_of(
    client: Redis,
    prefix: str,
    handler: Callable[[str, JsonObject], Json],
    *,
    service_id: str = "one",
    leads: Callable[[], bool] = lambda: True,
) -> ControlServer:
    return ControlServer(client, prefix=prefix, handler=handler, service_id=service_id, about={"pid": 1}, leads=leads)


@contextmanager
def serving(
    client: Redis,
    prefix: str,
    handler: Callable[[str, JsonObject], Json],
    *,
    service_id: str = "one",
    leads: Callable[[], bool] = lambda: True,
) -> Iterator[ControlServer]:
    server = server_of(client, prefix, handler, service_id=service_id, leads=leads)
    server.start()
    try:
        eventually(ControlClient(client, prefix=prefix).is_service_running, what="the heartbeat")
        yield server
    finally:
        assert server.stop(10)


def echo(op: str, args: JsonObject) -> Json:
    return {"op": op, "args": args}


def test_an_answer_is_what_the_handler_returned(client: Redis, prefix: str, asking: ControlClient) -> None:
    args: JsonObject = {"assetId": "käse", "none": None, "empty": [], "n": 1.5}
    with serving(client, prefix, echo):
        assert asking.ask("dump", args, timeout_seconds=10) == {"op": "dump", "args": args}


def test_every_caller_gets_its_own_answer(client: Redis, prefix: str, asking: ControlClient) -> None:
    with serving(client, prefix, echo):
        answers = together(16, lambda index: asking.ask("n", {"index": index}, timeout_seconds=20))
    assert answers == [{"op": "n", "args": {"index": index}} for index in range(16)]


def test_an_error_is_told_and_the_server_goes_on(client: Redis, prefix: str, asking: ControlClient) -> None:
    def handler(op: str, args: JsonObject) -> Json:
        if op == "bad":
            raise LookupError("asset 'x' is unknown")
        if op == "unanswerable":
            return {"x": float("nan")}
        if op == "no json":
            return object()  # type: ignore[return-value]
        return None

    with serving(client, prefix, handler):
        with pytest.raises(ControlFailed, match="asset 'x' is unknown"):
            asking.ask("bad", {}, timeout_seconds=10)
        with pytest.raises(ControlFailed, match="JSON"):
            asking.ask("unanswerable", {}, timeout_seconds=10)
        with pytest.raises(ControlFailed, match="object"):
            asking.ask("no json", {}, timeout_seconds=10)
        assert asking.ask("good", {}, timeout_seconds=10) is None


def test_without_a_service_the_caller_knows_at_once(asking: ControlClient, client: Redis, prefix: str) -> None:
    with pytest.raises(ServiceNotRunning, match=prefix):
        asking.ask("dump", {}, timeout_seconds=600)
    assert client.exists(f"{prefix}:control") == 0, "nothing waits for a later service"


def test_a_stopped_service_is_not_running(client: Redis, prefix: str, asking: ControlClient) -> None:
    with serving(client, prefix, echo):
        pass
    with pytest.raises(ServiceNotRunning):
        asking.ask("dump", {}, timeout_seconds=600)


def test_the_heartbeat_of_a_killed_service_expires(client: Redis, prefix: str) -> None:
    with serving(client, prefix, echo):
        assert 0 < client.pttl(f"{prefix}:service:one") <= 5_000


def test_a_stopping_service_leaves_the_heartbeat_of_another(client: Redis, prefix: str) -> None:
    with serving(client, prefix, echo, service_id="another"):
        assert server_of(client, prefix, echo).stop(1)
        assert ControlClient(client, prefix=prefix).is_service_running()


def test_a_service_that_stands_by_lives_and_leaves_requests_to_the_leader(
    client: Redis, prefix: str, asking: ControlClient
) -> None:
    leading = threading.Event()
    with (
        serving(
            client, prefix, lambda op, args: "of the first", service_id="first", leads=lambda: not leading.is_set()
        ),
        serving(client, prefix, lambda op, args: "of the second", service_id="second", leads=leading.is_set),
    ):
        eventually(lambda: len(asking.services().living) == 2, what="both heartbeats")
        assert {asking.ask("who", {}, timeout_seconds=10) for _ in range(5)} == {"of the first"}
        leading.set()
        assert {asking.ask("who", {}, timeout_seconds=10) for _ in range(5)} == {"of the second"}


def test_a_request_that_was_taken_when_the_lead_was_lost_is_answered_by_the_next(
    client: Redis, prefix: str, asking: ControlClient
) -> None:
    answers = iter([True, False])

    def leads() -> bool:
        # The heart asks as well.
        return threading.current_thread().name == "catalog-control" and next(answers, False)

    with (
        serving(client, prefix, lambda op, args: "of the first", service_id="first", leads=leads),
        ThreadPoolExecutor(1) as pool,
    ):
        answer = pool.submit(asking.ask, "who", {}, timeout_seconds=20)
        eventually(lambda: next(answers, None) is None, what="the first has taken it")
        with serving(client, prefix, lambda op, args: "of the second", service_id="second"):
            assert answer.result(20) == "of the second"


def test_who_lives_and_who_leads(client: Redis, prefix: str, asking: ControlClient) -> None:
    lease = RedisLease(client, prefix=prefix, service_id="second", lease_seconds=30, sole=False)
    with serving(client, prefix, echo, service_id="first"), serving(client, prefix, echo, service_id="second"):
        eventually(lambda: len(asking.services().living) == 2, what="both heartbeats")
        assert asking.services().leader is None
        assert lease.acquire() == 1
        found = asking.services()
        assert [(each.service_id, each.is_leader, each.about) for each in found.living] == [
            ("second", True, {"pid": 1}),
            ("first", False, {"pid": 1}),
        ]
        assert found.term == 1
        assert 0 < found.left_ms <= 30_000
        lease.release(1)
        assert asking.services().leader is None
    assert asking.services().living == ()
    lease.close()


def test_a_late_answer_is_a_timeout_and_a_late_request_is_dropped(
    client: Redis, prefix: str, asking: ControlClient
) -> None:
    entered, leave = threading.Event(), threading.Event()
    handled: list[str] = []

    def handler(op: str, args: JsonObject) -> Json:
        handled.append(op)
        if op == "slow":
            entered.set()
            assert leave.wait(30)
        return None

    with serving(client, prefix, handler):
        with pytest.raises(ControlTimeout, match="'slow'"):
            asking.ask("slow", {}, timeout_seconds=0.2)
        assert entered.is_set()
        with pytest.raises(ControlTimeout):
            asking.ask("too late", {}, timeout_seconds=0.2)
        leave.set()
        asking.ask("in time", {}, timeout_seconds=20)
    assert handled == ["slow", "in time"]
    assert all(0 < client.ttl(key) <= 60 for key in client.scan_iter(f"{prefix}:control:reply:*"))


def test_a_slow_request_does_not_stop_the_heart(client: Redis, prefix: str, asking: ControlClient) -> None:
    begun, leave = threading.Event(), threading.Event()

    def handle(_op: str, _args: JsonObject) -> Json:
        begun.set()
        return leave.wait(30)

    with serving(client, prefix, handle):
        caller = threading.Thread(target=lambda: asking.ask("slow", {}, timeout_seconds=30))
        caller.start()
        assert begun.wait(30)
        client.delete(f"{prefix}:service:one")
        eventually(asking.is_service_running, what="the next heartbeat")
        leave.set()
        caller.join(30)


@pytest.mark.parametrize(
    "rubbish",
    ["", "{", "[]", '{"id": 1, "op": "x", "args": {}, "deadlineMs": 1}', "\ud800".encode(errors="surrogatepass")],
)
def test_rubbish_in_the_list_is_passed_over(
    client: Redis, prefix: str, asking: ControlClient, rubbish: str | bytes
) -> None:
    with serving(client, prefix, echo):
        client.rpush(f"{prefix}:control", rubbish)
        assert asking.ask("x", {}, timeout_seconds=10) == {"op": "x", "args": {}}


def test_a_request_is_bounded(client: Redis, prefix: str, asking: ControlClient) -> None:
    with serving(client, prefix, echo), pytest.raises(ValueError, match="larger than"):
        asking.ask("x", {"text": "x" * 300_000}, timeout_seconds=10)


def test_an_absent_server_is_told(prefix: str, tmp_path: object) -> None:
    with pytest.raises(CatalogUnavailable):
        ControlClient(connect(f"unix://{tmp_path}/none"), prefix=prefix).ask("x", {}, timeout_seconds=1)


def test_a_lost_connection_is_made_again(client: Redis, prefix: str, asking: ControlClient) -> None:
    with serving(client, prefix, echo):
        client.client_kill_filter(_type="normal", skipme=True)
        assert asking.ask("x", {}, timeout_seconds=20) == {"op": "x", "args": {}}

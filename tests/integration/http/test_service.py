"""A real service in a process of its own, driven by the API alone."""

from __future__ import annotations

import contextlib
import json
import socket
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from actors.catalog.store import RunStatus
from tests.integration.http.conftest import API, OPERATOR, READER, bearer, serve
from tests.integration.service.conftest import closing
from tests.integration.service.driver import DEADLINE_SECONDS, Service, eventually
from tests.integration.service.peers import Peer, wait_leader
from tests.integration.service.workflows import produce, workflow

pytestmark = pytest.mark.integration


def unused_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port: int = server.getsockname()[1]
    return port


class Caller:
    """Calls the API of a service."""

    def __init__(self, service: Service, port: int) -> None:
        self.service = service
        self.http = httpx.Client(
            base_url=f"http://127.0.0.1:{port}", headers=bearer(OPERATOR), timeout=DEADLINE_SECONDS
        )

    def get(self, path: str, *, expect: int = 200, **params: Any) -> Any:
        answer = self.http.get(API + path, params=params)
        assert answer.status_code == expect, answer.text
        return answer.json()

    def send(self, method: str, path: str, body: Any = None, status: int = 200) -> Any:
        answer = self.http.request(method, API + path, json=body)
        assert answer.status_code == status, answer.text
        return answer.json()

    def put(self, *definitions: dict[str, Any]) -> None:
        for definition in definitions:
            self.send("PUT", f"/workflows/{definition['slug']}", self.service._complete(definition))

    def emit(self, asset_id: str, id_: str, *, at: str | None = None) -> Any:
        at = at or time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
        told = {"specversion": "1.0", "id": id_, "source": "/test", "type": "asset.produced", "time": at}
        answer = self.http.post(
            f"{API}/events",
            content=json.dumps({**told, "data": {"assetId": asset_id}}),
            headers={"Content-Type": "application/cloudevents+json"},
        )
        assert answer.status_code == 200, answer.text
        return answer.json()

    def until(self, look: Callable[[], Any], what: str) -> Any:
        return eventually(look, what)

    def wait_runs(self, slug: str, status: str, count: int = 1) -> list[dict[str, Any]]:
        def enough() -> list[dict[str, Any]] | None:
            found: list[dict[str, Any]] = self.get("/runs", workflow=slug, status=status)
            return found if len(found) >= count else None

        return eventually(enough, f"{count} runs of {slug} are {status}")


@pytest.fixture(scope="module")
def shared_caller(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Caller]:
    with closing(Service(tmp_path_factory.mktemp("service"))) as service:
        port = unused_port()
        serve(service, port)
        service.start()
        caller = Caller(service, port)
        yield caller
        caller.http.close()


@pytest.fixture
def caller(shared_caller: Caller) -> Caller:
    return shared_caller


class Hearing(threading.Thread):
    """Listens to the stream of decisions until it ends."""

    def __init__(self, caller: Caller, **params: str) -> None:
        super().__init__(daemon=True)
        self._caller = caller
        self._params = params
        self.heard: list[tuple[str, dict[str, Any]]] = []
        self.has_begun = threading.Event()
        self.start()
        assert self.has_begun.wait(DEADLINE_SECONDS)

    def run(self) -> None:
        # A service that is killed ends the stream in the middle.
        with contextlib.suppress(httpx.HTTPError):
            self._hear()

    def _hear(self) -> None:
        kind = ""
        with self._caller.http.stream("GET", f"{API}/decisions", params=self._params) as answer:
            assert answer.headers["content-type"].startswith("text/event-stream")
            for line in answer.iter_lines():
                self.has_begun.set()
                if line.startswith("event: "):
                    kind = line.removeprefix("event: ")
                elif line.startswith("data: "):
                    self.heard.append((kind, json.loads(line.removeprefix("data: "))))


def test_a_cascade(caller: Caller) -> None:
    caller.put(
        workflow("c-daily", produce("c.daily"), consumes=["c.raw"]),
        workflow("c-weekly", produce("c.weekly"), consumes=["c.daily"]),
    )
    eventually(lambda: caller.http.get(f"{API}/assets/c.weekly").status_code == 200, "the registry knows it")
    hearing = Hearing(caller, asset="c.weekly")
    first = caller.emit("c.raw", "1")
    assert (first["version"], first["duplicate"]) == (1, False)
    (weekly,) = caller.wait_runs("c-weekly", "succeeded")
    (daily,) = caller.wait_runs("c-daily", "succeeded")
    assert weekly["trigger"]["upstream"] == [{"assetId": "c.daily", "partitionKey": None, "version": 1}]

    # Once more is nothing new.
    assert caller.emit("c.raw", "1")["duplicate"] is True
    caller.service.wait_idle()
    assert len(caller.get("/runs", workflow="c-daily")) == 1

    detail = caller.get(f"/runs/{daily['runId']}")
    assert detail["inputs"] == {"c.raw": 1}
    assert [step["status"] for step in detail["steps"]] == ["succeeded"]
    assert caller.get(f"/runs/{daily['runId']}/steps") == detail["steps"]
    assert caller.get(f"/runs/{daily['runId']}/logs")[0]["stepId"] == "make"
    assert daily["runId"] in [entry["runId"] for entry in caller.get("/audit")]
    assert caller.get("/assets/c.weekly/history")[0]["runId"] == weekly["runId"]

    asset = caller.get("/assets/c.weekly")
    assert (asset["live"], asset["partitions"][0]["state"]) == (True, "fresh")
    assert asset["partitions"][0]["decisions"][0]["decision"] == "skip"
    explained = caller.get("/assets/c.weekly/explain")
    assert (explained["live"], explained["partitions"][0]["state"]) == (True, "fresh")
    auto = caller.get("/workflows/c-weekly/auto-materialize")
    assert (auto["lastRun"]["runId"], auto["inFlight"]) == (weekly["runId"], [])

    eventually(lambda: len(hearing.heard) >= 2, "the stream tells of the decision")
    assert {kind for kind, _ in hearing.heard} == {"decision"}
    assert {told["assetId"] for _, told in hearing.heard} == {"c.weekly"}
    decided = [(told["decision"], told["reason"]) for _, told in hearing.heard]
    assert ("materialize", "upstream-updated") in decided


def test_a_run_that_goes_on_is_canceled(caller: Caller) -> None:
    caller.put(workflow("held", produce("held.made", None)))
    caller.service.hold("held")
    run = caller.send("POST", "/workflows/held/run", {}, 202)
    caller.service.wait_begun("held")
    assert caller.get("/workflows/held/auto-materialize")["inFlight"] == [
        {"runId": run["runId"], "partitionKey": None, "status": "running"}
    ]
    assert caller.send("POST", f"/runs/{run['runId']}/cancel")["status"] == "canceling"
    (ended,) = caller.wait_runs("held", "canceled")
    assert ended["runId"] == run["runId"]


def test_a_suspended_asset_is_resumed(caller: Caller) -> None:
    caller.put(workflow("frail", produce("frail", {"onUpstreamUpdate": True, "failureBudget": {"failures": 1}}),
                        consumes=["frail.raw"]))  # fmt: skip
    caller.service.fail("frail")
    caller.emit("frail.raw", "f1")
    eventually(
        lambda: caller.get("/assets", prefix="frail", state="suspended")["items"], "the list says that it is suspended"
    )
    (held,) = caller.get("/workflows/frail/auto-materialize")["backoff"]
    assert (held["assetId"], held["state"], held["failures"]) == ("frail", "suspended", 1)
    caller.service.mend("frail")
    assert caller.send("POST", "/assets/frail/resume")["cleared"] == 1
    caller.wait_runs("frail", "succeeded")


def test_a_pause_holds_back_and_an_expiry_makes_again(caller: Caller) -> None:
    caller.put(workflow("p", produce("p.made", {}), consumes=["p.raw"]))
    caller.send("POST", "/workflows/p/run", {}, 202)
    caller.wait_runs("p", "succeeded")
    caller.send("POST", "/pauses", {"scope": "workflow:p", "for": "1h"})
    assert caller.send("POST", "/assets/p.made/mark-stale")["expired"] is True
    caller.service.wait_state("p.made", "paused")
    assert len(caller.get("/runs", workflow="p")) == 1
    assert caller.send("DELETE", "/pauses/workflow:p")["unpaused"] is True
    caller.wait_runs("p", "succeeded", 2)


def test_a_plan_is_made_elsewhere_and_one_at_a_time(caller: Caller) -> None:
    told = caller.send("POST", "/plan", {"minutes": 1})
    assert told["isServiceRunning"] is True


def test_no_token_stands_in_the_log(caller: Caller) -> None:
    caller.http.post(f"{API}/plan", headers=bearer(READER))
    caller.http.delete(f"{API}/pauses/all", headers=bearer(READER))
    eventually(
        lambda: any(
            line["method"] == "DELETE" and line["status"] == 403 for line in caller.service.logged("http.request")
        ),
        "the request is in the log",
    )
    assert OPERATOR not in caller.service.log
    assert READER not in caller.service.log


def test_it_stops_while_somebody_listens(tmp_path: Path) -> None:
    with closing(Service(tmp_path)) as service:
        port = unused_port()
        serve(service, port)
        service.start()
        caller = Caller(service, port)
        hearing = Hearing(caller)
        began = time.monotonic()
        assert service.terminate() == 0
        assert time.monotonic() - began < 15
        hearing.join(DEADLINE_SECONDS)
        assert hearing.heard[-1][0] == "end"
        caller.http.close()


@pytest.mark.parametrize(
    ("http", "said"),
    [
        ({"host": "0.0.0.0", "token": "", "read_token": ""}, "a token is required"),
        ({"token": "short"}, "http.token"),
        ({"token_file": "/nowhere/token", "token": ""}, "/nowhere/token"),
    ],
)
def test_it_refuses_to_start(tmp_path: Path, http: dict[str, Any], said: str) -> None:
    with closing(Service(tmp_path)) as service:
        serve(service, unused_port(), **http)
        service.start(ready=False)
        assert service.wait() == 2
        assert said in service.log
        assert OPERATOR not in service.log


def test_it_says_when_the_port_is_taken(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken, closing(Service(tmp_path)) as service:
        port = taken.getsockname()[1]
        serve(service, port)
        service.start(ready=False)
        assert service.wait() == 1
        assert f"127.0.0.1:{port}" in service.log
        assert "[http]" in service.log


def test_a_standby_tells_what_the_catalog_knows_and_who_leads(tmp_path: Path, server_url: str) -> None:
    with closing(Service(tmp_path, redis_url=server_url)) as service:
        ports = unused_port(), unused_port()
        serve(service, ports[0])
        service.start()
        assert service.process is not None
        wait_leader(service, service.process.pid)
        serve(service, ports[1])
        peer = Peer(service)
        leader, standby = (Caller(service, port) for port in ports)
        try:
            eventually(lambda: standby.http.get("/readyz").json() == {"role": "standby"}, "the peer stands by")
            leader.put(workflow("w", produce("made"), consumes=["raw"]))
            # Whoever stands by can tell the catalog; who leads acts.
            standby.emit("raw", "1")
            leader.wait_runs("w", "succeeded")
            assert standby.get("/runs", workflow="w") == leader.get("/runs", workflow="w")
            assert standby.get("/assets/made/partitions")["items"][0]["version"] == 1
            for path in ("/assets/made", "/assets/made/explain", "/decisions"):
                problem = standby.get(path, expect=503)
                assert problem["type"] == "urn:headwater:problem:standby"
                assert problem["leader"]["pid"] == service.process.pid
                assert str(service.process.pid) in problem["detail"]
            hearing = Hearing(leader)
            service.kill()
            hearing.join(DEADLINE_SECONDS)
            eventually(lambda: standby.http.get("/readyz").json() == {"role": "leader"}, "the peer leads")
            eventually(lambda: standby.http.get(f"{API}/assets/made").status_code == 200, "its actors answer")
        finally:
            leader.http.close()
            standby.http.close()
            peer.end()
        assert service.runs("w", RunStatus.SUCCEEDED)

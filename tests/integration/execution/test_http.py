"""What runs promise that an orchestrator executes, beyond the contract: it may be away, deaf or a zombie."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from http.server import ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
import structlog
from fastapi.testclient import TestClient
from redis import Redis

from actors.catalog.definitions import WorkflowDefinition, parse_definition
from actors.catalog.redis_store import RedisStore
from actors.catalog.store import RunRecord, RunStatus, StepStatus
from actors.execution.launcher import RunOrder
from actors.execution.reaper import Reaper
from actors.execution.remote.calls import RemoteCalls
from actors.execution.remote.client import HttpClient
from actors.execution.remote.launcher import HttpLauncher
from actors.execution.remote.poller import Poller
from actors.interfaces.http.app import make_app
from actors.runtime.clock import SystemClock
from actors.settings import Settings
from tests.integration.execution.http_orchestrator import SECRET, access_to, is_signed, settings_of
from tests.integration.execution.http_remote import Received, Remote, serving
from tests.integration.execution.workflows import ended, eventually, submit
from tests.unit.docs.markdown import ROOT, blocks
from tests.unit.doubles import RecordingObserver

pytestmark = pytest.mark.integration

DAILY = {"assetId": "orders", "partitioning": {"type": "timeWindow", "granularity": "day"}}
DAY = "2026-11-23"
PAGE = ROOT / "docs" / "how-to" / "run-on-your-orchestrator.md"
LEASE_MS = 1_000


@pytest.fixture(scope="module")
def shared() -> Iterator[Remote]:
    with serving() as remote:
        yield remote


@pytest.fixture
def remote(shared: Remote) -> Remote:
    shared.begin_anew()
    return shared


class House:
    """A launcher and an API over one catalog, with the settings of a test."""

    def __init__(self, store: RedisStore, client: Redis, prefix: str, file: Path, **http: Any) -> None:
        self.store = store
        self.settings: Settings = settings_of(
            file, **{"secret": SECRET, "callback_base_url": "http://headwater", "lease_seconds": 1.0, **http}
        )
        self.http = self.settings.execution.http
        self.calls = RemoteCalls(self.http, HttpClient(timeout_seconds=5), SystemClock())
        self.launcher = HttpLauncher(store, self.calls, self.http)
        self.launcher.start()
        self.api = TestClient(make_app(access_to(store, client, prefix, self.settings)))

    def launched(self, *, metadata: dict[str, Any] | None = None, **more: Any) -> RunOrder:
        order = submit(self.store, made(metadata), partition_key=DAY, **more)
        self.launcher.launch(order)
        return order

    def running(self, order: RunOrder) -> RunRecord:
        def seen() -> RunRecord | None:
            record = self.store.run(order.run_id)
            assert record is not None
            assert not record.status.is_over, record.error
            return record if record.status is RunStatus.RUNNING else None

        return eventually(seen, "the run is running")

    def call_back(self, order: RunOrder, token: str, body: dict[str, Any], status: int = 200) -> dict[str, Any]:
        path = f"/api/v1/runs/{order.run_id}/callback"
        answer = self.api.post(path, json=body, headers={"Authorization": f"Bearer {token}"})
        assert answer.status_code == status, answer.text
        told: dict[str, Any] = answer.json()
        return told

    def poller(self) -> Poller:
        return Poller(self.store, self.calls, self.http, SystemClock())

    def reaper(self) -> Reaper:
        return Reaper(
            self.store,
            self.launcher,
            SystemClock(),
            RecordingObserver(),
            is_waiting=self.launcher.is_waiting,
            lease_ms=LEASE_MS,
            start_timeout_ms=60_000,
        )


Build = Callable[..., House]


@pytest.fixture
def build(store: RedisStore, client: Redis, prefix: str, tmp_path: Path) -> Iterator[Build]:
    houses: list[House] = []

    def make(**http: Any) -> House:
        houses.append(House(store, client, prefix, tmp_path / "http.toml", **http))
        return houses[-1]

    yield make
    for house in houses:
        house.launcher.stop(0)


def made(metadata: dict[str, Any] | None = None) -> WorkflowDefinition:
    step = {"id": "make", "name": "make", "jobSlug": "elsewhere", "produces": [DAILY], "consumes": [{"assetId": "raw"}]}
    document = {"slug": "orders", "name": "Orders", "version": 3, "steps": [step]}
    if metadata is not None:
        document["metadata"] = {"http": metadata}
    return parse_definition(json.dumps(document), source="test")


class TestOffering:
    def test_a_run_is_offered_signed_until_it_is_taken(self, build: Build, remote: Remote) -> None:
        answers: Iterator[tuple[int, Any]] = iter([(503, {}), (429, {}), (202, {})])
        remote.answer = lambda _: next(answers)
        house = build(url=remote.url + "/start/{{ workflow.slug }}")
        order = house.launched(parameters={"region": "nörth"}, trigger={"type": "manual", "reason": "a test"})
        record = house.running(order)
        assert [each.path for each in remote.received] == ["/start/orders"] * 3
        assert {each.headers["idempotency-key"] for each in remote.received} == {order.run_id}
        assert all(is_signed(each.headers, each.body) for each in remote.received)
        told = remote.received[-1].document
        assert told.pop("callbackToken")
        assert told == {
            "runId": order.run_id,
            "workflowSlug": "orders",
            "partitionKey": DAY,
            "trigger": {"type": "manual", "reason": "a test"},
            "parameters": {"region": "nörth"},
            "callbackUrl": f"http://headwater/api/v1/runs/{order.run_id}/callback",
        }
        assert record.inputs == {"raw": 0}
        eventually(lambda: not house.launcher.is_waiting(order), "it is not offered any more")

    def test_a_refusal_fails_the_run_with_what_was_said_but_no_secret(
        self, build: Build, remote: Remote, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("A_TOKEN", "a-token-0123456789")
        remote.answer = lambda got: (403, {"detail": "no DAG", "seen": got.headers["authorization"], "x": "y" * 9_000})
        house = build(url=remote.url, headers={"Authorization": "Bearer ${env:A_TOKEN}"})
        with structlog.testing.capture_logs() as logs:
            record = ended(house.store, house.launched())
        assert record.status is RunStatus.FAILED
        assert "refused the run with status 403" in (record.error or "")
        assert "no DAG" in (record.error or "")
        assert len(record.error or "") < 500
        assert remote.received[0].headers["authorization"] == "Bearer a-token-0123456789"
        assert "a-token-0123456789" not in f"{record}{logs}{house.settings!r}"
        assert len(remote.received) == 1
        assert house.store.read_assets(["orders"])["orders"].failures[DAY].failures == 1

    def test_nobody_there_fails_the_run_after_a_while(self, build: Build) -> None:
        house = build(url="http://127.0.0.1:1/", retry_seconds=0.2)
        record = ended(house.store, house.launched())
        assert record.status is RunStatus.FAILED
        assert "it was offered for 0.2 s, and not taken: http://127.0.0.1:1/ cannot be reached" in (record.error or "")

    def test_one_that_knows_the_run_already_has_taken_it(self, build: Build, remote: Remote) -> None:
        remote.answer = lambda _: (409, {})
        house = build(url=remote.url)
        house.running(house.launched())

    def test_the_end_may_be_told_before_the_answer(self, build: Build, remote: Remote) -> None:
        house = build(url=remote.url, cancel={"url": remote.url + "/cancel"})

        def hurried(got: Received) -> tuple[int, Any]:
            told = got.document
            order = RunOrder(told["runId"], "orders", DAY)
            house.call_back(order, told["callbackToken"], {"status": "succeeded"})
            return 202, {}

        remote.answer = hurried
        order = house.launched()
        assert ended(house.store, order).status is RunStatus.SUCCEEDED
        eventually(lambda: not house.launcher.is_waiting(order), "the answer was read")
        assert len(remote.received) == 1, "nobody asks it to stop"

    def test_one_that_was_canceled_meanwhile_is_stopped_there(self, build: Build, remote: Remote) -> None:
        house = build(url=remote.url, cancel={"url": remote.url + "/cancel/{{ run.id }}"})

        def late(got: Received) -> tuple[int, Any]:
            if got.path == "/":
                assert house.launcher.cancel(got.document["runId"])
            return 202, {}

        remote.answer = late
        order = house.launched()
        assert ended(house.store, order).status is RunStatus.CANCELED
        eventually(lambda: len(remote.received) == 2, "it is asked to stop it")
        assert remote.received[1].path == f"/cancel/{order.run_id}"

    def test_a_definition_may_say_otherwise(self, build: Build, remote: Remote) -> None:
        house = build(url=remote.url)
        body = {"conf": "{{ parameters }}", "key": "a {{ run.partitionKey }}"}
        order = house.launched(metadata={"url": remote.url + "/own", "body": body}, parameters={"n": 1})
        house.running(order)
        assert remote.received[0].path == "/own"
        assert remote.received[0].document == {"conf": {"n": 1}, "key": f"a {DAY}"}

    def test_but_not_send_runs_anywhere(self, build: Build, remote: Remote) -> None:
        house = build(url=remote.url)
        record = ended(house.store, house.launched(metadata={"url": "http://127.0.0.1:1/"}))
        assert record.status is RunStatus.FAILED
        assert "http://127.0.0.1:1 is not allowed; add it to execution.http.allowed_origins" in (record.error or "")
        assert remote.received == []


def test_the_receiver_of_the_page_takes_a_run_and_calls_back(
    build: Build, remote: Remote, monkeypatch: pytest.MonkeyPatch
) -> None:
    (page,) = [block.text for block in blocks(PAGE) if block.marker == "receiver"]
    monkeypatch.setenv("WEBHOOK_SECRET", SECRET)
    names: dict[str, Any] = {"__name__": "receiver"}
    exec(compile(page, str(PAGE), "exec"), names)
    names["Receiver"].log_message = lambda *_: None
    receiver = ThreadingHTTPServer(("127.0.0.1", 0), names["Receiver"])
    threading.Thread(target=receiver.serve_forever, args=(0.05,), daemon=True).start()
    url = f"http://127.0.0.1:{receiver.server_address[1]}/"
    try:
        # Its callback goes to a server of the test, and from there to the API.
        house = build(url=url, callback_base_url=remote.url)
        order = house.launched()
        (called,) = eventually(lambda: list(remote.received), "it called back")
        assert called.path == f"/api/v1/runs/{order.run_id}/callback"
        told = {**called.document, "result": {"assets": [{"assetId": "orders", "dataVersion": "8f2c"}]}}
        token = called.headers["authorization"].removeprefix("Bearer ")
        assert house.call_back(order, token, told)["status"] == "succeeded"
        forged = build(url=url, callback_base_url=remote.url, secret="another-secret-of-nobody")
        assert "refused the run with status 401" in (ended(forged.store, forged.launched()).error or "")
    finally:
        receiver.shutdown()
        receiver.server_close()


class TestPolling:
    """As Airflow and Dagster are used: the answer has an id, by which the run is asked for."""

    @pytest.fixture
    def house(self, build: Build, remote: Remote) -> House:
        return build(
            url=remote.url,
            callback_base_url="",
            remote_id="run.id",
            poll={
                "url": remote.url + "/runs/{{ remote.id }}",
                "interval_seconds": 0.1,
                "status": "runs.0.state",
                "succeeded": ["success"],
                "failed": ["failed"],
                "error": "runs.0.note",
            },
            cancel={"url": remote.url + "/runs/{{ remote.id }}", "method": "PATCH", "body": '{"state": "failed"}'},
        )

    def start(self, house: House, remote: Remote, states: dict[str, Any]) -> RunOrder:
        def answer(got: Received) -> tuple[int, Any]:
            if got.method == "PATCH":
                states["state"] = "failed"
            return 200, {"run": {"id": "a/b"}} if got.method == "POST" else {"runs": [states]}

        remote.answer = answer
        order = house.launched()
        house.running(order)
        return order

    def test_what_is_declared_counts_as_made_also_by_the_next_who_polls(self, house: House, remote: Remote) -> None:
        states: dict[str, Any] = {"state": "queued"}
        order = self.start(house, remote, states)
        first, reaper = house.poller(), house.reaper()
        reaper.start()
        first.start()
        began_ms = house.store.overdue_runs(start_timeout_ms=60_000).server_ms
        eventually(
            lambda: house.store.overdue_runs(start_timeout_ms=60_000).server_ms > began_ms + LEASE_MS + 300,
            "it went on for longer than its lease",
        )
        first.stop()
        second = house.poller()
        second.start()
        states["state"] = "success"
        record = ended(house.store, order)
        second.stop()
        reaper.stop()
        assert (record.status, record.error) == (RunStatus.SUCCEEDED, None)
        assert {each.path for each in remote.of("GET")} == {"/runs/a%2Fb"}
        latest = house.store.read_assets(["orders"])["orders"].latest[DAY]
        assert (latest.run_id, latest.inputs) == (order.run_id, {"raw": 0})
        (step,) = record.steps
        assert (step.status, step.result) == (StepStatus.SUCCEEDED, {"id": "a/b"})

    def test_a_failure_is_told_with_its_reason(self, house: House, remote: Remote) -> None:
        order = self.start(house, remote, {"state": "failed", "note": "no space left"})
        poller = house.poller()
        poller.start()
        record = ended(house.store, order)
        poller.stop()
        assert record.status is RunStatus.FAILED
        assert record.error == f"{remote.url} says 'failed': no space left"
        assert house.store.history("orders") == []

    def test_what_a_user_cancels_was_canceled_whatever_it_is_called_there(self, house: House, remote: Remote) -> None:
        order = self.start(house, remote, {"state": "running"})
        poller = house.poller()
        poller.start()
        assert house.launcher.cancel(order.run_id)
        record = ended(house.store, order)
        poller.stop()
        assert record.status is RunStatus.CANCELED
        assert remote.of("PATCH")[0].document == {"state": "failed"}
        assert house.store.read_assets(["orders"])["orders"].failures == {}

    def test_one_that_does_not_stop_a_run_loses_it(self, house: House, remote: Remote) -> None:
        order = self.start(house, remote, {"state": "running"})
        answer = remote.answer
        remote.answer = lambda got: (500, {}) if got.method == "PATCH" else answer(got)
        poller, reaper = house.poller(), house.reaper()
        poller.start()
        reaper.start()
        assert house.launcher.cancel(order.run_id)
        record = ended(house.store, order)
        poller.stop()
        reaper.stop()
        assert record.status is RunStatus.CANCELED
        assert "did not answer any more" in (record.error or "")

    def test_an_answer_without_the_id_is_a_refusal(self, house: House, remote: Remote) -> None:
        """As GraphQL answers with an error in a 200."""
        remote.answer = lambda _: (200, {"errors": ["no such job"]})
        record = ended(house.store, house.launched())
        assert record.status is RunStatus.FAILED
        assert 'answered without run.id: status 200: {"errors": ["no such job"]}' in (record.error or "")

    def test_one_that_answers_nothing_useful_loses_the_run(self, house: House, remote: Remote) -> None:
        order = self.start(house, remote, {"stat": "running"})
        poller, reaper = house.poller(), house.reaper()
        with structlog.testing.capture_logs() as logs:
            poller.start()
            reaper.start()
            record = ended(house.store, order)
            poller.stop()
            reaper.stop()
        assert record.status is RunStatus.LOST
        said = [entry["reason"] for entry in logs if entry["event"] == "run.not_polled"]
        assert said == [f"{remote.url} answered without runs.0.state"], "once, not at every poll"


class TestCallbacks:
    @pytest.fixture
    def house(self, build: Build, remote: Remote) -> House:
        return build(url=remote.url)

    @pytest.fixture
    def order(self, house: House) -> RunOrder:
        order = house.launched()
        house.running(order)
        return order

    @pytest.fixture
    def token(self, order: RunOrder, remote: Remote) -> str:
        token: str = remote.received[0].document["callbackToken"]
        return token

    def test_a_run_lives_by_them_and_a_zombie_is_refused(self, house: House, order: RunOrder, token: str) -> None:
        assert house.call_back(order, token, {"status": "running"}) == {
            "runId": order.run_id,
            "status": "running",
            "asked": None,
        }
        reaper = house.reaper()
        reaper.start()
        record = ended(house.store, order)
        reaper.stop()
        assert record.status is RunStatus.LOST
        assert "has not renewed its lease" in (record.error or "")
        late = {"status": "succeeded", "result": {"assets": [{"assetId": "orders"}]}}
        with structlog.testing.capture_logs() as logs:
            assert "is lost, not running" in house.call_back(order, token, late, 409)["detail"]
        assert [entry["event"] for entry in logs if entry["log_level"] == "warning"] == ["run.fenced"]
        assert house.store.history("orders") == []

    def test_the_same_again_changes_nothing_and_more_is_refused(
        self, house: House, order: RunOrder, token: str
    ) -> None:
        body = {"status": "succeeded", "result": {"assets": [{"assetId": "orders", "dataVersion": "1"}]}}
        first = house.call_back(order, token, body)
        position = house.store.position()
        assert house.call_back(order, token, body) == first
        assert house.store.position() == position
        more = {"assets": [{"assetId": "orders", "partitionKey": "2026-11-22"}]}
        house.call_back(order, token, {**body, "result": more}, 409)
        house.call_back(order, token, {"status": "failed"}, 409)
        house.call_back(order, token, {"status": "running"}, 409)
        assert house.store.position() == position
        assert [entry.partition_key for entry in house.store.history("orders")] == [DAY]

    def test_what_does_not_fit_the_definition(self, house: House, order: RunOrder, token: str) -> None:
        bad = {"assets": [{"assetId": "somebody.elses"}]}
        told = house.call_back(order, token, {"status": "running", "result": bad}, 422)
        assert "the run: result.assets[0]: asset 'somebody.elses' is not declared" in told["detail"]
        told = house.call_back(order, token, {"status": "running", "steps": [{"stepId": "x", "status": "failed"}]}, 422)
        assert "there is no step 'x' in the definition; it has 'make'" in told["detail"]
        house.running(order)
        assert house.call_back(order, token, {"status": "succeeded", "result": bad})["status"] == "failed"
        record = ended(house.store, order)
        assert record.status is RunStatus.FAILED
        assert "'somebody.elses' is not declared; the steps' 'produces' declares 'orders'" in (record.error or "")

    def test_a_token_is_for_one_run(self, house: House, order: RunOrder, token: str) -> None:
        other = RunOrder("another", "orders", None)
        for shown in (token[:-1], token + "A", "", "an-operator-token-0123456789"):
            house.call_back(order, shown, {"status": "failed"}, 401)
        house.call_back(other, token, {"status": "failed"}, 401)
        house.call_back(RunOrder("unknown", "orders", None), token, {"status": "failed"}, 401)
        house.running(order)

    def test_without_a_way_to_stop_it_a_canceled_run_ends_here(self, house: House, order: RunOrder, token: str) -> None:
        assert house.launcher.cancel(order.run_id)
        assert ended(house.store, order).status is RunStatus.CANCELED
        assert "canceled" in house.call_back(order, token, {"status": "running"}, 409)["detail"]

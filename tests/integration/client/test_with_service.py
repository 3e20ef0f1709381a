"""Both clients against a real service, by the same tests."""

from __future__ import annotations

import asyncio
import inspect
import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from actors.client import (
    AsyncClient,
    Client,
    ConflictError,
    DeadlineError,
    Decision,
    Event,
    ForbiddenError,
    InvalidError,
    NotFoundError,
    RunFailedError,
)
from tests.integration.http.conftest import OPERATOR, READER, serve
from tests.integration.http.test_service import unused_port
from tests.integration.service.conftest import closing
from tests.integration.service.driver import DEADLINE_SECONDS, Service, eventually
from tests.integration.service.workflows import produce, workflow

pytestmark = pytest.mark.integration

EXAMPLE = Path(__file__).parents[3] / "docs" / "examples" / "refresh_and_wait.py"


class Driven:
    """An `AsyncClient` whose methods block, so that a test can be written for both."""

    def __init__(self, client: AsyncClient) -> None:
        self._client = client
        self._runner = asyncio.Runner()

    def __getattr__(self, name: str) -> Callable[..., Any]:
        method = getattr(self._client, name)

        def call(*args: Any, **kwargs: Any) -> Any:
            told = method(*args, **kwargs)
            return self._each(told) if inspect.isasyncgen(told) else self._runner.run(told)

        return call

    def _each(self, told: Any) -> Iterator[Any]:
        try:
            while True:
                yield self._runner.run(anext(told))
        except StopAsyncIteration:
            return
        finally:
            self._runner.run(told.aclose())

    def close(self) -> None:
        self._runner.run(self._client.close())
        self._runner.close()


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Service, str]]:
    with closing(Service(tmp_path_factory.mktemp("service"))) as service:
        port = unused_port()
        serve(service, port, requests_per_second=0)
        service.start()
        yield service, f"http://127.0.0.1:{port}"


Connect = Callable[[str], Any]


@pytest.fixture(params=["blocking", "asyncio"])
def connect(request: pytest.FixtureRequest, served: tuple[Service, str]) -> Iterator[Connect]:
    """Makes clients that show a token."""
    made: list[Any] = []

    def make(token: str) -> Any:
        is_blocking = request.param == "blocking"
        client = Client(served[1], token=token) if is_blocking else Driven(AsyncClient(served[1], token=token))
        made.append(client)
        return client

    yield make
    for client in made:
        client.close()


@pytest.fixture
def headwater(connect: Connect) -> Any:
    return connect(OPERATOR)


@pytest.fixture
def name(request: pytest.FixtureRequest) -> str:
    """What this test's assets and workflows begin with."""
    return "b" if "blocking" in request.node.name else "a"


def put(headwater: Any, service: Service, *definitions: dict[str, Any]) -> list[str]:
    return [headwater.put_workflow(each["slug"], service._complete(each)).result for each in definitions]


def test_the_way_of_a_change(headwater: Any, served: tuple[Service, str], name: str) -> None:
    raw, daily = f"{name}.raw", f"{name}/daily"
    definition = workflow(f"{name}-daily", produce(daily), consumes=[raw])
    assert headwater.health().is_ready
    assert headwater.validate(definition).status == "ok"
    assert put(headwater, served[0], definition, definition) == ["created", "unchanged"]
    assert headwater.workflow(f"{name}-daily").definition["slug"] == f"{name}-daily"
    assert f"{name}-daily" in [each.slug for each in headwater.workflows()]

    first = headwater.emit_produced(raw, id="load-1", data_version="8f2c", payload={"rows": 3})
    assert (first.version, first.duplicate) == (1, False)
    assert headwater.emit_produced(raw, id="load-1").duplicate
    (run,) = eventually(lambda: headwater.runs(workflow=f"{name}-daily", trigger="auto-materialize"), "it runs")
    run = headwater.wait(run.run_id, timeout_seconds=DEADLINE_SECONDS)
    run.require_success()
    assert run.inputs == {raw: 1}
    assert headwater.steps(run.run_id) == list(run.steps)
    assert [log.step_id for log in headwater.logs(run.run_id)] == ["make"]
    assert run.run_id in [entry.run_id for entry in headwater.audit(limit=1000)]

    made = headwater.history(daily)[0]
    assert (made.run_id, made.inputs) == (run.run_id, {raw: 1})
    eventually(lambda: headwater.asset(daily).partition().state == "fresh", "its actor knows")
    assert headwater.explain(daily).partitions[0]["state"] == "fresh"
    assert headwater.auto_materialize(f"{name}-daily").last_run.run_id == run.run_id
    assert (raw, daily, "triggers") in [(e.upstream, e.asset_id, e.kind) for e in headwater.graph().edges]
    assert headwater.mark_stale(daily).expired
    assert headwater.resume(daily).cleared == 0
    assert headwater.remove_workflow(f"{name}-daily").removed


def test_lists_in_pages(headwater: Any, served: tuple[Service, str], name: str) -> None:
    keys = [f"k{number}" for number in range(5)]
    sliced = produce(f"{name}.pages", None, partitioning={"type": "dynamic"})
    put(headwater, served[0], workflow(f"{name}-pages", sliced))
    told = headwater.emit_batch([Event.produced(f"{name}.pages", partition_key=key) for key in keys])
    assert [each.partition_key for each in told] == keys
    listed = headwater.partitions(f"{name}.pages", page_size=2)
    assert [each.partition_key for each in listed] == keys
    found = list(headwater.assets(prefix=f"{name}.pages", page_size=1))
    assert [(each.asset_id, each.states) for each in found] == [(f"{name}.pages", {"fresh": 5})]


def test_a_run_that_takes_longer_and_one_that_fails(headwater: Any, served: tuple[Service, str], name: str) -> None:
    service, slug = served[0], f"{name}-held"
    put(headwater, service, workflow(slug, produce(slug, None)))
    service.hold(slug)
    with pytest.raises(DeadlineError, match="it goes on"):
        headwater.run_and_wait(slug, timeout_seconds=0.05)
    service.wait_begun(slug)
    (run,) = headwater.runs(workflow=slug, status="running")
    assert headwater.cancel(run.run_id).status == "canceling"
    assert headwater.wait(run.run_id, timeout_seconds=DEADLINE_SECONDS).status == "canceled"
    with pytest.raises(ConflictError, match="nothing to cancel"):
        headwater.cancel(run.run_id)
    service.release(slug)
    service.fail(slug)
    failed = headwater.run_and_wait(slug, timeout_seconds=DEADLINE_SECONDS)
    with pytest.raises(RunFailedError, match=f"of {slug} is failed"):
        failed.require_success()


def test_pauses(headwater: Any, served: tuple[Service, str], name: str) -> None:
    put(headwater, served[0], workflow(f"{name}-paused", produce(f"{name}.paused")))
    scope = f"asset:{name}.paused"
    assert headwater.pause(scope, lasting="2h", reason="moved").until is not None
    assert scope in [each.scope for each in headwater.pauses()]
    assert headwater.unpause(scope).unpaused


def test_what_is_refused(headwater: Any, connect: Connect) -> None:
    with pytest.raises(NotFoundError) as caught:
        headwater.asset("no/such")
    assert (caught.value.status, caught.value.title) == (404, "There is no such thing")
    assert "no/such" in caught.value.detail
    with pytest.raises(InvalidError) as invalid:
        headwater.put_workflow("w", "slug: w\nname: W\nsteps: []\n", format="yaml")
    assert "$.steps" in [fault.path for fault in invalid.value.errors]
    with pytest.raises(ForbiddenError):
        connect(READER).pause()
    with pytest.raises(ForbiddenError):
        connect("not-known-here-0123456789").workflows()


def test_decisions_are_heard(headwater: Any, served: tuple[Service, str], connect: Connect, name: str) -> None:
    put(headwater, served[0], workflow(f"{name}-heard", produce(f"{name}.heard"), consumes=[f"{name}.told"]))
    heard: list[Decision] = []

    def listen() -> None:
        client = connect(READER)
        for decision in client.decisions(asset=f"{name}.heard"):
            heard.append(decision)
            if decision.decision == "materialize":
                return

    listener = threading.Thread(target=listen)
    listener.start()

    def has_heard() -> bool:
        # What was decided before it listened is not told to it.
        headwater.emit_produced(f"{name}.told")
        listener.join(0.05)
        return not listener.is_alive()

    eventually(has_heard, "the listener has heard of a run")
    assert {decision.asset_id for decision in heard} == {f"{name}.heard"}
    assert heard[-1].reason in ("upstream-updated", "missing")


def test_the_example(served: tuple[Service, str]) -> None:
    service, url = served
    with Client(url, token=OPERATOR) as client:
        put(client, service, workflow("example", produce("example.made", None), consumes=["example.raw"]))
        client.emit_produced("example.raw")
    environ = {**os.environ, "PYTHONPATH": str(EXAMPLE.parents[2]), "HEADWATER_URL": url, "HEADWATER_TOKEN": OPERATOR}
    command = [sys.executable, str(EXAMPLE), "example.made", "--timeout", "60"]
    eventually(lambda: "example.made" in client_assets(url), "the service knows it")
    done = subprocess.run(command, env=environ, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "example.made has version 1, made from {'example.raw': 1}" in done.stdout
    service.fail("example")
    done = subprocess.run(command, env=environ, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (1, "")
    assert "of example is failed" in done.stderr


def client_assets(url: str) -> list[str]:
    with Client(url, token=READER) as client:
        return [each.asset_id for each in client.assets()]

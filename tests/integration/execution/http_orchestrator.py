"""A small orchestrator over HTTP, as a user may have one: it takes signed requests to start and to stop runs, executes
their steps, and calls back. All that it tells Headwater goes through the callback; the service's API is the real one.

Inside it is a `LocalLauncher`, whose store is not the catalog but the callback.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import socket
import threading
import time
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Final, cast

import httpx
from prometheus_client import CollectorRegistry
from redis import Redis

from actors.catalog.access import Catalog
from actors.catalog.connection import connect
from actors.catalog.control import ControlClient
from actors.catalog.definitions import WorkflowDefinition
from actors.catalog.redis_store import RedisStore
from actors.catalog.store import (
    CatalogUnavailable,
    NewMaterialization,
    Recorded,
    Renewal,
    RunFenced,
    RunRecord,
    RunStatus,
    StepRecord,
    Store,
)
from actors.catalog.timestamps import format_iso
from actors.execution.jobs import JobRegistry
from actors.execution.launcher import RunOrder
from actors.execution.local import LocalLauncher
from actors.execution.remote.calls import RemoteCalls
from actors.execution.remote.client import HttpClient
from actors.execution.remote.launcher import HttpLauncher
from actors.interfaces.http.access import ServiceAccess, now_ms
from actors.interfaces.http.decisions import DecisionFeed
from actors.interfaces.http.planner import Planner
from actors.interfaces.http.server import HttpServer
from actors.runtime.clock import SystemClock
from actors.settings import HttpTokens, Settings, load_settings

__all__ = ["OPERATOR", "SECRET", "HttpStage", "access_to", "is_signed", "settings_of"]

SECRET: Final = "a-secret-of-the-tests-0123456789"
OPERATOR: Final = "an-operator-token-0123456789"
LEASE_MS: Final = 1_000


@dataclass(frozen=True, slots=True)
class _Taken:
    """A run that was taken: what was told of it, and where to call back."""

    record: RunRecord
    url: str
    token: str


class CallbackStore:
    """What a `LocalLauncher` asks its store for, answered by what the request told and by callbacks."""

    def __init__(self, definitions: Store) -> None:
        self._definitions = definitions
        self.taken: dict[str, _Taken] = {}
        self._http = httpx.Client(timeout=20)

    def close(self) -> None:
        self._http.close()

    def run(self, run_id: str) -> RunRecord:
        return self.taken[run_id].record

    def workflow(self, slug: str) -> WorkflowDefinition | None:
        """An orchestrator has workflows of its own; these are the same."""
        return self._definitions.workflow(slug)

    def start_run(self, run_id: str, **_: Any) -> dict[str, int]:
        return {}

    def put_step(self, run_id: str, step: StepRecord, *, token: str | None = None) -> None:
        told = {
            "stepId": step.step_id,
            "status": step.status.value,
            "attempt": step.attempt,
            "startedAt": None if step.started_at_ms is None else format_iso(step.started_at_ms),
            "endedAt": None if step.ended_at_ms is None else format_iso(step.ended_at_ms),
            "error": step.error,
            "result": step.result,
            "stdoutTail": step.stdout_tail,
            "stderrTail": step.stderr_tail,
        }
        self._tell(run_id, {"status": "running", "steps": [told]})

    def record(self, new: NewMaterialization) -> Recorded:
        assert new.run_id is not None
        entry = {
            "assetId": new.asset_id,
            "partitionKey": new.partition_key,
            "producedAt": format_iso(new.produced_at_ms),
            "dataVersion": new.data_version,
            "payload": new.payload,
        }
        self._tell(new.run_id, {"status": "running", "result": {"assets": [entry]}})
        return Recorded(0, changed=True, duplicate=False)

    def renew_runs(self, tokens: dict[str, str], *, lease_ms: int) -> dict[str, Renewal]:
        return {run_id: self._renewed(run_id) for run_id in tokens}

    def finish_run(self, run_id: str, status: RunStatus, *, error: str | None = None, **_: Any) -> bool:
        said = status.value if status is not RunStatus.LOST else "failed"
        try:
            self._tell(run_id, {"status": said, "error": error})
        except RunFenced:
            return False
        return True

    def _renewed(self, run_id: str) -> Renewal:
        try:
            asked = self._tell(run_id, {"status": "running"})["asked"]
        except RunFenced:
            return Renewal.FENCED
        return Renewal(asked) if asked is not None else Renewal.HELD

    def _tell(self, run_id: str, body: dict[str, Any]) -> dict[str, Any]:
        taken = self.taken[run_id]
        try:
            answer = self._http.post(taken.url, json=body, headers={"Authorization": f"Bearer {taken.token}"})
        except httpx.TransportError as error:
            raise CatalogUnavailable(str(error)) from error
        if answer.status_code == 409:
            raise RunFenced(answer.json()["detail"])
        if answer.status_code >= 500:
            raise CatalogUnavailable(answer.text)
        assert answer.status_code == 200, answer.text
        told: dict[str, Any] = answer.json()
        return told


class Orchestrator:
    """`POST /runs` starts one, `POST /runs/ID/cancel` stops it; four go on at once, and two jobs of them."""

    def __init__(self, definitions: Store, jobs: JobRegistry) -> None:
        self.store = CallbackStore(definitions)
        self.launcher = LocalLauncher(cast("Store", self.store), jobs, max_runs=4, processes=2, lease_ms=LEASE_MS)
        self.launcher.start()
        orchestrator = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                status = orchestrator.answer(self.path, {k.lower(): v for k, v in self.headers.items()}, body)
                self.send_response(status)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *_: object) -> None:
                return

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}/runs"
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()

    def answer(self, path: str, headers: dict[str, str], body: bytes) -> int:
        if not is_signed(headers, body):
            return 401
        document = json.loads(body)
        run_id = document["runId"]
        if path.endswith("/cancel"):
            return 202 if self.launcher.cancel(run_id) else 404
        assert headers["idempotency-key"] == run_id
        if run_id in self.store.taken:
            return 409
        record = RunRecord(
            run_id=run_id,
            workflow_slug=document["workflowSlug"],
            partition_key=document["partitionKey"],
            status=RunStatus.ENQUEUED,
            parameters=document["parameters"],
            trigger=document["trigger"],
            created_at_ms=now_ms(),
        )
        self.store.taken[run_id] = _Taken(record, document["callbackUrl"], document["callbackToken"])
        self.launcher.launch(RunOrder(run_id, record.workflow_slug, record.partition_key))
        return 202

    def close(self) -> None:
        self.launcher.stop(0)
        self._server.shutdown()
        self._server.server_close()
        self.store.close()


def is_signed(headers: dict[str, str], body: bytes) -> bool:
    """As the documentation has it, with nothing of ours."""
    at = headers["webhook-timestamp"]
    signed = f"{headers['webhook-id']}.{at}.".encode() + body
    wanted = "v1," + base64.b64encode(hmac.new(SECRET.encode(), signed, hashlib.sha256).digest()).decode()
    shown = headers["webhook-signature"].split()
    return abs(time.time() - int(at)) < 300 and any(hmac.compare_digest(wanted, each) for each in shown)


def settings_of(file: Path, **http: Any) -> Settings:
    """The settings of a service that has runs executed by HTTP."""
    tables: dict[str, dict[str, Any]] = {"": {}}
    for key, value in http.items():
        if isinstance(value, dict):
            tables[f".{key}"] = value
        else:
            tables[""][key] = value
    lines = ['[execution]\nlauncher = "http"']
    for name, values in tables.items():
        lines += [f"[execution.http{name}]", *(f"{json.dumps(k)} = {json.dumps(v)}" for k, v in values.items())]
    file.write_text("\n".join(lines) + "\n")
    return load_settings([file], environ={})


def access_to(store: RedisStore, client: Redis, prefix: str, settings: Settings) -> ServiceAccess:
    """What the API of a service is given, without the service. Nobody counts what is asked of it."""
    http = settings.http.model_copy(update={"requests_per_second": 0.0})
    settings = settings.model_copy(update={"http": http})
    return ServiceAccess(
        settings=lambda: settings,
        catalog=Catalog(store, ControlClient(client, prefix=prefix), client),
        ask=lambda op, args: None,
        role=lambda: "leader",
        metrics=CollectorRegistry(),
        decisions=DecisionFeed(leads=lambda: True, now_ms=now_ms),
        planner=Planner(),
        tokens=HttpTokens(OPERATOR),
    )


class HttpStage:
    """One catalog, the API on it, and an orchestrator that executes its runs."""

    def __init__(self, folder: Path, url: str, prefix: str, jobs: JobRegistry) -> None:
        self.client = connect(url, socket_timeout_seconds=10)
        self.store = RedisStore(self.client, prefix=prefix)
        self.orchestrator = Orchestrator(self.store, jobs)
        listening = socket.create_server(("127.0.0.1", 0))
        self.settings = settings_of(
            folder / "http.toml",
            url=self.orchestrator.url,
            secret=SECRET,
            callback_base_url=f"http://127.0.0.1:{listening.getsockname()[1]}",
            lease_seconds=LEASE_MS / 1_000,
            runs_outlive_service=False,
            cancel={"url": self.orchestrator.url + "/{{ run.id }}/cancel"},
        )
        self._server = HttpServer(access_to(self.store, self.client, prefix, self.settings), listening)
        self._server.start()

    def launcher(self) -> HttpLauncher:
        http = self.settings.execution.http
        calls = RemoteCalls(http, HttpClient(timeout_seconds=http.timeout_seconds), SystemClock())
        return HttpLauncher(self.store, calls, http)

    def close(self) -> None:
        self.orchestrator.close()
        self._server.stop()
        self.client.close()

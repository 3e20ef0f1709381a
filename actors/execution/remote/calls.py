"""The three things that an orchestrator is asked: to start a run, to stop it, and how it is."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Final, Protocol

from actors.catalog.definitions import WorkflowDefinition
from actors.catalog.store import Json, JsonObject, RunRecord
from actors.catalog.timestamps import format_iso
from actors.execution.remote.client import Answer, Outgoing
from actors.execution.remote.signing import callback_token, signature_headers
from actors.execution.remote.target import Call, Poll, Target
from actors.execution.templates import TemplateError, render_document, render_url
from actors.execution_settings import HttpExecutionSettings, origin_of, read_headers, read_secrets
from actors.runtime.clock import Clock

__all__ = ["CALLBACK_PATH", "REMOTE_STEP", "RemoteCalls", "Sender", "remote_id_of"]

CALLBACK_PATH: Final = "/api/v1/runs/{run_id}/callback"
REMOTE_STEP: Final = "(remote)"
"""Among the steps of a run: what its orchestrator calls it."""


class Sender(Protocol):
    """Sends a request; raises `Unreachable`."""

    def send(self, outgoing: Outgoing) -> Answer: ...


class RemoteCalls:
    """Fills in templates, signs, and sends. Thread-safe. Each method raises

    - `Unreachable`: no answer came;
    - `SecretUnreadable`: a secret that is needed is not there now;
    - `TemplateError`: a template cannot be filled in.
    """

    def __init__(self, http: HttpExecutionSettings, sender: Sender, clock: Clock) -> None:
        self._http = http
        self._sender = sender
        self._clock = clock
        self._own_origins = {origin_of(url) for url in (http.url, http.poll.url, http.cancel.url) if url}

    def start(self, target: Target, definition: WorkflowDefinition, record: RunRecord) -> tuple[Answer, str]:
        """Offer a run, as often as need be: it is known by its id. Also returns the answer in words."""
        known = self._known(definition, record)
        return self._send("start", target, target.start, known, record.run_id, _document(record, known))

    def cancel(
        self, target: Target, call: Call, definition: WorkflowDefinition, record: RunRecord
    ) -> tuple[Answer, str]:
        """Ask it to stop a run."""
        known = self._known(definition, record)
        document: JsonObject = {"runId": record.run_id, "remoteId": remote_id_of(record)}
        return self._send("cancel", target, call, known, f"{record.run_id}:cancel", document)

    def poll(self, target: Target, poll: Poll, definition: WorkflowDefinition, record: RunRecord) -> tuple[Answer, str]:
        """Ask it how a run is."""
        return self._send("poll", target, poll.call, self._known(definition, record), None, None)

    def _known(self, definition: WorkflowDefinition, record: RunRecord) -> dict[str, Json]:
        """What templates may name."""
        known: dict[str, Json] = {
            "run": {
                "id": record.run_id,
                "partitionKey": record.partition_key,
                "workflowSlug": record.workflow_slug,
                "createdAt": format_iso(record.created_at_ms),
            },
            "workflow": {"slug": definition.slug, "name": definition.name, "version": definition.version},
            "parameters": record.parameters,
            "trigger": record.trigger,
        }
        remote_id = remote_id_of(record)
        if remote_id is not None:
            known["remote"] = {"id": remote_id}
        if self._http.callback_base_url:
            url = self._http.callback_base_url.rstrip("/") + CALLBACK_PATH.format(run_id=record.run_id)
            known["callback"] = {"url": url, "token": callback_token(read_secrets(self._http)[0], record.run_id)}
        return known

    def _send(
        self, kind: str, target: Target, call: Call, known: JsonObject, message_id: str | None, otherwise: Json
    ) -> tuple[Answer, str]:
        url = render_url(call.url, known, f"the URL to {kind} runs")
        if origin_of(url) != origin_of(call.url):
            raise TemplateError(f"the URL to {kind} runs: its host may not come from a template")
        document = otherwise if call.body is None else render_document(call.body, known, f"the body to {kind} runs")
        body = b"" if document is None else json.dumps(document, ensure_ascii=False, allow_nan=False).encode()
        headers = {"User-Agent": "headwater", "Accept": "application/json"}
        shown: dict[str, str] = {}
        if origin_of(url) in self._own_origins:
            shown = read_headers(self._http)
            headers |= shown
        headers |= target.headers
        if document is not None:
            headers["Content-Type"] = "application/json"
        if message_id is not None:
            headers["Idempotency-Key"] = message_id
            if self._http.sign:
                at_s = self._clock.now_ms() // 1_000
                headers |= signature_headers(read_secrets(self._http), message_id=message_id, at_s=at_s, body=body)
        answer = self._sender.send(Outgoing(call.method, url, headers, body if document is not None else None))
        return answer, answer.told(_hidden(shown, known))


def remote_id_of(record: RunRecord) -> str | None:
    """By which id the orchestrator knows the run, if it has said so."""
    for step in record.steps:
        if step.step_id == REMOTE_STEP and isinstance(step.result, Mapping):
            remote_id = step.result.get("id")
            return remote_id if isinstance(remote_id, str) else None
    return None


def _document(record: RunRecord, known: JsonObject) -> JsonObject:
    callback = known.get("callback")
    callback = callback if isinstance(callback, Mapping) else {}
    return {
        "runId": record.run_id,
        "workflowSlug": record.workflow_slug,
        "partitionKey": record.partition_key,
        "trigger": record.trigger,
        "parameters": record.parameters,
        "callbackUrl": callback.get("url"),
        "callbackToken": callback.get("token"),
    }


def _hidden(shown: Mapping[str, str], known: JsonObject) -> tuple[str, ...]:
    """What an answer may repeat, and must not get into a log or a run's error."""
    callback = known.get("callback")
    token = callback.get("token") if isinstance(callback, Mapping) else None
    parts = [part for value in shown.values() for part in (value, *value.split()) if len(part) >= 8]
    return tuple(sorted([*parts, *([token] if isinstance(token, str) else [])], key=len, reverse=True))

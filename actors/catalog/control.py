"""How commands ask the running service, over the server that both use.

The service keeps a heartbeat key alive and takes requests from a list; each answer goes to a list of its own, which
expires. Deadlines are read from the server's clock, so the clocks of two machines need not agree.
"""

from __future__ import annotations

import json
import os
import threading
import time
import uuid
from collections.abc import Callable
from typing import Any, Final

import structlog
from redis import Redis

from actors.catalog.codec import dump
from actors.catalog.connection import server_errors, server_of, without_retry
from actors.catalog.keys import Keys
from actors.catalog.store import CatalogUnavailable, Json, JsonObject

__all__ = ["ControlClient", "ControlFailed", "ControlServer", "ControlTimeout", "ServiceNotRunning"]

MAX_REQUEST_BYTES: Final = 256 * 1024
_HEARTBEAT_MS: Final = 5_000
_BEAT_SECONDS: Final = 1.5
_REPLY_SECONDS: Final = 60
_POLL_SECONDS: Final = 0.5
_RETRY_SECONDS: Final = 0.5

Handler = Callable[[str, JsonObject], Json]


class ServiceNotRunning(RuntimeError):  # noqa: N818 - reads as the event it tells of
    """No service is alive on this catalog."""


class ControlTimeout(RuntimeError):  # noqa: N818 - reads as the event it tells of
    """The service did not answer in time; whether it carried the request out is not known."""


class ControlFailed(RuntimeError):  # noqa: N818 - reads as the event it tells of
    """The service refused or failed to carry out the request; the text is its reason."""


class ControlServer:
    """Two threads: one shows that the service lives, one answers requests, one at a time. It can be started once.

    `handler` gets the operation and its arguments. What it returns is the answer; what it raises is answered as an
    error and does not end the server.
    """

    def __init__(self, client: Redis, *, prefix: str, handler: Handler) -> None:
        self._client = without_retry(client)
        self._keys = Keys(prefix)
        self._handler = handler
        self._server = server_of(client)
        self._log = structlog.get_logger(__name__)
        self._stopping = threading.Event()
        self._heartbeat = dump({"pid": os.getpid(), "startedAt": int(time.time() * 1000), "id": uuid.uuid4().hex})
        self._threads = [
            threading.Thread(target=self._repeat, args=(self._beat,), name="catalog-heartbeat", daemon=True),
            threading.Thread(target=self._repeat, args=(self._serve,), name="catalog-control", daemon=True),
        ]

    def start(self) -> None:
        for thread in self._threads:
            thread.start()

    def stop(self, timeout_seconds: float) -> bool:
        """Stop after the request under way; False if that takes longer."""
        self._stopping.set()
        deadline = time.monotonic() + timeout_seconds
        for thread in self._threads:
            if thread.is_alive():
                thread.join(max(0.0, deadline - time.monotonic()))
        if any(thread.is_alive() for thread in self._threads):
            return False
        try:
            with server_errors(self._server):
                if self._client.get(self._keys.service) == self._heartbeat:
                    self._client.delete(self._keys.service)
        except CatalogUnavailable:
            pass  # the heartbeat expires by itself
        self._client.close()
        return True

    def _repeat(self, turn: Callable[[], None]) -> None:
        while not self._stopping.is_set():
            try:
                with server_errors(self._server):
                    turn()
            except CatalogUnavailable:
                self._stopping.wait(_RETRY_SECONDS)  # the stream's reader reports it

    def _beat(self) -> None:
        self._client.set(self._keys.service, self._heartbeat, px=_HEARTBEAT_MS)
        self._stopping.wait(_BEAT_SECONDS)

    def _serve(self) -> None:
        taken: Any = self._client.blpop([self._keys.control], timeout=_POLL_SECONDS)
        if taken is None:
            return
        try:
            request = _read_request(taken[1])
        except ValueError as error:
            self._log.warning("control.unreadable", reason=str(error))
            return
        if _server_ms(self._client) > request["deadlineMs"]:
            return
        reply_key = self._keys.control_reply(request["id"])
        with self._client.pipeline(transaction=True) as pipe:
            pipe.rpush(reply_key, self._answer(request["op"], request["args"]))
            pipe.expire(reply_key, _REPLY_SECONDS)
            pipe.execute()

    def _answer(self, op: str, args: JsonObject) -> str:
        try:
            return dump({"ok": True, "result": self._handler(op, args)})
        except Exception as error:
            self._log.warning("control.failed", op=op, exc_info=True)
            return dump({"ok": False, "error": str(error) or type(error).__name__})


class ControlClient:
    """Asks the running service. Thread-safe."""

    def __init__(self, client: Redis, *, prefix: str) -> None:
        self._client = client
        self._keys = Keys(prefix)
        self._server = server_of(client)

    def is_service_running(self) -> bool:
        with server_errors(self._server):
            return bool(self._client.exists(self._keys.service))

    def ask(self, op: str, args: JsonObject, *, timeout_seconds: float) -> Json:
        """The service's answer.

        Raises:
            ServiceNotRunning: no service has shown itself in the last seconds.
            ControlTimeout: it did not answer in time.
            ControlFailed: it answered with an error.
            ValueError: the request is larger than `MAX_REQUEST_BYTES`.
            CatalogUnavailable: the server cannot be reached.
        """
        if not self.is_service_running():
            raise ServiceNotRunning(
                f"no service is running on {self._server} under {self._keys.prefix!r}; start it, "
                "or check that both use the same settings"
            )
        request_id = uuid.uuid4().hex
        deadline = time.monotonic() + timeout_seconds
        with server_errors(self._server):
            deadline_ms = _server_ms(self._client) + int(timeout_seconds * 1000)
            request = dump({"id": request_id, "op": op, "args": args, "deadlineMs": deadline_ms})
            if len(request.encode()) > MAX_REQUEST_BYTES:
                raise ValueError(f"the request {op!r} is larger than {MAX_REQUEST_BYTES} bytes")
            self._client.rpush(self._keys.control, request)
            reply = self._wait_for(self._keys.control_reply(request_id), deadline)
        if reply is None:
            raise ControlTimeout(f"the service did not answer {op!r} within {timeout_seconds:g} s; see its log")
        if not reply["ok"]:
            raise ControlFailed(reply["error"])
        result: Json = reply["result"]
        return result

    def _wait_for(self, reply_key: str, deadline: float) -> Any:
        # In short turns: one long blocking read would run into the connection's own timeout.
        while (left := deadline - time.monotonic()) > 0:
            taken: Any = self._client.blpop([reply_key], timeout=min(left, _POLL_SECONDS))
            if taken is not None:
                return json.loads(taken[1])
        return None


def _server_ms(client: Redis) -> int:
    seconds, microseconds = client.time()
    return int(seconds) * 1000 + int(microseconds) // 1000


def _read_request(text: str) -> dict[str, Any]:
    if len(text) > MAX_REQUEST_BYTES:
        raise ValueError(f"the request has {len(text)} characters; at most {MAX_REQUEST_BYTES} bytes are allowed")
    request = json.loads(text)
    if not (
        isinstance(request, dict)
        and isinstance(request.get("id"), str)
        and isinstance(request.get("op"), str)
        and isinstance(request.get("args"), dict)
        and isinstance(request.get("deadlineMs"), int)
    ):
        raise ValueError("a request is an object with id, op, args and deadlineMs")
    return request

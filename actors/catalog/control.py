"""How commands ask the running service, over the server that both use.

Each service keeps a heartbeat key alive; the one that leads takes requests from a list, and each answer goes to a list
of its own, which expires. Deadlines are read from the server's clock, so the clocks of two machines need not agree.
"""

from __future__ import annotations

import json
import threading
import time
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

import structlog
from redis import Redis

from actors.catalog.codec import dump
from actors.catalog.connection import server_errors, server_of, without_retry
from actors.catalog.control_merge import FIRST_ANSWER, merged
from actors.catalog.keys import Keys
from actors.catalog.store import CatalogUnavailable, Json, JsonObject
from actors.core.shards import WHOLE, Shard

__all__ = [
    "ControlClient",
    "ControlFailed",
    "ControlServer",
    "ControlTimeout",
    "LivingService",
    "ServiceNotRunning",
    "Services",
]

MAX_REQUEST_BYTES: Final = 256 * 1024
_HEARTBEAT_MS: Final = 5_000
_BEAT_SECONDS: Final = 1.5
_REPLY_SECONDS: Final = 60
_POLL_SECONDS: Final = 0.5
_RETRY_SECONDS: Final = 0.5
_STANDBY_SECONDS: Final = 0.1

Handler = Callable[[str, JsonObject], Json]


class ServiceNotRunning(RuntimeError):  # noqa: N818 - reads as the event it tells of
    """No service is alive on this catalog."""


class ControlTimeout(RuntimeError):  # noqa: N818 - reads as the event it tells of
    """The service did not answer in time; whether it carried the request out is not known."""


class ControlFailed(RuntimeError):  # noqa: N818 - reads as the event it tells of
    """The service refused or failed to carry out the request; the text is its reason."""


@dataclass(frozen=True, slots=True)
class LivingService:
    """A service that showed itself in the last seconds. `about` is what it says of itself: `{host, pid, startedAt}`."""

    service_id: str
    about: JsonObject
    is_leader: bool


@dataclass(frozen=True, slots=True)
class Services:
    """The services that live, leaders first. `term` is that of the leader, or of the last one; `left_ms` says for how
    long nobody else can take the lead; 0 when anybody can. Of several shards, each with a leader of its own, these tell
    of the first; `shards` says how many there are."""

    living: tuple[LivingService, ...]
    term: int
    left_ms: int
    shards: int = 1

    @property
    def leader(self) -> LivingService | None:
        """The leader, or the first of several."""
        return next((service for service in self.living if service.is_leader), None)

    @property
    def leaders(self) -> tuple[LivingService, ...]:
        """Those of all shards that have one."""
        return tuple(service for service in self.living if service.is_leader)

    @property
    def is_led(self) -> bool:
        """Whether every shard has a leader."""
        return len(self.leaders) >= self.shards


class ControlServer:
    """Two threads: one shows that the service lives, one answers requests, one at a time. It can be started once.

    `handler` gets the operation and its arguments. What it returns is the answer; what it raises is answered as an
    error and does not end the server. `leads` is asked before a request is taken: only the leader answers.
    """

    def __init__(
        self,
        client: Redis,
        *,
        prefix: str,
        handler: Handler,
        service_id: str,
        about: JsonObject,
        leads: Callable[[], bool],
        shard: Shard = WHOLE,
    ) -> None:
        self._client = without_retry(client)
        self._shard = shard
        self._keys = Keys(prefix)
        self._handler = handler
        self._service_id = service_id
        self._heartbeat = dump(about)
        self._leads = leads
        self._server = server_of(client)
        self._log = structlog.get_logger(__name__)
        self._stopping = threading.Event()
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
            with server_errors(self._server), self._client.pipeline(transaction=True) as pipe:
                pipe.srem(self._keys.services, self._service_id)
                pipe.delete(self._keys.service(self._service_id))
                pipe.execute()
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
        now_ms = _server_ms(self._client)
        with self._client.pipeline(transaction=True) as pipe:
            if self._leads():
                for shard in {WHOLE, self._shard}:
                    pipe.set(self._keys.last_led(shard), now_ms)
            pipe.set(self._keys.service(self._service_id), self._heartbeat, px=_HEARTBEAT_MS)
            pipe.sadd(self._keys.services, self._service_id)
            pipe.execute()
        self._stopping.wait(_BEAT_SECONDS)

    def _serve(self) -> None:
        if not self._leads():
            self._stopping.wait(_STANDBY_SECONDS)
            return
        requests = self._keys.control(self._shard)
        taken: Any = self._client.blpop([requests], timeout=_POLL_SECONDS)
        if taken is None:
            return
        if not self._leads():
            # It was lost meanwhile: the request is for whoever leads now.
            self._client.lpush(requests, taken[1])
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
            # That another shard keeps the asset or executes the run is nothing to look into.
            if self._shard.is_whole or op not in FIRST_ANSWER or not isinstance(error, LookupError):
                self._log.warning("control.failed", op=op, exc_info=True)
            return dump({"ok": False, "error": str(error) or type(error).__name__})


class ControlClient:
    """Asks the running service. Thread-safe."""

    def __init__(self, client: Redis, *, prefix: str) -> None:
        self._client = client
        self._keys = Keys(prefix)
        self._server = server_of(client)

    def is_service_running(self) -> bool:
        """Whether any service lives: one that leads, or one that will."""
        return bool(self._heartbeats())

    def services(self) -> Services:
        """Who lives, and who of them leads."""
        beats = self._heartbeats()
        shards = self.shards()
        with server_errors(self._server), self._client.pipeline(transaction=True) as pipe:
            for shard in shards:
                pipe.hgetall(self._keys.lease_of(shard))
            pipe.time()
            *leases, (seconds, microseconds) = pipe.execute()
        now_ms = _as_ms(seconds, microseconds)
        left_ms = [max(0, int(lease.get("untilMs", 0)) - now_ms) for lease in leases]
        holders = [lease.get("id") for lease, left in zip(leases, left_ms, strict=True) if left]
        living = [LivingService(each, json.loads(text), each in holders) for each, text in sorted(beats.items())]
        # Of several leaders that of the first shard comes first.
        living.sort(key=lambda each: holders.index(each.service_id) if each.is_leader else len(holders))
        return Services(tuple(living), int(leases[0].get("term", 0)), left_ms[0], len(shards))

    def shards(self) -> tuple[Shard, ...]:
        """The shards into which the services that lead divide the catalog."""
        with server_errors(self._server):
            told: Any = self._client.hget(self._keys.layout, "count")
        count = int(told or 1)
        return tuple(Shard(index, count) for index in range(count))

    def silent_ms(self, shard: Shard = WHOLE) -> int:
        """For how long no service has led this shard, give or take a heartbeat; 0 where none ever has."""
        with server_errors(self._server):
            own, of_all = self._client.mget([self._keys.last_led(shard), self._keys.last_led()])
            last = own if own is not None else of_all
            return max(0, _server_ms(self._client) - int(last)) if last is not None else 0

    def _heartbeats(self) -> Mapping[str, str]:
        """What each service that lives said last, by its id."""
        with server_errors(self._server):
            ids: Any = self._client.smembers(self._keys.services)
            if not ids:
                return {}
            known = sorted(ids)
            texts: Any = self._client.mget([self._keys.service(each) for each in known])
            beats = dict(zip(known, texts, strict=True))
            dead = [each for each, text in beats.items() if text is None]
            if dead:
                # One that lives after all puts itself back with its next beat.
                self._client.srem(self._keys.services, *dead)
        return {each: text for each, text in beats.items() if text is not None}

    def ask(self, op: str, args: JsonObject, *, timeout_seconds: float) -> Json:
        """The service's answer; of several shards that of all, put together as `control_merge` says.

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
        deadline = time.monotonic() + timeout_seconds
        shards = self.shards()
        with server_errors(self._server):
            deadline_ms = _server_ms(self._client) + int(timeout_seconds * 1000)
            asked: list[tuple[Shard, str]] = []
            for shard in shards:
                request_id = uuid.uuid4().hex
                request = dump({"id": request_id, "op": op, "args": args, "deadlineMs": deadline_ms})
                if len(request.encode()) > MAX_REQUEST_BYTES:
                    raise ValueError(f"the request {op!r} is larger than {MAX_REQUEST_BYTES} bytes")
                self._client.rpush(self._keys.control(shard), request)
                asked.append((shard, request_id))
            answers: list[Json] = []
            failed: ControlFailed | None = None
            for shard, request_id in asked:
                reply = self._wait_for(self._keys.control_reply(request_id), deadline)
                if reply is None:
                    who = "the service" if shard.is_whole else f"the service of shard {shard}"
                    raise ControlTimeout(f"{who} did not answer {op!r} within {timeout_seconds:g} s; see its log")
                if reply["ok"]:
                    answers.append(reply["result"])
                else:
                    failed = ControlFailed(reply["error"])
        if failed is not None and not (answers and op in FIRST_ANSWER):
            raise failed
        return merged(answers)

    def _wait_for(self, reply_key: str, deadline: float) -> Any:
        # In short turns: one long blocking read would run into the connection's own timeout.
        while (left := deadline - time.monotonic()) > 0:
            taken: Any = self._client.blpop([reply_key], timeout=min(left, _POLL_SECONDS))
            if taken is not None:
                return json.loads(taken[1])
        return None


def _server_ms(client: Redis) -> int:
    return _as_ms(*client.time())


def _as_ms(seconds: int, microseconds: int) -> int:
    return seconds * 1000 + microseconds // 1000


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

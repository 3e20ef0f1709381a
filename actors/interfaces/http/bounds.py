"""What one client, and all of them together, may ask of the service: size, rate and number of requests.

ASGI middleware of our own, so that a body that is too large, or a request too many, costs next to nothing.
"""

from __future__ import annotations

import asyncio
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import structlog
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from actors.interfaces.http.problems import Kind, Refused, problem_response

__all__ = ["MAX_BODY_BYTES", "MAX_REQUESTS", "Bounds", "RateLimit", "RawPaths"]

MAX_BODY_BYTES: Final = 1024 * 1024
MAX_REQUESTS: Final = 64
_BODY_SECONDS: Final = 10.0
_MOST_CLIENTS: Final = 10_000
_PROBES: Final = ("/healthz", "/readyz")
_QUIET: Final = ("GET", "HEAD")

_log = structlog.stdlib.get_logger("headwater")


class RateLimit:
    """A token bucket for each client: `per_second` for long, twice as many at once; 0 is no bound. For one thread.

    Of too many clients those are forgotten that were not heard of for longest; they begin with a full bucket again.
    """

    def __init__(self, per_second: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._per_second = per_second
        self._burst = max(1.0, 2 * per_second)
        self._clock = clock
        self._buckets: OrderedDict[str, tuple[float, float]] = OrderedDict()

    def wait_seconds(self, client: str) -> float:
        """Take one request of a client; 0 if it may be served, else in how many seconds it may be."""
        if not self._per_second:
            return 0.0
        now = self._clock()
        left, at = self._buckets.pop(client, (self._burst, now))
        left = min(self._burst, left + (now - at) * self._per_second)
        wait = 0.0 if left >= 1 else (1 - left) / self._per_second
        self._buckets[client] = (left if wait else left - 1, now)
        if len(self._buckets) > _MOST_CLIENTS:
            self._buckets.popitem(last=False)
        return wait


class RawPaths:
    """Leaves percent-encoding in paths, so that `%2F` is a letter of an id and `/` divides; routes decode their ids."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            raw: bytes = scope.get("raw_path") or scope["path"].encode()
            scope = {**scope, "path": raw.partition(b"?")[0].decode("latin-1")}
        await self._app(scope, receive, send)


class Bounds:
    """Refuses a request too many and a body too large; writes a log line for each request that may change something.

    A body is read before the app is called: `MAX_BODY_BYTES` at most, within ten seconds.
    """

    def __init__(self, app: ASGIApp, rate: RateLimit) -> None:
        self._app = app
        self._rate = rate
        self._active = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["path"] in _PROBES:
            await self._app(scope, receive, send)
            return
        told = _Told(send)
        began = time.monotonic()
        try:
            body = await self._admit(scope, receive)
        except Refused as refused:
            await problem_response(refused, scope["path"])(scope, receive, told)
        except _Left:
            return
        else:
            await self._serve(scope, _Replayed(body, receive), told)
        if scope["method"] not in _QUIET:
            _log_request(scope, told.status, time.monotonic() - began)

    async def _admit(self, scope: Scope, receive: Receive) -> bytes:
        client = scope["client"][0] if scope.get("client") else ""
        wait = self._rate.wait_seconds(client)
        if wait:
            detail = f"this client asks too often; try again in {wait:.1f} s"
            raise Refused(Kind.TOO_MANY, detail, headers={"Retry-After": str(max(1, round(wait)))})
        if self._active >= MAX_REQUESTS:
            raise Refused(Kind.BUSY, f"{MAX_REQUESTS} requests are being served; try again in a moment")
        for name, value in scope["headers"]:
            if name == b"content-length" and value.isdigit() and int(value) > MAX_BODY_BYTES:
                raise _too_large()
        self._active += 1
        try:
            return await asyncio.wait_for(_read(receive), _BODY_SECONDS)
        except TimeoutError:
            raise Refused(Kind.REQUEST_TIMEOUT, f"the body took longer than {_BODY_SECONDS:g} s") from None
        finally:
            self._active -= 1

    async def _serve(self, scope: Scope, receive: Receive, send: Send) -> None:
        self._active += 1
        try:
            await self._app(scope, receive, send)
        finally:
            self._active -= 1


class _Left(Exception):  # noqa: N818 - reads as the event it tells of
    """The client went away before it had sent its request."""


async def _read(receive: Receive) -> bytes:
    body = bytearray()
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise _Left
        body += message.get("body", b"")
        if len(body) > MAX_BODY_BYTES:
            raise _too_large()
        if not message.get("more_body", False):
            return bytes(body)


def _too_large() -> Refused:
    detail = f"the body is larger than {MAX_BODY_BYTES} bytes; send less at once"
    return Refused(Kind.TOO_LARGE, detail, headers={"Connection": "close"})


@dataclass(slots=True)
class _Replayed:
    """Receives a body that was read, and then what the client does."""

    body: bytes | None
    receive: Receive

    async def __call__(self) -> Message:
        if self.body is None:
            return await self.receive()
        body, self.body = self.body, None
        return {"type": "http.request", "body": body, "more_body": False}


@dataclass(slots=True)
class _Told:
    """Sends, and remembers the status."""

    send: Send
    status: int = 0

    async def __call__(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.status = message["status"]
        await self.send(message)


def _log_request(scope: Scope, status: int, seconds: float) -> None:
    client = scope["client"][0] if scope.get("client") else None
    method, path = scope["method"], scope["path"][:300]
    _log.info(
        "http.request",
        method=method,
        path=path,
        status=status,
        client=client,
        duration_ms=int(seconds * 1_000),
        text=f"{method} {path}  {status}, by {client}",
    )

"""Sends one request and reads one answer, both bounded: no redirect is followed, nothing but HTTP is spoken."""

from __future__ import annotations

import http.client
import json
import ssl
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final
from urllib import request as urllib_request
from urllib.error import URLError

from actors.catalog.store import Json

__all__ = ["MAX_ANSWER_BYTES", "Answer", "HttpClient", "Outgoing", "Unreachable"]

MAX_ANSWER_BYTES: Final = 1024 * 1024
_CHUNK: Final = 64 * 1024
_EXCERPT: Final = 300
_MOST_SECONDS_TO_WAIT: Final = 3_600.0
_BUSY: Final = frozenset([408, 425, 429])


class Unreachable(RuntimeError):  # noqa: N818 - as `CatalogUnavailable`
    """No answer came; the message says from where and why."""


@dataclass(frozen=True, slots=True)
class Outgoing:
    """A request. What headers and bodies hold may be secret, and stays out of the repr."""

    method: str
    url: str
    headers: Mapping[str, str] = field(repr=False)
    body: bytes | None = field(repr=False, default=None)


@dataclass(frozen=True, slots=True)
class Answer:
    """What came back; of a body that is too large only the beginning."""

    status: int
    body: bytes = b""
    retry_after_seconds: float = 0.0

    @property
    def is_ok(self) -> bool:
        return 200 <= self.status < 300

    @property
    def is_passing(self) -> bool:
        """Whether the same request may be answered otherwise later."""
        return self.status in _BUSY or self.status >= 500

    def document(self) -> Json:
        """The body as JSON.

        Raises:
            ValueError: it is none, or too large.
        """
        if len(self.body) > MAX_ANSWER_BYTES:
            raise ValueError(f"the answer has more than {MAX_ANSWER_BYTES} bytes")
        try:
            found: Json = json.loads(self.body)
        except (RecursionError, ValueError) as error:
            raise ValueError(f"the answer is no JSON: {error}") from None
        return found

    def told(self, hidden: tuple[str, ...] = ()) -> str:
        """The status and the beginning of the body, for people, without the texts that are to stay hidden."""
        text = self.body[: 8 * _EXCERPT].decode(errors="replace")
        for secret in hidden:
            text = text.replace(secret, "***")
        text = " ".join("".join(c if c.isprintable() else " " for c in text).split())
        return f"status {self.status}" + (f": {text[:_EXCERPT]}" if text else "")


class _AsItCame(urllib_request.HTTPErrorProcessor):
    """Hands every answer on: a redirect is one too, and is not followed."""

    def http_response(
        self, request: urllib_request.Request, response: http.client.HTTPResponse
    ) -> http.client.HTTPResponse:
        return response

    https_response = http_response


class HttpClient:
    """Thread-safe. Proxies are those of the environment (`https_proxy`, `no_proxy`).

    Args:
        timeout_seconds: for one request, and for each wait within it.
        ca_file: certificates of the authorities that are trusted; those of the system without one.

    Raises:
        OSError: the file cannot be read as certificates.
    """

    def __init__(self, *, timeout_seconds: float, ca_file: Path | None = None) -> None:
        self._timeout_seconds = timeout_seconds
        context = ssl.create_default_context(cafile=str(ca_file) if ca_file is not None else None)
        self._opener = urllib_request.OpenerDirector()
        for handler in (
            urllib_request.ProxyHandler(),
            urllib_request.HTTPHandler(),
            urllib_request.HTTPSHandler(context=context),
            _AsItCame(),
        ):
            self._opener.add_handler(handler)

    def send(self, outgoing: Outgoing) -> Answer:
        """Send, and wait for the answer.

        Raises:
            Unreachable: none came in time.
        """
        deadline = time.monotonic() + self._timeout_seconds
        where = outgoing.url.partition("?")[0]
        request = urllib_request.Request(  # noqa: S310 - the opener knows http and https only
            outgoing.url, data=outgoing.body, headers=dict(outgoing.headers), method=outgoing.method
        )
        try:
            response = self._opener.open(request, timeout=self._timeout_seconds)
            if response is None:
                raise Unreachable(f"{where} cannot be asked: it is neither http nor https")
            with response:
                return Answer(response.status, _read(response, deadline), _retry_after(response.headers))
        except URLError as error:
            raise Unreachable(f"{where} cannot be reached: {error.reason}") from error
        except (OSError, http.client.HTTPException, ValueError) as error:
            raise Unreachable(f"{where} did not answer: {str(error) or type(error).__name__}") from error


def _read(response: http.client.HTTPResponse, deadline: float) -> bytes:
    body = bytearray()
    while len(body) <= MAX_ANSWER_BYTES:
        chunk = response.read1(_CHUNK)
        if not chunk:
            break
        body += chunk
        if time.monotonic() > deadline:
            raise TimeoutError("the answer takes too long")
    return bytes(body)


def _retry_after(headers: Mapping[str, str]) -> float:
    """What `Retry-After` asks for in seconds; its other form, a date, is not worth comparing clocks for."""
    text = headers.get("Retry-After", "").strip()
    return min(float(text), _MOST_SECONDS_TO_WAIT) if text.isascii() and text.isdigit() else 0.0

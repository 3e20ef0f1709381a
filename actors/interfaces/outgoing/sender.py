"""One request to a receiver, and what its answer means: taken, at fault, or to be tried again."""

from __future__ import annotations

import gzip
import json
import logging
from typing import Final

import httpx

from actors.catalog.store import Json
from actors.interfaces.outgoing.outcomes import Outcome, Refused, Taken, Unavailable
from actors.outgoing_settings import ReceiverSettings

__all__ = ["Sender"]

_RETRY: Final = frozenset({401, 403, 404, 405, 407, 408, 421, 423, 425, 429})
"""What says nothing of the event itself: the way there, the token, or the moment is wrong. All others of 400 to 499
mean that the same event would be refused again."""
_TALKATIVE: Final = ("httpx", "httpcore")
"""They log each request, with the query of the URL, where a secret may be."""
_MOST_ANSWER_BYTES: Final = 64 * 1024
_SHOWN: Final = 200
_MOST_RETRY_AFTER_SECONDS: Final = 300


class Sender:
    """Posts bodies to one URL, over one connection. Not thread-safe. Redirects are not followed: they could lead the
    token elsewhere.

    Raises:
        ValueError: the URL cannot be used.
    """

    def __init__(self, settings: ReceiverSettings, *, token: str | None, content_type: str) -> None:
        for name in _TALKATIVE:
            logging.getLogger(name).setLevel(logging.WARNING)
        try:
            self._url = httpx.URL(settings.url)
        except httpx.InvalidURL as error:
            raise ValueError(f"the URL cannot be used: {error}") from None
        self._token = token
        self._is_zipped = settings.gzip
        # What is read of an answer is bounded; nothing in it may grow when it is unpacked.
        headers = {"Content-Type": content_type, "User-Agent": "headwater", "Accept-Encoding": "identity"}
        if token is not None:
            headers["Authorization"] = f"Bearer {token}"
        if settings.gzip:
            headers["Content-Encoding"] = "gzip"
        self._client = httpx.Client(
            headers=headers,
            timeout=settings.timeout_seconds,
            follow_redirects=False,
            limits=httpx.Limits(max_connections=1, max_keepalive_connections=1),
        )

    @property
    def receiver(self) -> str:
        """Where it sends to, as it may be shown."""
        return str(self._url.copy_with(query=None, fragment=None))

    def send(self, body: Json) -> Outcome:
        """Send a body as JSON."""
        content = json.dumps(body, ensure_ascii=False, separators=(",", ":"), allow_nan=False).encode()
        try:
            with self._client.stream("POST", self._url, content=self._packed(content)) as response:
                return self._meaning(response, _beginning(response))
        except (httpx.HTTPError, httpx.StreamError, OSError, UnicodeError) as error:
            # The last two are what a name that cannot be looked up may raise.
            return Unavailable(self._safe(f"{type(error).__name__}: {error}"))

    def close(self) -> None:
        self._client.close()

    def _packed(self, content: bytes) -> bytes:
        return gzip.compress(content, mtime=0) if self._is_zipped else content

    def _meaning(self, response: httpx.Response, text: str) -> Outcome:
        status = response.status_code
        if 200 <= status < 300:
            return Taken()
        reason = self._safe(f"it answered {status} {response.reason_phrase}: {text}".removesuffix(": "))
        if 400 <= status < 500 and status not in _RETRY:
            return Refused(reason)
        return Unavailable(reason, _retry_after_seconds(response.headers.get("Retry-After", "")))

    def _safe(self, text: str) -> str:
        """Without the token, which a receiver may repeat in its answer."""
        return text.replace(self._token, "***") if self._token else text


def _beginning(response: httpx.Response) -> str:
    """The first characters of the answer. It is read to its end, so that the connection can serve again, unless it is
    long."""
    read = bytearray()
    for chunk in response.iter_raw():
        read += chunk
        if len(read) > _MOST_ANSWER_BYTES:
            break
    return " ".join(read[: 4 * _SHOWN].decode(errors="replace").split())[:_SHOWN]


def _retry_after_seconds(told: str) -> float:
    """Of the header's two forms that of seconds; a date is left to the backoff."""
    return min(int(told), _MOST_RETRY_AFTER_SECONDS) if told.isascii() and told.isdigit() and len(told) < 10 else 0.0

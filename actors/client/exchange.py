"""One request until it has its answer: what to send, and what to do with what came. Sends nothing itself.

The two clients share all of this, and differ only in how they send and sleep.
"""

from __future__ import annotations

import os
import random
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final, Generic, TypeVar

from pydantic import ValidationError

from actors.client.call import Call
from actors.client.errors import ProblemError, UnreachableError, answer_error, problem_of

__all__ = ["DEFAULT_URL", "Again", "Answer", "Done", "Exchange", "Options", "Retries", "options"]

T = TypeVar("T")
DEFAULT_URL: Final = "http://127.0.0.1:8080"
_RETRIED: Final = frozenset({429, 502, 503})
_MOST_RETRY_AFTER_SECONDS: Final = 60.0


@dataclass(frozen=True, slots=True)
class Retries:
    """How often a request that may be repeated is sent, and how long to wait in between: `base_seconds`, doubled each
    time up to `most_seconds`, of which between half and all is waited; or `Retry-After`, if that is longer."""

    attempts: int = 3
    base_seconds: float = 0.2
    most_seconds: float = 5.0

    def wait_seconds(self, attempt: int, headers: Mapping[str, str] | None = None) -> float:
        """The wait after this attempt, counted from 1."""
        drawn = min(self.most_seconds, self.base_seconds * 2.0 ** (attempt - 1))
        # Spreads callers out; nothing is guarded by it.
        drawn *= 0.5 + random.random() / 2  # noqa: S311
        told = (headers or {}).get("retry-after", "")
        return max(drawn, min(float(told), _MOST_RETRY_AFTER_SECONDS)) if told.isdecimal() else drawn


@dataclass(frozen=True, slots=True)
class Options:
    """Where the service is, and how to ask it."""

    base_url: str
    token: str | None = field(repr=False)
    retries: Retries

    def headers(self) -> dict[str, str]:
        return {"Accept": "application/json", **({"Authorization": f"Bearer {self.token}"} if self.token else {})}


def options(base_url: str | None, token: str | None, attempts: int) -> Options:
    """What was given; else HEADWATER_URL and HEADWATER_TOKEN; else the loopback address and no token.

    Raises:
        ValueError: the address is no http(s) URL, or fewer than one attempt is asked for.
    """
    url = base_url or os.environ.get("HEADWATER_URL") or DEFAULT_URL
    if not url.startswith(("http://", "https://")):
        raise ValueError(f"{url!r} is no address of a service; write it as {DEFAULT_URL!r}")
    if attempts < 1:
        raise ValueError(f"attempts is {attempts}; a request is sent at least once")
    return Options(url.rstrip("/"), token or os.environ.get("HEADWATER_TOKEN") or None, Retries(attempts))


@dataclass(frozen=True, slots=True)
class Answer:
    """What came. The names of headers are in lower case."""

    status: int
    headers: Mapping[str, str]
    body: bytes


@dataclass(frozen=True, slots=True)
class Done(Generic[T]):
    value: T


@dataclass(frozen=True, slots=True)
class Again:
    """Send the same once more, after a wait."""

    wait_seconds: float


class Exchange(Generic[T]):
    """One call. `answered` or `failed` is told after each sending, and says what is next."""

    def __init__(self, call: Call[T], options: Options) -> None:
        self._call = call
        self._options = options
        self._attempt = 1
        self.method = call.method
        self.url = options.base_url + call.target
        self.content = call.body
        self.headers = options.headers()
        if call.body is not None:
            self.headers["Content-Type"] = call.content_type

    def answered(self, answer: Answer) -> Done[T] | Again:
        """
        Raises:
            ProblemError: the service refused, for good or once more after the last attempt.
            AnswerError: the answer cannot be read.
        """
        if 200 <= answer.status < 300 or answer.status in self._call.also:
            try:
                return Done(self._call.read(answer.body))
            except ValidationError as error:
                raise answer_error(self.url, answer.body, error) from None
        problem: ProblemError = problem_of(answer.status, answer.body)
        if answer.status in _RETRIED and (again := self._again(answer.headers)) is not None:
            return again
        raise problem

    def failed(self, error: Exception) -> Again:
        """
        Raises:
            UnreachableError: it must not be sent again, or was sent often enough.
        """
        again = self._again()
        if again is None:
            raise UnreachableError(_unreachable(self._options.base_url, error)) from error
        return again

    def _again(self, headers: Mapping[str, str] | None = None) -> Again | None:
        retries, attempt = self._options.retries, self._attempt
        if not self._call.is_repeatable or attempt >= retries.attempts:
            return None
        self._attempt += 1
        return Again(retries.wait_seconds(attempt, headers))


def _unreachable(base_url: str, error: Exception) -> str:
    said = str(error) or type(error).__name__
    return f"no answer from {base_url} ({said}); is the service there, with [http] port set?"

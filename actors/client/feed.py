"""The stream of decisions: server-sent events read from text as it comes, and when to connect again. Does no I/O.

The format is that of the HTML standard, section "Server-sent events".
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Final

from pydantic import BaseModel, ConfigDict, ValidationError

from actors.client.call import API, Call
from actors.client.errors import ProblemError, UnavailableError, UnreachableError, answer_error, problem_of
from actors.client.exchange import Answer, Options
from actors.client.records import Decision

__all__ = ["DECISIONS", "Feed", "Lines", "OnGap", "Told"]

DECISIONS: Final = f"{API}/decisions"
SILENCE_SECONDS: Final = 60.0
"""The service says something every quarter of a minute; a connection that is silent for longer is dead."""
OnGap = Callable[[str], None]


class Told(BaseModel):
    """One server-sent event."""

    model_config = ConfigDict(frozen=True)

    kind: str
    data: str


class Lines:
    """Takes text in pieces of any size, gives the events that are whole."""

    def __init__(self) -> None:
        self._rest = ""
        self._kind = ""
        self._data: list[str] = []
        self.last_id = ""

    def feed(self, text: str) -> Iterator[Told]:
        *lines, self._rest = (self._rest + text).replace("\r\n", "\n").split("\n")
        for line in lines:
            if not line:
                if self._data:
                    yield Told(kind=self._kind or "message", data="\n".join(self._data))
                self._kind, self._data = "", []
                continue
            name, _, value = line.partition(":")
            value = value.removeprefix(" ")
            match name:
                case "event":
                    self._kind = value
                case "data":
                    self._data.append(value)
                case "id" if "\0" not in value:
                    self.last_id = value
                case _:
                    pass


class _End(BaseModel):
    reason: str = "it did not say why"


class Feed:
    """One listening, over as many connections as it takes. `on_gap` is told why whenever one was lost: what was
    decided in between is not repeated, unless the service gives its events ids."""

    def __init__(self, asset: str | None, workflow: str | None, options: Options, on_gap: OnGap | None) -> None:
        call = Call("GET", DECISIONS, bytes, query={"asset": asset, "workflow": workflow})
        self._options = options
        self._on_gap = on_gap
        self._lines = Lines()
        self._last_id = ""
        self._failures = 0
        self.url = options.base_url + call.target

    @property
    def headers(self) -> dict[str, str]:
        headers = {**self._options.headers(), "Accept": "text/event-stream", "Cache-Control": "no-store"}
        return {**headers, "Last-Event-ID": self._last_id} if self._last_id else headers

    def told(self, text: str) -> Iterator[Decision]:
        """The decisions in what came.

        Raises:
            AnswerError: one of them cannot be read.
        """
        self._failures = 0
        for event in self._lines.feed(text):
            self._last_id = self._lines.last_id
            if event.kind == "end":
                self._gap(_read_end(event.data))
            elif event.kind == "decision":
                try:
                    yield Decision.model_validate_json(event.data)
                except ValidationError as error:
                    raise answer_error(self.url, event.data.encode(), error) from None

    def refused(self, answer: Answer) -> float:
        """No stream began. In how many seconds to ask again.

        Raises:
            ProblemError: it is of no use, or was tried often enough.
        """
        problem = problem_of(answer.status, answer.body)
        if not isinstance(problem, UnavailableError):
            raise problem
        return self._wait(problem, answer.headers)

    def broken(self, error: Exception | None = None) -> float:
        """The stream ended, or the connection broke. In how many seconds to connect again.

        Raises:
            UnreachableError: nobody answered, often enough.
        """
        said = (str(error) or type(error).__name__) if error is not None else "the stream ended"
        lost = UnreachableError(f"{self.url}: {said}; nobody answered {self._options.retries.attempts} times")
        wait = self._wait(lost)
        self._lines = Lines()
        if error is not None:
            self._gap(said)
        return wait

    def _wait(self, problem: ProblemError | UnreachableError, headers: Mapping[str, str] | None = None) -> float:
        self._failures += 1
        if self._failures >= self._options.retries.attempts:
            raise problem
        return self._options.retries.wait_seconds(self._failures, headers)

    def _gap(self, reason: str) -> None:
        if self._on_gap is not None:
            self._on_gap(reason)


def _read_end(data: str) -> str:
    try:
        return _End.model_validate_json(data).reason
    except ValidationError:
        return data

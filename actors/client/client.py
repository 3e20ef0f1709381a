"""The client that blocks: for jobs, scripts and notebooks."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from types import TracebackType
from typing import Concatenate, ParamSpec, Self, TypeVar

import httpx

from actors.client import calls, run_calls
from actors.client.binding import as_method_of
from actors.client.call import Call, Listing
from actors.client.exchange import Answer, Done, Exchange, options
from actors.client.feed import SILENCE_SECONDS, Feed, OnGap
from actors.client.records import Decision, Page
from actors.client.run_records import RunDetail
from actors.client.waiting import Patience

__all__ = ["Client"]

P = ParamSpec("P")
T = TypeVar("T")


def _one(call: Callable[P, Call[T]]) -> Callable[Concatenate[Client, P], T]:
    """A method that makes this call, and returns its answer."""

    def method(self: Client, /, *args: P.args, **kwargs: P.kwargs) -> T:
        return self.send(call(*args, **kwargs))

    return as_method_of(call, method, "{}")


def _each(listing: Callable[P, Listing[T]]) -> Callable[Concatenate[Client, P], Iterator[T]]:
    """A method that gives the items of all pages, each page asked for when it is needed."""

    def method(self: Client, /, *args: P.args, **kwargs: P.kwargs) -> Iterator[T]:
        pages = listing(*args, **kwargs)
        call: Call[Page[T]] | None = pages.first
        while call is not None:
            page = self.send(call)
            yield from page.items
            call = pages.after(page)

    return as_method_of(listing, method, "Iterator[{}]")


class Client:
    """Asks a service over its HTTP API; `AsyncClient` is the same for asyncio. May be used by several threads.

    Without a `base_url` it takes HEADWATER_URL, else `http://127.0.0.1:8080`; without a `token` HEADWATER_TOKEN. A
    request that may be repeated is sent up to `attempts` times, when nobody answers or the service cannot just now.
    `http` is a client of your own, for a proxy or certificates; you close it.

    Every method raises `ProblemError` if the service refuses, `UnreachableError` if no answer comes, and `AnswerError`
    if it cannot be read; all of them are a `HeadwaterError`.

        with Client() as headwater:
            run = headwater.run_and_wait("orders-daily", partition_key="2026-11-23", timeout_seconds=600)
            run.require_success()
    """

    def __init__(
        self,
        base_url: str | None = None,
        *,
        token: str | None = None,
        timeout_seconds: float = 30.0,
        attempts: int = 3,
        http: httpx.Client | None = None,
    ) -> None:
        self._options = options(base_url, token, attempts)
        self._timeout_seconds = timeout_seconds
        self._http = httpx.Client() if http is None else http
        self._is_mine = http is None

    health = _one(calls.health)
    assets = _each(calls.assets)
    asset = _one(calls.asset)
    partitions = _each(calls.partitions)
    history = _one(calls.history)
    explain = _one(calls.explain)
    resume = _one(calls.resume)
    mark_stale = _one(calls.mark_stale)
    pauses = _one(calls.pauses)
    pause = _one(calls.pause)
    unpause = _one(calls.unpause)
    graph = _one(calls.graph)
    plan = _one(calls.plan)
    emit = _one(calls.emit)
    emit_batch = _one(calls.emit_batch)
    emit_produced = _one(calls.emit_produced)
    emit_expired = _one(calls.emit_expired)
    workflows = _one(run_calls.workflows)
    workflow = _one(run_calls.workflow)
    put_workflow = _one(run_calls.put_workflow)
    remove_workflow = _one(run_calls.remove_workflow)
    validate = _one(run_calls.validate)
    auto_materialize = _one(run_calls.auto_materialize)
    run_workflow = _one(run_calls.run_workflow)
    runs = _one(run_calls.runs)
    run = _one(run_calls.run)
    steps = _one(run_calls.steps)
    logs = _one(run_calls.logs)
    cancel = _one(run_calls.cancel)
    audit = _one(run_calls.audit)

    def wait(self, run_id: str, *, timeout_seconds: float | None = None) -> RunDetail:
        """Wait until a run is over, whichever way it ends; without a timeout for as long as it takes.

        Raises:
            DeadlineError: it is not over in time. It goes on.
        """
        patience = Patience(run_id, time.monotonic(), timeout_seconds)
        while not (seen := self.run(run_id)).is_over:
            time.sleep(patience.wait_seconds(seen, time.monotonic()))
        return seen

    def run_and_wait(
        self,
        slug: str,
        *,
        partition_key: str | None = None,
        parameters: Mapping[str, object] | None = None,
        remember: bool = False,
        timeout_seconds: float | None = None,
    ) -> RunDetail:
        """Ask for a run by hand, and wait until it is over; `require_success` of what is returned raises if it failed.

        Raises:
            DeadlineError: it is not over in time. It goes on.
        """
        run = self.run_workflow(slug, partition_key=partition_key, parameters=parameters, remember=remember)
        return self.wait(run.run_id, timeout_seconds=timeout_seconds)

    def decisions(
        self, *, asset: str | None = None, workflow: str | None = None, on_gap: OnGap | None = None
    ) -> Iterator[Decision]:
        """What assets decide, as it happens, without end: of this asset, or of this workflow. Connects again when the
        connection is lost; `on_gap` is told why, since decisions in between are missed: look at the state then."""
        feed = Feed(asset, workflow, self._options, on_gap)
        timeout = httpx.Timeout(self._timeout_seconds, read=SILENCE_SECONDS)
        while True:
            try:
                with self._http.stream("GET", feed.url, headers=feed.headers, timeout=timeout) as response:
                    if response.is_success:
                        for text in response.iter_text():
                            yield from feed.told(text)
                        wait = feed.broken()
                    else:
                        wait = feed.refused(Answer(response.status_code, response.headers, response.read()))
            except httpx.TransportError as error:
                wait = feed.broken(error)
            time.sleep(wait)

    def send(self, call: Call[T]) -> T:
        """The answer of a call that you made yourself, of `actors.client.calls` and `run_calls`."""
        exchange = Exchange(call, self._options)
        timeout = call.timeout_seconds or self._timeout_seconds
        while True:
            try:
                response = self._http.request(
                    exchange.method, exchange.url, content=exchange.content, headers=exchange.headers, timeout=timeout
                )
            except httpx.TransportError as error:
                next_ = exchange.failed(error)
            else:
                told = exchange.answered(Answer(response.status_code, response.headers, response.content))
                if isinstance(told, Done):
                    return told.value
                next_ = told
            time.sleep(next_.wait_seconds)

    def close(self) -> None:
        """Close the connections."""
        if self._is_mine:
            self._http.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

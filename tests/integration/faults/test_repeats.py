"""Every call may be cut anywhere and made again: the catalog is as if nothing had been cut."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Final

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from redis import Redis

from actors.catalog.connection import connect, without_retry
from actors.catalog.keys import Keys
from actors.catalog.redis_store import RedisStore
from actors.catalog.store import CatalogUnavailable, Limits, Recorded, RunFenced, RunStatus, StepRecord, StepStatus
from actors.core.freshness import ExpiryReason
from actors.core.state import Dismissal
from tests.integration.catalog.builders import MANUAL, T0, made, wanted
from tests.integration.catalog.random_operations import everything
from tests.integration.faults.proxy import Cut, Proxy, Way

pytestmark = pytest.mark.integration

Call = Callable[[RedisStore], object]

_ENDS: Final = tuple(status for status in RunStatus if status.is_over)
_ASSETS: Final = ("up", "a")

_REPEATED: Final = (
    *("submit", "submit", "start", "start", "record", "record", "finish", "finish"),
    *("outside", "step", "renew", "expire", "pass over"),
)
"""What the service, its workers and the reader of the stream call again until they have an answer."""
_REPEATED_BY_THE_CONNECTION: Final = tuple(kind for kind in _REPEATED if kind != "renew")
"""A renewal waits for no second try of the connection: who renews has little time, and tries again itself."""
_CALLED_ONCE: Final = ("queue", "claim", "cancel", "resume", "anonymous")
"""Of these a command tells that the catalog is away; only the connection sends them again."""

_cuts = (
    st.none()
    # Most answers are a number or a few words.
    | st.tuples(st.just("answer"), st.integers(0, 6))
    | st.tuples(st.just("answer"), st.integers(0, 80))
    | st.tuples(st.just("request"), st.integers(0, 40) | st.integers(0, 3_000))
)


@dataclass(frozen=True)
class Step:
    """One operation, a number that says with what, and where its connection is cut, if it is."""

    kind: str
    number: int
    cut: tuple[Way, int] | None


def steps(kinds: tuple[str, ...]) -> st.SearchStrategy[list[Step]]:
    return st.lists(st.builds(Step, st.sampled_from(kinds), st.integers(0, 11), _cuts), min_size=5, max_size=25)


def call_of(step: Step, at: int) -> Call:
    """The very same call each time: what is drawn for it is drawn once."""
    number, now_ms = step.number, T0 + at * 1_000
    run_id, asset_id = f"r{number % 2}", _ASSETS[number // 2 % 2]
    token = "the other worker" if number == 11 else "the worker"
    run = wanted(
        run_id,
        f"w{number % 2}",
        upstreams=("up",),
        limits=Limits(max_runs=3, max_pool_runs={"gpu": 1}),
        pools=("gpu",)[: number % 2],
        at_ms=now_ms,
    )
    match step.kind:
        case "submit":
            return lambda store: store.submit([run, wanted(f"{run_id}-too", "other", "k", at_ms=now_ms)])
        case "queue":
            return lambda store: store.queue_run(wanted(run_id, trigger=MANUAL, at_ms=now_ms))
        case "claim":
            return lambda store: store.submit([wanted(run_id, queued=True, at_ms=now_ms)])
        case "start":
            return lambda store: store.start_run(
                run_id, upstreams=["up"], now_ms=now_ms, token=token, worker="w", lease_ms=60_000
            )
        case "record":
            new = made(asset_id, run_id=run_id, step_id="s", start_token=token, upstreams=("up",))
            return lambda store: store.record(new)
        case "outside":
            told = made(asset_id, "k" if number % 3 else None, produced_at_ms=now_ms, dedupe_key=f"key-{at}")
            return lambda store: store.record(told)
        case "anonymous":
            return lambda store: store.record(made(asset_id, produced_at_ms=now_ms, data_version=str(number % 3)))
        case "step":
            record = StepRecord("s", StepStatus.RUNNING, attempt=number, started_at_ms=now_ms)
            return lambda store: store.put_step(run_id, record, token=token)
        case "renew":
            return lambda store: store.renew_runs({run_id: token}, lease_ms=60_000)
        case "finish":
            status = _ENDS[number % len(_ENDS)]
            return lambda store: store.finish_run(
                run_id, status, now_ms=now_ms, error="why", expected=[(asset_id, None), ("up", None)], token=token
            )
        case "cancel":
            return lambda store: store.cancel_queued(run_id, now_ms=now_ms)
        case "expire":
            reason = ExpiryReason.TTL
            return lambda store: store.expire(
                asset_id, None, version=None, expires_at_ms=now_ms, reason=reason, now_ms=now_ms
            )
        case "pass over":
            left = Dismissal(number % 3, {"up": at}, is_passed_over=True)
            return lambda store: store.pass_over(asset_id, {"k": left})
        case "resume":
            return lambda store: store.resume(asset_id)
        case _:
            raise AssertionError(step.kind)


def outcome_of(call: Call, store: RedisStore) -> object:
    """What the caller goes by; whether it was a repetition is nothing that it goes by."""
    try:
        answer = call(store)
    except RunFenced as error:
        return str(error)
    return (answer.version, answer.changed) if isinstance(answer, Recorded) else answer


def seen_through(call: Call, store: RedisStore) -> object:
    """As lanes, workers and the reader do: again until there is an answer."""
    for _ in range(5):
        try:
            return outcome_of(call, store)
        except CatalogUnavailable:
            continue
    raise AssertionError("a connection is cut once, not five times")


def kept(client: Redis, keys: Keys) -> dict[str, Any]:
    """All that the catalog holds, without the server's clock, entry ids and tokens made for one call."""
    found = everything(client, keys)
    for name, value in found.items():
        if name in ("leases", "unstarted"):
            found[name] = sorted(value)
        elif name in ("events", "audit"):
            # To pass over the same again tells the same again: news of a state, which changes nothing.
            told = [fields for _, fields in value]
            found[name] = [
                fields for at, fields in enumerate(told) if "asset.passedOver" not in fields or fields not in told[:at]
            ]
        elif name.startswith("run:"):
            found[name] = {key: text for key, text in value.items() if key not in ("seenAtMs", "endToken")}
    marks = sorted(found.pop(name) for name in list(found) if name.startswith("seen:"))
    return {**found, "seen": marks}


@pytest.fixture
def proxy(server_url: str) -> Iterator[Proxy]:
    proxy = Proxy(server_url.removeprefix("unix://"))
    yield proxy
    proxy.close()


def live(steps: list[Step], *, client: Redis, through: Redis, proxy: Proxy, repeat: bool) -> None:
    whole, torn = (Keys(f"test-{uuid.uuid4().hex[:12]}") for _ in range(2))
    whole_store, torn_store = RedisStore(client, prefix=whole.prefix), RedisStore(through, prefix=torn.prefix)
    try:
        for at, step in enumerate(steps):
            call = call_of(step, at)
            expected = outcome_of(call, whole_store)
            if step.cut is not None:
                way, after = step.cut
                proxy.cut(Cut(way, lambda after=after: after, mark=b"EVAL"))  # type: ignore[misc]
            outcome = seen_through(call, torn_store) if repeat else outcome_of(call, torn_store)
            proxy.cut(None)
            # Who expires or cancels hears that there was nothing to do, and goes by the events anyway.
            if step.kind not in ("expire", "cancel"):
                assert outcome == expected, step
        assert kept(client, torn) == kept(client, whole)
    finally:
        for keys in (whole, torn):
            for key in client.scan_iter(f"{keys.prefix}:*", count=1_000):
                client.delete(key)


_given = settings(
    max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)


@_given
@given(steps(_REPEATED))
def test_a_call_that_is_made_again_changes_nothing(client: Redis, proxy: Proxy, steps: list[Step]) -> None:
    through = without_retry(connect(proxy.url, socket_timeout_seconds=5))
    try:
        live(steps, client=client, through=through, proxy=proxy, repeat=True)
    finally:
        through.close()


@_given
@given(steps((*_REPEATED_BY_THE_CONNECTION, *_CALLED_ONCE, *_CALLED_ONCE)))
def test_a_call_that_the_connection_sends_again_changes_nothing(client: Redis, proxy: Proxy, steps: list[Step]) -> None:
    through = connect(proxy.url, socket_timeout_seconds=5)
    try:
        live(steps, client=client, through=through, proxy=proxy, repeat=False)
    finally:
        through.close()

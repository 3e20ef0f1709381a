"""Records and checks that the tests of the catalog share."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import pytest
from redis import Redis

from actors.catalog.events import Event, parse_entry
from actors.catalog.redis_store import RedisStore
from actors.catalog.store import Basis, Limits, NewMaterialization, NewRun, RunStatus
from tests.integration.conftest import SERVER_KINDS

T0 = 1_764_000_000_000
"""An instant in the past; tests count milliseconds from it."""

AUTO = {"type": "auto-materialize", "reason": "upstream-updated"}
MANUAL = {"type": "manual", "reason": "asked"}

on_every_server = [
    pytest.mark.integration,
    pytest.mark.parametrize("server_kind", SERVER_KINDS, indirect=True, scope="session"),
]
"""`pytestmark` of a module that holds for Redis and Valkey alike."""

Result = TypeVar("Result")


def made(asset_id: str, partition_key: str | None = None, **given: Any) -> NewMaterialization:
    return NewMaterialization(asset_id, partition_key, **{"produced_at_ms": T0, **given})


def wanted(
    run_id: str,
    workflow: str = "orders",
    partition_key: str | None = None,
    *,
    limits: Limits | None = None,
    trigger: dict[str, Any] | None = None,
    pools: tuple[str, ...] = (),
    upstreams: tuple[str, ...] = (),
    basis: tuple[Basis, ...] = (),
    queued: bool = False,
    parameters: dict[str, Any] | None = None,
    at_ms: int = T0,
) -> NewRun:
    return NewRun(
        run_id=run_id,
        workflow_slug=workflow,
        partition_key=partition_key,
        parameters=parameters or {},
        trigger=trigger or AUTO,
        created_at_ms=at_ms,
        limits=limits or Limits(max_runs=100),
        pools=pools,
        upstreams=upstreams,
        basis=basis,
        queued=queued,
    )


def start(store: RedisStore, run_id: str, *, upstreams: Sequence[str] = (), **given: Any) -> None:
    """Submit and start a run that nothing stands against."""
    (outcome,) = store.submit([wanted(run_id, upstreams=tuple(upstreams), **given)])
    assert type(outcome).__name__ == "Submitted", outcome
    store.start_run(run_id, upstreams=upstreams, now_ms=T0 + 1)


def end(store: RedisStore, run_id: str, status: RunStatus = RunStatus.SUCCEEDED, *, at_ms: int = T0 + 2) -> None:
    assert store.finish_run(run_id, status, now_ms=at_ms)


def events(client: Redis, prefix: str) -> list[Event]:
    """Everything published so far, read as the stream's reader reads it."""
    entries: Any = client.xrange(f"{prefix}:events")
    return [parse_entry({name.encode(): value.encode() for name, value in fields.items()}) for _, fields in entries]


def event_types(client: Redis, prefix: str) -> list[str]:
    return [event.type for event in events(client, prefix)]


def together(count: int, work: Callable[[int], Result]) -> list[Result]:
    """Run `work(index)` in so many threads that all begin at once; the results by index, or the first error."""
    barrier = threading.Barrier(count)
    results: list[Any] = [None] * count
    errors: list[BaseException] = []

    def turn(index: int) -> None:
        try:
            barrier.wait(30)
            results[index] = work(index)
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=turn, args=(index,)) for index in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
        assert not thread.is_alive()
    if errors:
        raise errors[0]
    return results


def eventually(check: Callable[[], bool], *, what: str, timeout_seconds: float = 20.0) -> None:
    """Wait until `check` holds; fail with `what` when it does not in time."""
    deadline = time.monotonic() + timeout_seconds
    pause = threading.Event()
    while not check():
        assert time.monotonic() < deadline, f"not in time: {what}"
        pause.wait(0.01)

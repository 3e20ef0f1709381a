"""Looks at the catalog again and again, and reads little each time, whatever the number of assets, runs and events."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from redis.exceptions import ResponseError

from actors.catalog.access import Catalog
from actors.catalog.codec import load_step
from actors.catalog.connection import server_errors, server_of
from actors.catalog.redis_root import keys_of, position_of
from actors.catalog.store import StepRecord, StepStatus
from actors.setting_groups import ShardSettings, StreamSettings

__all__ = ["MOST_BEHIND", "CatalogGlance", "Progress", "StreamGlance"]

MOST_BEHIND: Final = 1_000
"""Entries behind the reader are counted up to here: to count all of them would be to read all of them."""

_BEGUN: Final = "step:"


@dataclass(frozen=True, slots=True)
class StreamGlance:
    """The stream of events, and how far the leader has read it.

    `behind` are the entries that it has not handed over, at most `MOST_BEHIND`; `lag_ms` is the age of the first of
    those by the server's clock, 0 when there is none. Both None: no service has ever read it. `appended` counts every
    entry ever, so that two looks give a rate.
    """

    appended: int
    behind: int | None
    lag_ms: int | None
    dead_letters: int


@dataclass(frozen=True, slots=True)
class Progress:
    """Of an active run: when it began (None: not yet), the steps that are over, those that go on, how many there are
    in all (None: nobody knows)."""

    created_at_ms: int
    started_at_ms: int | None
    over: int
    going_on: tuple[StepRecord, ...]
    steps: int | None


@dataclass(slots=True)
class _Known:
    """What does not change any more of a run that is looked at again."""

    steps: int | None
    over: set[str]


class CatalogGlance:
    """Remembers, between two looks, what cannot change: not thread-safe.

    A look at the stream reads a few counters; one at runs reads, of each, two times and the steps that go on. The
    record of a step that is over, with its result and output, is read once.
    """

    def __init__(self, catalog: Catalog, *, prefix: str, streams: StreamSettings, shard: ShardSettings) -> None:
        self._client = catalog.client
        self._store = catalog.store
        self._server = server_of(catalog.client)
        self._keys = keys_of(prefix, streams)
        self._stream = self._keys.shard_events(shard.to_shard())
        self._group = streams.group
        self._known: dict[str, _Known] = {}

    def stream(self) -> StreamGlance:
        """See `StreamGlance`.

        Raises:
            CatalogUnavailable: the server cannot be reached.
        """
        with server_errors(self._server):
            dead_letters: Any = self._client.xlen(self._keys.dead_letters)
            try:
                told: Any = self._client.xinfo_stream(self._stream)
                groups: Any = self._client.xinfo_groups(self._stream)
            except ResponseError:
                return StreamGlance(0, None, None, dead_letters)  # nothing was ever appended
            cursor = next((each["last-delivered-id"] for each in groups if each["name"] == self._group), None)
            appended = int(told["entries-added"])
            if cursor is None:
                return StreamGlance(appended, None, None, dead_letters)
            if position_of(cursor) >= position_of(told["last-generated-id"]):
                return StreamGlance(appended, 0, 0, dead_letters)
            first: Any = self._client.xrange(self._stream, min=f"({cursor}", count=1)
            seconds, microseconds = self._client.time()
            now_ms = seconds * 1_000 + microseconds // 1_000
            lag_ms = max(0, now_ms - (position_of(first[0][0]) >> 64)) if first else 0
            return StreamGlance(appended, self._count_behind(cursor), lag_ms, dead_letters)

    def used(self, workflows: Sequence[str], pools: Sequence[str]) -> tuple[Mapping[str, int], Mapping[str, int]]:
        """How many active runs count in each of these workflows, and in each of these pools.

        Raises:
            CatalogUnavailable: the server cannot be reached.
        """
        with server_errors(self._server), self._client.pipeline(transaction=False) as pipe:
            for slug in workflows:
                pipe.scard(f"{self._keys.active}:workflow:{slug}")
            for pool in pools:
                pipe.scard(f"{self._keys.active}:pool:{pool}")
            counts = pipe.execute()
        of_workflows, of_pools = counts[: len(workflows)], counts[len(workflows) :]
        return dict(zip(workflows, of_workflows, strict=True)), dict(zip(pools, of_pools, strict=True))

    def progress(self, runs: Sequence[tuple[str, str]]) -> dict[str, Progress]:
        """How far each of these runs (id, workflow) is; one that is not known any more is left out.

        Raises:
            CatalogUnavailable: the server cannot be reached.
        """
        self._known = {run_id: self._known.get(run_id) or _Known(self._count(slug), set()) for run_id, slug in runs}
        begun = self._begun([run_id for run_id, _ in runs])
        wanted = [
            (run_id, step_id)
            for run_id, (_, step_ids) in begun.items()
            for step_id in step_ids
            if step_id not in self._known[run_id].over
        ]
        going_on: dict[str, list[StepRecord]] = {run_id: [] for run_id in begun}
        for (run_id, _), step in zip(wanted, self._steps(wanted), strict=True):
            if step is not None and step.status is StepStatus.RUNNING:
                going_on[run_id].append(step)
            elif step is not None:
                self._known[run_id].over.add(step.step_id)
        return {
            run_id: Progress(
                times[0], times[1], len(self._known[run_id].over), tuple(going_on[run_id]), self._known[run_id].steps
            )
            for run_id, (times, _) in begun.items()
        }

    def _begun(self, run_ids: Sequence[str]) -> dict[str, tuple[tuple[int, int | None], list[str]]]:
        """Of each run: when it was created and began, and the ids of the steps that have begun."""
        with server_errors(self._server), self._client.pipeline(transaction=False) as pipe:
            for run_id in run_ids:
                pipe.hmget(self._keys.run(run_id), ["createdAtMs", "startedAtMs"])
                pipe.hkeys(self._keys.steps(run_id))
            answers = pipe.execute()
        return {
            run_id: (
                (int(created), int(started) if started else None),
                [field.removeprefix(_BEGUN) for field in fields if field.startswith(_BEGUN)],
            )
            for run_id, (created, started), fields in zip(run_ids, answers[::2], answers[1::2], strict=True)
            if created is not None
        }

    def _steps(self, wanted: Sequence[tuple[str, str]]) -> list[StepRecord | None]:
        with server_errors(self._server), self._client.pipeline(transaction=False) as pipe:
            for run_id, step_id in wanted:
                pipe.hget(self._keys.steps(run_id), f"{_BEGUN}{step_id}")
            texts = pipe.execute()
        return [
            load_step(step_id, text) if text is not None else None
            for (_, step_id), text in zip(wanted, texts, strict=True)
        ]

    def _count(self, slug: str) -> int | None:
        definition = self._store.workflow(slug)
        return len(definition.steps) if definition is not None else None

    def _count_behind(self, cursor: str) -> int:
        # The script answers with a number: the entries themselves may be large.
        count: Any = self._client.eval(
            "return #redis.call('XRANGE', KEYS[1], ARGV[1], '+', 'COUNT', ARGV[2])",
            1,
            self._stream,
            f"({cursor}",
            MOST_BEHIND,
        )
        return int(count)

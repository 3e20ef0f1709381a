"""The stream of events as it is read for somebody outside: from a cursor of the receiver's own, kept in the catalog.

The cursor is a consumer group that nobody reads as a consumer of, as the service's own is (see `stream`): so it is
where the stream is, a backup has it, and the leader moves it in its term or not at all. It does not hold the stream up:
what is trimmed before it was delivered is lost to the receiver, and `Batch.has_gap` says so.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Final

from redis import Redis
from redis.exceptions import ResponseError

from actors.catalog.codec import load_produced, load_run
from actors.catalog.connection import server_errors, server_of, without_retry
from actors.catalog.events import (
    AssetExpired,
    AssetProduced,
    Event,
    EventInvalid,
    RunCanceled,
    RunFailed,
    RunStarted,
    RunSucceeded,
    parse_entry,
)
from actors.catalog.redis_root import entry_id_of, keys_of, position_of
from actors.catalog.scripts import Fence, Scripts
from actors.catalog.store import RunRecord
from actors.setting_groups import StreamSettings

__all__ = ["Batch", "OutgoingEvent", "OutgoingFeed"]

BATCH: Final = 64
"""Entries in memory at once; each has half a megabyte at most, and a few hundred bytes as a rule."""

_TOLD_OF_RUNS: Final = (RunStarted, RunSucceeded, RunFailed, RunCanceled)


@dataclass(frozen=True, slots=True)
class OutgoingEvent:
    """One entry of the stream. `entry_id` is its id for ever; `run` is the run that it tells of, if that is still kept
    and the feed was asked for runs: as it is now, without its steps."""

    position: int
    event: Event
    run: RunRecord | None = None

    @property
    def entry_id(self) -> str:
        return entry_id_of(self.position)

    @property
    def appended_at_ms(self) -> int:
        """By the server's clock."""
        return self.position >> 64


@dataclass(frozen=True, slots=True)
class Batch:
    """What was read: events in order, and the position of the last entry, which may be one that tells of nothing.

    `has_gap`: entries between the cursor and the first event were trimmed.
    """

    events: tuple[OutgoingEvent, ...]
    last: int
    has_gap: bool = False


class OutgoingFeed:
    """One receiver's reading of one catalog. Thread-safe: it remembers nothing.

    Args:
        name: of the receiver; the cursor is the group `GROUP-name`.
        fence: of the leader; the cursor moves only in its term.
        with_runs: whether events of runs come with the run.
    """

    def __init__(
        self,
        client: Redis,
        *,
        name: str,
        prefix: str,
        streams: StreamSettings,
        fence: Fence | None = None,
        with_runs: bool = False,
    ) -> None:
        self._client = without_retry(client)
        self._keys = keys_of(prefix, streams)
        self._scripts = Scripts(self._client, self._keys, fence)
        self._server = server_of(client)
        self._group = f"{streams.group}-{name}"
        self._with_runs = with_runs

    def cursor(self) -> int:
        """How far the receiver has come. For one that is new: how far the stream has come, which is kept.

        Raises:
            CatalogUnavailable: the server cannot be reached.
            Deposed: the service does not lead (any more).
        """
        with server_errors(self._server):
            for group in self._groups():
                if group["name"] == self._group:
                    return position_of(group["last-delivered-id"])
            newest: Any = self._client.xrevrange(self._keys.events, count=1)
        position = position_of(newest[0][0]) if newest else 0
        self.move(position)
        return position

    def _groups(self) -> Sequence[Mapping[str, Any]]:
        try:
            found: Any = self._client.xinfo_groups(self._keys.events)
        except ResponseError as error:
            if "no such key" in str(error):
                return ()
            raise
        groups: Sequence[Mapping[str, Any]] = found
        return groups

    def move(self, position: int) -> None:
        """Keep that everything up to here was delivered.

        Raises:
            CatalogUnavailable: the server cannot be reached.
            Deposed: the service does not lead (any more).
        """
        with server_errors(self._server):
            self._scripts.call("acknowledge", group=self._group, entryId=entry_id_of(position))

    def read(self, after: int) -> Batch:
        """The next entries, without waiting for any.

        Left out is what tells of nothing that has happened: entries that cannot be read, and outsiders' news that is
        still to be recorded (the recording appends another entry).

        Raises:
            CatalogUnavailable: the server cannot be reached.
        """
        with server_errors(self._server):
            # Together, so that nothing is trimmed in between.
            with self._client.pipeline(transaction=True) as pipe:
                pipe.xrange(self._keys.events, count=1)
                pipe.xrange(self._keys.events, min=f"({entry_id_of(after)}", count=BATCH)
                oldest, entries = pipe.execute()
            found = [
                (position_of(entry_id), event)
                for entry_id, fields in entries
                if (event := _event_of(fields)) is not None
            ]
            runs = self._runs({event.run_id for _, event in found if isinstance(event, _TOLD_OF_RUNS)})
            has_gap = bool(oldest) and self._is_gap(after, position_of(oldest[0][0]))
        events = tuple(
            OutgoingEvent(position, event, runs.get(event.run_id) if isinstance(event, _TOLD_OF_RUNS) else None)
            for position, event in found
        )
        return Batch(events, position_of(entries[-1][0]) if entries else after, has_gap)

    def _is_gap(self, after: int, oldest: int) -> bool:
        if after:
            return oldest > after
        # The stream was empty, and what came since may be gone again.
        about: Any = self._client.xinfo_stream(self._keys.events)
        return bool(about.get("entries-added", 0) > about["length"])

    def _runs(self, run_ids: set[str]) -> dict[str, RunRecord]:
        if not self._with_runs or not run_ids:
            return {}
        ordered = sorted(run_ids)
        with self._client.pipeline(transaction=False) as pipe:
            for run_id in ordered:
                pipe.hgetall(self._keys.run(run_id))
                pipe.hgetall(self._keys.produced(run_id))
            answers = pipe.execute()
        found: dict[str, RunRecord] = {}
        for run_id, fields, produced in zip(ordered, answers[::2], answers[1::2], strict=True):
            # One that is damaged is for `doctor`; what happened to it is told without it.
            with suppress(KeyError, ValueError):
                found[run_id] = load_run(run_id, fields, produced=load_produced(produced))
        return found

    def wait(self, after: int, milliseconds: int) -> None:
        """Return when there is something to read, or after that time.

        Raises:
            CatalogUnavailable: the server cannot be reached.
        """
        with server_errors(self._server):
            self._client.xread({self._keys.events: entry_id_of(after)}, count=1, block=milliseconds)

    def disconnect(self) -> None:
        """Begin with new connections: one may outlive a failover, and lead to the former master."""
        self._client.connection_pool.disconnect()

    def close(self) -> None:
        self._client.close()


def _event_of(fields: Mapping[str, str]) -> Event | None:
    try:
        event = parse_entry(
            {
                name.encode(errors="surrogateescape"): value.encode(errors="surrogateescape")
                for name, value in fields.items()
            }
        )
    except EventInvalid:
        return None  # the service puts it aside
    return None if isinstance(event, AssetProduced | AssetExpired) and "version" not in fields else event

"""Reads the stream of events: each once or more often, in order, and what cannot be read is put aside, not lost.

Every service reads for itself, and only the leader says how far: the consumer group is a cursor, which the leader moves
when entries have been handed over. So what was under way in a crash is read again by whoever leads next; and a leader
that was deposed without noticing can neither take an entry away from the next one (as a second consumer of the group
would) nor move the cursor, because that carries its term.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import structlog
from redis import Redis
from redis.exceptions import ResponseError

from actors.catalog.connection import server_errors, server_of, without_retry
from actors.catalog.events import AssetExpired, AssetProduced, Event, EventInvalid, parse_entry
from actors.catalog.redis_root import entry_id_of, keys_of, position_of
from actors.catalog.scripts import Fence, Scripts
from actors.catalog.signals import SIGNAL, parse_signal
from actors.catalog.store import CatalogUnavailable, Deposed, NewMaterialization, RunFenced, Store
from actors.core.shards import WHOLE, Shard
from actors.core.wallclock import DAY_MS
from actors.messages import FromShard
from actors.setting_groups import StreamSettings

__all__ = ["Entry", "StreamListener", "StreamReader"]

_FIRST_WAIT_SECONDS: Final = 0.1
_LONGEST_WAIT_SECONDS: Final = 5.0
_MOST_FIELDS: Final = 32
_LONGEST_FIELD: Final = 64 * 1024
_SEEN_FOR_MS: Final = 7 * DAY_MS
"""How long a dead letter is remembered, should its entry be read again."""
_FOLLOWING_BLOCK_MS: Final = 100
"""Who follows may be told to lead, and should not wait long for the answer of the server before it does."""
_SILENCE_SECONDS: Final = 5.0
"""After so long without reading, entries that were not read may have been trimmed."""

Fields = Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Entry:
    """One event and its place among all events (see `Store.position`); or what another shard tells, which has none."""

    position: int
    event: Event | FromShard


@dataclass(frozen=True, slots=True)
class StreamListener:
    """Whom the reader tells, in its own thread.

    `on_events` gets events in order, some perhaps again; they are acknowledged when it returns. Of a materialization
    that an outsider reported, `check_key` raises ValueError if the asset has no such partition, and `upstreams_of`
    names what it is made from. `on_leading` is called when a reader that was told to lead has handed over all that the
    stream held then; `on_available` when the server answers, at first and after each fault; `on_missed` when what was
    believed may be wrong: entries were trimmed that it had not read, or another server answers, or the same one after a
    restart, which may have forgotten what it had answered.
    """

    on_events: Callable[[Sequence[Entry]], None]
    on_dead_letter: Callable[[str], None]
    upstreams_of: Callable[[str], tuple[str, ...]]
    on_unavailable: Callable[[str], None]
    on_available: Callable[[], None]
    check_key: Callable[[str, str | None], None] = lambda _asset_id, _key: None
    on_leading: Callable[[], None] = lambda: None
    on_missed: Callable[[], None] = lambda: None


class StreamReader:
    """A thread that reads the stream. It can be started once; it follows, or leads from when it is told to.

    Following it hands over what there is to read and writes nothing. Leading it goes on where the last leader was,
    moves the cursor, and puts aside what cannot be read. An `asset.produced` or `asset.expired` that did not come out
    of the catalog's own script (it has no field `version`) is recorded by the leader; the event that this appends is
    the one that is handed over.
    """

    def __init__(
        self,
        client: Redis,
        store: Store,
        listener: StreamListener,
        *,
        prefix: str,
        streams: StreamSettings,
        fence: Fence | None = None,
        block_ms: int = 500,
        shard: Shard = WHOLE,
    ) -> None:
        self._client = without_retry(client)
        self._store = store
        self._listener = listener
        self._keys = keys_of(prefix, streams)
        self._stream = self._keys.shard_events(shard)
        self._scripts = Scripts(self._client, self._keys, fence)
        self._group = streams.group
        self._batch = streams.batch
        self._dead_letters_limit = streams.dead_letters_max_length
        self._block_ms = block_ms
        self._server = server_of(client)
        self._stopping = threading.Event()
        self._is_to_lead = threading.Event()
        self._is_leading = False
        self._leads_at: int | None = None
        self._read_up_to: int | None = None
        self._last_read_seconds = 0.0
        self._available: bool | None = None
        self._lineage: str | None = None
        self._log = structlog.get_logger(__name__)
        self._thread = threading.Thread(target=self._run, name="catalog-stream", daemon=True)

    def newest(self) -> int:
        """The place of the newest entry in what it reads; 0 if there is none.

        Raises:
            CatalogUnavailable: the server cannot be reached.
        """
        with server_errors(self._server):
            return self._newest()

    def start(self, *, after: int | None = None) -> None:
        """Read what comes after this place (see `newest`); without one, nothing until it is told to lead."""
        self._read_up_to = after
        self._thread.start()

    def lead(self) -> None:
        """Go on as the leader; entries that were read while following may be handed over again."""
        self._is_to_lead.set()

    def stop(self, timeout_seconds: float) -> bool:
        """Stop after the batch under way; False if that takes longer."""
        self._stopping.set()
        self._is_to_lead.set()
        if self._thread.is_alive():
            self._thread.join(timeout_seconds)
        if self._thread.is_alive():
            return False
        self._client.close()
        return True

    def _run(self) -> None:
        if self._read_up_to is None:
            self._is_to_lead.wait()
        wait_seconds = _FIRST_WAIT_SECONDS
        while not self._stopping.is_set():
            try:
                with server_errors(self._server):
                    if self._lineage is None:
                        self._look_for_another_server()
                    while not self._stopping.is_set():
                        self._turn()
                        if not self._available:
                            self._tell_available()
                            self._look_for_another_server()
                        wait_seconds = _FIRST_WAIT_SECONDS
            except CatalogUnavailable as error:
                self._tell_unavailable(str(error))
                # A connection may outlive a failover, and lead to the former master.
                self._client.connection_pool.disconnect()
            except Deposed:
                # Whoever leads now goes on from the cursor; this service will start anew.
                self._is_leading = False
                self._is_to_lead.clear()
            except Exception as error:
                # A defect must not end the service's hearing; the entries are read again.
                self._log.exception("stream.failed")
                self._tell_unavailable(f"reading the stream {self._stream} failed: {error}")
            self._stopping.wait(wait_seconds)
            wait_seconds = min(wait_seconds * 2, _LONGEST_WAIT_SECONDS)

    def _tell_unavailable(self, error: str) -> None:
        if self._available is not False:
            self._available = False
            self._listener.on_unavailable(error)

    def _tell_available(self) -> None:
        self._available = True
        self._listener.on_available()

    def _turn(self) -> None:
        """Read and hand over one batch, or wait for one."""
        if self._is_to_lead.is_set() and not self._is_leading:
            self._begin_to_lead()
        self._look_for_gap()
        last = self._read_up_to or 0
        block_ms = self._block_ms if self._is_leading else min(self._block_ms, _FOLLOWING_BLOCK_MS)
        answer: Any = self._client.xread({self._stream: entry_id_of(last)}, count=self._batch, block=block_ms)
        self._last_read_seconds = time.monotonic()
        if answer:
            self._handle(answer[0][1])
        if self._leads_at is not None and (not answer or (self._read_up_to or 0) >= self._leads_at):
            self._leads_at = None
            self._listener.on_leading()

    def _begin_to_lead(self) -> None:
        """Go back to where the last leader was: it may have died with entries under way."""
        try:
            # From the beginning: an outsider may have reported before the first start, and all else does no harm.
            self._client.xgroup_create(self._stream, self._group, id="0", mkstream=True)
        except ResponseError as error:
            if "BUSYGROUP" not in str(error):
                raise
        groups: Any = self._client.xinfo_groups(self._stream)
        cursor = next(position_of(each["last-delivered-id"]) for each in groups if each["name"] == self._group)
        pending: Any = self._client.xpending(self._stream, self._group)
        if pending["pending"]:
            # Left by a service of version 0.1, which read as a consumer of the group.
            cursor = min(cursor, position_of(pending["min"]) - 1)
            self._acknowledge(entry_id_of(cursor))
            for consumer in pending["consumers"]:
                self._client.xgroup_delconsumer(self._stream, self._group, consumer["name"])
        self._leads_at = self._newest()
        self._read_up_to = cursor if self._read_up_to is None else min(cursor, self._read_up_to)
        self._last_read_seconds = time.monotonic()
        self._is_leading = True

    def _newest(self) -> int:
        newest: Any = self._client.xrevrange(self._stream, count=1)
        return position_of(newest[0][0]) if newest else 0

    def _look_for_another_server(self) -> None:
        """After each fault: a server that was restarted, or a replica in the place of its master, may lack the last
        writes that were answered, and give the numbers of lost versions and entries to others."""
        try:
            told: Any = self._client.info("server", "replication")
        except ResponseError:
            return  # it may not be asked
        lineage = f"{told.get('run_id')} {told.get('master_replid')}"
        before, self._lineage = self._lineage, lineage
        if before not in (None, lineage):
            self._log.warning(
                "stream.server_changed",
                server=self._server,
                text=f"{self._server} was restarted, or another took its place; all is read anew",
            )
            self._listener.on_missed()

    def _look_for_gap(self) -> None:
        if not self._read_up_to or time.monotonic() - self._last_read_seconds < _SILENCE_SECONDS:
            return
        oldest: Any = self._client.xrange(self._stream, count=1)
        if self._last_read_seconds and oldest and position_of(oldest[0][0]) > self._read_up_to:
            self._listener.on_missed()

    def _handle(self, entries: Sequence[tuple[str, Fields]]) -> None:
        readable: list[tuple[str, Entry]] = []
        for entry_id, fields in entries:
            try:
                if SIGNAL in fields:
                    readable.append((entry_id, Entry(0, parse_signal(fields[SIGNAL]))))
                    continue
                event = parse_entry(_as_bytes(fields))
                if not self._is_news(event, fields):
                    # In a shard's stream an entry says where it stands among all events.
                    readable.append((entry_id, Entry(position_of(fields.get("pos", entry_id)), event)))
                elif self._is_leading:
                    self._record(entry_id, event)
            except (EventInvalid, RunFenced, ValueError) as error:
                self._put_aside(entry_id, fields, str(error))
        self._hand_over(readable, dict(entries))
        last_id = entries[-1][0]
        if self._is_leading:
            self._acknowledge(last_id)
        self._read_up_to = position_of(last_id)

    def _acknowledge(self, entry_id: str) -> None:
        self._scripts.call("acknowledge", group=self._group, entryId=entry_id, stream=self._stream)

    def _is_news(self, event: Event, fields: Fields) -> bool:
        """Whether an outsider appended it, so that it is still to be recorded."""
        return "version" not in fields and isinstance(event, AssetProduced | AssetExpired)

    def _record(self, entry_id: str, event: Event) -> None:
        """Record what an outsider appended."""
        match event:
            case AssetProduced():
                self._listener.check_key(event.asset_id, event.partition_key)
                policy = event.freshness.to_policy() if event.freshness else None
                is_own = event.freshness_source == "result"
                self._store.record(
                    NewMaterialization(
                        asset_id=event.asset_id,
                        partition_key=event.partition_key,
                        produced_at_ms=event.produced_at_ms,
                        upstreams=self._listener.upstreams_of(event.asset_id),
                        workflow_slug=event.workflow_slug,
                        run_id=event.run_id,
                        step_id=event.step_id,
                        data_version=event.data_version,
                        payload=event.payload,
                        freshness=policy if is_own else None,
                        declared_freshness=None if is_own else policy,
                        dedupe_key=f"stream:{entry_id}",
                    )
                )
            case AssetExpired():
                self._store.expire(
                    event.asset_id,
                    event.partition_key,
                    version=event.version,
                    expires_at_ms=event.expires_at_ms,
                    reason=event.reason,
                    now_ms=event.expires_at_ms,
                )
            case _:
                raise AssertionError(f"{event.type} is not recorded")

    def _hand_over(self, readable: Sequence[tuple[str, Entry]], fields: Mapping[str, Fields]) -> None:
        if not readable:
            return
        try:
            self._listener.on_events([entry for _, entry in readable])
            return
        except Exception:
            self._log.exception("stream.batch_refused", entries=len(readable))
        # One of them is the cause. Alone, each of the others gets through.
        for entry_id, entry in readable:
            try:
                self._listener.on_events([entry])
            except Exception as error:
                reason = f"the event was refused: {type(error).__name__}: {error}"
                self._put_aside(entry_id, fields[entry_id], reason)

    def _put_aside(self, entry_id: str, fields: Fields, reason: str) -> None:
        if not self._is_leading:
            return
        kept = ["reason", reason, "entryId", entry_id]
        for name, value in list(fields.items())[:_MOST_FIELDS]:
            kept += [f"entry.{name[:_LONGEST_FIELD]}", value[:_LONGEST_FIELD]]
        moved = self._scripts.call(
            "dead_letter",
            entryId=entry_id,
            deadLettersLimit=self._dead_letters_limit,
            seenForMs=_SEEN_FOR_MS,
            fields=kept,
        )
        if moved:
            self._listener.on_dead_letter(f"{entry_id}: {reason}")


def _as_bytes(fields: Fields) -> dict[bytes, bytes]:
    return {
        name.encode(errors="surrogateescape"): value.encode(errors="surrogateescape") for name, value in fields.items()
    }

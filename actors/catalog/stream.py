"""Reads the stream of events: each once or more often, in order, and what cannot be read is put aside, not lost.

Entries are acknowledged when they have been handed over, so what was under way in a crash is pending and is read again.
There is one consumer name, so a restarted service finds its own pending entries.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import structlog
from redis import Redis
from redis.exceptions import ResponseError

from actors.catalog.connection import server_errors, server_of, without_retry
from actors.catalog.events import AssetExpired, AssetProduced, Event, EventInvalid, parse_entry
from actors.catalog.redis_root import keys_of, position_of
from actors.catalog.scripts import Scripts
from actors.catalog.store import CatalogUnavailable, NewMaterialization, RunFenced, Store
from actors.setting_groups import StreamSettings

__all__ = ["Entry", "StreamListener", "StreamReader"]

CONSUMER: Final = "service"
_FIRST_WAIT_SECONDS: Final = 0.1
_LONGEST_WAIT_SECONDS: Final = 5.0
_MOST_FIELDS: Final = 32
_LONGEST_FIELD: Final = 64 * 1024

Fields = Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Entry:
    """One event and its place in the stream (see `Store.position`)."""

    position: int
    event: Event


@dataclass(frozen=True, slots=True)
class StreamListener:
    """Whom the reader tells, in its own thread.

    `on_events` gets events in order, some perhaps again; they are acknowledged when it returns. Of a materialization
    that an outsider reported, `check_key` raises ValueError if the asset has no such partition, and `upstreams_of`
    names what it is made from.
    """

    on_events: Callable[[Sequence[Entry]], None]
    on_dead_letter: Callable[[str], None]
    upstreams_of: Callable[[str], tuple[str, ...]]
    on_unavailable: Callable[[str], None]
    on_available: Callable[[], None]
    check_key: Callable[[str, str | None], None] = lambda _asset_id, _key: None


class StreamReader:
    """A thread that reads the stream as the group's one consumer. It can be started once.

    An `asset.produced` or `asset.expired` that did not come out of the catalog's own script (it has no field `version`)
    is recorded first; the event that the recording appends is the one that is handed over.
    """

    def __init__(
        self,
        client: Redis,
        store: Store,
        listener: StreamListener,
        *,
        prefix: str,
        streams: StreamSettings,
        block_ms: int = 500,
    ) -> None:
        self._client = without_retry(client)
        self._store = store
        self._listener = listener
        self._keys = keys_of(prefix, streams)
        self._scripts = Scripts(self._client, self._keys)
        self._group = streams.group
        self._batch = streams.batch
        self._dead_letters_limit = streams.dead_letters_max_length
        self._block_ms = block_ms
        self._server = server_of(client)
        self._stopping = threading.Event()
        self._available = True
        self._log = structlog.get_logger(__name__)
        self._thread = threading.Thread(target=self._run, name="catalog-stream", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self, timeout_seconds: float) -> bool:
        """Stop after the batch under way; False if that takes longer."""
        self._stopping.set()
        if self._thread.is_alive():
            self._thread.join(timeout_seconds)
        if self._thread.is_alive():
            return False
        self._client.close()
        return True

    def _run(self) -> None:
        wait_seconds = _FIRST_WAIT_SECONDS
        while not self._stopping.is_set():
            try:
                with server_errors(self._server):
                    self._create_group()
                    self._tell_available()
                    wait_seconds = _FIRST_WAIT_SECONDS
                    self._read()
            except CatalogUnavailable as error:
                self._tell_unavailable(str(error))
            except Exception as error:
                # A defect must not end the service's hearing; the entries are pending and are read again.
                self._log.exception("stream.failed")
                self._tell_unavailable(f"reading the stream {self._keys.events} failed: {error}")
            self._stopping.wait(wait_seconds)
            wait_seconds = min(wait_seconds * 2, _LONGEST_WAIT_SECONDS)

    def _tell_unavailable(self, error: str) -> None:
        if self._available:
            self._available = False
            self._listener.on_unavailable(error)

    def _tell_available(self) -> None:
        if not self._available:
            self._available = True
            self._listener.on_available()

    def _create_group(self) -> None:
        try:
            # From the beginning: an outsider may have reported before the first start, and all else does no harm.
            self._client.xgroup_create(self._keys.events, self._group, id="0", mkstream=True)
        except ResponseError as error:
            if "BUSYGROUP" not in str(error):
                raise

    def _read(self) -> None:
        """Read until stopped or until the group is lost: first what is pending of an earlier life, then what is new."""
        is_pending = True
        while not self._stopping.is_set():
            try:
                answer: Any = self._client.xreadgroup(
                    self._group,
                    CONSUMER,
                    {self._keys.events: "0" if is_pending else ">"},
                    count=self._batch,
                    block=None if is_pending else self._block_ms,
                )
            except ResponseError as error:
                if "NOGROUP" in str(error):
                    return
                raise
            entries = answer[0][1] if answer else []
            if entries:
                self._handle(entries)
            else:
                is_pending = False

    def _handle(self, entries: Sequence[tuple[str, Fields | None]]) -> None:
        readable: list[tuple[str, Entry]] = []
        done: list[str] = []
        for entry_id, fields in entries:
            if fields is None:
                done.append(entry_id)  # trimmed while it was pending
                continue
            try:
                event = parse_entry(_as_bytes(fields))
                if self._record(entry_id, event, fields):
                    done.append(entry_id)
                else:
                    readable.append((entry_id, Entry(position_of(entry_id), event)))
            except (EventInvalid, RunFenced, ValueError) as error:
                self._put_aside(entry_id, fields, str(error))
        self._hand_over(readable, dict(entries))
        done.extend(entry_id for entry_id, _ in readable)
        if done:
            self._client.xack(self._keys.events, self._group, *done)

    def _record(self, entry_id: str, event: Event, fields: Fields) -> bool:
        """Record what an outsider appended; False if there was nothing to record."""
        if "version" in fields:
            return False
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
                return False
        return True

    def _hand_over(self, readable: Sequence[tuple[str, Entry]], fields: Mapping[str, Fields | None]) -> None:
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
                self._put_aside(entry_id, fields[entry_id] or {}, reason)

    def _put_aside(self, entry_id: str, fields: Fields, reason: str) -> None:
        kept = ["reason", reason, "entryId", entry_id]
        for name, value in list(fields.items())[:_MOST_FIELDS]:
            kept += [f"entry.{name[:_LONGEST_FIELD]}", value[:_LONGEST_FIELD]]
        moved = self._scripts.call(
            "dead_letter",
            group=self._group,
            entryId=entry_id,
            deadLettersLimit=self._dead_letters_limit,
            fields=kept,
        )
        if moved:
            self._listener.on_dead_letter(f"{entry_id}: {reason}")


def _as_bytes(fields: Fields) -> dict[bytes, bytes]:
    return {
        name.encode(errors="surrogateescape"): value.encode(errors="surrogateescape") for name, value in fields.items()
    }

"""Brings a catalog back from a backup: all of it, or nothing that anybody would take for a catalog.

The file is verified before anything is written. While it is written `P:restoring` keeps everybody else from opening the
catalog; it stays when the restore is cut off, until another one has ended.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from redis import Redis

from actors.catalog.backup import STREAM_NAMES
from actors.catalog.backup_file import BackupInvalid, OnBytes, Record, read_records, verify
from actors.catalog.catalog_scan import CatalogScan, pieces
from actors.catalog.connection import server_errors, server_of
from actors.catalog.control import ControlClient
from actors.catalog.doctor import Doctor, Finding
from actors.catalog.keys import Keys
from actors.catalog.redis_root import keys_of
from actors.catalog.schema_version import SCHEMA_VERSION, ensure_schema
from actors.setting_groups import StreamSettings

__all__ = ["RestoreRefused", "RestoreSummary", "restore", "write_records"]

_KINDS: Final = frozenset({"hash", "zset", "set", "list", "string", "stream", "none", "position"})
_AT_ONCE: Final = 500
"""Commands in one round trip, about."""

Command = tuple[str | int, ...]
OnStage = Callable[[str], OnBytes]
"""Told the name of a stage that begins; gives who is told how far it is."""


class RestoreRefused(RuntimeError):  # noqa: N818 - as `RunFenced`
    """The catalog is in use, or holds something already; nothing was changed."""


@dataclass(frozen=True, slots=True)
class RestoreSummary:
    """`header` is what the backup says of itself, `mended` what the doctor found afterwards."""

    header: Record
    keys: int
    mended: tuple[Finding, ...]


def restore(
    client: Redis,
    path: Path,
    *,
    prefix: str,
    streams: StreamSettings,
    replace: bool = False,
    on_stage: OnStage = lambda _: lambda _done, _all: None,
) -> RestoreSummary:
    """Make the catalog what the backup says. With `replace` what it held before is dropped.

    Raises:
        BackupInvalid: the file is none, is damaged, or is of a newer version; nothing was changed.
        RestoreRefused: a service lives on the catalog, or it is not empty and `replace` is not given.
        CatalogUnavailable: the server cannot be reached (any more).
        OSError: the file cannot be read.
    """
    keys = keys_of(prefix, streams)
    header = _verified(path, keys, on_stage)
    scan = CatalogScan(client, keys)
    with server_errors(server_of(client)):
        _refuse_if_used(client, keys)
        was_cut_off = bool(client.exists(keys.restoring))
        if not replace and (was_cut_off or any(not keys.is_fleeting(name) for name in scan.names())):
            raise RestoreRefused(
                f"the catalog {prefix!r} on {server_of(client)} is not empty; give --replace to drop what it holds, or "
                "restore under another redis.prefix"
            )
        client.set(keys.restoring, time.time_ns() // 1_000_000)
        # Again: one that started a moment ago has shown itself by now, and the next is kept out.
        try:
            _refuse_if_used(client, keys)
        except RestoreRefused:
            if not was_cut_off:
                client.delete(keys.restoring)
            raise
        for piece in pieces(name for name in scan.names() if not keys.is_fleeting(name)):
            client.unlink(*(f"{prefix}:{name}".encode(errors="surrogateescape") for name in piece))
        write_records(client, keys, read_records(path, on_stage("restoring")))
        client.set(keys.schema_version, header["schemaVersion"])
        client.delete(keys.restoring)
    ensure_schema(client, keys)
    mended = tuple(Doctor(client, prefix=prefix, streams=streams).examine(fix=True))
    count = sum(1 for name in scan.names() if not keys.is_fleeting(name))
    return RestoreSummary(header, count, mended)


def _verified(path: Path, keys: Keys, on_stage: OnStage) -> Record:
    def check(record: Record) -> None:
        name = record.get("name")
        if record.get("type") not in _KINDS or not isinstance(name, str):
            raise BackupInvalid(f"{path}: a record is of no kind that this program knows: {str(record)[:200]}")
        if name not in STREAM_NAMES and (keys.is_fleeting(name) or keys.name_of(f"{keys.prefix}:{name}") is None):
            raise BackupInvalid(f"{path}: {name[:100]!r} is nothing that a catalog keeps")

    header = verify(path, check, on_stage("verifying"))
    version = header.get("schemaVersion")
    if not isinstance(version, int) or version > SCHEMA_VERSION:
        raise BackupInvalid(
            f"{path}: the backup is of a catalog of version {version}, and this program knows versions up to "
            f"{SCHEMA_VERSION}; use the program that wrote it, or a newer one"
        )
    return header


def _refuse_if_used(client: Redis, keys: Keys) -> None:
    if ControlClient(client, prefix=keys.prefix).is_service_running():
        raise RestoreRefused(
            f"a service is running on the catalog {keys.prefix!r} on {server_of(client)}; stop it first (one that died "
            "is heard of for some seconds)"
        )


def write_records(client: Redis, keys: Keys, records: Iterator[Record]) -> None:
    """Carry out what records say, whatever is there.

    Raises:
        RedisError: as the client raises it.
    """
    streams = dict(zip(STREAM_NAMES, (keys.events, keys.dead_letters, keys.audit), strict=True))
    pending: list[Command] = []
    for record in records:
        name: str = record["name"]
        pending += _commands(streams.get(name) or f"{keys.prefix}:{name}", record)
        if len(pending) >= _AT_ONCE:
            _send(client, pending)
            pending = []
    _send(client, pending)


def _send(client: Redis, commands: list[Command]) -> None:
    if not commands:
        return
    with client.pipeline(transaction=False) as pipe:
        for command in commands:
            pipe.execute_command(*map(_as_sent, command))  # type: ignore[no-untyped-call]
        pipe.execute()


def _as_sent(argument: Any) -> bytes | int:
    return argument if isinstance(argument, int) else str(argument).encode(errors="surrogateescape")


def _commands(key: str, record: Record) -> Iterator[Command]:
    items: list[Any] = record.get("items", [])
    if record.get("begin"):
        yield "UNLINK", key
    match record["type"]:
        case "hash":
            for piece in pieces(items):
                yield "HSET", key, *(text for pair in piece for text in pair)
        case "zset":
            for piece in pieces(items):
                yield "ZADD", key, *(text for member, score in piece for text in (score, member))
        case "set":
            for piece in pieces(items):
                yield "SADD", key, *piece
        case "list":
            for piece in pieces(items):
                yield "RPUSH", key, *piece
        case "string":
            expires = record.get("expiresAtMs", -1)
            yield ("SET", key, items[0], *(("PXAT", expires) if expires > 0 else ()))
        case "stream":
            for entry_id, fields in items:
                yield "XADD", key, entry_id, *fields
        case "position":
            for group, cursor in record["groups"]:
                yield "XGROUP", "CREATE", key, group, cursor, "MKSTREAM"
            yield "XSETID", key, record["lastId"]
        case _:
            pass

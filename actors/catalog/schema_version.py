"""Which version of its layout a catalog is of, and the way from an older one to the present.

The version is kept under `P:schema-version`. An empty catalog is given the present one, one that is not empty and has
none is of version 1. An older one is migrated step by step, by one process at a time; a newer one is refused.
"""

from __future__ import annotations

import threading
import time
import uuid
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Final, cast

import structlog
from redis import Redis

from actors.catalog.connection import server_errors, server_of
from actors.catalog.control import ControlClient
from actors.catalog.keys import Keys
from actors.catalog.scripts import Scripts
from actors.catalog.store import CatalogUnavailable

__all__ = ["MIGRATIONS", "SCHEMA_VERSION", "Migration", "SchemaRefused", "ensure_schema"]

_LOCK_MS: Final = 10_000
_RENEW_SECONDS: Final = 2.0
_POLL_SECONDS: Final = 0.05
_HEARTBEAT_SECONDS: Final = 7.0
"""After so long the heartbeat of a service that died is gone."""

_log = structlog.get_logger(__name__)


class SchemaRefused(CatalogUnavailable):
    """The catalog's layout is not one that this program can work with, or is just being changed; nothing was done."""


@dataclass(frozen=True, slots=True)
class Migration:
    """One step to the next version. `apply` may be cut off anywhere and is then run again from the beginning, so all of
    it must be safe to repeat; it works in small pieces, and raises redis errors as they come."""

    name: str
    apply: Callable[[Redis, Keys], None]


MIGRATIONS: Final[tuple[Migration, ...]] = ()
"""In order: the first leads from version 1 to 2. One that was released is never changed or taken out."""

SCHEMA_VERSION: Final = 1 + len(MIGRATIONS)


def ensure_schema(
    client: Redis,
    keys: Keys,
    *,
    migrations: Sequence[Migration] = MIGRATIONS,
    wait_seconds: float = 60.0,
    heartbeat_seconds: float = _HEARTBEAT_SECONDS,
) -> None:
    """Bring the catalog to the present version; one round trip when it is of that already.

    Raises:
        SchemaRefused: it is of a newer version, a restore of it was cut off, a service lives on an older one, or
            another process has been migrating it for `wait_seconds`.
        CatalogUnavailable: the server cannot be reached.
    """
    present = 1 + len(migrations)
    deadline = time.monotonic() + wait_seconds
    with server_errors(server_of(client)):
        while (version := _version(client, keys, present)) != present:
            with _lock(client, keys) as lock:
                if lock is not None:
                    _wait_for_services(client, keys, version, present, heartbeat_seconds)
                    _migrate(client, keys, migrations, lock)
                    continue
            if time.monotonic() > deadline:
                raise SchemaRefused(
                    f"another process is migrating the catalog {keys.prefix!r} on {server_of(client)} from version "
                    f"{version} to {present}; try again when it has ended"
                )
            time.sleep(_POLL_SECONDS)


def _version(client: Redis, keys: Keys, present: int) -> int:
    """The catalog's version; one that has none is given one.

    Raises:
        SchemaRefused: this program cannot work with it.
    """
    where = f"the catalog {keys.prefix!r} on {server_of(client)}"
    text: str | None
    text, restoring = cast("list[str | None]", client.mget(keys.schema_version, keys.restoring))
    if restoring is not None:
        raise SchemaRefused(
            f"{where} is being restored, or a restore of it was cut off; wait for its end, or run restore again with "
            "--replace"
        )
    if text is None:
        # Whatever was ever told or kept left one of these.
        kept = (keys.events, keys.workflows, keys.counters, keys.runs, keys.pauses, keys.claims)
        version = 1 if client.exists(*kept) else present
        client.set(keys.schema_version, version, nx=True)
        return version
    if not (text.isascii() and text.isdigit()):
        raise SchemaRefused(f"{where} has the version {text!r} under {keys.schema_version}, which is no number")
    if int(text) > present:
        raise SchemaRefused(
            f"{where} has version {text}, and this program knows versions up to {present}; use the program that wrote "
            "it, or a newer one"
        )
    return int(text)


class _Lock:
    """Held by the one process that migrates; a thread keeps it from expiring meanwhile."""

    def __init__(self, scripts: Scripts) -> None:
        self._scripts = scripts
        self.token = uuid.uuid4().hex
        self._is_released = threading.Event()
        self._thread = threading.Thread(target=self._renew, name="headwater-schema-lock", daemon=True)

    def keep(self) -> None:
        self._thread.start()

    def advance(self, version: int) -> bool:
        """Note that a migration from `version` is done; False if the lock was lost on the way."""
        return bool(self._call("advance", **{"from": version, "to": version + 1}))

    def release(self) -> None:
        self._is_released.set()
        self._thread.join()
        self._call("release")

    def _renew(self) -> None:
        while not self._is_released.wait(_RENEW_SECONDS):
            try:
                self._call("renew", lockMs=_LOCK_MS)
            except Exception as error:
                # `advance` finds out whether the lock is still held.
                _log.warning("schema.lock_not_renewed", reason=str(error))

    def _call(self, step: str, **args: int) -> int:
        answer: int = self._scripts.call("schema_version", step=step, token=self.token, **args)
        return answer


@contextmanager
def _lock(client: Redis, keys: Keys) -> Iterator[_Lock | None]:
    lock = _Lock(Scripts(client, keys))
    if not client.set(keys.schema_lock, lock.token, nx=True, px=_LOCK_MS):
        yield None
        return
    lock.keep()
    try:
        yield lock
    finally:
        lock.release()


def _wait_for_services(client: Redis, keys: Keys, version: int, present: int, seconds: float) -> None:
    """A service of an older program would go on writing the older layout.

    Raises:
        SchemaRefused: one lives.
    """
    deadline = time.monotonic() + seconds
    control = ControlClient(client, prefix=keys.prefix)
    while control.is_service_running():
        if time.monotonic() > deadline:
            raise SchemaRefused(
                f"a service is running on the catalog {keys.prefix!r}, which has version {version} and must be "
                f"migrated to {present}; stop that service first"
            )
        time.sleep(_POLL_SECONDS)


def _migrate(client: Redis, keys: Keys, migrations: Sequence[Migration], lock: _Lock) -> None:
    # Read again: another process may have migrated it before the lock was taken.
    version = _version(client, keys, 1 + len(migrations))
    for migration in migrations[version - 1 :]:
        _log.info("schema.migrating", prefix=keys.prefix, version=version, step=migration.name)
        migration.apply(client, keys)
        if not lock.advance(version):
            raise SchemaRefused(
                f"the catalog {keys.prefix!r} was taken over by another process in the middle of a migration from "
                f"version {version}; try again"
            )
        version += 1

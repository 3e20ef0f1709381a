"""Opening the catalog, with or without a running service: what every command and the service itself begin with."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from redis import Redis

from actors.catalog.connection import connect
from actors.catalog.control import ControlClient
from actors.catalog.embedded import EmbeddedServer
from actors.catalog.redis_root import keys_of
from actors.catalog.redis_store import RedisStore
from actors.catalog.schema_version import ensure_schema
from actors.settings import Settings

__all__ = ["EMBEDDED", "Catalog", "open_catalog"]

EMBEDDED = "embedded"


@dataclass(frozen=True, slots=True)
class Catalog:
    """An open catalog. `client` is for the catalog's own parts (stream reader, control server) only."""

    store: RedisStore
    control: ControlClient
    client: Redis


@contextmanager
def open_catalog(settings: Settings, *, service: bool = False, restoring: bool = False) -> Iterator[Catalog]:
    """The catalog of the settings, of the present version; an embedded server is adopted or started, and stopped by its
    last user. `restoring` opens it as it is, of whatever version and however incomplete.

    Raises:
        EmbeddedServerFailed: the embedded server cannot be started; `DataDirInUse` if another service has the folder.
        SchemaRefused: the catalog is of a newer version, or not whole.
        CatalogUnavailable: the server cannot be reached.
    """
    server = EmbeddedServer(settings.data_dir, settings.redis.append_fsync)
    is_embedded = settings.redis.url == EMBEDDED
    url = server.acquire(service=service) if is_embedded else settings.redis.url
    try:
        client = connect(
            url,
            password=None if is_embedded else settings.read_redis_password(),
            socket_timeout_seconds=settings.redis.socket_timeout_seconds,
        )
        try:
            if not restoring:
                ensure_schema(client, keys_of(settings.redis.prefix, settings.streams))
            store = RedisStore(client, prefix=settings.redis.prefix, streams=settings.streams, history=settings.history)
            yield Catalog(store, ControlClient(client, prefix=settings.redis.prefix), client)
        finally:
            client.close()
    finally:
        if is_embedded:
            server.release()

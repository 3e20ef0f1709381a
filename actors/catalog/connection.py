"""Connecting to the server, and turning what goes wrong on the way into `CatalogUnavailable`."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final
from urllib.parse import urlsplit

from redis import Connection, ConnectionPool, Redis, SSLConnection, UnixDomainSocketConnection
from redis.backoff import ExponentialWithJitterBackoff, NoBackoff
from redis.connection import AbstractConnection
from redis.exceptions import AuthenticationError, BusyLoadingError, ReadOnlyError, RedisError, ResponseError
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import TimeoutError as RedisTimeoutError
from redis.retry import Retry

from actors.catalog.store import CatalogUnavailable

__all__ = ["connect", "safe_url", "server_errors", "server_of", "without_retry"]

_RETRIES: Final = 3
_FIRST_WAIT_SECONDS: Final = 0.05
_LONGEST_WAIT_SECONDS: Final = 1.0
_HEALTH_CHECK_SECONDS: Final = 30


class _ReplicaError(RedisConnectionError):
    """The server takes no writes: it was demoted, and another has its place, maybe under the same address."""


class _MasterOnly(AbstractConnection):
    """Leaves a server that became a replica, so that whoever is behind the address now is dialed at the next try.

    A connection that was open before a failover often leads to the former master still. (redis-py does the same for
    the connections that Sentinel manages.)
    """

    def read_response(self, *args: Any, **options: Any) -> Any:
        try:
            return super().read_response(*args, **options)
        except ReadOnlyError as error:
            self.disconnect()  # type: ignore[no-untyped-call]
            raise _ReplicaError(str(error)) from error


class _Tcp(_MasterOnly, Connection):
    pass


class _Tls(_MasterOnly, SSLConnection):
    pass


class _Unix(_MasterOnly, UnixDomainSocketConnection):
    pass


_CONNECTIONS: Final = {"redis": _Tcp, "rediss": _Tls, "unix": _Unix}


def connect(url: str, *, password: str | None = None, socket_timeout_seconds: float = 5.0) -> Redis:
    """A thread-safe client for `redis://`, `rediss://` or `unix://`; nothing is sent yet.

    Text is UTF-8; bytes that are not survive a round trip as lone surrogates, so that a broken entry in the stream
    can be read and put aside. A command is sent again after a lost connection: every script of the catalog may be
    repeated.

    Raises:
        ValueError: the URL's scheme is none of these; the text names the URL without its password.
    """
    scheme = urlsplit(url).scheme
    if scheme not in _CONNECTIONS:
        raise ValueError(f"store url {safe_url(url)!r} cannot be used; begin it with redis://, rediss:// or unix://")
    # from_url lets what stands in the URL win over what is given here.
    given = {} if password is None else {"password": password}
    return Redis.from_url(
        url,
        connection_class=_CONNECTIONS[scheme],
        decode_responses=True,
        encoding_errors="surrogateescape",
        socket_timeout=socket_timeout_seconds,
        socket_connect_timeout=socket_timeout_seconds,
        health_check_interval=_HEALTH_CHECK_SECONDS,
        retry=Retry(ExponentialWithJitterBackoff(base=_FIRST_WAIT_SECONDS, cap=_LONGEST_WAIT_SECONDS), _RETRIES),
        **given,
    )


def without_retry(client: Redis, *, socket_timeout_seconds: float | None = None) -> Redis:
    """A client of the same server that never sends a command again; maybe with a timeout of its own.

    Reading a consumer group is a write: entries whose delivery was lost are pending, and a silent second read would
    pass over them.
    """
    pool = client.connection_pool
    options = {**pool.connection_kwargs, "retry": Retry(NoBackoff(), 0)}
    if socket_timeout_seconds is not None:
        options |= {"socket_timeout": socket_timeout_seconds, "socket_connect_timeout": socket_timeout_seconds}
    return Redis.from_pool(ConnectionPool(pool.connection_class, **options))


def safe_url(url: str) -> str:
    """The URL as it may be shown: without user, password and query."""
    try:
        parts = urlsplit(url)
        port = f":{parts.port}" if parts.port else ""
    except ValueError:
        return "(a URL that cannot be read)"
    return f"{parts.scheme}://{parts.hostname or ''}{port}{parts.path}" if parts.scheme else "(a URL without scheme)"


def server_of(client: Redis) -> str:
    """A client's server as it may be shown."""
    options = client.connection_pool.connection_kwargs
    path = options.get("path")
    if path:
        return f"unix://{path}"
    scheme = "rediss" if issubclass(client.connection_pool.connection_class, SSLConnection) else "redis"
    return f"{scheme}://{options.get('host', 'localhost')}:{options.get('port', 6379)}/{options.get('db') or 0}"


@contextmanager
def server_errors(server: str) -> Iterator[None]:
    """Raise what the client library raises as `CatalogUnavailable`, naming the server and what to check."""
    try:
        yield
    except AuthenticationError as error:
        raise CatalogUnavailable(f"{server} refused the login ({error}); check the store's password") from error
    except BusyLoadingError as error:
        raise CatalogUnavailable(f"{server} is still loading its data; try again in a moment") from error
    except _ReplicaError as error:
        raise CatalogUnavailable(
            f"{server} is a replica and takes no writes ({error}); wait for the failover, or point the store's url at "
            "the master"
        ) from error
    except (RedisConnectionError, RedisTimeoutError, OSError) as error:
        raise CatalogUnavailable(
            f"{server} cannot be reached ({error}); check that the server runs and that the store's url is right"
        ) from error
    except ResponseError as error:
        raise CatalogUnavailable(f"{server} refused a command ({error}); check its log, memory and disk") from error
    except RedisError as error:
        raise CatalogUnavailable(f"{server} cannot serve ({type(error).__name__}: {error})") from error

"""The catalog over Redis or Valkey. Implements `actors.catalog.store.Store`; each room is in a file of its own."""

from __future__ import annotations

from actors.catalog.redis_assets import RedisAssets
from actors.catalog.redis_definitions import RedisDefinitions
from actors.catalog.redis_leases import RedisLeases
from actors.catalog.redis_parameters import RedisParameters
from actors.catalog.redis_pauses import RedisPauses
from actors.catalog.redis_root import position_of
from actors.catalog.redis_runs import RedisRuns
from actors.catalog.store import Store

__all__ = ["RedisStore", "position_of"]


class RedisStore(RedisDefinitions, RedisParameters, RedisAssets, RedisPauses, RedisRuns, RedisLeases):
    """Thread-safe: every call takes a connection of its own from the client's pool, and changes are single scripts.

    Calls are repeated by the client after a lost connection. That is safe: a submit, start, end or record that was
    carried out although its answer was lost answers as it would have, and changes nothing again.
    """


def _check(store: RedisStore) -> Store:
    """Lets the type checker compare the store with its contract."""
    return store

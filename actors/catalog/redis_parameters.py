"""Parameters that a user gave for one partition of a workflow; its later runs get them too."""

from __future__ import annotations

import json
from typing import Any, Final

from actors.catalog.codec import dump
from actors.catalog.connection import server_errors
from actors.catalog.redis_root import RedisRoom
from actors.catalog.store import JsonObject

__all__ = ["RedisParameters"]

_MAX_BYTES: Final = 64 * 1024


class RedisParameters(RedisRoom):
    def put_partition_parameters(self, slug: str, partition_key: str, parameters: JsonObject) -> None:
        text = dump(parameters)
        if len(text.encode()) > _MAX_BYTES:
            raise ValueError(f"the parameters of {slug}@{partition_key} are larger than {_MAX_BYTES} bytes")
        with server_errors(self._server):
            self._client.hset(self._keys.parameters(slug), partition_key, text)

    def partition_parameters(self, slug: str, partition_key: str) -> JsonObject:
        text: str | None = self._read("HGET", self._keys.parameters(slug), partition_key)
        found: dict[str, Any] = json.loads(text) if text is not None else {}
        return found

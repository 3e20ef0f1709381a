"""Parameters that a user gave for one partition of a workflow; its later runs get them too."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Final

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
        return self.parameters_of([(slug, partition_key)])[0]

    def parameters_of(self, partitions: Sequence[tuple[str, str]]) -> list[JsonObject]:
        texts: list[str | None] = self._read_each(
            [("HGET", self._keys.parameters(slug), partition_key) for slug, partition_key in partitions]
        )
        return [{} if text is None else json.loads(text) for text in texts]

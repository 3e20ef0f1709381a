"""The part of the store by which shards hear of events and of each other."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from actors.catalog.events import AssetAnnounced
from actors.catalog.redis_root import RedisRoom
from actors.catalog.scripts import shard_argument
from actors.core.shards import Shard

__all__ = ["RedisShards"]

_NAMES_AT_ONCE: Final = 10_000


class RedisShards(RedisRoom):
    """Use `fenced_by` for what a leader tells; what a service hears of, one that stands by may say too."""

    def epoch(self) -> int:
        """How often the catalog was divided anew: what was heard of before a change is not all that happened."""
        told = self._read("HGET", self._keys.layout, "epoch")
        return int(told or 0)

    def hear_of(self, shard: Shard, names: Sequence[str], *, anew: bool) -> bool:
        """Have events about these (`asset:ID`, `workflow:SLUG`) come to the shard; with `anew` those alone. False if
        the catalog is not divided in this way.

        Raises:
            CatalogUnavailable: the server cannot be reached.
        """
        is_heard = True
        pieces = [names[start : start + _NAMES_AT_ONCE] for start in range(0, max(len(names), 1), _NAMES_AT_ONCE)]
        for piece in pieces:
            stage = ("whole" if piece is pieces[-1] else "begun") if anew else None
            is_heard = bool(self._call("hear_of", shard=shard_argument(shard), names=list(piece), anew=stage))
        return is_heard

    def announce(self, asset_id: str, partition_key: str | None) -> None:
        """Publish `asset.announced`.

        Raises:
            CatalogUnavailable: the server cannot be reached.
            Deposed: the service does not lead.
        """
        self._call(
            "announce", assetId=asset_id, **self._told(AssetAnnounced(asset_id=asset_id, partition_key=partition_key))
        )

    def signal(self, index: int, signals: Sequence[str]) -> None:
        """Put signals (JSON texts) into the stream of another shard, in order. Errors as of `announce`."""
        self._call("signal", to=index, signals=list(signals), eventsLimit=self._streams.events_max_length)

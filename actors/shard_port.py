"""The other shards as the registry sees them: told at once, and they answer with messages, or not."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from actors.core.shards import WHOLE, Shard
from actors.messages import Signal

__all__ = ["ShardPort", "Undivided"]


class ShardPort(Protocol):
    """Whoever implements it keeps trying while the catalog is unavailable, and keeps the order."""

    @property
    def shard(self) -> Shard:
        """The part of the catalog that this service keeps."""

    def hear_of(self, asset_ids: Sequence[str], slugs: Sequence[str], *, anew: bool) -> None:
        """Have the events of these assets, and those of the runs of these workflows, come here from now on: before
        anything that is asked of the catalog later is answered. With `anew` nothing else comes any more."""

    def announce(self, asset_id: str, partition_key: str | None) -> None:
        """Publish that a partition is about to be made again; `AssetAnnounced` comes back to every shard concerned."""

    def tell(self, index: int, message: Signal) -> None:
        """Tell another shard, after what was announced before."""


class Undivided:
    """Of a service that keeps everything: there is nobody to tell."""

    shard = WHOLE

    def hear_of(self, asset_ids: Sequence[str], slugs: Sequence[str], *, anew: bool) -> None:
        return

    def announce(self, asset_id: str, partition_key: str | None) -> None:
        return

    def tell(self, index: int, message: Signal) -> None:
        return

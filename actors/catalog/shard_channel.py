"""How a service of one shard reaches the others: a lane of its own, in which everything keeps its order."""

from __future__ import annotations

import threading
from collections import defaultdict, deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import takewhile
from typing import Final

from actors.catalog.lanes import Lane
from actors.catalog.redis_shards import RedisShards
from actors.catalog.signals import encode_signal
from actors.core.shards import Shard
from actors.messages import ReportWanted, Signal

__all__ = ["ShardChannel"]

_AT_ONCE: Final = 500


@dataclass(frozen=True, slots=True)
class _Announced:
    asset_id: str
    partition_key: str | None


_Told = _Announced | tuple[int, Signal]


class ShardChannel:
    """Implements `ShardPort` over the server. What is heard of is said in the lane of the gateway's `reads`, so that
    whatever is read after it misses nothing.

    Who stands by tells nobody anything, as it follows what the leader of its shard has told already. It may ask: the
    answer comes into the stream that both read.
    """

    def __init__(
        self,
        shards: RedisShards,
        leader_shards: RedisShards,
        shard: Shard,
        reads: Lane,
        make_lane: Callable[[str], Lane],
    ) -> None:
        self._shards = shards
        self._leader_shards = leader_shards
        self._shard = shard
        self._reads = reads
        self._lane = make_lane("catalog-shards")
        self._waiting: deque[_Told] = deque()
        self._taken: list[_Told] = []
        self._leads = threading.Event()

    @property
    def shard(self) -> Shard:
        return self._shard

    def start(self) -> None:
        self._lane.start()

    def stop(self) -> None:
        """What waits is given up: whoever leads next tells it."""
        self._lane.stop()

    def lead(self) -> None:
        """Tell from now on."""
        self._leads.set()

    def hear_of(self, asset_ids: Sequence[str], slugs: Sequence[str], *, anew: bool) -> None:
        """See `ShardPort.hear_of`. Only a leader forgets: another may not know yet what the leader wants to hear."""
        names = [*(f"asset:{asset_id}" for asset_id in asset_ids), *(f"workflow:{slug}" for slug in slugs)]
        self._reads.put(partial(self._hear_of, names, anew and self._leads.is_set()))

    def announce(self, asset_id: str, partition_key: str | None) -> None:
        if self._leads.is_set():
            self._put(_Announced(asset_id, partition_key))

    def tell(self, index: int, message: Signal) -> None:
        if self._leads.is_set():
            self._put((index, message))
        elif isinstance(message, ReportWanted):
            self._lane.put(partial(self._ask, index, message))

    def _put(self, told: _Told) -> None:
        self._waiting.append(told)
        self._lane.put(self._send)

    # -- on the threads of the lanes ---------------------------------------------------------------------------------

    def _hear_of(self, names: Sequence[str], anew: bool) -> None:
        self._shards.hear_of(self._shard, names, anew=anew)

    def _ask(self, index: int, message: ReportWanted) -> None:
        self._shards.signal(index, [encode_signal(message)])

    def _send(self) -> None:
        """Send what has gathered; the pieces of work behind this one find less to do, or nothing."""
        while self._waiting and len(self._taken) < _AT_ONCE:
            self._taken.append(self._waiting.popleft())
        while self._taken:
            # What is told after an announcement must not come before it.
            signals = list(takewhile(lambda told: not isinstance(told, _Announced), self._taken))
            by_shard: defaultdict[int, list[str]] = defaultdict(list)
            for told in signals:
                if not isinstance(told, _Announced):
                    by_shard[told[0]].append(encode_signal(told[1]))
            for index, texts in by_shard.items():
                self._leader_shards.signal(index, texts)
            del self._taken[: len(signals)]
            if self._taken and isinstance(first := self._taken[0], _Announced):
                self._leader_shards.announce(first.asset_id, first.partition_key)
                del self._taken[0]

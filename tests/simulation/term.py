"""The term in which a service of the simulation believes that it leads."""

from __future__ import annotations

from dataclasses import dataclass

from actors.core.shards import WHOLE, Shard

__all__ = ["Term"]


@dataclass(slots=True)
class Term:
    """A `Fence`. It goes on believing when it is refused: whoever watches over it throws it away."""

    number: int | None = None
    shard: Shard = WHOLE

    def term(self) -> int | None:
        return self.number

    def refused(self, term: int) -> None:
        return

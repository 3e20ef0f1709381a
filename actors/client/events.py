"""Events that a caller tells: CloudEvents 1.0 with the data of `asset.produced` and `asset.expired`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Final
from urllib.parse import quote
from uuid import uuid4

__all__ = ["Event"]

_SOURCE: Final = "/headwater-client"


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """Something that was produced, or is not fresh any more, outside. Build one with `produced` or `expired`.

    An event with a source and id that came before is recorded once within seven days, so it may be told again.
    """

    type: str
    data: dict[str, object]
    id: str = field(default_factory=lambda: str(uuid4()))
    source: str = _SOURCE
    time: datetime = field(default_factory=lambda: datetime.now(UTC))

    @classmethod
    def produced(
        cls,
        asset_id: str,
        *,
        partition_key: str | None = None,
        produced_at: datetime | None = None,
        data_version: str | None = None,
        payload: object = None,
        freshness: Mapping[str, object] | None = None,
        id: str | None = None,
        source: str | None = None,
    ) -> Event:
        """`produced_at` (now without it) has a timezone. `id` is that of the piece of work (a file, a load): told
        twice of an asset's partition, it counts once; without one each call is a new event. Without a `source` it is
        that of this package and the partition. `payload` is any JSON; `freshness` is a policy in
        place of the declared one, such as `{"ttlMs": 60_000}`."""
        data = {
            "assetId": asset_id,
            "partitionKey": partition_key,
            "dataVersion": data_version,
            "payload": payload,
            "freshness": freshness,
        }
        return cls._of("asset.produced", data, "producedAt", produced_at, id, source)

    @classmethod
    def expired(
        cls,
        asset_id: str,
        *,
        partition_key: str | None = None,
        expired_at: datetime | None = None,
        id: str | None = None,
        source: str | None = None,
    ) -> Event:
        """What was produced up to `expired_at` (now without it) is not fresh any more."""
        data = {"assetId": asset_id, "partitionKey": partition_key}
        return cls._of("asset.expired", data, "expiresAt", expired_at, id, source)

    @classmethod
    def _of(
        cls, type_: str, data: Mapping[str, object], key: str, at: datetime | None, id_: str | None, source: str | None
    ) -> Event:
        at = datetime.now(UTC) if at is None else at
        if at.tzinfo is None:
            raise ValueError(f"{at!r} has no timezone; give it one, such as datetime.now(UTC)")
        # One load may make several partitions; by the id alone all but the first would pass for repetitions.
        partition = "@".join(str(data[name]) for name in ("assetId", "partitionKey") if data[name] is not None)
        told = {name: value for name, value in data.items() if value is not None}
        return cls(
            type=type_,
            data={**told, key: at.isoformat()},
            id=id_ or str(uuid4()),
            source=source or f"{_SOURCE}/{quote(partition)}",
            time=at,
        )

    def to_json(self) -> dict[str, object]:
        """The CloudEvent, structured."""
        return {
            "specversion": "1.0",
            "id": self.id,
            "source": self.source,
            "type": self.type,
            "time": self.time.isoformat(),
            "data": self.data,
        }

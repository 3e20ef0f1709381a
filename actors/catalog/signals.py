"""What shards tell each other, as an entry of a shard's stream holds it: one field `signal`, a JSON object.

Only services of one version talk in this way, for as long as the catalog is divided as it is: it is no public format.
"""

from __future__ import annotations

import json
from typing import Any, Final, assert_never

from actors.catalog.events import EventInvalid
from actors.messages import FromShard, Reported, ReportWanted, Settled, Signal

__all__ = ["SIGNAL", "encode_signal", "parse_signal"]

SIGNAL: Final = "signal"
"""The field of the entry."""


def encode_signal(signal: Signal) -> str:
    match signal:
        case Settled():
            told: dict[str, Any] = {"settled": [signal.asset_id, signal.partition_key, signal.wave, signal.until_ms]}
        case Reported():
            keys = sorted(signal.keys, key=lambda key: key or "")
            told = {"reported": [signal.asset_id, signal.wave, keys]}
        case ReportWanted():
            told = {"wanted": [list(signal.asset_ids), signal.by, signal.wave]}
        case _:
            assert_never(signal)
    return json.dumps(told, ensure_ascii=False, separators=(",", ":"))


def parse_signal(text: str) -> FromShard:
    """The other way round.

    Raises:
        EventInvalid: it is no signal.
    """
    try:
        told = json.loads(text)
    except ValueError as error:
        raise EventInvalid(f"this is no JSON: {error}") from None
    match told:
        case {"settled": [str(asset_id), None | str() as key, int(wave), None | int() as until_ms]}:
            return FromShard(Settled(asset_id, key, wave, until_ms))
        case {"reported": [str(asset_id), int(wave), list(keys)]} if all(isinstance(k, str | None) for k in keys):
            return FromShard(Reported(asset_id, wave, frozenset(keys)))
        case {"wanted": [list(asset_ids), int(by), int(wave)]} if all(isinstance(a, str) for a in asset_ids):
            return FromShard(ReportWanted(tuple(asset_ids), by, wave))
        case _:
            raise EventInvalid(f"this is no signal between shards: {text[:200]}")

"""From a step's result to the materializations it stands for: `{"assets": [{"assetId", "partitionKey"?, ...}]}`."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from pydantic import ValidationError

from actors.catalog.declarations import FreshnessSection
from actors.catalog.store import Json, JsonObject, NewMaterialization, RunRecord
from actors.catalog.timestamps import format_iso, parse_iso_ms
from actors.core.freshness import FreshnessPolicy
from actors.core.graph import AssetSpec, WorkflowSpec
from actors.core.partitions import PartitionKeyError, validate_key

__all__ = ["MAX_ENTRIES", "MAX_PAYLOAD_BYTES", "ResultError", "materializations"]

MAX_ENTRIES: Final = 1_000
MAX_PAYLOAD_BYTES: Final = 256 * 1024
_MAX_AHEAD_MS: Final = 5 * 60 * 1_000
_MAX_DATA_VERSION: Final = 1_000


class ResultError(ValueError):
    """A step's `assets` cannot be used; the text names the step, the entry, the asset and the reason."""


def materializations(
    result: JsonObject | None, *, spec: WorkflowSpec, step_id: str | None, run: RunRecord, ended_at_ms: int
) -> list[NewMaterialization]:
    """What a step says it made, checked against what its definition says that it produces; with a `step_id` of None,
    what is said of the whole run.

    `ended_at_ms` is the end of the step by our clock: the default of `producedAt`, and what it must not be
    far ahead of. An asset that is declared but not returned is simply not made.

    Raises:
        ResultError: an entry is malformed or too large, an asset is not declared, a partition key does not
        fit.
    """
    entries = None if result is None else result.get("assets")
    if entries is None:
        return []
    who = "the run" if step_id is None else f"step {step_id!r}"
    if not isinstance(entries, list):
        raise ResultError(f"{who}: result.assets must be a list, got {type(entries).__name__}")
    if len(entries) > MAX_ENTRIES:
        raise ResultError(f"{who}: result.assets has {len(entries)} entries; at most {MAX_ENTRIES} are allowed")
    declared = {asset.asset_id: asset for asset in spec.assets if step_id in (None, asset.step_id)}
    reader = _Reader(declared, "the steps'" if step_id is None else "the step's", run, ended_at_ms)
    found: dict[tuple[str, str | None], NewMaterialization] = {}
    for index, entry in enumerate(entries):
        new = reader.read(f"{who}: result.assets[{index}]", entry)
        if (new.asset_id, new.partition_key) in found:
            raise ResultError(
                f"{who}: result.assets[{index}]: asset {new.asset_id!r}, "
                f"partition {new.partition_key!r} is there twice; return each once"
            )
        found[new.asset_id, new.partition_key] = new
    return list(found.values())


@dataclass(frozen=True, slots=True)
class _Reader:
    declared: Mapping[str, AssetSpec]
    whose: str
    run: RunRecord
    ended_at_ms: int

    def read(self, where: str, entry: Json) -> NewMaterialization:
        if not isinstance(entry, Mapping):
            raise ResultError(f"{where} must be an object, got {type(entry).__name__}")
        asset = self._asset(where, entry.get("assetId"))
        where = f"{where} ({asset.asset_id!r})"
        return NewMaterialization(
            asset_id=asset.asset_id,
            partition_key=self._partition_key(where, asset, entry.get("partitionKey")),
            produced_at_ms=self._produced_at(where, entry.get("producedAt")),
            upstreams=asset.upstreams,
            workflow_slug=self.run.workflow_slug,
            run_id=self.run.run_id,
            step_id=asset.step_id,
            data_version=_data_version(where, entry.get("dataVersion")),
            payload=_bounded(where, "payload", entry.get("payload")),
            schema=_bounded(where, "schema", entry.get("schema")),
            freshness=_freshness(where, entry.get("freshness")),
            declared_freshness=None if asset.freshness.is_empty else asset.freshness,
        )

    def _asset(self, where: str, asset_id: Json) -> AssetSpec:
        if not isinstance(asset_id, str) or not asset_id:
            raise ResultError(f"{where}: assetId must be the id of an asset, got {asset_id!r}")
        asset = self.declared.get(asset_id)
        if asset is None:
            names = ", ".join(repr(name) for name in sorted(self.declared)) or "nothing"
            raise ResultError(f"{where}: asset {asset_id!r} is not declared; {self.whose} 'produces' declares {names}")
        return asset

    def _partition_key(self, where: str, asset: AssetSpec, key: Json) -> str | None:
        if key is not None and not isinstance(key, str):
            raise ResultError(f"{where}: partitionKey must be text, got {key!r}")
        if key is None and asset.partitioning is not None:
            key = self.run.partition_key
        try:
            validate_key(asset.partitioning, key, asset_id=asset.asset_id)
        except PartitionKeyError as error:
            raise ResultError(f"{where}: partitionKey: {error}") from None
        return key

    def _produced_at(self, where: str, text: Json) -> int:
        if text is None:
            return self.ended_at_ms
        if not isinstance(text, str):
            raise ResultError(f"{where}: producedAt must be text in ISO 8601, got {text!r}")
        try:
            at_ms = parse_iso_ms(text)
        except ValueError as error:
            raise ResultError(f"{where}: producedAt: {error}") from None
        if at_ms > self.ended_at_ms + _MAX_AHEAD_MS:
            raise ResultError(
                f"{where}: producedAt {text!r} lies more than 5 minutes after the end of the step "
                f"({format_iso(self.ended_at_ms)}); check the clocks"
            )
        return at_ms


def _data_version(where: str, value: Json) -> str | None:
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, str | int):
        raise ResultError(f"{where}: dataVersion must be text or a whole number, got {value!r}")
    text = str(value)
    if not 0 < len(text) <= _MAX_DATA_VERSION:
        raise ResultError(f"{where}: dataVersion must have 1 to {_MAX_DATA_VERSION} characters")
    return text


def _bounded(where: str, key: str, value: Json) -> Json:
    size = len(json.dumps(value, ensure_ascii=False).encode(errors="surrogatepass"))
    if size > MAX_PAYLOAD_BYTES:
        raise ResultError(
            f"{where}: {key} has {size} bytes; at most {MAX_PAYLOAD_BYTES} are allowed. "
            "Return where the data is instead"
        )
    return value


def _freshness(where: str, value: Json) -> FreshnessPolicy | None:
    if value is None:
        return None
    try:
        return FreshnessSection.model_validate(value).to_policy()
    except ValidationError as error:
        detail = error.errors(include_url=False, include_input=False)[0]
        place = ".".join(("freshness", *(str(part) for part in detail["loc"])))
        raise ResultError(f"{where}: {place}: {detail['msg']}") from None

"""What may be wrong with assets: fields that cannot be read, versions above the counter, partitions that cannot be."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from typing import Any, Final

from actors.catalog.catalog_scan import CatalogScan, pieces
from actors.catalog.codec import load_asset, load_history
from actors.catalog.definitions import DefinitionInvalid, load_canonical
from actors.catalog.doctor_findings import Finding, Suspicion
from actors.catalog.keys import Keys, partition_of
from actors.core.partitions import Partitioning, PartitionKeyError, validate_key
from actors.core.state import partition_name

__all__ = ["suspect_assets", "suspect_parameters"]

_READERS_ERRORS: Final = (KeyError, ValueError, TypeError, AttributeError)
_MADE: Final = '{"version":1,"changedVersion":1,"producedAtMs":0,"inputs":{},"given":{}}'
"""What an expiry is of; the reader passes over one without it."""


class _Declarations:
    """By what workflows here make each asset: their definitions as they are kept, and how they partition it."""

    def __init__(self, keys: Keys, scan: CatalogScan) -> None:
        self._by_asset: dict[str, list[tuple[str, str, Partitioning | None]]] = {}
        for slug, text in scan.fields(keys.workflows):
            try:
                definition = load_canonical(text, source=slug)
            except DefinitionInvalid:
                # What it makes, and how, is not known: then nothing can be said to be unreachable.
                self._by_asset.clear()
                return
            sha1 = hashlib.sha1(text.encode(errors="surrogateescape"), usedforsecurity=False).hexdigest()
            for spec in definition.to_spec().assets:
                self._by_asset.setdefault(spec.asset_id, []).append((slug, sha1, spec.partitioning))

    def against(self, asset_id: str, partition_key: str | None) -> list[dict[str, str]]:
        """The definitions by which the asset has no such partition; none if it has, or if nobody here makes it."""
        makers = self._by_asset.get(asset_id, [])
        if any(_has(partitioning, partition_key) for _, _, partitioning in makers):
            return []
        return [{"slug": slug, "sha1": sha1} for slug, sha1, _ in makers]


def suspect_assets(keys: Keys, scan: CatalogScan) -> Iterator[Suspicion]:
    """Every field of every asset, and its history."""
    declarations = _Declarations(keys, scan)
    for name in scan.names():
        kind, _, asset_id = name.partition(":")
        if kind == "asset":
            yield from _asset(keys, scan, asset_id, declarations)
        elif kind == "history":
            yield from _history(keys, scan, asset_id)


def suspect_parameters(keys: Keys, scan: CatalogScan) -> Iterator[Suspicion]:
    """Parameters that were given for partitions of a workflow that is not known."""
    slugs = (name.partition(":")[2] for name in scan.names() if name.startswith("parameters:"))
    for piece in pieces(slugs):
        known = scan.read_each([("HEXISTS", keys.workflows, slug) for slug in piece])
        for slug, exists in zip(piece, known, strict=True):
            if not exists:
                yield Suspicion(
                    Finding(
                        "parameters-without-workflow",
                        keys.parameters(slug),
                        slug,
                        "holds parameters for partitions of a workflow that is not known",
                        "removes them",
                    ),
                    "mend_assets",
                    {"slug": slug},
                )


def _asset(keys: Keys, scan: CatalogScan, asset_id: str, declarations: _Declarations) -> Iterator[Suspicion]:
    key, highest = keys.asset(asset_id), 0
    for field, text in scan.fields(key):
        kind, _, partition = field.partition(":")
        flaw = _flaw_of(kind, partition, text)
        if flaw is not None:
            yield Suspicion(
                Finding(
                    "field-unreadable",
                    key,
                    field,
                    f"cannot be read: {flaw}",
                    "removes the field; a partition without `made` counts as never made",
                ),
                "mend_assets",
                {"assetId": asset_id, "field": field, "text": text},
            )
            continue
        if kind == "made":
            highest = max(highest, json.loads(text)["version"])
        against = declarations.against(asset_id, partition_of(partition))
        if against:
            yield _unreachable(keys, asset_id, partition, against)
    counter = scan.read_each([("HGET", keys.counters, asset_id)])[0]
    if highest > _number(counter):
        yield _behind(keys, asset_id, counter, highest)


def _unreachable(keys: Keys, asset_id: str, partition: str, against: list[dict[str, str]]) -> Suspicion:
    slugs = ", ".join(definition["slug"] for definition in against)
    return Suspicion(
        Finding(
            "partition-unreachable",
            keys.asset(asset_id),
            partition_name(asset_id, partition_of(partition)),
            f"is no partition of the asset as it is declared by {slugs}",
            "forgets what is kept of it",
        ),
        "mend_assets",
        {"assetId": asset_id, "partition": partition, "definitions": against},
    )


def _behind(keys: Keys, asset_id: str, counter: str | None, version: int) -> Suspicion:
    return Suspicion(
        Finding(
            "counter-behind",
            keys.counters,
            asset_id,
            f"is at {counter or 'nothing'}, but version {version} was given out",
            "sets it to the latest version",
        ),
        "mend_assets",
        {"assetId": asset_id, "version": version},
    )


def _history(keys: Keys, scan: CatalogScan, asset_id: str) -> Iterator[Suspicion]:
    for index, text in enumerate(scan.texts(keys.history(asset_id))):
        try:
            load_history(asset_id, text)
        except _READERS_ERRORS as error:
            yield Suspicion(
                Finding(
                    "history-unreadable",
                    keys.history(asset_id),
                    f"entry {index}",
                    f"cannot be read: {_reason(error)}",
                    "removes the entry",
                ),
                "mend_assets",
                {"assetId": asset_id, "text": text},
            )


def _flaw_of(kind: str, partition: str, text: str) -> str | None:
    """Why a field of an asset cannot be read by the catalog's own reader; None if it can."""
    fields = {f"{kind}:{partition}": text}
    if kind == "expired":
        fields[f"made:{partition}"] = _MADE
    try:
        load_asset(fields, None)
        numbers = _numbers(kind, json.loads(text))
    except _READERS_ERRORS as error:
        return _reason(error)
    if not all(isinstance(number, int) for number in numbers):
        return "a version, a time or a count is no whole number"
    return None


def _numbers(kind: str, data: Mapping[str, Any]) -> list[Any]:
    match kind:
        case "made":
            return [data["version"], data["changedVersion"], data["producedAtMs"], *data["inputs"].values()]
        case "failed":
            return [data["failures"], data["lastFailureAtMs"]]
        case "dismissed":
            return [data["version"], *data["inputs"].values()]
        case _:
            return [data["version"]]


def _reason(error: Exception) -> str:
    return f"it lacks {error}" if isinstance(error, KeyError) else str(error)


def _number(text: str | None) -> int:
    try:
        return int(text or 0)
    except ValueError:
        return 0


def _has(partitioning: Partitioning | None, partition_key: str | None) -> bool:
    try:
        validate_key(partitioning, partition_key, asset_id="")
    except PartitionKeyError:
        return False
    return True

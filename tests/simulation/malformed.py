"""Entries that somebody put into the stream and nobody can read: each must be put aside, and do nothing else."""

from __future__ import annotations

import json
from collections.abc import Mapping

__all__ = ["MALFORMED"]


def _produced(**changed: object) -> bytes:
    fields = {"assetId": "a0x", "producedAt": "2026-01-01T00:00:00.000Z", "schemaVersion": 1} | changed
    return json.dumps(fields).encode()


MALFORMED: Mapping[str, Mapping[bytes, bytes]] = {
    "no json": {b"type": b"asset.produced", b"data": b"{no json"},
    "no data": {b"type": b"asset.produced"},
    "no object": {b"type": b"asset.produced", b"data": b'["a0x"]'},
    "unknown type": {b"type": b"asset.melted", b"data": _produced()},
    "two types": {b"type": b"asset.produced", b"data": _produced(type="asset.expired")},
    "newer format": {b"type": b"asset.produced", b"data": _produced(schemaVersion=2)},
    "time as number": {b"type": b"asset.produced", b"data": _produced(producedAt=1_767_225_600_000), b"version": b"1"},
    "id as list": {b"type": b"asset.produced", b"data": _produced(assetId=["a0x"]), b"version": b"1"},
    "huge id": {b"type": b"asset.produced", b"data": _produced(assetId="a" * 20_000), b"version": b"1"},
    "huge": {b"type": b"asset.produced", b"data": _produced(payload="x" * 300_000), b"version": b"9"},
    "version as text": {b"type": b"asset.produced", b"data": _produced(), b"version": b'"7"'},
    "version below zero": {b"type": b"asset.produced", b"data": _produced(), b"version": b"-7"},
    "no UTF-8": {b"type": b"asset.produced", b"data": b'{"assetId": "\xff\xfe"}', b"version": b"1"},
    "type no UTF-8": {b"type": b"\xff\xfe", b"data": _produced()},
    "run without id": {b"type": b"workflow.run.enqueued", b"data": b'{"workflowSlug": "w0"}'},
    "scope that is none": {b"type": b"pause.changed", b"data": b'{"scope": "everything", "paused": true}'},
}

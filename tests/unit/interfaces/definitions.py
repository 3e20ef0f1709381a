"""Small definitions for these tests."""

from __future__ import annotations

import json
from typing import Any

from actors.catalog.definitions import WorkflowDefinition, parse_definition

__all__ = ["definition", "document"]


def document(slug: str, made: str, *read: str, **more: Any) -> dict[str, Any]:
    """A workflow of one step that makes `made` from `read`; `more` goes into the produced declaration."""
    return {
        "slug": slug,
        "name": slug,
        "steps": [
            {
                "id": "make",
                "jobSlug": "make",
                "consumes": [{"assetId": asset_id} for asset_id in read],
                "produces": [{"assetId": made, **more}],
            }
        ],
    }


def definition(slug: str, made: str, *read: str, **more: Any) -> WorkflowDefinition:
    return parse_definition(json.dumps(document(slug, made, *read, **more)), source=slug)

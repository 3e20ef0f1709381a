"""Builders of definitions, in the JSON that users write."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

__all__ = ["DEPENDENT", "produce", "workflow"]

DEPENDENT: dict[str, Any] = {"onUpstreamUpdate": True}


def produce(asset_id: str, auto: dict[str, Any] | None = DEPENDENT, **more: Any) -> dict[str, Any]:
    """A declaration of an asset; `auto` None leaves it out of automatic runs."""
    return {"assetId": asset_id, **({"autoMaterialize": auto} if auto is not None else {}), **more}


def workflow(
    slug: str,
    *produces: dict[str, Any],
    consumes: Sequence[str | dict[str, Any]] = (),
    job: str = "work",
    defaults: dict[str, Any] | None = None,
    **more: Any,
) -> dict[str, Any]:
    """A workflow of one step. Without `produces` it makes the asset of its own name, which follows its upstreams."""
    made = list(produces) or [produce(slug)]
    return {
        "slug": slug,
        "name": slug,
        "version": 1,
        "defaultParameters": {"assets": [each["assetId"] for each in made], **(defaults or {})},
        "steps": [
            {
                "id": "make",
                "name": "Make",
                "type": "job",
                "jobSlug": job,
                "consumes": [each if isinstance(each, dict) else {"assetId": each} for each in consumes],
                "produces": made,
                **more,
            }
        ],
    }

"""What Headwater calls itself in OpenLineage, on the way out and on the way in.

Every event that Headwater emits has `HEADWATER_PRODUCER` as its `producer`, the namespace of the settings
(`[openlineage] namespace`) as that of its job, and the facet `RUN_FACET` on its run. One that comes back, by a
forwarding proxy or a topic that somebody mirrors, is known by that and starts nothing.
"""

from __future__ import annotations

from typing import Final

__all__ = ["HEADWATER_PRODUCER", "RUN_FACET", "RUN_FACET_SCHEMA", "is_own"]

HEADWATER_PRODUCER: Final = "urn:headwater:openlineage"
RUN_FACET: Final = "headwater_run"
"""The run facet that says which run of ours it was: `{_producer, _schemaURL, runId, workflowSlug, partitionKey}`."""
RUN_FACET_SCHEMA: Final = "urn:headwater:openlineage:headwater_run:1"


def is_own(producer: str | None, job_namespace: str | None, namespace: str) -> bool:
    """Whether this Headwater emitted an event; `namespace` is its own. Another one's events are news like any other."""
    return producer == HEADWATER_PRODUCER and job_namespace == namespace

"""Why a run exists: as the trigger that it carries, and in few words for the log."""

from __future__ import annotations

from actors.catalog.store import Json, JsonObject
from actors.core.state import cause_text
from actors.messages import RunRequest, WantRun

__all__ = ["AUTO_MATERIALIZE", "because_of", "trigger_of"]

AUTO_MATERIALIZE = "auto-materialize"


def trigger_of(wants: tuple[WantRun, ...]) -> JsonObject:
    """The trigger of a run that assets want: the first one's reason, and every upstream partition that changed."""
    lead = wants[0]
    causes = dict.fromkeys(cause for want in wants for cause in want.causes)
    trigger: dict[str, Json] = {
        "type": AUTO_MATERIALIZE,
        "reason": lead.reason.value,
        "assetId": lead.asset_id,
        "partitionKey": lead.partition_key,
        "upstream": [{"assetId": c.asset_id, "partitionKey": c.partition_key, "version": c.version} for c in causes],
        "attempt": max(want.failures for want in wants) + 1,
    }
    if len(wants) > 1:
        trigger["assets"] = [want.asset_id for want in wants]
    if lead.expiry is not None:
        trigger["expiry"] = {"expiresAtMs": lead.expiry.at_ms, "reason": lead.expiry.reason.value}
    return trigger


def because_of(request: RunRequest) -> str:
    """In few words what led to the run, for the log."""
    if not request.wants:
        return "asked for by hand"
    lead = request.wants[0]
    if lead.causes:
        more = f" and {len(lead.causes) - 1} more" if len(lead.causes) > 1 else ""
        return f"{cause_text(lead.causes[-1])}{more}"
    if lead.expiry is not None:
        return f"{lead.asset_id} {lead.expiry.reason.value}"
    return lead.asset_id

from __future__ import annotations

from actors.core.decide import Materialize, Reason, Skip, Wait
from actors.core.freshness import Expiry, ExpiryReason
from actors.core.graph import AssetSpec, AutoMaterialize
from actors.core.state import Cause, Materialization
from actors.interfaces.dump import asset_json, iso_or_none
from actors.messages import AssetDump, DecisionEntry, PartitionDump

AT_MS = 1_763_892_000_000
AT = "2025-11-23T10:00:00.000Z"


def _partition(*, made: Materialization | None, decisions: tuple[DecisionEntry, ...] = ()) -> PartitionDump:
    return PartitionDump(
        partition_key="2025-11-23",
        state="stale",
        reason=Reason.UPSTREAM_UPDATED,
        made=made,
        expires=Expiry(AT_MS, ExpiryReason.TTL),
        latest={"orders.raw": 12, "rates": 3},
        causes=(Cause("orders.raw", None, 12),),
        pending=(("rates", "EUR"),),
        missing=(("stores", "2025-11-23"),),
        missing_count=21,
        in_flight_run_id=None,
        failures=2,
        budget_left=3,
        next_eligible_ms=AT_MS,
        is_wanted=True,
        decisions=decisions,
    )


def _json(partition: PartitionDump) -> dict[str, object]:
    spec = AssetSpec("orders.daily", "orders", "load", ("orders.raw", "rates", "stores"), auto=AutoMaterialize())
    shown = asset_json(AssetDump("orders.daily", spec, 4, True, (partition,)))
    assert (shown["assetId"], shown["workflowSlug"], shown["mailboxDepth"]) == ("orders.daily", "orders", 4)
    partitions = shown["partitions"]
    assert isinstance(partitions, list)
    assert len(partitions) == 1
    one = partitions[0]
    assert isinstance(one, dict)
    return one


def test_inputs_compare_what_was_read_with_what_is_latest() -> None:
    made = Materialization(7, 7, AT_MS, inputs={"orders.raw": 11, "rates": 3})
    assert _json(_partition(made=made))["inputs"] == {
        "orders.raw": {"read": 11, "latest": 12, "stale": True},
        "rates": {"read": 3, "latest": 3, "stale": False},
        # Its updates do not count, so nobody follows its versions.
        "stores": {"read": None, "latest": None, "stale": False},
    }


def test_what_was_never_made_has_no_version_and_is_older_than_any_upstream() -> None:
    shown = _json(_partition(made=None))
    assert (shown["version"], shown["producedAt"]) == (None, None)
    assert shown["inputs"]["orders.raw"] == {"read": None, "latest": 12, "stale": True}  # type: ignore[index]


def test_times_are_iso_and_names_are_camel_case() -> None:
    shown = _json(_partition(made=Materialization(7, 7, AT_MS, run_id="run-1")))
    assert shown["producedAt"] == shown["expiresAt"] == shown["nextEligibleAt"] == AT
    assert (shown["runId"], shown["failures"], shown["budgetLeft"]) == ("run-1", 2, 3)
    assert shown["pendingCauses"] == [{"assetId": "orders.raw", "partitionKey": None, "version": 12}]
    assert shown["pendingUpstreams"] == [{"assetId": "rates", "partitionKey": "EUR"}]


def test_decisions_are_newest_first_and_say_until_when() -> None:
    entries = (
        DecisionEntry(AT_MS, Materialize(Reason.EXPIRED), "timer", None),
        DecisionEntry(AT_MS + 1, Wait(AT_MS + 60_000, Reason.BACKOFF), "workflow.run.failed", AT_MS + 60_000),
        DecisionEntry(AT_MS + 2, Skip(Reason.FRESH, AT_MS), "asset.produced", AT_MS),
    )
    shown = _json(_partition(made=None, decisions=entries))["decisions"]
    assert shown == [
        {
            "at": "2025-11-23T10:00:00.002Z",
            "decision": "skip",
            "reason": "fresh",
            "cause": "asset.produced",
            "nextLook": AT,
        },
        {
            "at": "2025-11-23T10:00:00.001Z",
            "decision": "wait",
            "reason": "backoff",
            "cause": "workflow.run.failed",
            "until": "2025-11-23T10:01:00.000Z",
        },
        {"at": AT, "decision": "materialize", "reason": "expired", "cause": "timer", "nextLook": None},
    ]


def test_an_instant_out_of_bounds_is_no_time() -> None:
    assert iso_or_none(10**16) is None

"""The tables of reasons, states, partition mappings and metrics say what the code says."""

from __future__ import annotations

import re
from typing import assert_never

import pytest
from prometheus_client import CollectorRegistry

from actors.core.decide import Decision, Materialize, Reason, Skip, Wait, is_settled
from actors.core.describe import PartitionView
from actors.core.mappings import ALL_KNOWN, downstream_keys
from actors.core.partitions import (
    DynamicPartitioning,
    Granularity,
    Partitioning,
    StaticPartitioning,
    TimeWindowPartitioning,
    key_at,
)
from actors.interfaces.metrics import MetricsObserver
from actors.interfaces.outgoing.metrics import OutgoingMetrics
from tests.unit.docs.markdown import ROOT, table

ASSETS = ROOT / "docs" / "assets-overview.md"
WATCH = ROOT / "docs" / "how-to" / "watch-it.md"


def names(cells: list[str]) -> list[str]:
    return [cell.strip("`") for cell in cells]


def test_every_reason_is_told_once_in_order() -> None:
    assert names([row[0] for row in table(ASSETS, "reasons")]) == [reason.value for reason in Reason]


@pytest.mark.parametrize("row", table(ASSETS, "reasons"), ids=lambda row: row[0].strip("`"))
def test_a_reason_is_of_the_decision_that_is_told(row: list[str]) -> None:
    reason, kind = Reason(row[0].strip("`")), row[1]
    # Those of `Wait` that let others go on are the only ones that the code itself tells apart by reason.
    decisions: dict[str, Decision] = {
        "materialize": Materialize(reason),
        "wait": Wait(None, reason),
        "skip": Skip(reason),
    }
    settled = {"materialize": False, "skip": True}
    lets_go_on = {Reason.PAUSED, Reason.SUSPENDED, Reason.BACKOFF, Reason.QUIET_HOURS, Reason.UPSTREAM_MISSING}
    assert is_settled(decisions[kind]) == settled.get(kind, reason in lets_go_on)


def test_every_state_is_told() -> None:
    said = re.search(r"`state` is one of ([\w, ]+)\.", PartitionView.__doc__ or "")
    assert said
    assert names([row[0] for row in table(ASSETS, "states")]) == said[1].split(", ")


NOON = 1_795_521_600_000
"""2026-11-24T12:00:00Z, a day after the upstream's window, which so is told from the window of the production."""

UPSTREAM: dict[str, tuple[Partitioning | None, str | None]] = {
    "none": (None, None),
    "static": (StaticPartitioning(("a", "b")), "a"),
    "timeWindow": (TimeWindowPartitioning(Granularity.DAY), "2026-11-23"),
    "dynamic": (DynamicPartitioning(), "a"),
}
DOWNSTREAM: dict[str, Partitioning | None] = {
    "none": None,
    "static": StaticPartitioning(("a", "c")),
    "timeWindow": TimeWindowPartitioning(Granularity.HOUR),
    "dynamic": DynamicPartitioning(),
}


def test_the_mapping_of_partitions() -> None:
    rows = table(ASSETS, "mapping")
    assert [row[0] for row in rows] == list(UPSTREAM)
    for up_name, *told in rows:
        up, up_key = UPSTREAM[up_name]
        for (down_name, down), text in zip(DOWNSTREAM.items(), told, strict=True):
            assert text == in_words(up, up_key, down), f"{up_name} -> {down_name}"


def in_words(up: Partitioning | None, up_key: str | None, down: Partitioning | None) -> str:
    keys = downstream_keys(up, up_key, NOON, down)
    if keys == ALL_KNOWN:
        return "every known key"
    match down:
        case None:
            assert keys == (None,)
            return "the one"
        case TimeWindowPartitioning():
            if keys == (key_at(down, NOON),):
                return "the window in which it was produced"
            assert keys == tuple(f"2026-11-23T{hour:02}" for hour in range(24))
            return "the windows that it overlaps"
        case StaticPartitioning() | DynamicPartitioning():
            if keys == (up_key,):
                return "the same key"
            assert isinstance(down, StaticPartitioning)
            assert keys == down.keys
            return "every key"
        case _:
            assert_never(down)


def test_every_metric_is_told_with_its_kind_and_labels() -> None:
    registry = CollectorRegistry()
    metrics = {}
    for collector in (vars(MetricsObserver(registry)) | vars(OutgoingMetrics(registry))).values():
        if hasattr(collector, "describe"):
            (metric,) = collector.describe()
            name = f"{metric.name}_total" if metric.type == "counter" else metric.name
            metrics[name] = (metric.type, ", ".join(f"`{label}`" for label in collector._labelnames))
    assert {metric.name for metric in registry.collect()} == {name.removesuffix("_total") for name in metrics}
    assert {row[0].strip("`"): (row[1], row[2]) for row in table(WATCH, "metrics")} == metrics

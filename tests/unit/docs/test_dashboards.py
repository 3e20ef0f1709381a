"""The dashboard and the alerts ask for metrics, labels and values of labels that there are, and for nothing else."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest
import yaml
from prometheus_client import CollectorRegistry

from actors.catalog.store import RunStatus
from actors.interfaces.metrics import MetricsObserver
from actors.interfaces.outgoing.metrics import OutgoingMetrics
from tests.unit.docs.markdown import ROOT

DASHBOARD: dict[str, Any] = json.loads((ROOT / "docs" / "grafana" / "headwater.json").read_text(encoding="utf-8"))
ALERTS: dict[str, Any] = yaml.safe_load((ROOT / "docs" / "prometheus" / "alerts.yml").read_text(encoding="utf-8"))
RULES: list[dict[str, Any]] = [rule for group in ALERTS["groups"] for rule in group["rules"]]
SCRAPED = frozenset({"job", "instance"})
"""The labels that Prometheus itself gives to what it scrapes."""
VALUES = {
    "outcome": frozenset({RunStatus.SUCCEEDED, RunStatus.FAILED, RunStatus.CANCELED, RunStatus.LOST}),
    "result": frozenset({"delivered", "dropped"}),
}

_USE = re.compile(r"\b(?P<metric>headwater_\w+)(?:\{(?P<matchers>[^}]*)\})?")
_MATCHER = re.compile(r'(?P<label>\w+)\s*(?P<operator>=~|!~|!=|=)\s*"(?P<value>[^"]*)"')
_GROUPED = re.compile(r"\b(?:by|on|without|ignoring|group_left|group_right)\s*\((?P<labels>[^)]*)\)")
_KEPT = re.compile(r"\bby\s*\((?P<labels>[^)]*)\)")
_DURATION = re.compile(r"\[(?!\$__rate_interval\]|\d+[smhd]\])")


def offered() -> dict[str, frozenset[str]]:
    """The names that a scrape has, as Prometheus keeps them, each with its labels."""
    found: dict[str, frozenset[str]] = {}
    registry = CollectorRegistry()
    for collector in (vars(MetricsObserver(registry)) | vars(OutgoingMetrics(registry))).values():
        if not hasattr(collector, "describe"):
            continue
        (metric,) = collector.describe()
        labels = frozenset(collector._labelnames)
        match metric.type:
            case "counter":
                found[f"{metric.name}_total"] = labels
            case "histogram":
                found |= {f"{metric.name}_{part}": labels for part in ("sum", "count")}
                found[f"{metric.name}_bucket"] = labels | {"le"}
            case _:
                found[metric.name] = labels
    return found


OFFERED = offered()


@dataclass(frozen=True)
class Query:
    """`shown` are the labels that its title or text takes from the answer."""

    where: str
    text: str
    shown: frozenset[str] = frozenset()


def queries() -> Iterator[Query]:
    for panel in DASHBOARD["panels"]:
        for target in panel.get("targets", ()):
            yield Query(panel["title"], target["expr"], frozenset(re.findall(r"\{\{(\w+)\}\}", target["legendFormat"])))
    for annotation in DASHBOARD["annotations"]["list"]:
        yield Query(annotation["name"], annotation["expr"])
    for rule in RULES:
        text = " ".join(rule["annotations"].values())
        yield Query(rule["alert"], rule["expr"], frozenset(re.findall(r"\$labels\.(\w+)", text)))


def flaws(query: Query) -> list[str]:
    """What is wrong with it, in words."""
    found = []
    labels = set(SCRAPED)
    uses = list(_USE.finditer(query.text))
    if not uses:
        found.append("asks for no metric of ours")
    for use in uses:
        of_metric = OFFERED.get(use["metric"])
        if of_metric is None:
            found.append(f"there is no {use['metric']}")
            continue
        labels |= of_metric
        for matcher in _MATCHER.finditer(use["matchers"] or ""):
            label = matcher["label"]
            if label not in of_metric | SCRAPED:
                found.append(f"{use['metric']} has no label {label}")
            if label in VALUES and not set(matcher["value"].split("|")) <= VALUES[label]:
                found.append(f"{label} is never {matcher['value']}")
    grouped = {name for each in _GROUPED.finditer(query.text) for name in names(each["labels"])}
    found += [f"groups by {label}, which none of its metrics has" for label in sorted(grouped - labels)]
    kept = {name for each in _KEPT.finditer(query.text) for name in names(each["labels"])}
    aggregated = bool(re.search(r"\b(sum|min|max|avg|count|absent|histogram_quantile)\b", query.text))
    found += [f"shows {label}, which is not in the answer" for label in query.shown - (kept if aggregated else labels)]
    if any(query.text.count(left) != query.text.count(right) for left, right in ("()", "[]", "{}")):
        found.append("a bracket is not closed")
    if _DURATION.search(query.text):
        found.append("a range is no duration")
    return found


def names(text: str) -> list[str]:
    return [name.strip() for name in text.split(",") if name.strip()]


@pytest.mark.parametrize("query", list(queries()), ids=lambda query: query.where)
def test_a_query_can_be_answered(query: Query) -> None:
    assert flaws(query) == []


@pytest.mark.parametrize(
    ("text", "flaw"),
    [
        ("headwater_leaders == 1", "there is no headwater_leaders"),
        ("rate(headwater_backoffs[5m])", "there is no headwater_backoffs"),
        ('headwater_leader{workflow="a"}', "headwater_leader has no label workflow"),
        ('headwater_auto_runs_total{outcome=~"failed|broken"}', "outcome is never failed|broken"),
        ("sum by (asset) (headwater_queued)", "groups by asset, which none of its metrics has"),
        ("sum by (job) (headwater_queued", "a bracket is not closed"),
        ("rate(headwater_backoffs_total[5 minutes])", "a range is no duration"),
        ("up == 0", "asks for no metric of ours"),
    ],
)
def test_a_query_that_cannot_be_answered_would_be_seen(text: str, flaw: str) -> None:
    assert flaws(Query("", text)) == [flaw]


def test_a_label_that_the_answer_has_lost_would_be_seen() -> None:
    text = "sum by (job) (headwater_queued)"
    assert flaws(Query("", text, frozenset({"job"}))) == []
    assert flaws(Query("", text, frozenset({"instance"}))) == ["shows instance, which is not in the answer"]


def test_the_dashboard_draws_every_metric() -> None:
    drawn = {use["metric"] for query in queries() for use in _USE.finditer(query.text)}
    families = {name for name in OFFERED if not name.endswith(("_sum", "_count"))}
    assert families - drawn == set()


def test_panels_have_ids_of_their_own_and_do_not_lie_on_each_other() -> None:
    panels = DASHBOARD["panels"]
    assert len({panel["id"] for panel in panels}) == len(panels)
    taken: set[tuple[int, int]] = set()
    for panel in panels:
        at = panel["gridPos"]
        cells = {(x, y) for x in range(at["x"], at["x"] + at["w"]) for y in range(at["y"], at["y"] + at["h"])}
        assert at["x"] + at["w"] <= 24, f"{panel['title']} does not fit"
        assert not taken & cells, f"{panel['title']} lies on another"
        taken |= cells


def test_every_variable_that_is_used_is_defined() -> None:
    defined = {variable["name"] for variable in DASHBOARD["templating"]["list"]} | {"__rate_interval"}
    text = json.dumps(DASHBOARD)
    assert set(re.findall(r"\$\{?(\w+)", text)) == defined


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule["alert"])
def test_an_alert_says_how_bad_it_is_and_what_to_do(rule: dict[str, Any]) -> None:
    assert rule["labels"]["severity"] in {"critical", "warning", "info"}
    assert rule["annotations"].keys() == {"summary", "description"}
    assert re.fullmatch(r"\d+[smh]", rule.get("for", "0s"))


def test_what_must_not_go_unnoticed_has_an_alert() -> None:
    text = " ".join(rule["expr"] for rule in RULES)
    for metric in (
        "headwater_leader",
        "headwater_catalog_up",
        "headwater_suspensions_total",
        "headwater_dead_letters_total",
        "headwater_restarts_total",
        "headwater_runs_lost_total",
        "headwater_auto_runs_total",
        "headwater_event_to_enqueue_seconds_bucket",
        "headwater_outgoing_lag_seconds",
        "headwater_outgoing_gaps_total",
    ):
        assert metric in text

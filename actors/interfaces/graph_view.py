"""The asset graph drawn: as a tree for a terminal, as Mermaid, as Graphviz dot, as JSON."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from types import MappingProxyType

from rich.text import Text

from actors.catalog.definitions import WorkflowDefinition
from actors.catalog.store import JsonObject
from actors.core.freshness import FreshnessPolicy
from actors.core.graph import AssetSpec, CycleError, Graph
from actors.core.partitions import DynamicPartitioning, Partitioning, StaticPartitioning, TimeWindowPartitioning
from actors.interfaces.graph_states import COLOURS, AssetState
from actors.interfaces.render import duration_text

__all__ = ["Drawing", "Edge", "EdgeKind", "around", "dot", "draw", "graph_json", "graph_of", "mermaid", "tree"]

States = Mapping[str, AssetState]
"""How each asset of a drawing stands; empty where nobody asked."""


class EdgeKind(StrEnum):
    """`triggers`: an update of the upstream re-makes the asset. `reads`: it does not. `inside`: both are made by one
    workflow, which orders them itself."""

    TRIGGERS = "triggers"
    READS = "reads"
    INSIDE = "inside"


@dataclass(frozen=True, slots=True, order=True)
class Edge:
    upstream: str
    asset_id: str
    kind: EdgeKind


@dataclass(frozen=True, slots=True)
class Drawing:
    """Every asset by id, with its producer's declaration (None: made outside), and the edges between them."""

    assets: dict[str, AssetSpec | None]
    edges: tuple[Edge, ...]


def graph_of(definitions: Iterable[WorkflowDefinition]) -> tuple[Graph, list[CycleError]]:
    """The graph of all workflows, and why some were left out: each of those would close a circle."""
    graph, left_out = Graph(), list[CycleError]()
    for definition in sorted(definitions, key=lambda d: d.slug):
        try:
            graph.put(definition.to_spec())
        except CycleError as error:
            left_out.append(error)
    return graph, left_out


def draw(definitions: Iterable[WorkflowDefinition]) -> Drawing:
    """What there is to draw of these workflows."""
    assets: dict[str, AssetSpec | None] = {}
    edges: set[Edge] = set()
    for definition in sorted(definitions, key=lambda d: d.slug):
        spec = definition.to_spec()
        own = {asset.asset_id for asset in spec.assets}
        for asset in spec.assets:
            leading = assets.get(asset.asset_id)
            if leading is None or (leading.auto is None and asset.auto is not None):
                assets[asset.asset_id] = asset
            considered = frozenset(asset.considered)
            for upstream in asset.upstreams:
                assets.setdefault(upstream, None)
                kind = EdgeKind.TRIGGERS if upstream in considered else EdgeKind.READS
                edges.add(Edge(upstream, asset.asset_id, kind))
        for step in definition.steps:
            for read in step.consumes:
                assets.setdefault(read.asset_id, None)
                if read.asset_id in own:
                    edges |= {
                        Edge(read.asset_id, made.asset_id, EdgeKind.INSIDE)
                        for made in step.produces
                        if made.asset_id != read.asset_id
                    }
    return Drawing(dict(sorted(assets.items())), tuple(sorted(edges)))


def around(drawing: Drawing, asset_id: str, depth: int) -> Drawing:
    """What lies at most so many edges above an asset or below it, and the edges between all that."""
    up: dict[str, set[str]] = defaultdict(set)
    down: dict[str, set[str]] = defaultdict(set)
    for edge in drawing.edges:
        up[edge.asset_id].add(edge.upstream)
        down[edge.upstream].add(edge.asset_id)
    kept = {asset_id}
    for onward in (up, down):
        edge_of_it = {asset_id}
        for _ in range(depth):
            edge_of_it = {other for each in edge_of_it for other in onward[each]} - kept
            kept |= edge_of_it
    return Drawing(
        {each: spec for each, spec in drawing.assets.items() if each in kept},
        tuple(edge for edge in drawing.edges if edge.upstream in kept and edge.asset_id in kept),
    )


def tree(drawing: Drawing, states: States = MappingProxyType({})) -> list[Text]:
    """Indented lines, upstream first: `->` triggers, `..` reads only, `=>` inside one workflow. What lies below an
    asset is drawn once."""
    below: dict[str, list[Edge]] = defaultdict(list)
    for edge in drawing.edges:
        below[edge.upstream].append(edge)
    has_upstream = {edge.asset_id for edge in drawing.edges}
    arrows = {EdgeKind.TRIGGERS: "-> ", EdgeKind.READS: ".. ", EdgeKind.INSIDE: "=> "}
    lines: list[Text] = []
    drawn = set[str]()
    roots = [asset_id for asset_id in drawing.assets if asset_id not in has_upstream]
    # A circle has no root; its members are drawn last, so that no asset is missing.
    for root in (*roots, *drawing.assets):
        if root in drawn:
            continue
        stack = [(root, "", 0)]
        while stack:
            asset_id, arrow, depth = stack.pop()
            seen = asset_id in drawn and bool(below[asset_id])
            line = Text(f"{'   ' * depth}{arrow}{_label(asset_id, drawing)}{'  (see above)' if seen else ''}")
            state = states.get(asset_id)
            if state is not None and state is not AssetState.OUTSIDE:
                line.append("  ").append(state, style=COLOURS[state].terminal)
            lines.append(line)
            if asset_id not in drawn:
                drawn.add(asset_id)
                stack.extend((edge.asset_id, arrows[edge.kind], depth + 1) for edge in reversed(below[asset_id]))
    return lines


def mermaid(drawing: Drawing, states: States = MappingProxyType({})) -> str:
    """A Mermaid flowchart. A rounded asset is kept fresh by itself; a dotted edge starts nothing."""
    number = {asset_id: f"a{index}" for index, asset_id in enumerate(drawing.assets)}
    lines = ["flowchart LR"]
    for asset_id, spec in drawing.assets.items():
        text = asset_id.replace('"', "#quot;") + (f"<br>{spec.workflow_slug}" if spec else "")
        shape = f'("{text}")' if spec is not None and spec.auto is not None else f'["{text}"]'
        lines.append(f"  {number[asset_id]}{shape}")
    lines.extend(
        f"  {number[edge.upstream]} {'-->' if edge.kind is EdgeKind.TRIGGERS else '-.->'} {number[edge.asset_id]}"
        for edge in drawing.edges
    )
    for state in sorted(set(states.values())):
        name, colours = state.replace(" ", ""), COLOURS[state]
        members = ",".join(number[asset_id] for asset_id, found in states.items() if found is state)
        lines.append(f"  classDef {name} fill:{colours.fill},stroke:{colours.line}")
        lines.append(f"  class {members} {name}")
    return "\n".join(lines)


def dot(drawing: Drawing, states: States = MappingProxyType({})) -> str:
    """A Graphviz digraph, with the same meaning as in Mermaid."""
    lines = ["digraph assets {", "  rankdir=LR;", "  node [shape=box];"]
    for asset_id, spec in drawing.assets.items():
        label = asset_id + (f"\n{spec.workflow_slug}" if spec else "")
        is_round, state = spec is not None and spec.auto is not None, states.get(asset_id)
        styles = [word for word, holds in (("rounded", is_round), ("filled", state is not None)) if holds]
        style = f', style="{",".join(styles)}"' if len(styles) > 1 else "".join(f", style={word}" for word in styles)
        if state is not None:
            style += f', fillcolor="{COLOURS[state].fill}", color="{COLOURS[state].line}"'
        lines.append(f"  {_quoted(asset_id)} [label={_quoted(label)}{style}];")
    for edge in drawing.edges:
        style = "" if edge.kind is EdgeKind.TRIGGERS else " [style=dotted]"
        lines.append(f"  {_quoted(edge.upstream)} -> {_quoted(edge.asset_id)}{style};")
    return "\n".join([*lines, "}"])


def graph_json(drawing: Drawing, states: States = MappingProxyType({})) -> JsonObject:
    """`{assets: [{assetId, workflowSlug, optedIn, freshness, partitioning}], edges: [{upstream, assetId, kind}]}`; with
    `states`, each asset has its `state`."""
    return {
        "assets": [
            {
                "assetId": asset_id,
                "workflowSlug": spec.workflow_slug if spec else None,
                "optedIn": spec is not None and spec.auto is not None,
                "freshness": _freshness(spec.freshness) if spec else None,
                "partitioning": _partitioning(spec.partitioning) if spec else None,
                **({"state": states[asset_id].value} if asset_id in states else {}),
            }
            for asset_id, spec in drawing.assets.items()
        ],
        "edges": [
            {"upstream": edge.upstream, "assetId": edge.asset_id, "kind": edge.kind.value} for edge in drawing.edges
        ],
    }


def _label(asset_id: str, drawing: Drawing) -> str:
    spec = drawing.assets[asset_id]
    if spec is None:
        return f"{asset_id}  (made outside)"
    said = [spec.workflow_slug]
    said += [text for text in (_freshness(spec.freshness), _partitioning(spec.partitioning)) if text]
    said.append("kept fresh" if spec.auto is not None else "by hand")
    return f"{asset_id}  ({'; '.join(said)})"


def _freshness(policy: FreshnessPolicy) -> str | None:
    parts = [
        f"{word} {duration_text(ms)}"
        for word, ms in (("ttl", policy.ttl_ms), ("every", policy.cadence_ms), ("at most", policy.max_age_ms))
        if ms is not None
    ]
    if policy.cron is not None:
        parts.append(f"cron {policy.cron} {policy.timezone}")
    return ", ".join(parts) or None


def _partitioning(partitioning: Partitioning | None) -> str | None:
    match partitioning:
        case None:
            return None
        case TimeWindowPartitioning():
            return f"by {partitioning.granularity.value}"
        case StaticPartitioning():
            return f"{len(partitioning.keys)} partitions"
        case DynamicPartitioning():
            return "dynamic partitions"


def _quoted(text: str) -> str:
    # A JSON string is a dot string, but for what dot does not escape.
    return json.dumps(text, ensure_ascii=False)

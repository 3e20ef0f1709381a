from __future__ import annotations

import json
from typing import Any

from actors.interfaces.graph_view import Edge, EdgeKind, dot, draw, graph_json, graph_of, mermaid, tree
from tests.unit.interfaces.definitions import definition

UPDATE = {"autoMaterialize": {"onUpstreamUpdate": True}}
DIAMOND = [
    definition("b", "B", "A", **UPDATE),
    definition("c", "C", "A", **UPDATE),
    definition("d", "D", "B", "C", freshness={"ttlMs": 60_000}, **UPDATE),
    definition("log", "L", "D"),
]


def test_edges_say_whether_an_update_starts_anything() -> None:
    drawing = draw(DIAMOND)
    assert list(drawing.assets) == ["A", "B", "C", "D", "L"]
    assert drawing.assets["A"] is None
    assert drawing.edges == (
        Edge("A", "B", EdgeKind.TRIGGERS),
        Edge("A", "C", EdgeKind.TRIGGERS),
        Edge("B", "D", EdgeKind.TRIGGERS),
        Edge("C", "D", EdgeKind.TRIGGERS),
        Edge("D", "L", EdgeKind.READS),
    )


def test_the_tree_draws_what_lies_below_once() -> None:
    assert [line.plain for line in tree(draw(DIAMOND))] == [
        "A  (made outside)",
        "   -> B  (b; kept fresh)",
        "      -> D  (d; ttl 1 min; kept fresh)",
        "         .. L  (log; by hand)",
        "   -> C  (c; kept fresh)",
        "      -> D  (d; ttl 1 min; kept fresh)  (see above)",
    ]


def test_a_circle_is_drawn_though_it_has_no_root() -> None:
    circle = [definition("a", "A", "B"), definition("b", "B", "A")]
    lines = [line.plain for line in tree(draw(circle))]
    assert {line.split()[0 if index == 0 else 1] for index, line in enumerate(lines)} == {"A", "B"}


def test_a_deep_graph_is_drawn_without_recursion() -> None:
    chain = [definition(f"w{n}", f"a{n + 1:04}", f"a{n:04}") for n in range(1_500)]
    assert len(tree(draw(chain))) == 1_501


def test_edges_inside_a_workflow_are_told_apart() -> None:
    text: dict[str, Any] = {
        "slug": "w",
        "name": "w",
        "steps": [
            {"id": "one", "jobSlug": "j", "produces": [{"assetId": "A"}]},
            {"id": "two", "jobSlug": "j", "dependsOn": ["one"], "consumes": [{"assetId": "A"}],
             "produces": [{"assetId": "B"}]},
        ],
    }  # fmt: skip
    from actors.catalog.definitions import parse_definition

    assert draw([parse_definition(json.dumps(text), source="w")]).edges == (Edge("A", "B", EdgeKind.INSIDE),)


def test_dot_quotes_what_an_asset_id_may_hold() -> None:
    text = dot(draw([definition("w", 'a"b\\c')]))
    assert '"a\\"b\\\\c" [label="a\\"b\\\\c\\nw"];' in text


def test_mermaid_numbers_assets_and_dots_edges_that_start_nothing() -> None:
    text = mermaid(draw(DIAMOND))
    assert text.startswith("flowchart LR")
    assert "a0 --> a1" in text
    assert "a3 -.-> a4" in text


def test_json_holds_assets_and_edges() -> None:
    shown: Any = graph_json(draw(DIAMOND))
    assert json.loads(json.dumps(shown)) == shown
    assert shown["assets"][3] == {
        "assetId": "D",
        "workflowSlug": "d",
        "optedIn": True,
        "freshness": "ttl 1 min",
        "partitioning": None,
    }
    assert shown["edges"][-1] == {"upstream": "D", "assetId": "L", "kind": "reads"}


def test_a_workflow_that_closes_a_circle_is_left_out() -> None:
    graph, left_out = graph_of([definition("a", "A", "B"), definition("b", "B", "A")])
    assert list(graph.workflows) == ["a"]
    assert [error.path for error in left_out] == [("b", "a", "b")]

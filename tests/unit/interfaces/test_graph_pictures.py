"""Pictures of the graph: nothing overlaps, everything is there, and the colours are those of the states."""

from __future__ import annotations

import io
import random
from itertools import combinations
from xml.etree import ElementTree

import pytest
from PIL import Image, ImageColor
from typer.testing import CliRunner

from actors.interfaces.cli import app
from actors.interfaces.graph_layout import Box, lay_out
from actors.interfaces.graph_picture import picture_of
from actors.interfaces.graph_png import measure, to_png
from actors.interfaces.graph_states import COLOURS, AssetState
from actors.interfaces.graph_svg import to_svg
from actors.interfaces.graph_view import Drawing, around, dot, draw, graph_json, mermaid, tree
from tests.unit.interfaces.definitions import definition

UPDATE = {"autoMaterialize": {"onUpstreamUpdate": True}}
CHAIN = draw([definition(f"w{n}", f"a{n + 1}", f"a{n}", **UPDATE) for n in range(6)])


def apart(one: Box, other: Box) -> bool:
    return (
        one.x + one.width <= other.x
        or other.x + other.width <= one.x
        or one.y + one.height <= other.y
        or other.y + other.height <= one.y
    )


@pytest.mark.parametrize("seed", range(25))
def test_boxes_lie_apart_and_edges_lead_from_box_to_box_from_left_to_right(seed: int) -> None:
    rng = random.Random(seed)
    names = [f"asset {number}" for number in range(rng.randrange(1, 40))]
    widths = {name: rng.uniform(40, 260) for name in names}
    edges = [(names[a], names[b]) for a, b in combinations(range(len(names)), 2) if rng.random() < 0.08]
    layout = lay_out(widths, 42, edges)
    assert {name: box.width for name, box in layout.boxes.items()} == widths
    assert all(apart(one, other) for one, other in combinations(layout.boxes.values(), 2))
    assert set(layout.ways) == set(edges)
    for (upstream, downstream), way in layout.ways.items():
        first, last = layout.boxes[upstream], layout.boxes[downstream]
        assert way[0] == (first.x + first.width, first.y + 21)
        assert way[-1] == (last.x, last.y + 21)
        assert sorted(way, key=lambda point: point[0]) == list(way)
    rights, bottoms = zip(*((box.x + box.width, box.y + box.height) for box in layout.boxes.values()), strict=True)
    assert max(rights) <= layout.width + 0.01
    assert max(bottoms) <= layout.height + 0.01


def test_a_circle_and_an_edge_from_an_asset_to_itself_are_laid_out_too() -> None:
    layout = lay_out(dict.fromkeys("abcd", 50.0), 20, [("a", "b"), ("b", "c"), ("c", "a"), ("d", "d")])
    assert set(layout.boxes) == set("abcd")
    assert set(layout.ways) == {("a", "b"), ("b", "c"), ("c", "a")}


@pytest.fixture
def drawing() -> Drawing:
    return draw(
        [
            definition("b", "B<&>", "A", **UPDATE),
            definition("c", "C", "A"),
            definition("d", "注文.日次", "C", **UPDATE),
        ]
    )


@pytest.fixture
def states(drawing: Drawing) -> dict[str, AssetState]:
    told = [AssetState.OUTSIDE, AssetState.SUSPENDED, AssetState.FRESH, AssetState.NEVER_MADE]
    return dict(zip(drawing.assets, told, strict=True))


def test_svg_has_every_name_and_a_legend(drawing: Drawing, states: dict[str, AssetState]) -> None:
    picture = ElementTree.fromstring(to_svg(picture_of(drawing, states, measure)))
    words = [element.text for element in picture.iter("{http://www.w3.org/2000/svg}text")]
    assert {*drawing.assets, "b · suspended", "made outside", "suspended: 1", "it is read, and starts nothing"} <= set(
        words
    )
    fills = [element.get("fill") for element in picture.iter("{http://www.w3.org/2000/svg}rect")]
    assert all(COLOURS[state].fill in fills for state in states.values())


def test_png_shows_the_same_picture(drawing: Drawing, states: dict[str, AssetState]) -> None:
    picture = picture_of(drawing, states, measure)
    image = Image.open(io.BytesIO(to_png(picture)))
    assert image.size == (round(picture.width * 4) // 2, round(picture.height * 4) // 2)
    for rectangle in picture.rectangles:
        # Near its left side, where no words are.
        x, y = rectangle.box.x + 6, rectangle.box.y + rectangle.box.height / 2
        assert image.getpixel((round(2 * x), round(2 * y))) == ImageColor.getrgb(rectangle.fill)


def test_around_takes_what_lies_so_many_edges_up_and_down() -> None:
    assert list(around(CHAIN, "a3", 1).assets) == ["a2", "a3", "a4"]
    assert list(around(CHAIN, "a3", 2).assets) == ["a1", "a2", "a3", "a4", "a5"]
    near = around(CHAIN, "a0", 0)
    assert (list(near.assets), near.edges) == (["a0"], ())
    # What else is made from an upstream lies beside it, and not below.
    forked = draw([definition("b", "B", "A", **UPDATE), definition("c", "C", "A", **UPDATE)])
    assert list(around(forked, "B", 3).assets) == ["A", "B"]


def test_every_form_says_how_assets_stand(drawing: Drawing, states: dict[str, AssetState]) -> None:
    assert [line.plain.strip() for line in tree(drawing, states)][:2] == [
        "A  (made outside)",
        "-> B<&>  (b; kept fresh)  suspended",
    ]
    assert "  class a1 suspended" in mermaid(drawing, states).splitlines()
    assert f'style="rounded,filled", fillcolor="{COLOURS[AssetState.SUSPENDED].fill}"' in dot(drawing, states)
    told = graph_json(drawing, states)["assets"]
    assert isinstance(told, list)
    assert [asset["state"] for asset in told] == ["outside", "suspended", "fresh", "never made"]


@pytest.mark.parametrize("options", [("--output", "graph.jpeg"), ("--depth", "1")])
def test_options_that_say_nothing_are_refused(options: tuple[str, ...]) -> None:
    result = CliRunner().invoke(app, ["graph", *options])
    assert (result.exit_code, result.stdout) == (2, "")
    assert result.stderr.startswith(f"error: {options[0]}")

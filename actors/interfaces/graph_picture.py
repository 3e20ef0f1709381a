"""A picture of the graph in parts that a writer of SVG or PNG puts down one by one: boxes, words, ways, a legend."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Final

from actors.interfaces.graph_layout import Box, Point, lay_out
from actors.interfaces.graph_states import COLOURS, AssetState
from actors.interfaces.graph_view import Drawing, Edge, EdgeKind

__all__ = [
    "SMALL",
    "TALL",
    "Curve",
    "Measure",
    "Picture",
    "Point",
    "Rectangle",
    "Words",
    "arrow",
    "bezier",
    "picture_of",
]

TALL: Final = 13
SMALL: Final = 10
"""Heights of letters, in pixels."""

Measure = Callable[[str, int], float]
"""How wide a text is in letters of a height."""

_MARGIN: Final = 24.0
_PADDING: Final = 12.0
_BOX_HEIGHT: Final = 42.0
_LEGEND_ROW: Final = 22.0
_LEGEND_LINE: Final = 34.0
_GREY: Final = "#78909c"
_INK: Final = "#263238"
_NO_DASH: Final[tuple[int, int]] = (0, 0)


@dataclass(frozen=True, slots=True)
class Rectangle:
    """Round at its corners if the asset is kept fresh by itself, with a dashed border if it was never made."""

    box: Box
    fill: str
    line: str
    radius: float
    is_dashed: bool


@dataclass(frozen=True, slots=True)
class Words:
    """Text from (x, y) on, which is the left end of the line it stands on, over this width."""

    x: float
    y: float
    text: str
    width: float
    height: int
    colour: str
    is_bold: bool = False


@dataclass(frozen=True, slots=True)
class Curve:
    """A way through points, with an arrow at its end; `dash` are the lengths of stroke and gap, (0, 0) for none."""

    points: Sequence[Point]
    colour: str
    dash: tuple[int, int]


@dataclass(frozen=True, slots=True)
class Picture:
    """What is to be put down, in this order: the curves lie under the boxes."""

    width: float
    height: float
    curves: Sequence[Curve]
    rectangles: Sequence[Rectangle]
    words: Sequence[Words]


def picture_of(drawing: Drawing, states: Mapping[str, AssetState], measure: Measure) -> Picture:
    """Lay a drawing out. A label has the asset's id over its workflow and how it stands."""
    below = {asset_id: _below(asset_id, drawing, states) for asset_id in drawing.assets}
    widths = {
        asset_id: 2 * _PADDING + max(measure(asset_id, TALL), measure(text, SMALL)) for asset_id, text in below.items()
    }
    layout = lay_out(widths, _BOX_HEIGHT, [(edge.upstream, edge.asset_id) for edge in drawing.edges])
    legend = _Legend(measure)
    curves = [_curve(edge, _shifted(layout.ways[edge.upstream, edge.asset_id])) for edge in drawing.edges]
    rectangles, words = [], []
    for asset_id, box in layout.boxes.items():
        spec, state = drawing.assets[asset_id], states[asset_id]
        moved = Box(box.x + _MARGIN, box.y + _MARGIN, box.width, box.height)
        rectangles.append(_rectangle(moved, state, is_round=spec is not None and spec.auto is not None))
        left, text = moved.x + _PADDING, below[asset_id]
        words.append(Words(left, moved.y + 18, asset_id, measure(asset_id, TALL), TALL, _INK, is_bold=True))
        words.append(Words(left, moved.y + 33, text, measure(text, SMALL), SMALL, COLOURS[state].line))
    top = layout.height + 2 * _MARGIN
    width = max(layout.width, 640.0)
    legend.put_states(Counter(states[asset_id] for asset_id in drawing.assets), top, width)
    legend.put_edges({edge.kind for edge in drawing.edges}, width)
    return Picture(
        width + 2 * _MARGIN,
        legend.bottom + _MARGIN / 2,
        [*curves, *legend.curves],
        [*rectangles, *legend.rectangles],
        [*words, *legend.words],
    )


def _below(asset_id: str, drawing: Drawing, states: Mapping[str, AssetState]) -> str:
    spec, state = drawing.assets[asset_id], states[asset_id]
    return f"{spec.workflow_slug} · {state}" if spec is not None else "made outside"


def _shifted(way: Sequence[Point]) -> Sequence[Point]:
    return [(x + _MARGIN, y + _MARGIN) for x, y in way]


def _rectangle(box: Box, state: AssetState, *, is_round: bool) -> Rectangle:
    colours = COLOURS[state]
    return Rectangle(box, colours.fill, colours.line, 10.0 if is_round else 2.0, state is AssetState.NEVER_MADE)


def _curve(edge: Edge, points: Sequence[Point]) -> Curve:
    return Curve(points, *_STROKES[edge.kind][:2])


_STROKES: Final[Mapping[EdgeKind, tuple[str, tuple[int, int], str]]] = {
    EdgeKind.TRIGGERS: ("#37474f", _NO_DASH, "an update makes it again"),
    EdgeKind.READS: (_GREY, (5, 4), "it is read, and starts nothing"),
    EdgeKind.INSIDE: (_GREY, (2, 3), "inside one workflow"),
}


class _Legend:
    """What the colours and strokes mean, in rows from left to right."""

    def __init__(self, measure: Measure) -> None:
        self.curves: list[Curve] = []
        self.rectangles: list[Rectangle] = []
        self.words: list[Words] = []
        self.bottom = 0.0
        self._measure = measure
        self._x = _MARGIN

    def put_states(self, counts: Counter[AssetState], top: float, width: float) -> None:
        self.bottom = top + _LEGEND_ROW
        for state in AssetState:
            if counts[state]:
                box = Box(*self._place(f"{state}: {counts[state]}", 18.0, width), 18.0, 12.0)
                self.rectangles.append(_rectangle(box, state, is_round=False))

    def put_edges(self, kinds: set[EdgeKind], width: float) -> None:
        self._x, self.bottom = _MARGIN, self.bottom + _LEGEND_ROW
        for kind in EdgeKind:
            if kind in kinds:
                colour, dash, text = _STROKES[kind]
                x, y = self._place(text, _LEGEND_LINE, width)
                self.curves.append(Curve([(x, y + 6), (x + _LEGEND_LINE, y + 6)], colour, dash))
        x, y = self._place("round: kept fresh by itself", 18.0, width)
        self.rectangles.append(Rectangle(Box(x, y, 18.0, 12.0), "#ffffff", _GREY, 5.0, is_dashed=False))

    def _place(self, text: str, sign_width: float, width: float) -> Point:
        """Room for a sign, with its text beside it: the sign's upper left corner."""
        width_of_text = self._measure(text, SMALL)
        taken = sign_width + 8 + width_of_text + 22
        if self._x > _MARGIN and self._x + taken > width + _MARGIN:
            self._x, self.bottom = _MARGIN, self.bottom + _LEGEND_ROW
        x, y = self._x, self.bottom - 14
        self.words.append(Words(x + sign_width + 8, self.bottom - 4, text, width_of_text, SMALL, _INK))
        self._x += taken
        return x, y


def bezier(points: Sequence[Point]) -> Iterator[tuple[Point, Point, Point, Point]]:
    """The way as cubic curves that leave and reach each point level: each its two ends with their two handles."""
    for (x1, y1), (x2, y2) in pairwise(points):
        reach = (x2 - x1) / 2
        yield (x1, y1), (x1 + reach, y1), (x2 - reach, y2), (x2, y2)


def arrow(points: Sequence[Point]) -> tuple[Point, Point, Point]:
    """The head of an arrow that points the way in which it ends, which is level."""
    (x1, _), (x2, y2) = points[-2:]
    back = x2 - (7.0 if x2 >= x1 else -7.0)
    return (x2, y2), (back, y2 - 3.6), (back, y2 + 3.6)

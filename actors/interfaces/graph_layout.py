"""Where the assets of a drawing are placed: in columns from left to right, each right of all that it is made from.

The columns and the order within each are found by Sugiyama's method (K. Sugiyama and others, "Methods for Visual
Understanding of Hierarchical System Structures", 1981), in the library fast-sugiyama.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Final

from fast_sugiyama import from_edges

__all__ = ["Box", "Layout", "Point", "lay_out"]

Point = tuple[float, float]
_Pair = tuple[int, int]
_COLUMN_GAP: Final = 72.0
_ROW_GAP: Final = 18.0
_PART_GAP: Final = 34.0
_ALONE_WIDTH: Final = 900.0


@dataclass(frozen=True, slots=True)
class Box:
    """A placed asset: its upper left corner and its size."""

    x: float
    y: float
    width: float
    height: float


@dataclass(frozen=True, slots=True)
class Layout:
    """`ways` are the points through which each edge goes, from the right side of the upstream to the left side of what
    is made from it; the other way round for an edge that closes a circle."""

    boxes: Mapping[str, Box]
    ways: Mapping[tuple[str, str], Sequence[Point]]
    width: float
    height: float


def lay_out(widths: Mapping[str, float], height: float, edges: Iterable[tuple[str, str]]) -> Layout:
    """Place boxes of these widths, by name, and of one height; edges go from upstream to downstream."""
    joined = {(a, b) for a, b in edges if a != b}
    tied = {name for pair in joined for name in pair}
    # The library gives bends the numbers after the last node that has an edge.
    names = sorted(widths, key=lambda name: name not in tied)
    number = {name: index for index, name in enumerate(names)}
    pairs = sorted((number[a], number[b]) for a, b in joined)
    boxes: dict[int, Box] = {}
    ways: dict[_Pair, list[Point]] = {}
    top = right = 0.0
    for part in _parts(len(tied), pairs, height + _ROW_GAP):
        columns = _Columns.of(part, [widths[name] for name in names[: len(tied)]])
        for node, row in part.rows.items():
            if node < len(tied):
                width = widths[names[node]]
                boxes[node] = Box(columns.middle(node) - width / 2, top + row, width, height)
        for chain in _chains(part, len(tied)):
            ways[chain[0], chain[-1]] = list(_way(chain, boxes, part, columns, top + height / 2))
        top += max(part.rows.values()) + height + _PART_GAP
        right = max(right, columns.right)
    alone = range(len(tied), len(names))
    x = 0.0
    for node in alone:
        width = widths[names[node]]
        if x and x + width > max(right, _ALONE_WIDTH):
            x, top = 0.0, top + height + _ROW_GAP
        boxes[node] = Box(x, top, width, height)
        x, right = x + width + _ROW_GAP, max(right, x + width)
    if alone:
        top += height + _PART_GAP
    return Layout(
        {names[node]: box for node, box in boxes.items()},
        {(names[a], names[b]): ways[a, b] if (a, b) in ways else ways[b, a][::-1] for a, b in pairs},
        right,
        max(0.0, top - _PART_GAP),
    )


@dataclass(frozen=True, slots=True)
class _Part:
    """What hangs together: by number, the nodes and the bends of long edges, each in a column and at a height; `hops`
    lead from column to column."""

    columns: Mapping[int, int]
    rows: Mapping[int, float]
    hops: Sequence[_Pair]


@dataclass(frozen=True, slots=True)
class _Columns:
    part: _Part
    lefts: Sequence[float]
    widths: Sequence[float]

    @classmethod
    def of(cls, part: _Part, widths: Sequence[float]) -> _Columns:
        """As wide as their widest box."""
        most = [0.0] * (1 + max(part.columns.values()))
        for node, column in part.columns.items():
            if node < len(widths):
                most[column] = max(most[column], widths[node])
        lefts = [sum(most[:column]) + column * _COLUMN_GAP for column in range(len(most))]
        return cls(part, lefts, most)

    @property
    def right(self) -> float:
        return self.lefts[-1] + self.widths[-1]

    def sides(self, node: int) -> tuple[float, float]:
        column = self.part.columns[node]
        return self.lefts[column], self.lefts[column] + self.widths[column]

    def middle(self, node: int) -> float:
        return sum(self.sides(node)) / 2


def _parts(nodes: int, pairs: Sequence[_Pair], pitch: float) -> Iterator[_Part]:
    """The largest first. Whole turns of the graph are against the library's assumptions, so none is left in."""
    against = _closing(nodes, pairs)
    forward = sorted({(b, a) if (a, b) in against else (a, b) for a, b in pairs})
    if not forward:
        return
    layouts = from_edges(forward, vertex_spacing=pitch, dummy_vertices=True, ranking_type="minimize")
    for positions, _, _, hops in sorted(layouts, key=lambda layout: -len(layout[0])):
        depths = sorted({round(y) for _, (_, y) in positions}, reverse=True)
        columns = {int(str(node)): depths.index(round(y)) for node, (_, y) in positions}
        rows = {int(str(node)): x for node, (x, _) in positions}
        kept = [(int(str(a)), int(str(b))) for a, b in hops or ()]
        yield _Part(columns, _apart(nodes, columns, rows, pitch), kept)


def _apart(nodes: int, columns: Mapping[int, int], rows: Mapping[int, float], pitch: float) -> Mapping[int, float]:
    """From 0, and no box of a column nearer to the next than it should be."""
    placed = dict(rows)
    by_column: dict[int, list[int]] = defaultdict(list)
    for node in sorted(rows, key=lambda node: rows[node]):
        by_column[columns[node]].append(node)
    for column in by_column.values():
        for above, below in pairwise(column):
            needed = pitch if above < nodes and below < nodes else pitch / 2
            placed[below] = max(placed[below], placed[above] + needed)
    first = min(placed.values())
    return {node: row - first for node, row in placed.items()}


def _closing(nodes: int, pairs: Sequence[_Pair]) -> set[_Pair]:
    """Edges without which nothing is left that goes in a circle: those that lead back to where a walk came from."""
    below: dict[int, list[int]] = defaultdict(list)
    for a, b in pairs:
        below[a].append(b)
    found: set[_Pair] = set()
    done: set[int] = set()
    for root in range(nodes):
        trail: dict[int, Iterator[int]] = {} if root in done else {root: iter(below[root])}
        while trail:
            node = next(reversed(trail))
            following = next(trail[node], None)
            if following is None:
                done.add(node)
                del trail[node]
            elif following in trail:
                found.add((node, following))
            elif following not in done:
                trail[following] = iter(below[following])
    return found


def _chains(part: _Part, nodes: int) -> Iterator[list[int]]:
    """Each edge: where it begins, its bends, where it ends."""
    onward = {a: b for a, b in part.hops if a >= nodes}
    for a, b in part.hops:
        if a < nodes:
            chain = [a, b]
            while chain[-1] >= nodes:
                chain.append(onward[chain[-1]])
            yield chain


def _way(
    chain: Sequence[int], boxes: Mapping[int, Box], part: _Part, columns: _Columns, middle: float
) -> Iterator[Point]:
    """Through the whole width of each column on its way, so that it does not touch the boxes there."""
    first, last = boxes[chain[0]], boxes[chain[-1]]
    yield first.x + first.width, first.y + first.height / 2
    for bend in chain[1:-1]:
        for side in columns.sides(bend):
            yield side, middle + part.rows[bend]
    yield last.x, last.y + last.height / 2

"""A picture of the graph as PNG, by Pillow, with the letters that come with it."""

from __future__ import annotations

import io
from collections.abc import Iterator, Sequence
from functools import cache
from itertools import pairwise
from math import hypot
from typing import Final

from PIL import Image, ImageDraw, ImageFont

from actors.interfaces.graph_picture import Curve, Picture, Point, Rectangle, Words, arrow, bezier

__all__ = ["MOST_PIXELS", "measure", "to_png"]

MOST_PIXELS: Final = 40_000_000
"""Of the picture that is put down: a larger one gets coarser."""

_SHARPNESS: Final = 2.0
"""Pixels of the file for one of the picture: it is to be legible on a fine screen."""
_SMOOTH: Final = 2
"""What is put down is so much larger than the file, and made smaller at the end: Pillow's lines have steps."""
_PIECES: Final = 24
_WIDER_SCRIPTS: Final = ("NotoSansCJK-Regular.ttc", "DejaVuSans.ttf", "NotoSans-Regular.ttf")
"""For what Pillow's own letters do not have, if the machine has one of these."""


def measure(text: str, height: int) -> float:
    """How wide a text is."""
    return _font(height, _needs_more(text)).getlength(text)


def to_png(picture: Picture) -> bytes:
    """A PNG file."""
    pixels = picture.width * picture.height * (_SHARPNESS * _SMOOTH) ** 2
    scale = _SHARPNESS * _SMOOTH * min(1.0, (MOST_PIXELS / pixels) ** 0.5)
    image = Image.new("RGB", (round(picture.width * scale), round(picture.height * scale)), "#ffffff")
    pen = _Pen(ImageDraw.Draw(image), scale)
    for curve in picture.curves:
        pen.curve(curve)
    for rectangle in picture.rectangles:
        pen.rectangle(rectangle)
    small = image.resize((image.width // _SMOOTH, image.height // _SMOOTH), Image.Resampling.LANCZOS)
    # Letters are smooth as they are.
    letters = _Pen(ImageDraw.Draw(small), scale / _SMOOTH)
    for words in picture.words:
        letters.words(words)
    file = io.BytesIO()
    small.save(file, "PNG")
    return file.getvalue()


class _Pen:
    def __init__(self, draw: ImageDraw.ImageDraw, scale: float) -> None:
        self._draw = draw
        self._scale = scale

    def curve(self, curve: Curve) -> None:
        points = [point for ends in bezier(curve.points) for point in _along(*ends)]
        for piece in _dashed(points, curve.dash):
            self._draw.line([self._at(point) for point in piece], curve.colour, self._width(1.4), joint="curve")
        self._draw.polygon([self._at(point) for point in arrow(curve.points)], curve.colour)

    def rectangle(self, rectangle: Rectangle) -> None:
        box = rectangle.box
        corners = [self._at((box.x, box.y)), self._at((box.x + box.width, box.y + box.height))]
        radius = rectangle.radius * self._scale
        outline = None if rectangle.is_dashed else rectangle.line
        self._draw.rounded_rectangle(corners, radius, rectangle.fill, outline, self._width(1.4))
        if rectangle.is_dashed:
            around = list(_outline(box.x, box.y, box.x + box.width, box.y + box.height, rectangle.radius))
            for piece in _dashed(around, (4, 3)):
                self._draw.line([self._at(point) for point in piece], rectangle.line, self._width(1.4), joint="curve")

    def words(self, words: Words) -> None:
        font = _font(words.height * self._scale, _needs_more(words.text))
        weight = 0.25 * self._scale if words.is_bold else 0
        self._draw.text(self._at((words.x, words.y)), words.text, words.colour, font, anchor="ls", stroke_width=weight)

    def _at(self, point: Point) -> Point:
        return point[0] * self._scale, point[1] * self._scale

    def _width(self, pixels: float) -> int:
        return max(1, round(pixels * self._scale))


@cache
def _font(height: float, needs_more: bool) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    for name in _WIDER_SCRIPTS if needs_more else ():
        try:
            return ImageFont.truetype(name, height)
        except OSError:
            continue
    return ImageFont.load_default(height)


def _needs_more(text: str) -> bool:
    """Whether it has letters that are not those of western Europe."""
    try:
        text.encode("latin-1")
    except UnicodeEncodeError:
        return True
    return False


def _along(a: Point, b: Point, c: Point, d: Point) -> Iterator[Point]:
    for step in range(_PIECES + 1):
        t = step / _PIECES
        s = 1 - t
        weights = (s * s * s, 3 * s * s * t, 3 * s * t * t, t * t * t)
        yield (
            sum(weight * point[0] for weight, point in zip(weights, (a, b, c, d), strict=True)),
            sum(weight * point[1] for weight, point in zip(weights, (a, b, c, d), strict=True)),
        )


def _outline(left: float, top: float, right: float, bottom: float, radius: float) -> Iterator[Point]:
    """Around a box whose corners are cut by the radius."""
    r = radius * 0.3
    yield from ((left + r, top), (right - r, top), (right, top + r), (right, bottom - r))
    yield from ((right - r, bottom), (left + r, bottom), (left, bottom - r), (left, top + r), (left + r, top))


def _dashed(points: Sequence[Point], dash: tuple[int, int]) -> Iterator[list[Point]]:
    """The strokes of a line through points; the line itself if it has no gaps."""
    stroke, gap = dash
    if not stroke:
        yield list(points)
        return
    piece, is_stroke, left = [points[0]], True, float(stroke)
    for start, end in pairwise(points):
        here, rest = start, hypot(end[0] - start[0], end[1] - start[1])
        while rest > left:
            part = left / rest
            here = (here[0] + (end[0] - here[0]) * part, here[1] + (end[1] - here[1]) * part)
            rest -= left
            if is_stroke:
                yield [*piece, here]
            is_stroke = not is_stroke
            piece, left = [here], float(stroke if is_stroke else gap)
        left -= rest
        piece.append(end)
    if is_stroke and len(piece) > 1:
        yield piece

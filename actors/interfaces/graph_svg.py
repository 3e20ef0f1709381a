"""A picture of the graph as SVG."""

from __future__ import annotations

from collections.abc import Iterator
from xml.sax.saxutils import escape

from actors.interfaces.graph_picture import Curve, Picture, Rectangle, Words, arrow, bezier

__all__ = ["to_svg"]


def to_svg(picture: Picture) -> str:
    """An SVG document that is complete in itself; its letters are those of the viewer."""
    return "\n".join([*_lines(picture), ""])


def _lines(picture: Picture) -> Iterator[str]:
    width, height = f"{picture.width:.0f}", f"{picture.height:.0f}"
    yield (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" viewBox="0 0 {width} {height}" '
        'font-family="Helvetica, Arial, DejaVu Sans, sans-serif">'
    )
    yield '<rect width="100%" height="100%" fill="#ffffff"/>'
    for curve in picture.curves:
        yield from _curve(curve)
    yield from (_rectangle(each) for each in picture.rectangles)
    yield from (_words(each) for each in picture.words)
    yield "</svg>"


def _curve(curve: Curve) -> Iterator[str]:
    (x, y), *_ = curve.points
    path = f"M{x:.1f},{y:.1f}" + "".join(
        f" C{a:.1f},{b:.1f} {c:.1f},{d:.1f} {e:.1f},{f:.1f}" for _, (a, b), (c, d), (e, f) in bezier(curve.points)
    )
    stroke, gap = curve.dash
    dash = f' stroke-dasharray="{stroke} {gap}"' if stroke else ""
    yield f'<path d="{path}" fill="none" stroke="{curve.colour}" stroke-width="1.4"{dash}/>'
    corners = " ".join(f"{x:.1f},{y:.1f}" for x, y in arrow(curve.points))
    yield f'<polygon points="{corners}" fill="{curve.colour}"/>'


def _rectangle(rectangle: Rectangle) -> str:
    box = rectangle.box
    dash = ' stroke-dasharray="4 3"' if rectangle.is_dashed else ""
    return (
        f'<rect x="{box.x:.1f}" y="{box.y:.1f}" width="{box.width:.1f}" height="{box.height:.1f}" '
        f'rx="{rectangle.radius:.0f}" fill="{rectangle.fill}" stroke="{rectangle.line}" stroke-width="1.4"{dash}/>'
    )


def _words(words: Words) -> str:
    weight = ' font-weight="bold"' if words.is_bold else ""
    # Whatever letters the viewer has, they are made to fit.
    return (
        f'<text x="{words.x:.1f}" y="{words.y:.1f}" font-size="{words.height}"{weight} fill="{words.colour}" '
        f'textLength="{words.width:.1f}" lengthAdjust="spacingAndGlyphs">{escape(words.text)}</text>'
    )

"""`graph`: the asset graph, coloured by how each asset stands."""

from __future__ import annotations

import json
import sys
import time
from collections import Counter
from collections.abc import Mapping
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Final, assert_never

import typer
from rich.text import Text

from actors.interfaces.commands.workflows import NO_WORKFLOWS
from actors.interfaces.errors import bad_input, refused, unknown
from actors.interfaces.graph_states import COLOURS, AssetState, read_states
from actors.interfaces.graph_view import Drawing, around, dot, draw, graph_json, graph_of, mermaid, tree
from actors.interfaces.program import command
from actors.interfaces.render import print_json, print_lines
from actors.interfaces.session import ConfigOption, JsonOption, note, open_session

__all__ = ["graph"]

_MOST_PICTURED: Final = 300
_DEPTH: Final = 2


class GraphFormat(StrEnum):
    TREE = "tree"
    MERMAID = "mermaid"
    DOT = "dot"
    JSON = "json"
    SVG = "svg"
    PNG = "png"


_BY_SUFFIX: Final[Mapping[str, GraphFormat]] = {
    ".txt": GraphFormat.TREE,
    ".mmd": GraphFormat.MERMAID,
    ".mermaid": GraphFormat.MERMAID,
    ".dot": GraphFormat.DOT,
    ".gv": GraphFormat.DOT,
    ".json": GraphFormat.JSON,
    ".svg": GraphFormat.SVG,
    ".png": GraphFormat.PNG,
}


def graph(
    ctx: typer.Context,
    format: Annotated[
        GraphFormat | None,
        typer.Option(
            "--format",
            metavar="|".join(GraphFormat),
            help="How to draw it; by default as the name of --output ends, else as a tree.",
            show_default=False,
        ),
    ] = None,
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", metavar="FILE", help="Write it to this file.", dir_okay=False),
    ] = None,
    around_asset: Annotated[
        str | None, typer.Option("--around", metavar="ASSET", help="Only this asset, and what lies near it.")
    ] = None,
    depth: Annotated[
        int | None,
        typer.Option(metavar="N", min=0, max=1_000, help=f"With --around: so many edges up and down; {_DEPTH}."),
    ] = None,
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Draw the asset graph: what is made from what, which assets are kept fresh, and how each stands now: fresh, stale,
    in flight, suspended, paused or never made, by what the catalog knows.

    Pictures (svg, png) need the extra `graph`, and hold at most 300 assets; --around chooses some.

    \b
    Examples:
      python run.py graph
      python run.py graph --output graph.svg
      python run.py graph --around orders.daily --depth 1 --output orders.png
      python run.py graph --format mermaid
    """
    if depth is not None and around_asset is None:
        raise bad_input("--depth is for --around ASSET: it says how far around")
    chosen = GraphFormat.JSON if as_json else format or _by_name(output)
    with open_session(ctx, config) as session:
        store = session.catalog.store
        definitions = store.workflows()
        drawn = draw(definitions)
        if around_asset is not None:
            if around_asset not in drawn.assets:
                raise unknown("asset", around_asset, drawn.assets, otherwise="no workflow names any")
            drawn = around(drawn, around_asset, _DEPTH if depth is None else depth)
        known, _ = graph_of(definitions)
        states = read_states(store, known, drawn.assets, session.settings.defaults(), time.time_ns() // 1_000_000)
    match chosen:
        case GraphFormat.TREE if output is None:
            print_lines([*tree(drawn, states), *_legend(drawn, states)] or [NO_WORKFLOWS])
            return
        case GraphFormat.JSON if output is None:
            print_json(graph_json(drawn, states))
            return
        case GraphFormat.TREE:
            text = "\n".join(line.plain for line in [*tree(drawn, states), *_legend(drawn, states)])
        case GraphFormat.JSON:
            text = json.dumps(graph_json(drawn, states), indent=2, ensure_ascii=False)
        case GraphFormat.MERMAID:
            text = mermaid(drawn, states)
        case GraphFormat.DOT:
            text = dot(drawn, states)
        case GraphFormat.SVG | GraphFormat.PNG:
            _write(_picture(drawn, states, chosen), output, len(drawn.assets))
            return
        case _:
            assert_never(chosen)
    _write(f"{text}\n".encode(), output, len(drawn.assets))


def _by_name(output: Path | None) -> GraphFormat:
    if output is None:
        return GraphFormat.TREE
    found = _BY_SUFFIX.get(output.suffix.lower())
    if found is None:
        raise bad_input(f"--output {output}: what is to be written? name it {', '.join(_BY_SUFFIX)}, or give --format")
    return found


def _picture(drawn: Drawing, states: Mapping[str, AssetState], format: GraphFormat) -> bytes:
    if not drawn.assets:
        raise refused(NO_WORKFLOWS)
    if len(drawn.assets) > _MOST_PICTURED:
        some = command("graph", "--around", next(iter(drawn.assets)), "--depth", "1", "--format", format.value)
        raise refused(
            f"these are {len(drawn.assets)} assets, and a picture holds {_MOST_PICTURED}; choose some ({some}), or "
            "take --format tree, dot or mermaid"
        )
    try:
        # Whoever draws no picture needs none of it.
        from actors.interfaces.graph_picture import picture_of
        from actors.interfaces.graph_png import measure, to_png
        from actors.interfaces.graph_svg import to_svg
    except ModuleNotFoundError as error:
        raise refused(
            f"a picture needs {error.name!r}, which is not installed; pip install 'headwater[graph]', or take --format "
            "dot or mermaid"
        ) from None
    picture = picture_of(drawn, states, measure)
    return to_svg(picture).encode() if format is GraphFormat.SVG else to_png(picture)


def _write(data: bytes, output: Path | None, assets: int) -> None:
    if output is not None:
        output.write_bytes(data)
        note(f"{assets} assets are drawn in {output}")
    elif data.startswith(b"\x89PNG") and sys.stdout.isatty():
        raise bad_input("a PNG is not for a terminal; write it to a file with --output FILE")
    else:
        sys.stdout.flush()
        sys.stdout.buffer.write(data)
        sys.stdout.buffer.flush()


def _legend(drawn: Drawing, states: Mapping[str, AssetState]) -> list[Text]:
    if not drawn.assets:
        return []
    counts = Counter(states.values())
    text = Text("\n")
    for state in AssetState:
        if counts[state]:
            text.append(f"{', ' if len(text) > 1 else ''}{counts[state]} ").append(state, style=COLOURS[state].terminal)
    return [text, Text("-> an update makes it again   .. it is read   => inside one workflow", style="dim")]

"""The documentation as a site: what Sphinx is told. `docs/index.md` is the table of contents too.

The source is the whole project, so that links to the README and to files beside the pages lead where they do on a code
host; see `docs/how-to/build-the-docs.md`.
"""

from __future__ import annotations

import os
import re
import tomllib
from pathlib import Path
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from sphinx.application import Sphinx

ROOT: Final = Path(__file__).resolve().parents[1]
INDEX: Final = "docs/index"

project = "Headwater"
author = "the authors of Headwater"
release = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["version"]
root_doc = INDEX
include_patterns = ["README.md", "CHANGELOG.md", "SECURITY.md", "docs/**.md"]
extensions = ["myst_parser", "sphinxcontrib.mermaid"]

# Headings get the anchors that code hosts give them, and a fence `mermaid` is a diagram there too.
myst_heading_anchors = 4
myst_fence_as_directive = ["mermaid"]

# The browser draws the diagrams, with a library from the net; or with a copy of yours, whose address this is.
mermaid_use_local = os.environ.get("HEADWATER_DOCS_MERMAID", "")

html_theme = "furo"
html_title = f"Headwater {release}"
html_show_copyright = False
html_copy_source = False

_GROUP: Final = re.compile(r"^\*\*(?P<caption>[^*]+)\*\*(?P<rest>.*?)(?=^\*\*|\Z)", re.MULTILINE | re.DOTALL)
_PAGE: Final = re.compile(r"\]\((?P<page>[\w./-]+)\.md\)")
_BESIDES: Final = ("README", "CHANGELOG", "SECURITY")


def contents(text: str) -> str:
    """The index with its links as tables of contents: one for each of its groups, in the same order."""
    groups = [(match["caption"], _PAGE.findall(match["rest"])) for match in _GROUP.finditer(text)]
    groups.append(("The project", [f"../{name}" for name in _BESIDES]))
    trees = [
        "\n".join(["```{toctree}", ":hidden:", f":caption: {caption}", "", *pages, "```"]) for caption, pages in groups
    ]
    return "\n\n".join([text, *trees])


def read_source(_app: Sphinx, name: str, source: list[str]) -> None:
    if name == INDEX:
        source[0] = contents(source[0])


def setup(app: Sphinx) -> None:
    app.connect("source-read", read_source)

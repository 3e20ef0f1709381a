"""Reading the Markdown of this project: code blocks, links, headings, and tables under a marker comment."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[3]
PAGES = [ROOT / "README.md", ROOT / "CHANGELOG.md", *sorted((ROOT / "docs").rglob("*.md"))]

_FENCE = re.compile(
    r"^(?P<indent> *)```(?P<language>\S*)[^\n]*\n(?P<text>.*?)^(?P=indent)```\s*$", re.MULTILINE | re.DOTALL
)
_LINK = re.compile(r"\[[^\]]*\]\((?P<target>[^)\s]+)\)")
_CELL = re.compile(r"(?<!\\)\|")


@dataclass(frozen=True)
class Block:
    """A fenced code block; `name` is its page and line, `marker` the comment right above it."""

    page: Path
    line: int
    language: str
    text: str
    marker: str

    @property
    def name(self) -> str:
        return f"{self.page.relative_to(ROOT)}:{self.line}"


def page_name(page: Path) -> str:
    return str(page.relative_to(ROOT))


def blocks(page: Path) -> Iterator[Block]:
    text = page.read_text(encoding="utf-8")
    for match in _FENCE.finditer(text):
        indent = match["indent"]
        body = "".join(line.removeprefix(indent) for line in match["text"].splitlines(keepends=True))
        before = text[: match.start()].rstrip().rpartition("\n")[2]
        marker = before[4:-3].strip() if before.startswith("<!--") and before.endswith("-->") else ""
        yield Block(page, text[: match.start()].count("\n") + 1, match["language"], body, marker)


def all_blocks(*languages: str) -> list[Block]:
    return [block for page in PAGES for block in blocks(page) if block.language in languages]


def prose(page: Path) -> str:
    """The page without its code blocks."""
    return _FENCE.sub("", page.read_text(encoding="utf-8"))


def links(page: Path) -> list[str]:
    return [match["target"] for match in _LINK.finditer(prose(page))]


def anchors(page: Path) -> set[str]:
    """The anchors that a page's headings get on GitHub."""
    headings = re.findall(r"^#+ +(.+?) *$", prose(page), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def table(page: Path, marker: str) -> list[list[str]]:
    """The rows, without the head, of the table that follows `<!-- marker -->`."""
    text = page.read_text(encoding="utf-8")
    _, found, rest = text.partition(f"<!-- {marker} -->\n")
    assert found, f"{page_name(page)} has no <!-- {marker} -->"
    rows = []
    for line in rest.lstrip().splitlines():
        if not line.startswith("|"):
            break
        rows.append([cell.strip() for cell in _CELL.split(line.strip()[1:-1])])
    return rows[2:]


def markers(page: Path, kind: str) -> list[str]:
    """The names of every `<!-- kind: name -->`."""
    return re.findall(rf"<!-- {kind}: (\S+) -->", page.read_text(encoding="utf-8"))

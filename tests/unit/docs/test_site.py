"""The site's table of contents has every page, once; the site itself is built by `.ci/docs`."""

from __future__ import annotations

import runpy
from collections import Counter

import pytest

from tests.unit.docs.markdown import PAGES, ROOT

CONFIGURED = runpy.run_path(str(ROOT / "docs" / "conf.py"))
INDEX = ROOT / "docs" / "index.md"


def test_every_page_is_in_the_table_of_contents_once() -> None:
    told = CONFIGURED["contents"](INDEX.read_text(encoding="utf-8"))
    listed: list[str] = []
    for tree in told.split("```{toctree}")[1:]:
        options, _, pages = tree.partition("```")[0].partition("\n\n")
        assert ":hidden:" in options
        listed += [f"{page}.md" for page in pages.split()]
    files = Counter((INDEX.parent / page).resolve() for page in listed)
    assert files == Counter([*(page for page in PAGES if page != INDEX), ROOT / "SECURITY.md"])


def test_the_groups_are_those_of_the_index() -> None:
    told = CONFIGURED["contents"](INDEX.read_text(encoding="utf-8"))
    captions = [line.removeprefix(":caption: ") for line in told.splitlines() if line.startswith(":caption: ")]
    assert captions == ["Learn", "Understand", "Do", "Change over", "Look up", "The project"]


@pytest.mark.parametrize("page", ["docs/index", "README"])
def test_only_the_index_becomes_one(page: str) -> None:
    source = ["**Learn**: [a](a.md)\n"]
    CONFIGURED["read_source"](None, page, source)
    assert ("toctree" in source[0]) == (page == "docs/index")

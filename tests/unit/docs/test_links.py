"""Every relative link leads to a file that is there, and to a heading that is in it."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.unit.docs.markdown import PAGES, ROOT, anchors, links, page_name


@pytest.mark.parametrize("page", PAGES, ids=page_name)
def test_relative_links_resolve(page: Path) -> None:
    for target in links(page):
        if target.startswith(("http://", "https://", "mailto:")):
            continue
        path, _, anchor = target.partition("#")
        file = (page.parent / path).resolve() if path else page
        assert file.is_relative_to(ROOT), f"{target} leads out of the project"
        assert file.exists(), f"{target} leads nowhere"
        if anchor:
            assert anchor in anchors(file), f"{target}: no such heading"


def test_every_page_can_be_found_from_the_readme() -> None:
    seen: set[Path] = set()
    waiting = [ROOT / "README.md"]
    while waiting:
        page = waiting.pop()
        if page in seen or page.suffix != ".md":
            continue
        seen.add(page)
        waiting += [
            (page.parent / t.partition("#")[0]).resolve() for t in links(page) if "://" not in t and t[0] != "#"
        ]
    index = ROOT / "docs" / "index.md"
    assert set(PAGES) - seen <= {index}

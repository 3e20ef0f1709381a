"""The page that is made from the OpenAPI document says what the document says now."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from actors.interfaces.http.app import openapi_document
from actors.interfaces.http.reference import render
from tests.integration.http.test_auth import OPERATIONS

PAGE = Path(__file__).parents[3] / "docs" / "reference" / "http.md"


def test_the_page_is_up_to_date() -> None:
    assert PAGE.read_text(encoding="utf-8") == render(), (
        "run: python -m actors.interfaces.http.reference > docs/reference/http.md"
    )


def test_every_route_is_on_it() -> None:
    text = render()
    assert [(method, path) for method, path in OPERATIONS if f"\n## {method} {path}\n" not in text] == []


def test_every_reference_leads_somewhere() -> None:
    document = openapi_document()
    found: list[str] = []

    def look(node: Any) -> None:
        if isinstance(node, dict):
            found.extend([node["$ref"]] if isinstance(node.get("$ref"), str) else [])
            for each in node.values():
                look(each)
        elif isinstance(node, list):
            for each in node:
                look(each)

    look(document)
    names = document["components"]["schemas"]
    assert {ref for ref in found if ref.removeprefix("#/components/schemas/") not in names} == set()


def test_every_parameter_and_route_says_what_it_is_for() -> None:
    for path, methods in openapi_document()["paths"].items():
        for method, operation in methods.items():
            assert operation["description"], f"{method} {path}"
            for parameter in operation.get("parameters", ()):
                assert parameter.get("description"), f"{parameter['name']} of {method} {path}"

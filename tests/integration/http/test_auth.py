"""Who may do what. The routes are taken from the OpenAPI document, so that a new one cannot be forgotten."""

from __future__ import annotations

import logging
import re
from typing import Any

import pytest

from actors.interfaces.http.app import openapi_document
from actors.interfaces.http.auth import Scope, granted
from actors.settings import HttpTokens
from tests.integration.http.conftest import API, BOTH, OPERATOR, READER, Build, bearer

pytestmark = pytest.mark.integration

LOOKS = {("POST", f"{API}/plan"), ("POST", f"{API}/workflows/validate")}
"""Not a GET, and changes nothing."""
OF_RUNS = {("POST", f"{API}/runs/{{run_id}}/callback")}
"""Takes the token of one run; see `test_callbacks`."""
OPEN = {"/healthz", "/readyz"}
NO_TOKENS = HttpTokens()

OPERATIONS: list[tuple[str, str]] = [
    (method.upper(), path) for path, methods in openapi_document()["paths"].items() for method in methods
]
MUTATING = [each for each in OPERATIONS if each[0] != "GET" and each not in LOOKS | OF_RUNS]
READING = [each for each in OPERATIONS if each not in [*MUTATING, *OF_RUNS] and each[1] not in OPEN]


def concrete(path: str) -> str:
    return re.sub(r"\{\w+\}", "all", path)


def test_there_are_routes_of_both_kinds() -> None:
    assert len(MUTATING) >= 9
    assert len(READING) >= 18


@pytest.mark.parametrize(("method", "path"), MUTATING)
class TestWhatChangesSomething:
    @pytest.mark.parametrize(
        ("tokens", "shown", "status"),
        [
            (NO_TOKENS, None, 403),
            (NO_TOKENS, OPERATOR, 403),
            (BOTH, None, 401),
            (BOTH, OPERATOR[:-1], 401),
            (BOTH, OPERATOR + "0", 401),
            (BOTH, READER, 403),
            (HttpTokens(None, READER), READER, 403),
        ],
        ids=["none set", "any, none set", "none", "shorter", "longer", "to read", "to read, no other"],
    )
    def test_is_refused(
        self, build: Build, method: str, path: str, tokens: HttpTokens, shown: str | None, status: int
    ) -> None:
        house = build(tokens=tokens, shown=shown)
        before = house.store.position()
        answer = house.client.request(method, concrete(path), json={"scope": "all"})
        assert answer.status_code == status, answer.text
        assert answer.headers["content-type"] == "application/problem+json"
        assert ("www-authenticate" in answer.headers) == (status == 401)
        assert house.store.position() == before
        assert house.store.pauses(0) == {}

    def test_an_operator_gets_further(self, build: Build, method: str, path: str) -> None:
        answer = build().client.request(method, concrete(path), json={})
        assert answer.status_code not in (401, 403), answer.text

    def test_the_document_says_so(self, method: str, path: str) -> None:
        operation = openapi_document()["paths"][path][method.lower()]
        assert (operation["security"], operation["x-headwater-scope"]) == ([{"token": []}], "operator")


@pytest.mark.parametrize(("method", "path"), [each for each in READING if not each[1].endswith("/decisions")])
class TestWhatLooks:
    def test_takes_a_token_where_there_is_one(self, build: Build, method: str, path: str) -> None:
        client = build(shown=None).client
        assert client.request(method, concrete(path)).status_code == 401
        for token in (READER, OPERATOR):
            assert client.request(method, concrete(path), headers=bearer(token)).status_code not in (401, 403)

    def test_is_open_where_there_is_none(self, build: Build, method: str, path: str) -> None:
        answer = build(tokens=NO_TOKENS, shown=None).client.request(method, concrete(path))
        assert answer.status_code not in (401, 403), answer.text


@pytest.mark.parametrize("path", sorted(OPEN))
def test_probes_take_no_token(build: Build, path: str) -> None:
    answer = build(shown=None).client.get(path)
    assert (answer.status_code, answer.json()) == (200, {"role": "leader"})


@pytest.mark.parametrize(
    "header", ["", "Bearer", "Bearer ", f"Basic {OPERATOR}", f"Bearer  {OPERATOR} x", OPERATOR, "Bearer \xe9" * 10]
)
def test_what_is_no_bearer_token_is_none(build: Build, header: str) -> None:
    client = build(shown=None).client
    assert client.get(f"{API}/runs", headers={b"Authorization": header.encode("latin-1")}).status_code == 401


def test_the_scheme_may_be_written_as_one_likes(build: Build) -> None:
    client = build(shown=None).client
    assert client.get(f"{API}/runs", headers={"Authorization": f"bearer {READER}"}).status_code == 200


def test_no_token_that_was_not_set_is_granted_anything() -> None:
    assert granted(HttpTokens(), "") is None
    assert granted(HttpTokens(None, READER), "") is None
    assert granted(HttpTokens(OPERATOR, None), "") is None
    assert granted(BOTH, OPERATOR) is Scope.OPERATOR
    assert granted(BOTH, READER) is Scope.READ


def test_no_token_is_told(build: Build, caplog: pytest.LogCaptureFixture) -> None:
    house = build()
    with caplog.at_level(logging.DEBUG):
        told: list[Any] = [house.access.tokens, house.access]
        for method, path in MUTATING:
            for token in (OPERATOR, READER):
                answer = house.client.request(method, concrete(path), headers=bearer(token))
                told += [answer.text, answer.headers]
    text = caplog.text + repr(told)
    assert OPERATOR not in text
    assert READER not in text

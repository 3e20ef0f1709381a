"""Templates: what becomes of them, and what is refused."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from actors.catalog.store import Json
from actors.execution.templates import MAX_RENDERED_BYTES, TemplateError, render

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)
NAMESPACES: dict[str, Any] = {
    "parameters": {"day": "2026-11-23", "limit": 5, "ratio": 0.5, "none": None, "tags": ["a", "b"], "o": {"k": 1}},
    "trigger": {"type": "manual"},
    "steps": {"fetch-it": {"result": {"row-count": 7}}},
    "shared": {"opening": {"total": 3}},
    "run": {"id": "r1", "partitionKey": None},
}


def rendered(template: Json) -> Json:
    return render({"x": template}, NAMESPACES, step_id="s")["x"]


@given(value=JSON)
def test_one_expression_is_the_value_itself(value: Json) -> None:
    result = render({"x": "{{ parameters.v }}"}, {"parameters": {"v": value}}, step_id="s")["x"]
    assert result == value
    assert type(result) is type(value)


@given(value=JSON.filter(lambda value: "{" not in json.dumps(value).replace("{}", "").replace('{"', "")))
def test_what_holds_no_template_is_left_as_it_is(value: Json) -> None:
    assert render({"x": value}, {}, step_id="s") == {"x": value}


@pytest.mark.parametrize("name", ["limit", "offset", "for", "in", "empty", "true", "limits", "for-all", "reversed"])
def test_a_keyword_is_a_name_after_a_dot(name: str) -> None:
    namespaces: dict[str, Json] = {"parameters": {name: {"limit": 5}}}
    for template, expected in [
        (f"{{{{ parameters.{name}.limit }}}}", 5),
        (f"{{% if parameters.{name}.limit > 4 %}}'a.{name}'{{% endif %}}", f"'a.{name}'"),
        (f"{{{{ 'parameters.{name}' }}}}", f"parameters.{name}"),
        (f"parameters.{name}: {{{{ parameters.{name}.limit }}}}", f"parameters.{name}: 5"),
    ]:
        assert render({"x": template}, namespaces, step_id="s") == {"x": expected}


@pytest.mark.parametrize(
    ("template", "expected"),
    [
        ("plain", "plain"),
        ("{ not } a {template}", "{ not } a {template}"),
        ("{{ parameters.limit }}", 5),
        ("{{- parameters.limit -}}", 5),
        (" {{ parameters.limit }}", " 5"),
        ("{{ parameters.limit }}{{ parameters.limit }}", "55"),
        ("{{ parameters.limit | plus: 1 }}", 6),
        ("{{ parameters.limit | divided_by: 2.0 }}", 2.5),
        ("{{ parameters.none }}", None),
        ("{{ parameters.missing | default: 9 }}", 9),
        ("{{ steps.fetch-it.result.row-count }}", 7),
        ("{{ shared.opening.total }} of {{ run.id }}", "3 of r1"),
        ("{{ run.partitionKey }}", None),
        ("{% if parameters.limit > 3 %}many{% else %}few{% endif %}", "many"),
        ("{% for tag in parameters.tags %}{{ tag }};{% endfor %}", "a;b;"),
        ("{{ (1..3) }}", [1, 2, 3]),
        ("{{ parameters.o | json }}", '{"k": 1}'),
        ("{{ parameters.day | date: '%d.%m.%Y' }}", "23.11.2026"),
        ({"deep": [{"er": "{{ parameters.tags }}"}]}, {"deep": [{"er": ["a", "b"]}]}),
        ({"{{ keys }}": 1}, {"{{ keys }}": 1}),
    ],
)
def test_renders(template: Json, expected: Json) -> None:
    result = rendered(template)
    assert result == expected
    assert type(result) is type(expected)


@pytest.mark.parametrize(
    ("template", "reason"),
    [
        ("{{ parameters.dya }}", "parameters.dya is undefined"),
        ("{{ parameters.dya.month }}", "parameters.dya is undefined"),
        ("on {{ nothing }}", "'nothing' is undefined"),
        ("{% if parameters.dya %}x{% endif %}", "parameters.dya is undefined"),
        ("{{ parameters.dya | upcase }}", "parameters.dya is undefined"),
        ("{{ parameters.limit | no_filter }}", "unknown filter"),
        ("{{ parameters.limit", "expected '}}'"),
        ("{% include 'secret' %}", "include"),
        ("{% render 'secret' %}", "render"),
        ("{{ parameters.limit | divided_by: 0 }}", ""),
        ("{{ parameters.__class__ }}", "is undefined"),
        ("{% for i in (1..20000) %}x{% endfor %}", "loop iteration limit"),
        ("{% for i in (1..200) %}{% for j in (1..200) %}x{% endfor %}{% endfor %}", "loop iteration limit"),
        ("{{ (1..20000) }}", "more than 10000 numbers"),
    ],
)
def test_refuses_and_names_step_parameter_and_template(template: str, reason: str) -> None:
    with pytest.raises(TemplateError) as caught:
        render({"a": {"b": [template]}}, NAMESPACES, step_id="load")
    text = str(caught.value)
    assert text.startswith("step 'load': parameters.a.b[0]: template ")
    assert template[:20] in text
    assert reason in text


def test_output_is_bounded() -> None:
    half = "x" * (MAX_RENDERED_BYTES // 2 + 1)
    namespaces = {"parameters": {"half": half}}
    assert render({"x": "{{ parameters.half }}"}, namespaces, step_id="s") == {"x": half}
    with pytest.raises(TemplateError, match="limit"):
        render({"x": "{{ parameters.half }} {{ parameters.half }}"}, namespaces, step_id="s")
    with pytest.raises(TemplateError, match="bytes"):
        render({"x": "{{ parameters.half | append: parameters.half }}"}, namespaces, step_id="s")

"""The client against the OpenAPI document: every route, every parameter, every field of every answer."""

from __future__ import annotations

import inspect
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final, get_args, get_origin

import pytest
from pydantic import BaseModel

from actors import client
from actors.client import AsyncClient, Client, Event, Fault, calls, run_calls
from actors.client.call import Call, Listing
from actors.client.feed import DECISIONS
from actors.client.records import Record
from actors.interfaces.http.app import openapi_document

DOCUMENT: Final[dict[str, Any]] = openapi_document()
SCHEMAS: Final[dict[str, Any]] = DOCUMENT["components"]["schemas"]
PAGE: Final = Path(__file__).parents[3] / "docs" / "how-to" / "use-the-python-client.md"
LEFT_OUT: Final = {
    ("GET", "/healthz"): "readyz tells the same, and more",
    ("GET", "/metrics"): "for Prometheus, in its own form",
    ("POST", "/api/v1/lineage"): "for the clients of OpenLineage",
    ("POST", "/api/v1/runs/{run_id}/callback"): "for orchestrators, with the token of a run",
}

# Each function of the client, with every argument that it takes.
MADE: Final[dict[str, Call[Any] | Listing[Any]]] = {
    "health": calls.health(),
    "assets": calls.assets(state="fresh", workflow="w", prefix="o"),
    "asset": calls.asset("a", partition_key="k"),
    "partitions": calls.partitions("a"),
    "history": calls.history("a", partition_key="k"),
    "explain": calls.explain("a", partition_key="k"),
    "resume": calls.resume("a", partition_key="k"),
    "mark_stale": calls.mark_stale("a", partition_key="k"),
    "pauses": calls.pauses(),
    "pause": calls.pause("all", lasting="2h", reason="r"),
    "unpause": calls.unpause("all"),
    "graph": calls.graph(),
    "plan": calls.plan(produced=["a", ("b", "k")], expired=["c"], minutes=5, limit=7),
    "emit": calls.emit(Event.produced("a")),
    "emit_batch": calls.emit_batch([Event.expired("a")]),
    "emit_produced": calls.emit_produced("a"),
    "emit_expired": calls.emit_expired("a"),
    "workflows": run_calls.workflows(),
    "workflow": run_calls.workflow("w"),
    "put_workflow": run_calls.put_workflow("w", "slug: w", format="yaml"),
    "remove_workflow": run_calls.remove_workflow("w"),
    "validate": run_calls.validate({"slug": "w"}),
    "auto_materialize": run_calls.auto_materialize("w"),
    "run_workflow": run_calls.run_workflow("w", partition_key="k", parameters={"a": 1}, remember=True),
    "runs": run_calls.runs(trigger="manual", workflow="w", status="failed"),
    "run": run_calls.run("r"),
    "steps": run_calls.steps("r"),
    "logs": run_calls.logs("r", step="s", tail=3),
    "cancel": run_calls.cancel("r"),
    "audit": run_calls.audit(),
}
FUNCTIONS: Final[dict[str, Callable[..., Any]]] = {
    name: function
    for module in (calls, run_calls)
    for name in module.__all__
    if inspect.isfunction(function := getattr(module, name))
}


def call_of(name: str) -> Call[Any]:
    made = MADE[name]
    return made.first if isinstance(made, Listing) else made


def operation(call: Call[Any]) -> dict[str, Any]:
    found: dict[str, Any] = DOCUMENT["paths"][call.route][call.method.lower()]
    return found


def test_every_route_is_covered_or_left_out_on_purpose() -> None:
    told = {(method.upper(), path) for path, methods in DOCUMENT["paths"].items() for method in methods}
    covered = {(call.method, call.route) for call in map(call_of, MADE)} | {("GET", DECISIONS)}
    assert told - covered - LEFT_OUT.keys() == set()
    assert covered - told == set()
    assert covered & LEFT_OUT.keys() == set()


def test_every_function_is_a_method_of_both_clients() -> None:
    assert MADE.keys() == FUNCTIONS.keys()
    for shell in (Client, AsyncClient):
        for name, function in FUNCTIONS.items():
            method = inspect.signature(getattr(shell, name))
            assert list(method.parameters) == ["self", *inspect.signature(function).parameters], name
            assert inspect.getdoc(getattr(shell, name)) == inspect.getdoc(function)
    public = [name for name in vars(Client) if not name.startswith("_")]
    assert public == [name for name in vars(AsyncClient) if not name.startswith("_")]
    for name in ("wait", "run_and_wait", "decisions"):
        ours, theirs = (inspect.signature(getattr(shell, name)).parameters for shell in (Client, AsyncClient))
        assert ours == theirs


@pytest.mark.parametrize("name", MADE)
def test_what_is_sent_is_what_the_route_takes(name: str) -> None:
    call = call_of(name)
    told = operation(call)
    parameters = {each["name"]: each for each in told.get("parameters", ()) if each["in"] != "header"}
    assert {key for key, each in parameters.items() if each["in"] == "path"} == call.ids.keys()
    # A page's cursor is added with its page.
    asked = {key for key, each in parameters.items() if each["in"] == "query"} - {"cursor"}
    assert call.query.keys() == asked
    content = told.get("requestBody", {}).get("content", {})
    assert (call.content_type in content) == (call.body is not None)
    schema = content.get(call.content_type, {}).get("schema", {})
    if schema.get("additionalProperties") is False:
        assert json.loads(call.body or b"{}").keys() <= schema["properties"].keys()


def test_what_changes_something_is_not_repeated_unless_it_may_be() -> None:
    repeatable = {name for name in MADE if call_of(name).is_repeatable}
    looks = {
        name
        for name in MADE
        if call_of(name).method == "GET" or operation(call_of(name)).get("x-headwater-scope") == "read"
    }
    # An event has an id, and a definition replaces itself.
    assert repeatable == looks | {"put_workflow", "emit", "emit_batch", "emit_produced", "emit_expired"}


@pytest.mark.parametrize("name", MADE)
def test_every_field_of_an_answer_is_known(name: str) -> None:
    call = call_of(name)
    (success,) = [told for status, told in operation(call)["responses"].items() if status.startswith("2")]
    schema = success["content"]["application/json"]["schema"]
    if call.route.endswith("/events"):
        schema = next(each for each in schema["anyOf"] if ("items" in each) == (name == "emit_batch"))
    annotation = inspect.signature(FUNCTIONS[name], eval_str=True).return_annotation
    (answer,) = get_args(annotation)
    if get_origin(annotation) is Listing:
        schema = resolve(resolve(schema)["properties"]["items"]["items"])
    assert list(differences(answer, schema, name)) == []


def resolve(schema: dict[str, Any]) -> dict[str, Any]:
    """The schema without references, and without "or null"."""
    while True:
        if "$ref" in schema:
            schema = SCHEMAS[schema["$ref"].rpartition("/")[2]]
        elif "anyOf" in schema and {"type": "null"} in schema["anyOf"] and len(schema["anyOf"]) == 2:
            (schema,) = [each for each in schema["anyOf"] if each != {"type": "null"}]
        else:
            return schema


def differences(annotation: Any, schema: dict[str, Any], path: str) -> Iterator[str]:
    """Where the client's model has other fields than the schema, to any depth."""
    schema = resolve(schema)
    inner = next(
        (each for each in flattened(annotation) if isinstance(each, type) and issubclass(each, BaseModel)), None
    )
    if "items" in schema and inner is not None:
        yield from differences(inner, schema["items"], f"{path}[]")
        return
    if inner is None:
        return
    if "additionalProperties" in schema and isinstance(schema["additionalProperties"], dict):
        yield from differences(inner, schema["additionalProperties"], f"{path}.*")
        return
    ours = {field.alias or name: field for name, field in inner.model_fields.items()}
    theirs = schema["properties"]
    for key in ours.keys() ^ theirs.keys():
        # The stream of decisions tells more of each than an asset's list of them.
        if inner.__name__ != "Decision":
            yield f"{path}.{key} is only {'ours' if key in ours else 'theirs'}"
    for key in ours.keys() & theirs.keys():
        yield from differences(ours[key].annotation, theirs[key], f"{path}.{key}")


def flattened(annotation: Any) -> Iterator[Any]:
    if args := get_args(annotation):
        for each in args:
            yield from flattened(each)
    else:
        yield annotation


def test_a_difference_would_be_seen() -> None:
    class Odd(Record):
        scope: str
        colour: str

    told = set(differences(list[Odd], {"type": "array", "items": {"$ref": "#/components/schemas/PauseOut"}}, "p"))
    assert told == {f"p[].{key} is only theirs" for key in ("since", "until", "reason")} | {"p[].colour is only ours"}


def test_every_method_and_error_is_on_the_page() -> None:
    text = PAGE.read_text(encoding="utf-8")
    methods = {name for name in vars(Client) if not name.startswith("_")} - {"close", "send"}
    raised = {name for name in vars(client) if name.endswith("Error")}
    assert {name for name in methods | raised if f"`{name}`" not in text} == set()


def test_a_fault_is_the_service_s() -> None:
    assert list(differences(Fault, {"$ref": "#/components/schemas/Fault"}, "fault")) == []

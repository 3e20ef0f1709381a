"""The reference of the HTTP API, made from its OpenAPI document: `python -m actors.interfaces.http.reference`."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any, Final

from actors.interfaces.http.app import openapi_document
from actors.interfaces.http.auth import SCOPE_KEY
from actors.interfaces.http.bounds import MAX_BODY_BYTES, MAX_REQUESTS
from actors.interfaces.http.decisions import MAX_LISTENERS, QUEUE_LENGTH
from actors.interfaces.http.problems import MEDIA_TYPE, Kind

__all__ = ["render"]

Schema = dict[str, Any]

_WHO: Final = {
    "read": "Takes any token, where one is set.",
    "operator": "Takes the token of operators.",
    "run": "Takes the callback token of the run, and no other.",
    None: "Takes no token.",
}
_HEAD: Final = f"""\
# HTTP API

Made from the OpenAPI document by `python -m actors.interfaces.http.reference`; do not edit. A service serves the
document itself at `/openapi.json`. How to switch it on, and use it: [use the HTTP API](../how-to/use-the-http-api.md).

Bodies are JSON, names are in camelCase, times are ISO 8601 in UTC. Where a command has `--json`, the API answers in the
same form. Ids in paths are percent-encoded, also their slashes: `/api/v1/assets/orders%2Fdaily/history`. Keys and query
parameters that are not known are refused.

| bound | |
| --- | --- |
| body of a request | {MAX_BODY_BYTES:,} bytes |
| requests of one client | `[http] requests_per_second`, twice as many at once |
| requests at once | {MAX_REQUESTS} |
| listeners of `/decisions` | {MAX_LISTENERS}, each with a queue of {QUEUE_LENGTH:,} |
"""
_PROBLEMS: Final = f"""\
## Problems

Every error is a problem (RFC 9457) of the media type `{MEDIA_TYPE}`: `type`, `title`, `status`, `detail`, `instance`;
where places are to blame `errors: [{{path, reason}}]`, on a standby `leader`. `type` is `urn:headwater:problem:KIND`.

| kind | status | title |
| --- | --- | --- |"""


def render() -> str:
    """The page, in Markdown."""
    document = openapi_document()
    lines = [_HEAD]
    for path, operations in document["paths"].items():
        for method, operation in operations.items():
            lines += [*_operation(method.upper(), path, operation), ""]
    lines.append(_PROBLEMS)
    lines += [f"| `{kind.value[0]}` | {kind.status} | {kind.title} |" for kind in Kind]
    lines += ["", "## Forms", ""]
    for name, schema in document["components"]["schemas"].items():
        if "properties" in schema and name not in ("ProblemOut", "Fault"):
            lines += [*_form(name, schema), ""]
    return "\n".join(lines)


def _operation(method: str, path: str, operation: Schema) -> Iterator[str]:
    yield f"## {method} {path}"
    yield ""
    yield operation["description"]
    yield ""
    yield _WHO[operation.get(SCOPE_KEY)]
    parameters = operation.get("parameters", [])
    if parameters:
        yield ""
        yield "| parameter | in | values | meaning |"
        yield "| --- | --- | --- | --- |"
        for each in parameters:
            values = _values(each["schema"])
            yield f"| `{each['name']}` | {each['in']} | {values} | {each.get('description', '')} |"
    for kind, media in operation.get("requestBody", {}).get("content", {}).items():
        example = media.get("example") or next(iter(media["schema"].get("examples", ())), None)
        yield ""
        yield f"Body, `{kind}`:" if example is not None else f"Body, `{kind}`."
        if example is not None:
            yield from _text(example)
    for status, response in operation["responses"].items():
        for kind, media in response.get("content", {}).items():
            if kind != MEDIA_TYPE:
                form = f", {_name(media['schema'])}" if kind == "application/json" else ""
                yield ""
                yield f"{status}, `{kind}`{form}: {response['description']}"


def _form(name: str, schema: Schema) -> Iterator[str]:
    yield f"### {_title(name)}"
    if "description" in schema:
        yield ""
        yield schema["description"]
    yield ""
    yield "| key | values | |"
    yield "| --- | --- | --- |"
    required = schema.get("required", ())
    for key, node in schema["properties"].items():
        yield f"| `{key}` | {_values(node)} | {'' if key in required else 'may be absent'} |"
    for example in schema.get("examples", ()):
        yield from _text(example)


def _text(example: Any) -> Iterator[str]:
    yield ""
    yield "```text"
    yield json.dumps(example, ensure_ascii=False, indent=2)
    yield "```"


def _title(name: str) -> str:
    """`Page_AssetSummary_` is a page of `AssetSummary`."""
    outer, _, inner = name.partition("_")
    return f"{outer} of {inner.removesuffix('_')}" if inner else name


def _name(node: Schema) -> str:
    """The type of a schema, in words."""
    if "$ref" in node:
        name = node["$ref"].rpartition("/")[2]
        return "any JSON" if name == "JsonValue" else f"`{_title(name)}`"
    if "anyOf" in node:
        return " or ".join(dict.fromkeys(_name(each) for each in node["anyOf"]))
    if "const" in node:
        return f"`{json.dumps(node['const'])}`"
    if "enum" in node:
        return ", ".join(f"`{each}`" for each in node["enum"])
    if node.get("type") == "array":
        return f"list of {_name(node.get('items', {}))}"
    if node.get("type") == "object" and isinstance(node.get("additionalProperties"), dict):
        return f"object of {_name(node['additionalProperties'])}"
    return str(node.get("type", "any JSON"))


def _values(node: Schema) -> str:
    told = _name(node)
    if "minimum" in node and "maximum" in node:
        told += f", {node['minimum']:,} to {node['maximum']:,}"
    if node.get("default") is not None and node["default"] != "":
        told += f"; `{node['default']}` unless given"
    return told.replace("|", "\\|")


if __name__ == "__main__":
    print(render(), end="")

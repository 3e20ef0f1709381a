"""The reference of the events, made from their models: `python -m actors.interfaces.events_reference`."""

from __future__ import annotations

import inspect
import json
from typing import Any, get_args

from actors.catalog.events import MAX_EVENT_BYTES, Event

__all__ = ["render"]

_HEAD = f"""\
# Events

Made from the models by `python -m actors.interfaces.events_reference`; do not edit.

Everything that happens is appended to one stream on the server. An entry has the fields `type` and `data` (a JSON
object), and may have `version`, `changedVersion`, `inputs` and `unmade`, which go over those of `data`. Times are ISO
8601 with an offset. Keys that are not known are ignored; an entry is at most {MAX_EVENT_BYTES:,} bytes. What cannot be
read goes to the dead-letter stream with its reason.
"""


def render() -> str:
    """The page, in Markdown."""
    return "\n".join([_HEAD, *(_section(model) for model in get_args(Event))])


def _section(model: Any) -> str:
    schema: dict[str, Any] = model.model_json_schema(by_alias=True)
    required = set(schema.get("required", ()))
    name = get_args(model.model_fields["type"].annotation)[0]
    lines = [f"## {name}", "", inspect.getdoc(model) or "", "", "| key | type | |", "| --- | --- | --- |"]
    for key, node in schema["properties"].items():
        lines.append(f"| `{key}` | {_type(node)} | {'required' if key in required else ''} |")
    for example in schema.get("examples", ()):
        lines += ["", "```json", json.dumps(example, indent=2, ensure_ascii=False), "```"]
    return "\n".join([*lines, ""])


def _type(node: dict[str, Any]) -> str:
    if "const" in node:
        return f"`{json.dumps(node['const'])}`"
    if "$ref" in node:
        name = str(node["$ref"].rpartition("/")[2])
        return "any JSON" if name == "JsonValue" else name
    if "anyOf" in node:
        return " or ".join(dict.fromkeys(_type(member) for member in node["anyOf"]))
    if node.get("type") == "array":
        return f"list of {_type(node.get('items', {}))}"
    if node.get("format") == "date-time":
        return "time"
    return str(node.get("type", "any JSON"))


if __name__ == "__main__":
    print(render(), end="")

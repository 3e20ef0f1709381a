"""The reference of the settings, made from `config/default.toml` and their bounds:
`python -m actors.interfaces.settings_reference`."""

from __future__ import annotations

import json
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from actors.settings import DEFAULT_FILE, Settings

__all__ = ["render"]

_HEAD = """\
# Settings

Made from `config/default.toml` by `python -m actors.interfaces.settings_reference`; do not edit.

Layers, each over the one before it: `config/default.toml`, the files named by `--config` (or, without one, by
`HEADWATER_CONFIG`, separated as in `PATH`), the variables. A relative path is relative to the file that sets it; set in
a variable, to the working directory.
"""


@dataclass(frozen=True, slots=True)
class _Entry:
    """A key or (without a default) a group, and the comment above it."""

    path: tuple[str, ...]
    default: str | None
    comment: str


def render() -> str:
    """The page, in Markdown.

    Raises:
        ValueError: a key of the file has no comment, or is no setting.
    """
    schema = Settings.model_json_schema()
    lines = [_HEAD, "## At the top", "", *_TABLE]
    for entry in _entries(DEFAULT_FILE.read_text(encoding="utf-8")):
        if entry.default is None:
            lines += ["", f"## `[{'.'.join(entry.path)}]`"]
            if entry.comment:
                lines += ["", entry.comment]
            if not _is_free(schema, entry.path):
                lines += ["", *_TABLE]
            continue
        if not entry.comment:
            raise ValueError(f"{DEFAULT_FILE.name}: {'.'.join(entry.path)} has no comment above it; say what it means")
        variable = "HEADWATER_" + "__".join(entry.path).upper()
        row = (f"`{entry.path[-1]}`", f"`{entry.default}`", _bounds(_find(schema, entry.path)), entry.comment)
        lines.append(f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in row)} | `{variable}` |")
    return "\n".join(lines) + "\n"


_TABLE = ["| key | default | values | meaning | variable |", "| --- | --- | --- | --- | --- |"]


def _entries(text: str) -> Iterator[_Entry]:
    group: tuple[str, ...] = ()
    comment: list[str] = []
    for line in text.splitlines():
        stripped = line.strip()
        if not stripped:
            comment = []
        elif stripped.startswith("#"):
            comment.append(stripped.removeprefix("#").strip())
        elif stripped.startswith("["):
            group = tuple(stripped.strip("[]").split("."))
            yield _Entry(group, None, " ".join(comment))
            comment = []
        else:
            for key, value in tomllib.loads(stripped).items():
                yield _Entry((*group, key), json.dumps(value), " ".join(comment))
            comment = []


def _find(schema: dict[str, Any], path: tuple[str, ...]) -> dict[str, Any]:
    node = schema
    for key in path:
        node = _resolved(schema, node)
        if key not in node.get("properties", {}):
            raise ValueError(f"{DEFAULT_FILE.name}: {'.'.join(path)} is no setting")
        node = node["properties"][key]
    return _resolved(schema, node)


def _resolved(schema: dict[str, Any], node: dict[str, Any]) -> dict[str, Any]:
    if "$ref" not in node:
        return node
    found: dict[str, Any] = schema["$defs"][node["$ref"].rpartition("/")[2]]
    return found


def _is_free(schema: dict[str, Any], path: tuple[str, ...]) -> bool:
    """Whether it is a table with keys of the user's own."""
    return "additionalProperties" in (node := _find(schema, path)) and "properties" not in node


def _bounds(node: dict[str, Any]) -> str:
    if "enum" in node:
        return ", ".join(str(value) for value in node["enum"])
    if "minimum" in node and "maximum" in node:
        return f"{node['minimum']:,} to {node['maximum']:,}"
    return {"boolean": "true, false", "string": "text"}.get(node.get("type", ""), "")


if __name__ == "__main__":
    print(render(), end="")

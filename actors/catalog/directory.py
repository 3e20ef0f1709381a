"""The folder of workflow definitions: a file for each workflow."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Final

from actors.catalog.definitions import WorkflowDefinition, parse_definition
from actors.catalog.documents import MAX_BYTES, Format
from actors.catalog.problems import DefinitionInvalid, Problem

__all__ = ["DirectoryLoad", "DirectoryUnreadable", "load_directory", "load_path"]

_FORMATS: Final[dict[str, Format]] = {".json": "json", ".yaml": "yaml", ".yml": "yaml"}


class DirectoryUnreadable(OSError):  # noqa: N818 - as `CatalogUnavailable`
    """The folder of definitions does not exist or cannot be listed; the message names it."""


@dataclass(frozen=True, slots=True)
class DirectoryLoad:
    """What a folder holds: the definitions by file, in the order of their names, and what was refused."""

    definitions: dict[Path, WorkflowDefinition]
    refused: tuple[DefinitionInvalid, ...] = ()


def load_directory(path: Path) -> DirectoryLoad:
    """Read every `*.json`, `*.yaml` and `*.yml` in a folder, not those in folders below it.

    Hidden files and backups (`.name`, `name~`), which editors write, are passed over. A file that cannot be used is
    refused and the others still count; of two files with one slug the second is refused.

    Raises:
        DirectoryUnreadable: there is no such folder, or it may not be read.
    """
    definitions: dict[Path, WorkflowDefinition] = {}
    refused: list[DefinitionInvalid] = []
    first: dict[str, Path] = {}
    for file in _files(path):
        try:
            definition = load_path(file)
        except DefinitionInvalid as error:
            refused.append(error)
            continue
        earlier = first.setdefault(definition.slug, file)
        if earlier == file:
            definitions[file] = definition
        else:
            reason = f"slug {definition.slug!r} is taken by {earlier}; give one of them another"
            refused.append(DefinitionInvalid(str(file), (Problem("$.slug", reason),)))
    return DirectoryLoad(definitions, tuple(refused))


def load_path(path: Path) -> WorkflowDefinition:
    """Read one file; its ending says whether it is JSON or YAML.

    Raises:
        DefinitionInvalid: the file cannot be read or used.
    """
    form = _FORMATS.get(path.suffix.lower())
    if form is None:
        reason = f"the ending {path.suffix!r} is not one of {', '.join(_FORMATS)}"
        raise DefinitionInvalid(str(path), (Problem("$", reason),))
    if path.exists() and not path.is_file():
        # Reading a pipe would wait for somebody to write.
        raise DefinitionInvalid(str(path), (Problem("$", "this is no regular file"),))
    try:
        with path.open("rb") as file:
            # One byte more than is allowed, so that a file too large is seen as such and not read whole.
            text = file.read(MAX_BYTES + 1)
    except OSError as error:
        raise DefinitionInvalid(str(path), (Problem("$", f"the file cannot be read: {error.strerror}"),)) from None
    return parse_definition(text, source=str(path), format=form)


def _files(path: Path) -> list[Path]:
    try:
        found = sorted(path.iterdir())
    except OSError as error:
        raise DirectoryUnreadable(
            f"{path}: the folder of workflow definitions cannot be read ({error.strerror}); "
            "set workflows_dir to one that exists"
        ) from None
    return [
        file
        for file in found
        if file.suffix.lower() in _FORMATS and not file.name.startswith(".") and not file.is_dir()
    ]

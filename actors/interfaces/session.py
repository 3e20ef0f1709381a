"""What commands share: their options, the settings, the catalog, and notes on stderr."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer

from actors.catalog.access import Catalog, open_catalog
from actors.settings import Settings, load_settings

__all__ = [
    "ConfigOption",
    "JsonOption",
    "LimitOption",
    "PartitionOption",
    "Session",
    "config_files",
    "note",
    "open_session",
    "settings_of",
]

ConfigOption = Annotated[
    list[Path] | None,
    typer.Option(
        "--config", metavar="FILE", help="A settings file (TOML); repeat it, and later ones win.", show_default=False
    ),
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON.", show_default=False)]
PartitionOption = Annotated[
    str | None, typer.Option("--partition", metavar="KEY", help="The partition key.", show_default=False)
]
LimitOption = Annotated[int, typer.Option("--limit", metavar="N", min=1, max=10_000, help="At most so many.")]


@dataclass(frozen=True, slots=True)
class Session:
    """An open catalog and the settings it was opened with."""

    settings: Settings
    catalog: Catalog


def config_files(ctx: typer.Context, given: Sequence[Path] | None) -> tuple[Path, ...]:
    """The settings files named before the command, then those named after it.

    A command started by another (`serve` when none is named) has them once.
    """
    before = ctx.find_root().obj
    return (*(before if isinstance(before, tuple) else ()), *(given or ()))


def settings_of(ctx: typer.Context, given: Sequence[Path] | None) -> Settings:
    """The settings for a command.

    Raises:
        SettingsError: a file is missing or holds what it should not.
    """
    return load_settings(config_files(ctx, given), os.environ)


@contextmanager
def open_session(ctx: typer.Context, given: Sequence[Path] | None) -> Iterator[Session]:
    """The catalog of the settings, with or without a running service.

    Raises:
        SettingsError: the settings cannot be used.
        CatalogUnavailable: the catalog cannot be reached.
    """
    settings = settings_of(ctx, given)
    with open_catalog(settings) as catalog:
        yield Session(settings, catalog)


def note(text: str) -> None:
    """A remark on stderr, so that stdout holds nothing but the answer."""
    print(f"note: {text}", file=sys.stderr)

"""`restore`: the catalog as a backup has it."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from actors.catalog.access import open_catalog
from actors.catalog.backup_file import BackupInvalid
from actors.catalog.backup_restore import RestoreRefused
from actors.catalog.backup_restore import restore as restore_catalog
from actors.interfaces.commands.doctor import finding_json
from actors.interfaces.errors import bad_input, refused
from actors.interfaces.progress import progress
from actors.interfaces.render import print_json
from actors.interfaces.session import ConfigOption, JsonOption, note, settings_of

__all__ = ["restore"]


def restore(
    ctx: typer.Context,
    file: Annotated[Path, typer.Argument(metavar="FILE", help="What `backup` wrote.")],
    replace: Annotated[
        bool, typer.Option("--replace", help="Drop what the catalog holds now.", show_default=False)
    ] = False,
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Make the catalog what a backup says. The file is checked first; no service may be running.

    \b
    Examples:
      python run.py restore headwater.backup
      python run.py restore headwater.backup --replace
    """
    settings = settings_of(ctx, config)
    # The embedded server's folder is locked as a service would lock it.
    with open_catalog(settings, service=settings.redis.is_embedded, restoring=True) as catalog, progress() as start:
        try:
            summary = restore_catalog(
                catalog.client,
                file,
                prefix=settings.redis.prefix,
                streams=settings.streams,
                replace=replace,
                on_stage=start,
            )
        except BackupInvalid as error:
            raise bad_input(str(error)) from None
        except RestoreRefused as error:
            raise refused(str(error)) from None
    header = summary.header
    if not header.get("isConsistent"):
        note("the catalog was in use when it was backed up; the service reads the events of that time again")
    if summary.mended:
        note(f"the doctor found {len(summary.mended)} things that did not fit together, and mended them")
    if as_json:
        print_json(
            {
                "file": str(file),
                "keys": summary.keys,
                "createdAt": header.get("createdAt"),
                "position": header.get("position"),
                "isConsistent": header.get("isConsistent"),
                "mended": [finding_json(finding, is_mended=True) for finding in summary.mended],
            }
        )
    else:
        print(f"restored {summary.keys:,} keys, as of event {header.get('position')}")

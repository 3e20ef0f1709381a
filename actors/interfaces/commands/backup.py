"""`backup`: the whole catalog in one file."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Annotated

import typer

from actors.catalog.backup import write_catalog
from actors.catalog.backup_file import write_backup
from actors.catalog.redis_root import keys_of
from actors.catalog.schema_version import SCHEMA_VERSION
from actors.catalog.store import JsonObject
from actors.interfaces.dump import iso_or_none
from actors.interfaces.progress import progress
from actors.interfaces.render import print_json
from actors.interfaces.session import ConfigOption, JsonOption, note, open_session

__all__ = ["backup"]


def backup(
    ctx: typer.Context,
    file: Annotated[Path, typer.Argument(metavar="FILE", help="What to write; a file that is there is replaced.")],
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Write the whole catalog to a file, beside a running service or without one.

    \b
    Examples:
      python run.py backup headwater.backup
      python run.py backup /var/backups/headwater.backup --json
    """
    with open_session(ctx, config) as session, progress() as start:
        settings, stage = session.settings, start("reading keys")
        header: JsonObject = {
            "schemaVersion": SCHEMA_VERSION,
            "prefix": settings.redis.prefix,
            "createdAt": iso_or_none(time.time_ns() // 1_000_000),
        }
        with write_backup(file, header) as writer:
            keys = keys_of(settings.redis.prefix, settings.streams)
            summary = write_catalog(session.catalog.client, keys, writer, lambda done: stage(done, None))
    size = file.stat().st_size
    if not summary.is_consistent:
        note("the catalog never rested while it was read; what happened meanwhile is read again after a restore")
    if as_json:
        print_json(
            {
                "file": str(file),
                "keys": summary.keys,
                "bytes": size,
                "position": summary.position,
                "isConsistent": summary.is_consistent,
            }
        )
    else:
        print(f"{file}: {summary.keys:,} keys, {size:,} bytes, as of event {summary.position}")

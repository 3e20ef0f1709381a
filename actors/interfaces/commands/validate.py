"""`validate`: check definition files before a service reads them."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from actors.execution.jobs import JobRegistry
from actors.interfaces.checking import check_files, checked_json, definition_files
from actors.interfaces.errors import BAD_INPUT, bad_input
from actors.interfaces.render import print_json, print_lines
from actors.interfaces.session import ConfigOption, JsonOption, settings_of

__all__ = ["validate"]


def validate(
    ctx: typer.Context,
    paths: Annotated[
        list[Path], typer.Argument(metavar="PATH...", help="Definition files, or folders of them.", exists=True)
    ],
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Check definitions, each by itself and all together. Starts nothing and changes nothing.

    \b
    Examples:
      python run.py validate config/workflows
      python run.py validate orders-daily.json orders-weekly.yaml --json
    """
    settings = settings_of(ctx, config)
    files = definition_files(paths)
    if not files:
        raise bad_input(f"no definitions in {', '.join(map(str, paths))}; they end in .json, .yaml or .yml")
    jobs = JobRegistry.load(settings.jobs_dir)
    checked = check_files(files, pools=settings.concurrency.pools, jobs=jobs)
    if as_json:
        print_json([checked_json(one) for one in checked])
    else:
        for one in checked:
            named = f"  {one.definition.slug} version {one.definition.version}" if one.definition else ""
            print_lines([f"{one.file}: {one.status}{named}"])
            print_lines([f"  problem  {problem}" for problem in one.problems])
            print_lines([f"  warning  {warning}" for warning in one.warnings])
        print_lines([f"jobs: {problem}" for problem in jobs.problems])
    if any(one.problems for one in checked):
        raise typer.Exit(BAD_INPUT)

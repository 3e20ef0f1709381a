"""`doctor`: what must not be in a catalog."""

from __future__ import annotations

from typing import Annotated

import typer

from actors.catalog.doctor import Doctor, Finding
from actors.catalog.store import JsonObject
from actors.interfaces.errors import REFUSED
from actors.interfaces.render import print_json, print_lines
from actors.interfaces.session import ConfigOption, JsonOption, open_session

__all__ = ["doctor", "finding_json"]


def doctor(
    ctx: typer.Context,
    fix: Annotated[bool, typer.Option("--fix", help="Mend what is found.", show_default=False)] = False,
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Look through the catalog for what does not fit together; safe beside a running service.

    Without --fix the exit code is 1 when something was found; with it all that is found is mended, and the code is 0.

    \b
    Examples:
      python run.py doctor
      python run.py doctor --fix
    """
    with open_session(ctx, config) as session:
        settings = session.settings
        physician = Doctor(session.catalog.client, prefix=settings.redis.prefix, streams=settings.streams)
        findings = list(physician.examine(fix=fix))
        dead_letters = physician.dead_letters()
    if as_json:
        print_json(
            {"findings": [finding_json(finding, is_mended=fix) for finding in findings], "deadLetters": dead_letters}
        )
    else:
        for finding in findings:
            print_lines(
                [
                    f"{finding.kind}  {finding.key}  {finding.item}",
                    f"  {finding.what}",
                    f"  {'mended' if fix else '--fix'}: {finding.mend}",
                ]
            )
        print_lines([_summary(len(findings), fix=fix), f"dead letters: {dead_letters}"])
    if findings and not fix:
        raise typer.Exit(REFUSED)


def finding_json(finding: Finding, *, is_mended: bool) -> JsonObject:
    return {
        "kind": finding.kind,
        "key": finding.key,
        "item": finding.item,
        "what": finding.what,
        "mend": finding.mend,
        "isMended": is_mended,
    }


def _summary(count: int, *, fix: bool) -> str:
    if not count:
        return "nothing found"
    return f"{count} mended" if fix else f"{count} found; --fix mends them"

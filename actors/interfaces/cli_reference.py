"""The reference of the command line, made from the commands themselves: `python -m actors.interfaces.cli_reference`."""

from __future__ import annotations

import inspect
from typing import Any

import typer

from actors.interfaces.cli import app

__all__ = ["render"]

_HEAD = """\
# Command line

Made from the commands by `python -m actors.interfaces.cli_reference`; do not edit.

`python run.py COMMAND --help` says the same. `--config` may stand before the command or after it. A command with
`--json` prints one JSON document on stdout; notes and errors go to stderr. Colours are for terminals, and for none with
`NO_COLOR` set. Exit codes: 0 done; 1 failed or refused; 2 wrong usage or bad input.
"""


def render() -> str:
    """The page, in Markdown."""
    group: Any = typer.main.get_command(app)
    parts = [_HEAD, _section("python run.py", group)]
    parts += [_section(name, command) for name, command in sorted(group.commands.items())]
    return "\n".join(parts)


def _section(name: str, command: Any) -> str:
    text, _, examples = inspect.cleandoc(command.help or "").replace("\b\n", "").partition("Examples:\n")
    lines = [f"## {name}", "", text.strip(), ""]
    rows = [row for parameter in command.params if (row := _row(parameter)) is not None]
    if rows:
        lines += ["| argument or option | meaning | default |", "| --- | --- | --- |", *rows, ""]
    lines += ["```console", *(f"$ {line.strip()}" for line in examples.splitlines() if line.strip()), "```", ""]
    return "\n".join(lines)


def _row(parameter: Any) -> str | None:
    if "--help" in parameter.opts:
        return None
    is_argument = parameter.param_type_name == "argument"
    takes_value = not is_argument and not getattr(parameter, "is_flag", False)
    value = parameter.metavar or parameter.name.upper()
    written = value if is_argument else ", ".join(parameter.opts) + (f" {value}" if takes_value else "")
    default = "" if parameter.default is None or parameter.default is False else f"`{_plain(parameter.default)}`"
    if parameter.required:
        default = "required"
    help_text = (parameter.help or "").replace("|", "\\|")
    return f"| `{written.replace('|', chr(92) + '|')}` | {help_text} | {default} |"


def _plain(value: Any) -> str:
    return str(getattr(value, "value", value))


if __name__ == "__main__":
    print(render(), end="")

"""The command line: `python run.py` serves; a command's name after it does that instead."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from io import TextIOWrapper
from pathlib import Path
from typing import Any

import typer
from typer.core import TyperGroup

from actors.interfaces.commands.assets import history, mark_stale, resume
from actors.interfaces.commands.backup import backup
from actors.interfaces.commands.debug import debug
from actors.interfaces.commands.doctor import doctor
from actors.interfaces.commands.emit import emit
from actors.interfaces.commands.explain import explain
from actors.interfaces.commands.graph import graph
from actors.interfaces.commands.import_apphub import import_apphub
from actors.interfaces.commands.logs import logs
from actors.interfaces.commands.pauses import pause, pauses, unpause
from actors.interfaces.commands.plan import plan
from actors.interfaces.commands.restore import restore
from actors.interfaces.commands.runs import audit, cancel, run, runs
from actors.interfaces.commands.status import status
from actors.interfaces.commands.top import top
from actors.interfaces.commands.trigger import trigger
from actors.interfaces.commands.validate import validate
from actors.interfaces.commands.worker import worker
from actors.interfaces.commands.workflows import put_workflow, remove_workflow, workflows
from actors.interfaces.errors import explained
from actors.interfaces.program import as_called
from actors.interfaces.session import ConfigOption, config_files, settings_of

__all__ = ["app", "main"]


class _Commands(TyperGroup):
    """Says expected errors in few words on stderr; only a bug of ours ends in a traceback."""

    def get_help(self, ctx: Any) -> str:
        return as_called(super().get_help(ctx))

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        command = super().get_command(ctx, cmd_name)
        if command is not None and command.help:
            command.help = as_called(command.help)
        return command

    def invoke(self, ctx: Any) -> Any:
        try:
            return super().invoke(ctx)
        except BrokenPipeError:
            # `python run.py runs | head` has read enough; typer ends quietly.
            raise
        except Exception as error:
            told = explained(error)
            if told is None:
                raise
            text, code = told
            print("\n".join(f"error: {line}" for line in text.splitlines()), file=sys.stderr)
            raise typer.Exit(code) from None


app = typer.Typer(
    name="headwater",
    cls=_Commands,
    rich_markup_mode=None,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


@app.callback(invoke_without_command=True)
def start(ctx: typer.Context, config: ConfigOption = None) -> None:
    """Headwater keeps data assets fresh: it starts exactly the workflow runs that are needed.

    Without a command it serves.

    Settings are read in layers, each over the one before it: the defaults; the files named by --config, or else by
    HEADWATER_CONFIG; variables such as HEADWATER_REDIS__URL. In a checkout the defaults are config/default.toml. An
    installed headwater has the same ones, but looks for workflows/ and jobs/, and keeps its data/, in the folder where
    it is started; share/headwater/config in the installation has every key with a comment, and an example.

    \b
    Examples:
      python run.py
      python run.py --config config/production.toml
      python run.py runs --trigger auto-materialize
    """
    ctx.obj = tuple(config or ())
    if ctx.invoked_subcommand is None:
        _serve(ctx, None)


@app.command("serve", short_help="Run the service.")
def serve(ctx: typer.Context, config: ConfigOption = None) -> None:
    """Run the service until it is told to stop (SIGTERM, or Ctrl-C): keep every asset fresh.

    \b
    Examples:
      python run.py serve
      python run.py serve --config config/production.toml --config local.toml
    """
    _serve(ctx, config)


def _serve(ctx: typer.Context, config: Sequence[Path] | None) -> None:
    # The service pulls in the actors and the launcher; commands that only look do without them.
    from actors.system import serve as run_service

    code = run_service(settings_of(ctx, config), config_files(ctx, config))
    if code:
        raise typer.Exit(code)


for _name, _command, _short in (
    ("worker", worker, "Execute runs, on this machine, for a service."),
    ("status", status, "Show whether a service runs."),
    ("top", top, "Watch a service as it runs."),
    ("validate", validate, "Check definition files."),
    ("emit", emit, "Tell of something produced or expired."),
    ("trigger", trigger, "Ask for a run by hand."),
    ("runs", runs, "List runs."),
    ("run", run, "Show one run."),
    ("logs", logs, "Print what a run's steps write."),
    ("cancel", cancel, "Cancel a run."),
    ("audit", audit, "List the runs that started by themselves."),
    ("debug", debug, "Show how assets stand, and why."),
    ("explain", explain, "Say why something is, or is not, made."),
    ("plan", plan, "Show which runs would follow."),
    ("history", history, "List what was made of an asset."),
    ("resume", resume, "Forget failures, so that it goes on."),
    ("mark-stale", mark_stale, "Declare an asset expired."),
    ("pause", pause, "Hold back what starts by itself."),
    ("unpause", unpause, "Let it go on."),
    ("pauses", pauses, "List what is paused."),
    ("graph", graph, "Draw the asset graph."),
    ("workflows", workflows, "List the workflows."),
    ("put-workflow", put_workflow, "Keep a definition."),
    ("import-apphub", import_apphub, "Take definitions over from AppHub."),
    ("remove-workflow", remove_workflow, "Drop a definition."),
    ("backup", backup, "Write the catalog to a file."),
    ("restore", restore, "Bring a backup back."),
    ("doctor", doctor, "Find and mend what does not fit."),
):
    app.command(_name, short_help=_short)(_command)


def main() -> None:
    """Run the command line with the process's arguments and exit."""
    if isinstance(sys.stdout, TextIOWrapper):
        # A terminal that cannot show a letter gets its code, not a traceback.
        sys.stdout.reconfigure(errors="backslashreplace")
    app()

"""`logs`: what the steps of a run write, once or as it comes."""

from __future__ import annotations

import json
import sys
import time
from typing import Annotated, Final

import typer
from rich.text import Text

from actors.catalog.store import RunRecord, Store
from actors.interfaces.commands.runs import RunId
from actors.interfaces.errors import unknown
from actors.interfaces.render import print_json, print_lines
from actors.interfaces.run_logs import Follower, Line, log_json, step_logs
from actors.interfaces.session import ConfigOption, JsonOption, note, open_session

__all__ = ["logs"]

_LOOK_SECONDS: Final = 0.5


def logs(
    ctx: typer.Context,
    run_id: RunId,
    follow: Annotated[
        bool, typer.Option("--follow", "-f", help="Go on until the run is over.", show_default=False)
    ] = False,
    step: Annotated[str | None, typer.Option(metavar="ID", help="Only this step.", show_default=False)] = None,
    tail: Annotated[
        int | None,
        typer.Option(metavar="N", min=0, max=100_000, help="Only so many last lines of each.", show_default=False),
    ] = None,
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Print what the steps of a run have written: `STEP | line` from its standard output, `STEP ! line` from its
    standard error.

    Of each attempt the last 8 KiB of each are kept, at its end. What a step that goes on has written so far is shown
    where a process of this user executes it on this machine.

    \b
    Examples:
      python run.py logs run-0198c2f4a7d2
      python run.py logs run-0198c2f4a7d2 --follow
      python run.py logs run-0198c2f4a7d2 --step load --tail 20
    """
    with open_session(ctx, config) as session:
        store = session.catalog.store
        run = _require(store, run_id, step)
        if follow:
            run = _follow(store, run, Follower(step, tail), as_json=as_json)
        elif as_json:
            print_json([log_json(log, tail) for log in step_logs(run, step)])
        else:
            _print(Follower(step, tail).look(run), as_json=False)
    if not as_json:
        note(f"run {run_id} {'is' if not run.status.is_over else 'ended as'} {run.status.value}")


def _require(store: Store, run_id: str, step_id: str | None) -> RunRecord:
    run = store.run(run_id)
    if run is None:
        raise unknown("run", run_id, (r.run_id for r in store.runs(limit=200)), otherwise="the catalog has none yet")
    if step_id is not None and step_id not in (known := [each.step_id for each in run.steps]):
        definition = store.workflow(run.workflow_slug)
        names = [each.id for each in definition.steps] if definition is not None else known
        if step_id not in names:
            raise unknown("step", step_id, names, otherwise=f"run {run_id} has not begun with any")
    return run


def _follow(store: Store, run: RunRecord, follower: Follower, *, as_json: bool) -> RunRecord:
    while True:
        _print(follower.look(run), as_json=as_json)
        if run.status.is_over:
            return run
        time.sleep(_LOOK_SECONDS)
        # One that ended long ago may have been dropped meanwhile.
        run = store.run(run.run_id) or run


def _print(lines: list[Line], *, as_json: bool) -> None:
    if as_json:
        for line in lines:
            told = {"stepId": line.step_id, "attempt": line.attempt, "stream": line.stream, "line": line.text}
            print(json.dumps(told, ensure_ascii=False))
        sys.stdout.flush()
        return
    print_lines(
        [
            Text.assemble(
                (line.step_id, "bold"), (" | ", "dim") if line.stream == "stdout" else (" ! ", "red"), line.text
            )
            for line in lines
        ]
    )

"""The command that executes runs for a service that may be on another machine."""

from __future__ import annotations

from typing import Annotated

import typer

from actors.interfaces.errors import bad_input, refused
from actors.interfaces.logs import configure_logging
from actors.interfaces.near import nearest
from actors.interfaces.session import ConfigOption, settings_of
from actors.setting_groups import CelerySettings

__all__ = ["worker"]

_ENGINES = ("celery",)


def worker(
    ctx: typer.Context,
    engine: Annotated[
        str, typer.Option(metavar="ENGINE", help=f"What hands the runs over: {', '.join(_ENGINES)}.")
    ] = "celery",
    queues: Annotated[
        str | None,
        typer.Option(metavar="A,B", help="Only these queues; else all of the settings.", show_default=False),
    ] = None,
    concurrency: Annotated[
        int | None,
        typer.Option(metavar="N", min=1, max=1_000, help="Runs at once; else [workers] processes.", show_default=False),
    ] = None,
    config: ConfigOption = None,
) -> None:
    """Execute runs until it is told to stop (SIGTERM, or Ctrl-C), for a service whose launcher is "celery".

    Jobs run in `[workers] processes` processes. When it is told to stop it takes no new run, and those that go on have
    `[shutdown] grace_seconds`.

    \b
    Examples:
      python run.py worker
      python run.py worker --engine celery --queues headwater,gpu-machines --concurrency 8
      python run.py worker --config config/production.toml
    """
    if engine not in _ENGINES:
        raise bad_input(f"--engine {engine!r} is not known; use {' or '.join(_ENGINES)}")
    settings = settings_of(ctx, config)
    try:
        from actors.execution.celery_app import serve_queues
    except ModuleNotFoundError as error:
        raise refused(f"{error.name!r} is not installed; pip install 'headwater[celery]'") from None
    logging = configure_logging(settings.log.format, settings.log.level)
    try:
        code = serve_queues(settings, queues=_names(queues, settings.celery), concurrency=concurrency)
    finally:
        logging.stop()
    if code:
        raise typer.Exit(code)


def _names(text: str | None, settings: CelerySettings) -> tuple[str, ...]:
    """The queues that are named; a name that no run is ever sent to would be waited for in vain."""
    known = {settings.queue, *settings.queues.values()}
    names = tuple(name for part in (text or "").split(",") if (name := part.strip()))
    for name in names:
        if name not in known:
            near = nearest(name, known)
            hint = f"did you mean {near}?" if near else f"the settings have {', '.join(sorted(known))}"
            raise bad_input(f"--queues: there is no queue {name!r}; {hint}")
    return names

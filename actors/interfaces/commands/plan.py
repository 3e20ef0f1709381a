"""`plan`: which runs would follow from events, or from time alone, without doing anything."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Annotated, Literal

import structlog
import typer

from actors.core.graph import Graph
from actors.core.run_queue import Capacity
from actors.interfaces.commands.emit import check_key
from actors.interfaces.errors import bad_input, check_text, refused
from actors.interfaces.graph_view import graph_of
from actors.interfaces.plan_view import COLUMNS, plan_json, plan_notes, plan_rows
from actors.interfaces.render import print_json, print_lines, print_table
from actors.interfaces.session import ConfigOption, JsonOption, open_session
from actors.planning.plan import Event, NothingToExpire, make_plan
from actors.planning.rehearsal import Policies
from actors.planning.snapshot import read_snapshot
from actors.settings import Settings

__all__ = ["named_partition", "plan", "policies_of"]

_MINUTE_MS = 60_000
_WEEK_MINUTES = 7 * 24 * 60


def plan(
    ctx: typer.Context,
    produced: Annotated[
        list[str] | None,
        typer.Option("--produced", metavar="ASSET[@PARTITION]", help="As if it were produced now; repeat it."),
    ] = None,
    expired: Annotated[
        list[str] | None,
        typer.Option("--expired", metavar="ASSET[@PARTITION]", help="As if it expired now; repeat it."),
    ] = None,
    minutes: Annotated[
        float, typer.Option("--minutes", metavar="N", min=0, max=_WEEK_MINUTES, help="How far to look ahead.")
    ] = 60,
    limit: Annotated[
        int, typer.Option("--limit", metavar="N", min=1, max=10_000, help="Stop after so many runs.")
    ] = 500,
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Show which runs would follow from events, or from time alone: when, why, in what order. Nothing is changed.

    The service's own decisions are made on a clock of their own, over a copy of the catalog in memory.

    \b
    Examples:
      python run.py plan --minutes 10
      python run.py plan --produced orders.raw
      python run.py plan --produced orders.raw@2026-11-23 --expired orders.daily --json
    """
    with open_session(ctx, config) as session:
        store, settings = session.catalog.store, session.settings
        is_service_running = session.catalog.control.is_service_running()
        silent_ms = session.catalog.control.silent_ms()
        now_ms = time.time_ns() // 1_000_000
        snapshot = read_snapshot(store, now_ms)
    graph, _ = graph_of(snapshot.workflows)
    events = [
        *_events("produced", produced or (), graph, {*graph.assets, *snapshot.assets}),
        *_events("expired", expired or (), graph, {*graph.assets, *snapshot.assets}),
    ]
    try:
        with _logs_on_stderr():
            made = make_plan(
                snapshot,
                policies_of(settings),
                events,
                now_ms=now_ms,
                horizon_ms=int(minutes * _MINUTE_MS),
                is_service_running=is_service_running,
                most_runs=limit,
                silent_ms=silent_ms,
                runs_go_on=settings.execution.launcher != "local",
            )
    except NothingToExpire as error:
        raise refused(str(error)) from None
    notes = plan_notes(made, is_service_running=is_service_running, limit=limit)
    if as_json:
        print_json(plan_json(made, notes, is_service_running=is_service_running))
        return
    print_table(COLUMNS, plan_rows(made), empty="no run would start")
    print_lines(["", *(f"note: {text}" for text in notes)])


def named_partition(option: str, text: str, known: set[str]) -> tuple[str, str | None]:
    """`ASSET` or `ASSET@PARTITION`; both may hold an `@`, so the longest asset that is known is taken.

    Raises:
        CommandError: there is no asset or no partition before or after the `@`.
    """
    check_text(option, text)
    if text in known or "@" not in text:
        return text, None
    places = [index for index, letter in enumerate(text) if letter == "@"]
    at = next((place for place in reversed(places) if text[:place] in known), places[0])
    asset_id, key = text[:at], text[at + 1 :]
    if not asset_id or not key:
        raise bad_input(
            f"{option} {text!r} cannot be read; write ASSET or ASSET@PARTITION, such as orders.raw@2026-11-23"
        )
    return asset_id, key


def _events(
    kind: Literal["produced", "expired"], texts: Sequence[str], graph: Graph, known: set[str]
) -> Iterator[Event]:
    for text in texts:
        asset_id, key = named_partition(f"--{kind}", text, known)
        check_key(graph, asset_id, key)
        yield Event(kind, asset_id, key)


def policies_of(settings: Settings) -> Policies:
    """As the service reads them at its start."""
    concurrency = settings.concurrency
    return Policies(
        settings.defaults(),
        Capacity(concurrency.max_runs, dict(concurrency.workflows), dict(concurrency.pools)),
        concurrency.aging_ms,
    )


@contextmanager
def _logs_on_stderr() -> Iterator[None]:
    """What the actors' gateway logs goes to stderr meanwhile, so that stdout holds nothing but the answer."""
    before = structlog.get_config()
    structlog.configure(logger_factory=structlog.PrintLoggerFactory(sys.stderr))
    try:
        yield
    finally:
        structlog.configure(**before)

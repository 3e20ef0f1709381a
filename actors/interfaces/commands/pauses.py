"""Commands about pauses: hold back what starts by itself, let it go on, and list what is held back."""

from __future__ import annotations

import time
from typing import Annotated

import typer

from actors.catalog.store import Store
from actors.catalog.timestamps import parse_iso_ms
from actors.core.pauses import EVERYTHING, MAX_REASON, Pause, asset_scope, workflow_scope
from actors.interfaces.commands.assets import check_known
from actors.interfaces.dump import iso_or_none, pause_json
from actors.interfaces.durations import parse_duration_ms
from actors.interfaces.errors import bad_input, check_text, refused, unknown
from actors.interfaces.render import age_text, print_json, print_table, when_text
from actors.interfaces.session import ConfigOption, JsonOption, note, open_session

__all__ = ["pause", "pauses", "unpause"]

_AllOption = Annotated[bool, typer.Option("--all", help="Everything that starts by itself.", show_default=False)]
_WorkflowOption = Annotated[
    str | None, typer.Option("--workflow", metavar="SLUG", help="What one workflow makes.", show_default=False)
]
_AssetOption = Annotated[str | None, typer.Option("--asset", metavar="ID", help="One asset.", show_default=False)]


def pause(
    ctx: typer.Context,
    everything: _AllOption = False,
    workflow: _WorkflowOption = None,
    asset: _AssetOption = None,
    for_: Annotated[
        str | None, typer.Option("--for", metavar="DURATION", help="End it by itself after 90s, 15m, 2h, 1d.")
    ] = None,
    until: Annotated[
        str | None, typer.Option("--until", metavar="ISO", help="End it by itself then, such as 2026-11-23T12:00:00Z.")
    ] = None,
    reason: Annotated[
        str | None, typer.Option("--reason", metavar="TEXT", help=f"Why; at most {MAX_REASON} characters.")
    ] = None,
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Hold back what would start by itself, until it is unpaused or a time comes. Nothing is lost: what happens
    meanwhile is remembered and acts once. Runs that are active go on, and `trigger` passes through.

    \b
    Examples:
      python run.py pause --all --for 2h --reason "the warehouse is being moved"
      python run.py pause --workflow orders-daily
      python run.py pause --asset orders.daily --until 2026-11-23T12:00:00Z --json
    """
    now_ms = time.time_ns() // 1_000_000
    scope = _scope(everything, workflow, asset)
    check_text("--reason", reason)
    if reason is not None and len(reason) > MAX_REASON:
        raise bad_input(f"--reason has {len(reason)} characters; at most {MAX_REASON} are kept")
    until_ms = _until_ms(for_, until, now_ms)
    with open_session(ctx, config) as session:
        store = session.catalog.store
        _check_scope_known(store, workflow, asset)
        made = store.pause(scope, until_ms, reason, now_ms)
    if as_json:
        print_json(pause_json(made))
    else:
        print(f"paused {_named(scope)} {_end(made, now_ms)}")


def unpause(
    ctx: typer.Context,
    everything: _AllOption = False,
    workflow: _WorkflowOption = None,
    asset: _AssetOption = None,
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """End a pause: what was held back goes on at once, unless another pause holds it too. 1 if there was none.

    \b
    Examples:
      python run.py unpause --all
      python run.py unpause --workflow orders-daily
      python run.py unpause --asset orders.daily
    """
    now_ms = time.time_ns() // 1_000_000
    scope = _scope(everything, workflow, asset)
    with open_session(ctx, config) as session:
        store = session.catalog.store
        was_paused = store.unpause(scope, now_ms)
        left = sorted(store.pauses(now_ms))
    if as_json:
        print_json({"scope": scope, "unpaused": was_paused, "left": left})
    elif was_paused:
        print(f"unpaused {_named(scope)}")
    if not was_paused:
        others = f"; paused are {', '.join(left)}" if left else "; nothing is"
        raise refused(f"{_named(scope)} is not paused{others}")
    if left:
        note(f"still paused: {', '.join(left)}")


def pauses(ctx: typer.Context, config: ConfigOption = None, as_json: JsonOption = False) -> None:
    """List what is paused: since when, until when, and why.

    \b
    Examples:
      python run.py pauses
      python run.py pauses --json
    """
    now_ms = time.time_ns() // 1_000_000
    with open_session(ctx, config) as session:
        found = session.catalog.store.pauses(now_ms)
    if as_json:
        print_json([pause_json(one) for one in found.values()])
        return
    print_table(
        ("SCOPE", "SINCE", "UNTIL", "REASON"),
        [
            (
                one.scope,
                when_text(one.since_ms, now_ms),
                when_text(one.until_ms, now_ms) or "it is unpaused",
                one.reason,
            )
            for one in found.values()
        ],
        empty="nothing is paused",
    )


def _scope(everything: bool, workflow: str | None, asset: str | None) -> str:
    check_text("--workflow", workflow)
    check_text("--asset", asset)
    if everything + (workflow is not None) + (asset is not None) != 1:
        raise bad_input("say what is meant by one of --all, --workflow SLUG and --asset ID")
    if everything:
        return EVERYTHING
    return workflow_scope(workflow) if workflow is not None else asset_scope(asset or "")


def _check_scope_known(store: Store, workflow: str | None, asset: str | None) -> None:
    if asset is not None:
        check_known(store, asset)
    if workflow is not None and store.workflow(workflow) is None:
        raise unknown("workflow", workflow, (w.slug for w in store.workflows()), otherwise="the catalog has none yet")


def _until_ms(for_: str | None, until: str | None, now_ms: int) -> int | None:
    if for_ is not None and until is not None:
        raise bad_input("--for and --until both say when it ends; keep one of them")
    if for_ is not None:
        try:
            return now_ms + parse_duration_ms(for_)
        except ValueError as error:
            raise bad_input(f"--for: {error}") from None
    if until is None:
        return None
    try:
        at_ms = parse_iso_ms(until)
    except ValueError as error:
        raise bad_input(f"--until: {error}") from None
    if at_ms <= now_ms:
        raise bad_input(f"--until: {until!r} is over ({age_text(at_ms, now_ms)}); give a time that is still to come")
    return at_ms


def _named(scope: str) -> str:
    return "everything" if scope == EVERYTHING else scope.replace(":", " ", 1)


def _end(made: Pause, now_ms: int) -> str:
    if made.until_ms is None:
        return "until it is unpaused"
    return f"until {iso_or_none(made.until_ms)} ({age_text(made.until_ms, now_ms)})"

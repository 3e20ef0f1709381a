"""`trigger`: ask for a run by hand."""

from __future__ import annotations

import time
from typing import Annotated
from uuid import uuid4

import typer

from actors.catalog.documents import Unreadable, read_document
from actors.catalog.store import Json, JsonObject, Limits, NewRun, RunRecord, RunStatus, Store
from actors.execution.parameters import check_partition_key, run_parameters
from actors.interfaces.errors import bad_input, check_text, refused, unknown
from actors.interfaces.program import command
from actors.interfaces.records import run_json
from actors.interfaces.render import print_json
from actors.interfaces.session import (
    ConfigOption,
    JsonOption,
    PartitionOption,
    note,
    open_session,
)

__all__ = ["parse_parameters", "trigger"]

_POLL_SECONDS = 0.1


def trigger(
    ctx: typer.Context,
    workflow: Annotated[str, typer.Argument(metavar="WORKFLOW", help="The workflow's slug.")],
    param: Annotated[
        list[str] | None,
        typer.Option(
            "--param",
            metavar="NAME=VALUE",
            help="A parameter; repeat it. The value is JSON where it can be read as JSON, else text.",
        ),
    ] = None,
    partition: PartitionOption = None,
    remember: Annotated[
        bool,
        typer.Option("--remember", help="Keep the parameters for this partition: its automatic runs get them too."),
    ] = False,
    wait: Annotated[
        float | None,
        typer.Option("--wait", metavar="SECONDS", min=0, help="Wait so long for its end; 1 unless it succeeds."),
    ] = None,
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Ask for a run by hand. It passes through quiet hours and pauses, and keeps the limits.

    \b
    Examples:
      python run.py trigger orders-daily
      python run.py trigger orders-daily --partition 2026-11-23 --param full=true
      python run.py trigger orders-daily --partition 2026-11-23 --param region=eu --remember
      python run.py trigger orders-daily --wait 60 --json
    """
    given = parse_parameters(param or [])
    with open_session(ctx, config) as session:
        store = session.catalog.store
        definition = store.workflow(workflow)
        if definition is None:
            known = [w.slug for w in store.workflows()]
            raise unknown("workflow", workflow, known, otherwise="the catalog has none yet; see put-workflow")
        check_partition_key(definition, partition)
        if remember and (partition is None or not given):
            raise bad_input("--remember keeps parameters for a partition; give --partition and --param")
        stored = {} if partition is None else store.partition_parameters(definition.slug, partition)
        if remember and partition is not None:
            store.put_partition_parameters(definition.slug, partition, {**stored, **given})
        run_id = f"run-{uuid4().hex}"
        store.queue_run(
            NewRun(
                run_id=run_id,
                workflow_slug=definition.slug,
                partition_key=partition,
                parameters=run_parameters(
                    definition, asset_ids=(), partition_key=partition, stored=stored, given=given
                ),
                trigger={"type": "manual", "reason": "cli"},
                created_at_ms=time.time_ns() // 1_000_000,
                limits=Limits(max_runs=session.settings.concurrency.max_runs),
                pools=definition.to_spec().pools,
            )
        )
        if not session.catalog.control.is_service_running():
            note(f"no service is running; run {run_id} starts when one does")
        if wait is None and not as_json:
            print(run_id)
            return
        record = _over(store, run_id, wait or 0.0)
    if as_json:
        print_json(run_json(record))
    else:
        print(f"{run_id} {record.status.value}")
    if wait is None:
        return
    if not record.status.is_over:
        raise refused(
            f"run {run_id} is still {record.status.value} after {wait:g} seconds; see `{command('run', run_id)}`"
        )
    if record.status is not RunStatus.SUCCEEDED:
        raise refused(f"run {run_id} {record.status.value}: {record.error or 'it says no more'}")


def parse_parameters(given: list[str]) -> JsonObject:
    """`name=value` texts to parameters; a value that is JSON is read as JSON, else taken as text.

    Raises:
        CommandError: a text has no name or no `=`, or a name comes twice.
    """
    parameters: dict[str, Json] = {}
    for text in given:
        name, equals, value = text.partition("=")
        if not name or not equals:
            raise bad_input(f"--param {text!r} cannot be read; write NAME=VALUE, such as --param full=true")
        check_text(f"--param {name}", text)
        if name in parameters:
            raise bad_input(f"--param {name} is given twice; keep one of them")
        parameters[name] = _value(value)
    return parameters


def _value(text: str) -> Json:
    try:
        # Python's own reader takes NaN, Infinity and 1e999, which are no JSON numbers: here they are text.
        return read_document(text, "json")
    except Unreadable:
        return text


def _over(store: Store, run_id: str, wait_seconds: float) -> RunRecord:
    deadline = time.monotonic() + wait_seconds
    while True:
        record = store.run(run_id)
        if record is None:
            raise refused(f"run {run_id} is not in the catalog any more; something removed it")
        if record.status.is_over or time.monotonic() >= deadline:
            return record
        time.sleep(min(_POLL_SECONDS, max(0.0, deadline - time.monotonic())))

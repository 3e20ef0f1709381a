"""What can be asked of workflows and runs; see `calls`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from actors.client.call import API, Call, DefinitionFormat, json_body
from actors.client.calls import reader
from actors.client.run_records import (
    Audited,
    AutoMaterialize,
    Canceled,
    Checked,
    Log,
    Put,
    Removed,
    Run,
    RunDetail,
    Step,
    Workflow,
    WorkflowDetail,
)

__all__ = [
    "Definition",
    "audit",
    "auto_materialize",
    "cancel",
    "logs",
    "put_workflow",
    "remove_workflow",
    "run",
    "run_workflow",
    "runs",
    "steps",
    "validate",
    "workflow",
    "workflows",
]

Definition = Mapping[str, object] | str | bytes
"""A definition as an object, or as the text of a file."""

_WORKFLOW: Final = f"{API}/workflows/{{slug}}"
_RUN: Final = f"{API}/runs/{{run_id}}"

_workflows = reader(list[Workflow])
_workflow = reader(WorkflowDetail)
_put = reader(Put)
_removed = reader(Removed)
_checked = reader(Checked)
_auto = reader(AutoMaterialize)
_runs = reader(list[Run])
_run = reader(Run)
_detail = reader(RunDetail)
_steps = reader(list[Step])
_logs = reader(list[Log])
_canceled = reader(Canceled)
_audit = reader(list[Audited])


def workflows() -> Call[list[Workflow]]:
    """The workflows in the catalog, in the order of their slugs."""
    return Call("GET", f"{API}/workflows", _workflows, is_repeatable=True)


def workflow(slug: str) -> Call[WorkflowDetail]:
    """A workflow, with its definition as it was written."""
    return Call("GET", _WORKFLOW, _workflow, {"slug": slug}, is_repeatable=True)


def put_workflow(slug: str, definition: Definition, *, format: DefinitionFormat = "json") -> Call[Put]:
    """Check a definition and keep it in the catalog; the service follows it at once. `format` is that of a text."""
    body, kind = _text(definition, format)
    return Call("PUT", _WORKFLOW, _put, {"slug": slug}, body=body, content_type=kind, is_repeatable=True)


def remove_workflow(slug: str) -> Call[Removed]:
    """Drop a workflow from the catalog. What it made stays known; nothing makes it again."""
    return Call("DELETE", _WORKFLOW, _removed, {"slug": slug})


def validate(definition: Definition, *, format: DefinitionFormat = "json") -> Call[Checked]:
    """Check a definition, by itself and together with those of the catalog. Nothing is changed."""
    body, kind = _text(definition, format)
    return Call("POST", f"{API}/workflows/validate", _checked, body=body, content_type=kind, is_repeatable=True)


def auto_materialize(slug: str, *, limit: int = 10) -> Call[AutoMaterialize]:
    """What a workflow does by itself: active runs, what waits after failures, what expires next, its latest runs."""
    route = f"{_WORKFLOW}/auto-materialize"
    return Call("GET", route, _auto, {"slug": slug}, {"limit": limit}, is_repeatable=True)


def run_workflow(
    slug: str,
    *,
    partition_key: str | None = None,
    parameters: Mapping[str, object] | None = None,
    remember: bool = False,
) -> Call[Run]:
    """Ask for a run by hand, and do not wait for it. `remember` keeps the parameters for the partition."""
    body: dict[str, object] = {"parameters": dict(parameters or {}), "remember": remember}
    if partition_key is not None:
        body["partitionKey"] = partition_key
    # To repeat it would ask for a second run.
    return Call("POST", f"{_WORKFLOW}/run", _run, {"slug": slug}, body=json_body(body))


def runs(
    *, trigger: str | None = None, workflow: str | None = None, status: str | None = None, limit: int = 50
) -> Call[list[Run]]:
    """The latest runs, newest first: of this trigger (`auto-materialize`, `manual`), workflow and status."""
    query = {"trigger": trigger, "workflow": workflow, "status": status, "limit": limit}
    return Call("GET", f"{API}/runs", _runs, query=query, is_repeatable=True)


def run(run_id: str) -> Call[RunDetail]:
    """One run: why it started, what it read, and its steps."""
    return Call("GET", _RUN, _detail, {"run_id": run_id}, is_repeatable=True)


def steps(run_id: str) -> Call[list[Step]]:
    """The steps of a run that have begun."""
    return Call("GET", f"{_RUN}/steps", _steps, {"run_id": run_id}, is_repeatable=True)


def logs(run_id: str, *, step: str | None = None, tail: int | None = None) -> Call[list[Log]]:
    """The last lines that each step, or this one, wrote; at most `tail` of each."""
    query = {"step": step, "tail": tail}
    return Call("GET", f"{_RUN}/logs", _logs, {"run_id": run_id}, query, is_repeatable=True)


def cancel(run_id: str) -> Call[Canceled]:
    """Cancel a run: at once if it has not started, else it is being stopped when this returns."""
    return Call("POST", f"{_RUN}/cancel", _canceled, {"run_id": run_id})


def audit(*, limit: int = 50) -> Call[list[Audited]]:
    """Runs that started by themselves, newest first; outlives the runs."""
    return Call("GET", f"{API}/audit", _audit, query={"limit": limit}, is_repeatable=True)


def _text(definition: Definition, format_: DefinitionFormat) -> tuple[bytes, str]:
    if isinstance(definition, Mapping):
        return json_body(dict(definition)), "application/json"
    body = definition.encode() if isinstance(definition, str) else definition
    return body, f"application/{format_}"

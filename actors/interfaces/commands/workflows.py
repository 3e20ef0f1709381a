"""Commands about definitions: list workflows, keep and drop a definition."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from actors.catalog.definitions import WorkflowDefinition
from actors.catalog.directory import load_path
from actors.catalog.store import Json
from actors.interfaces.errors import unknown
from actors.interfaces.graph_view import graph_of
from actors.interfaces.render import print_json, print_table
from actors.interfaces.session import ConfigOption, JsonOption, note, open_session

__all__ = ["NO_WORKFLOWS", "put_workflow", "remove_workflow", "workflow_json", "workflows"]

NO_WORKFLOWS = "no workflows; the service loads them from its workflows folder, and put-workflow adds one"


def workflows(ctx: typer.Context, config: ConfigOption = None, as_json: JsonOption = False) -> None:
    """List the workflows in the catalog: version, steps, assets, how many opted in, and where each came from.

    \b
    Examples:
      python run.py workflows
      python run.py workflows --json
    """
    with open_session(ctx, config) as session:
        found = sorted(session.catalog.store.workflows(), key=lambda w: w.slug)
        sources = session.catalog.store.workflow_sources()
    rows = [workflow_json(w, sources[w.slug][0] if w.slug in sources else None) for w in found]
    if as_json:
        print_json(rows)
        return
    print_table(
        ("WORKFLOW", "VERSION", "STEPS", "MAKES", "OPTED IN", "READS", "SOURCE"),
        [
            (
                str(row["slug"]),
                str(row["version"]),
                str(row["steps"]),
                _joined(row["assets"]),
                _joined(row["optedIn"]),
                _joined(row["reads"]),
                str(row["source"]),
            )
            for row in rows
        ],
        empty=NO_WORKFLOWS,
    )


def put_workflow(
    ctx: typer.Context,
    file: Annotated[
        Path, typer.Argument(metavar="FILE", help="A definition, JSON or YAML.", exists=True, dir_okay=False)
    ],
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Check a definition and keep it in the catalog; a running service follows it at once.

    \b
    Examples:
      python run.py put-workflow orders-daily.json
    """
    definition = load_path(file)
    with open_session(ctx, config) as session:
        store = session.catalog.store
        kept, _ = graph_of(store.workflows())
        kept.put(definition.to_spec())
        result = store.put_workflow(definition, source="command", content_hash=definition.content_hash)
    for warning in definition.warnings():
        note(f"{file}: {warning}")
    if as_json:
        print_json({"slug": definition.slug, "version": definition.version, "result": result})
    else:
        print(f"{result} {definition.slug} (version {definition.version})")


def remove_workflow(
    ctx: typer.Context,
    slug: Annotated[str, typer.Argument(metavar="SLUG", help="The workflow's slug.")],
    config: ConfigOption = None,
) -> None:
    """Drop a workflow from the catalog. What it made stays known; nothing makes it again.

    \b
    Examples:
      python run.py remove-workflow orders-daily
    """
    with open_session(ctx, config) as session:
        store = session.catalog.store
        source = store.workflow_sources().get(slug)
        if not store.remove_workflow(slug):
            raise unknown("workflow", slug, (w.slug for w in store.workflows()))
    print(f"removed {slug}")
    if source is not None and source[0] == "file":
        note("it came from a file of the workflows folder; remove that too, or the service loads it again")


def workflow_json(definition: WorkflowDefinition, source: str | None) -> dict[str, Json]:
    spec = definition.to_spec()
    return {
        "slug": definition.slug,
        "name": definition.name,
        "version": definition.version,
        "steps": len(definition.steps),
        "assets": [asset.asset_id for asset in spec.assets],
        "optedIn": [asset.asset_id for asset in spec.assets if asset.auto is not None],
        "reads": list(spec.upstreams),
        "source": source,
    }


def _joined(value: Json) -> str | None:
    return "\n".join(str(item) for item in value) or None if isinstance(value, list) else None

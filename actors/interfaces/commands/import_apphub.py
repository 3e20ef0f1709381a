"""`import-apphub`: take definitions that were exported from AppHub, and say what means something else here."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from actors.catalog.definitions import WorkflowDefinition
from actors.catalog.documents import Unreadable
from actors.catalog.problems import Problem
from actors.catalog.store import Json, JsonObject
from actors.execution.jobs import JobRegistry
from actors.interfaces.apphub import Exported, compare, job_file, read_export
from actors.interfaces.checking import check_together, checked_json, definition_files
from actors.interfaces.errors import BAD_INPUT, bad_input, refused
from actors.interfaces.graph_view import graph_of
from actors.interfaces.render import print_json, print_lines
from actors.interfaces.session import ConfigOption, JsonOption, note, open_session, settings_of

__all__ = ["import_apphub"]


def import_apphub(
    ctx: typer.Context,
    paths: Annotated[
        list[Path], typer.Argument(metavar="PATH...", help="Exports, or folders of them: JSON or YAML.", exists=True)
    ],
    write: Annotated[
        Path | None,
        typer.Option("--write", metavar="FOLDER", help="Write a file SLUG.json for each.", show_default=False),
    ] = None,
    put: Annotated[bool, typer.Option("--put", help="Keep them in the catalog.", show_default=False)] = False,
    skip_invalid: Annotated[
        bool, typer.Option("--skip-invalid", help="Take the others when some cannot be used.", show_default=False)
    ] = False,
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Take workflows over from AppHub. Definitions are taken as they are, so this checks them, and says of each what is
    only kept, what means something else, and which jobs are missing. Changes nothing without --write or --put.

    An export is a definition, a list of them, or what AppHub's GET /workflows answers.

    \b
    Examples:
      python run.py import-apphub apphub.json
      python run.py import-apphub apphub.json --write config/workflows
      python run.py import-apphub exports/ --put --skip-invalid --json
    """
    if write is not None and put:
        raise bad_input("--write and --put are two ways to take them; the service reads what is written by itself")
    settings = settings_of(ctx, config)
    found = _read(paths)
    jobs = JobRegistry.load(settings.jobs_dir)
    check_together([each.checked for each in found], pools=settings.concurrency.pools, jobs=jobs)
    for each in found:
        compare(each, jobs.jobs)
    usable = [each for each in found if not each.checked.problems]
    is_taken = (write is not None or put) and (len(usable) == len(found) or skip_invalid)
    results: dict[str, str] = {}
    if is_taken and write is not None:
        results = _write(usable, write)
    elif is_taken:
        with open_session(ctx, config) as session:
            store = session.catalog.store
            graph, _ = graph_of(store.workflows())
            definitions = [_definition(each) for each in usable]
            for definition in definitions:
                graph.put(definition.to_spec())
            for definition in definitions:
                results[definition.slug] = store.put_workflow(
                    definition, source="command", content_hash=definition.content_hash
                )
    skeleton = job_file(found)
    if as_json:
        print_json({"definitions": [_json(each, results) for each in found], "jobFile": skeleton})
    else:
        for each in found:
            _print(each, results)
        if skeleton is not None:
            print_lines(["", f"for a job file in {settings.jobs_dir}:", "", skeleton])
    if len(usable) < len(found):
        note(f"{len(found) - len(usable)} of {len(found)} cannot be used" + ("" if is_taken else "; none was taken"))
        raise typer.Exit(BAD_INPUT)
    if not is_taken:
        note("nothing was changed; --write FOLDER or --put takes them")


def _read(paths: Sequence[Path]) -> list[Exported]:
    files = definition_files(paths)
    if not files:
        raise bad_input(f"no exports in {', '.join(map(str, paths))}; they end in .json, .yaml or .yml")
    found: list[Exported] = []
    for file in files:
        try:
            found += read_export(file)
        except Unreadable as error:
            raise bad_input(f"{file}: {error}") from None
    if not found:
        raise bad_input(f"no workflows in {', '.join(map(str, files))}: the list is empty")
    return found


def _definition(exported: Exported) -> WorkflowDefinition:
    definition = exported.checked.definition
    assert definition is not None  # noqa: S101 - it has no problems
    return definition


def _write(usable: Sequence[Exported], folder: Path) -> dict[str, str]:
    """What became of each by its slug. Looks at all before it writes the first."""
    folder.mkdir(parents=True, exist_ok=True)
    results: dict[str, str] = {}
    waiting: list[tuple[Path, str]] = []
    for each in usable:
        slug, text = _definition(each).slug, each.text()
        file = folder / f"{slug}.json"
        if not file.exists():
            waiting.append((file, text))
            results[slug] = f"written to {file}"
        elif file.read_text(encoding="utf-8") == text:
            results[slug] = f"unchanged in {file}"
        else:
            raise refused(f"{file} is there and says something else; remove it, or write to another folder")
    for file, text in waiting:
        draft = file.with_name(f".{file.name}.tmp")
        draft.write_text(text, encoding="utf-8")
        draft.replace(file)
    return results


def _warnings(exported: Exported) -> list[Problem]:
    """Without those of jobs, which are told together."""
    return [each for each in exported.checked.warnings if not (exported.jobs and each.path.endswith(".jobSlug"))]


def _json(exported: Exported, results: dict[str, str]) -> JsonObject:
    checked = checked_json(exported.checked)
    kept: list[Json] = [*exported.kept]
    missing: list[Json] = [*exported.jobs]
    return {
        "source": checked["file"],
        **{key: checked[key] for key in ("status", "slug", "version", "problems")},
        "warnings": [{"path": each.path, "reason": each.reason} for each in _warnings(exported)],
        "kept": kept,
        "differs": [{"path": each.path, "reason": each.reason} for each in exported.differs],
        "missingJobs": missing,
        "result": results.get(str(checked["slug"])),
    }


def _print(exported: Exported, results: dict[str, str]) -> None:
    checked = exported.checked
    slug = checked.definition.slug if checked.definition is not None else None
    named = f"  {slug} version {checked.definition.version}" if checked.definition is not None else ""
    print_lines([f"{checked.file}: {checked.status}{named}"])
    for kind, problems in (
        ("problem", checked.problems),
        ("warning", _warnings(exported)),
        ("differs", exported.differs),
    ):
        print_lines([f"  {kind}  {each}" for each in problems])
    if exported.kept:
        print_lines([f"  kept     {', '.join(exported.kept)}"])
    if exported.jobs:
        print_lines([f"  no job   {', '.join(exported.jobs)}"])
    if slug in results:
        print_lines([f"  taken    {results[slug]}"])

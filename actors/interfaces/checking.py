"""What `validate` finds in definition files, each by itself and all together. Reads files; talks to nobody."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from actors.catalog.definitions import DefinitionInvalid, Problem, WorkflowDefinition
from actors.catalog.directory import load_path
from actors.catalog.problems import json_path
from actors.catalog.store import JsonObject
from actors.core.graph import CycleError, Graph
from actors.core.mappings import check_mapping
from actors.execution.jobs import JobRegistry
from actors.interfaces.near import nearest

__all__ = ["Checked", "check_files", "check_together", "checked_json", "definition_files"]

_ENDINGS = frozenset({".json", ".yaml", ".yml"})


@dataclass(slots=True)
class Checked:
    """One file: what is wrong with it (it cannot be used), and what is likely not what was meant."""

    file: Path
    definition: WorkflowDefinition | None = None
    problems: list[Problem] = field(default_factory=list)
    warnings: list[Problem] = field(default_factory=list)

    @property
    def status(self) -> str:
        if self.problems:
            return "invalid"
        return "warnings" if self.warnings else "ok"


def definition_files(paths: Iterable[Path]) -> list[Path]:
    """The files themselves and, of folders, the definitions in them, as the service would read them; each once."""
    found: dict[Path, None] = {}
    for path in paths:
        if not path.is_dir():
            found[path] = None
            continue
        for file in sorted(path.iterdir()):
            if file.suffix.lower() in _ENDINGS and not file.name.startswith(".") and not file.is_dir():
                found[file] = None
    return list(found)


def check_files(files: Sequence[Path], *, pools: Iterable[str], jobs: JobRegistry) -> list[Checked]:
    """Check each file, and that they go together; see `check_together`."""
    checked = [_load(file) for file in files]
    check_together(checked, pools=pools, jobs=jobs)
    return checked


def check_together(checked: Sequence[Checked], *, pools: Iterable[str], jobs: JobRegistry) -> None:
    """Add to each what is wrong with it beside the others: slugs, circles, edges, pools and jobs that exist."""
    graph = Graph()
    owners: dict[str, Path] = {}
    for one in checked:
        if one.definition is None:
            continue
        slug = one.definition.slug
        if slug in owners:
            reason = f"slug {slug!r} is taken by {owners[slug]}; give one of them another"
            one.problems.append(Problem("$.slug", reason))
            continue
        owners[slug] = one.file
        try:
            graph.put(one.definition.to_spec())
        except CycleError as error:
            one.problems.append(Problem("$.steps", str(error)))
        _warn_of_pools(one, frozenset(pools))
        _warn_of_jobs(one, jobs)
    for one in checked:
        if one.definition is not None and graph.workflows.get(one.definition.slug) is not None:
            _check_edges(one, graph)


def checked_json(checked: Checked) -> JsonObject:
    """`{file, status: ok|warnings|invalid, slug, version, problems: [{path, reason}], warnings: [...]}`."""
    definition = checked.definition
    return {
        "file": str(checked.file),
        "status": checked.status,
        "slug": definition.slug if definition is not None else None,
        "version": definition.version if definition is not None else None,
        "problems": [{"path": p.path, "reason": p.reason} for p in checked.problems],
        "warnings": [{"path": p.path, "reason": p.reason} for p in checked.warnings],
    }


def _load(file: Path) -> Checked:
    try:
        definition = load_path(file)
    except DefinitionInvalid as error:
        return Checked(file, problems=list(error.problems))
    return Checked(file, definition, warnings=list(definition.warnings()))


def _warn_of_pools(one: Checked, known: frozenset[str]) -> None:
    if one.definition is None:
        return
    for index, step in enumerate(one.definition.steps):
        for position, made in enumerate(step.produces):
            pool = made.auto_materialize.pool if made.auto_materialize is not None else None
            if pool is None or pool in known:
                continue
            near = nearest(pool, known)
            hint = f"did you mean {near}?" if near else "give it one in the settings ([concurrency.pools])"
            place = json_path(("steps", index, "produces", position, "autoMaterialize", "pool"))
            one.warnings.append(Problem(place, f"pool {pool!r} has no limit; {hint}"))


def _warn_of_jobs(one: Checked, jobs: JobRegistry) -> None:
    if one.definition is None:
        return
    for index, step in enumerate(one.definition.steps):
        if step.job_slug is None or step.job_slug in jobs.jobs:
            continue
        near = nearest(step.job_slug, jobs.jobs)
        hint = f"did you mean {near}?" if near else "add a table [jobs.SLUG] to a job file there"
        reason = f"there is no job {step.job_slug!r} in {jobs.jobs_dir}; {hint}"
        one.warnings.append(Problem(json_path(("steps", index, "jobSlug")), reason))


def _check_edges(one: Checked, graph: Graph) -> None:
    """Warn of an edge whose partitions cannot be mapped: its updates would arrive nowhere."""
    if one.definition is None:
        return
    for asset in one.definition.to_spec().assets:
        for upstream in asset.considered:
            node = graph.node(upstream)
            flaw = check_mapping(
                node.partitioning if node is not None else None, asset.partitioning, asset.mapping_of(upstream)
            )
            if flaw is not None:
                reason = f"{upstream!r} -> {asset.asset_id!r}: {flaw}"
                one.warnings.append(Problem("$.steps", reason))

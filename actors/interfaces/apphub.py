"""Definitions that were exported from AppHub: found in what its API or a person wrote down, and compared with what they
mean here. Reads no settings and talks to nobody."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from liquid import Environment
from liquid.exceptions import LiquidError
from pydantic import JsonValue

from actors.catalog.definitions import DefinitionInvalid, Trigger, WorkflowDefinition, parse_definition
from actors.catalog.documents import Unreadable, read_document
from actors.catalog.problems import Problem, json_path
from actors.catalog.sections import Location, Section
from actors.interfaces.checking import Checked

__all__ = ["Exported", "compare", "job_file", "read_export"]

_MAX_BYTES: Final = 64 * 1024 * 1024
_YAML: Final = frozenset({".yaml", ".yml"})
_FORMS: Final = "a definition, a list of them, or an answer of AppHub's API with them under data"
_BARE_KEY: Final = re.compile(r"[A-Za-z0-9_-]+")
_NAMES: Final = ("parameters", "trigger", "steps", "shared", "run")
_OF_RUN: Final = ("id", "partitionKey")
_HEAD: Final = """\
# Jobs that imported workflows call. `python` is module:function, with the module beside this file or installed; or
# write command = ["program", "argument"], which reads its context as JSON from standard input.
"""


@dataclass(slots=True)
class Exported:
    """One definition of an export, as it came, and what is to be known of it.

    `kept` are the places of keys that mean nothing here and are written back; `differs` says what means something else
    than it did in AppHub; `jobs` are those that no job file has.
    """

    value: JsonValue
    checked: Checked
    kept: list[str] = field(default_factory=list)
    differs: list[Problem] = field(default_factory=list)
    jobs: list[str] = field(default_factory=list)

    def text(self) -> str:
        """The definition as a file: nothing added, nothing left out, keys in the order in which they came."""
        return json.dumps(self.value, indent=2, ensure_ascii=False) + "\n"


def read_export(file: Path) -> list[Exported]:
    """The definitions in a file, each parsed by itself.

    Raises:
        Unreadable: it is no JSON or YAML, or holds no definitions.
        OSError: it cannot be read.
    """
    value = _document(file)
    found = _definitions(value)
    if found is None:
        raise Unreadable(Problem("$", f"there are no definitions in this; an export is {_FORMS}"))
    is_alone = found == [value]
    return [
        _parsed(each, file if is_alone else file.with_name(f"{file.name}[{number}]"))
        for number, each in enumerate(found)
    ]


def _document(file: Path) -> JsonValue:
    size = file.stat().st_size
    if size > _MAX_BYTES:
        raise Unreadable(Problem("$", f"the export is larger than {_MAX_BYTES >> 20} MiB; export fewer at once"))
    text = file.read_bytes()
    if file.suffix.lower() in _YAML:
        return read_document(text, "yaml")
    try:
        # Many definitions are larger than one may be. Each is held to the bounds of a document by itself.
        value: JsonValue = json.loads(text.decode("utf-8-sig"), object_pairs_hook=_unique)
    except (ValueError, RecursionError) as error:
        raise Unreadable(Problem("$", f"this is no JSON: {error}")) from None
    return value


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        raise ValueError(f"a key appears twice in one object, which has the keys {', '.join(key for key, _ in pairs)}")
    return found


def _definitions(value: JsonValue) -> list[JsonValue] | None:
    match value:
        case list():
            return value
        case {"steps": _} | {"slug": _}:
            return [value]
        case {"data": dict() | list() as inner} | {"workflows": list() as inner} | {"workflow": dict() as inner}:
            return _definitions(inner)
        case _:
            return None


def _parsed(value: JsonValue, source: Path) -> Exported:
    try:
        text = json.dumps(value, ensure_ascii=False)
        definition = parse_definition(text, source=str(source))
    except DefinitionInvalid as error:
        return Exported(value, Checked(source, problems=list(error.problems)))
    return Exported(value, Checked(source, definition, warnings=list(definition.warnings())))


def compare(exported: Exported, jobs: Iterable[str]) -> None:
    """Fill in what is kept, what differs, and which jobs are not there."""
    definition = exported.checked.definition
    if definition is None:
        return
    known = frozenset(jobs)
    exported.kept = [json_path(place) for place in _unknown_keys(definition, ())]
    exported.differs = list(_differences(definition))
    called = (step.job_slug for step in definition.steps if step.type == "job" and step.job_slug is not None)
    exported.jobs = sorted({slug for slug in called if slug not in known})


def _unknown_keys(value: object, place: Location) -> Iterator[Location]:
    match value:
        case Section():
            for key in value.model_extra or ():
                yield (*place, key)
            for name, info in type(value).model_fields.items():
                if name in value.model_fields_set:
                    yield from _unknown_keys(getattr(value, name), (*place, info.alias or name))
        case tuple():
            for number, each in enumerate(value):
                yield from _unknown_keys(each, (*place, number))
        case Mapping():
            for key, each in value.items():
                yield from _unknown_keys(each, (*place, key))
        case _:
            pass


def _differences(definition: WorkflowDefinition) -> Iterator[Problem]:
    for number, trigger in enumerate(definition.triggers):
        if reason := _of_trigger(trigger):
            yield Problem(json_path(("triggers", number)), reason)
    if definition.parameters_schema:
        yield Problem("$.parametersSchema", "is kept; parameters are not checked by it")
    for index, step in enumerate(definition.steps):
        if (step.model_extra or {}).get("bundle") is not None:
            yield Problem(json_path(("steps", index, "bundle")), "is kept; the code is what the job file names")
        for place, text in _texts(step.parameters, ("steps", index, "parameters")):
            yield from (Problem(json_path(place), reason) for reason in _of_template(text))
        for position, made in enumerate(step.produces):
            if made.freshness.max_age_ms is not None:
                place = ("steps", index, "produces", position, "freshness", "maxAgeMs")
                yield Problem(json_path(place), "AppHub only kept it; here the asset expires by it")


def _of_trigger(trigger: Trigger) -> str | None:
    kind = trigger.type.strip().lower()
    if kind == "manual":
        return None
    schedule = (trigger.model_extra or {}).get("schedule")
    if kind == "schedule" and isinstance(schedule, Mapping):
        policy = {key: schedule[key] for key in ("cron", "timezone") if schedule.get(key)}
        return f'starts nothing here; give an asset that opts in "freshness": {json.dumps(policy)}'
    return "starts nothing here; let what it waited for emit asset.produced of an asset that the workflow consumes"


def _texts(value: object, place: Location) -> Iterator[tuple[Location, str]]:
    match value:
        case str():
            yield place, value
        case list():
            for number, each in enumerate(value):
                yield from _texts(each, (*place, number))
        case dict():
            for key, each in value.items():
                yield from _texts(each, (*place, key))
        case _:
            pass


def _of_template(text: str) -> Iterator[str]:
    """What a template asks for that is not there. A template that cannot be read is none of AppHub's."""
    try:
        asked = Environment().from_string(text).global_variable_segments()
    except LiquidError:
        return
    for segments in asked:
        name, *more = (str(each) for each in segments)
        told = f"{{{{ {'.'.join((name, *more))} }}}} is not there"
        if name not in _NAMES:
            yield f"{told}; a template has {', '.join(_NAMES)}"
        elif name == "run" and more and more[0] not in _OF_RUN:
            yield f"{told}; run has {' and '.join(_OF_RUN)}, and trigger and parameters stand by themselves"
        elif name == "steps" and more[1:] and more[1] != "result":
            yield f"{told}; steps.{more[0]} has result"


def job_file(exported: Sequence[Exported]) -> str | None:
    """A job file for the jobs that are not there, to be filled in; None if all are."""
    callers: dict[str, dict[str, None]] = {}
    for each in exported:
        definition = each.checked.definition
        for step in definition.steps if definition is not None else ():
            if step.job_slug in each.jobs and definition is not None:
                callers.setdefault(step.job_slug, {})[f"{definition.slug} ({step.id})"] = None
    if not callers:
        return None
    tables = []
    for slug, names in sorted(callers.items()):
        module = re.sub(r"\W", "_", slug, flags=re.ASCII)
        module = f"_{module}" if module[0].isdigit() else module
        key = slug if _BARE_KEY.fullmatch(slug) else json.dumps(slug, ensure_ascii=False)
        called_by = json.dumps(f"Called by {', '.join(names)}.", ensure_ascii=False)
        tables.append(f'[jobs.{key}]\ndescription = {called_by}\npython = "{module}:run"\n')
    return "\n".join([_HEAD, *tables])

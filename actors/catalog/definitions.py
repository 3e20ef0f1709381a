"""Workflow definitions: AppHub's JSON (or YAML), read unmodified, checked, and turned into what `core` needs.

A key that is not known is kept and written back; `null` for a known key means that it is absent.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from functools import cached_property
from typing import Annotated, Final, Self

from pydantic import Field, JsonValue, ValidationError, field_validator, model_validator

from actors.catalog.advice import advise
from actors.catalog.declarations import AssetDeclaration, QuietHoursSection
from actors.catalog.documents import Format, Unreadable, read_document
from actors.catalog.problems import DefinitionInvalid, Problem, json_path
from actors.catalog.sections import Fault, Section, blame
from actors.catalog.steps import RetryPolicy, Step, find_faults, steps_before
from actors.core.graph import AssetSpec, WorkflowSpec
from actors.core.partitions import Partitioning
from actors.core.quiet_hours import QuietHours, are_always_quiet

__all__ = [
    "AssetDeclaration",
    "DefinitionInvalid",
    "Problem",
    "RetryPolicy",
    "Step",
    "Trigger",
    "WorkflowDefinition",
    "load_canonical",
    "parse_definition",
]

_SLUG: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")
_PARTITIONING_TYPES: Final = frozenset({"static", "timeWindow", "dynamic"})


class Trigger(Section):
    """A trigger as AppHub knows it, such as `{"type": "manual"}`; kept, but it starts nothing here."""

    type: Annotated[str, Field(min_length=1, max_length=200)]


class WorkflowDefinition(Section):
    """A workflow as it was written. Build one with `parse_definition`, which also bounds size and depth.

    Raises:
        pydantic.ValidationError: from the constructor and `model_validate`; `parse_definition` translates it.
    """

    slug: Annotated[str, Field(max_length=100)]
    name: Annotated[str, Field(min_length=1)]
    version: Annotated[int, Field(strict=True, ge=1)] = 1
    description: str | None = None
    parameters_schema: dict[str, JsonValue] = Field(default_factory=dict)
    default_parameters: dict[str, JsonValue] = Field(default_factory=dict)
    steps: tuple[Step, ...] = Field(min_length=1, max_length=500)
    triggers: tuple[Trigger, ...] = Field(default=(), max_length=1_000)
    quiet_hours: QuietHoursSection | None = None
    metadata: JsonValue = None

    @field_validator("slug")
    @classmethod
    def _usable_slug(cls, slug: str) -> str:
        if not _SLUG.fullmatch(slug):
            raise ValueError(
                f"slug {slug!r} cannot be used; write letters, digits, '.', '_' and '-', "
                "beginning with a letter or digit, such as 'orders-daily'"
            )
        return slug

    @model_validator(mode="after")
    def _steps_fit_together(self) -> Self:
        faults = find_faults(self.steps)
        if faults:
            raise blame(faults)
        return self

    @model_validator(mode="after")
    def _quiet_hours_end(self) -> Self:
        """Each schedule for itself was checked; those of the workflow and of one asset count together."""
        faults: list[Fault] = []
        for index, step in enumerate(self.steps):
            for position, made in enumerate(step.produces):
                auto = made.auto_materialize
                if auto is None or auto.quiet_hours is None or self.quiet_hours is None:
                    continue
                if are_always_quiet((*self._quiet_hours, auto.quiet_hours.to_quiet_hours())):
                    reason = "cover the whole week together with those of the workflow, so nothing would ever start"
                    place = ("steps", index, "produces", position, "autoMaterialize", "quietHours")
                    faults.append((place, f"{reason}; leave a minute free"))
        if faults:
            raise blame(faults)
        return self

    @cached_property
    def _products(self) -> Mapping[str, AssetDeclaration]:
        return {made.asset_id: made for step in self.steps for made in step.produces}

    def warnings(self) -> tuple[Problem, ...]:
        """What loads but is likely not what was meant, such as steps that cannot be executed."""
        return tuple(advise(self, {spec.asset_id: spec.upstreams for spec in self.to_spec().assets}))

    def parameter_defaults(self, asset_id: str) -> Mapping[str, JsonValue]:
        """`autoMaterialize.parameterDefaults` of an asset produced here; empty if there are none."""
        made = self._products.get(asset_id)
        return made.auto_materialize.parameter_defaults if made and made.auto_materialize else {}

    def to_spec(self) -> WorkflowSpec:
        """What deciding needs to know of the workflow; always the same one."""
        return self._spec

    @cached_property
    def _spec(self) -> WorkflowSpec:
        """What deciding needs to know of the workflow.

        An asset's upstreams are what its own step consumes plus what the steps before it consume, less what
        the workflow itself produces: an edge inside one workflow is lineage, not a trigger.
        """
        before = steps_before(self.steps)
        reads = {step.id: {read.asset_id for read in step.consumes} for step in self.steps}
        assets: list[AssetSpec] = []
        for step in self.steps:
            read = reads[step.id].union(*(reads[earlier] for earlier in before[step.id]))
            upstreams = tuple(sorted(read - self._products.keys()))
            assets.extend(self._asset_spec(step, made, upstreams) for made in step.produces)
        return WorkflowSpec(self.slug, self.version, tuple(assets), self._consumed())

    def _asset_spec(self, step: Step, made: AssetDeclaration, upstreams: tuple[str, ...]) -> AssetSpec:
        return AssetSpec(
            asset_id=made.asset_id,
            workflow_slug=self.slug,
            step_id=step.id,
            upstreams=upstreams,
            freshness=made.freshness.to_policy(),
            partitioning=made.to_partitioning(),
            auto=made.auto_materialize.to_policy(self._quiet_hours) if made.auto_materialize else None,
        )

    @property
    def _quiet_hours(self) -> tuple[QuietHours, ...]:
        return (self.quiet_hours.to_quiet_hours(),) if self.quiet_hours is not None else ()

    def _consumed(self) -> dict[str, Partitioning | None]:
        consumed: dict[str, Partitioning | None] = {}
        for step in self.steps:
            for read in step.consumes:
                if read.asset_id not in self._products:
                    consumed[read.asset_id] = consumed.get(read.asset_id) or read.to_partitioning()
        return consumed

    def canonical_json(self) -> str:
        """The definition as it was read, in one spelling: sorted keys, no spaces, nothing added."""
        tree = self.model_dump(mode="json", by_alias=True, exclude_unset=True)
        return json.dumps(tree, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)

    @cached_property
    def content_hash(self) -> str:
        """SHA-256 of the canonical JSON, in hex: equal for definitions that say the same."""
        return hashlib.sha256(self.canonical_json().encode()).hexdigest()


def parse_definition(text: str | bytes, *, source: str, format: Format = "json") -> WorkflowDefinition:
    """Read and check a definition; `source` (a file name) is what errors name.

    Raises:
        DefinitionInvalid: it cannot be used; the error lists every problem with its path.
    """
    try:
        document = read_document(text, format)
    except Unreadable as error:
        raise DefinitionInvalid(source, (error.problem,)) from None
    return _validated(document, source)


def load_canonical(text: str, *, source: str) -> WorkflowDefinition:
    """Read what `canonical_json` wrote. Its size, depth and keys were checked before it was; that is not done again.

    Raises:
        DefinitionInvalid: another version of this program wrote something that this one cannot use.
    """
    try:
        document = json.loads(text)
    except ValueError as error:
        raise DefinitionInvalid(source, (Problem("$", f"this is no JSON: {error}"),)) from None
    return _validated(document, source)


def _validated(document: JsonValue, source: str) -> WorkflowDefinition:
    if not isinstance(document, dict):
        reason = f"a definition is an object, not {type(document).__name__}; begin with slug, name and steps"
        raise DefinitionInvalid(source, (Problem("$", reason),))
    try:
        return WorkflowDefinition.model_validate(document)
    except ValidationError as error:
        raise DefinitionInvalid(source, _problems(error)) from None


def _problems(error: ValidationError) -> list[Problem]:
    problems: list[Problem] = []
    details = error.errors(include_url=False, include_input=False)
    for detail in details:
        if detail["type"] == "too_short" and any(_lies_within(other["loc"], detail["loc"]) for other in details):
            continue  # pydantic counted only the items that had no fault of their own
        cause = detail.get("ctx", {}).get("error")
        location = detail["loc"]
        # pydantic names the chosen member of a union, which is no key of the document.
        path = tuple(
            step
            for index, step in enumerate(location)
            if not (step in _PARTITIONING_TYPES and location[index - 1] == "partitioning")
        )
        reason = detail["msg"] if cause is None else str(cause)
        problems.append(Problem(json_path(path), reason))
    return problems


def _lies_within(inner: tuple[str | int, ...], outer: tuple[str | int, ...]) -> bool:
    return len(inner) > len(outer) and inner[: len(outer)] == outer

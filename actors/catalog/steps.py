"""The steps of a workflow, and how they must fit together."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Annotated, Literal, Self

from pydantic import Field, JsonValue, model_validator

from actors.catalog.declarations import AssetDeclaration
from actors.catalog.sections import Fault, Label, Milliseconds, MillisecondsOrZero, Section, blame

__all__ = ["RetryPolicy", "Step", "find_faults", "steps_before"]


class RetryPolicy(Section):
    """How often a step is tried within one run, and how long it waits in between."""

    max_attempts: Annotated[int, Field(strict=True, ge=1, le=100)] = 1
    strategy: Literal["none", "fixed", "exponential"] = "none"
    initial_delay_ms: MillisecondsOrZero = 1_000
    max_delay_ms: MillisecondsOrZero = 60_000
    jitter: Literal["none", "full", "equal"] = "none"


class Step(Section):
    """One part of a workflow. Only `job` steps can be executed; those of another type load with a warning."""

    id: Label
    name: str = ""
    type: str = "job"
    job_slug: Label | None = None
    depends_on: tuple[Label, ...] = Field(default=(), max_length=500)
    parameters: dict[str, JsonValue] = Field(default_factory=dict)
    store_result_as: Label | None = None
    produces: tuple[AssetDeclaration, ...] = Field(default=(), max_length=1_000)
    consumes: tuple[AssetDeclaration, ...] = Field(default=(), max_length=1_000)
    timeout_ms: Milliseconds | None = None
    retry_policy: RetryPolicy = RetryPolicy()

    @model_validator(mode="after")
    def _job_is_named(self) -> Self:
        if self.type == "job" and self.job_slug is None:
            raise blame([(("jobSlug",), "is missing; a step of type 'job' names the job that it calls")])
        return self


def find_faults(steps: Sequence[Step]) -> list[Fault]:
    """What keeps the steps of a workflow from fitting together: ids, dependencies, circles, products."""
    faults = [*_id_faults(steps), *_dependency_faults(steps), *_product_faults(steps)]
    # Following the dependencies means something only once every id is there, once.
    return faults or list(_circle_faults(steps))


def steps_before(steps: Sequence[Step]) -> dict[str, frozenset[str]]:
    """Of each step by id, all steps that must be over before it starts: its dependencies, and theirs.

    The steps must have passed `find_faults`.
    """
    direct = {step.id: step.depends_on for step in steps}
    before: dict[str, frozenset[str]] = {}
    for step_id in _in_order(direct):
        found = set(direct[step_id])
        for dependency in direct[step_id]:
            found |= before[dependency]
        before[step_id] = frozenset(found)
    return before


def _in_order(direct: Mapping[str, tuple[str, ...]]) -> Iterator[str]:
    """Every step after the steps that it depends on."""
    done = set[str]()
    for root in direct:
        stack = [root]
        while stack:
            missing = [dependency for dependency in direct[stack[-1]] if dependency not in done]
            if missing:
                stack.append(missing[0])
                continue
            step_id = stack.pop()
            if step_id not in done:
                done.add(step_id)
                yield step_id


def _id_faults(steps: Sequence[Step]) -> Iterator[Fault]:
    first: dict[str, int] = {}
    for index, step in enumerate(steps):
        if step.id in first:
            reason = f"step id {step.id!r} is taken by $.steps[{first[step.id]}]; every step needs its own"
            yield ("steps", index, "id"), reason
        first.setdefault(step.id, index)


def _dependency_faults(steps: Sequence[Step]) -> Iterator[Fault]:
    known = {step.id for step in steps}
    for index, step in enumerate(steps):
        for position, dependency in enumerate(step.depends_on):
            if dependency not in known:
                reason = f"there is no step {dependency!r}; the steps are {_listed(sorted(known))}"
                yield ("steps", index, "dependsOn", position), reason


def _product_faults(steps: Sequence[Step]) -> Iterator[Fault]:
    first: dict[str, str] = {}
    for index, step in enumerate(steps):
        for position, declaration in enumerate(step.produces):
            asset_id = declaration.asset_id
            if asset_id in first:
                reason = (
                    f"asset {asset_id!r} is already produced by step {first[asset_id]!r}; "
                    "one step of a workflow may produce it, once"
                )
                yield ("steps", index, "produces", position, "assetId"), reason
            first.setdefault(asset_id, step.id)


def _circle_faults(steps: Sequence[Step]) -> Iterator[Fault]:
    direct = {step.id: step.depends_on for step in steps}
    index_of = {step.id: index for index, step in enumerate(steps)}
    done = set[str]()
    for root in direct:
        trail: dict[str, None] = {}
        stack = [iter((root,))]
        while stack:
            step_id = next(stack[-1], None)
            if step_id is None:
                stack.pop()
                if trail:
                    done.add(trail.popitem()[0])
            elif step_id in trail:
                names = list(trail)
                circle = [*names[names.index(step_id) :], step_id]
                reason = f"steps wait for each other in a circle: {' -> '.join(circle)}; drop one of these"
                yield ("steps", index_of[step_id], "dependsOn"), reason
                return
            elif step_id not in done:
                trail[step_id] = None
                stack.append(iter(direct[step_id]))


def _listed(names: Sequence[str]) -> str:
    shown = ", ".join(repr(name) for name in names[:10])
    return shown + (", ..." if len(names) > 10 else "")

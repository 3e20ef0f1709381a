"""OpenLineage 2-0-2, and what older clients send, as it is read: tolerant in what does not matter here.

What an event is follows from what it has: a `run` makes it a RunEvent, else a `dataset` a DatasetEvent, else a `job` a
JobEvent (as the schema tells them apart; older clients name none in `schemaURL`). Keys that are not known are ignored,
and so is a facet that cannot be read. Which run it is, of which job, and what its datasets are called must be there.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Annotated, Any, Final, Literal, TypeAlias

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError, ValidatorFunctionWrapHandler
from pydantic.alias_generators import to_camel
from pydantic.functional_validators import BeforeValidator, WrapValidator

from actors.catalog.documents import Unreadable
from actors.catalog.events import EventInvalid
from actors.catalog.problems import Problem, json_path
from actors.catalog.sections import Label
from actors.catalog.timestamps import parse_iso_ms
from actors.core.time_windows import Window
from actors.interfaces.openlineage_names import is_own

__all__ = ["MAX_LINEAGE_BYTES", "EventType", "OutputTold", "RunTold", "read_event"]

MAX_LINEAGE_BYTES: Final = 4 * 1024 * 1024
"""Spark's events hold plans and columns of everything that is read."""
_LONGEST_NAMESPACE: Final = 500
_LONGEST_NAME: Final = 1_000
_LONGEST_VERSION: Final = 1_000
_OFFSET: Final = re.compile(r"(Z|[+-]\d{2}:?\d{2})$", re.ASCII)

EventType: TypeAlias = Literal["START", "RUNNING", "COMPLETE", "ABORT", "FAIL", "OTHER"]
_TYPES: Final = ("START", "RUNNING", "COMPLETE", "ABORT", "FAIL")


@dataclass(frozen=True, slots=True)
class OutputTold:
    """A dataset that a run writes. `version` is the data's own, if it has one; a dropped one is no production."""

    namespace: str
    name: str
    version: str = ""
    is_dropped: bool = False


@dataclass(frozen=True, slots=True)
class RunTold:
    """A RunEvent. `window` is the nominal time, `started_by` the namespaces of the jobs that it was started by."""

    type: EventType
    run_id: str
    at_ms: int
    job_namespace: str
    job_name: str
    producer: str | None
    outputs: tuple[OutputTold, ...] = ()
    window: Window | None = None
    started_by: tuple[str, ...] = ()

    def comes_from(self, namespace: str) -> bool:
        """Whether it tells of a run of the Headwater of this namespace, or of what such a run has started."""
        return is_own(self.producer, self.job_namespace, namespace) or namespace in self.started_by


def read_event(body: bytes, now_ms: int) -> RunTold | None:
    """The RunEvent of a body; None for a JobEvent or DatasetEvent: how things are, not that something was made.

    Raises:
        Unreadable: it is no JSON, or too large.
        EventInvalid: it is no event; or its time lies more than 24 hours ahead of `now_ms`.
    """
    if len(body) > MAX_LINEAGE_BYTES:
        raise Unreadable(Problem("$", f"the event has {len(body)} bytes; at most {MAX_LINEAGE_BYTES} are read"))
    try:
        event = _EVENT.validate_json(body)
    except ValidationError as error:
        detail = error.errors(include_url=False, include_input=False)[0]
        if detail["type"] == "json_invalid":
            raise Unreadable(Problem("$", detail["msg"])) from None
        raise EventInvalid(str(detail.get("ctx", {}).get("error") or detail["msg"]), json_path(detail["loc"])) from None
    if event.run is not None:
        return _run(event, event.run, now_ms)
    if event.dataset is None and event.job is None:
        raise EventInvalid("this is no OpenLineage event: it has no run, no dataset and no job")
    return None


def _or_none(value: Any, handler: ValidatorFunctionWrapHandler) -> Any:
    """A facet is nothing without what it says; it must not keep the event from being read."""
    try:
        return handler(value)
    except ValidationError:
        return None


def _not_null(value: Any) -> Any:
    return [] if value is None else value


class _Told(BaseModel):
    model_config = ConfigDict(alias_generator=to_camel, frozen=True, extra="ignore")


class _NominalTime(_Told):
    nominal_start_time: str
    nominal_end_time: str | None = None


class _ParentJob(_Told):
    namespace: str


class _Root(_Told):
    job: _ParentJob


class _Parent(_Told):
    job: _ParentJob
    root: Annotated[_Root | None, WrapValidator(_or_none)] = None

    @property
    def namespaces(self) -> tuple[str, ...]:
        return (self.job.namespace,) if self.root is None else (self.job.namespace, self.root.job.namespace)


class _RunFacets(_Told):
    nominal_time: Annotated[_NominalTime | None, WrapValidator(_or_none)] = None
    parent: Annotated[_Parent | None, WrapValidator(_or_none)] = None
    # So did Airflow's integration before 1-0-0.
    parent_run: Annotated[_Parent | None, WrapValidator(_or_none)] = None


class _Run(_Told):
    run_id: Label
    facets: Annotated[_RunFacets | None, WrapValidator(_or_none)] = None


class _Job(_Told):
    namespace: Annotated[str, Field(max_length=_LONGEST_NAMESPACE)]
    name: Annotated[str, Field(max_length=_LONGEST_NAME)]


class _Version(_Told):
    model_config = ConfigDict(coerce_numbers_to_str=True)
    dataset_version: Annotated[str, Field(max_length=_LONGEST_VERSION)]


class _Lifecycle(_Told):
    lifecycle_state_change: str


class _DatasetFacets(_Told):
    version: Annotated[_Version | None, WrapValidator(_or_none)] = None
    lifecycle_state_change: Annotated[_Lifecycle | None, WrapValidator(_or_none)] = None


class _Dataset(_Told):
    namespace: Annotated[str, Field(max_length=_LONGEST_NAMESPACE)]
    name: Annotated[str, Field(min_length=1, max_length=_LONGEST_NAME)]
    facets: Annotated[_DatasetFacets | None, WrapValidator(_or_none)] = None


class _Event(_Told):
    event_type: str | None = None
    event_time: str | None = None
    producer: str | None = None
    run: _Run | None = None
    job: _Job | None = None
    dataset: _Dataset | None = None
    outputs: Annotated[tuple[_Dataset, ...], BeforeValidator(_not_null)] = ()


_EVENT: Final = TypeAdapter(_Event)


def _run(event: _Event, run: _Run, now_ms: int) -> RunTold:
    if event.job is None:
        raise EventInvalid("a run is a run of a job; name it", "$.job")
    if event.event_time is None:
        raise EventInvalid("an event says when it was", "$.eventTime")
    try:
        at_ms = _time_ms(event.event_time, now_ms)
    except ValueError as error:
        raise EventInvalid(str(error), "$.eventTime") from None
    told = (event.event_type or "").upper()
    facets = run.facets or _RunFacets()
    parent = facets.parent or facets.parent_run
    return RunTold(
        type=next((type_ for type_ in _TYPES if type_ == told), "OTHER"),
        run_id=run.run_id,
        at_ms=at_ms,
        job_namespace=event.job.namespace,
        job_name=event.job.name,
        producer=event.producer,
        outputs=tuple(_output(each) for each in event.outputs),
        window=None if facets.nominal_time is None else _window(facets.nominal_time),
        started_by=() if parent is None else parent.namespaces,
    )


def _output(dataset: _Dataset) -> OutputTold:
    facets = dataset.facets or _DatasetFacets()
    change = facets.lifecycle_state_change
    return OutputTold(
        namespace=dataset.namespace,
        name=dataset.name,
        version=facets.version.dataset_version if facets.version is not None else "",
        is_dropped=change is not None and change.lifecycle_state_change.upper() == "DROP",
    )


def _window(nominal: _NominalTime) -> Window | None:
    """From the start to before the end; an instant where the end is missing, or is no end."""
    try:
        start_ms = _time_ms(nominal.nominal_start_time)
        end_ms = start_ms if nominal.nominal_end_time is None else _time_ms(nominal.nominal_end_time)
    except ValueError:
        return None
    return Window(start_ms, max(end_ms, start_ms + 1))


def _time_ms(text: str, now_ms: int | None = None) -> int:
    """A time as clients write it: also without an offset, which then is UTC; with `now_ms` such a time is not later.

    Raises:
        ValueError: it is no time, or lies too far ahead.
    """
    # `datetime.isoformat` and Java's formatters write these too.
    text = text.strip().upper().replace(" ", "T", 1)
    offset = _OFFSET.search(text)
    if offset is not None:
        if len(offset[1]) == 5:
            text = f"{text[:-2]}:{text[-2:]}"
        return parse_iso_ms(text, now_ms=now_ms)
    at_ms = parse_iso_ms(f"{text}Z")
    return at_ms if now_ms is None else min(at_ms, now_ms)

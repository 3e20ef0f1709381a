"""The tables of fields say what the models of definitions, results and events say."""

from __future__ import annotations

import inspect
import json
from collections.abc import Iterator
from enum import StrEnum
from typing import Any, Literal, get_args, get_origin

import pytest
from pydantic import StrictBool
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

from actors.catalog import declarations, definitions, outgoing_feed, redis_assets, steps, timestamps
from actors.catalog.events import AssetProduced
from actors.catalog.sections import Section
from actors.core import loading, mappings
from actors.core.decide import Defaults
from actors.execution import job_results, results
from actors.execution.orchestrator import Orchestrator
from actors.execution.step_output import TAIL_BYTES
from actors.interfaces.outgoing import openlineage
from tests.unit.docs.markdown import ROOT, markers, prose, table

ASSETS = ROOT / "docs" / "assets-overview.md"
OUTSIDE = ROOT / "docs" / "how-to" / "events-from-outside.md"
JOBS = ROOT / "docs" / "how-to" / "write-a-job.md"
LIMITS = ROOT / "docs" / "how-to" / "limit-concurrency.md"
OUTWARD = ROOT / "docs" / "how-to" / "events-outward.md"
DAY_MS = 24 * 60 * 60 * 1000
STEPS_AT_ONCE = inspect.signature(Orchestrator).parameters["max_parallel_steps"].default

MODELS: dict[str, type[Section]] = {
    name: model
    for module in (declarations, steps, definitions)
    for name, model in vars(module).items()
    if inspect.isclass(model) and issubclass(model, Section) and model not in (Section, definitions.Trigger)
}


def test_every_model_has_a_table() -> None:
    assert sorted(markers(ASSETS, "fields")) == sorted(MODELS)


@pytest.mark.parametrize("name", MODELS)
def test_the_table_is_the_model(name: str) -> None:
    rows = table(ASSETS, f"fields: {name}")
    told = {key.strip("`"): (kind, default) for key, kind, default, _ in rows}
    model = MODELS[name]
    assert list(told) == [field.alias or key for key, field in model.model_fields.items()]
    for key, field in model.model_fields.items():
        alias = field.alias or key
        kind, default = told[alias]
        assert default == default_of(field), f"{alias} of {name}"
        assert kind.endswith(", ms") == alias.endswith("Ms"), f"{alias} of {name}"
        assert (kind == "true, false") == (StrictBool in kinds(field)), f"{alias} of {name}"
        for choice in choices(field):
            assert f"`{choice}`" in kind or "`mon` to `sun`" in kind, f"{alias} of {name}"


def default_of(field: FieldInfo) -> str:
    """As the tables write it."""
    value: Any = field.get_default(call_default_factory=True)
    if value is PydanticUndefined:
        return "required"
    if value is None:
        return "none"
    if isinstance(value, Section):
        assert not value.model_fields_set
        return "`{}`"
    return f"`{json.dumps(value)}`"


def kinds(field: FieldInfo) -> Iterator[object]:
    """The annotation and what it is made of; StrictBool is bool with a mark in the metadata."""
    yield from get_args(field.annotation)
    if field.annotation is bool:
        yield StrictBool


def choices(field: FieldInfo) -> list[str]:
    if get_origin(field.annotation) is Literal:
        return [str(choice) for choice in get_args(field.annotation)]
    if inspect.isclass(field.annotation) and issubclass(field.annotation, StrEnum):
        return [str(member.value) for member in field.annotation]
    return []


def test_the_keys_of_an_event_from_outside() -> None:
    told = {key for cell, _ in table(OUTSIDE, "event: AssetProduced") for key in cell.replace("`", "").split(", ")}
    keys = {field.alias or name for name, field in AssetProduced.model_fields.items()}
    # What the catalog says itself, or what the entry says beside the data.
    assert told == keys - {"schemaVersion", "type", "version", "changedVersion", "inputs", "freshnessSource"}


@pytest.mark.parametrize(
    ("page", "phrase"),
    [
        (ASSETS, f"at most {mappings.MAX_MAPPED_WINDOWS:,} windows"),
        (ASSETS, f"at most {results.MAX_ENTRIES:,} entries and {job_results.MAX_RESULT_BYTES >> 20} MiB"),
        (ASSETS, f"Any JSON up to {results.MAX_PAYLOAD_BYTES >> 10} KiB"),
        (ASSETS, f"the newest {loading.MAX_CAUSES:,} at most"),
        (ASSETS, {3_600_000: "ends after an hour at the latest"}.get(Defaults().pending_limit_ms, "?")),
        (OUTSIDE, f"not more than {timestamps.MAX_AHEAD_MS * 24 // DAY_MS} hours ahead"),
        (OUTSIDE, {7 * DAY_MS: "once within seven days"}.get(redis_assets._SEEN_FOR_MS, "?")),
        (JOBS, f"the last {TAIL_BYTES >> 10} KiB of each"),
        (OUTWARD, f"(the newest {openlineage.MAX_CAUSES})"),
        (OUTWARD, f"At most {outgoing_feed.BATCH} entries of the stream"),
        (LIMITS, f"at most {STEPS_AT_ONCE} steps run side by side"),
    ],
)
def test_numbers_in_the_text(page: Any, phrase: str) -> None:
    assert phrase in " ".join(prose(page).split())

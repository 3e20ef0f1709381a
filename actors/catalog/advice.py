"""What a definition may hold but is likely not what was meant."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from difflib import get_close_matches

from actors.catalog.declarations import (
    EVERY_UPSTREAM,
    AssetDeclaration,
    AutoMaterializeSection,
    DynamicSection,
    TimeWindowSection,
)
from actors.catalog.problems import Problem, json_path
from actors.catalog.sections import Location, Section
from actors.catalog.steps import Step
from actors.core.graph import AssetSpec

__all__ = ["advise"]


def advise(definition: Section, upstreams: Mapping[str, tuple[str, ...]]) -> Iterator[Problem]:
    """Warnings on every part of a definition. `upstreams` are those of each asset that it produces."""
    for location, section in _walk(definition, ()):
        for inner, reason in (*_misspellings(section), *_advice(section, location, upstreams)):
            yield Problem(json_path((*location, *inner)), reason)


def _walk(section: Section, location: Location) -> Iterator[tuple[Location, Section]]:
    yield location, section
    for name, field in type(section).model_fields.items():
        if name not in section.model_fields_set:
            continue
        value: object = getattr(section, name)
        here = (*location, field.alias or name)
        if isinstance(value, Section):
            yield from _walk(value, here)
        else:
            for step, item in _items(value):
                if isinstance(item, Section):
                    yield from _walk(item, (*here, step))


def _items(value: object) -> Iterator[tuple[str | int, object]]:
    if isinstance(value, tuple):
        yield from enumerate(value)
    elif isinstance(value, dict):
        yield from value.items()


def _misspellings(section: Section) -> Iterator[tuple[Location, str]]:
    known = section.known_keys()
    for key in section.model_extra or ():
        # Far from every known key it is a key of somebody else, which is none of our business.
        if near := get_close_matches(key, known, n=1, cutoff=0.8):
            yield (key,), f"this key means nothing here and is only kept; did you mean {near[0]!r}?"


def _advice(
    section: Section, location: Location, upstreams: Mapping[str, tuple[str, ...]]
) -> Iterator[tuple[Location, str]]:
    match section:
        case Step() if section.type != "job":
            yield (
                ("type",),
                f"a step of type {section.type!r} cannot be executed: a run that reaches it fails",
            )
        case AssetDeclaration() if section.auto_materialize is not None:
            if "consumes" in location:
                yield ("autoMaterialize",), "has no effect on a consumed asset; only its producer re-makes it"
            else:
                mine = upstreams.get(section.asset_id, ())
                yield from _unknown_upstreams(section.asset_id, section.auto_materialize, mine)
                yield from _contradictions(section, section.auto_materialize)
                yield from _without_effect(section, section.auto_materialize, mine)
        case _:
            pass


def _contradictions(declaration: AssetDeclaration, auto: AutoMaterializeSection) -> Iterator[tuple[Location, str]]:
    """Policies that undo each other, though each can be used."""
    fresh = declaration.freshness
    times = (fresh.ttl_ms, fresh.cadence_ms, fresh.max_age_ms) if fresh is not None else ()
    shortest = min((time for time in times if time is not None), default=None)
    if auto.debounce_ms is not None and shortest is not None and auto.debounce_ms >= shortest:
        yield (
            ("autoMaterialize", "debounceMs"),
            f"waits {auto.debounce_ms} ms after an update, but the asset expires after {shortest} ms: it is re-made by "
            "expiry before an update ever starts it",
        )


_ABOUT_UPDATES = {
    "when": "when",
    "debounce_ms": "debounceMs",
    "max_delay_ms": "maxDelayMs",
    "upstream": "upstream",
    "partition_mapping": "partitionMapping",
    "catch_up": "catchUp",
}


def _without_effect(
    declaration: AssetDeclaration, auto: AutoMaterializeSection, upstreams: tuple[str, ...]
) -> Iterator[tuple[Location, str]]:
    """Policies that nothing can ever call for."""
    here = "autoMaterialize"
    if not auto.on_upstream_update:
        for name in _ABOUT_UPDATES.keys() & auto.model_fields_set:
            yield (here, _ABOUT_UPDATES[name]), "has no effect without onUpstreamUpdate: true"
    elif not upstreams:
        yield (here, "onUpstreamUpdate"), "has no effect: the asset is made from nothing of another workflow"
    elif auto.enabled and not _considered(auto, upstreams):
        yield (here, "upstream"), f"leaves no upstream whose updates count, of {_listed(upstreams)}"
    if auto.max_delay_ms is not None and auto.debounce_ms is None:
        yield (here, "maxDelayMs"), "has no effect without debounceMs"
    if "catch_up" in auto.model_fields_set and not isinstance(declaration.partitioning, TimeWindowSection):
        yield (here, "catchUp"), "has no effect: the asset is not partitioned by time windows"
    if auto.on_missing and isinstance(declaration.partitioning, DynamicSection):
        yield (here, "onMissing"), "has no effect: nobody knows which dynamic keys are missing"


def _considered(auto: AutoMaterializeSection, upstreams: tuple[str, ...]) -> tuple[str, ...]:
    return AssetSpec("", "", "", upstreams, auto=auto.to_policy()).considered


def _unknown_upstreams(
    owner: str, auto: AutoMaterializeSection, upstreams: tuple[str, ...]
) -> Iterator[tuple[Location, str]]:
    named: list[tuple[Location, str]] = [
        (("upstream", name, index), asset_id)
        for name, chosen in (("only", auto.upstream.only), ("ignore", auto.upstream.ignore))
        for index, asset_id in enumerate(chosen or ())
    ]
    named += [
        (("partitionMapping", asset_id), asset_id) for asset_id in auto.partition_mapping if asset_id != EVERY_UPSTREAM
    ]
    for place, asset_id in named:
        if asset_id not in upstreams:
            reason = f"asset {asset_id!r} is no upstream of {owner!r}, which has {_listed(upstreams)}"
            yield ("autoMaterialize", *place), reason


def _listed(asset_ids: tuple[str, ...]) -> str:
    return ", ".join(repr(asset_id) for asset_id in asset_ids[:10]) or "none"

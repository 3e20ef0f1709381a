"""What a definition may hold but is likely not what was meant."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from difflib import get_close_matches

from actors.catalog.declarations import (
    AssetDeclaration,
    AutoMaterializeSection,
    DynamicSection,
    UpstreamSection,
)
from actors.catalog.problems import Problem, json_path
from actors.catalog.sections import Location, Section
from actors.catalog.steps import Step

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
        elif isinstance(value, tuple):
            for index, item in enumerate(value):
                if isinstance(item, Section):
                    yield from _walk(item, (*here, index))


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
                choice = section.auto_materialize.upstream
                yield from _unknown_upstreams(section.asset_id, choice, upstreams.get(section.asset_id, ()))
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
    if auto.debounce_ms is not None and not auto.on_upstream_update:
        yield ("autoMaterialize", "debounceMs"), "has no effect without onUpstreamUpdate: true"


def _unknown_upstreams(
    owner: str, choice: UpstreamSection, upstreams: tuple[str, ...]
) -> Iterator[tuple[Location, str]]:
    for name, chosen in (("only", choice.only), ("ignore", choice.ignore)):
        for index, asset_id in enumerate(chosen or ()):
            if asset_id not in upstreams:
                known = ", ".join(repr(u) for u in upstreams[:10]) or "none"
                yield (
                    ("autoMaterialize", "upstream", name, index),
                    f"asset {asset_id!r} is no upstream of {owner!r}, which has {known}",
                )

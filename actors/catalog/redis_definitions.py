"""Workflow definitions on the server."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import structlog

from actors.catalog.connection import server_errors
from actors.catalog.definitions import DefinitionInvalid, WorkflowDefinition, load_canonical
from actors.catalog.events import WorkflowUpdated
from actors.catalog.redis_root import RedisRoom
from actors.catalog.store import PutResult, Source

__all__ = ["RedisDefinitions"]

_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class _Listed:
    """All definitions of one moment, with the source and hash of each at that moment."""

    sources: dict[str, str] = field(default_factory=dict)
    definitions: tuple[WorkflowDefinition, ...] = ()


class RedisDefinitions(RedisRoom):
    _listed = _Listed()

    def put_workflow(self, definition: WorkflowDefinition, *, source: Source, content_hash: str) -> PutResult:
        result: PutResult = self._call(
            "put_workflow",
            slug=definition.slug,
            definition=definition.canonical_json(),
            source=json.dumps({"source": source, "hash": content_hash}),
            **self._told(WorkflowUpdated(slug=definition.slug, content_hash=content_hash)),
        )
        return result

    def remove_workflow(self, slug: str) -> bool:
        return bool(self._call("remove_workflow", slug=slug, **self._told(WorkflowUpdated(slug=slug, removed=True))))

    def workflow(self, slug: str) -> WorkflowDefinition | None:
        text = self._read("HGET", self._keys.workflows, slug)
        return None if text is None else self._parse(slug, text)

    def workflows(self) -> list[WorkflowDefinition]:
        """Those that were read last, the very same objects, as long as no source or hash says otherwise: these are a
        tenth of the texts, and are asked for again and again."""
        count, sources = self._read_each([("HLEN", self._keys.workflows), ("HGETALL", self._keys.workflow_sources)])
        listed = self._listed
        if len(sources) == count and listed.sources == sources:
            return list(listed.definitions)
        # Of one moment: the texts of a later one would stay under the hashes of an earlier one.
        with server_errors(self._server), self._client.pipeline(transaction=True) as pipe:
            pipe.hgetall(self._keys.workflows)
            pipe.hgetall(self._keys.workflow_sources)
            kept, sources = pipe.execute()
        found = self._definitions(kept)
        # In one step, because several threads read.
        self._listed = _Listed(sources, tuple(found))
        return found

    def _definitions(self, kept: dict[str, str]) -> list[WorkflowDefinition]:
        for slug in self._parsed.keys() - kept.keys():
            self._parsed.pop(slug, None)
        found = []
        for slug in sorted(kept):
            try:
                found.append(self._parse(slug, kept[slug]))
            except DefinitionInvalid as error:
                # Written by another version of this program; the others must go on.
                _log.error("workflow.unreadable", workflow=slug, error=str(error))
        return found

    def workflow_sources(self) -> dict[str, tuple[Source, str]]:
        kept: dict[str, str] = self._read("HGETALL", self._keys.workflow_sources)
        loaded: dict[str, Any] = {slug: json.loads(text) for slug, text in kept.items()}
        return {slug: (found["source"], found["hash"]) for slug, found in loaded.items()}

    @cached_property
    def _parsed(self) -> dict[str, tuple[str, WorkflowDefinition]]:
        """Of each workflow the text that was read last, and what it says: all are read again and again."""
        return {}

    def _parse(self, slug: str, text: str) -> WorkflowDefinition:
        known = self._parsed.get(slug)
        if known is not None and known[0] == text:
            return known[1]
        definition = load_canonical(text, source=f"workflow {slug} in {self._keys.workflows}")
        self._parsed[slug] = (text, definition)
        return definition

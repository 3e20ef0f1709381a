"""Keeps the catalog's definitions in step with the folder of workflow files.

A file is put into the catalog when its content differs from what was last loaded from a file of that slug, so a
definition put by command stays until its file changes. A workflow that came from a file goes when the file goes.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import structlog

from actors.catalog.definitions import DefinitionInvalid
from actors.catalog.directory import DirectoryUnreadable, load_directory
from actors.catalog.store import CatalogUnavailable, Store
from actors.core.graph import CycleError, Graph

__all__ = ["DefinitionSync", "FolderWatch", "SyncReport"]

Signature = tuple[tuple[str, int, int], ...]

_UNSEEN: Final[Signature] = (("", -1, -1),)
"""What no folder looks like."""
_MOST_CPU: Final = 0.005
"""The share of one core that looking at a folder may take."""


@dataclass(frozen=True, slots=True)
class SyncReport:
    """What one comparison changed; `problems` are (file or slug, reason)."""

    put: tuple[str, ...] = ()
    removed: tuple[str, ...] = ()
    problems: tuple[tuple[str, str], ...] = ()
    warnings: tuple[tuple[str, str], ...] = field(default=())


class DefinitionSync:
    """Compares the folder with the catalog. Used from one thread at a time."""

    def __init__(self, store: Store, folder: Path) -> None:
        self._store = store
        self._folder = folder

    def sync(self) -> SyncReport:
        """Bring the catalog up to date with the files.

        Raises:
            DirectoryUnreadable: the folder cannot be read; nothing was changed.
            CatalogUnavailable: the server cannot be reached.
        """
        loaded = load_directory(self._folder)
        sources = self._store.workflow_sources()
        found = {definition.slug: definition for definition in loaded.definitions.values()}
        problems = [(str(refused.source), str(refused)) for refused in loaded.refused]
        # A file that is broken for the moment must not retire the workflow it described.
        removed = []
        if not loaded.refused:
            for slug, (source, _) in sources.items():
                if source == "file" and slug not in found and self._store.remove_workflow(slug):
                    removed.append(slug)
        changed = {slug: d for slug, d in found.items() if sources.get(slug, ("", ""))[1] != d.content_hash}
        if not changed:
            return SyncReport((), tuple(removed), tuple(problems))
        graph = Graph()
        for kept in self._store.workflows():
            if kept.slug not in changed:
                graph.put(kept.to_spec())
        put, warnings = [], []
        for slug, definition in changed.items():
            try:
                graph.put(definition.to_spec())
            except CycleError as error:
                problems.append((slug, f"workflow {slug}: {error}"))
                continue
            self._store.put_workflow(definition, source="file", content_hash=definition.content_hash)
            put.append(slug)
            warnings += [(slug, str(warning)) for warning in definition.warnings()]
        return SyncReport(tuple(put), tuple(removed), tuple(problems), tuple(warnings))


class FolderWatch:
    """A thread that looks at names, sizes and times of the folder's files, and reports when they differ.

    A folder of thousands of files is looked at less often, so that a service at rest costs next to nothing.
    """

    def __init__(self, folder: Path, interval_seconds: float, on_change: Callable[[], None]) -> None:
        self._folder = folder
        self._interval_seconds = interval_seconds
        self._on_change = on_change
        self._is_stopping = threading.Event()
        self._seen = self._signature()
        self._log = structlog.get_logger(__name__)
        self._thread = threading.Thread(target=self._run, name="headwater-folder-watch", daemon=True)

    def look_at(self, folder: Path) -> None:
        """Watch this folder from now on; what is in it now counts as seen."""
        self._folder = folder
        self._seen = self._signature()

    def look_again(self) -> None:
        """Report at the next look, whether or not anything differs by then."""
        self._seen = _UNSEEN

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self._is_stopping.set()
        if self._thread.is_alive():
            self._thread.join(5.0)

    def _run(self) -> None:
        pause_seconds = self._interval_seconds
        while not self._is_stopping.wait(pause_seconds):
            before = time.thread_time()
            signature = self._signature()
            pause_seconds = max(self._interval_seconds, (time.thread_time() - before) / _MOST_CPU)
            if signature == self._seen:
                continue
            try:
                self._on_change()
            except (CatalogUnavailable, DirectoryUnreadable, DefinitionInvalid) as error:
                # Tried again at the next look.
                self._log.warning("definitions.not_read", folder=str(self._folder), reason=str(error))
                continue
            except Exception:
                self._log.exception("definitions.failed", folder=str(self._folder))
            self._seen = signature

    def _signature(self) -> Signature:
        try:
            entries = [(p.name, p.stat()) for p in self._folder.iterdir()]
        except OSError:
            return ()
        return tuple(sorted((name, stat.st_size, stat.st_mtime_ns) for name, stat in entries))

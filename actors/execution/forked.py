"""The process from which workers are forked: it has imported what they need, and has no threads and no connections of
ours. It is started once, is shared by all pools of this process, and ends with it."""

from __future__ import annotations

import multiprocessing
import os
import threading
from multiprocessing import forkserver
from multiprocessing.context import ForkServerContext
from pathlib import Path
from typing import Final

import actors

__all__ = ["start_forking"]

_PATH: Final = "PYTHONPATH"
_ROOT: Final = str(Path(actors.__file__).resolve().parents[1])
_starting: Final = threading.Lock()


def start_forking(*modules: str) -> ForkServerContext:
    """Begin to load these modules there, unless that was begun before, and return at once: whoever forks waits for it.

    Python starts it with the path of the interpreter alone. Unless that leads to this package, nothing is loaded there,
    without a word, and every worker loads everything by itself, which takes seconds and some forty megabytes for each.
    So the path is told by the environment for as long as the start takes; `set_up_worker` takes it back.
    """
    context = multiprocessing.get_context("forkserver")
    with _starting:
        context.set_forkserver_preload(list(modules))
        before = os.environ.get(_PATH)
        os.environ[_PATH] = os.pathsep.join(filter(None, (_ROOT, before)))
        try:
            forkserver.ensure_running()
        finally:
            if before is None:
                del os.environ[_PATH]
            else:
                os.environ[_PATH] = before
    return context

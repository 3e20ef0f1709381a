"""How a worker process is set up: apart from the service, killed with it, and never on its stdout."""

from __future__ import annotations

import faulthandler
import multiprocessing
import os
import signal
import sys
import threading
from multiprocessing.connection import wait

__all__ = ["set_up_worker"]


def set_up_worker(python_path: str | None = None) -> None:
    """The initializer of a pool's workers, and what PYTHONPATH the service has (see `forked.py`).

    Each worker leads a session of its own. So the terminal's Ctrl-C does not reach it, nor what its jobs
    start, and one signal to its process group kills all of that together.
    """
    if python_path is None:
        os.environ.pop("PYTHONPATH", None)
    else:
        os.environ["PYTHONPATH"] = python_path
    os.setsid()
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    # A handler in Python would wait for the job to come back from C code; the default ends the process.
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    null = os.open(os.devnull, os.O_RDONLY)
    os.dup2(null, 0)
    os.close(null)
    os.dup2(2, 1)
    faulthandler.enable()
    _die_with_service()


def _die_with_service() -> None:
    """Kill this worker's whole process group when the service is gone, even if it was killed with -9.

    multiprocessing gives a child one end of a pipe that the service alone holds open. On Linux the kernel can
    be asked to signal a process group when such a pipe ends (fcntl(2): F_SETOWN, F_SETSIG, O_ASYNC). Unlike a
    thread that needs no interpreter, so a job that never lets go of the GIL dies too; unlike PR_SET_PDEATHSIG
    it kills what the job has started as well, and does not depend on which thread started the worker.
    """
    service = multiprocessing.parent_process()
    if service is None:
        return
    pipe: int = service.sentinel
    if not (sys.platform == "linux" and _signalled_by(pipe)):
        threading.Thread(target=_watch, args=(pipe,), name="service-watch", daemon=True).start()
    elif wait([pipe], timeout=0):
        # It ended before the kernel was asked.
        _kill_group()


def _signalled_by(pipe: int) -> bool:
    import fcntl

    try:
        fcntl.fcntl(pipe, fcntl.F_SETOWN, -os.getpgrp())
        fcntl.fcntl(pipe, fcntl.F_SETSIG, signal.SIGKILL)
        fcntl.fcntl(pipe, fcntl.F_SETFL, fcntl.fcntl(pipe, fcntl.F_GETFL) | os.O_ASYNC)
    except OSError:
        # Some sandboxes do not have it.
        return False
    return True


def _watch(pipe: int) -> None:
    wait([pipe])
    _kill_group()


def _kill_group() -> None:
    os.killpg(0, signal.SIGKILL)

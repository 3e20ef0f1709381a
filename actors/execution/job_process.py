"""What runs in a worker process: one job, with its output in files and its traces removed afterwards."""

from __future__ import annotations

import importlib
import importlib.util
import json
import logging
import os
import signal
import subprocess
import sys
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO, cast

from actors.execution.job_results import JobFailedError, plain_result, printed_result
from actors.execution.jobs import Command, Job, PythonFunction
from actors.execution.step_output import StepOutput
from actors.execution.step_runner import FailureKind, JobContext, JobOutcome

__all__ = ["JobContext", "JobOutcome", "run_in_worker", "run_job", "signal_name"]

_MAX_MESSAGE = 2_000
_LOG_FORMAT = "%(asctime)s %(levelname)s %(name)s %(message)s"


def run_in_worker(job: Job, context: JobContext, folder: str) -> JobOutcome:
    """Run a job unless it was revoked before it could begin; the entry point of a pool's worker."""
    output = StepOutput(Path(folder))
    if not output.begin():
        return JobOutcome.failed(FailureKind.CANCELED, "canceled before it began")
    return run_job(job, context, output)


def run_job(job: Job, context: JobContext, output: StepOutput) -> JobOutcome:
    """Run a job to its end and tell how it went; raises nothing, whatever the job does short of ending the
    process.

    File descriptors 1 and 2 point to the output's files for as long as a Python job runs.
    """
    match job.call:
        case PythonFunction():
            with _captured(output):
                return _run_function(job, job.call, context)
        case Command():
            return _run_command(job, job.call, context, output)


def signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"


def _run_function(job: Job, call: PythonFunction, context: JobContext) -> JobOutcome:
    try:
        with _surroundings(job):
            return JobOutcome(result=plain_result(_load(job, call)(context)))
    except JobFailedError as error:
        return JobOutcome.failed(FailureKind.ERROR, _bounded(str(error)))
    except SystemExit as error:
        status = error.code if isinstance(error.code, int) else int(error.code is not None)
        message = f"the job called sys.exit({error.code!r}) instead of returning"
        return JobOutcome.failed(FailureKind.ERROR, _bounded(message), status)
    # A job is foreign code: whatever it raises fails the job, not the worker.
    except BaseException as error:
        with suppress(Exception):
            traceback.print_exc()
        return JobOutcome.failed(FailureKind.ERROR, _described(error))


def _load(job: Job, call: PythonFunction) -> Callable[[JobContext], object]:
    folder = str(job.folder)
    if folder not in sys.path:
        sys.path.insert(0, folder)
    try:
        module = importlib.import_module(call.module)
    except ModuleNotFoundError as error:
        missing = error.name or ""
        if call.module != missing and not call.module.startswith(f"{missing}."):
            raise
        raise JobFailedError(
            f"job {job.slug!r}: there is no module {call.module!r} in {folder}, nor is it installed"
        ) from None
    found: object = module
    for name in call.function.split("."):
        found = getattr(found, name, None)
    if not callable(found):
        raise JobFailedError(f"job {job.slug!r}: {module.__file__ or call.module} has no function {call.function!r}")
    return cast("Callable[[JobContext], object]", found)


def _run_command(job: Job, call: Command, context: JobContext, output: StepOutput) -> JobOutcome:
    program = call.arguments[0]
    try:
        output.stdin.write_text(json.dumps(context.to_json()), encoding="utf-8")
        with (
            output.stdin.open("rb") as stdin,
            output.stdout.open("ab") as stdout,
            output.stderr.open("ab") as stderr,
        ):
            # It stays in the worker's process group, which is killed as a whole.
            process = subprocess.Popen(  # noqa: S603 - the command of a job file, without a shell
                call.arguments,
                stdin=stdin,
                stdout=stdout,
                stderr=stderr,
                cwd=job.cwd,
                env={**os.environ, **job.env},
            )
            status = process.wait()
    except OSError as error:
        where = f" in {job.cwd}" if job.cwd else ""
        message = f"job {job.slug!r}: cannot start {program!r}{where}: {error.strerror or error}"
        return JobOutcome.failed(FailureKind.ERROR, _bounded(message))
    if status < 0:
        message = f"{program!r} was killed by {signal_name(-status)}"
        return JobOutcome.failed(FailureKind.KILLED, message, status)
    if status > 0:
        return JobOutcome.failed(FailureKind.ERROR, f"{program!r} exited with status {status}", status)
    try:
        return JobOutcome(result=printed_result(output.stdout), exit_status=0)
    except JobFailedError as error:
        return JobOutcome.failed(FailureKind.ERROR, _bounded(str(error)), 0)


@contextmanager
def _surroundings(job: Job) -> Iterator[None]:
    """The job's environment and working directory, and afterwards the former ones again."""
    environment = dict(os.environ)
    folder = Path.cwd()
    os.environ.update(job.env)
    try:
        if job.cwd:
            os.chdir(job.cwd)
        yield
    finally:
        os.chdir(folder)
        os.environ.clear()
        os.environ.update(environment)


@dataclass(slots=True)
class _Streams:
    out: IO[str]
    err: IO[str]


@contextmanager
def _captured(output: StepOutput) -> Iterator[None]:
    """Point stdout, stderr and the root logger to the output's files.

    The streams are new ones, because a job may have closed the last; each line is written at once, because
    the process may be killed at any time.
    """
    former = _Streams(sys.stdout, sys.stderr)
    _flush(former)
    saved = os.dup(1), os.dup(2)
    root = logging.getLogger()
    handlers, level = list(root.handlers), root.level
    try:
        for file, descriptor in ((output.stdout, 1), (output.stderr, 2)):
            opened = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
            os.dup2(opened, descriptor)
            os.close(opened)
        ours = _Streams(_stream(1), _stream(2))
        sys.stdout, sys.stderr = ours.out, ours.err
        handler = logging.StreamHandler(ours.err)
        handler.setFormatter(logging.Formatter(_LOG_FORMAT))
        root.handlers[:] = [handler]
        root.setLevel(logging.INFO)
        yield
        _flush(_Streams(sys.stdout, sys.stderr))
        _flush(ours)
    finally:
        root.handlers[:] = handlers
        root.setLevel(level)
        sys.stdout, sys.stderr = former.out, former.err
        for descriptor, original in enumerate(saved, start=1):
            os.dup2(original, descriptor)
            os.close(original)


def _stream(descriptor: int) -> IO[str]:
    return open(descriptor, "w", encoding="utf-8", errors="backslashreplace", buffering=1, closefd=False)


def _flush(streams: _Streams) -> None:
    for stream in (streams.out, streams.err):
        # Closed or broken by the job: what it lost that way is its own.
        with suppress(Exception):
            stream.flush()


def _described(error: BaseException) -> str:
    try:
        text = str(error)
    except Exception:
        text = "(its text cannot be read)"
    return _bounded(f"{type(error).__name__}: {text}" if text else type(error).__name__)


def _bounded(text: str) -> str:
    return text if len(text) <= _MAX_MESSAGE else text[:_MAX_MESSAGE] + "..."

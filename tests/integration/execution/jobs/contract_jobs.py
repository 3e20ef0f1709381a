"""Jobs that behave, and jobs that do not. What they must tell the test they write into the folder it names."""

from __future__ import annotations

import ctypes
import datetime
import os
import re
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

from actors.execution.job_process import JobContext


def produce(job: JobContext) -> dict[str, Any]:
    entry: dict[str, Any] = {"assetId": job.parameters["asset"]}
    for key in ("partitionKey", "payload", "producedAt", "dataVersion"):
        if key in job.parameters:
            entry[key] = job.parameters[key]
    job.logger.info("making %s", job.parameters["asset"])
    return {"assets": [entry], "rows": 3}


def echo(job: JobContext) -> dict[str, Any]:
    return {
        "parameters": dict(job.parameters),
        "trigger": dict(job.trigger),
        "partitionKey": job.partition_key,
        "runId": job.run_id,
        "workflowSlug": job.workflow_slug,
        "stepId": job.step_id,
    }


def fail(job: JobContext) -> None:
    raise ValueError("the river is dry")


def die(job: JobContext) -> None:
    print("about to die")
    match job.parameters["how"]:
        case "exit":
            os._exit(int(str(job.parameters["status"])))
        case "sys.exit":
            sys.exit(4)
        case "kill":
            os.kill(os.getpid(), signal.SIGKILL)
        case "segfault":
            ctypes.string_at(0)


def hold(job: JobContext) -> dict[str, Any]:
    """Tell that it runs, and hold on until the test lets go."""
    folder = Path(str(job.parameters["folder"]))
    child = None
    if job.parameters.get("child"):
        child = subprocess.Popen(["sleep", "600"])
    begun = folder / f"{job.step_id}.begun"
    begun.with_suffix(".tmp").write_text(f"{os.getpid()} {child.pid if child else ''}")
    begun.with_suffix(".tmp").rename(begun)
    if job.parameters.get("hog"):
        # Backtracks for longer than anybody lives, in C, without ever letting go of the GIL.
        re.match(r"(a+)+$", "a" * 64 + "b")
    while not (folder / "go").exists():
        time.sleep(0.01)
    asset = job.parameters.get("asset")
    return {"assets": [{"assetId": asset}] if asset else []}


def flaky(job: JobContext) -> dict[str, Any]:
    """Fails until it was tried so often."""
    folder = Path(str(job.parameters["folder"]))
    (folder / f"attempt-{len(list(folder.glob('attempt-*')))}").touch()
    attempts = len(list(folder.glob("attempt-*")))
    if attempts < int(str(job.parameters["succeedsAt"])):
        raise RuntimeError(f"failure {attempts}")
    return {"attempts": attempts}


def meet(job: JobContext) -> None:
    """Ends only when the other one has begun, so it proves that both run at once."""
    folder = Path(str(job.parameters["folder"]))
    (folder / job.step_id).touch()
    while not (folder / str(job.parameters["other"])).exists():
        time.sleep(0.01)


def chatter(job: JobContext) -> None:
    block = "x" * 1023 + "\n"
    for _ in range(int(str(job.parameters["kilobytes"]))):
        sys.stdout.write(block)
    print("the last line")
    os.write(2, b"\xff\xfe straight to the descriptor\n")
    job.logger.warning("the last warning")


def answer(job: JobContext) -> object:
    """Returns what a job should not, and some of what it may."""
    match job.parameters["kind"]:
        case "list":
            return [1, 2]
        case "datetime":
            return {"at": datetime.datetime.now(datetime.UTC)}
        case "nan":
            return {"value": float("nan")}
        case "huge":
            return {"text": "x" * (4 * 1024 * 1024)}
        case "circle":
            circle: dict[str, Any] = {}
            circle["self"] = circle
            return circle
        case "apphub-failed":
            return {"status": "failed", "errorMessage": "no such bucket"}
        case "apphub-succeeded":
            return {"status": "succeeded", "result": {"rows": 5}}
        case "none":
            return None
        case other:
            raise AssertionError(other)


def linger(job: JobContext) -> None:
    """Returns at once, and leaves a thread behind that writes when it is let go."""
    folder = Path(str(job.parameters["folder"]))

    def write() -> None:
        while not (folder / "go").exists():
            time.sleep(0.01)
        os.write(1, b"a late line")
        print("another")
        (folder / "wrote").touch()

    threading.Thread(target=write, daemon=True).start()


def undeclared(job: JobContext) -> dict[str, Any]:
    return {"assets": [{"assetId": "somebody.elses"}]}


def whereabouts(job: JobContext) -> dict[str, Any]:
    """What a job can see and spoil of its process; it spoils as much as it can."""
    seen = {
        "greeting": os.environ.get("CONTRACT_GREETING"),
        "spoiled": "CONTRACT_SPOILED" in os.environ,
        "cwd": os.getcwd(),  # noqa: PTH109 - the text itself is what matters
        "session": os.getsid(0),
        "pid": os.getpid(),
        "interrupt": signal.getsignal(signal.SIGINT) is signal.SIG_IGN,
    }
    os.environ["CONTRACT_SPOILED"] = "yes"
    os.chdir("/")
    print("whereabouts told")
    sys.stdout.close()
    return seen

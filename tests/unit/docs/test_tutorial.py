"""The tutorial is gone through as it stands there: its files are written, its commands typed, its answers compared."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.unit.docs.markdown import ROOT, Block, blocks

PAGE = ROOT / "docs" / "tutorials" / "first-pipeline.md"
SERVE = "python run.py"
PATIENCE_SECONDS = 60.0
# Ids and times in their answers differ from one time to the next; what is compared is how an asset stands.
VARYING = ("python run.py runs", "python run.py run ", "python run.py debug", "python run.py trigger")
_STATE = re.compile(r"^\S+  \w+  \(.*$", re.MULTILINE)
# What comes of something under way; typing it again changes nothing.
AWAITED = ("cat ", "python run.py resume", "python run.py debug")


@contextmanager
def serving(folder: Path, environment: dict[str, str]) -> Iterator[None]:
    """The service, as in the second terminal; it ends well."""
    log = folder / "serve.log"
    with log.open("wb") as output:
        service = subprocess.Popen(
            [sys.executable, "run.py"], cwd=folder, env=environment, stdout=output, stderr=subprocess.STDOUT
        )
        try:
            deadline = time.monotonic() + PATIENCE_SECONDS
            while "service.started" not in log.read_text():
                assert service.poll() is None, log.read_text()
                assert time.monotonic() < deadline, log.read_text()
                time.sleep(0.05)
            yield
            service.send_signal(signal.SIGINT)
            assert service.wait(PATIENCE_SECONDS) == 0, log.read_text()
        finally:
            service.kill()
            service.wait()


@pytest.mark.integration
@pytest.mark.timeout(300)
def test_the_tutorial_works_as_it_is_written(tmp_path: Path) -> None:
    (tmp_path / "run.py").symlink_to(ROOT / "run.py")
    (tmp_path / "shop" / "workflows").mkdir(parents=True)
    (tmp_path / "shop" / "jobs").mkdir()
    for block in blocks(PAGE):
        if block.marker.startswith("file: "):
            (tmp_path / block.marker.removeprefix("file: ")).write_text(block.text)
    # `python` is the interpreter of the tests.
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    environment = {**os.environ, "PATH": path, "HEADWATER_CONFIG": "shop/headwater.toml", "NO_COLOR": "1"}
    commands = [command for block in blocks(PAGE) if block.language == "console" for command in typed(block)]
    start = next(index for index, (command, _) in enumerate(commands) if command == SERVE)
    for command, answer in commands[:start]:
        check(command, answer, tmp_path, environment)
    with serving(tmp_path, environment):
        for command, answer in commands[start + 1 :]:
            check(command, answer, tmp_path, environment)


def typed(block: Block) -> list[tuple[str, str]]:
    """Each command of a block with the answer that is shown."""
    parts = ("\n" + block.text).split("\n$ ")[1:]
    return [(command, answer) for command, _, answer in (part.partition("\n") for part in parts)]


def is_as_shown(command: str, shown: str, told: str) -> bool:
    if command.startswith(VARYING):
        return set(_STATE.findall(shown)) <= set(_STATE.findall(told))
    return not shown.strip() or told.strip() == shown.strip()


def check(command: str, answer: str, folder: Path, environment: dict[str, str]) -> None:
    if command.endswith(" RUN"):
        return
    deadline = time.monotonic() + PATIENCE_SECONDS
    while True:
        done = subprocess.run(
            ["bash", "-c", command],
            cwd=folder,
            env=environment,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        if done.returncode == 0 and is_as_shown(command, answer, done.stdout):
            return
        if not command.startswith(AWAITED) or time.monotonic() > deadline:
            break
        time.sleep(0.1)
    log = folder / "serve.log"
    told = log.read_text()[-4_000:] if log.exists() else ""
    pytest.fail(f"$ {command}\n{done.stdout}{done.stderr}\nshown:\n{answer}\n\nthe service:\n{told}")

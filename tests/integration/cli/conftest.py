"""The command line as a user has it: a process for the service, commands beside it, a real server under both."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from actors.interfaces.cli import app

ROOT = Path(__file__).parents[3]
JOBS = Path(__file__).parent / "jobs"
DEADLINE_SECONDS = 60.0

WORKFLOWS: tuple[dict[str, Any], ...] = (
    {
        "slug": "daily",
        "name": "Daily orders",
        "defaultParameters": {"asset": "orders.daily", "full": False},
        "steps": [
            {
                "id": "make",
                "jobSlug": "make",
                "parameters": {"asset": "{{ parameters.asset }}"},
                "consumes": [{"assetId": "orders.raw"}],
                "produces": [{"assetId": "orders.daily", "autoMaterialize": {"onUpstreamUpdate": True}}],
            }
        ],
    },
    {
        "slug": "by-store",
        "name": "Orders of a store",
        "defaultParameters": {"asset": "orders.store"},
        "steps": [
            {
                "id": "make",
                "jobSlug": "make",
                "parameters": {"asset": "{{ parameters.asset }}"},
                "produces": [{"assetId": "orders.store", "partitioning": {"type": "static", "keys": ["a", "b"]}}],
            }
        ],
    },
    {
        "slug": "failing",
        "name": "Never works",
        "steps": [
            {
                "id": "try",
                "jobSlug": "fail",
                "consumes": [{"assetId": "luck"}],
                "produces": [
                    {
                        "assetId": "fortune",
                        "autoMaterialize": {"onUpstreamUpdate": True, "failureBudget": {"failures": 1}},
                    }
                ],
            }
        ],
    },
    {"slug": "holding", "name": "Goes on", "steps": [{"id": "hold", "jobSlug": "hold"}]},
)


@dataclass(frozen=True)
class Answer:
    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)


@dataclass(frozen=True)
class Place:
    """A folder with settings, workflows and jobs."""

    folder: Path

    @property
    def settings(self) -> Path:
        return self.folder / "settings.toml"

    def run(self, *args: str | Path) -> Answer:
        """One command, in this process."""
        result = CliRunner().invoke(app, [*map(str, args), "--config", str(self.settings)])
        assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
        return Answer(result.exit_code, result.stdout, result.stderr)

    def ok(self, *args: str | Path) -> Answer:
        answer = self.run(*args)
        assert answer.code == 0, answer
        return answer

    def until(self, holds: Callable[[Any], bool], *args: str) -> Any:
        """Ask a command for JSON until the answer is as wanted."""
        deadline = time.monotonic() + DEADLINE_SECONDS
        while True:
            answer = self.run(*args, "--json")
            if answer.code == 0 and holds(answer.json):
                return answer.json
            assert time.monotonic() < deadline, f"{args} never became as wanted: {answer}"
            time.sleep(0.05)

    @contextlib.contextmanager
    def service(self, *args: str, env: Mapping[str, str] | None = None) -> Iterator[subprocess.Popen[str]]:
        """`python run.py` until the block ends; then it must stop cleanly."""
        with (self.folder / "service.log").open("w") as log:
            process = subprocess.Popen(
                [sys.executable, "run.py", "--config", str(self.settings), *args],
                cwd=ROOT,
                stdout=log,
                stderr=log,
                text=True,
                env={**os.environ, **(env or {})},
            )
        try:
            self.until(lambda _: True, "status")
            yield process
        except BaseException as error:
            process.kill()
            error.add_note(self.log)
            raise
        finally:
            process.send_signal(signal.SIGTERM)
            process.wait(30)
        assert process.returncode == 0, self.log

    @property
    def log(self) -> str:
        return (self.folder / "service.log").read_text()

    def events(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.log.splitlines() if line.startswith("{")]


def make_place(folder: Path, *, redis: str) -> Place:
    (folder / "workflows").mkdir()
    for workflow in WORKFLOWS:
        (folder / "workflows" / f"{workflow['slug']}.json").write_text(json.dumps(workflow))
    place = Place(folder)
    place.settings.write_text(
        f"""
data_dir = "data"
workflows_dir = "workflows"
jobs_dir = "{JOBS}"
[redis]
{redis}
[shutdown]
grace_seconds = 0.5
"""
    )
    return place


@pytest.fixture
def place(tmp_path: Path, server_url: str, prefix: str) -> Place:
    return make_place(tmp_path, redis=f'url = "{server_url}"\nprefix = "{prefix}"')


@pytest.fixture
def filled(place: Place) -> Place:
    """With the workflows in the catalog, but no service."""
    for file in sorted((place.folder / "workflows").iterdir()):
        place.ok("put-workflow", file)
    return place


@pytest.fixture
def unused_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port: int = server.getsockname()[1]
    return port

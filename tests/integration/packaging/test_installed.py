"""What is built holds all that is read at run time, and what is installed from it works away from the checkout."""

from __future__ import annotations

import json
import signal
import subprocess
import tarfile
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from actors.settings import load_settings
from tests.integration.packaging.conftest import ROOT, Installation, clean_environment
from tests.integration.service.driver import eventually

# On a busy machine the first test waits for a build and an installation.
pytestmark = [pytest.mark.integration, pytest.mark.timeout(300)]

WORKFLOW: dict[str, Any] = {
    "slug": "orders",
    "name": "Orders",
    "steps": [
        {
            "id": "load",
            "jobSlug": "load",
            "produces": [{"assetId": "orders.daily", "autoMaterialize": {"onMissing": True}}],
        }
    ],
}
JOB = """\
from actors.execution.jobs import __name__ as seen


def load(context):
    return {"assets": [{"assetId": "orders.daily", "payload": {"seen": seen}}]}
"""


def files_of(folder: Path) -> set[str]:
    return {
        str(file.relative_to(ROOT)) for file in folder.rglob("*") if file.is_file() and "__pycache__" not in file.parts
    }


def test_the_wheel_holds_every_file_of_the_package_and_the_example(installation: Installation) -> None:
    with zipfile.ZipFile(installation.wheel) as wheel:
        names = set(wheel.namelist())

    assert {name for name in names if name.startswith("actors/")} == files_of(ROOT / "actors")
    (data,) = {name.partition("/")[0] for name in names if ".data/" in name}
    prefix = f"{data}/data/share/headwater/"
    shared = {name.removeprefix(prefix) for name in names if name.startswith(prefix)}
    assert {name for name in shared if name.startswith("config/")} == files_of(ROOT / "config")
    assert {name for name in shared if name.startswith("deploy/")} == files_of(ROOT / "deploy")
    assert {"grafana/headwater.json", "prometheus/alerts.yml"} < shared


def test_the_sdist_has_what_a_build_needs(installation: Installation) -> None:
    with tarfile.open(installation.sdist) as sdist:
        names = {name.partition("/")[2] for name in sdist.getnames()}

    # The wheel was made from it, so the rest is there.
    assert {"pyproject.toml", "README.md", "LICENSE", "PKG-INFO"} < names
    assert not {name for name in names if name.startswith(("data", "tests", "build"))}


def test_help_calls_the_program_by_its_name_and_says_what_is_read(installation: Installation, tmp_path: Path) -> None:
    done = installation.run("--help", cwd=tmp_path)

    assert done.returncode == 0, done.stderr
    for told in ("Usage: headwater", "HEADWATER_CONFIG", "workflows/", "share/headwater/config", "headwater runs"):
        assert told in done.stdout
    assert "run.py" not in done.stdout + installation.run("trigger", "--help", cwd=tmp_path).stdout
    assert list(tmp_path.iterdir()) == []


def test_the_example_that_comes_with_it_is_valid(installation: Installation, tmp_path: Path) -> None:
    example = installation.prefix / "share" / "headwater" / "config"
    settings = load_settings([example / "default.toml"], {})
    assert (settings.workflows_dir, settings.jobs_dir) == (example / "workflows", example / "jobs")

    done = installation.run("validate", str(settings.workflows_dir), cwd=tmp_path)

    assert done.returncode == 0, done.stdout + done.stderr
    assert "river-report" in done.stdout


def test_a_service_makes_what_is_missing_in_the_folder_where_it_is_started(
    installation: Installation, tmp_path: Path
) -> None:
    write_pipeline(tmp_path)

    with service(installation, tmp_path) as process:

        def history() -> Any:
            assert process.poll() is None, f"it ended with {process.returncode}:\n{(tmp_path / 'log').read_text()}"
            asked = installation.run("history", "orders.daily", "--json", cwd=tmp_path)
            return asked.returncode == 0 and json.loads(asked.stdout)

        (made,) = eventually(history, "orders.daily was made", seconds=30)
        process.send_signal(signal.SIGTERM)
        assert process.wait(30) == 0, (tmp_path / "log").read_text()

    assert made["payload"] == {"seen": "actors.execution.jobs"}
    assert (tmp_path / "data" / "valkey").is_dir()
    assert str(ROOT) not in (tmp_path / "log").read_text()


def write_pipeline(folder: Path) -> None:
    for name in ("workflows", "jobs"):
        (folder / name).mkdir()
    (folder / "workflows" / "orders.json").write_text(json.dumps(WORKFLOW))
    (folder / "jobs" / "jobs.toml").write_text('[jobs.load]\npython = "orders_jobs:load"\n')
    (folder / "jobs" / "orders_jobs.py").write_text(JOB)


@contextmanager
def service(installation: Installation, folder: Path) -> Iterator[subprocess.Popen[bytes]]:
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(
            [str(installation.program)],
            cwd=folder,
            env=clean_environment(),
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
        )
    try:
        yield process
    finally:
        if process.poll() is None:
            process.terminate()
            process.wait(30)

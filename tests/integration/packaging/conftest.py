"""The project built as its users get it, installed into a virtual environment of its own: once for all workers."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import sysconfig
from dataclasses import dataclass
from pathlib import Path

import pytest

from actors.catalog.file_lock import FileLock

ROOT = Path(__file__).parents[3]
_SOURCES = ("pyproject.toml", "README.md", "LICENSE", "run.py", "actors", "config", "deploy", "docs")
_LEFTOVERS = shutil.ignore_patterns("__pycache__", "*.egg-info")


@dataclass(frozen=True)
class Installation:
    """The archives, and the environment that the wheel was installed into."""

    sdist: Path
    wheel: Path
    prefix: Path

    @property
    def program(self) -> Path:
        return self.prefix / "bin" / "headwater"

    def run(self, *arguments: str, cwd: Path) -> subprocess.CompletedProcess[str]:
        """The program, in a folder that is not the checkout."""
        return _run([str(self.program), *arguments], cwd=cwd, timeout_seconds=60)


def clean_environment() -> dict[str, str]:
    """Without settings, and without a way to the modules of the checkout."""
    return {name: value for name, value in os.environ.items() if not name.startswith(("HEADWATER_", "PYTHON"))}


@pytest.fixture(scope="session")
def installation(tmp_path_factory: pytest.TempPathFactory, worker_id: str) -> Installation:
    base = tmp_path_factory.getbasetemp()
    # The workers of one test run have folders side by side.
    place = (base if worker_id == "master" else base.parent) / "packaging"
    place.mkdir(exist_ok=True)
    lock = FileLock(place / "lock")
    lock.acquire(timeout_seconds=100)
    try:
        if not (place / "done").exists():
            _build(place)
            _install(place)
            (place / "done").touch()
    finally:
        lock.release()
    (sdist,) = (place / "dist").glob("*.tar.gz")
    (wheel,) = (place / "dist").glob("*.whl")
    return Installation(sdist, wheel, place / "venv")


def _build(place: Path) -> None:
    source = place / "source"
    source.mkdir()
    for name in _SOURCES:
        if (ROOT / name).is_dir():
            shutil.copytree(ROOT / name, source / name, ignore=_LEFTOVERS)
        else:
            shutil.copy(ROOT / name, source)
    # Without options it makes the sdist, and the wheel from the sdist alone. Not isolated: no network.
    _call([sys.executable, "-m", "build", "--no-isolation", "--outdir", str(place / "dist"), str(source)], cwd=place)


def _install(place: Path) -> None:
    venv = place / "venv"
    _call([sys.executable, "-m", "venv", "--without-pip", str(venv)], cwd=place)
    (site_packages,) = (venv / "lib").glob("python*/site-packages")
    # What it depends on is here already. Of a folder that is named so, the .pth files are not read: an editable
    # installation of the checkout stays out of sight.
    (site_packages / "dependencies.pth").write_text(sysconfig.get_path("purelib") + "\n")
    # Another package may have put a folder of this name beside ours; it is none of our business.
    foreign = site_packages / "config"
    foreign.mkdir()
    (foreign / "default.toml").write_text("not_ours = true\n")
    (wheel,) = (place / "dist").glob("*.whl")
    pip = [sys.executable, "-m", "pip", "--python", str(venv), "--disable-pip-version-check"]
    _call([*pip, "install", "--quiet", "--no-deps", "--no-index", "--force-reinstall", str(wheel)], cwd=place)


def _call(command: list[str], *, cwd: Path) -> None:
    done = _run(command, cwd=cwd, timeout_seconds=90)
    assert done.returncode == 0, f"{command} ended with {done.returncode}:\n{done.stdout[-3000:]}{done.stderr[-3000:]}"


def _run(command: list[str], *, cwd: Path, timeout_seconds: float) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command,
        cwd=cwd,
        env=clean_environment(),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=timeout_seconds,
        check=False,
    )

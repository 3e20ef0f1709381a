"""What is in `deploy/` fits the program: what it sets are settings, and it stops no sooner than running jobs."""

from __future__ import annotations

import re
import shlex
import shutil
import subprocess
from configparser import ConfigParser
from pathlib import Path
from typing import Any

import pytest
import typer
import yaml

from actors.interfaces.cli import app
from actors.settings import DEFAULT_FILE, load_settings
from tests.integration.packaging.conftest import ROOT

DEPLOY = ROOT / "deploy"
COMPOSE: dict[str, Any] = yaml.safe_load((DEPLOY / "compose.yaml").read_text(encoding="utf-8"))
SERVICES: dict[str, Any] = COMPOSE["services"]
OURS = sorted(name for name, service in SERVICES.items() if service.get("image") == "headwater:latest")
_VARIABLE = re.compile(r"\$\{(\w+):-([^}]*)\}")


def defaults_of(text: str) -> str:
    """With the default of each `${NAME:-default}`."""
    return _VARIABLE.sub(lambda found: found[2], text)


def instructions() -> list[tuple[str, str]]:
    """Of the Dockerfile, each on one line."""
    text = re.sub(r"\\\n\s*", "", (DEPLOY / "Dockerfile").read_text(encoding="utf-8"))
    lines = [line for line in text.splitlines() if line and not line.startswith("#")]
    return [(line.partition(" ")[0], line.partition(" ")[2].strip()) for line in lines]


def image_variables() -> dict[str, str]:
    words = [word for name, value in instructions() if name == "ENV" for word in shlex.split(value)]
    return dict(word.split("=", 1) for word in words)


def parse_command(words: list[str]) -> None:
    """Raises what typer raises if the program does not know them."""
    group: Any = typer.main.get_command(app)
    name, command, rest = group.resolve_command(typer.Context(group), words)
    with command.make_context(name, rest):
        pass


def seconds(text: str) -> int:
    found = re.fullmatch(r"(\d+)s", text)
    assert found, f"{text} is no number of seconds"
    return int(found[1])


class TestUnit:
    def unit(self) -> ConfigParser:
        # A setting may stand there twice, as in systemd; none of ours does.
        parsed = ConfigParser(interpolation=None)
        parsed.optionxform = str  # type: ignore[assignment, method-assign]
        parsed.read_string((DEPLOY / "headwater.service").read_text(encoding="utf-8"))
        return parsed

    def test_it_is_killed_no_sooner_than_jobs_may_run_on(self) -> None:
        service = self.unit()["Service"]
        production = load_settings([DEFAULT_FILE.with_name("production.toml")], {})
        assert service["KillMode"] == "mixed"
        assert int(service["TimeoutStopSec"]) > production.shutdown.grace_seconds

    def test_it_starts_a_command_that_there_is(self) -> None:
        program, *words = shlex.split(self.unit()["Service"]["ExecStart"])
        assert Path(program).name == "headwater"
        parse_command(words)

    def test_systemd_can_read_it(self, tmp_path: Path) -> None:
        analyze = shutil.which("systemd-analyze")
        if analyze is None:
            # A machine without systemd; what it would say is in part said above.
            return
        text = (DEPLOY / "headwater.service").read_text(encoding="utf-8")
        unit = tmp_path / "headwater.service"
        unit.write_text(re.sub(r"(?m)^ExecStart=\S+", f"ExecStart={shutil.which('true')}", text))
        done = subprocess.run([analyze, "verify", str(unit)], capture_output=True, text=True, timeout=30, check=False)
        assert (done.returncode, done.stderr) == (0, "")


class TestImage:
    def test_what_it_copies_is_there(self) -> None:
        for name, value in instructions():
            if name == "COPY":
                *sources, _ = value.split()
                assert [source for source in sources if not (ROOT / source).exists()] == []

    def test_its_variables_are_settings(self) -> None:
        variables = {name: value for name, value in image_variables().items() if name.startswith("HEADWATER_")}
        settings = load_settings([], variables)
        assert str(settings.data_dir) == "/srv/headwater/data"
        assert settings.log.format == "json"

    def test_it_asks_for_its_health_where_that_is_told(self) -> None:
        (check,) = [value for name, value in instructions() if name == "HEALTHCHECK"]
        settings = load_settings([], {k: v for k, v in image_variables().items() if k.startswith("HEADWATER_")})
        assert f"http://127.0.0.1:{settings.metrics.port}/readyz" in check
        assert settings.metrics.host == "0.0.0.0"  # so that Prometheus reaches it
        assert ("EXPOSE", str(settings.metrics.port)) in instructions()

    def test_it_runs_a_command_as_nobody_in_particular(self) -> None:
        last = dict(instructions())
        assert re.fullmatch(r"[1-9]\d*:[1-9]\d*", last["USER"])
        assert yaml.safe_load(last["ENTRYPOINT"]) == ["headwater"]
        parse_command(yaml.safe_load(last["CMD"]))


class TestCompose:
    def test_two_services_and_workers_when_asked_for(self) -> None:
        assert OURS == ["one", "two", "worker"]
        assert [name for name, service in SERVICES.items() if "profiles" in service] == ["worker"]

    def test_the_server_keeps_what_it_is_told_and_evicts_nothing(self) -> None:
        command = " ".join(SERVICES["redis"]["command"])
        assert "--appendonly yes" in command
        assert "--maxmemory-policy noeviction" in command
        assert "ports" not in SERVICES["redis"]

    @pytest.mark.parametrize("name", OURS)
    def test_its_variables_are_settings_and_it_may_finish(self, name: str) -> None:
        service = SERVICES[name]
        variables = {key: defaults_of(value) for key, value in service["environment"].items()}
        settings = load_settings([], variables)
        assert settings.redis.url == "redis://redis:6379/0"
        assert settings.execution.launcher == "local"
        assert seconds(service["stop_grace_period"]) > settings.shutdown.grace_seconds
        assert service["depends_on"]["redis"]["condition"] == "service_healthy"

    @pytest.mark.parametrize("name", OURS)
    def test_it_mounts_the_pipeline_where_the_image_looks_for_it(self, name: str) -> None:
        image = load_settings([], {k: v for k, v in image_variables().items() if k.startswith("HEADWATER_")})
        mounts = dict(defaults_of(volume).split(":")[:2] for volume in SERVICES[name]["volumes"])
        (folder,) = [source for source, target in mounts.items() if Path(target) == image.workflows_dir.parent]
        assert (DEPLOY / folder / "workflows").is_dir()
        assert (DEPLOY / folder / "jobs").is_dir()
        assert str(image.data_dir) in mounts.values()

    def test_every_volume_is_declared(self) -> None:
        named = {volume.split(":")[0] for service in SERVICES.values() for volume in service["volumes"]}
        assert {name for name in named if re.fullmatch(r"\w+", name)} == COMPOSE["volumes"].keys()

    def test_the_worker_is_a_command_that_there_is(self) -> None:
        parse_command(SERVICES["worker"]["command"])

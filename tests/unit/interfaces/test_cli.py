"""The command line as far as it goes without a catalog: help, usage, settings, and what errors say."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import typer
from typer.testing import CliRunner

from actors.catalog.control import ControlFailed, ControlTimeout, ServiceNotRunning
from actors.catalog.store import CatalogUnavailable
from actors.core.partitions import PartitionKeyError
from actors.interfaces.cli import app
from actors.interfaces.commands.trigger import parse_parameters
from actors.interfaces.errors import CommandError, bad_input, explained, refused, unknown
from actors.settings import SettingsError
from tests.unit.interfaces.definitions import document

COMMANDS: dict[str, Any] = typer.main.get_command(app).commands  # type: ignore[attr-defined]
WITHOUT_JSON = {"serve", "worker", "cancel", "remove-workflow"}


def _run(*args: str | Path) -> Any:
    return CliRunner().invoke(app, [str(arg) for arg in args])


@pytest.fixture
def settings(tmp_path: Path) -> Path:
    (tmp_path / "jobs").mkdir()
    file = tmp_path / "settings.toml"
    file.write_text(f'data_dir = "{tmp_path / "data"}"\njobs_dir = "jobs"\n')
    return file


@pytest.mark.parametrize("name", sorted(COMMANDS))
def test_help_has_examples_of_the_very_command(name: str) -> None:
    result = _run(name, "--help")
    assert result.exit_code == 0
    _, _, examples = result.stdout.partition("Examples:\n")
    assert examples.strip().startswith(f"python run.py {name}")


@pytest.mark.parametrize("name", sorted(COMMANDS))
def test_every_command_takes_settings_and_prints_json_if_it_prints_data(name: str) -> None:
    options = {option for parameter in COMMANDS[name].params for option in parameter.opts}
    assert "--config" in options
    assert ("--json" in options) is (name not in WITHOUT_JSON)


@pytest.mark.parametrize(
    "args",
    [
        ("nonsense",),
        ("runs", "--limit", "0"),
        ("emit", "asset.produced"),
        ("emit", "asset.made", "--asset", "a"),
        ("trigger",),
        ("graph", "--format", "gif"),
        ("validate", "/no/such/path"),
    ],
)
def test_wrong_usage_ends_with_2_and_says_so_on_stderr(args: tuple[str, ...]) -> None:
    result = _run(*args)
    assert result.exit_code == 2
    assert result.stdout == ""
    assert "Error:" in result.stderr
    assert "Traceback" not in result.stderr


def test_a_misspelt_command_is_told_the_right_one() -> None:
    assert "workflows" in _run("workflow").stderr


@pytest.mark.parametrize("place", ["before", "after"])
def test_settings_may_stand_before_the_command_or_after_it(tmp_path: Path, place: str) -> None:
    bad = tmp_path / "bad.toml"
    bad.write_text("[concurrency]\nmax_rums = 3\n")
    args = ("--config", bad, "validate", tmp_path) if place == "before" else ("validate", tmp_path, "--config", bad)
    result = _run(*args)
    assert result.exit_code == 2
    assert result.stderr.startswith(f"error: {bad}: concurrency.max_rums: there is no such setting")
    assert "max_runs" in result.stderr


def test_later_settings_win(tmp_path: Path) -> None:
    workflow = tmp_path / "w.json"
    workflow.write_text(json.dumps(document("w", "A", autoMaterialize={"pool": "gpu"})))
    (tmp_path / "jobs").mkdir()
    (tmp_path / "jobs" / "j.toml").write_text('[jobs.make]\ncommand = ["true"]\n')
    first, second = tmp_path / "1.toml", tmp_path / "2.toml"
    first.write_text('jobs_dir = "none"\n')
    second.write_text('jobs_dir = "jobs"\n[concurrency.pools]\ngpu = 1\n')
    assert _run("--config", first, "validate", workflow, "--config", second).stdout == f"{workflow}: ok  w version 1\n"
    assert "warnings" in _run("--config", second, "validate", workflow, "--config", first).stdout


def test_a_missing_settings_file_is_named(tmp_path: Path) -> None:
    result = _run("runs", "--config", tmp_path / "none.toml")
    assert result.exit_code == 2
    assert f"error: {tmp_path / 'none.toml'}: the file cannot be read" in result.stderr


def test_serving_is_what_happens_without_a_command(tmp_path: Path) -> None:
    # Bad settings end it before anything starts, with the words of `serve`.
    without = _run("--config", tmp_path / "none.toml")
    named = _run("serve", "--config", tmp_path / "none.toml")
    assert (without.exit_code, without.stderr) == (named.exit_code, named.stderr)
    assert without.exit_code == 2


def test_validate_tells_each_file_and_ends_with_2_when_one_cannot_be_used(tmp_path: Path, settings: Path) -> None:
    folder = tmp_path / "workflows"
    folder.mkdir()
    (folder / "good.json").write_text(json.dumps(document("good", "A")))
    (folder / "bad.json").write_text(json.dumps(document("bad", "B", freshness={"ttlMs": "soon"})))
    (folder / "worse.yaml").write_text("slug: [")
    result = _run("validate", folder, "--config", settings)
    assert result.exit_code == 2
    lines = result.stdout.splitlines()
    assert lines[0] == f"{folder / 'bad.json'}: invalid"
    assert lines[1].startswith("  problem  $.steps[0].produces[0].freshness.ttlMs: ")
    assert lines[2] == f"{folder / 'good.json'}: warnings  good version 1"
    assert "  warning  $.steps[0].jobSlug: there is no job 'make'" in lines[3]
    assert lines[4] == f"{folder / 'worse.yaml'}: invalid"

    as_json = _run("validate", folder, "--config", settings, "--json")
    assert as_json.exit_code == 2
    assert [one["status"] for one in json.loads(as_json.stdout)] == ["invalid", "warnings", "invalid"]


def test_validating_a_folder_without_definitions_is_bad_input(tmp_path: Path, settings: Path) -> None:
    result = _run("validate", tmp_path / "jobs", "--config", settings)
    assert result.exit_code == 2
    assert "they end in .json, .yaml or .yml" in result.stderr


@pytest.mark.parametrize(
    ("args", "said"),
    [
        (("--asset", "two words"), "--asset: asset id 'two words' holds a space"),
        (("--asset", "a", "--produced-at", "yesterday"), "--produced-at: 'yesterday' is no ISO 8601 timestamp"),
        (("--asset", "a", "--produced-at", "2026-01-01T00:00:00"), "has no offset"),
        (("--asset", "a", "--produced-at", "2999-01-01T00:00:00Z"), "more than 24 hours in the future"),
        (("--asset", "a", "--payload", "[1e999]"), "--payload: $[0]: inf is not a JSON number"),
        (("--asset", "a", "--data-version", "\udcff"), "--data-version: \\udcff is not valid UTF-8 text"),
        (("--asset", "a\udcff"), "--asset: "),
        (("--asset", "a", "--payload", "{rows: 3}"), "--payload: $: this is no JSON"),
    ],
)
def test_what_emit_cannot_read_is_refused_before_anything_is_opened(
    settings: Path, args: tuple[str, ...], said: str
) -> None:
    result = _run("emit", "asset.produced", *args, "--config", settings)
    assert result.exit_code == 2
    assert said in result.stderr
    assert not (settings.parent / "data").exists()


@pytest.mark.parametrize("option", ["--produced-at", "--data-version", "--payload", "--dedupe-key"])
def test_an_expiry_takes_nothing_that_is_for_productions(settings: Path, option: str) -> None:
    result = _run("emit", "asset.expired", "--asset", "a", option, "1", "--config", settings)
    assert result.exit_code == 2
    assert f"{option} is for asset.produced" in result.stderr


def test_a_status_must_be_one(settings: Path) -> None:
    result = _run("runs", "--status", "done", "--config", settings)
    assert result.exit_code == 2
    assert "'done' is no status; use one of queued, enqueued, running, succeeded" in result.stderr


def test_parameters_are_json_where_they_can_be_read_as_json() -> None:
    given = [
        "n=3",
        "f=1.5",
        "yes=true",
        "none=null",
        'list=[1, "a"]',
        "text=hello",
        "empty=",
        "eq=a=b",
        "nan=NaN",
        "inf=1e999",
        'q="3"',
    ]
    assert parse_parameters(given) == {
        "n": 3,
        "f": 1.5,
        "yes": True,
        "none": None,
        "list": [1, "a"],
        "text": "hello",
        "empty": "",
        "eq": "a=b",
        "nan": "NaN",
        "inf": "1e999",
        "q": "3",
    }


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (["full"], "write NAME=VALUE"),
        (["=3"], "write NAME=VALUE"),
        (["a=1", "a=2"], "given twice"),
        (["a=\udcff"], "valid UTF-8"),
    ],
)
def test_a_parameter_without_a_name_or_given_twice_is_refused(given: list[str], said: str) -> None:
    with pytest.raises(CommandError, match=said) as raised:
        parse_parameters(given)
    assert raised.value.code == 2


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (SettingsError("x"), 2),
        (PartitionKeyError("x"), 2),
        (CatalogUnavailable("x"), 1),
        (ServiceNotRunning("x"), 1),
        (ControlTimeout("x"), 1),
        (ControlFailed("x"), 1),
        (OSError("x"), 1),
        (refused("x"), 1),
        (bad_input("x"), 2),
    ],
)
def test_expected_errors_have_their_exit_code(error: Exception, code: int) -> None:
    assert explained(error) == ("x", code)


def test_a_bug_is_not_explained_away() -> None:
    assert explained(ValueError("x")) is None
    assert explained(KeyError("x")) is None


def test_an_unknown_name_is_told_what_comes_near_or_what_there_is() -> None:
    assert str(unknown("workflow", "ordres", ["orders", "stock"])) == (
        "there is no workflow 'ordres'; did you mean 'orders'?"
    )
    assert str(unknown("workflow", "zzz", ["orders", "stock"])) == "there is no workflow 'zzz'; there are orders, stock"
    assert str(unknown("workflow", "zzz", [], otherwise="add one")) == "there is no workflow 'zzz'; add one"

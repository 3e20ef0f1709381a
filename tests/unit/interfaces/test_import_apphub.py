"""`import-apphub`: which forms of export are read, what is said of them, and what is written."""

from __future__ import annotations

import json
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import pytest
from typer.testing import CliRunner, Result

from actors.catalog.directory import load_directory
from actors.catalog.documents import Unreadable
from actors.execution.jobs import JobRegistry
from actors.interfaces.apphub import compare, job_file, read_export
from actors.interfaces.cli import app

EXPORT: Final = Path(__file__).parent / "exports" / "apphub.json"
DATA: Final[list[dict[str, Any]]] = json.loads(EXPORT.read_text(encoding="utf-8"))["data"]
SLUGS: Final = ["station-minute-ingest", "station-report"]

Run = Callable[..., Result]


@pytest.fixture
def run(tmp_path: Path) -> Run:
    """Runs the command with settings whose folders are empty, and an export that holds what is given."""
    jobs = tmp_path / "jobs"
    jobs.mkdir()
    (tmp_path / "workflows").mkdir()
    settings = tmp_path / "settings.toml"
    settings.write_text('data_dir = "data"\nworkflows_dir = "workflows"\njobs_dir = "jobs"\n')

    def call(value: Any, *options: str) -> Result:
        export = tmp_path / "export.json"
        export.write_text(json.dumps(value), encoding="utf-8")
        return CliRunner().invoke(app, ["import-apphub", str(export), "--config", str(settings), *options])

    return call


@pytest.mark.parametrize(
    "value",
    [DATA, {"data": DATA}, {"data": DATA, "meta": {"total": 2}}, {"workflows": DATA}, {"data": {"workflows": DATA}}],
    ids=["list", "answer", "answer with more", "descriptor", "nested"],
)
def test_a_list_is_found_wherever_it_stands(value: Any, run: Run) -> None:
    told = json.loads(run(value, "--json").stdout)["definitions"]
    assert [each["slug"] for each in told] == SLUGS
    assert [each["source"].rpartition("/")[2] for each in told] == ["export.json[0]", "export.json[1]"]


@pytest.mark.parametrize("value", [DATA[1], {"data": DATA[1]}, {"data": {"workflow": DATA[1], "runs": []}}])
def test_one_definition_is_an_export(value: Any, run: Run) -> None:
    (told,) = json.loads(run(value, "--json").stdout)["definitions"]
    assert told["slug"] == "station-report"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("{", "this is no JSON"),
        ('{"data": 1}', "there are no definitions in this"),
        ('{"slug": "a", "slug": "b"}', "appears twice"),
        ("[" * 100_000, "this is no JSON"),
    ],
)
def test_what_is_no_export(text: str, said: str, tmp_path: Path) -> None:
    file = tmp_path / "export.json"
    file.write_text(text)
    with pytest.raises(Unreadable, match=said):
        read_export(file)


def test_what_is_said_of_a_definition(run: Run) -> None:
    result = run({"data": DATA}, "--json")
    assert result.exit_code == 0
    first, second = json.loads(result.stdout)["definitions"]
    assert first["kept"] == [
        *("$.id", "$.outputSchema", "$.createdAt", "$.updatedAt"),
        *("$.steps[0].bundle", "$.triggers[1].schedule"),
    ]
    assert {each["path"] for each in first["differs"]} == {
        *("$.triggers[1]", "$.parametersSchema", "$.steps[0].bundle"),
        "$.steps[0].produces[0].freshness.maxAgeMs",
    }
    # What is proposed in place of a schedule is a policy.
    (proposal,) = [each["reason"] for each in first["differs"] if each["path"] == "$.triggers[1]"]
    assert json.loads(proposal.partition('"freshness": ')[2]) == {"cron": "0 * * * *", "timezone": "Europe/Oslo"}
    assert (first["missingJobs"], second["missingJobs"]) == (["inbox-normalizer"], ["report-renderer"])
    differs = {each["path"]: each["reason"] for each in second["differs"]}
    assert differs.keys() == {"$.triggers[0]", "$.steps[0].parameters.title", "$.steps[0].parameters.by[0]"}
    assert differs["$.steps[0].parameters.title"].startswith("{{ event.payload.station }} is not there")
    assert [each["path"] for each in second["warnings"]] == ["$.steps[1].type"]
    assert (first["result"], second["result"]) == (None, None)


def test_the_job_file_is_one(run: Run, tmp_path: Path) -> None:
    definition = {**DATA[1], "steps": [{**DATA[1]["steps"][0], "jobSlug": 'odd.slug "x"'}]}
    text = json.loads(run([*DATA, {**definition, "slug": "odd"}], "--json").stdout)["jobFile"]
    assert tomllib.loads(text)["jobs"].keys() == {"inbox-normalizer", "report-renderer", 'odd.slug "x"'}
    (tmp_path / "jobs" / "apphub.toml").write_text(text, encoding="utf-8")
    assert JobRegistry.load(tmp_path / "jobs").problems == ()
    again = json.loads(run(DATA, "--json").stdout)
    assert again["jobFile"] is None
    assert [each["missingJobs"] for each in again["definitions"]] == [[], []]


def test_files_are_written_as_they_came_and_never_over_others(run: Run, tmp_path: Path) -> None:
    folder = tmp_path / "workflows"
    assert run(DATA).exit_code == 0
    assert list(folder.iterdir()) == []
    assert run(DATA, "--write", str(folder)).exit_code == 0
    loaded = load_directory(folder)
    assert [each.slug for each in loaded.definitions.values()] == SLUGS
    assert json.loads((folder / "station-report.json").read_text()) == DATA[1]
    assert "unchanged in" in run(DATA, "--write", str(folder)).stdout
    result = run([{**DATA[0], "slug": "new"}, {**DATA[1], "version": 2}], "--write", str(folder))
    assert result.exit_code == 1
    assert "station-report.json is there and says something else" in result.stderr
    assert not (folder / "new.json").exists()


def test_one_that_cannot_be_used_holds_back_the_others_unless_told(run: Run, tmp_path: Path) -> None:
    folder = tmp_path / "taken"
    bad = {**DATA[0], "steps": []}
    result = run([bad, DATA[1]], "--write", str(folder))
    assert (result.exit_code, folder.exists()) == (2, False)
    assert "export.json[0]: invalid" in result.stdout
    assert "  problem  $.steps:" in result.stdout
    assert "1 of 2 cannot be used; none was taken" in result.stderr
    result = run([bad, DATA[1]], "--write", str(folder), "--skip-invalid")
    assert result.exit_code == 2
    assert [file.name for file in folder.iterdir()] == ["station-report.json"]
    result = run([DATA[1], DATA[1]], "--json")
    (problem,) = json.loads(result.stdout)["definitions"][1]["problems"]
    assert problem["path"] == "$.slug"


def test_the_two_ways_exclude_each_other(run: Run, tmp_path: Path) -> None:
    assert run(DATA, "--put", "--write", str(tmp_path)).exit_code == 2
    assert run([]).exit_code == 2


def test_what_no_job_calls_needs_no_job_file(tmp_path: Path) -> None:
    file = tmp_path / "export.json"
    file.write_text(json.dumps([{**DATA[1], "steps": [DATA[1]["steps"][1] | {"dependsOn": []}]}]))
    (exported,) = read_export(file)
    compare(exported, ())
    assert job_file([exported]) is None

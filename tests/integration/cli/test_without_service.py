"""Every command while no service runs."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.integration.cli.conftest import ROOT, WORKFLOWS, Place, make_place

pytestmark = pytest.mark.integration


def test_an_empty_catalog_is_told_as_such(place: Place) -> None:
    assert "no workflows" in place.ok("workflows").out
    assert "no workflows" in place.ok("graph").out
    assert place.ok("runs").out == "no runs\n"
    assert "no run has started by itself" in place.ok("audit").out
    answer = place.ok("debug")
    assert "no assets" in answer.out
    assert "no service is running" in answer.err
    for command in ("workflows", "runs", "audit"):
        assert place.ok(command, "--json").json == []
    assert place.ok("debug", "--json").json == {"live": False, "assets": []}
    assert place.ok("graph", "--json").json == {"assets": [], "edges": []}


def test_what_only_a_service_can_do_says_that_none_runs(place: Place) -> None:
    answer = place.run("status")
    assert answer.code == 1
    assert answer.out == ""
    assert answer.err.startswith("error: no service is running on ")


def test_a_definition_is_kept_and_dropped(place: Place) -> None:
    file = place.folder / "workflows" / "daily.json"
    assert place.ok("put-workflow", file).out == "created daily (version 1)\n"
    assert place.ok("put-workflow", file, "--json").json == {"slug": "daily", "version": 1, "result": "unchanged"}
    file.write_text(json.dumps({**WORKFLOWS[0], "version": 2}))
    assert place.ok("put-workflow", file).out == "updated daily (version 2)\n"
    (one,) = place.ok("workflows", "--json").json
    assert one == {
        "slug": "daily",
        "name": "Daily orders",
        "version": 2,
        "steps": 1,
        "assets": ["orders.daily"],
        "optedIn": ["orders.daily"],
        "reads": ["orders.raw"],
        "source": "command",
    }
    assert place.ok("remove-workflow", "daily").out == "removed daily\n"
    again = place.run("remove-workflow", "daily")
    assert (again.code, again.err) == (1, "error: there is no workflow 'daily'\n")


def test_a_bad_definition_changes_nothing(place: Place) -> None:
    file = place.folder / "bad.json"
    file.write_text(json.dumps({"slug": "bad", "name": "bad", "steps": []}))
    answer = place.run("put-workflow", file)
    assert answer.code == 2
    assert answer.err.startswith(f"error: {file}: $.steps: ")
    assert place.ok("workflows", "--json").json == []


def test_a_definition_that_closes_a_circle_is_refused(filled: Place) -> None:
    file = filled.folder / "circle.json"
    step = {
        "id": "s",
        "jobSlug": "make",
        "consumes": [{"assetId": "orders.daily"}],
        "produces": [{"assetId": "orders.raw"}],
    }
    file.write_text(json.dumps({"slug": "circle", "name": "circle", "steps": [step]}))
    answer = filled.run("put-workflow", file)
    assert answer.code == 1
    assert "circle -> daily -> circle" in answer.err
    assert "circle" not in [w["slug"] for w in filled.ok("workflows", "--json").json]


def test_the_graph_is_drawn_in_every_form(filled: Place) -> None:
    assert "orders.raw  (made outside)\n   -> orders.daily  (daily; kept fresh)" in filled.ok("graph").out
    assert filled.ok("graph", "--format", "mermaid").out.startswith("flowchart LR")
    assert filled.ok("graph", "--format", "dot").out.startswith("digraph assets {")
    for name, begins in (("graph.svg", b"<svg"), ("graph.png", b"\x89PNG"), ("graph.txt", b"luck")):
        file = filled.folder / name
        assert str(file) in filled.ok("graph", "--around", "fortune", "--output", file).err
        assert file.read_bytes().startswith(begins)
    drawn = filled.ok("graph", "--format", "json").json
    assert {"upstream": "orders.raw", "assetId": "orders.daily", "kind": "triggers"} in drawn["edges"]


def test_what_was_produced_outside_is_recorded_and_can_expire(filled: Place) -> None:
    assert filled.ok("emit", "asset.produced", "--asset", "orders.raw").out == "orders.raw version 1\n"
    more = ("--data-version", "x", "--payload", '{"rows": 3}', "--produced-at", "2026-01-01T00:00:00+01:00")
    made = filled.ok("emit", "asset.produced", "--asset", "orders.daily", *more, "--json").json
    assert made == {
        "assetId": "orders.daily",
        "partitionKey": None,
        "version": 1,
        "changed": True,
        "duplicate": False,
    }
    (entry,) = filled.ok("history", "orders.daily", "--json").json
    assert entry["producedAt"] == "2025-12-31T23:00:00.000Z"
    assert (entry["payload"], entry["dataVersion"], entry["inputs"]) == ({"rows": 3}, "x", {"orders.raw": 1})

    same = filled.ok("emit", "asset.produced", "--asset", "orders.daily", "--data-version", "x")
    assert "the same as before" in same.out

    expired = filled.ok("emit", "asset.expired", "--asset", "orders.daily")
    assert expired.out == "orders.daily version 2 expired\n"
    assert "had expired already" in filled.ok("emit", "asset.expired", "--asset", "orders.daily").out
    shown = filled.ok("debug", "orders.daily", "--json")
    assert "no service is running" in shown.err
    (partition,) = shown.json["partitions"]
    assert (shown.json["live"], partition["state"], partition["version"]) == (False, "expired", 2)


def test_an_event_may_be_repeated_with_its_key(filled: Place) -> None:
    args = ("emit", "asset.produced", "--asset", "orders.raw", "--dedupe-key", "file-7")
    filled.ok(*args)
    assert filled.ok(*args).out == "orders.raw version 1 (recorded before; nothing new)\n"


def test_an_asset_that_no_workflow_knows_is_recorded_with_a_note(filled: Place) -> None:
    answer = filled.ok("emit", "asset.produced", "--asset", "orders.row")
    assert answer.out == "orders.row version 1\n"
    assert "no workflow knows asset 'orders.row'" in answer.err
    assert "did you mean 'orders.raw'" in answer.err


def test_an_event_that_is_too_large_is_refused(filled: Place) -> None:
    answer = filled.run("emit", "asset.produced", "--asset", "orders.raw", "--payload", f'"{"x" * 300_000}"')
    assert (answer.code, answer.out) == (2, "")
    assert "at most 262144 are allowed" in answer.err
    assert filled.run("history", "orders.raw", "--json").json == []


def test_a_partition_key_must_fit(filled: Place) -> None:
    answer = filled.run("emit", "asset.produced", "--asset", "orders.store", "--partition", "c")
    assert answer.code == 2
    assert "asset 'orders.store': partition key 'c' is unknown; expected one of 'a', 'b'" in answer.err
    assert filled.run("emit", "asset.produced", "--asset", "orders.store").code == 2
    assert filled.run("emit", "asset.produced", "--asset", "orders.daily", "--partition", "a").code == 2
    # Nobody here declares the partitions of what is made outside.
    assert filled.ok("emit", "asset.produced", "--asset", "orders.raw", "--partition", "a").out.startswith(
        "orders.raw@a"
    )


def test_what_was_never_produced_cannot_expire(filled: Place) -> None:
    answer = filled.run("emit", "asset.expired", "--asset", "orders.daily")
    assert (answer.code, answer.out) == (1, "")
    assert "orders.daily was never produced" in answer.err


def test_a_run_asked_for_waits_for_a_service_and_can_be_canceled(filled: Place) -> None:
    asked = filled.ok("trigger", "daily", "--param", "full=true", "--param", "note=by hand")
    run_id = asked.out.strip()
    assert f"no service is running; run {run_id} starts when one does" in asked.err
    (listed,) = filled.ok("runs", "--trigger", "manual", "--workflow", "daily", "--status", "queued", "--json").json
    assert listed["runId"] == run_id
    assert listed["trigger"] == {"type": "manual", "reason": "cli", "assetId": None}
    assert listed["parameters"] == {"asset": "orders.daily", "full": True, "note": "by hand"}
    assert (listed["startedAt"], listed["endedAt"], listed["error"]) == (None, None, None)
    assert filled.ok("cancel", run_id).out == f"canceled {run_id}\n"
    again = filled.run("cancel", run_id)
    assert again.code == 1
    assert "is over: it was canceled" in again.err
    shown = filled.ok("run", run_id, "--json").json
    assert (shown["status"], shown["steps"]) == ("canceled", [])
    assert "canceled" in filled.ok("run", run_id).out


def test_waiting_for_a_run_that_nobody_starts_ends_with_1(filled: Place) -> None:
    answer = filled.run("trigger", "daily", "--wait", "0.2", "--json")
    assert answer.code == 1
    assert answer.json["status"] == "queued"
    assert "still queued after 0.2 seconds" in answer.err


@pytest.mark.parametrize(
    ("args", "code", "said"),
    [
        (("trigger", "dayli"), 1, "there is no workflow 'dayli'; did you mean 'daily'?"),
        (("trigger", "daily", "--partition", "a"), 2, "'daily' makes no partitioned asset"),
        (("trigger", "by-store"), 2, "a partition key is missing; expected one of 'a', 'b'"),
        (("trigger", "by-store", "--partition", "c"), 2, "partition key 'c' is unknown"),
        (("trigger", "by-store", "--partition", "a", "--remember"), 2, "give --partition and --param"),
        (("run", "run-none"), 1, "there is no run 'run-none'"),
        (("cancel", "run-none"), 1, "there is no run 'run-none'"),
        (("history", "orders.dayly"), 1, "did you mean 'orders.daily'"),
        (("resume", "orders.dayly"), 1, "did you mean 'orders.daily'"),
        (("debug", "orders.dayly"), 1, "did you mean 'orders.daily'"),
        (("debug", "orders.daily", "--partition", "x"), 1, "has no partition 'x'"),
    ],
)
def test_a_refusal_says_what_to_do_and_leaves_nothing(
    filled: Place, args: tuple[str, ...], code: int, said: str
) -> None:
    answer = filled.run(*args)
    assert (answer.code, answer.out) == (code, "")
    assert said in answer.err
    assert answer.err.startswith(("error: ", "note: "))
    assert filled.ok("runs", "--json").json == []


def test_a_partition_brings_its_parameters(filled: Place) -> None:
    filled.ok("trigger", "by-store", "--partition", "a", "--param", "partitionKey=mine")
    (listed,) = filled.ok("runs", "--json").json
    assert (listed["partitionKey"], listed["parameters"]["partitionKey"]) == ("a", "a")


def test_parameters_of_a_partition_can_be_remembered(filled: Place) -> None:
    filled.ok("trigger", "by-store", "--partition", "a", "--param", "region=eu", "--remember")
    filled.ok("trigger", "by-store", "--partition", "a")
    filled.ok("trigger", "by-store", "--partition", "b")
    listed = filled.ok("runs", "--json").json
    assert [(r["partitionKey"], r["parameters"].get("region")) for r in listed] == [
        ("b", None),
        ("a", "eu"),
        ("a", "eu"),
    ]


def test_nothing_to_resume_is_no_error(filled: Place) -> None:
    assert "there was nothing to forget" in filled.ok("resume", "orders.daily").out
    assert filled.ok("resume", "orders.daily", "--json").json["cleared"] == 0


def test_the_state_of_all_assets_comes_from_the_catalog(filled: Place) -> None:
    filled.ok("emit", "asset.produced", "--asset", "orders.raw")
    states = {a["assetId"]: [p["state"] for p in a["partitions"]] for a in filled.ok("debug", "--json").json["assets"]}
    assert states["orders.raw"] == ["fresh"]
    assert states["orders.daily"] == ["missing"]
    text = filled.ok("debug").out
    assert [line.split()[0] for line in text.splitlines()][1:] == sorted(states)


def test_a_terminal_without_unicode_gets_codes(filled: Place) -> None:
    filled.ok("emit", "asset.produced", "--asset", "orders.raw", "--partition", "Zürich")
    done = subprocess.run(
        [sys.executable, "run.py", "history", "orders.raw", "--config", str(filled.settings)],
        cwd=ROOT,
        capture_output=True,
        timeout=60,
        check=False,
        env={**os.environ, "PYTHONIOENCODING": "ascii"},
    )
    assert done.returncode == 0
    assert b"Z\\xfcrich" in done.stdout


def test_a_server_that_is_not_there_is_named(tmp_path: Path) -> None:
    place = make_place(tmp_path, redis='url = "redis://127.0.0.1:1/0"\nsocket_timeout_seconds = 0.2')
    answer = place.run("runs")
    assert (answer.code, answer.out) == (1, "")
    assert answer.err.startswith("error: redis://127.0.0.1:1/0 cannot be reached")


def test_a_data_folder_that_cannot_be_used_is_named(tmp_path: Path) -> None:
    place = make_place(tmp_path, redis="")
    (tmp_path / "data").write_text("a file where a folder should be")
    answer = place.run("runs")
    assert answer.code == 1
    assert answer.err.startswith(f"error: {tmp_path / 'data'} cannot be used")


def test_top_says_that_there_is_no_service(filled: Place) -> None:
    answer = filled.run("top")
    assert (answer.code, answer.out) == (1, "")
    assert answer.err.startswith("error: no service is running on ")

"""Commands beside a running service, which is a process of its own."""

from __future__ import annotations

import re
import subprocess
import sys
import urllib.request
from pathlib import Path
from typing import Any
from unittest.mock import ANY

import pytest

from tests.integration.cli.conftest import ROOT, Place, make_place

pytestmark = pytest.mark.integration


def _over(runs: list[dict[str, Any]]) -> bool:
    return bool(runs) and all(run["endedAt"] is not None for run in runs)


def test_an_update_from_outside_starts_a_run_and_every_command_tells_of_it(place: Place) -> None:
    with place.service():
        status = place.ok("status", "--json").json
        assert (status["active"], status["wanted"], status["queuedRunIds"]) == ([], [], [])
        assert place.ok("status").out.startswith("running since ")

        place.ok("emit", "asset.produced", "--asset", "orders.raw")
        (run,) = place.until(_over, "runs", "--trigger", "auto-materialize", "--workflow", "daily")
        assert run["status"] == "succeeded"
        assert run["trigger"]["reason"] == "upstream-updated"
        assert run["trigger"]["upstream"] == [{"assetId": "orders.raw", "partitionKey": None, "version": 1}]

        shown = place.ok("run", run["runId"], "--json").json
        (step,) = shown["steps"]
        assert (step["status"], shown["inputs"]) == ("succeeded", {"orders.raw": 1})
        assert "making orders.daily" in step["stdoutTail"]
        text = place.ok("run", run["runId"]).out
        assert "    making orders.daily" in text.splitlines()
        for followed in ((), ("--follow", "--step", "make")):
            logs = place.ok("logs", run["runId"], *followed)
            assert "make | making orders.daily" in logs.out.splitlines()
            assert logs.err == f"note: run {run['runId']} ended as succeeded\n"
        assert "there is no step 'mak'; did you mean 'make'?" in place.run("logs", run["runId"], "--step", "mak").err

        (audited,) = place.ok("audit", "--json").json
        assert audited["runId"] == run["runId"]
        assert run["runId"] in place.ok("audit").out
        (entry,) = place.ok("history", "orders.daily", "--json").json
        assert (entry["runId"], entry["inputs"]) == (run["runId"], {"orders.raw": 1})

        asset = place.until(lambda a: a["partitions"][0]["state"] == "fresh", "debug", "orders.daily")
        (partition,) = asset["partitions"]
        assert (asset["live"], asset["workflowSlug"], partition["version"]) == (True, "daily", 1)
        assert partition["inputs"]["orders.raw"] == {"read": 1, "latest": 1, "stale": False}
        decided = [(d["decision"], d["reason"]) for d in partition["decisions"]]
        assert ("materialize", "upstream-updated") in decided
        assert decided[0] == ("skip", "fresh")
        assert "from orders.raw: read v1" in place.ok("debug", "orders.daily").out
        # Nobody here makes it, so the catalog is asked.
        outside = place.ok("debug", "orders.raw", "--json").json
        assert [p["version"] for p in outside["partitions"]] == [1]
        assert "orders.daily" in place.ok("debug").out
        assert {w["source"] for w in place.ok("workflows", "--json").json} == {"file"}

    submitted = next(e for e in place.events() if e["event"] == "run submitted")
    assert submitted["because_of"] == "orders.raw v1"
    assert (submitted["workflow"], submitted["reason"]) == ("daily", "upstream-updated")
    assert any(e["event"] == "decision" and e["decision"] == "materialize" for e in place.events())


def test_a_run_by_hand_is_waited_for(place: Place) -> None:
    with place.service():
        done = place.ok("trigger", "by-store", "--partition", "b", "--wait", "60", "--json")
        assert (done.json["status"], done.json["partitionKey"]) == ("succeeded", "b")
        assert done.err == ""
        assert place.ok("history", "orders.store", "--json").json[0]["partitionKey"] == "b"

        failed = place.run("trigger", "failing", "--wait", "60")
        assert failed.code == 1
        assert failed.out.split()[1] == "failed"
        assert "no luck in run-" in failed.err


def test_a_queued_run_starts_when_a_service_does(filled: Place) -> None:
    run_id = filled.ok("trigger", "daily").out.strip()
    with filled.service():
        filled.until(lambda run: run["status"] == "succeeded", "run", run_id)


def test_a_run_that_goes_on_is_canceled(place: Place) -> None:
    with place.service():
        run_id = place.ok("trigger", "holding").out.strip()
        place.until(lambda run: run["status"] == "running", "run", run_id)
        active = place.until(lambda status: status["active"], "status")["active"]
        assert [run["runId"] for run in active] == [run_id]
        told = place.until(lambda told: told["active"] and told["active"][0]["goingOn"], "top")
        (holding,) = told["active"]
        assert (holding["stepsOver"], holding["steps"], holding["goingOn"][0]["stepId"]) == (0, 1, "hold")
        assert (told["activeCount"], told["leader"]["pid"], told["overview"]["slots"]["processes"]) == (1, ANY, 2)
        place.until(lambda told: told["stream"]["behind"] == 0, "top")
        assert "IN FLIGHT  1" in place.ok("top", "--once").out.splitlines()
        assert run_id in place.ok("cancel", run_id).out
        place.until(lambda run: run["status"] == "canceled", "run", run_id)
        assert place.run("cancel", run_id).code == 1


def test_a_suspended_asset_goes_on_after_resume(place: Place) -> None:
    with place.service():
        place.ok("emit", "asset.produced", "--asset", "luck")

        def is_suspended(asset: dict[str, Any]) -> bool:
            return bool(asset["partitions"][0]["state"] == "suspended")

        shown = place.until(is_suspended, "debug", "fortune")["partitions"][0]
        assert (shown["failures"], shown["budgetLeft"]) == (1, 0)
        assert "1 failed in a row" in place.ok("debug", "fortune").out
        assert place.ok("resume", "fortune", "--json").json["cleared"] == 1
        place.until(lambda runs: len(runs) == 2 and _over(runs), "runs", "--workflow", "failing")
        place.until(is_suspended, "debug", "fortune")
        status = place.ok("status", "--json").json["overview"]
        assert (status["stale"], status["waiting"]) == (1, {"suspended": 1})
        assert [(each["assetId"], each["failures"]) for each in status["failing"]] == [("fortune", 1)]
        assert [run["workflowSlug"] for run in status["failedRuns"]] == ["failing", "failing"]
        assert "fortune  (failing; kept fresh)  suspended" in place.ok("graph").out
    assert any(e["event"] == "suspended" and e["level"] == "warning" for e in place.events())


def test_metrics_count_what_happened(place: Place, unused_port: int) -> None:
    with place.service(env={"HEADWATER_METRICS__PORT": str(unused_port)}):
        place.ok("emit", "asset.produced", "--asset", "orders.raw")
        place.until(_over, "runs", "--workflow", "daily")
        wanted = 'headwater_auto_runs_total{outcome="succeeded",reason="upstream-updated",workflow="daily"} 1.0'

        def scrape() -> list[str]:
            with urllib.request.urlopen(f"http://127.0.0.1:{unused_port}/metrics", timeout=10) as answer:
                text: str = answer.read().decode()
                return text.splitlines()

        place.until(lambda _: wanted in scrape(), "status")
        (waited,) = [line.split()[1] for line in scrape() if line.startswith("headwater_mailbox_seconds ")]
        assert 0 < float(waited) < 5


def test_the_service_with_its_own_server_shares_it_with_commands(tmp_path: Path) -> None:
    place = make_place(tmp_path, redis="")
    with place.service() as first:
        second = subprocess.run(
            [sys.executable, "run.py", "--config", str(place.settings)],
            cwd=ROOT,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert second.returncode == 1
        assert re.search(rf"error: .*data is in use by the service with pid {first.pid}", second.stderr)
        assert "Traceback" not in second.stderr
        place.ok("emit", "asset.produced", "--asset", "orders.raw")
        place.until(_over, "runs")
    # The service has gone, and what it did is still there.
    assert [run["status"] for run in place.ok("runs", "--json").json] == ["succeeded"]


def test_a_process_prints_nothing_but_the_answer(filled: Place) -> None:
    done = subprocess.run(
        [sys.executable, "run.py", "trigger", "dayli", "--config", str(filled.settings)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == "error: there is no workflow 'dayli'; did you mean 'daily'?\n"

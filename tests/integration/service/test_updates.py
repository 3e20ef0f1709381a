"""What an update starts, and what it does not."""

from __future__ import annotations

from actors.catalog.events import AssetProduced
from actors.catalog.store import RunStatus
from tests.integration.service.driver import Service, eventually
from tests.integration.service.workflows import produce, workflow


def produced(service: Service, asset_id: str) -> list[AssetProduced]:
    return [
        event
        for event in service.events("asset.produced")
        if isinstance(event, AssetProduced) and event.asset_id == asset_id
    ]


def test_a_run_publishes_each_asset_that_it_produced_exactly_once(running: Service) -> None:
    running.put(workflow("pub-both", produce("pub.one", None), produce("pub.two", None)))
    run_id = running.trigger("pub-both")
    running.wait_runs("pub-both", RunStatus.SUCCEEDED)
    running.wait_idle()
    for asset_id in ("pub.one", "pub.two"):
        (event,) = produced(running, asset_id)
        assert (event.version, event.run_id, event.workflow_slug, event.step_id) == (1, run_id, "pub-both", "make")
        (entry,) = running.store.history(asset_id)
        assert entry.materialization.run_id == run_id
        assert entry.payload == {"maker": "first"}
    record = running.store.run(run_id)
    assert record is not None
    assert {(made.asset_id, made.version) for made in record.produced} == {("pub.one", 1), ("pub.two", 1)}
    assert record.trigger == {"type": "manual", "reason": "test"}


def test_an_outsiders_production_is_recorded_and_published_exactly_once(running: Service) -> None:
    running.put(workflow("seen", consumes=["seen.raw"]))
    running.emit("seen.raw")
    entry_id = running.append(
        type="asset.produced", data='{"assetId": "seen.raw", "producedAt": "2026-01-01T00:00:00Z", "payload": [1]}'
    )
    eventually(lambda: len(running.store.history("seen.raw")) == 2, f"entry {entry_id} is recorded")
    running.wait_idle()
    assert [event.version for event in produced(running, "seen.raw")] == [1, None, 2]
    assert running.latest("seen.raw").payload == [1]
    assert running.latest("seen").materialization.inputs == {"seen.raw": 2}


def test_L2_an_update_starts_opted_in_dependents_and_no_others(running: Service) -> None:
    running.put(workflow("opt-in", consumes=["opt.raw"]))
    running.put(
        workflow("opt-out", produce("opt-out", {"enabled": False, "onUpstreamUpdate": True}), consumes=["opt.raw"])
    )
    running.put(workflow("opt-none", produce("opt-none", None), consumes=["opt.raw"]))
    running.put(workflow("opt-expiry-only", produce("opt-expiry-only", {}), consumes=["opt.raw"]))
    running.put(workflow("opt-other", consumes=["opt.other"]))
    running.put(workflow("opt-below", consumes=["opt-in"]))
    running.emit("opt.raw")
    running.wait_runs("opt-below", RunStatus.SUCCEEDED)
    running.wait_idle()
    started = {call.workflow for call in running.calls if call.workflow.startswith("opt-")}
    assert started == {"opt-in", "opt-below"}
    assert len(running.begun("opt-in")) == len(running.begun("opt-below")) == 1


def test_an_automatic_run_has_its_trigger_its_cause_layered_parameters_and_an_audit_entry(running: Service) -> None:
    auto = {"onUpstreamUpdate": True, "parameterDefaults": {"b": "auto", "c": "auto"}}
    running.put(workflow("why", produce("why", auto), consumes=["why.raw"], defaults={"a": "default", "b": "default"}))
    version = running.emit("why.raw").version
    (run,) = running.wait_runs("why", RunStatus.SUCCEEDED)
    assert run.trigger["type"] == "auto-materialize"
    assert run.trigger["reason"] == "upstream-updated"
    assert run.trigger["upstream"] == [{"assetId": "why.raw", "partitionKey": None, "version": version}]
    (call,) = running.begun("why")
    assert call.parameters == {"a": "default", "b": "auto", "c": "auto"}
    assert call.trigger == run.trigger
    (entry,) = [entry for entry in running.store.audit(limit=1_000) if entry.workflow_slug == "why"]
    assert (entry.run_id, entry.trigger) == (run.run_id, run.trigger)


def test_L1_L2_ten_updates_during_a_run_cause_one_more_run_made_from_the_last(running: Service) -> None:
    running.put(workflow("busy", consumes=["busy.raw"]))
    running.hold("busy")
    running.emit("busy.raw")
    running.wait_begun("busy")
    for _ in range(10):
        last = running.emit("busy.raw").version
    running.release("busy")
    running.wait_runs("busy", RunStatus.SUCCEEDED, 2)
    running.wait_idle()
    assert len(running.begun("busy")) == 2
    assert running.latest("busy").materialization.inputs == {"busy.raw": last}


def test_L3_an_update_between_the_start_of_a_run_and_its_end_makes_its_output_stale(running: Service) -> None:
    running.put(workflow("read", consumes=["read.raw"]))
    running.hold("read")
    running.emit("read.raw")
    running.wait_begun("read")
    running.emit("read.raw")
    running.release("read")
    running.wait_runs("read", RunStatus.SUCCEEDED, 2)
    inputs = [entry.materialization.inputs for entry in running.store.history("read")]
    assert inputs == [{"read.raw": 2}, {"read.raw": 1}]


def test_L4_in_a_diamond_one_update_runs_the_last_once_after_both(running: Service) -> None:
    running.put(workflow("dia-b", consumes=["dia.a"]))
    running.put(workflow("dia-c", consumes=["dia.a"]))
    running.put(workflow("dia-d", consumes=["dia-b", "dia-c"]))
    running.wait_idle()
    for round_number in (1, 2):
        # The slow side ends when the fast one has long been recorded.
        running.hold("dia-c")
        running.emit("dia.a")
        running.wait_runs("dia-b", RunStatus.SUCCEEDED, round_number)
        running.wait_begun("dia-c", round_number)
        eventually(lambda: running.partition("dia-d").get("pendingUpstreams"), "dia-d waits")
        assert len(running.begun("dia-d")) == round_number - 1
        running.release("dia-c")
        running.wait_runs("dia-d", RunStatus.SUCCEEDED, round_number)
        running.wait_idle()
        assert len(running.begun("dia-d")) == round_number
        assert running.latest("dia-d").materialization.inputs == {"dia-b": round_number, "dia-c": round_number}


def test_L4_the_last_of_a_diamond_runs_without_the_side_that_failed(running: Service) -> None:
    slow = {"onUpstreamUpdate": True, "backoff": {"baseMs": 600_000, "maxMs": 600_000, "jitter": False}}
    running.put(workflow("half-b", consumes=["half.a"]))
    running.put(workflow("half-c", produce("half-c", slow), consumes=["half.a"]))
    running.put(workflow("half-d", consumes=["half-b", "half-c"]))
    running.fail("half-c")
    running.emit("half.a")
    running.wait_runs("half-d", RunStatus.SUCCEEDED)
    assert running.latest("half-d").materialization.inputs == {"half-b": 1, "half-c": 0}


def test_L5_the_same_data_version_starts_nothing_below(running: Service) -> None:
    running.put(workflow("cut-b", consumes=["cut.a"]))
    running.put(workflow("cut-c", consumes=["cut-b"]))
    running.set_data_version("cut-b", "v1")
    running.emit("cut.a")
    running.wait_runs("cut-c", RunStatus.SUCCEEDED)
    running.emit("cut.a")
    running.wait_runs("cut-b", RunStatus.SUCCEEDED, 2)
    running.wait_idle()
    assert len(running.begun("cut-c")) == 1
    running.set_data_version("cut-b", "v2")
    running.emit("cut.a")
    running.wait_runs("cut-c", RunStatus.SUCCEEDED, 2)
    assert len(running.begun("cut-b")) == 3


def test_an_edge_inside_one_workflow_is_no_trigger(running: Service) -> None:
    definition = workflow("inner", produce("inner.mid"), consumes=["inner.raw"])
    (first,) = definition["steps"]
    # The second step makes nothing of its own accord: only its declaration counts here.
    second = {
        **first,
        "id": "again",
        "dependsOn": ["make"],
        "consumes": [{"assetId": "inner.mid"}],
        "produces": [produce("inner.out")],
        "parameters": {"assets": ["inner.out"]},
    }
    running.put({**definition, "steps": [first, second]})
    running.emit("inner.raw")
    running.wait_runs("inner", RunStatus.SUCCEEDED)
    running.wait_idle()
    assert len(running.runs("inner")) == 1
    assert running.latest("inner.out").materialization.inputs == {"inner.raw": 1}

"""Definitions that change while the service runs, or while it starts."""

from __future__ import annotations

from actors import system
from actors.catalog.store import RunStatus
from actors.settings import load_settings
from tests.integration.service.driver import Service, eventually, now_ms
from tests.integration.service.workflows import produce, workflow


def wait_known(service: Service, slug: str, *, known: bool = True) -> None:
    eventually(lambda: (service.store.workflow(slug) is not None) is known, f"the catalog knows {slug}: {known}")


def test_a_new_file_and_a_changed_one_take_effect_without_a_restart(running: Service) -> None:
    running.write(workflow("new", consumes=["new.one"]))
    wait_known(running, "new")
    running.emit("new.one")
    running.wait_runs("new", RunStatus.SUCCEEDED)

    running.write(workflow("new", consumes=["new.two"], defaults={"note": "changed"}))
    eventually(lambda: "new.two" in _upstreams(running, "new"), "the catalog has the change")
    running.emit("new.one")
    running.emit("new.two")
    running.wait_runs("new", RunStatus.SUCCEEDED, 2)
    running.wait_idle()
    assert [call.parameters for call in running.begun("new")] == [{}, {"note": "changed"}]
    assert running.latest("new").materialization.inputs == {"new.two": 1}


def test_a_definition_put_by_command_takes_effect_without_a_restart(running: Service) -> None:
    running.put(workflow("cmd", consumes=["cmd.one"]))
    running.emit("cmd.one")
    running.wait_runs("cmd", RunStatus.SUCCEEDED)
    running.put(workflow("cmd", produce("cmd", None), consumes=["cmd.one"]))
    running.wait_idle()
    running.emit("cmd.one")
    running.wait_idle()
    assert len(running.runs("cmd")) == 1


def test_opting_in_later_catches_up_with_what_happened_before(running: Service) -> None:
    running.put(workflow("later", produce("later", None), consumes=["later.raw"]))
    running.emit("later.raw")
    running.wait_idle()
    assert running.runs("later") == []
    running.put(workflow("later", consumes=["later.raw"]))
    running.wait_runs("later", RunStatus.SUCCEEDED)


def test_removing_the_file_retires_its_assets(service: Service) -> None:
    service.write(workflow("gone", produce("gone", freshness={"ttlMs": 200}), consumes=["gone.raw"]))
    service.write(workflow("stays", consumes=["gone.raw"]))
    service.start()
    service.emit("gone.raw")
    service.wait_runs("gone", RunStatus.SUCCEEDED, 2)
    (service.workflows_dir / "gone.json").unlink()
    wait_known(service, "gone", known=False)
    service.wait_idle()
    before = len(service.runs("gone"))
    made = service.latest("gone").materialization
    eventually(lambda: _is_past(made.produced_at_ms + 200), "it would have expired")
    service.emit("gone.raw")
    service.wait_runs("stays", RunStatus.SUCCEEDED, 2)
    service.wait_idle()
    assert len(service.runs("gone")) == before


def test_a_broken_file_retires_nothing_and_the_others_go_on(service: Service) -> None:
    service.write(workflow("whole", consumes=["raw"]), workflow("torn", consumes=["raw"]))
    service.start()
    service.write_text("torn.json", '{"slug": "torn", ')
    eventually(lambda: service.logged("definition.refused"), "the broken file is refused")
    service.write(workflow("whole", consumes=["raw"], defaults={"note": "changed"}))
    eventually(lambda: service.store.workflow("whole") and _note(service, "whole") == "changed", "whole is changed")
    service.emit("raw")
    service.wait_runs("whole", RunStatus.SUCCEEDED)
    service.wait_runs("torn", RunStatus.SUCCEEDED)
    assert service.begun("whole")[0].parameters == {"note": "changed"}
    (refused, *_) = service.logged("definition.refused")
    assert "torn.json" in refused["where"]


def test_a_file_that_is_broken_at_the_start_does_not_keep_the_others_from_running(service: Service) -> None:
    service.write_text("bad.yaml", "slug: [")
    service.write_text("empty.json", "")
    service.write_text("list.json", "[]")
    service.write(workflow("good", consumes=["raw"]))
    service.start()
    assert {line["where"].rpartition("/")[2] for line in service.logged("definition.refused")} == {
        "bad.yaml",
        "empty.json",
        "list.json",
    }
    service.emit("raw")
    service.wait_runs("good", RunStatus.SUCCEEDED)


def test_a_file_that_closes_a_cycle_is_refused_with_its_path(running: Service) -> None:
    running.write(workflow("cyc-a", consumes=["cyc-b"]))
    wait_known(running, "cyc-a")
    running.write(workflow("cyc-b", consumes=["cyc-a"]))
    eventually(lambda: [r for r in running.logged("definition.refused") if r["where"] == "cyc-b"], "it is refused")
    (refused, *_) = [r for r in running.logged("definition.refused") if r["where"] == "cyc-b"]
    assert "cyc-a -> cyc-b" in refused["reason"] or "cyc-b -> cyc-a" in refused["reason"]
    assert running.store.workflow("cyc-b") is None


def test_a_file_that_is_renamed_keeps_its_workflow(running: Service) -> None:
    running.write(workflow("named", consumes=["named.raw"]))
    wait_known(running, "named")
    (running.workflows_dir / "named.json").rename(running.workflows_dir / "other-name.json")
    running.write(workflow("named-probe"))
    wait_known(running, "named-probe")
    running.emit("named.raw")
    running.wait_runs("named", RunStatus.SUCCEEDED)


def _upstreams(service: Service, slug: str) -> tuple[str, ...]:
    definition = service.store.workflow(slug)
    return definition.to_spec().upstreams if definition is not None else ()


def _note(service: Service, slug: str) -> object:
    definition = service.store.workflow(slug)
    return definition.default_parameters.get("note") if definition is not None else None


def _is_past(at_ms: int) -> bool:
    return now_ms() > at_ms


def test_an_asset_that_becomes_partitioned_does_not_run_for_what_it_was_before(running: Service) -> None:
    fresh = {"ttlMs": 50}
    running.put(workflow("cutup", produce("cutup", None, freshness=fresh)))
    running.emit("cutup")
    daily = {"type": "timeWindow", "granularity": "day"}
    running.put(workflow("cutup", produce("cutup", {}, freshness=fresh, partitioning=daily)))
    running.put(workflow("cutup-probe", consumes=["cutup-probe.raw"]))
    for count in (1, 2):
        running.emit("cutup-probe.raw")
        running.wait_runs("cutup-probe", RunStatus.SUCCEEDED, count)
    running.wait_idle()
    assert running.runs("cutup") == []


def test_an_asset_that_moves_to_another_workflow_is_made_there(running: Service) -> None:
    running.put(workflow("from", produce("moved"), consumes=["moved.raw"]))
    running.emit("moved.raw")
    running.wait_runs("from", RunStatus.SUCCEEDED)
    running.store.remove_workflow("from")
    running.put(workflow("to", produce("moved"), consumes=["moved.raw"]))
    running.emit("moved.raw")
    running.wait_runs("to", RunStatus.SUCCEEDED)
    running.wait_idle()
    assert len(running.runs("from")) == 1
    assert running.latest("moved").materialization.inputs == {"moved.raw": 2}


def test_removing_a_workflow_while_it_runs_lets_the_run_end_and_starts_no_other(running: Service) -> None:
    running.put(workflow("cut-off", consumes=["cut-off.raw"]))
    running.hold("cut-off")
    running.emit("cut-off.raw")
    running.wait_begun("cut-off")
    running.emit("cut-off.raw")
    running.store.remove_workflow("cut-off")
    running.release("cut-off")
    running.wait_idle()
    assert [run.status.is_over for run in running.runs("cut-off")] == [True]


def test_a_file_that_is_written_during_the_start_is_not_overlooked(service: Service) -> None:
    class Interrupted(system.Service):
        def _prepare_to_lead(self) -> None:
            service.write(workflow("meanwhile"))
            super()._prepare_to_lead()

    settings = load_settings([service.config_file], environ={})
    hosted = Interrupted(settings, service.catalog, give_up=lambda reason: None)
    hosted.start()
    try:
        wait_known(service, "meanwhile")
    finally:
        hosted.stop()

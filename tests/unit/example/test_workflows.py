"""The example's workflow and job files fit the service and each other."""

from __future__ import annotations

import importlib
import tomllib
from pathlib import Path

import pytest

from actors.catalog.definitions import WorkflowDefinition, parse_definition
from actors.core.graph import Graph
from tests.unit.example.river import JOBS, WORKFLOWS

FILES = sorted(path for path in WORKFLOWS.iterdir() if path.suffix in {".json", ".yaml"})


def read(path: Path) -> WorkflowDefinition:
    return parse_definition(path.read_text(), source=path.name, format="json" if path.suffix == ".json" else "yaml")


@pytest.fixture(scope="module")
def graph() -> Graph:
    return Graph(read(path).to_spec() for path in FILES)


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_a_workflow_is_named_as_its_file_and_read_without_a_warning(path: Path) -> None:
    definition = read(path)
    assert definition.slug == path.stem
    assert definition.description
    assert [str(problem) for problem in definition.warnings()] == []


def test_the_graph_is_a_chain_with_a_diamond_in_it(graph: Graph) -> None:
    assert {asset_id: node.spec and node.spec.upstreams for asset_id, node in graph.assets.items()} == {
        "gauges.raw": (),
        "gauges.clean": ("gauges.raw",),
        "gauges.hourly": ("gauges.clean",),
        "gauges.alerts": ("gauges.clean",),
        "river.report": ("gauges.alerts", "gauges.hourly"),
        "river.forecast": ("river.report",),
    }


def test_every_asset_but_the_first_follows_its_upstreams(graph: Graph) -> None:
    for asset_id, node in graph.assets.items():
        assert node.spec is not None
        assert node.spec.auto is not None
        assert node.spec.considered == node.spec.upstreams, asset_id
    first = graph.assets["gauges.raw"].spec
    assert first is not None
    assert first.auto is not None
    assert first.auto.on_missing
    assert first.freshness.cadence_ms == 4000


def test_every_job_that_a_step_calls_exists() -> None:
    jobs = tomllib.loads((JOBS / "river.toml").read_text())["jobs"]
    called = {step.job_slug for path in FILES for step in read(path).steps}
    assert called == set(jobs)
    for job in jobs.values():
        assert (JOBS / job["cwd"]).resolve() == JOBS.parents[1]
        if "python" in job:
            module, function = job["python"].split(":")
            assert callable(getattr(importlib.import_module(module), function))
        else:
            assert (JOBS / job["cwd"] / job["command"][1]).is_file()


def test_every_default_parameter_is_described() -> None:
    for path in FILES:
        definition = read(path)
        described = definition.parameters_schema["properties"]
        assert isinstance(described, dict)
        assert set(definition.default_parameters) <= set(described)

"""Every example can be read by what it is an example for."""

from __future__ import annotations

import ast
import importlib
import inspect
import json
import time
import tomllib
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import yaml

from actors.catalog.declarations import AssetDeclaration
from actors.catalog.definitions import parse_definition
from actors.catalog.documents import Format
from actors.catalog.events import AssetProduced, parse_entry
from actors.catalog.sections import Section
from actors.catalog.store import RunRecord, RunStatus
from actors.client import Client
from actors.core.graph import AssetSpec, Graph, WorkflowSpec
from actors.core.partitions import DynamicPartitioning
from actors.execution.jobs import JobRegistry
from actors.execution.results import materializations
from actors.interfaces.http.cloudevents import STRUCTURED, read_events
from actors.interfaces.openlineage_names import HEADWATER_PRODUCER
from actors.settings import load_settings
from tests.unit.docs.markdown import ROOT, Block, all_blocks, blocks
from tests.unit.interfaces.outgoing.test_openlineage import check_by_client

OUTSIDE = ROOT / "docs" / "how-to" / "events-from-outside.md"
DECLARED = frozenset({"freshness", "partitioning", "autoMaterialize"})


def name(block: Block) -> str:
    return block.name


@pytest.mark.parametrize("block", all_blocks("json", "yaml"), ids=name)
def test_json_and_yaml(block: Block) -> None:
    form: Format = "yaml" if block.language == "yaml" else "json"
    value: Any = yaml.safe_load(block.text) if form == "yaml" else json.loads(block.text)
    if "steps" in value and "slug" in value:
        assert parse_definition(block.text, source=block.name, format=form).warnings() == ()
    elif value.keys() <= DECLARED:
        assert_known(AssetDeclaration.model_validate({"assetId": "example", **value}))
    elif "assets" in value:
        check_result(value)
    elif "specversion" in value:
        read_events({"content-type": STRUCTURED}, block.text.encode(), Graph(), int(time.time() * 1000))
    elif value.get("producer") == HEADWATER_PRODUCER:
        check_by_client(value)
    elif "expiresAt" in value:
        parse_entry({b"type": b"asset.expired", b"data": block.text.encode()})
    elif "apiVersion" in value:
        # What is given to Kubernetes: that it reads the variables of the settings is all that is ours.
        assert "HEADWATER_" in block.text
    else:
        # A line of the log, or a trigger: what the service writes.
        assert value.keys() & {"event", "reason"}


@pytest.mark.parametrize("block", all_blocks("toml"), ids=name)
def test_toml(block: Block, tmp_path: Path) -> None:
    file = tmp_path / "example.toml"
    file.write_text(block.text, encoding="utf-8")
    if "jobs" in tomllib.loads(block.text):
        assert JobRegistry.load(tmp_path).problems == ()
    else:
        load_settings([file], {})


@pytest.mark.parametrize("block", all_blocks("python"), ids=name)
def test_python(block: Block) -> None:
    compile(block.text, block.name, "exec")
    assert list(missing(ast.parse(block.text))) == []


def missing(tree: ast.AST) -> Iterator[str]:
    """What is imported of the project and is not there; calls of the Python client that it would not take."""
    for node in ast.walk(tree):
        match node:
            case ast.ImportFrom(module=str(module)) if module.split(".")[0] == "actors":
                there = vars(importlib.import_module(module))
                yield from (f"{module}.{each.name}" for each in node.names if each.name not in there)
            case ast.Call(func=ast.Attribute(value=ast.Name(id="headwater"), attr=method)):
                named = {each.arg: None for each in node.keywords if each.arg}
                try:
                    inspect.signature(getattr(Client, method)).bind("self", *node.args, **named)
                except (AttributeError, TypeError) as error:
                    yield f"{ast.unparse(node)}: {error}"
            case _:
                pass


def test_an_example_that_is_out_of_date_would_be_seen() -> None:
    text = "from actors.client import Client, Clint\nheadwater.runs(limt=3)\nheadwater.asset()\nheadwater.cancel('r')"
    told = [each.partition(":")[0] for each in missing(ast.parse(text))]
    assert told == ["actors.client.Clint", "headwater.runs(limt=3)", "headwater.asset()"]


def test_the_event_for_the_stream_is_one() -> None:
    (block,) = [b for b in blocks(OUTSIDE) if "xadd" in b.text]
    assignment = next(
        node
        for node in ast.parse(block.text).body
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "event"
    )
    event = eval(ast.unparse(assignment.value), {"datetime": datetime, "UTC": UTC})
    parsed = parse_entry({b"type": b"asset.produced", b"data": json.dumps(event).encode()})
    assert isinstance(parsed, AssetProduced)
    assert json.loads(parsed.model_dump_json(by_alias=True)).keys() >= event.keys()


def assert_known(section: Section) -> None:
    """No key of the example is one that is merely kept."""
    assert not section.model_extra, f"{type(section).__name__} does not know {section.model_extra}"
    for field in type(section).model_fields:
        value = getattr(section, field)
        for item in value if isinstance(value, tuple) else (value,):
            if isinstance(item, Section):
                assert_known(item)


def check_result(result: dict[str, Any]) -> None:
    made = {entry["assetId"]: "partitionKey" in entry for entry in result["assets"]}
    specs = tuple(
        AssetSpec(asset_id, "w", "s", partitioning=DynamicPartitioning() if sliced else None)
        for asset_id, sliced in made.items()
    )
    run = RunRecord("run-1", "w", None, RunStatus.RUNNING, {}, {}, 0)
    now_ms = int(datetime.now(UTC).timestamp() * 1000)
    assert materializations(result, spec=WorkflowSpec("w", assets=specs), step_id="s", run=run, ended_at_ms=now_ms)

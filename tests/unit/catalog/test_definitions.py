"""Definitions: what loads, what is refused and where, and what is handed to `core`."""

from __future__ import annotations

import copy
import json
from collections.abc import Mapping
from typing import Any, Literal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from actors.catalog.definitions import DefinitionInvalid, Problem, WorkflowDefinition, parse_definition
from actors.core.backoff import BackoffPolicy, FailureBudget
from actors.core.freshness import FreshnessPolicy
from actors.core.graph import AssetSpec, When
from actors.core.mappings import MappingType, PartitionMapping
from actors.core.partitions import (
    DynamicPartitioning,
    Granularity,
    StaticPartitioning,
    TimeWindowPartitioning,
)
from actors.core.quiet_hours import QuietHours, QuietWindow

# As AppHub writes them: a key of its own here and there, nulls, a step of another type, its token spelling of formats.
APPHUB: dict[str, Any] = {
    "slug": "station-minute-ingest",
    "name": "Station Minute Ingest",
    "version": 3,
    "description": None,
    "parametersSchema": {"type": "object", "properties": {"minute": {"type": "string"}}, "required": ["minute"]},
    "defaultParameters": {"maxFiles": 64, "backendId": 1, "ratio": 0.5, "token": None},
    "outputSchema": {"type": "object"},
    "steps": [
        {
            "id": "normalize-inbox",
            "name": "Normalize inbox files",
            "type": "job",
            "jobSlug": "inbox-normalizer",
            "parameters": {"minute": "{{ parameters.minute }}", "limits": [1, 2, None]},
            "storeResultAs": "normalized",
            "bundle": {"slug": "inbox", "strategy": "latest"},
            "retryPolicy": {"maxAttempts": 3, "strategy": "exponential", "initialDelayMs": 0, "jitter": "full"},
            "consumes": [{"assetId": "station.inbox"}],
            "produces": [
                {
                    "assetId": "station.timeseries.raw",
                    "partitioning": {
                        "type": "timeWindow",
                        "granularity": "minute",
                        "format": "YYYY-MM-DDTHH:mm",
                        "lookbackWindows": 1440,
                    },
                    "schema": {"type": "object", "properties": {"rows": {"type": "number"}}},
                }
            ],
        },
        {
            "id": "load",
            "name": "Load",
            "jobSlug": "loader",
            "dependsOn": ["normalize-inbox"],
            "timeoutMs": 60000,
            "consumes": [{"assetId": "station.timeseries.raw"}, {"assetId": "station.calibration"}],
            "produces": [
                {
                    "assetId": "station.timeseries.store",
                    "freshness": {"ttlMs": 60000},
                    "autoMaterialize": {
                        "onUpstreamUpdate": True,
                        "priority": 5,
                        "parameterDefaults": {"maxFiles": 8},
                    },
                }
            ],
        },
    ],
    "triggers": [{"type": "manual"}, {"type": "schedule", "schedule": {"cron": "0 * * * *"}}],
    "metadata": {"owner": "hydrology", "tags": []},
}


def minimal(**changes: Any) -> dict[str, Any]:
    step = {"id": "s", "jobSlug": "j", "produces": [{"assetId": "made"}], "consumes": [{"assetId": "read"}]}
    return {"slug": "w", "name": "W", "steps": [step]} | changes


def with_produced(**changes: Any) -> dict[str, Any]:
    document = minimal()
    document["steps"][0]["produces"][0] |= changes
    return document


def with_auto(**changes: Any) -> dict[str, Any]:
    return with_produced(autoMaterialize=changes)


def with_step(**changes: Any) -> dict[str, Any]:
    document = minimal()
    document["steps"][0] |= changes
    return document


def load(document: Any) -> WorkflowDefinition:
    return parse_definition(json.dumps(document), source="w.json")


def spec_of(document: Any, asset_id: str = "made") -> AssetSpec:
    return next(spec for spec in load(document).to_spec().assets if spec.asset_id == asset_id)


def refusal(document: Any) -> list[tuple[str, str]]:
    with pytest.raises(DefinitionInvalid) as caught:
        load(document)
    return [(problem.path, problem.reason) for problem in caught.value.problems]


class TestReading:
    def test_what_was_read_is_written_back_without_the_nulls_of_known_keys(self) -> None:
        expected = copy.deepcopy(APPHUB)
        del expected["description"]

        assert json.loads(load(APPHUB).canonical_json()) == expected

    def test_the_canonical_text_reads_as_the_same_definition(self) -> None:
        definition = load(APPHUB)
        again = parse_definition(definition.canonical_json(), source="catalog")

        assert again == definition
        assert again.canonical_json() == definition.canonical_json()

    def test_unknown_keys_come_out_of_a_dump(self) -> None:
        dumped = load(APPHUB).model_dump(by_alias=True)

        assert dumped["outputSchema"] == {"type": "object"}
        assert dumped["steps"][0]["bundle"] == {"slug": "inbox", "strategy": "latest"}
        assert dumped["triggers"][1]["schedule"] == {"cron": "0 * * * *"}

    def test_yaml_says_the_same_as_json(self) -> None:
        text = """
            slug: w
            name: W
            steps:
              - id: s
                jobSlug: j
                produces: [{assetId: made}]
                consumes: [{assetId: read}]
        """
        assert parse_definition(text, source="w.yaml", format="yaml").content_hash == load(minimal()).content_hash

    def test_the_hash_ignores_the_order_of_keys_and_sees_every_change(self) -> None:
        turned = dict(reversed(APPHUB.items()))
        changed = copy.deepcopy(APPHUB)
        changed["steps"][0]["bundle"]["strategy"] = "pinned"

        assert load(turned).content_hash == load(APPHUB).content_hash
        assert load(changed).content_hash != load(APPHUB).content_hash

    def test_it_cannot_be_changed(self) -> None:
        with pytest.raises(ValueError, match="frozen"):
            load(minimal()).slug = "other"  # type: ignore[misc]

    def test_a_byte_order_mark_is_no_part_of_the_text(self) -> None:
        text = b"\xef\xbb\xbf" + json.dumps(minimal()).encode()
        assert parse_definition(text, source="w.json").slug == "w"

    def test_parameter_defaults(self) -> None:
        definition = load(APPHUB)

        assert definition.parameter_defaults("station.timeseries.store") == {"maxFiles": 8}
        assert definition.parameter_defaults("station.timeseries.raw") == {}
        assert definition.parameter_defaults("nobody.knows") == {}


class TestSpec:
    def test_an_asset_lies_below_what_its_step_and_those_before_it_read(self) -> None:
        spec = load(APPHUB).to_spec()

        assert {asset.asset_id: asset.upstreams for asset in spec.assets} == {
            "station.timeseries.raw": ("station.inbox",),
            "station.timeseries.store": ("station.calibration", "station.inbox"),
        }
        assert spec.consumed == {"station.inbox": None, "station.calibration": None}
        assert (spec.slug, spec.version) == ("station-minute-ingest", 3)

    def test_policies(self) -> None:
        document = with_produced(
            freshness={"ttlMs": 1, "cadenceMs": 2, "maxAgeMs": 3, "cron": "0 6 * * *", "timezone": "Europe/Berlin"},
            partitioning={"type": "static", "keys": ["a", "b"]},
            autoMaterialize={
                "onUpstreamUpdate": True,
                "priority": -1,
                "when": "all",
                "onMissing": True,
                "debounceMs": 10,
                "maxDelayMs": 20,
                "quietHours": {
                    "timezone": "Europe/Berlin",
                    "windows": [{"days": ["sat", "sun"], "start": "22:00", "end": "06:30"}],
                },
                "backoff": {"baseMs": 5, "maxMs": 50, "multiplier": 3, "jitter": False},
                "failureBudget": {"failures": 2, "coolOffMs": 7},
                "pool": "gpu",
                "upstream": {"only": ["read"]},
            },
        )
        spec = spec_of(document)

        assert spec.freshness == FreshnessPolicy(1, 2, 3, "0 6 * * *", "Europe/Berlin")
        assert spec.partitioning == StaticPartitioning(("a", "b"))
        auto = spec.auto
        assert auto is not None
        assert (auto.on_upstream_update, auto.priority, auto.when, auto.on_missing) == (True, -1, When.ALL, True)
        assert (auto.debounce_ms, auto.max_delay_ms, auto.pool) == (10, 20, "gpu")
        weekend = QuietWindow(frozenset({5, 6}), 22 * 60, 6 * 60 + 30)
        assert auto.quiet_hours == (QuietHours((weekend,), "Europe/Berlin"),)
        assert auto.backoff == BackoffPolicy(5, 50, 3.0, jitter=False)
        assert auto.failure_budget == FailureBudget(2, 7)
        assert (auto.only, auto.ignore) == (frozenset({"read"}), frozenset())

    def test_partition_mappings(self) -> None:
        def mappings(value: Any) -> tuple[PartitionMapping, Mapping[str, PartitionMapping]]:
            auto = spec_of(with_auto(onUpstreamUpdate=True, partitionMapping=value)).auto
            assert auto is not None
            return auto.mapping, auto.mappings

        latest, waiting = PartitionMapping(MappingType.LATEST), PartitionMapping(MappingType.WINDOW, wait_for_all=True)
        assert mappings(None) == (PartitionMapping(), {})
        assert mappings("latest") == (latest, {})
        assert mappings({"type": "window", "wait": "all"}) == (waiting, {})
        assert mappings({"wait": "all"}) == (PartitionMapping(wait_for_all=True), {})
        assert mappings({"read": "latest"}) == (PartitionMapping(), {"read": latest})
        assert mappings({"read": {"type": "latest"}, "*": {"type": "window", "wait": "all"}}) == (
            waiting,
            {"read": latest},
        )

    @pytest.mark.parametrize("value", ["nearest", {"type": "nearest"}, {"read": "nearest"}, {"wait": "some"}, 5, []])
    def test_a_mapping_that_is_none(self, value: Any) -> None:
        assert "partitionMapping" in refusal(with_auto(partitionMapping=value))[0][0]

    def test_a_mapping_of_each_upstream_may_be_named_as_a_key_of_one(self) -> None:
        document = with_auto(onUpstreamUpdate=True, partitionMapping={"wait": {"type": "all"}})
        document["steps"][0]["consumes"].append({"assetId": "wait"})
        auto = spec_of(document).auto
        assert auto is not None
        assert auto.mappings == {"wait": PartitionMapping(MappingType.ALL)}

    def test_quiet_hours_of_the_workflow_count_besides_the_assets_own(self) -> None:
        night = {"windows": [{"start": "22:00", "end": "06:00"}]}
        noon = {"windows": [{"start": "12:00", "end": "13:00"}], "timezone": "Europe/Berlin"}
        own = spec_of(with_auto(quietHours=noon) | {"quietHours": night}).auto
        inherited = spec_of(with_auto() | {"quietHours": night}).auto
        assert own is not None
        assert inherited is not None
        nightly = QuietHours((QuietWindow(frozenset(), 22 * 60, 6 * 60),))
        assert inherited.quiet_hours == (nightly,)
        assert own.quiet_hours == (nightly, QuietHours((QuietWindow(frozenset(), 720, 780),), "Europe/Berlin"))

    def test_quiet_hours_that_together_never_end_are_refused(self) -> None:
        day = {"windows": [{"start": "06:00", "end": "23:00"}]}
        night = {"windows": [{"start": "22:00", "end": "06:00"}], "timezone": "UTC"}
        ((path, reason),) = refusal(with_auto(quietHours=day) | {"quietHours": night})
        assert path == "$.steps[0].produces[0].autoMaterialize.quietHours"
        assert "whole week" in reason
        early = {"windows": [{"start": "22:00", "end": "05:59"}]}
        assert spec_of(with_auto(quietHours=day) | {"quietHours": early}).auto is not None

    def test_a_cool_off_of_zero_is_none(self) -> None:
        auto = spec_of(with_auto(failureBudget={"failures": 2, "coolOffMs": 0})).auto
        assert auto is not None
        assert auto.failure_budget == FailureBudget(2, None)

    @pytest.mark.parametrize(
        ("block", "opted_in"), [(None, False), ({}, True), ({"enabled": True}, True), ({"enabled": False}, False)]
    )
    def test_opting_in(self, block: Mapping[str, Any] | None, opted_in: bool) -> None:
        assert (spec_of(with_produced(autoMaterialize=block)).auto is not None) is opted_in

    def test_policies_left_out_are_left_to_the_settings(self) -> None:
        auto = spec_of(with_auto()).auto
        assert auto is not None
        assert (auto.backoff, auto.failure_budget, auto.quiet_hours, auto.pool) == (None, None, (), None)

    def test_partitionings(self) -> None:
        window = {"type": "timeWindow", "granularity": "day", "timezone": "Europe/Berlin", "lookbackWindows": 2}
        assert spec_of(with_produced(partitioning=window)).partitioning == TimeWindowPartitioning(
            Granularity.DAY, "Europe/Berlin", None, 2
        )
        dynamic = {"type": "dynamic", "maxKeys": 10}
        assert spec_of(with_produced(partitioning=dynamic)).partitioning == DynamicPartitioning(10)

    def test_a_reader_may_declare_the_partitioning_of_what_it_reads(self) -> None:
        static = {"type": "static", "keys": ["a"]}
        document = with_step(consumes=[{"assetId": "read"}, {"assetId": "read", "partitioning": static}])
        assert load(document).to_spec().consumed == {"read": StaticPartitioning(("a",))}

    @given(st.data())
    @settings(max_examples=60, deadline=None)
    def test_upstreams_are_what_can_be_reached_backwards(self, data: st.DataObject) -> None:
        count = data.draw(st.integers(1, 6))
        dependencies = [
            data.draw(st.lists(st.integers(0, index - 1), unique=True, max_size=3)) if index else []
            for index in range(count)
        ]
        reads = [data.draw(st.lists(st.sampled_from("abcde"), unique=True, max_size=2)) for _ in range(count)]
        order = data.draw(st.permutations(range(count)))
        document = minimal(
            steps=[
                {
                    "id": f"s{index}",
                    "jobSlug": "j",
                    "dependsOn": [f"s{other}" for other in dependencies[index]],
                    "consumes": [{"assetId": name} for name in reads[index]],
                    # Some of what is read is made here, and so is no upstream.
                    "produces": [{"assetId": f"made{index}"}, *([{"assetId": "e"}] if index == 0 else [])],
                }
                for index in order
            ]
        )

        def reached(index: int) -> set[str]:
            return set(reads[index]).union(*(reached(other) for other in dependencies[index]))

        found = {asset.asset_id: asset.upstreams for asset in load(document).to_spec().assets}
        for index in range(count):
            assert found[f"made{index}"] == tuple(sorted(reached(index) - {"e"}))

    def test_a_chain_of_five_hundred_steps(self) -> None:
        steps = [
            {
                "id": f"s{index}",
                "jobSlug": "j",
                "dependsOn": [f"s{index - 1}"] if index else [],
                "consumes": [{"assetId": f"read{index}"}],
                "produces": [{"assetId": f"made{index}"}],
            }
            for index in reversed(range(500))
        ]
        assert len(spec_of(minimal(steps=steps), "made499").upstreams) == 500


BAD: list[tuple[str, Any, str, str]] = [
    ("no slug", {"name": "W", "steps": minimal()["steps"]}, "$.slug", "required"),
    ("slug with a space", minimal(slug="orders daily"), "$.slug", "write letters"),
    ("slug with a line end", minimal(slug="orders\n"), "$.slug", "cannot be used"),
    ("long slug", minimal(slug="a" * 101), "$.slug", "100"),
    ("null slug", minimal(slug=None), "$.slug", "required"),
    ("version zero", minimal(version=0), "$.version", "greater"),
    ("version as text", minimal(version="1"), "$.version", "integer"),
    ("version true", minimal(version=True), "$.version", "integer"),
    ("schema is a list", minimal(parametersSchema=[]), "$.parametersSchema", "dictionary"),
    ("defaults are text", minimal(defaultParameters="x"), "$.defaultParameters", "dictionary"),
    ("no steps", minimal(steps=[]), "$.steps", "at least 1"),
    ("too many steps", minimal(steps=[{"id": str(n), "jobSlug": "j"} for n in range(501)]), "$.steps", "500"),
    ("a step is text", minimal(steps=["s"]), "$.steps[0]", "dictionary"),
    ("no job", minimal(steps=[{"id": "s"}]), "$.steps[0].jobSlug", "missing"),
    ("unprintable id", with_step(id="a\x07"), "$.steps[0].id", "unprintable"),
    ("timeout zero", with_step(timeoutMs=0), "$.steps[0].timeoutMs", "greater than 0"),
    ("bad strategy", with_step(retryPolicy={"strategy": "often"}), "$.steps[0].retryPolicy.strategy", "exponential"),
    ("no attempts", with_step(retryPolicy={"maxAttempts": 0}), "$.steps[0].retryPolicy.maxAttempts", "greater"),
    ("unknown dependency", with_step(dependsOn=["t"]), "$.steps[0].dependsOn[0]", "no step 't'"),
    ("depends on itself", with_step(dependsOn=["s"]), "$.steps[0].dependsOn", "s -> s"),
    ("space in asset id", with_produced(assetId="a b"), "$.steps[0].produces[0].assetId", "space"),
    ("empty asset id", with_produced(assetId=""), "$.steps[0].produces[0].assetId", "empty"),
    ("long asset id", with_produced(assetId="a" * 201), "$.steps[0].produces[0].assetId", "200"),
    (
        "too many declarations",
        with_step(produces=[{"assetId": str(n)} for n in range(1001)]),
        "$.steps[0].produces",
        "1000",
    ),
    ("ttl below zero", with_produced(freshness={"ttlMs": -1}), "$.steps[0].produces[0].freshness.ttlMs", "greater"),
    ("ttl as text", with_produced(freshness={"ttlMs": "1"}), "$.steps[0].produces[0].freshness.ttlMs", "integer"),
    ("bad cron", with_produced(freshness={"cron": "at noon"}), "$.steps[0].produces[0].freshness.cron", "five fields"),
    ("bad zone", with_produced(freshness={"timezone": "Mars"}), "$.steps[0].produces[0].freshness.timezone", "IANA"),
    (
        "unknown partitioning",
        with_produced(partitioning={"type": "hash"}),
        "$.steps[0].produces[0].partitioning",
        "'static', 'timeWindow', 'dynamic'",
    ),
    (
        "key twice",
        with_produced(partitioning={"type": "static", "keys": ["a", "a"]}),
        "$.steps[0].produces[0].partitioning.keys",
        "twice",
    ),
    (
        "coarse format",
        with_produced(partitioning={"type": "timeWindow", "granularity": "day", "format": "YYYY"}),
        "$.steps[0].produces[0].partitioning.format",
        "coarse",
    ),
    (
        "window in no zone",
        with_produced(partitioning={"type": "timeWindow", "granularity": "day", "timezone": "Mars"}),
        "$.steps[0].produces[0].partitioning.timezone",
        "IANA",
    ),
    (
        "no granularity",
        with_produced(partitioning={"type": "timeWindow"}),
        "$.steps[0].produces[0].partitioning.granularity",
        "required",
    ),
    (
        "long key",
        with_produced(partitioning={"type": "static", "keys": ["a", "b" * 256]}),
        "$.steps[0].produces[0].partitioning.keys[1]",
        "255",
    ),
    (
        "no keys allowed",
        with_produced(partitioning={"type": "dynamic", "maxKeys": 0}),
        "$.steps[0].produces[0].partitioning.maxKeys",
        "greater",
    ),
    ("enabled as text", with_auto(enabled="yes"), "$.steps[0].produces[0].autoMaterialize.enabled", "boolean"),
    ("bad when", with_auto(when="some"), "$.steps[0].produces[0].autoMaterialize.when", "'any' or 'all'"),
    (
        "delay below debounce",
        with_auto(debounceMs=10, maxDelayMs=9),
        "$.steps[0].produces[0].autoMaterialize.maxDelayMs",
        "at least debounceMs (10)",
    ),
    (
        "both only and ignore",
        with_auto(upstream={"only": ["read"], "ignore": []}),
        "$.steps[0].produces[0].autoMaterialize.upstream",
        "keep one",
    ),
    (
        "cap below base",
        with_auto(backoff={"baseMs": 10, "maxMs": 9}),
        "$.steps[0].produces[0].autoMaterialize.backoff.maxMs",
        "at least base_ms",
    ),
    (
        "no such time",
        with_auto(quietHours={"windows": [{"start": "25:00", "end": "06:00"}]}),
        "$.steps[0].produces[0].autoMaterialize.quietHours.windows[0].start",
        "HH:MM",
    ),
    (
        "starts at the end of the day",
        with_auto(quietHours={"windows": [{"start": "24:00", "end": "06:00"}]}),
        "$.steps[0].produces[0].autoMaterialize.quietHours.windows[0].start",
        "start",
    ),
    (
        "no such day",
        with_auto(quietHours={"windows": [{"days": ["Monday"], "start": "22:00", "end": "06:00"}]}),
        "$.steps[0].produces[0].autoMaterialize.quietHours.windows[0].days[0]",
        "'mon'",
    ),
    (
        "always quiet",
        with_auto(quietHours={"windows": [{"start": "00:00", "end": "24:00"}]}),
        "$.steps[0].produces[0].autoMaterialize.quietHours.windows",
        "whole week",
    ),
    ("a list", [], "$", "object"),
]


class TestRefusal:
    @pytest.mark.parametrize(("document", "path", "reason"), [row[1:] for row in BAD], ids=[row[0] for row in BAD])
    def test_each_problem_has_its_path_and_reason(self, document: Any, path: str, reason: str) -> None:
        problems = refusal(document)

        assert [found for found, _ in problems] == [path]
        assert reason.lower() in problems[0][1].lower()

    def test_step_ids_are_unique(self) -> None:
        steps = [{"id": "s", "jobSlug": "j"}, {"id": "t", "jobSlug": "j"}, {"id": "s", "jobSlug": "j"}]
        ((path, reason),) = refusal(minimal(steps=steps))
        assert path == "$.steps[2].id"
        assert "$.steps[0]" in reason

    def test_a_circle_of_steps_is_named(self) -> None:
        follows = {"a": [], "b": ["a", "d"], "c": ["b"], "d": ["c"]}
        steps = [{"id": name, "jobSlug": "j", "dependsOn": on} for name, on in follows.items()]
        ((_, reason),) = refusal(minimal(steps=steps))
        assert "b -> d -> c -> b" in reason

    def test_an_asset_is_produced_by_one_step(self) -> None:
        steps = [{"id": name, "jobSlug": "j", "produces": [{"assetId": "x"}]} for name in ("a", "b")]
        ((path, reason),) = refusal(minimal(steps=steps))
        assert path == "$.steps[1].produces[0].assetId"
        assert "'a'" in reason

    def test_all_problems_are_told_with_the_file(self) -> None:
        document = with_produced(freshness={"ttlMs": 0, "timezone": "Mars"}) | {"slug": "-w"}
        with pytest.raises(DefinitionInvalid) as caught:
            load(document)

        lines = str(caught.value).splitlines()
        assert len(lines) == 3
        assert all(line.startswith("w.json: $.") for line in lines)
        assert "w.json: $.steps[0].produces[0].freshness.ttlMs: " in str(caught.value)

    def test_braces_in_a_value_do_not_disturb_the_message(self) -> None:
        ((_, reason),) = refusal(with_step(dependsOn=["{reason}"]))
        assert "'{reason}'" in reason


class TestText:
    @pytest.mark.parametrize(
        ("text", "path", "reason"),
        [
            ("{", "$", "no JSON"),
            ("", "$", "no JSON"),
            ('{"slug": NaN}', "$", "NaN"),
            ('{"slug": -Infinity}', "$", "Infinity"),
            ('{"metadata": {"a b": [1e999]}}', "$.metadata['a b'][0]", "inf"),
            ('{"slug": "a", "slug": "b"}', "$", "'slug' appears twice"),
            ('{"name": "\\ud800"}', "$.name", "surrogate"),
            ("[" * 100_000, "$", "nested deeper"),
            ('{"metadata": ' + "[" * 70 + "]" * 70 + "}", "$.metadata" + "[0]" * 64, "nested deeper"),
            (b'{"name": "\xff"}', "$", "UTF-8"),
            (" " * (1024 * 1024) + "{}", "$", "larger"),
            ('{"slug": ' + "9" * 5000 + "}", "$", "no JSON"),
        ],
    )
    def test_json_out_of_bounds(self, text: str | bytes, path: str, reason: str) -> None:
        with pytest.raises(DefinitionInvalid) as caught:
            parse_definition(text, source="w.json", format="json")
        (problem,) = caught.value.problems
        assert problem.path == path
        assert reason in problem.reason

    @pytest.mark.parametrize(
        ("text", "path", "reason"),
        [
            ("metadata: {since: 2026-11-23}", "$.metadata.since", "date, which JSON does not have; write it in quotes"),
            ("metadata: [!!binary aGk=]", "$.metadata[0]", "bytes"),
            ("metadata: !!set {a}", "$.metadata", "set"),
            ("metadata: .nan", "$.metadata", "nan"),
            ("on: push", "$", "True"),
            ("slug: a\nslug: b", "$", "'slug' appears twice"),
            ("a: &a {x: 1}\nb: {<<: *a}", "$", "merge keys"),
            ("? [a]\n: 1", "$", "no YAML"),
            ("a: !!python/object/apply:os.getcwd []", "$", "no YAML"),
            ("&a [*a]", "$" + "[0]" * 65, "nested deeper"),
            ("[" * 5000, "$", "no YAML"),
            ("a: 'b", "$", "no YAML"),
            ("{}\n---\n{}", "$", "no YAML"),
        ],
    )
    def test_yaml_out_of_bounds(self, text: str, path: str, reason: str) -> None:
        with pytest.raises(DefinitionInvalid) as caught:
            parse_definition(text, source="w.yaml", format="yaml")
        (problem,) = caught.value.problems
        assert problem.path == path
        assert reason in problem.reason

    @pytest.mark.timeout(20)
    @pytest.mark.parametrize("leaf", ["x", "[]", "~"])
    def test_aliases_that_stand_for_a_huge_value(self, leaf: str) -> None:
        lines = [f"a0: &a0 [{', '.join([leaf] * 10)}]"]
        lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 12)]
        with pytest.raises(DefinitionInvalid, match="aliases"):
            parse_definition("\n".join(lines), source="w.yaml", format="yaml")

    @pytest.mark.timeout(20)
    @pytest.mark.parametrize("form", ["json", "yaml"])
    def test_many_keys_take_no_longer_than_they_must(self, form: Literal["json", "yaml"]) -> None:
        keys = [f'"key{n}": 1' for n in range(50_000)]
        with pytest.raises(DefinitionInvalid, match="'key49999' appears twice"):
            parse_definition(f"{{{', '.join([*keys, keys[-1]])}}}", source="w", format=form)

    def test_an_unquoted_time_in_yaml_is_explained(self) -> None:
        text = json.dumps(with_auto(quietHours={"windows": [{"start": "22:00", "end": "06:00"}]}))
        with pytest.raises(DefinitionInvalid, match=r"windows\[0\]\.start: .*write it in quotes"):
            parse_definition(text.replace('"22:00"', "22:00"), source="w.yaml", format="yaml")

    @given(st.data())
    @settings(max_examples=200, deadline=None)
    def test_a_changed_document_loads_or_is_refused_in_words(self, data: st.DataObject) -> None:
        document = copy.deepcopy(APPHUB)
        for _ in range(data.draw(st.integers(1, 3))):
            _change_somewhere(document, data)
        problems: tuple[Problem, ...] = ()
        try:
            definition = load(document)
        except DefinitionInvalid as error:
            problems = error.problems
        else:
            assert parse_definition(definition.canonical_json(), source="again") == definition
            definition.to_spec()
            problems = definition.warnings()
        assert all(problem.path.startswith("$") and problem.reason for problem in problems)


ODD = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-2, 2),
    st.floats(allow_nan=False, allow_infinity=False),
    st.text(max_size=5),
    st.sampled_from(["load", "station.inbox", "Europe/Berlin", "* * * * *", "static", "dynamic", "service"]),
    st.lists(st.text(max_size=3), max_size=2),
    st.dictionaries(st.sampled_from(["type", "keys", "assetId", "id", "windows"]), st.text(max_size=3), max_size=2),
)


def _change_somewhere(tree: Any, data: st.DataObject) -> None:
    while True:
        places = list(tree) if isinstance(tree, dict) else list(range(len(tree)))
        if not places:
            return
        place = data.draw(st.sampled_from(places))
        if isinstance(tree[place], dict | list) and data.draw(st.integers(0, 3)):
            tree = tree[place]
            continue
        tree[place] = data.draw(ODD)
        return


class TestWarnings:
    def warned(self, document: Any) -> list[tuple[str, str]]:
        return [(problem.path, problem.reason) for problem in load(document).warnings()]

    def test_a_sound_definition_has_none(self) -> None:
        assert self.warned(APPHUB) == []

    @pytest.mark.parametrize("kind", ["service", "fanout"])
    def test_steps_that_cannot_be_executed_load(self, kind: str) -> None:
        document = minimal(steps=[{"id": "s", "type": kind, "template": {"id": "t"}}])
        ((path, reason),) = self.warned(document)
        assert path == "$.steps[0].type"
        assert kind in reason

    @pytest.mark.parametrize(("choice", "keep"), [("only", ["read"]), ("ignore", [])])
    def test_a_choice_of_something_that_is_no_upstream(self, choice: str, keep: list[str]) -> None:
        ((path, reason),) = self.warned(with_auto(onUpstreamUpdate=True, upstream={choice: ["reed", *keep]}))
        assert path == f"$.steps[0].produces[0].autoMaterialize.upstream.{choice}[0]"
        assert "'reed'" in reason
        assert "'read'" in reason

    def test_policies_that_undo_each_other(self) -> None:
        waits = {"onUpstreamUpdate": True, "debounceMs": 60_000}
        ((path, reason),) = self.warned(with_produced(freshness={"ttlMs": 60_000}, autoMaterialize=waits))
        assert path.endswith("autoMaterialize.debounceMs")
        assert "expires after 60000 ms" in reason
        assert self.warned(with_produced(freshness={"ttlMs": 60_001}, autoMaterialize=waits)) == []
        ((_, reason),) = self.warned(with_auto(debounceMs=5))
        assert "onUpstreamUpdate" in reason

    @pytest.mark.parametrize(
        ("auto", "place", "word"),
        [
            ({"when": "all"}, "when", "onUpstreamUpdate"),
            ({"partitionMapping": "all"}, "partitionMapping", "onUpstreamUpdate"),
            ({"onUpstreamUpdate": True, "upstream": {"only": []}}, "upstream", "'read'"),
            ({"onUpstreamUpdate": True, "upstream": {"ignore": ["read"]}}, "upstream", "'read'"),
            ({"onUpstreamUpdate": True, "maxDelayMs": 5}, "maxDelayMs", "debounceMs"),
            ({"onUpstreamUpdate": True, "catchUp": "all"}, "catchUp", "time windows"),
            ({"onUpstreamUpdate": True, "partitionMapping": {"reed": "all"}}, "partitionMapping.reed", "'read'"),
        ],
    )
    def test_policies_without_effect(self, auto: dict[str, Any], place: str, word: str) -> None:
        ((path, reason),) = self.warned(with_auto(**auto))
        assert path == f"$.steps[0].produces[0].autoMaterialize.{place}"
        assert word in reason

    def test_absence_of_dynamic_keys_is_not_known(self) -> None:
        document = with_produced(partitioning={"type": "dynamic"}, autoMaterialize={"onMissing": True})
        ((path, _),) = self.warned(document)
        assert path.endswith("autoMaterialize.onMissing")

    def test_following_nothing(self) -> None:
        document = with_auto(onUpstreamUpdate=True)
        document["steps"][0]["consumes"] = []
        ((path, _),) = self.warned(document)
        assert path.endswith("autoMaterialize.onUpstreamUpdate")

    def test_a_misspelled_key(self) -> None:
        ((path, reason),) = self.warned(with_auto(onUpstreamUpdates=True))
        assert path == "$.steps[0].produces[0].autoMaterialize.onUpstreamUpdates"
        assert "'onUpstreamUpdate'" in reason

    def test_a_policy_on_what_is_only_read(self) -> None:
        ((path, _),) = self.warned(with_step(consumes=[{"assetId": "read", "autoMaterialize": {}}]))
        assert path == "$.steps[0].consumes[0].autoMaterialize"

    def test_retention_is_nothing_to_warn_of(self) -> None:
        assert self.warned(with_produced(partitioning={"type": "dynamic", "retentionDays": 3})) == []

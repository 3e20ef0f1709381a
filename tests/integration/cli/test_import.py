"""`import-apphub --put` against a real server."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.integration.cli.conftest import Place

pytestmark = pytest.mark.integration

EXPORT = Path(__file__).parents[2] / "unit" / "interfaces" / "exports" / "apphub.json"


def test_an_export_goes_into_the_catalog_as_it_is(place: Place) -> None:
    answer = place.ok("import-apphub", EXPORT, "--put", "--json").json
    assert [each["result"] for each in answer["definitions"]] == ["created", "created"]
    assert [each["slug"] for each in place.ok("workflows", "--json").json] == [
        "station-minute-ingest",
        "station-report",
    ]
    again = place.ok("import-apphub", EXPORT, "--put").out
    assert again.count("taken    unchanged") == 2


def test_one_that_closes_a_circle_with_the_catalog_is_refused_and_none_is_taken(place: Place) -> None:
    place.ok("import-apphub", EXPORT, "--put")
    reads = {"id": "s", "jobSlug": "make", "consumes": [{"assetId": "station.report"}]}
    makes = {**reads, "produces": [{"assetId": "station.inbox"}]}
    export = place.folder / "circle.json"
    export.write_text(
        json.dumps(
            [{"slug": slug, "name": slug, "steps": [step]} for slug, step in (("reads", reads), ("makes", makes))]
        )
    )
    answer = place.run("import-apphub", export, "--put")
    assert answer.code == 1
    assert "makes -> station-minute-ingest -> station-report -> makes" in answer.err
    assert len(place.ok("workflows", "--json").json) == 2

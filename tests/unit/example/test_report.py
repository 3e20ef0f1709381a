"""The report with its picture and its command, and the forecast that fails on purpose."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import pytest
from river_chart import Alert, Line, draw
from river_forecast import ForecastError, forecast
from river_gauges import alerts, clean, hourly, sample
from river_report import publish, render

from tests.unit.example.river import HOUR, JOBS, MINUTE, THRESHOLDS, River

START = datetime(2026, 11, 24, 21, 0, tzinfo=UTC)
SVG = "{http://www.w3.org/2000/svg}"


@pytest.fixture(scope="module")
def river(tmp_path_factory: pytest.TempPathFactory) -> River:
    """Forty minutes over two hours, summed up and watched; nobody changes it but by making it again."""
    made = River(tmp_path_factory.mktemp("river"))
    for n in range(-20, 20):
        made.window(sample, START + n * MINUTE)
        made.window(clean, START + n * MINUTE)
    for start in (START - HOUR, START):
        made.window(hourly, start, HOUR)
        made.window(alerts, start, HOUR, thresholds=THRESHOLDS)
    return made


def summarised(river: River) -> dict[str, str]:
    """Run the command as the service does: the context on its input, the result in its output's last line."""
    context = {
        "parameters": {"outputDir": str(river.root)},
        "trigger": {"type": "manual"},
        "partitionKey": None,
        "runId": "run-1",
        "workflowSlug": "river-report",
        "stepId": "summarise",
    }
    done = subprocess.run(
        [sys.executable, "config/jobs/summarise.py"],
        cwd=JOBS.parents[1],
        input=json.dumps(context),
        capture_output=True,
        text=True,
        check=True,
        timeout=30,
    )
    assert "run-1" in done.stderr
    result = json.loads(done.stdout.splitlines()[-1])
    assert isinstance(result, dict)
    return result


def published(river: River) -> dict[str, Any]:
    drawn = river.whole(render, chartMinutes=60)
    said = summarised(river)
    result = river.whole(publish, picture=drawn["path"], headline=said["headline"], summary=said["markdown"])
    (made,) = result["assets"]
    assert isinstance(made, dict)
    return made


def spells(river: River) -> list[dict[str, Any]]:
    return [spell for hour in ("20", "21") for spell in river.document("alerts", f"2026-11-24T{hour}.json")["alerts"]]


def curves(root: ET.Element) -> list[list[tuple[float, float]]]:
    return [
        [(float(x), float(y)) for x, y in re.findall(r"[ML]([\d.]+) ([\d.]+)", path.attrib["d"])]
        for path in root.iter(f"{SVG}path")
        if path.get("class") == "level"
    ]


def test_the_picture_has_a_line_for_each_gauge_and_a_mark_for_each_alert(river: River) -> None:
    drawn = river.whole(render, chartMinutes=60)
    root = ET.fromstring(Path(drawn["path"]).read_text())
    assert root.tag == f"{SVG}svg"
    assert [len(curve) for curve in curves(root)] == [40 * 4] * 3  # four quarter minutes each
    assert drawn["points"] == 3 * 40 * 4
    marks = [group for group in root.iter(f"{SVG}g") if group.get("class") == "alert"]
    assert len(marks) == len(spells(river)) > 0
    said = " ".join(text for element in root.iter(f"{SVG}text") if (text := element.text))
    for words in ("Spring Head", "Mill Bridge", "Old Harbour", "Water level (cm)", "Time (UTC)", "Rain"):
        assert words in said


def test_higher_water_is_drawn_higher_and_later_further_right() -> None:
    points = [(START + n * MINUTE, level) for n, level in enumerate([100.0, 150.0, 50.0])]
    (curve,) = curves(ET.fromstring(draw([Line("A", points)], [], [])))
    xs, ys = zip(*curve, strict=True)
    assert list(xs) == sorted(set(xs))
    assert xs[1] - xs[0] == pytest.approx(xs[2] - xs[1], abs=0.11)
    assert ys[1] < ys[0] < ys[2]
    assert ys[2] - ys[0] == pytest.approx(ys[0] - ys[1], abs=0.11)


def test_everything_is_drawn_inside_the_picture() -> None:
    points = [(START + timedelta(seconds=15 * n), 3.0 * n) for n in range(100)]
    rain = [(at, 9.0) for at, _ in points]
    marks = [Alert("A", "flood", points[-1][0], points[-1][1]), Alert("A", "watch", points[0][0], 0.0)]
    root = ET.fromstring(draw([Line("A", points)], rain, marks))
    width, height = float(root.attrib["width"]), float(root.attrib["height"])
    places = [place for curve in curves(root) for place in curve]
    for bar in root.iter(f"{SVG}rect"):
        x, y = float(bar.get("x", "0")), float(bar.get("y", "0"))
        places += [(x, y), (x + float(bar.attrib["width"]), y + float(bar.attrib["height"]))]
    places += [(float(t.attrib["x"]), float(t.attrib["y"])) for t in root.iter(f"{SVG}text") if "x" in t.attrib]
    assert all(0 <= x <= width and 0 <= y <= height for x, y in places)


def test_a_crest_newer_than_the_line_is_marked_at_its_end() -> None:
    points = [(START, 50.0), (START + timedelta(seconds=15), 60.0)]
    root = ET.fromstring(draw([Line("A", points)], [], [Alert("A", "watch", START + timedelta(seconds=25), 61.0)]))
    ((_, (line_end, _)),) = curves(root)
    (mark,) = [group for group in root.iter(f"{SVG}g") if group.get("class") == "alert"]
    path = mark.find(f"{SVG}path")
    assert path is not None
    assert path.attrib["d"].startswith(f"M{line_end:.1f} ")


def test_a_line_is_broken_where_readings_are_missing() -> None:
    points = [(START + n * MINUTE, 50.0) for n in (0, 1, 5, 6)]
    root = ET.fromstring(draw([Line("A", points)], [], []))
    (path,) = [path for path in root.iter(f"{SVG}path") if path.get("class") == "level"]
    assert path.attrib["d"].count("M") == 2
    assert path.attrib["d"].count("L") == 2


def test_names_are_escaped() -> None:
    root = ET.fromstring(draw([Line("Mill & <Bridge>", [(START, 1.0)])], [], []))
    assert any(element.text == "Mill & <Bridge> 1 cm" for element in root.iter(f"{SVG}text"))


def test_a_river_without_readings_has_a_report_too(tmp_path: Path) -> None:
    empty = River(tmp_path)
    made = published(empty)
    ET.fromstring(Path(made["payload"]["picture"]).read_text())
    assert "There are no readings yet." in Path(made["payload"]["path"]).read_text()
    assert made["payload"]["headline"] == "All gauges are calm."


def test_the_report_shows_picture_figures_and_alerts(river: River) -> None:
    made = published(river)
    assert made["assetId"] == "river.report"
    assert "partitionKey" not in made
    report = (river.root / "report" / "report.md").read_text()
    assert "![River levels](report.svg)" in report
    assert (river.root / "report" / "report.svg").is_file()
    assert "Readings up to 2026-11-24T21:19:45Z." in report
    for hour in ("20", "21"):
        for station, figures in river.document("hourly", f"2026-11-24T{hour}.json")["stations"].items():
            cells = next(
                [cell.strip() for cell in line.split("|")]
                for line in report.splitlines()
                if line.startswith(f"| 2026-11-24T{hour} | {station} |")
            )
            assert cells[5] == f"{figures['levelCm']['max']:.1f}"
            assert cells[8] == str(figures["readings"])
    floods = sum(spell["severity"] == "flood" for spell in spells(river))
    assert f"{len(spells(river))} spells of high water" in made["payload"]["headline"]
    assert f"{floods} flood" in made["payload"]["headline"]


def test_the_same_readings_make_the_same_report(river: River) -> None:
    first = published(river)
    before = river.files()
    again = published(river)
    assert first == again
    assert river.files() == before


def report_of(river: River, levels: dict[str, list[list[object]]]) -> None:
    folder = river.root / "report"
    folder.mkdir(parents=True)
    (folder / "report.json").write_text(json.dumps({"readingsUpTo": "2026-11-24T21:00:00Z", "recentLevelsCm": levels}))


def test_the_first_two_of_every_six_forecasts_fail(tmp_path: Path) -> None:
    river = River(tmp_path)
    report_of(river, {"springhead": [["2026-11-24T21:00:00Z", 50.0]]})
    went: list[bool] = []
    for _ in range(13):
        try:
            river.whole(forecast)
        except ForecastError:
            went.append(False)
        else:
            went.append(True)
    assert went == [False, False, True, True, True, True] * 2 + [False]


def test_a_failed_forecast_leaves_the_last_one_as_it_was(tmp_path: Path) -> None:
    river = River(tmp_path)
    report_of(river, {"springhead": [["2026-11-24T21:00:00Z", 50.0]]})
    (tmp_path / "forecast").mkdir()
    (tmp_path / "forecast" / "attempts.txt").write_text("5\n")
    river.whole(forecast)
    before = (tmp_path / "forecast" / "forecast.json").read_text()
    with pytest.raises(ForecastError):
        river.whole(forecast)
    assert (tmp_path / "forecast" / "forecast.json").read_text() == before


def test_the_forecast_carries_a_fading_trend_forward(tmp_path: Path) -> None:
    river = River(tmp_path)
    rising: list[list[object]] = [[f"2026-11-24T21:0{m}:00Z", 50.0 + 4 * m] for m in range(5)]
    level: list[list[object]] = [[f"2026-11-24T21:0{m}:00Z", 80.0] for m in range(5)]
    report_of(river, {"springhead": rising, "millbridge": level, "oldharbour": []})
    (tmp_path / "forecast").mkdir()
    (tmp_path / "forecast" / "attempts.txt").write_text("2\n")
    river.whole(forecast)
    stations = river.document("forecast", "forecast.json")["stations"]
    assert set(stations) == {"springhead", "millbridge"}
    assert [point["levelCm"] for point in stations["millbridge"]] == [80.0] * 10
    assert [point["at"] for point in stations["springhead"]] == [
        f"2026-11-24T21:{minute:02d}:00Z" for minute in range(5, 15)
    ]
    ahead = [66.0, *(point["levelCm"] for point in stations["springhead"])]
    rises = [b - a for a, b in pairwise(ahead)]
    assert 0 < rises[0] < 4
    # Half of the trend is gone after four minutes.
    assert rises[4] == pytest.approx(rises[0] / 2, abs=0.11)

"""Runs side by side: hand-made reports, and recipes of which single keys differ."""

import copy
import io

from PIL import Image

from erde_nas.report.compared import differences_table, fronts_png, runs_table
from tests.report.conftest import BARE, Draft, model


def test_a_line_per_profile_and_run(report: Draft) -> None:
    """c51e0f9a33 is the only student within a point: finished 2.31 / 0.467 = 4.94, in int8 2.31 / 0.275 = 8.4."""
    other = copy.deepcopy(report)
    other["points"] = [p for p in other["points"] if p["stage"] != "quantized"]
    other["fronts"] = {"cpu-1thread": [0, 2]}
    del other["profiles"]["cpu-1thread-int8"]
    table = runs_table({"a": model(report), "b": model(other)})
    lines = [dict(zip(table.headers, line, strict=True)) for line in table.cells]
    assert [(line["profile"], line["run"]) for line in lines] == [
        ("cpu-1thread", "a"),
        ("cpu-1thread", "b"),
        ("cpu-1thread-int8", "a"),
    ]
    assert [line["student to ship"] for line in lines] == ["c51e0f9a33 (finished)"] * 2 + ["c51e0f9a33 (quantized)"]
    assert [line["speed-up"] for line in lines] == ["4.94x", "4.94x", "8.4x"]
    assert [line["on front"] for line in lines] == [str(len(report["fronts"]["cpu-1thread"])), "2", "3"]
    assert lines[0]["hypervolume"] == "0.774"
    assert lines[0]["teacher test %"] == "92.8"


def test_only_what_differs_is_listed() -> None:
    a = {"name": "x", "space": {"stems": [8, 16], "depths": [[1], [2]]}, "search": {"trials": 5}, "gone": None}
    b = {"name": "x", "space": {"stems": [8], "depths": [[1], [2]]}, "search": {"trials": 5, "seed": 1}, "gone": None}
    table = differences_table({"a": a, "b": b, "c": a})
    assert table.cells == (("space.stems", "8, 16", "8", "8, 16"), ("search.seed", "-", "1", "-"))
    assert differences_table({"a": a, "b": a}).cells == ()


def test_the_picture_takes_runs_of_any_kind(report: Draft) -> None:
    odd = {**copy.deepcopy(report), "points": []}
    data = fronts_png({"a $x_{$": model(report), "b": model(odd), "c": model(BARE)})
    with Image.open(io.BytesIO(data)) as image:
        assert image.width == 1400

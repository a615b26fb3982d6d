"""What the plots draw: groups, heights, the axis, and figures with nothing in them."""

import io

import pytest
from PIL import Image

from erde_nas.report.plots import front_png
from erde_nas.report.points import MACS
from erde_nas.report.series import accuracy_range, below, coordinates, costs, front, height, interval, series
from tests.report.conftest import Draft, model


def test_every_point_is_in_exactly_one_group(report: Draft) -> None:
    groups = series(model(report), MACS)
    assert [group.look for group in groups] == [
        "searched", "not offered", "finished", "pruned", "quantized", "baseline", "teacher",
    ]  # fmt: skip
    assert [len(group.rows) for group in groups] == [16, 1, 4, 4, 3, 2, 1]
    assert costs(model(report)) == [MACS, "cpu-1thread", "cpu-1thread-int8"]
    assert sum(len(group.rows) for group in series(model(report), "cpu-1thread-int8")) == 4


def test_searched_points_stand_at_their_validation_accuracy_and_say_so(report: Draft) -> None:
    searched = series(model(report), MACS)[0]
    assert "validation accuracy" in searched.name
    assert [height(row) for row in searched.rows] == [100 * row.point.val_accuracy for row in searched.rows]


def test_a_finished_student_without_a_test_accuracy_is_a_group_of_its_own(report: Draft) -> None:
    report["points"][0] |= {"test_accuracy": None, "test_accuracy_ci95": None}
    names = [group.name for group in series(model(report), MACS)]
    assert "finished" in names
    assert "finished (validation accuracy)" in names


def test_error_bars_reach_to_the_interval(report: Draft) -> None:
    row = next(group for group in series(model(report), MACS) if group.look == "teacher").rows[0]
    low, high = interval(row)
    assert abs(height(row) - low - 92.35) < 1e-9
    assert abs(height(row) + high - 93.26) < 1e-9


def test_the_axis_holds_what_is_deployed_and_leaves_out_hopeless_candidates(report: Draft) -> None:
    low, high = accuracy_range(model(report))
    rows = [row for cost in costs(model(report)) for group in series(model(report), cost) for row in group.rows]
    deployed = [row for row in rows if row.point.stage != "searched"]
    assert all(low < height(row) - interval(row)[0] and height(row) + interval(row)[1] < high for row in deployed)
    assert low > 50
    assert below(model(report), MACS) == 1
    assert accuracy_range(model({})) == (0.0, 100.0)


def test_the_axis_of_an_interrupted_run_holds_every_candidate(report: Draft) -> None:
    """As it ends in the middle of its search, and in the middle of what comes after."""
    for points in ([], report["points"][:3]):
        cut = {**report, "interrupted": True, "teacher": None, "baselines": [], "points": points, "fronts": {}}
        low, high = accuracy_range(model(cut))
        heights = [100 * trial["val_accuracy"] for trial in cut["searched"] if trial["val_accuracy"] is not None]
        assert min(heights) == pytest.approx(10.0)
        assert low < min(heights)
        assert max(heights) < high
        assert all(below(model(cut), cost) == 0 for cost in costs(model(cut)))


def test_the_front_is_drawn_from_cheap_to_dear(report: Draft) -> None:
    drawn, _ = coordinates(front(model(report), MACS), MACS)
    assert drawn == sorted(drawn)
    assert len(drawn) == len(report["fronts"]["macs"])


@pytest.mark.parametrize("profiles", [0, 1, 4])
def test_the_picture_is_drawn_for_any_number_of_profiles(report: Draft, profiles: int) -> None:
    for point in (points := report["points"][:3]):
        latency = next(iter(point["latency_ms"].values()))
        point["latency_ms"] = {f"device {number}": latency for number in range(profiles)}
    picture = front_png(model({"points": points}))
    with Image.open(io.BytesIO(picture)) as image:
        assert image.width == 1400
    assert front_png(model({})).startswith(b"\x89PNG")

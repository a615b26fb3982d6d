"""What a budget chooses, against the runner of a bundle, which chooses on the device."""

import copy
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from erde_nas.bundle.measured_student import find_student
from erde_nas.bundle.trade_offs import trade_offs
from erde_nas.device.bundle_runner import RunError, within_budget
from erde_nas.files import write_json
from erde_nas.onnx_files.curve import curve_path
from erde_nas.report.budgets import budget_choices, shipped_files
from erde_nas.report_data.evidence import CurvePoint
from erde_nas.report_data.json_records import to_json
from erde_nas.report_data.report import Report
from tests.report.conftest import Draft, model

STUDENT = "c51e0f9a33"


def _curve(accuracy: float) -> tuple[CurvePoint, ...]:
    """Some of its points are dominated by others, two have equal accuracy."""
    shares = [(0.9, 0.05, 0.05), (0.6, 0.3, 0.1), (0.5, 0.4, 0.1), (0.2, 0.6, 0.2), (0.1, 0.1, 0.8), (0.0, 0.0, 1.0)]
    drops = (0.05, 0.02, 0.021, 0.004, 0.004, -0.003)
    return tuple(
        CurvePoint((k / 10, k / 9), share, accuracy - drop)
        for k, (share, drop) in enumerate(zip(shares, drops, strict=True))
    )


@pytest.fixture
def with_curves(report: Draft) -> Report:
    found = model(report)
    curves = {point.file: _curve(point.val_accuracy) for point in found.points if point.file}
    return replace(found, curves=curves)


def _runner(report: Report, folder: Path) -> Any:
    """What the bundle's runner has of the student, from the files that an export reads."""
    for file, curve in report.curves.items():
        (folder / file).parent.mkdir(parents=True, exist_ok=True)
        write_json(curve_path(folder / file), [to_json(point) for point in curve])
    student = find_student(folder, STUDENT, report)
    return SimpleNamespace(trade_offs=[to_json(row) for row in trade_offs(student, student.shipped())])


@pytest.mark.parametrize("profile", ["cpu-1thread", "cpu-1thread-int8"])
def test_every_budget_makes_the_runner_choose_its_point(with_curves: Report, tmp_path: Path, profile: str) -> None:
    runner, choices = _runner(with_curves, tmp_path), budget_choices(with_curves, STUDENT, profile)
    assert len(choices) >= 3
    for choice in choices:
        chosen = within_budget(runner, float(choice.budget_ms), profile)
        assert chosen["latency_ms"][profile]["mean"] == choice.mean_ms
        assert chosen["val_accuracy"] == choice.val_accuracy
        assert chosen["thresholds"] == list(choice.thresholds)
        assert choice.file.endswith(chosen["model"])
        assert (chosen["latency_ms"][profile]["source"] == "measured") == (choice.point is not None)


def test_no_other_point_is_ever_chosen(with_curves: Report, tmp_path: Path) -> None:
    """Whatever the budget, the runner's point is among them; below the first there is none."""
    runner, choices = _runner(with_curves, tmp_path), budget_choices(with_curves, STUDENT, "cpu-1thread")
    known = {choice.mean_ms for choice in choices}
    low, high = choices[0].mean_ms, 2 * choices[-1].mean_ms
    for step in range(200):
        chosen = within_budget(runner, low + step / 199 * (high - low), "cpu-1thread")
        assert chosen["latency_ms"]["cpu-1thread"]["mean"] in known
    with pytest.raises(RunError):
        within_budget(runner, 0.999 * low, "cpu-1thread")


def test_budgets_are_short_where_they_may_be(with_curves: Report) -> None:
    budgets = [choice.budget_ms for choice in budget_choices(with_curves, STUDENT, "cpu-1thread")]
    assert all(len(budget.replace("0.", "").replace(".", "")) <= 3 for budget in budgets)


def test_files_that_are_not_offered_are_not_shipped_beside_one_that_is(report: Draft) -> None:
    changed = copy.deepcopy(report)
    for point in changed["points"]:
        if point["student"] == STUDENT:
            point["offered"] = point["stage"] == "quantized"
    assert list(shipped_files(model(changed), STUDENT)) == [f"students/{STUDENT}/model.int8.onnx"]
    for point in changed["points"]:
        point["offered"] = False
    assert len(shipped_files(model(changed), STUDENT)) == 2


def test_without_curves_the_measured_points_are_there(report: Draft) -> None:
    (only,) = budget_choices(model(report), "9f3a1c2b7e", "cpu-1thread-int8")
    assert only.point is not None
    assert float(only.budget_ms) >= only.mean_ms
    assert budget_choices(model(report), "9f3a1c2b7e", "gpu") == []

"""The student to ship: what is said of one that has no file, and which file is the best."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from erde_nas.bundle.measured_student import MeasuredStudent, find_student
from erde_nas.errors import UserError
from erde_nas.report_data.report import DatasetFacts, ProfileFacts, Report
from erde_nas.report_data.screened import ScreenedPoint
from tests.results.test_offers import latency, point

REPORT = Report(1, (), DatasetFacts("digits", (), 0, 0, 0), None, (), (point("a", 0.9, 1.0, fast=1.0),), {})


def test_a_student_that_was_screened_is_said_to_be() -> None:
    screened = ScreenedPoint("b-p50", "pruned", "fp32", (), (1.0,), 0.8, 1.0, {"fast": 2.0}, "a is better")
    with pytest.raises(UserError, match="ruled out: a is better; `erde-nas compress run --student b` makes"):
        find_student(Path("run"), "b-p50", replace(REPORT, screened=(screened,)))
    with pytest.raises(UserError, match="it has those of a"):
        find_student(Path("run"), "c", REPORT)


@pytest.mark.parametrize(("objective", "best"), [("mean", "small.onnx"), ("p95", "steady.onnx")])
def test_the_best_file_is_the_cheapest_by_the_objective(monkeypatch, objective: Any, best: str) -> None:
    small = replace(latency(1.0, 1.0), p95=3.0)
    points = (
        point("a", 0.9, 1.0, latency_ms={"fast": small}, file="s/small.onnx"),
        point("a", 0.9, 1.0, latency_ms={"fast": latency(2.0, 1.0)}, file="s/steady.onnx"),
    )
    profiles = {"fast": ProfileFacts("onnxruntime", "cpu", 1, "fp32", 1, objective=objective)}
    student = MeasuredStudent(Path("run"), "a", replace(REPORT, points=points, profiles=profiles))
    monkeypatch.setattr(MeasuredStudent, "default_point", lambda self, model: self.by_model[model][0])
    assert student.best(0.0) == best

"""Gain and loss with intervals, and what the command line says at the end."""

from dataclasses import replace

import pytest
from scipy.stats import binomtest

from erde_nas.report.answer import accuracy_change, answer_text, change_text, export_command, speed_up_interval
from erde_nas.report.points import student_rows
from erde_nas.report.summary import chosen
from erde_nas.report_data.point import Point
from tests.report.conftest import Draft, model


def _tested(point: Point, right: int, images: int) -> Point:
    ends = binomtest(right, images).proportion_ci(method="wilson")
    return replace(point, test_accuracy=right / images, test_accuracy_ci95=(ends.low, ends.high))


def test_the_difference_of_accuracies_has_newcombes_interval(report: Draft) -> None:
    """Newcombe 1998, table II, method 10: 56 of 70 against 48 of 80 is 0.2 with 0.0524 to 0.3339."""
    point = model(report).points[0]
    change = accuracy_change(_tested(point, 56, 70), _tested(point, 48, 80))
    assert change is not None
    assert (change.value, change.low, change.high) == pytest.approx((20.0, 5.24, 33.39), abs=0.01)
    assert change_text(change) == "20.0 points above the teacher on test (95% interval +5.2 to +33.4)"


def test_what_may_be_chance_is_called_so(report: Draft) -> None:
    point = model(report).points[0]
    less = accuracy_change(_tested(point, 90, 100), _tested(point, 93, 100))
    same = accuracy_change(_tested(point, 90, 100), _tested(point, 90, 100))
    assert less is not None
    assert same is not None
    assert change_text(less).startswith("3.0 points below the teacher on test (95% interval -")
    assert change_text(less).endswith(", so it may be chance)")
    assert change_text(same).startswith("as accurate as the teacher on test")
    assert accuracy_change(replace(point, test_accuracy=None), point) is None


def test_the_answer_says_gain_loss_noise_and_what_to_do(report: Draft) -> None:
    """c51e0f9a33 in int8: 2.31 / 0.275 = 8.4; both means are known to 1 %, their ratio to 1.4 %."""
    summary, figures, command = answer_text(model(report), "runs/my run").splitlines()
    assert summary.startswith("Student c51e0f9a33 (quantized) is 8.4 times as fast")
    assert figures.startswith(
        "Gain and loss: 8.4 times as fast (95% interval 8.3 to 8.5); 1.0 points below the teacher"
    )
    assert figures.endswith("Neither latency is noisy.")
    assert command == "erde-nas export 'runs/my run' --student c51e0f9a33 --to shipped"
    best = chosen(model(report))
    assert best is not None
    interval = speed_up_interval(model(report), best)
    assert interval is not None
    assert interval.high / interval.value == pytest.approx(1.01414, abs=1e-3)


def test_noise_is_said(report: Draft) -> None:
    for entry in report["teacher"]["latency_ms"].values():
        entry["noisy"] = True
    assert "They are in doubt: the teacher's latency: noisy" in answer_text(model(report), "run")


def test_where_nothing_can_be_compared_there_is_no_command(report: Draft) -> None:
    report["teacher"] = None
    assert answer_text(model(report), "run").count("\n") == 0
    assert "export" not in answer_text(model(report), "run")


def test_no_gain_is_claimed_over_a_teacher_that_failed(report: Draft) -> None:
    report["teacher_check"] = {"teacher": 0.5, "student": 0.8, "trusted": False}
    text = answer_text(model(report), "run")
    assert "Gain and loss" not in text
    assert "erde-nas export run --student" in text


def test_a_command_survives_what_a_shell_would_read(report: Draft) -> None:
    row = next(row for row in student_rows(model(report)))
    odd = replace(row, point=replace(row.point, student="a; rm -r b"))
    assert export_command(odd, "run") == "erde-nas export run --student 'a; rm -r b' --to shipped"

"""The tables: order, choice of rows, columns that fit a terminal, marks for what was not measured."""

import csv
import io
from typing import Any

import pytest

from erde_nas.report import columns
from erde_nas.report.build import pareto_csv
from erde_nas.report.exits import exits_table
from erde_nas.report.facts import not_offered_table, run_facts, screened_table
from erde_nas.report.markdown import markdown
from erde_nas.report.page import page
from erde_nas.report.points import by_cost, student_rows
from erde_nas.report.series import axis_title
from erde_nas.report.tables import front_table, front_tables
from erde_nas.report.tables import summary_sentence as summary_from_tables
from erde_nas.report.units import MISSING
from erde_nas.report_data.point import MEDIAN_WORSE
from tests.report.conftest import Draft, model

INT8 = "cpu-1thread-int8"


def _column(table: Any, start: str) -> list[str]:
    index = next(i for i, header in enumerate(table.headers) if header.startswith(start))
    return [line[index] for line in table.cells]


@pytest.mark.parametrize("full", [False, True])
def test_students_are_sorted_by_cost_and_the_teacher_is_last(report: Draft, full: bool) -> None:
    fp32, int8 = front_tables(model(report), full)
    means = [float(text.split(" (")[0].rstrip("!")) for text in _column(fp32, "mean\n" if not full else "mean (")]
    assert means[:-3] == sorted(means[:-3])
    names = [name.replace("\n", " ") for name in _column(fp32, "student")[-3:]]
    assert names == ["teacher with its own exits", "best student without exits", "teacher"]
    assert _column(int8, "student") == ["04bd77e1aa", "9f3a1c2b7e", "c51e0f9a33"]


def test_the_short_form_shows_the_front_and_the_full_form_everything_offered(report: Draft) -> None:
    """Of the eight fp32 files, five are on the front; a brute-force front is part of the fixture."""
    short, full = front_tables(model(report), False)[0], front_tables(model(report), True)[0]
    assert len(short.cells) == 5 + 3
    assert len(full.cells) == 8 + 3
    assert "3 more offered, but not on this front: see report.html." in short.notes
    assert "7780ab12cd" not in _column(front_tables(model(report), True)[1], "student")  # not offered


@pytest.mark.parametrize("full", [False, True])
def test_a_student_that_is_a_baseline_is_listed_once(report: Draft, full: bool) -> None:
    """It has one exit: it is the best student without exits, too."""
    twin = next(point for point in report["points"] if point["student"] == "c51e0f9a33")
    twin |= {"thresholds": [], "exit_fractions": [1.0]}
    report["baselines"][1] = {**twin, "role": "student_without_exits"}
    before = front_tables(model(report), full)[0]
    names = [name.replace("\n", " ") for name in _column(before, "student")]
    stages = _column(before, "stage")
    assert [(name, stage) for name, stage in zip(names, stages, strict=True)].count(("c51e0f9a33", "finished")) == 1
    assert "best student without exits" not in names
    assert "c51e0f9a33 is the best student without exits as well." in before.notes
    assert names[-2:] == ["teacher with its own exits", "teacher"]

    twin["offered"], report["fronts"] = False, {}  # then the baseline is the only place where it can be seen
    after = front_tables(model(report), full)[0]
    assert "best student without exits" in [name.replace("\n", " ") for name in _column(after, "student")]


def test_values_of_one_row(report: Draft) -> None:
    """The finished c51e0f9a33: 0.075 * 1.58**4 = 0.4674 ms, teacher 2.31 ms."""
    table = front_tables(model(report), True)[0]
    (line,) = (line for line in table.cells if line[:2] == ("c51e0f9a33", "finished"))
    assert line[2:] == (
        "1 2 4", "92.00 (91.55-92.46)", "92.40", "5.16", "467 (463–472)", "327", "982", "1120", "454", "+3.0", "4.94x",
        "516", "students/c51e0f9a33/model.onnx",
    )  # fmt: skip
    assert [h for h in table.headers if "µs" in h][:1] == ["mean (µs, 95% CI)"]


def test_int8_speed_up_names_what_the_teacher_ran_in(report: Draft) -> None:
    table = front_tables(model(report), False)[1]
    assert _column(table, "speed-") == ["33.1x!", "13.3x", "8.4x"]
    assert "Speed-up: over the teacher under cpu-1thread (onnxruntime, cpu, 1 thread, fp32, batch 1)." in table.notes


def test_noise_is_marked(report: Draft) -> None:
    short, full = front_tables(model(report), False)[1], front_tables(model(report), True)[1]
    assert _column(short, "mean")[0] == "69.7!"
    assert any(note.startswith("! in doubt (noisy: its interval") for note in short.notes)
    assert _column(full, "remarks") == ["noisy: its interval was still wide when the time allowance ended", "", ""]


def test_estimates_are_marked_while_nothing_is_finished(report: Draft) -> None:
    report["points"] = [p for p in report["points"] if p["stage"] == "searched"]
    report["fronts"] = {}
    (table,) = front_tables(model(report), False)
    assert all(text.startswith("~") for text in _column(table, "mean")[:-3])
    assert set(_column(table, "speed-")[:-3]) == {"-"}
    assert "~ estimated from the cost of each exit, not measured." in table.notes


def test_the_terminal_form_fits_120_columns(report: Draft) -> None:
    for point in [*report["points"], *report["baselines"], report["teacher"]]:
        point["test_accuracy"], point["test_accuracy_ci95"], point["val_accuracy"] = 1.0, [0.9912, 1.0], 1.0
        point["arch"]["exits"] = [{"block": block, "head": "gap"} for block in (1, 11, 22, 30)]
        for entry in point["latency_ms"].values():
            for key in ("mean", "p50", "p95", "p99", "expected_mean"):
                entry[key] = entry[key] and entry[key] * 11
    text = front_table(model(report))
    assert max(map(len, text.splitlines())) <= 120
    assert "teacher with" in text


def test_tables_fall_back_to_macs_and_to_a_sentence(report: Draft) -> None:
    for point in [*report["points"], *report["baselines"], report["teacher"]]:
        point["latency_ms"] = {}
    (table,) = front_tables(model(report), False)
    assert table.title.startswith("MACs")
    macs = [float(text) for text in _column(table, "MACs")[:-3]]
    assert macs == sorted(macs)
    empty = {**report, "points": [], "baselines": [], "teacher": None, "profiles": {}}
    assert "No student yet." in front_table(model(empty))
    assert "No student yet." in front_table(model({}))


def test_summary_is_reachable_from_tables(report: Draft) -> None:
    assert summary_from_tables(model(report)).startswith("Student c51e0f9a33")


def test_points_of_one_file_that_are_not_offered_are_told_apart(report: Draft) -> None:
    point = next(p for p in report["points"] if p["thresholds"])
    report["points"] = [{**point, "offered": False, "reason": "slow", "thresholds": [t]} for t in (0.51234, 1.25)]
    assert _column(not_offered_table(model(report)), "thresholds") == ["0.512", "1.25"]


def test_thresholds_have_the_unit_of_the_exit_rule(report: Draft) -> None:
    assert "threshold (nats)" in exits_table(model(report)).headers
    assert "Exit rule" not in dict(run_facts(model(report)))
    report["exit_rule"] = {"name": "ahead", "text": "lead of its answer", "unit": "bits"}
    assert "threshold (bits)" in exits_table(model(report)).headers
    assert "thresholds (bits)" in not_offered_table(model(report)).headers
    assert dict(run_facts(model(report)))["Exit rule"] == (
        "ahead: the lead of its answer (bits) is held against thresholds"
    )
    assert "at the first exit where the lead of its answer is below the threshold" in page(model(report))


def test_a_new_column_of_what_was_measured_is_one_line(report: Draft, monkeypatch: pytest.MonkeyPatch) -> None:
    """It reaches Markdown and the page; a row without a latency has none."""
    monkeypatch.setitem(columns.WHERE_MEASURED, "toy threads", lambda latency: f"{latency.threads} toy")
    found = model(report)
    cells = _column(front_tables(found, True)[0], "toy threads")
    assert cells.count("1 toy") == len(cells)
    for text in (markdown(found), page(found)):
        assert "toy threads" in text
        assert "1 toy" in text


def _screened(student: str, precision: str, accuracy: float, **ms: float) -> dict[str, Any]:
    return {
        "student": student, "stage": "pruned", "precision": precision, "thresholds": [0.5], "estimated_ms": ms,
        "exit_fractions": [0.5, 0.5], "val_accuracy": accuracy, "macs": 1e6, "reason": f"{accuracy}",
    }  # fmt: skip


def test_what_was_screened_is_one_line_per_student(report: Draft) -> None:
    assert screened_table(model(report)).cells == ()
    report["screened"] = [
        _screened("a", "fp32", 0.9, fast=0.0412),
        _screened("a", "int8", 0.92, fast=0.0512),
        _screened("a", "fp32", 0.91, fast=0.0413),
        _screened("b", "int8", 0.8),
    ]
    table = screened_table(model(report))
    assert table.cells == (
        ("a", "pruned", "2 fp32, 1 int8", "92.00", "~51.2 µs (fast)", "0.92"),
        ("b", "pruned", "1 int8", "80.00", MISSING, "0.8"),
    )
    for text in (page(model(report)), markdown(model(report))):
        assert "Not measured in full" in text


@pytest.mark.parametrize(
    ("objective", "title"), [("p95", "p95 latency per image (ms)"), ("energy", "energy per image (mJ)")]
)
def test_rows_are_sorted_and_drawn_by_the_objective(report: Draft, objective: str, title: str) -> None:
    report["profiles"]["cpu-1thread"]["objective"] = objective
    for number, point in enumerate(report["points"]):
        if found := point["latency_ms"].get("cpu-1thread"):
            found |= {"energy_mj": float(number), "p95": 100.0 - number} if found["mean"] is not None else {}
    found = model(report)
    rows = [row for row in student_rows(found) if row.deployed and row.mean("cpu-1thread") is not None]
    order = [row.index for row in by_cost(rows, "cpu-1thread")]
    assert order == sorted(order, reverse=objective == "p95")
    assert axis_title(found, "cpu-1thread") == title
    estimated = next(row for row in student_rows(found) if row.point.stage == "searched")
    # 55 %, 25 % and 20 % leave at the exits: at the 95th of a hundred images the last one.
    last = estimated.point.latency_ms["cpu-1thread"].per_exit[-1]
    assert estimated.cost("cpu-1thread") == (None if objective == "energy" else pytest.approx(last))


def test_students_whose_median_is_worse_can_be_hidden(report: Draft) -> None:
    assert "data-hides=" not in page(model(report))
    report["points"][0]["remarks"] = [f"{MEDIAN_WORSE}: 2 against 1 ms on cpu-1thread"]
    html = page(model(report))
    assert f'data-hides="{MEDIAN_WORSE}"' in html
    assert f"{MEDIAN_WORSE}: 2 against 1 ms" in html


def test_a_student_that_is_a_baseline_is_one_line_of_the_csv(report: Draft) -> None:
    twin = report["points"][0]
    twin["file"] = "students/twin/model.onnx"
    report["baselines"].append({**twin, "role": "student_without_exits"})
    lines = list(csv.DictReader(io.StringIO(pareto_csv(model(report)), newline="")))
    assert len(lines) == len(report["points"]) + len(report["baselines"]) - 1 + 1  # the twin once, and the teacher
    assert [line["role"] for line in lines if line["file"] == twin["file"]] == ["student_without_exits"]

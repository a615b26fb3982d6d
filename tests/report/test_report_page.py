"""The page: its size, its colours, what is folded, and that its data cannot end the element that it stands in."""

import json
import re
from dataclasses import replace
from itertools import product

import pytest

from erde_nas.report.architecture import shape_text
from erde_nas.report.chart_data import chart_data, progress
from erde_nas.report.page import WEB, page
from erde_nas.report_data.evidence import CurvePoint, TestAnswers, TrainedStudent
from erde_nas.report_data.report import SearchedTrial
from tests.report.conftest import ARCH, Draft, latency, model, point

MOST = 3_000_000  # bytes, for 500 students


def data_of(html: str) -> dict:
    (text,) = re.findall(r'<script type="application/json" id="data">(.*?)</script>', html, re.S)
    return json.loads(text)


def test_five_hundred_students_stay_below_three_megabytes(report: Draft) -> None:
    """All of them finished, pruned and in int8, each with a curve of 20 points; 60 points offered, 500 trials."""
    points = []
    for number in range(500):
        for stage, profile in (
            ("finished", "cpu-1thread"),
            ("pruned", "cpu-1thread"),
            ("quantized", "cpu-1thread-int8"),
        ):
            name = f"{number:010x}" + ("-p50" if stage == "pruned" else "")
            ms = {profile: latency(0.1 + number / 5000, profile)}
            good = number % 25 == 0
            why = "" if good else "dominated: others are at least as accurate on validation and cheaper"
            points.append(point(name, stage, 0.8 + number / 5000, 1e6 + number, ms, offered=good, reason=why))
    report["points"], report["fronts"] = points, {}
    answers = TestAnswers(
        (4000, 3000, 3000), (3900, 2800, 2500), (900,) * 10, ((90,) * 10,) * 10, (((100, 0.8123, 80),) * 8,) * 3
    )
    curve = tuple(CurvePoint((k / 7, k / 9), (k / 20, 0.5 - k / 40, 0.5 - k / 40), 0.9 + k / 700) for k in range(20))
    full = replace(
        model(report),
        points=tuple(replace(p, answers=answers) for p in model(report).points),
        curves={p["file"]: curve for p in points},
        students={p["student"]: TrainedStudent(0.8, ((6, 0.85),)) for p in points},
        searched=tuple(
            SearchedTrial(f"{n:010x}", "complete", "", 0.8, 1e6, 1000, {"cpu-1thread": 0.2}, shape_text(ARCH.to_dict()))
            for n in range(500)
        ),
    )
    assert len(page(full).encode()) < MOST


def _colours(theme: str) -> dict[str, tuple[float, ...]]:
    css = (WEB / "page.css").read_text(encoding="utf-8")
    block = css[css.index(theme) :]
    found = re.findall(r"--([a-z-]+): #([0-9a-f]{6})", block[: block.index("}")])
    return {name: tuple(int(code[i : i + 2], 16) / 255 for i in (0, 2, 4)) for name, code in found}


def _luminance(colour: tuple[float, ...]) -> float:
    """WCAG 2.2, relative luminance."""
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in colour]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def _contrast(one: tuple[float, ...], other: tuple[float, ...]) -> float:
    low, high = sorted((_luminance(one), _luminance(other)))
    return (high + 0.05) / (low + 0.05)


@pytest.mark.parametrize("theme", [":root {", ':root[data-theme="dark"]'])
def test_texts_and_marks_can_be_seen_in_both_themes(theme: str) -> None:
    """WCAG's least contrasts: 4.5 for texts, 3 for marks."""
    colours = _colours(theme)
    for text, ground in product(("ink", "faint", "accent", "warn"), ("ground", "panel", "raised", "wash")):
        assert _contrast(colours[text], colours[ground]) >= 4.5, (text, ground)
    assert _contrast(colours["on-accent"], colours["accent"]) >= 4.5
    assert _contrast(colours["warn"], colours["warn-wash"]) >= 4.5
    for mark in ("searched", "finished", "quantized", "cascade", "baseline", "teacher", "bad"):
        assert _contrast(colours[mark], colours["raised"]) >= 3, mark


def test_what_is_not_offered_is_grouped_by_reason_one_line_per_student(report: Draft) -> None:
    for number, one in enumerate(report["points"][:4]):
        one |= {"offered": False, "reason": f"latency_ms {number + 2.5} is over cpu-1thread's limit 2"}
    report["points"].append({**report["points"][0], "thresholds": [0.1, 0.2]})
    html = page(model(report))
    assert html.count("<summary>4 students: latency_ms … is over cpu-1thread&#x27;s limit …</summary>") == 1
    assert html.count("<li>9f3a1c2b7e (finished)") == 1
    assert "2 operating points" in html


def test_the_table_of_the_answer_has_at_most_six_columns(report: Draft) -> None:
    tables = re.findall(r'<table class="offer".*?</thead>', page(model(report)), re.S)
    assert len(tables) == 2
    assert all(table.count("<th ") <= 6 for table in tables)


def test_arrows_lead_from_what_was_pruned_to_what_came_of_it(report: Draft) -> None:
    found = chart_data(model(report))
    named = [tuple((found["points"][i]["name"], found["points"][i]["stage"]) for i in ends) for ends in found["arrows"]]
    student = "c51e0f9a33"
    assert ((student, "finished"), (student, "pruned")) in named
    assert ((student, "pruned"), (student, "quantized")) in named
    assert len(named) == 8


def test_a_pruned_student_of_another_name_has_its_parent(report: Draft) -> None:
    report["points"][1]["student"] = "9f3a1c2b7e-p50"
    full = replace(model(report), students={"9f3a1c2b7e-p50": TrainedStudent(parent="9f3a1c2b7e")})
    found = chart_data(full)
    named = [tuple(found["points"][i]["name"] for i in ends) for ends in found["arrows"]]
    assert ("9f3a1c2b7e", "9f3a1c2b7e-p50") in named


def test_the_hypervolume_by_hand(report: Draft) -> None:
    """The teacher takes 2.31 ms. (0.2, 0.5) dominates 0.8 * 0.5; (0.1, 0.75) adds 0.1 * 0.25; the rest adds nothing."""
    trials = [(0.8, 1.155), (0.9, 1.7325), None, (0.7, 2.0)]
    report["searched"] = [
        {"student": str(i), "state": "failed" if values is None else "complete", "reason": "",
         "val_accuracy": values and values[0], "latency_ms": values and {"cpu-1thread": values[1]},
         "macs": None, "params": None}
        for i, values in enumerate(trials)
    ]  # fmt: skip
    found = progress(model(report))
    assert found is not None
    assert found["values"] == pytest.approx([0.4, 0.425, 0.425, 0.425])
    assert (found["failed"], found["cost"], found["of"]) == ([2], "cpu-1thread", "teacher's")


def test_the_slider_has_the_digits_that_are_known(report: Draft) -> None:
    """Of 04bd77e1aa in int8, 69.7 µs known to 1 % and in doubt: 2.31 / 0.0697 = 33.1."""
    students = {one["id"]: one for one in data_of(page(model(report)))["students"]}
    (place,) = students["04bd77e1aa"]["profiles"]["cpu-1thread-int8"]["places"]
    assert (place["mean"], place["faster"]) == ("69.7 µs!", "33.1×!")
    (place,) = students["c51e0f9a33"]["profiles"]["cpu-1thread-int8"]["places"]
    assert (place["mean"], place["faster"]) == ("275 µs", "8.4×")


def test_shapes_in_words() -> None:
    assert shape_text(ARCH.to_dict()) == "resnet, stem 8, blocks 8 16×2 32×2, exits 1 (gap), 2 (erde), 4 (gap)"
    assert shape_text(None) == ""


def test_values_that_json_does_not_know_are_null(report: Draft) -> None:
    full = model(report)
    file = full.points[0].file or ""
    odd = replace(full, curves={file: (CurvePoint((float("inf"), 0.1), (1.0, 0.0, 0.0), 0.99),)})
    assert data_of(page(odd))["students"]

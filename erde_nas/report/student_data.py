"""What the page shows of each offered student: a drawing, the points a budget can choose, what became of images."""

import shlex
from collections.abc import Sequence
from typing import Any

from erde_nas.report.answer import export_command
from erde_nas.report.architecture import drawing
from erde_nas.report.budgets import Choice, budget_choices, budget_profiles, shipped_files
from erde_nas.report.exits import exit_rows
from erde_nas.report.points import Row, show_speed_up, student_rows, teacher_row
from erde_nas.report.summary import chosen
from erde_nas.report.units import latency_unit, one_line
from erde_nas.report_data.evidence import TestAnswers
from erde_nas.report_data.point import Point
from erde_nas.report_data.report import Report
from erde_nas.report_data.uncertainty import doubts, uncertainty

Json = dict[str, Any]
MOST_CONFUSIONS = 60  # students whose confusion is in the page: it grows with the square of the classes


def student_data(report: Report, folder: str) -> list[Json]:
    """The students worth a look: those with an offered point, the answer first; while none is, all of them."""
    best = chosen(report)
    rows = exit_rows(report) or student_rows(report)
    if best is not None:
        rows = [best.row, *(row for row in rows if row != best.row)]
    names = list(dict.fromkeys((row.point.student, row.name) for row in rows))
    return [
        _student(report, student, name, folder, whole=place < MOST_CONFUSIONS)
        for place, (student, name) in enumerate(names)
    ]


def _student(report: Report, student: str, name: str, folder: str, whole: bool) -> Json:
    own = [row for row in student_rows(report) if row.point.student == student]
    files = shipped_files(report, student)
    choices = {profile: found for profile in report.profiles if (found := budget_choices(report, student, profile))}
    measured = [point for points in files.values() for point in points] or [own[0].point]
    made = report.students.get(student)
    return {
        "id": student,
        "name": name,
        "stages": list(dict.fromkeys(row.stage for row in own)),
        "parts": _parts(report, measured[0]),
        "files": list(files),
        "points": [_measured(point, whole) for point in measured],
        "profiles": {profile: _profile(report, profile, found, measured) for profile, found in choices.items()},
        "export": export_command(Row("student", 0, measured[0]), folder) if files else "",
        "training": None
        if made is None
        else {"searched": made.searched_accuracy, "rungs": made.rungs, "parent": one_line(made.parent)},
    }


def _profile(report: Report, profile: str, choices: Sequence[Choice], measured: Sequence[Point]) -> Json:
    """The slider's places under a profile. `teacher` is its mean there in milliseconds."""
    teacher = teacher_row(report)
    names = budget_profiles(report)
    option = "" if profile == (names[0] if names else "") else f" --profile {shlex.quote(profile)}"
    places = {id(point): place for place, point in enumerate(measured)}
    files = list(dict.fromkeys(point.file or "" for point in measured))
    return {
        "teacher": teacher.mean(profile) if teacher else None,
        "option": option,
        "keeps": profile in names,
        "places": [
            {
                "ms": float(f"{one.mean_ms:.6g}"),
                "val": round(100 * one.val_accuracy, 4),
                "shares": [round(share, 5) for share in one.exit_fractions],
                "at": [float(f"{threshold:.4g}") for threshold in one.thresholds],
                "budget": one.budget_ms,
                "file": files.index(one.file),
                **({} if one.point is None else {"point": places[id(one.point)], **_known(report, one.point, profile)}),
            }
            for one in choices
        ],
    }


def _known(report: Report, point: Point, profile: str) -> Json:
    """Mean and speed-up of a measured point with the digits that are known of them, and a ! where they are in doubt."""
    latency = point.latency_ms[profile]
    mean = latency.mean or 0.0
    shown = latency_unit([mean]).show_with_symbol(mean, uncertainty(latency))
    factor = show_speed_up(report, Row("student", 0, point), profile)
    return {"mean": shown + ("!" if doubts(latency) else ""), "faster": factor.replace("x", "×")}


def _measured(point: Point, whole: bool) -> Json:
    """A measured operating point; `whole` with its confusion."""
    interval = point.test_accuracy_ci95
    return {
        "file": point.file,
        "stage": point.stage,
        "at": [float(f"{threshold:.4g}") for threshold in point.thresholds],
        "shares": [round(share, 5) for share in point.exit_fractions],
        "val": round(100 * point.val_accuracy, 4),
        "test": None if point.test_accuracy is None else round(100 * point.test_accuracy, 4),
        "ci": None if interval is None else [round(100 * end, 3) for end in interval],
        "macs": point.macs_per_exit,
        "alone": None if point.exit_accuracy is None else [round(100 * share, 3) for share in point.exit_accuracy],
        "perExit": {profile: found.per_exit for profile, found in point.latency_ms.items()},
        "answers": None if point.answers is None else _answers(point.answers, whole),
    }


def _answers(answers: TestAnswers, whole: bool) -> Json:
    return {
        "left": answers.left,
        "right": answers.right,
        "classRight": answers.class_right,
        "confusion": answers.confusion if whole else (),
        "calibration": answers.calibration,
        "examples": answers.examples,
    }


def _parts(report: Report, point: Point) -> list[Json]:
    """The networks of a student as they are drawn, one after the other; of a cascade two. Without an architecture a
    network is its exits alone."""
    exits = len(point.exit_fractions)
    if point.arch is not None:
        return [drawing(point.arch)]
    if not point.cascade:
        return [_unknown("", exits)]
    archs = {other.student: other.arch for other in report.points if other.arch}
    parts = [drawing(archs[name]) if name in archs else _unknown(name, 1) for name in point.cascade]
    missing = exits - sum(len(part["exits"]) for part in parts)
    return parts if missing == 0 else [_unknown(" + ".join(point.cascade), exits)]


def _unknown(name: str, exits: int) -> Json:
    """A network of which nothing but its exits is known: a block for each."""
    blocks = [{"width": None, "stride": 1, "text": one_line(name)} for _ in range(exits)]
    return {
        "family": one_line(name),
        "stem": None,
        "size": None,
        "stemStride": 1,
        "blocks": blocks,
        "exits": [{"block": place, "head": ""} for place in range(exits)],
    }

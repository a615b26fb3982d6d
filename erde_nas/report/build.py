"""Writes the report of a run: pareto.json, pareto.csv, report.md, report.html and front.png."""

import csv
import io
import os
from dataclasses import replace
from pathlib import Path
from typing import Any

from erde_nas.errors import UserError
from erde_nas.files import Scratch, sweep_scratch
from erde_nas.report.markdown import markdown
from erde_nas.report.page import page
from erde_nas.report.plots import front_png
from erde_nas.report.points import MACS, Row, comparison_rows, front_rows, profile_names, speed_up, student_rows
from erde_nas.report_data.report import Report
from erde_nas.report_data.report_file import FILE, report_json

FIELDS = (
    "role",
    "student",
    "stage",
    "offered",
    "reason",
    "remarks",
    "val_accuracy",
    "test_accuracy",
    "macs",
    "params",
    "size_bytes",
    "file",
)
LISTS = ("test_accuracy_ci95", "thresholds", "exit_fractions", "exit_accuracy", "macs_per_exit")
STAGING = ".report-"  # how the folder begins in which the files are made
LATENCY = ("mean", "p50", "p95", "p99", "expected_mean")
CONDITIONS = (
    *("source", "runtime", "versions", "device", "threads", "batch_size", "precision"),
    *("iqr_over_median", "noisy", "interrupted", "memory_bytes", "energy_mj", "note"),
)


def write_report(run_dir: Path, report: Report) -> list[Path]:
    """Writes all files of the report into `run_dir` and returns their paths; existing ones are replaced.

    An unfinished run gets no pareto.json. Every file is complete before the first is replaced, so that a failure leaves
    the former report as it was. Raises UserError where the folder cannot be written.
    """
    contents = {
        "pareto.csv": pareto_csv(report).encode(),
        "report.md": markdown(report).encode(),
        "report.html": page(report, run_dir).encode(),
        "front.png": front_png(report),
    }
    if not report.unfinished:  # what is read from the folder later must be the whole
        contents[FILE] = report_json(report).encode()
    try:
        _replace(run_dir, contents)
    except OSError as error:
        raise UserError(
            f"the report cannot be written to {run_dir}: {error.strerror or error}; make the folder writable, or free "
            "space, and run 'erde-nas report' on it"
        ) from error
    return [run_dir / name for name in contents]


def _replace(run_dir: Path, contents: dict[str, bytes]) -> None:
    run_dir.mkdir(parents=True, exist_ok=True)
    sweep_scratch(run_dir, STAGING)
    with Scratch(STAGING, run_dir) as staging:
        for name, data in contents.items():
            (Path(staging) / name).write_bytes(data)
        for name in contents:
            os.replace(Path(staging) / name, run_dir / name)


def pareto_csv(report: Report) -> str:
    """One line per point; lists are separated by spaces, unknown values empty, latencies in ms per profile.

    `fronts` names the costs on whose front the point is; `exits` are the blocks, counted from 0; `cost` is what the
    profile's objective says.
    """
    fronts = {cost: {row.index for row in front_rows(report, cost)} for cost in (MACS, *profile_names(report))}
    rows = [_csv_row(report, row, fronts) for row in _once(student_rows(report), comparison_rows(report))]
    header = ["fronts", *FIELDS, "exits", *LISTS]
    for name in profile_names(report):
        times = [f"{key}_ms" for key in (*LATENCY, "mean_low", "mean_high")]
        header += [f"{name}.{key}" for key in (*times, *CONDITIONS, "speed_up", "cost")]
    text = io.StringIO()
    writer = csv.DictWriter(text, header, restval="", lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()


def _once(students: list[Row], others: list[Row]) -> list[Row]:
    """All rows; of a student that is a baseline as well one, with its role."""
    twins = {(row.point.file, row.point.thresholds): row for row in others if row.point.role == "student_without_exits"}
    known = [(row.point.file, row.point.thresholds) for row in students]
    rows = []
    for row, place in zip(students, known, strict=True):
        twin = twins.get(place) if row.point.file else None
        rows.append(replace(row, point=replace(row.point, role=twin.point.role)) if twin else row)
    return rows + [row for row in others if not row.point.file or (row.point.file, row.point.thresholds) not in known]


def _csv_row(report: Report, row: Row, fronts: dict[str, set[int]]) -> dict[str, Any]:
    on = [cost for cost, indices in fronts.items() if row.kind == "student" and row.index in indices]
    cells: dict[str, Any] = {"fronts": " ".join(on), "exits": " ".join(map(str, row.exit_blocks))}
    cells |= {key: getattr(row.point, key) for key in FIELDS} | {"remarks": "; ".join(row.point.remarks)}
    cells |= {key: " ".join(map(str, getattr(row.point, key) or ())) for key in LISTS}
    for name in profile_names(report):
        latency = row.latency(name)
        if latency is None:
            continue
        cells |= {f"{name}.{key}_ms": getattr(latency, key) for key in LATENCY}
        low, high = latency.interval or (None, None)
        cells |= {f"{name}.mean_low_ms": low, f"{name}.mean_high_ms": high}
        cells |= {f"{name}.{key}": getattr(latency, key) for key in CONDITIONS}
        cells[f"{name}.speed_up"] = speed_up(report, row, name)
        cells[f"{name}.cost"] = row.cost(name)
    return cells

"""A finished run keeps the contract of its folder: what is in it, and what its numbers promise."""

import csv
import json
import math
import shutil
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import onnx
import pytest
from safetensors.numpy import load_file

from erde_nas import pipeline
from erde_nas.data.dataset import Dataset, Split
from erde_nas.device.instructions import ARM, EXACT_INT8, canonical, exact_int8, in_words
from erde_nas.device.machine import this_cpu
from erde_nas.networks.arch import Arch
from erde_nas.onnx_files.nest import thresholds_of
from erde_nas.onnx_files.quantize import Quantization
from erde_nas.recipe.profile import HardwareProfile
from erde_nas.report_data.json_records import from_json
from erde_nas.report_data.point import Point
from erde_nas.results.measured_file import read_measured
from erde_nas.results.network_points import confidence
from erde_nas.run.folder import RunStore
from erde_nas.run.manifest import Int8Form, Manifest, write_manifest

POINT = {
    "student", "stage", "arch", "thresholds", "exit_fractions", "val_accuracy", "test_accuracy", "test_accuracy_ci95",
    "macs", "macs_per_exit", "params", "size_bytes", "latency_ms", "file",
}  # fmt: skip
LATENCY = {"mean", "p50", "p95", "p99", "expected_mean", "source", "runtime", "threads", "batch_size", "precision"}
REPORT = {"schema", "objectives", "dataset", "teacher", "baselines", "points", "hypervolume"}
TEST_IMAGES = 359  # a fifth of sklearn's 1797 digits
STUDENT_FILES = {"arch.json", "weights.safetensors", "metrics.json"}


@pytest.fixture(scope="module")
def report(finished: Path):
    return json.loads((finished / "pareto.json").read_text())


@pytest.fixture(scope="module")
def measured_points(report):
    """Everything that was deployed: the teacher, the baselines, finished, pruned and quantized students."""
    students = [point for point in report["points"] if point["stage"] != "searched"]
    return [report["teacher"], *report["baselines"], *students]


def test_the_folder_holds_what_the_design_promises(finished):
    names = {path.name for path in finished.iterdir()}
    assert names >= {
        "recipe.yaml", "profiles", "manifest.json", "study.db", "teacher", "students", "pareto.json", "pareto.csv",
        "report.html", "report.md", "front.png",
    }  # fmt: skip
    assert not [path for path in finished.rglob("*.tmp")]
    assert [path.name for path in (finished / "profiles").iterdir()] == ["quick.yaml"]
    assert (finished / "front.png").read_bytes().startswith(b"\x89PNG")
    assert "<html" in (finished / "report.html").read_text()[:200]


def test_the_manifest_says_how_the_run_came_about(finished):
    manifest = json.loads((finished / "manifest.json").read_text())
    assert manifest["recipe"] == "tiny"
    assert manifest["environment"]["versions"].keys() >= {"torch", "onnxruntime", "optuna"}
    assert manifest["timings_s"].keys() == {
        *("start", "reference", "teacher", "teacher check", "search", "finish", "prune", "slim", "export", "measure"),
        "report",
    }
    assert manifest["compute"]["threads"] >= 1


def test_every_student_has_its_files(finished, report):
    stages = {}
    for folder in (finished / "students").iterdir():
        names = {path.name for path in folder.iterdir()}
        assert names >= STUDENT_FILES
        stage = stages[folder.name] = json.loads((folder / "metrics.json").read_text())["stage"]
        assert ({"model.onnx", "model.int8.onnx"} <= names) == (stage in ("finished", "pruned"))
        arch = Arch.from_dict(json.loads((folder / "arch.json").read_text()))
        assert folder.name == arch.id or stage == "pruned"
    trained = {name: stage for name, stage in stages.items() if "-x" not in name}
    assert sorted(trained.values()) == ["finished", "pruned", "searched", "searched"]
    finished_one = next(name for name, stage in stages.items() if stage == "finished")
    assert stages[f"{finished_one}-p50"] == "pruned"
    for name in (finished_one, f"{finished_one}-p50"):
        exits = len(json.loads((finished / "students" / name / "arch.json").read_text())["exits"])
        cut = {other.removeprefix(f"{name}-x") for other in stages if other.startswith(f"{name}-x")}
        assert cut >= ({"0", str(exits - 1)} if exits > 1 else set()), "cut at its first exit, and without early exits"
    assert {row["student"] for row in report["searched"]} == {n for n, stage in stages.items() if stage != "pruned"}


def test_finishing_trained_the_brief_checkpoint_on(finished):
    """Two students for one epoch, the better one for another: each rung goes on from the checkpoint before."""
    halving = json.loads((finished / "manifest.json").read_text())["halving"]
    assert [(rung["rung"], rung["epochs"], len(rung["students"])) for rung in halving] == [(0, 1, 2), (1, 1, 1)]
    (kept,) = halving[1]["students"]
    (dropped,) = set(halving[0]["students"]) - {kept}
    metrics = {
        name: json.loads((finished / "students" / name / "metrics.json").read_text()) for name in (kept, dropped)
    }
    assert {name: (m["stage"], len(m["rungs"])) for name, m in metrics.items()} == {
        kept: ("finished", 2),
        dropped: ("searched", 1),
    }
    ours, other = (np.array(metrics[name]["rungs"][0]["objectives"]) for name in (kept, dropped))
    assert not ((other <= ours).all() and (other < ours).any()), "the one that was dropped dominates"
    steps = [load_file(finished / "students" / kept / name) for name in ("brief.safetensors", "rung0.safetensors")]
    steps.append(load_file(finished / "students" / kept / "weights.safetensors"))
    for before, after in pairwise(steps):
        assert before.keys() == after.keys()
        assert any(not np.array_equal(before[name], after[name]) for name in before)
    unfinished = finished / "students" / dropped
    brief, weights = (load_file(unfinished / name) for name in ("brief.safetensors", "weights.safetensors"))
    assert all(np.array_equal(brief[name], weights[name]) for name in brief)


def test_pareto_json_has_the_promised_keys(report):
    assert report.keys() >= REPORT
    assert report["schema"] == 1
    assert report["objectives"] == ["error", "latency_ms:quick"]
    assert report["dataset"].items() >= {"name": "digits", "train": 120, "test": TEST_IMAGES}.items()
    assert report["dataset"]["classes"] == [str(digit) for digit in range(10)]
    assert report["interrupted"] is False
    for point in [report["teacher"], *report["baselines"], *report["points"]]:
        assert point.keys() >= POINT
        for latency in point["latency_ms"].values():
            assert latency.keys() >= LATENCY


def test_every_point_has_a_threshold_per_exit_but_the_last(report):
    for point in [report["teacher"], *report["baselines"], *report["points"]]:
        exits = len(point["macs_per_exit"])
        assert len(point["thresholds"]) == exits - 1
        assert len(point["exit_fractions"]) == exits
        assert math.isclose(sum(point["exit_fractions"]), 1, abs_tol=1e-6)
        assert len(point["arch"]["exits"]) == exits
        assert point["macs_per_exit"] == sorted(point["macs_per_exit"])


def test_macs_are_the_mean_over_the_exits_taken(report):
    for point in [report["teacher"], *report["baselines"], *report["points"]]:
        assert point["macs"] == pytest.approx(np.dot(point["exit_fractions"], point["macs_per_exit"]))


def test_accuracies_are_shares_inside_their_interval(measured_points):
    for point in measured_points:
        low, high = point["test_accuracy_ci95"]
        assert 0 <= low <= point["test_accuracy"] <= high <= 1
        assert 0 <= point["val_accuracy"] <= 1
        right = point["test_accuracy"] * TEST_IMAGES
        assert right == pytest.approx(round(right)), "not a share of the test images"
        assert all(0 <= accuracy <= 1 for accuracy in point["exit_accuracy"])


def test_the_interval_is_wilsons():
    images = Split(np.zeros((10, 1, 8, 8), np.uint8), np.zeros(10, np.int64))
    dataset = Dataset("ten", images, images, images, ("a", "b"), (0.0,), (1.0,), "")
    n, p, z = 10, 0.8, 1.959964
    middle, half = p + z**2 / (2 * n), z * math.sqrt(p * (1 - p) / n + z**2 / (4 * n**2))
    expected = [(middle + sign * half) / (1 + z**2 / n) for sign in (-1, 1)]
    assert confidence(0.8, dataset) == pytest.approx(expected, abs=1e-6)


def test_the_teacher_learned_something(report):
    assert report["teacher"]["test_accuracy_ci95"][0] > 0.15, "ten classes: chance is 0.1"


def test_deployed_points_are_measured(measured_points):
    for point in measured_points:
        if point["file"].endswith(".int8.onnx"):
            assert point["stage"] == "quantized"
        latency = point["latency_ms"]["quick"]
        assert (latency["source"], latency["runtime"], latency["threads"]) == ("measured", "onnxruntime", 1)
        assert 0 < latency["p50"] <= latency["p95"] <= latency["p99"]
        assert latency["expected_mean"] == pytest.approx(np.dot(point["exit_fractions"], latency["per_exit"]))
        assert latency["precision"] == ("int8" if point["stage"] == "quantized" else "fp32")


def test_searched_points_are_estimates_and_not_offered(report):
    searched = [point for point in report["points"] if point["stage"] == "searched"]
    for point in searched:
        assert not point["offered"]
        assert point["test_accuracy"] is None, "test is read for the report's students alone"
        assert {entry["source"] for entry in point["latency_ms"].values()} == {"estimated"}


def test_the_baselines_are_there(report):
    roles = [point["role"] for point in report["baselines"]]
    assert {"teacher_with_exits", "student_without_exits"} <= set(roles)
    assert report["teacher"]["role"] == "teacher"
    assert report["teacher"]["thresholds"] == []
    plain = next(point for point in report["baselines"] if point["role"] == "student_without_exits")
    assert plain["thresholds"] == []
    own = next(point for point in report["baselines"] if point["role"] == "teacher_with_exits")
    assert len(own["thresholds"]) == 2


def test_pareto_csv_has_a_line_for_every_point(finished, report):
    with (finished / "pareto.csv").open() as file:
        rows = list(csv.DictReader(file))
    files = {point["file"] for point in report["points"]}
    others = [point for point in report["baselines"] if point["file"] not in files]  # the rest are students as well
    assert len(rows) == len(report["points"]) + len(others) + 1
    for point in report["points"]:
        assert any(
            row["student"] == point["student"]
            and row["stage"] == point["stage"]
            and float(row["val_accuracy"]) == point["val_accuracy"]
            and [float(value) for value in row["thresholds"].split()] == point["thresholds"]
            for row in rows
        )


def test_files_are_where_the_points_say(finished, measured_points):
    for point in measured_points:
        path = finished / point["file"]
        assert path.stat().st_size == point["size_bytes"]
        assert len(thresholds_of(onnx.load(path))) == len(point["thresholds"])


def test_measured_points_survive_their_file(finished, report):
    found = read_measured(RunStore(finished))
    judged = {"offered": True, "reason": "", "dominated": False, "remarks": ()}
    again = [replace(from_json(Point, point), **judged) for point in report["baselines"]]
    assert list(found.baselines) == again
    assert found.teacher == from_json(Point, report["teacher"])


def test_a_run_without_a_measurement_has_none(finished, tmp_path):
    shutil.copy(finished / "manifest.json", tmp_path)
    assert read_measured(RunStore(tmp_path)).points == ()


def test_int8_files_suit_this_machine_and_the_report_says_which_cpus(finished, measured_points):
    bits = 8 if exact_int8(this_cpu()) else 7
    assert json.loads((finished / "manifest.json").read_text())["int8"] == {
        "weight_bits": bits,
        "signed": canonical(this_cpu().architecture) == ARM,
    }
    for point in measured_points:
        needs = list(EXACT_INT8) if bits == 8 and point["stage"] == "quantized" else []
        assert point["instructions"] == needs
    said = "weights have 7 bits: the accuracy holds on any CPU"
    assert (said in text(finished)) is (bits == 7)
    assert (f"weights have 8 bits: the accuracy holds on {in_words(EXACT_INT8)};" in text(finished)) is (bits == 8)


def text(folder):
    return (folder / "report.md").read_text()


@pytest.mark.parametrize(("before", "now", "after"), [(None, 8, 8), (None, 7, 7), (8, 7, 7), (7, 8, 7), (8, 8, 8)])
def test_a_run_continued_on_another_machine_gets_files_for_both(tmp_path, monkeypatch, before, now, after):
    store, said = RunStore(tmp_path), []
    known = None if before is None else Int8Form(before, False)
    write_manifest(tmp_path, Manifest(1, "tiny", ("p",), {}, {"dataset": "pixels"}, {}, int8=known))
    monkeypatch.setattr(pipeline, "int8_form", lambda profiles: Quantization(weight_bits=now))
    how = pipeline._int8(store, (HardwareProfile(name="p", precision="int8"),), SimpleNamespace(say=said.append))
    assert (how.weight_bits, store.manifest().int8.weight_bits) == (after, after)
    assert f"{after}-bit weights" in said[0]

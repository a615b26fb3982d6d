"""Single files that fail in the final measurement: they are left out with their reason, and the run goes on."""

import json
from pathlib import Path

import pytest

from erde_nas.device.runtimes import onnxruntime
from erde_nas.onnx_files import write as deploy


@pytest.fixture
def broken(monkeypatch: pytest.MonkeyPatch, tiny) -> None:
    """A runtime that refuses the teacher's file, and a quantizer that fails on networks of one segment."""
    monkeypatch.setenv("ERDE_NAS_CACHE", str(tiny.cache))
    prepare, quantize = onnxruntime.prepare, deploy.quantize_segments

    def refusing(student, setting, folder):
        if student.file.parent.name == "teacher" and student.file.name == "no-exits.onnx":
            raise RuntimeError("no kernel for Conv\nsecond line")
        return prepare(student, setting, folder)

    def failing(models, *more):
        if len(models) == 1:
            raise ValueError("cannot be calibrated")
        return quantize(models, *more)

    monkeypatch.setattr(onnxruntime, "prepare", refusing)
    monkeypatch.setattr(deploy, "quantize_segments", failing)


def test_failing_files_cost_nothing_but_themselves(cli, run: Path, broken: None, shortlisted: str) -> None:
    done = cli("compress", run)
    assert done.code == 0, done.err
    report = json.loads((run / "pareto.json").read_text())
    left_out = report["left_out"]
    refused = "quick: onnxruntime cannot prepare no-exits.onnx: RuntimeError: no kernel for Conv second line"
    assert left_out["teacher/no-exits.onnx"] == refused
    assert left_out["teacher/no-exits.int8.onnx"] == "ValueError: cannot be calibrated"
    assert {(p["student"], p["stage"]) for p in report["points"]} >= {(shortlisted, "finished")}
    assert any(point["offered"] for point in report["points"])
    teacher = report["teacher"]
    assert (teacher["role"], teacher["file"], teacher["latency_ms"]) == ("teacher", None, {})
    assert teacher["test_accuracy"] == pytest.approx(teacher["exit_accuracy"][-1])
    assert 0 < teacher["test_accuracy_ci95"][0] <= teacher["test_accuracy"] <= teacher["test_accuracy_ci95"][1]
    roles = [point["role"] for point in report["baselines"]]
    assert "teacher_with_exits" in roles
    assert "student_without_exits" in roles
    for text in ((run / "report.md").read_text(), (run / "report.html").read_text()):
        assert f"could not be deployed and measured: {refused}" in text
    assert f"teacher/no-exits.onnx is left out: {refused}" in done.err
    assert "Traceback" not in done.err

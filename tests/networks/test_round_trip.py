"""Save, load, evaluate: every stage gives the metrics that the run recorded, in a process that knows no search."""

import json
import os
import shutil
import subprocess
import sys

import pytest

EVALUATE = """
import json, pickle, sys
from pathlib import Path

import numpy as np
import onnx

from erde_nas.data.load import load_dataset
from erde_nas.onnx_files.nest import split
from erde_nas.networks.macs import macs_per_exit
from erde_nas.networks.operating_points import operate
from erde_nas.recipe.images import DatasetSection
from erde_nas.device.runtimes.onnxruntime import run_segments
from erde_nas.networks.logits import all_logits
from erde_nas.networks.weights import load_network

def load_without_pickles(path):
    loaders = {name: getattr(pickle, name) for name in ("load", "loads", "Unpickler")}
    for name in loaders:
        setattr(pickle, name, None)
    try:
        return load_network(path)
    finally:
        for name, loader in loaders.items():
            setattr(pickle, name, loader)

job = json.loads(sys.stdin.read())
dataset = load_dataset(DatasetSection(**job["dataset"]), None)
answers = []
for file, thresholds in job["files"]:
    path, found = Path(file), {}
    if path.suffix == ".onnx":
        segments = [segment.SerializeToString() for segment in split(onnx.load(path))]
        logits, costs = lambda images: run_segments(segments, images), [1.0] * len(segments)
    else:
        network = load_without_pickles(path)
        logits, costs = lambda images: all_logits(network, images), list(macs_per_exit(network))
        found = {"macs_per_exit": costs, "params": sum(p.numel() for p in network.parameters())}
    validation = operate(logits(dataset.validation.images), dataset.validation.labels, costs, thresholds)
    test = operate(logits(dataset.test.images), dataset.test.labels, costs, thresholds)
    found |= {"val_accuracy": validation.accuracy, "exit_fractions": list(validation.exit_fractions)}
    answers.append({**found, "test_accuracy": test.accuracy})
names = ("pipeline", "distil.context", "run.folder", "results.measured")
search = {"optuna", "nni", *(f"erde_nas.{name}" for name in names)}
print(json.dumps([answers, sorted(search & sys.modules.keys())]))
"""


@pytest.fixture(scope="module")
def recorded(finished):
    """What the run says of every student, per stage: (file, thresholds, metrics)."""
    rows = {"searched": [], "finished": [], "pruned": [], "quantized": []}
    for folder in sorted((finished / "students").iterdir()):
        metrics = json.loads((folder / "metrics.json").read_text()).get("searched")
        if metrics is not None:
            brief = folder / "brief.safetensors"
            rows["searched"].append((brief if brief.exists() else folder / "weights.safetensors", metrics))
    for point in json.loads((finished / "pareto.json").read_text())["points"]:
        if point["stage"] != "searched":
            model = finished / point["file"]
            file = model if point["stage"] == "quantized" else model.with_name("weights.safetensors")
            rows[point["stage"]].append((file, point))
    return rows


@pytest.fixture(scope="module")
def evaluated(finished, recorded, tmp_path_factory):
    """The same files, and of a network nothing but arch.json and its weights, evaluated in a fresh process."""
    away = tmp_path_factory.mktemp("away")
    files = []
    for stage, rows in recorded.items():
        for number, (file, metrics) in enumerate(rows):
            copy = away / f"{stage}{number}" / file.name
            copy.parent.mkdir()
            shutil.copyfile(file, copy)
            if file.suffix == ".safetensors":
                shutil.copyfile(file.with_name("arch.json"), copy.with_name("arch.json"))
            files.append((str(copy), metrics["thresholds"]))
    job = {"dataset": {"name": "digits", "train_limit": 120, "validation": 0.25}, "files": files}
    done = subprocess.run(
        [sys.executable, "-c", EVALUATE],
        input=json.dumps(job),
        capture_output=True,
        text=True,
        env={**os.environ, "ERDE_NAS_CACHE": str(away / "empty")},
    )
    assert done.returncode == 0, done.stderr
    answers, search = json.loads(done.stdout)
    assert search == []
    assert not (away / "empty").exists()
    found = iter(answers)
    return {stage: [next(found) for _ in rows] for stage, rows in recorded.items()}


@pytest.mark.parametrize("stage", ["searched", "finished", "pruned", "quantized"])
def test_a_loaded_student_has_the_recorded_metrics(stage, recorded, evaluated):
    assert recorded[stage]
    for (file, metrics), found in zip(recorded[stage], evaluated[stage], strict=True):
        for key in found.keys() & metrics.keys():
            assert found[key] == pytest.approx(metrics[key], abs=1e-12), (file, key)
        assert {"val_accuracy", "exit_fractions"} <= found.keys() & metrics.keys()
        assert ("test_accuracy" in metrics) == (stage != "searched")


def test_arch_json_tells_a_pruned_student_from_its_parent(finished, recorded):
    for file, _ in recorded["pruned"]:
        parent = json.loads((file.parent / "metrics.json").read_text())["parent"]
        own, whole = (json.loads((f / "arch.json").read_text()) for f in (file.parent, finished / "students" / parent))
        assert own != whole
        assert [block["width"] for block in own["blocks"]] <= [block["width"] for block in whole["blocks"]]

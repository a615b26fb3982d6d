"""examples/plugin is a package like any other's: installed with pip, and used by searches and comparisons."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch

pytest.importorskip("setuptools")  # builds the package; pip may not download it here

EXAMPLE = Path(__file__).parents[1] / "examples" / "plugin"
PROFILE = """\
name: quick
measure: {warmup_calls: 1, calls_per_block: 5, blocks: 3, processes: 1, stream_images: 8, allowance_s: 0}
"""


def erde_nas(environment, *words):
    command = [sys.executable, "-m", "erde_nas.cli", *map(str, words)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def installed(tmp_path_factory):
    """The environment of a Python in which the example is installed."""
    folder = tmp_path_factory.mktemp("plugin")
    shutil.copytree(EXAMPLE, folder / "source")  # pip builds beside the source
    how = ("--no-deps", "--no-build-isolation", "--no-index", "--disable-pip-version-check", "--quiet")
    words = [sys.executable, "-m", "pip", "install", *how, "--target", folder / "site", folder / "source"]
    subprocess.run(list(map(str, words)), check=True)
    path = os.pathsep.join([str(folder / "site"), str(EXAMPLE.parents[1])])
    return {**os.environ, "PYTHONPATH": path, "ERDE_NAS_CACHE": str(folder / "cache"), "OMP_NUM_THREADS": "1"}


def test_a_recipe_with_its_names_is_fine(installed):
    found = erde_nas(installed, "recipes", "check", EXAMPLE / "stripes.yaml")
    assert "recipe 'stripes' is fine" in found
    assert "stripes, 4 classes, images 1x16x16: 240 train, 80 validation, 80 test" in found


def test_a_student_of_its_family_learns_its_data_set_with_its_loss(installed, tmp_path):
    words = ("--loss", "logits", "--seeds", 1, "--epochs-scale", 0.5, "--out", tmp_path / "compared")
    erde_nas(installed, "distil", EXAMPLE / "stripes.yaml", *words)
    assert json.loads((tmp_path / "compared" / "student.json").read_text())["family"] == "separable"
    (row,) = json.loads((tmp_path / "compared" / "distil.json").read_text())["losses"]
    assert row["loss"] == "logits"
    assert "exit_rule: gini" in (tmp_path / "compared" / "recipe.yaml").read_text()


@pytest.mark.slow
def test_a_whole_search_with_everything_that_it_adds(installed, tmp_path):
    (tmp_path / "quick.yaml").write_text(PROFILE)
    run = tmp_path / "run"
    erde_nas(installed, "search", EXAMPLE / "stripes.yaml", "--profile", tmp_path / "quick.yaml", "--out", run)
    report = json.loads((run / "pareto.json").read_text())
    assert report["dataset"]["name"] == "stripes"
    assert {point["arch"]["family"] for point in report["points"] if not point["cascade"]} == {"separable"}
    properties = {p.key: p.value for p in onnx.load(run / "teacher" / "model.onnx").metadata_props}
    assert properties["exit_rule"] == "gini"
    assert len(properties["exit_fractions"].split()) == 2, "the teacher has an early exit"


@pytest.fixture
def example(monkeypatch):
    monkeypatch.syspath_prepend(str(EXAMPLE))


def test_its_loss_is_the_closed_form(example):
    from erde_nas_example.loss import Logits, LogitsOptions

    from erde_nas.distil.step import Step

    student = torch.tensor([[[1.0, 3.0], [0.0, 0.0]]])  # (1 exit, 2 images, 2 classes)
    teacher = torch.tensor([[[2.0, 2.0], [4.0, 4.0]]])
    step, weight = Step(student, torch.tensor([0, 1]), teacher), torch.tensor([[1.0, 0.5]])
    assert Logits(LogitsOptions())(step, weight).tolist() == [(1 * 0.5 + 0.5 * 8) / 2]
    assert Logits(LogitsOptions(centred=True))(step, weight).tolist() == [(1 * 0.5 + 0.5 * 0) / 2]


def test_its_rule_says_the_same_in_numpy_and_in_onnx(example):
    from erde_nas_example.exit_rule import GINI, impurity
    from onnx.reference import ReferenceEvaluator

    logits = np.random.default_rng(0).normal(0, 3, (50, 4)).astype(np.float32)
    graph = onnx.parser.parse_graph(GINI.graph)
    model = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 18)])
    (found,) = ReferenceEvaluator(model).run(None, {"logits": logits})
    p = np.exp(logits.astype(float)) / np.exp(logits.astype(float)).sum(-1, keepdims=True)
    np.testing.assert_allclose(found, 1 - (p**2).sum(-1), atol=1e-6)
    np.testing.assert_allclose(impurity([logits]), found, atol=1e-6)

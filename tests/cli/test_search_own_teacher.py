"""erde-nas search with a program of the user's own that teaches, but of which no file can be made."""

import json
import warnings

import numpy as np
import pytest
import torch
from torch import nn

from erde_nas.data.load import load_dataset
from erde_nas.recipe.recipe import load_recipe


class Nearest(nn.Module):
    """The nearest mean of a class; in unusual operators where `unusual`."""

    def __init__(self, dataset, unusual):
        super().__init__()
        x = ((dataset.train.images / 255 - dataset.mean[0]) / dataset.std[0]).reshape(len(dataset.train), -1)
        means = np.stack([x[dataset.train.labels == c].mean(0) for c in range(len(dataset.classes))])
        self.linear, self.unusual = nn.Linear(*means.T.shape), unusual
        self.linear.weight.data = torch.tensor(means, dtype=torch.float32)
        self.linear.bias.data = torch.tensor(-0.5 * (means**2).sum(1), dtype=torch.float32)

    def forward(self, x):
        more = torch.special.bessel_j0(x).flatten(1).sum(1, keepdim=True) * 0 if self.unusual else 0
        return self.linear(x.view(x.shape[0], -1)) + more


@pytest.fixture
def own(tiny, tmp_path):
    """The tiny recipe with such a teacher, and what that gets right."""
    dataset = load_dataset(load_recipe(tiny.recipe).dataset)
    network = Nearest(dataset, unusual=True)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        batch = {"x": {0: torch.export.Dim("batch")}}
        program = torch.export.export(network, (torch.zeros(2, 1, 16, 16),), dynamic_shapes=batch)
    torch.export.save(program, tmp_path / "own.pt2")
    x = torch.from_numpy((dataset.test.images / 255 - dataset.mean[0]) / dataset.std[0]).float()
    right = float((network(x).argmax(1).numpy() == dataset.test.labels).mean())
    one = tiny.variant(tmp_path / "a", "trials: 3", "trials: 1").variant(tmp_path / "b", "prune: [0.5]", "prune: []")
    return one.variant(tmp_path / "c", "teacher:\n", f"teacher:\n  checkpoint: {tmp_path}/own.pt2\n"), right


def test_a_teacher_without_a_file(cli, own, tmp_path, calibrated):
    tiny, right = own
    done = cli(*tiny.search(tmp_path / "run"))
    assert done.code == 0, done.err
    assert "Traceback" not in done.out + done.err
    start = done.err.partition("plan:")[0].splitlines()
    assert any("teacher own.pt2: right on " in line for line in start)
    assert any("it cannot be a baseline as a file: " in line for line in start)
    report = json.loads((tmp_path / "run" / "pareto.json").read_text())
    teacher = report["teacher"]
    assert teacher["test_accuracy"] == pytest.approx(right)
    assert (teacher["file"], teacher["latency_ms"], teacher["macs"]) == (None, {}, 256 * 10)
    assert any(point["latency_ms"] and point["test_accuracy"] for point in report["points"])
    assert report["baselines"][0]["role"] == "student_without_exits"
    student = next(point["student"] for point in report["points"] if point["file"])
    done = cli("export", tmp_path / "run", "--student", student, "--to", tmp_path / "shipped", "--format", "onnx")
    assert done.code == 0, done.err
    done = cli("report", tmp_path / "run")
    assert done.code == 0, done.err
    assert "The teacher has no row here" in done.out
    why = report["left_out"]["teacher/no-exits.onnx"]
    assert "cannot be written as an ONNX file: Exporting the operator 'aten::special_bessel_j0'" in why
    assert (
        "The teacher has no row here, since its file could not be deployed" in (tmp_path / "run/report.md").read_text()
    )

"""`erde-nas exits`: from a classifier in a .pt2 file and images to a folder that answers early and never worse."""

import json
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn
from torch.nn import functional as F

from erde_nas.data.dataset import Dataset
from erde_nas.data.load import load_dataset
from erde_nas.device.runtimes.onnxruntime import NestedModel, open_session
from erde_nas.recipe.images import DatasetSection
from tests.conftest import RECIPE

MEAN, STD = 0.3, 0.4  # of the network below, and not of the data
PROFILE = """\
name: quick
measure: {warmup_calls: 1, calls_per_block: 5, blocks: 3, processes: 1, stream_images: 20, allowance_s: 0}
"""
HOW = ("--mean", MEAN, "--std", STD, "--minutes", "0.05")


@dataclass(frozen=True)
class Mine:
    """A user's trained network on `digits`, its file, and a profile that measures in no time."""

    folder: Path
    network: nn.Module
    data: Dataset

    @property
    def model(self) -> Path:
        return self.folder / "model.pt2"

    @property
    def out(self) -> Path:
        return self.folder / "exits"

    def logits(self, images: np.ndarray) -> np.ndarray:
        with torch.no_grad():
            return self.network((torch.from_numpy(images) / 255 - MEAN) / STD).numpy()


def layer(inputs: int, width: int, stride: int) -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(inputs, width, 3, stride, 1, bias=False), nn.BatchNorm2d(width), nn.ReLU())


@pytest.fixture(scope="module")
def mine(tmp_path_factory: pytest.TempPathFactory) -> Mine:
    folder, data = tmp_path_factory.mktemp("mine"), load_dataset(DatasetSection(name="digits"))
    with torch.random.fork_rng():
        torch.manual_seed(0)
        widths = [(1, 16, 1), (16, 32, 2), (32, 32, 1), (32, 64, 2), (64, 64, 1), (64, 64, 1)]
        network = nn.Sequential(*(layer(*width) for width in widths), nn.AdaptiveAvgPool2d(1), nn.Flatten())
        network.append(nn.Linear(64, 10))
        optimizer = torch.optim.SGD(network.parameters(), 0.05, 0.9)
        images, labels = torch.from_numpy(data.train.images), torch.from_numpy(data.train.labels)
        for _ in range(2):
            for chosen in torch.randperm(len(images)).split(64):
                loss = F.cross_entropy(network((images[chosen] / 255 - MEAN) / STD), labels[chosen])
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
    program = torch.export.export(
        network.eval(), (torch.randn(2, 1, 16, 16),), dynamic_shapes=({0: torch.export.Dim("batch")},)
    )
    torch.export.save(program, folder / "model.pt2")
    (folder / "quick.yaml").write_text(PROFILE)
    return Mine(folder, network, data)


@pytest.fixture(scope="module")
def done(mine: Mine, cli: Callable[..., Any]) -> Mine:
    """The command has run; what it says is kept beside its folder."""
    profile = mine.folder / "quick.yaml"
    found = cli("exits", mine.model, "--data", "digits", "--out", mine.out, "--profile", profile, *HOW)
    assert found.code == 0, found.err
    (mine.folder / "said.txt").write_text(found.out + found.err)
    return mine


def shipped(mine: Mine) -> dict[str, Any]:
    return json.loads((mine.out / "shipped" / "student.json").read_text())


def test_what_is_assumed_and_what_comes_out_is_said(done: Mine) -> None:
    said = (done.folder / "said.txt").read_text()
    own = (done.logits(done.data.validation.images).argmax(1) == done.data.validation.labels).mean()
    assert f"right on {own:.1%}" in said
    assert "towards the network's own answers" in said
    assert f"The folder to ship: {done.out / 'shipped'}" in said
    assert (done.out / "report.html").is_file()


def test_the_shipped_file_is_never_less_accurate_on_validation(done: Mine) -> None:
    images, labels = done.data.validation.images, done.data.validation.labels
    own = (done.logits(images).argmax(1) == labels).mean()
    model = NestedModel(open_session(str(done.out / "shipped" / "model.onnx"), threads=1, device="cpu"))
    thresholds = np.array(shipped(done)["default"]["thresholds"], np.float32)
    answers = np.concatenate([model.run(images[i : i + 1], thresholds)[0] for i in range(len(images))])
    assert (answers.argmax(1) == labels).mean() >= own
    assert shipped(done)["default"]["val_accuracy"] == pytest.approx((answers.argmax(1) == labels).mean())


def test_the_last_exit_is_the_network_of_the_user(done: Mine) -> None:
    report = json.loads((done.out / "pareto.json").read_text())
    with_exits = [point for point in report["points"] if len(point["exit_fractions"]) > 1]
    assert with_exits, "nothing was tried"
    images = done.data.validation.images
    for point in with_exits:
        model = NestedModel(open_session(str(done.out / point["file"]), threads=1, device="cpu"))
        never = np.zeros(len(point["thresholds"]), np.float32)
        found = [model.run(images[i : i + 1], never) for i in range(40)]
        assert {int(exit_index[0]) for _, exit_index in found} == {len(never)}
        logits = np.concatenate([logits for logits, _ in found])
        np.testing.assert_allclose(logits, done.logits(images[:40]), rtol=1e-4, atol=2e-4)


def test_the_network_itself_is_among_what_was_measured(done: Mine) -> None:
    report = json.loads((done.out / "pareto.json").read_text())
    own = next(point for point in report["points"] if point["student"] == "own")
    images, labels = done.data.test.images, done.data.test.labels
    assert own["test_accuracy"] == pytest.approx((done.logits(images).argmax(1) == labels).mean())
    convolutions = 9 * (16 * 256 + 16 * 32 * 64 + 32 * 32 * 64 + 32 * 64 * 16 + 2 * 64 * 64 * 16)
    assert own["macs_per_exit"] == [convolutions + 64 * 10]
    assert own["latency_ms"]["quick"]["source"] == "measured"
    assert report["teacher"]["val_accuracy"] == own["val_accuracy"]
    assert len(own["exit_fractions"]) == 1


def test_the_bundle_runs_by_itself(done: Mine, tmp_path: Path) -> None:
    np.save(tmp_path / "one.npy", done.data.test.images[0])
    run = [sys.executable, done.out / "shipped" / "run.py", tmp_path / "one.npy", "--json"]
    (answer,) = json.loads(subprocess.run(run, capture_output=True, text=True, check=True).stdout)
    assert answer["class"] in done.data.classes
    normalisation = shipped(done)["input"]["normalisation"]
    assert normalisation["mean"] == pytest.approx([MEAN])
    assert normalisation["std"] == pytest.approx([STD])
    assert "model.pt2 with exits attached" in (done.out / "shipped" / "README.md").read_text()


def test_commands_on_the_folder(done: Mine, cli: Callable[..., Any], refused: Callable[..., str]) -> None:
    assert "own" in cli("report", done.out).out
    assert cli("export", done.out, "--student", "own", "--to", done.folder / "own").code == 0
    assert (done.folder / "own" / "model.onnx").is_file()
    assert "erde-nas exits" in refused("compress", done.out)
    assert "holds something already" in refused("exits", done.model, "--data", "digits", "--out", done.out, *HOW)


def test_bad_input_is_refused_before_anything_is_trained(
    mine: Mine, refused: Callable[..., str], tmp_path: Path
) -> None:
    out = tmp_path / "out"

    def message(*words: object) -> str:
        return refused("exits", mine.model, *words)

    assert "--data is missing" in message("--out", out)
    assert "--out is missing" in message("--data", "digits")
    assert "'1.5'" in message("--data", "digits", "--out", out, "--max-drop", "1.5")
    assert "'soon'" in message("--data", "digits", "--out", out, "--minutes", "soon")
    assert "'0,x'" in message("--data", "digits", "--out", out, "--mean", "0,x", "--std", "1,1")
    assert "none of the data sets digits" in message("--data", tmp_path / "nowhere", "--out", out)
    assert "std is missing" in message("--data", "digits", "--out", out, "--mean", MEAN)
    assert "28×28" in message("--data", "fashion-mnist-small", "--out", out, *HOW)
    assert "does not exist" in refused("exits", tmp_path / "no.pt2", "--data", "digits", "--out", out)
    (tmp_path / "model.onnx").write_bytes(b"x")
    assert "must end in" in refused("exits", tmp_path / "model.onnx", "--data", "digits", "--out", out)
    assert not out.exists()


def test_an_unfinished_folder_is_used_again(
    mine: Mine, cli: Callable[..., Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from erde_nas import pipeline

    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    words = ("exits", mine.model, "--data", "digits", "--out", tmp_path / "out", *HOW)
    with monkeypatch.context() as patch:
        patch.setattr(pipeline, "train_exits", interrupted)
        assert cli(*words).code == 130
        assert (tmp_path / "out" / "manifest.json").is_file()
        assert cli(*words, "--max-drop", "0.01").code == 130


def test_images_need_not_be_square(cli: Callable[..., Any], refused: Callable[..., str], tmp_path: Path) -> None:
    generator = np.random.default_rng(0)
    x, y = generator.integers(0, 120, (150, 3, 12, 20), np.uint8), np.arange(150) % 3
    for label in range(3):  # a bright column says which class it is
        x[y == label, :, :, 6 * label + 2] += 120
    np.savez(tmp_path / "wide.npz", x_train=x[:90], y_train=y[:90], x_val=x[90:120], y_val=y[90:120], x_test=x[120:],
             y_test=y[120:])  # fmt: skip
    with torch.random.fork_rng():
        torch.manual_seed(0)
        network = nn.Sequential(layer(3, 8, 1), layer(8, 16, 2), layer(16, 16, 1), nn.AdaptiveAvgPool2d(1))
        network.extend([nn.Flatten(), nn.Linear(16, 3)])
    batch = {0: torch.export.Dim("batch")}
    program = torch.export.export(network.eval(), (torch.randn(2, 3, 12, 20),), dynamic_shapes=(batch,))
    torch.export.save(program, tmp_path / "model.pt2")
    (tmp_path / "quick.yaml").write_text(PROFILE)
    out, how = tmp_path / "out", ("--profile", tmp_path / "quick.yaml", *HOW)
    done = cli("exits", tmp_path / "model.pt2", "--data", tmp_path / "wide.npz", "--out", out, *how)
    assert done.code == 0, done.err
    assert json.loads((out / "shipped" / "student.json").read_text())["input"]["size"] == [12, 20]
    assert "images of 20×12 pixels" in (out / "shipped" / "README.md").read_text()

    Image.fromarray(x[0].transpose(1, 2, 0)).save(tmp_path / "one.png")
    Image.fromarray(x[0].transpose(1, 2, 0)).resize((12, 20)).save(tmp_path / "tall.png")
    run = [sys.executable, out / "shipped" / "run.py", "--json"]
    (answer,) = json.loads(subprocess.run([*run, tmp_path / "one.png"], capture_output=True, check=True).stdout)
    model = NestedModel(open_session(str(out / "shipped" / "model.onnx"), threads=1, device="cpu"))
    thresholds = np.array(
        json.loads((out / "shipped" / "student.json").read_text())["default"]["thresholds"], np.float32
    )
    np.testing.assert_allclose(answer["logits"], model.run(x[:1], thresholds)[0][0], rtol=1e-5, atol=1e-5)
    other = subprocess.run([*run, tmp_path / "tall.png"], capture_output=True, text=True, check=False)
    assert "is 12x20, but the student takes 20x12" in other.stderr

    recipe = tmp_path / "families.yaml"
    recipe.write_text(RECIPE.replace("name: digits, train_limit: 120", "name: npz, path: wide.npz"))
    message = refused("search", recipe, "--data-dir", tmp_path, "--out", tmp_path / "run")
    assert "are 20x12, and students of our families take square ones" in message

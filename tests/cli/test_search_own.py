"""`erde-nas search` among students that are made of a user's own trained network."""

import json
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from erde_nas.data.dataset import Dataset
from erde_nas.data.load import load_dataset
from erde_nas.networks.weights import load_network
from erde_nas.recipe.images import DatasetSection

MEAN, STD = 0.3, 0.4  # of the network below, and not of the data


class Block(nn.Module):
    def __init__(self, inputs: int, width: int, stride: int) -> None:
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2d(inputs, width, 3, stride, 1, bias=False), nn.BatchNorm2d(width)
        self.conv2, self.bn2 = nn.Conv2d(width, width, 3, 1, 1, bias=False), nn.BatchNorm2d(width)
        self.short = nn.Conv2d(inputs, width, 1, stride) if stride > 1 else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        return torch.relu(self.bn2(self.conv2(torch.relu(self.bn1(self.conv1(x))))) + self.short(x))


@dataclass(frozen=True)
class Mine:
    """The network, and `model`, its file."""

    model: Path
    network: nn.Module
    data: Dataset

    def logits(self, images: np.ndarray) -> np.ndarray:
        with torch.no_grad():
            return self.network((torch.from_numpy(images) / 255 - MEAN) / STD).numpy()


PROFILE = """\
name: quick
measure: {warmup_calls: 1, calls_per_block: 5, blocks: 3, processes: 1, stream_images: 20, allowance_s: 0}
"""
RECIPE = """\
name: mine
dataset: {{name: digits}}
views: {{cached_views: 1}}
teacher: {{checkpoint: {model}, mean: [0.3], std: [0.4]}}
space: {{own: {model}, keep: [0.5, 1.0], max_exits: 2, heads: [gap]}}
train: {{epochs: 1, batch_size: 64, learning_rate: 0.02}}
search: {{trials: 2, searcher: random, check_teacher: false}}
finish: {{students: 1, rungs: 1, cascades: false, train: {{epochs: 1, batch_size: 64, learning_rate: 0.02}}}}
compress: {{prune: [0.5], qat_epochs: 0, train: {{epochs: 1, batch_size: 64, learning_rate: 0.02}}}}
profiles: [quick]
"""


@pytest.fixture(scope="module")
def mine(tmp_path_factory: pytest.TempPathFactory) -> Mine:
    folder = tmp_path_factory.mktemp("mine")
    data = load_dataset(DatasetSection(name="digits"))
    with torch.random.fork_rng():
        torch.manual_seed(0)
        network = nn.Sequential(
            nn.Conv2d(1, 16, 3, 1, 1), nn.ReLU(), Block(16, 32, 2), Block(32, 32, 1), Block(32, 48, 2),
            Block(48, 48, 1), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(48, 10),
        )  # fmt: skip
        optimizer = torch.optim.SGD(network.parameters(), 0.05, 0.9)
        images, labels = torch.from_numpy(data.train.images), torch.from_numpy(data.train.labels)
        for _ in range(3):
            for chosen in torch.randperm(len(images)).split(64):
                loss = F.cross_entropy(network((images[chosen] / 255 - MEAN) / STD), labels[chosen])
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
    batch = ({0: torch.export.Dim("batch")},)
    program = torch.export.export(network.eval(), (torch.randn(2, 1, 16, 16),), dynamic_shapes=batch)
    torch.export.save(program, folder / "model.pt2")
    (folder / "quick.yaml").write_text(PROFILE)
    (folder / "own.yaml").write_text(RECIPE.format(model=folder / "model.pt2"))
    return Mine(folder / "model.pt2", network, data)


def search(mine: Mine, out: Path, *more: object) -> tuple[object, ...]:
    folder = mine.model.parent
    return ("search", folder / "own.yaml", "--profile", folder / "quick.yaml", "--out", out, *more)


def test_from_a_file_to_students_that_answer_as_pytorch(cli, mine, tmp_path, calibrated):
    run = tmp_path / "run"
    done = cli(*search(mine, run))
    assert done.code == 0, done.err
    own = (mine.logits(mine.data.validation.images).argmax(1) == mine.data.validation.labels).mean()
    assert f"right on {own:.1%}" in done.err
    report = json.loads((run / "pareto.json").read_text())
    pruned = [point for point in report["points"] if point["student"].endswith("-p50")]
    assert pruned, "what the recipe wants pruned is"
    candidates = {row["student"] for row in report["searched"]}
    assert {point["arch"]["own"]["program"] for point in report["points"]} == {digest(run)}

    mine.model.rename(mine.model.with_name("gone.pt2"))  # the run holds what students are made of
    try:
        chosen = max(report["points"], key=lambda point: len(point["exit_fractions"]))
        shipped = cli("export", run, "--student", chosen["student"], "--to", tmp_path / "shipped")
        assert shipped.code == 0, shipped.err
    finally:
        mine.model.with_name("gone.pt2").rename(mine.model)
    images = mine.data.test.images[:20]
    (tmp_path / "images").mkdir()
    for number, image in enumerate(images):
        np.save(tmp_path / "images" / f"{number:02}.npy", image)
    said = subprocess.run(
        [sys.executable, tmp_path / "shipped" / "run.py", tmp_path / "images", "--json"],
        capture_output=True, check=True, text=True,
    ).stdout  # fmt: skip
    answers = json.loads(said)
    assert len(answers) == len(images)
    network = load_network(run / "students" / chosen["student"] / "weights.safetensors").eval()
    with torch.no_grad():
        logits = [torch.softmax(out, 1).numpy() for out in network(torch.from_numpy(images))]
    for number, answer in enumerate(answers):
        assert answer["probability"] == pytest.approx(logits[answer["exit"]][number].max(), abs=2e-3)
        assert answer["class"] == mine.data.classes[logits[answer["exit"]][number].argmax()]

    again = cli(*search(mine, run, "--trials", 3))
    assert again.code == 0, again.err
    after = json.loads((run / "pareto.json").read_text())
    assert candidates < {row["student"] for row in after["searched"]}
    assert len(after["searched"]) == 3


def digest(run: Path) -> str:
    return json.loads((run / "own" / "network.json").read_text())["digest"]


def test_workers_make_the_same_students(cli, mine, tmp_path, calibrated):
    done = cli(*search(mine, tmp_path / "run", "--trials", 2, "--workers", 2, "--epochs-scale", "0.5"))
    assert done.code == 0, done.err
    report = json.loads((tmp_path / "run" / "pareto.json").read_text())
    assert {row["state"] for row in report["searched"]} == {"complete"}


def test_a_plan_trains_nothing(cli, mine, tmp_path, calibrated):
    done = cli(*search(mine, tmp_path / "run", "--dry-run"))
    assert done.code == 0, done.err
    assert "2 candidates x 1 epochs" in done.out + done.err
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("old", "new", "why"),
    [
        ("max_exits: 2", "max_exits: 2, depths: [[1]], widths: [[8]]", "depths and widths of its own"),
        ("keep: [0.5, 1.0]", "keep: [0.0]", "greater than 0"),
        ("keep: [0.5, 1.0]", "keep: []", "keep must hold at least one choice"),
        ("space: {own: ", "space: {own: other-", "learn from it itself"),
        ("searcher: random", "searcher: random, evaluator: supernet", "needs evaluator: train"),
        ("mean: [0.3], std: [0.4]", "mean: [0.3, 0.3], std: [0.4, 0.4]", "must hold 1 numbers"),
    ],
)
def test_a_recipe_that_cannot_be_is_refused_in_one_line(refused, mine, tmp_path, old, new, why):
    recipe = tmp_path / "bad.yaml"
    recipe.write_text((mine.model.parent / "own.yaml").read_text().replace(old, new))
    said = refused("search", recipe, "--profile", mine.model.parent / "quick.yaml", "--out", tmp_path / "run")
    assert why in said
    assert not (tmp_path / "run").exists()

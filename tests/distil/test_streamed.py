"""Training on images that stay on the disk is training on the same images in memory, bit by bit."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from erde_nas.data.load import load_dataset
from erde_nas.data.views import Views
from erde_nas.distil.objective import Objective
from erde_nas.distil.teachers.cached_logits import cached_logits
from erde_nas.distil.teachers.teacher import Teacher
from erde_nas.distil.training.calibrate import calibrate
from erde_nas.distil.training.compute import Compute
from erde_nas.distil.training.targets import Targets
from erde_nas.distil.training.train import Training, train
from erde_nas.networks.network import EarlyExitNetwork
from erde_nas.recipe.distil import DistilSection
from erde_nas.recipe.images import DatasetSection, ViewsSection
from erde_nas.recipe.optimizer import OptimizerSection

OPTIONS = OptimizerSection(epochs=3, batch_size=16, learning_rate=0.05)


@pytest.fixture
def both(tmp_path: Path) -> list[Views]:
    """Views of 3 × 20 images in memory and on the disk."""
    generator = np.random.default_rng(0)
    for label in ("a", "b", "c"):
        (tmp_path / "images" / label).mkdir(parents=True)
        for i in range(27):
            noise = generator.integers(0, 256, (8, 8)).astype(np.uint8)
            Image.fromarray(noise).save(tmp_path / "images" / label / f"{i}.png")
    views = []
    for stream in ("never", "always"):
        section = DatasetSection(name="folder", path=str(tmp_path / "images"), stream=stream, train_limit=56)
        dataset = load_dataset(section)
        augmented = ViewsSection(crop_padding=1, flip=True, cutout=2, cached_views=2)
        views.append(Views(dataset.train, augmented, seed=0, device=torch.device("cpu")))
    return views


def test_the_logits_and_the_trained_students_are_equal(
    both: list[Views], make_network: Callable[..., EarlyExitNetwork], cache: Path
) -> None:
    teacher = make_network(seed=1).eval()
    results = []
    for number, views in enumerate(both):
        assert views.streamed == bool(number)
        logits = cached_logits(Teacher(teacher, f"teacher-{number}", trained=True), views, 2)
        assert len(list((cache / "logits").glob("*.npy"))) == number + 1
        student = make_network()
        objective = Objective(DistilSection(), [1.0, 2.0])
        targets = Targets(logits, (0, 1))
        loss = train(
            Training(student, views, objective, OPTIONS, targets=targets, seed=5, compute=Compute("fp32", 1, 0.01))
        )
        results.append((loss, logits, student.state_dict()))
    (loss, logits, weights), (streamed_loss, streamed_logits, streamed_weights) = results
    assert torch.equal(logits, streamed_logits)
    assert loss == streamed_loss
    for name, value in weights.items():
        assert torch.equal(value, streamed_weights[name]), name


def test_a_step_can_be_calibrated_on_them(both: list[Views], make_network: Callable[..., EarlyExitNetwork]) -> None:
    assert calibrate(make_network, both[1], 16, seconds=0.05).seconds_per_step > 0

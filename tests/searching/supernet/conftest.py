"""A problem of three classes on 8×8 images, a space of two families around it, and what their candidates share."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch

from erde_nas.data.dataset import Dataset, Split
from erde_nas.distil.context import TrainingContext
from erde_nas.distil.prepare import prepare
from erde_nas.distil.task import Task
from erde_nas.distil.training.compute import Compute
from erde_nas.progress.meter import Meter
from erde_nas.recipe.images import DatasetSection, ViewsSection
from erde_nas.recipe.optimizer import OptimizerSection
from erde_nas.recipe.recipe import CompressSection, FinishSection, Recipe
from erde_nas.recipe.search import SearchSection, SupernetSection
from erde_nas.recipe.space import SpaceSection
from erde_nas.recipe.teacher import TeacherSection
from erde_nas.space.space import Space

SHORT = OptimizerSection(epochs=1, batch_size=16, learning_rate=0.05)
CPU = torch.device("cpu")
SPACE = SpaceSection(
    families=("resnet", "mobilenet"),
    stems=(8, 16),
    depths=((1, 2), (1, 2)),
    widths=((8, 16), (16, 24)),
    kernels=(3, 5),
    expansions=(1, 2),
    heads=("erde", "gap", "conv"),
    max_exits=3,
)


@pytest.fixture(autouse=True)
def one_thread(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """One thread, so that sums have one order, and an empty cache."""
    monkeypatch.setenv("ERDE_NAS_CACHE", str(tmp_path / "cache"))
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def _split(count: int, seed: int) -> Split:
    """The bright third of an image tells its class."""
    generator = np.random.default_rng(seed)
    labels = np.arange(count, dtype=np.int64) % 3
    images = generator.integers(0, 120, (count, 1, 8, 8)).astype(np.uint8)
    for number, label in enumerate(labels):
        images[number, :, :, 3 * label : 3 * label + 2] += 120
    return Split(images, labels)


@pytest.fixture(scope="session")
def space() -> Space:
    """Every kind of choice that a supernet shares weights over."""
    return Space(SPACE, (1, 8, 8), 3)


@pytest.fixture
def context(space: Space) -> TrainingContext:
    """Everything but the supernet; the teacher is trained for one epoch."""
    train = OptimizerSection(epochs=3, batch_size=16, learning_rate=0.05)
    recipe = Recipe(
        name="toy",
        dataset=DatasetSection(name="digits"),
        views=ViewsSection(crop_padding=1, cached_views=2),
        teacher=TeacherSection(stem=8, depths=(1, 1), widths=(8, 8), head="erde", train=SHORT),
        space=SPACE,
        train=SHORT,
        search=SearchSection(evaluator="supernet"),
        supernet=SupernetSection(train=train, random=1, norm_images=64),
        finish=FinishSection(train=SHORT),
        compress=CompressSection(train=SHORT),
    )
    names, pixels = ("a", "b", "c"), (0.3,)
    dataset = Dataset("toy", _split(96, 1), _split(48, 2), _split(48, 3), names, pixels, (0.2,), "toy-pixels")
    with Meter() as meter:
        task = Task(recipe, (), dataset, CPU)
        return prepare(task, meter, typical=space.middle(), epochs=4, known=Compute("fp32", 1, 0.001))

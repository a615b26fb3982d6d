"""A problem that any network solves, the smallest networks that can be built, and a recipe around them."""

from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import torch

from erde_nas.data.dataset import Dataset, Split
from erde_nas.data.views import Views
from erde_nas.networks.arch import Arch, Block, Exit
from erde_nas.networks.network import EarlyExitNetwork
from erde_nas.recipe.images import DatasetSection, ViewsSection
from erde_nas.recipe.optimizer import OptimizerSection
from erde_nas.recipe.recipe import CompressSection, FinishSection, Recipe
from erde_nas.recipe.space import SpaceSection
from erde_nas.recipe.teacher import TeacherSection

CPU = torch.device("cpu")
SHORT = OptimizerSection(epochs=1, batch_size=16, learning_rate=0.05)


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """One thread, so that sums have one order; and the number of before afterwards."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache directory in place of the user's."""
    folder = tmp_path / "cache"
    monkeypatch.setenv("ERDE_NAS_CACHE", str(folder))
    return folder


def _split(count: int, seed: int) -> Split:
    """Three classes: the bright third of an 8×8 image tells which; the rest is noise."""
    generator = np.random.default_rng(seed)
    labels = np.arange(count, dtype=np.int64) % 3
    images = generator.integers(0, 120, (count, 1, 8, 8)).astype(np.uint8)
    for number, label in enumerate(labels):
        images[number, :, :, 3 * label : 3 * label + 2] += 120
    return Split(images, labels)


@pytest.fixture
def toy() -> Dataset:
    """96 training images of a problem that is separable by eye."""
    return Dataset("toy", _split(96, 1), _split(24, 2), _split(24, 3), ("a", "b", "c"), (0.3,), (0.2,), "toy-pixels")


@pytest.fixture
def make_views(toy: Dataset) -> Callable[..., Views]:
    """Views of toy's training images; `changes` are fields of the views section."""

    def make(seed: int = 0, **changes: object) -> Views:
        return Views(toy.train, ViewsSection.model_validate(changes), seed=seed, device=CPU)

    return make


@pytest.fixture
def make_network(toy: Dataset) -> Callable[..., EarlyExitNetwork]:
    """Two blocks of eight channels, an exit after each; `erde` heads have dropout."""

    def make(seed: int = 0, head: str = "erde", classes: int = 3, channels: int = 1) -> EarlyExitNetwork:
        blocks = (Block(8, 8), Block(8, 8, stride=2, skip="projection"))
        arch = Arch("resnet", channels, 8, classes, 8, blocks, (Exit(0, head), Exit(1, head)), (0, 0))
        torch.manual_seed(seed)
        return EarlyExitNetwork(arch, toy.mean * channels, toy.std * channels)

    return make


@pytest.fixture
def recipe() -> Recipe:
    """A recipe with a teacher of two small stages, trained for one epoch."""
    return Recipe(
        name="toy",
        dataset=DatasetSection(name="digits"),
        views=ViewsSection(crop_padding=1),
        teacher=TeacherSection(stem=8, depths=(1, 1), widths=(8, 8), head="erde", train=SHORT),
        space=SpaceSection(depths=((1,),), widths=((8,),)),
        train=SHORT,
        finish=FinishSection(train=SHORT),
        compress=CompressSection(train=SHORT),
    )


@pytest.fixture(autouse=True)
def programs_read_here(monkeypatch):
    """A program is read in this process, which takes a moment in place of seconds; test_from_file.py has the other."""
    from erde_nas.networks.programs import child, from_file

    monkeypatch.setattr(from_file, "_read_there", lambda *given: child.leave(*given, []))

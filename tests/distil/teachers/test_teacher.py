"""The teacher that is trained here: once for what determines it, and again for anything else."""

import re
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from erde_nas.data.dataset import Dataset, image_shape, square_shape
from erde_nas.data.views import Views
from erde_nas.distil.teachers import teacher as module
from erde_nas.distil.teachers.teacher import Kept, Teacher, prepare_teacher, teacher_arch
from erde_nas.distil.training.compute import Compute
from erde_nas.errors import UserError
from erde_nas.networks.logits import all_logits
from erde_nas.networks.network import EarlyExitNetwork
from erde_nas.recipe.recipe import Recipe

COMPUTE = Compute("fp32", 1, 0.01)


class Trains(Exception):
    """Raised in place of training."""


def views_of(recipe: Recipe, dataset: Dataset) -> Views:
    return Views(dataset.train, recipe.views, seed=recipe.search.seed, device=torch.device("cpu"))


def prepare(recipe: Recipe, dataset: Dataset, progress: Any = lambda *_: None) -> Teacher:
    return prepare_teacher(recipe, dataset, views_of(recipe, dataset), lambda make: COMPUTE, progress)


def changed(recipe: Recipe, section: str, **values: Any) -> Recipe:
    """The recipe with other values in one section; `teacher.train` is a section too."""
    if section == "teacher.train":
        inner = recipe.teacher.train.model_copy(update=values)
        return changed(recipe, "teacher", train=inner)
    return recipe.model_copy(update={section: getattr(recipe, section).model_copy(update=values)})


@pytest.fixture
def no_training(monkeypatch: pytest.MonkeyPatch) -> Callable[[], None]:
    """From the call on, training raises Trains."""

    def forbid() -> None:
        def train(*_: Any, **__: Any) -> None:
            raise Trains

        monkeypatch.setattr(module, "train", train)

    return forbid


def test_it_is_trained_once_then_loaded(
    recipe: Recipe, toy: Dataset, no_training: Callable[[], None], cache: Path
) -> None:
    heard: list[tuple[int, int, Compute]] = []
    trained = prepare(recipe, toy, lambda *args: heard.append(args))
    assert heard == [(1, 1, COMPUTE)]
    assert trained.trained
    assert (cache / "teachers" / trained.key / "weights.safetensors").is_file()
    no_training()
    loaded = prepare(recipe, toy)
    assert not loaded.trained
    assert loaded.key == trained.key
    for teacher in (trained, loaded):
        assert teacher.early_exit is teacher.network
        assert not teacher.network.training
    images = toy.validation.images
    # Trained weights lie channels last, loaded ones do not: the same sums in another order.
    np.testing.assert_allclose(all_logits(loaded.network, images), all_logits(trained.network, images), atol=1e-5)


def test_it_learns(recipe: Recipe, toy: Dataset) -> None:
    longer = changed(changed(recipe, "teacher.train", epochs=6), "teacher", head="gap")
    logits = all_logits(prepare(longer, toy).network, toy.validation.images)
    assert (logits.argmax(-1) == toy.validation.labels).mean(1).min() > 0.9


def test_two_machines_train_the_same(
    recipe: Recipe, toy: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = prepare(recipe, toy)
    monkeypatch.setenv("ERDE_NAS_CACHE", str(tmp_path / "other"))
    second = prepare(recipe, toy)
    assert second.trained
    assert second.key == first.key
    for a, b in zip(first.network.state_dict().values(), second.network.state_dict().values(), strict=True):
        assert torch.equal(a, b)


@pytest.mark.parametrize(
    ("section", "values"),
    [
        ("teacher", {"family": "mobilenet"}),
        ("teacher", {"stem": 16}),
        ("teacher", {"depths": (1, 2)}),
        ("teacher", {"widths": (8, 16)}),
        ("teacher", {"head": "gap"}),
        ("teacher", {"head_gradient": 0.0}),
        ("teacher.train", {"epochs": 2}),
        ("teacher.train", {"batch_size": 32}),
        ("teacher.train", {"learning_rate": 0.01}),
        ("teacher.train", {"momentum": 0.8}),
        ("teacher.train", {"weight_decay": 0.0}),
        ("views", {"crop_padding": 2}),
        ("views", {"flip": True}),
        ("views", {"cutout": 2}),
        ("search", {"seed": 1}),
    ],
)
def test_what_determines_it_makes_another(
    recipe: Recipe, toy: Dataset, no_training: Callable[[], None], section: str, values: dict[str, Any]
) -> None:
    prepare(recipe, toy)
    no_training()
    with pytest.raises(Trains):
        prepare(changed(recipe, section, **values), toy)


def test_other_data_or_another_version_of_the_training_make_another(
    recipe: Recipe, toy: Dataset, no_training: Callable[[], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    prepare(recipe, toy)
    no_training()
    with pytest.raises(Trains):
        prepare(recipe, replace(toy, fingerprint="other pixels"))
    with pytest.raises(Trains):
        prepare(recipe, replace(toy, classes=(*toy.classes, "d")))
    monkeypatch.setattr(module, "TRAINING_VERSION", module.TRAINING_VERSION + 1)
    with pytest.raises(Trains):
        prepare(recipe, toy)


def test_what_does_not_concern_it_keeps_it(recipe: Recipe, toy: Dataset, no_training: Callable[[], None]) -> None:
    prepare(recipe, toy)
    no_training()
    other = changed(changed(recipe, "search", trials=3), "distil", loss="kd")
    other = changed(other, "train", epochs=9).model_copy(update={"name": "other", "profiles": ("cuda",)})
    assert not prepare(other, toy).trained


def test_a_training_that_breaks_leaves_no_teacher_and_goes_on(recipe: Recipe, toy: Dataset, cache: Path) -> None:
    def stop(*_: Any) -> None:
        raise Trains

    with pytest.raises(Trains):
        prepare(recipe, toy, stop)
    names = [path.name for path in cache.rglob("*") if path.is_file() and path.suffix != ".lock"]
    assert names == ["training.safetensors"]
    assert prepare(recipe, toy).trained
    assert not list(cache.rglob("training.safetensors"))


def test_a_run_keeps_its_teacher_s_training(recipe: Recipe, toy: Dataset, cache: Path, tmp_path: Path) -> None:
    """Where the cache is lost, the same run needs no second training; another recipe does."""
    longer, heard, epochs = changed(recipe, "teacher.train", epochs=2), [], []

    def prepared(recipe: Recipe, *, stop: int = 0) -> Teacher:
        def progress(done: int, total: int, compute: Compute) -> None:
            epochs.append(done)
            if done == stop:
                raise Trains

        views = views_of(recipe, toy)
        return prepare_teacher(
            recipe, toy, views, lambda _: COMPUTE, progress, heard.append, Kept(tmp_path / "teacher")
        )

    with pytest.raises(Trains):
        prepared(longer, stop=1)
    first = prepared(longer)
    shutil.rmtree(cache / "teachers")
    again = prepared(longer)
    for a, b in zip(first.network.state_dict().values(), again.network.state_dict().values(), strict=True):
        assert torch.equal(a, b)
    assert heard == [f"the teacher's training goes on after epoch {done} of 2" for done in (1, 2)]
    assert epochs == [1, 1, 2, 1, 2]
    assert prepared(recipe).key != first.key


@pytest.mark.parametrize("spoil", ["weights", "arch", "another"])
def test_a_cached_teacher_that_cannot_be_used_is_trained_again_with_a_line(
    recipe: Recipe, toy: Dataset, cache: Path, spoil: str
) -> None:
    first, heard = prepare(recipe, toy), []
    folder = cache / "teachers" / first.key
    if spoil == "weights":
        (folder / "weights.safetensors").write_bytes((folder / "weights.safetensors").read_bytes()[:-9])
        expected = r"weights\.safetensors is damaged .*; the teacher is trained again"
    elif spoil == "arch":
        (folder / "arch.json").write_text("{")
        expected = r"arch\.json does not describe .*; the teacher is trained again"
    else:
        other = prepare(changed(recipe, "teacher", stem=16), toy)
        for file in (cache / "teachers" / other.key).iterdir():
            (folder / file.name).write_bytes(file.read_bytes())
        expected = r"weights\.safetensors is another teacher's; the teacher is trained again"
    again = prepare_teacher(recipe, toy, views_of(recipe, toy), lambda _: COMPUTE, lambda *_: None, heard.append)
    assert again.trained
    assert len(heard) == 1
    assert re.search(expected, heard[0])
    for a, b in zip(first.network.state_dict().values(), again.network.state_dict().values(), strict=True):
        assert torch.equal(a, b)


def test_the_arch_has_an_exit_at_the_end_of_each_stage(recipe: Recipe, toy: Dataset) -> None:
    deep = changed(recipe, "teacher", depths=(2, 1, 3), widths=(8, 16, 24))
    arch = teacher_arch(deep.teacher, toy)
    assert [exit_.block for exit_ in arch.exits] == [1, 2, 5]
    assert [block.width for block in arch.blocks] == [8, 8, 16, 24, 24, 24]
    assert [block.stride for block in arch.blocks] == [1, 1, 2, 2, 1, 1]
    assert (arch.in_channels, arch.image_size, arch.classes) == (1, 8, 3)
    logits = EarlyExitNetwork(arch, toy.mean, toy.std).eval()(torch.from_numpy(toy.test.images))
    assert [tuple(exit_.shape) for exit_ in logits] == [(24, 3)] * 3


def test_our_families_refuse_images_that_are_not_square(toy: Dataset) -> None:
    wide = replace(toy, train=replace(toy.train, images=toy.train.images[:, :, :6]))
    with pytest.raises(UserError, match="the images of toy are 8x6, and students of our families take square ones"):
        square_shape(wide)
    assert image_shape(wide) == (1, 6, 8)
    assert square_shape(toy) == (1, 8, 8)

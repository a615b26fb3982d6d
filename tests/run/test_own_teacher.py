"""What is said of a user's own teacher at the start: how good it is, what seems to be set wrongly, what has no file."""

import re
import warnings
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from sklearn.datasets import load_digits
from torch import Tensor, nn

from erde_nas.data.dataset import Dataset, Split
from erde_nas.distil.teachers.load import read_checkpoint
from erde_nas.errors import UserError
from erde_nas.recipe.profile import HardwareProfile, load_profile
from erde_nas.recipe.recipe import Recipe
from erde_nas.recipe.teacher import TeacherSection
from erde_nas.run.own_teacher import accuracy_lines, inspect_teacher, look, undeployable
from erde_nas.run.teacher_hints import hints

CPU = torch.device("cpu")
IMAGENET = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


def nearest_means(dataset: Dataset, mean: tuple[float, ...], std: tuple[float, ...]) -> tuple[Tensor, Tensor]:
    """Weights and bias of the linear classifier by the nearest mean of a class, in normalised pixels."""
    pixels = dataset.train.images / 255
    x = ((pixels - np.reshape(mean, (-1, 1, 1))) / np.reshape(std, (-1, 1, 1))).reshape(len(pixels), -1)
    means = np.stack([x[dataset.train.labels == c].mean(0) for c in range(len(dataset.classes))])
    return torch.tensor(means, dtype=torch.float32), torch.tensor(-0.5 * (means**2).sum(1), dtype=torch.float32)


class Nearest(nn.Module):
    """Right on nine digits of ten, with the normalisation that it was made for alone."""

    def __init__(self, dataset: Dataset, mean: tuple[float, ...], std: tuple[float, ...], order: list[int]) -> None:
        super().__init__()
        weight, bias = nearest_means(dataset, mean, std)
        self.linear = nn.Linear(weight.shape[1], weight.shape[0])
        self.linear.weight.data, self.linear.bias.data = weight[order], bias[order]

    def forward(self, x: Tensor) -> Tensor:
        return self.linear(x.flatten(1))


@pytest.fixture(scope="module")
def colour() -> Dataset:
    """Digits 0 to 4 in three channels of different brightness."""
    data = load_digits(n_class=5)
    gray = data.images[:, None] * np.array([16, 12, 8])[:, None, None]
    images = gray.clip(0, 255).astype(np.uint8)  # (n, 3, 8, 8)
    splits = [Split(images[a:b], data.target[a:b].astype(np.int64)) for a, b in ((0, 500), (500, 800), (800, 901))]
    mean, std = (images[:500] / 255).mean((0, 2, 3)), (images[:500] / 255).std((0, 2, 3))
    names = ("nil", "one", "two", "three", "four")
    return Dataset("colour", *splits, names, tuple(mean.tolist()), tuple(std.tolist()), "colour")


def said(dataset: Dataset, module: nn.Module, folder: Path, **keys: Any) -> tuple[float, list[str], list[str]]:
    """Validation accuracy, the lines on it, and the hints."""
    batch = {"x": {0: torch.export.Dim("batch")}}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        shape = dataset.train.images.shape[1:]
        torch.export.save(
            torch.export.export(module, (torch.zeros(2, *shape),), dynamic_shapes=batch), folder / "own.pt2"
        )
    section = TeacherSection(checkpoint=str(folder / "own.pt2"), **keys)
    found = read_checkpoint(section, dataset, CPU)
    looked = look(found.network, dataset)
    return looked.exits[-1], accuracy_lines(looked, dataset), hints(found, looked, section, dataset)


STRAIGHT, TURNED = [0, 1, 2, 3, 4], [4, 3, 2, 1, 0]


@pytest.mark.parametrize("name", ["imagenet", "half", "unit", "pixels"])
def test_another_normalisation_is_named_and_then_set(name: str, colour: Dataset, tmp_path: Path) -> None:
    usual: dict[str, Any] = {
        "imagenet": IMAGENET, "half": ((0.5,) * 3, (0.5,) * 3), "unit": ((0.0,) * 3, (1.0,) * 3),
        "pixels": ((0.0,) * 3, (1 / 255,) * 3),
    }  # fmt: skip
    module = Nearest(colour, *usual[name], STRAIGHT)
    wrong, _, hinted = said(colour, module, tmp_path)
    right, _, none = said(colour, module, tmp_path, normalisation=name)
    mean, std = usual[name]
    assert said(colour, module, tmp_path, mean=mean, std=std)[0] == right > 0.85
    assert none == []
    if right - wrong > 0.1:
        assert len(hinted) == 1
        assert f"set teacher: {{normalisation: {name}}}" in hinted[0]
        assert re.search(r"right on 9\d\.\d% of 256 images instead of \d+\.\d%", hinted[0])
    else:
        assert wrong > 0.85, "a linear classifier may bear it"


def test_some_normalisation_matters(colour: Dataset, tmp_path: Path) -> None:
    wrong, _, hinted = said(colour, Nearest(colour, (0.0,) * 3, (1 / 255,) * 3, STRAIGHT), tmp_path)
    assert wrong < 0.8
    assert "set teacher: {normalisation: pixels}" in hinted[0]


def test_another_order_of_classes_is_named_and_then_set(colour: Dataset, tmp_path: Path) -> None:
    module = Nearest(colour, colour.mean, colour.std, TURNED)
    wrong, lines, (hint,) = said(colour, module, tmp_path)
    assert wrong < 0.4
    assert "by class: nil (2%), one (8%), two (85%)" in lines[0]
    assert "set teacher: {classes: [four, three, two, one, nil]}" in hint
    names = ("four", "three", "two", "one", "nil")
    right, lines, none = said(colour, module, tmp_path, classes=names)
    straight = Nearest(colour, colour.mean, colour.std, STRAIGHT)
    assert (right, lines, none) == (*said(colour, straight, tmp_path)[:2], [])
    x = torch.from_numpy(colour.test.images)
    own = read_checkpoint(TeacherSection(checkpoint=str(tmp_path / "own.pt2")), colour, CPU).network
    torch.testing.assert_close(own(x)[0].argmax(1), straight((x / 255 - mean_of(colour)) / std_of(colour)).argmax(1))


def test_both_are_named_where_neither_alone_helps(colour: Dataset, tmp_path: Path) -> None:
    module = Nearest(colour, (0.0,) * 3, (1 / 255,) * 3, TURNED)
    _, _, (hint,) = said(colour, module, tmp_path)
    names = ("four", "three", "two", "one", "nil")
    assert f"set teacher: {{normalisation: pixels, classes: [{', '.join(names)}]}}" in hint
    right, _, none = said(colour, module, tmp_path, normalisation="pixels", classes=names)
    assert right > 0.85
    assert none == []


def mean_of(dataset: Dataset) -> Tensor:
    return torch.tensor(dataset.mean).view(-1, 1, 1)


def std_of(dataset: Dataset) -> Tensor:
    return torch.tensor(dataset.std).view(-1, 1, 1)


def test_a_teacher_that_knows_nothing_gets_no_advice(colour: Dataset, tmp_path: Path) -> None:
    """No order of classes makes a constant answer right, nor does any other normalisation."""
    module = Nearest(colour, colour.mean, colour.std, STRAIGHT)
    nn.init.zeros_(module.linear.weight)
    accuracy, lines, hinted = said(colour, module, tmp_path)
    commonest = float((colour.validation.labels == module.linear.bias.argmax().item()).mean())
    assert accuracy == pytest.approx(commonest)
    assert f"right on {commonest:.1%} of 300 validation images" in lines[0]
    assert hinted == []


def test_few_validation_images(colour: Dataset, tmp_path: Path) -> None:
    few = replace(colour, validation=Split(colour.validation.images[:3], colour.validation.labels[:3]))
    module = Nearest(colour, colour.mean, colour.std, TURNED)
    _, lines, hinted = said(few, module, tmp_path)
    assert "of 3 validation images" in lines[0]
    assert "set teacher: {classes: [four, three, two, one, nil]}" in hinted[0], "training images show it"


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ({"classes": ("nil", "one", "two", "three", "vier")}, "it lacks four and has the unknown vier"),
        ({"classes": ("nil", "nil", "two", "three", "four")}, "it lacks one and holds twice nil"),
        ({"mean": (0.5,) * 2, "std": (0.5,) * 2}, "must hold 3 numbers, one per channel of .* but hold 2"),
        ({"normalisation": "mnist"}, "mnist is for 1 channels, but colour's images have 3; give teacher.mean"),
    ],
)
def test_keys_that_do_not_fit(keys: dict[str, Any], message: str, colour: Dataset, tmp_path: Path) -> None:
    module = Nearest(colour, colour.mean, colour.std, STRAIGHT)
    with pytest.raises(UserError, match=message):
        said(colour, module, tmp_path, **keys)


def test_keys_that_contradict() -> None:
    for keys, message in (
        ({"mean": (0.5,)}, "std is missing"),
        ({"mean": (0.5,), "std": (0.5, 0.5)}, "hold 1 and 2"),
        ({"mean": (123.7, 116.3, 103.5), "std": (58.4, 57.1, 57.4)}, r"scaled to \[0, 1\]; divide both by 255"),
        ({"mean": (0.5,), "std": (0.5,), "normalisation": "half"}, "says what mean and std would say"),
    ):
        with pytest.raises(ValueError, match=message):
            TeacherSection(checkpoint="own.pt2", **keys)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="classes belongs to a checkpoint of your own"):
        TeacherSection(classes=("a", "b"))
    assert TeacherSection(checkpoint="a", classes=(1, "b")).classes == ("1", "b")  # type: ignore[arg-type]
    assert not {"mean", "std", "normalisation", "classes"} & TeacherSection().model_dump().keys()


class Unwritable(Nearest):
    """Teaches, but no exporter knows what it does."""

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x) + torch.special.bessel_j0(x).flatten(1).sum(1, keepdim=True) * 0


def test_a_teacher_without_a_file_is_said_at_the_start(
    colour: Dataset, tmp_path: Path, profile_of: Callable[[str], HardwareProfile], capfd: pytest.CaptureFixture[str]
) -> None:
    module = Unwritable(colour, colour.mean, colour.std, STRAIGHT)
    accuracy, _, _ = said(colour, module, tmp_path)
    assert accuracy > 0.85
    section = TeacherSection(checkpoint=str(tmp_path / "own.pt2"))
    network = read_checkpoint(section, colour, CPU).network
    (line,) = undeployable(network, (profile_of("quick"),), colour)
    assert line.startswith("it cannot be a baseline as a file: it cannot be written as an ONNX file: ")
    assert line.endswith("; students are searched and measured all the same")
    assert capfd.readouterr().out == "", "torch would print the whole graph"


def test_one_that_can_be_deployed_needs_no_word(
    colour: Dataset, tmp_path: Path, tiny: Any, profile_of: Callable[[str], HardwareProfile]
) -> None:
    said(colour, Nearest(colour, colour.mean, colour.std, STRAIGHT), tmp_path)
    recipe = Recipe.model_construct(teacher=TeacherSection(checkpoint=str(tmp_path / "own.pt2")))
    heard: list[str] = []
    lines = inspect_teacher(recipe, (profile_of("quick"),), colour, CPU, heard.append)
    assert len(lines) == 1
    assert lines[0].startswith("right on ")
    notice, word = heard  # what reading a .pt2 may do is always said
    assert "reading a .pt2 file may run code of whoever made it" in notice
    assert word == f"teacher own.pt2: {lines[0]}"
    assert inspect_teacher(Recipe.model_construct(teacher=TeacherSection()), (), colour, CPU, heard.append) == []


@pytest.fixture
def profile_of(tiny: Any) -> Callable[[str], HardwareProfile]:
    return lambda name: load_profile(tiny.profile)

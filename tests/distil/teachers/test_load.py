"""The user's own teacher: weights of this project or a program of torch.export, and everything that can be wrong."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from erde_nas.data.dataset import Dataset
from erde_nas.data.views import Views
from erde_nas.distil.teachers.cached_logits import cached_logits
from erde_nas.distil.teachers.load import load_checkpoint
from erde_nas.distil.teachers.teacher import Teacher, prepare_teacher
from erde_nas.distil.teachers.wrapper import ProgramTeacher
from erde_nas.distil.training.compute import Compute
from erde_nas.errors import UserError
from erde_nas.networks.network import EarlyExitNetwork
from erde_nas.networks.weights import save_network
from erde_nas.recipe.recipe import Recipe
from erde_nas.recipe.teacher import TeacherSection

CPU = torch.device("cpu")


class Foreign(nn.Module):
    """Some network of the user's, on normalised images: two exits, or one tensor."""

    def __init__(self, classes: int = 3, answers: str = "exits") -> None:
        super().__init__()
        torch.manual_seed(0)
        self.early, self.late, self.answers = nn.Linear(64, classes), nn.Linear(64, classes), answers

    def forward(self, images: Tensor) -> Tensor | tuple[Tensor, Tensor]:
        x = images.flatten(1)
        late = self.late(torch.relu(x))
        return late if self.answers == "one" else (self.early(x), late)


def exported(module: nn.Module, path: Path) -> Path:
    """Save `module` as a program."""
    shapes = {"images": {0: torch.export.Dim("batch")}}
    torch.export.save(torch.export.export(module, (torch.zeros(2, 1, 8, 8),), dynamic_shapes=shapes), path)
    return path


def load(path: Path, dataset: Dataset) -> Teacher:
    network, key = load_checkpoint(TeacherSection(checkpoint=str(path)), dataset, CPU)
    return Teacher(network, key, trained=False)


def test_weights_of_this_project(
    make_network: Callable[..., EarlyExitNetwork], toy: Dataset, tmp_path: Path, recipe: Recipe, cache: Path
) -> None:
    network = make_network().eval()
    save_network(network, tmp_path / "mine")
    path = tmp_path / "mine" / "weights.safetensors"
    own = recipe.model_copy(update={"teacher": recipe.teacher.model_copy(update={"checkpoint": str(path)})})
    views = Views(toy.train, recipe.views, seed=0, device=CPU)

    def never(_: object) -> Compute:
        raise AssertionError("a checkpoint needs no training")

    teacher = prepare_teacher(own, toy, views, never, lambda *_: None)
    assert not teacher.trained
    assert not (cache / "teachers").exists()
    images = torch.from_numpy(toy.test.images)
    for got, expected in zip(teacher.network(images), network(images), strict=True):
        torch.testing.assert_close(got, expected)  # the layout in memory may be another


@pytest.mark.parametrize(("answers", "exits"), [("one", 1), ("exits", 2)])
def test_a_program_from_the_file_to_the_cached_logits(
    toy: Dataset, tmp_path: Path, make_views: Callable[..., Views], answers: str, exits: int
) -> None:
    foreign = Foreign(answers=answers)
    teacher = load(exported(foreign, tmp_path / "foreign.pt2"), toy)
    assert isinstance(teacher.network, ProgramTeacher)
    assert teacher.early_exit is None
    assert not teacher.network.training
    normalized = (toy.test.images.astype(np.float32) / 255 - toy.mean[0]) / toy.std[0]
    expected = foreign(torch.from_numpy(normalized.astype(np.float32)))
    expected = [expected] if exits == 1 else list(expected)
    for batch in (1, 2, 24):
        got = teacher.network(torch.from_numpy(toy.test.images[:batch]))
        assert isinstance(got, list)
        assert len(got) == exits
        for a, b in zip(got, expected, strict=True):
            torch.testing.assert_close(a, b[:batch], rtol=1e-4, atol=1e-5)
    teacher.network.train()  # a program has no other mode; asking for it does no harm
    assert not teacher.network.training
    views = make_views(flip=True)
    logits = cached_logits(teacher, views, 2)
    assert logits.shape == (2, 96, exits, 3)
    live = torch.stack(teacher.network(views.view(1)), 1)
    torch.testing.assert_close(logits[1].float(), live, rtol=2**-10, atol=1e-5)


def test_the_key_depends_on_the_file_and_the_data(
    make_network: Callable[..., EarlyExitNetwork], toy: Dataset, tmp_path: Path
) -> None:
    for seed in (0, 1):
        save_network(make_network(seed), tmp_path / str(seed))
    path = tmp_path / "0" / "weights.safetensors"
    keys = [
        load(path, toy).key,
        load(tmp_path / "1" / "weights.safetensors", toy).key,
        load(path, replace(toy, fingerprint="others")).key,
    ]
    assert len(set(keys)) == 3
    copied = tmp_path / "elsewhere"
    save_network(make_network(0), copied)
    assert load(copied / "weights.safetensors", toy).key == keys[0]


def test_a_missing_file_or_one_of_another_kind(tmp_path: Path, toy: Dataset) -> None:
    with pytest.raises(UserError, match=r"absent\.pt2 does not exist; correct teacher\.checkpoint in the recipe"):
        load(tmp_path / "absent.pt2", toy)
    pickled = tmp_path / "model.pth"
    torch.save({}, pickled)
    with pytest.raises(UserError, match=r"model\.pth must end in \.safetensors .* or \.pt2 .*name it in teacher\.timm"):
        load(pickled, toy)
    (tmp_path / "alone.safetensors").touch()
    with pytest.raises(UserError, match=r"arch\.json does not exist; a network is a \.safetensors file with"):
        load(tmp_path / "alone.safetensors", toy)


def test_damaged_files(make_network: Callable[..., EarlyExitNetwork], toy: Dataset, tmp_path: Path) -> None:
    save_network(make_network(), tmp_path)
    weights = tmp_path / "weights.safetensors"
    whole = weights.read_bytes()
    for size in (0, 5, 200, len(whole) - 1):
        weights.write_bytes(whole[:size])
        with pytest.raises(UserError, match=r"weights\.safetensors is damaged"):
            load(weights, toy)
    weights.write_bytes(whole)
    (tmp_path / "arch.json").write_text('{"family": "resnet"}')
    with pytest.raises(UserError, match=r"arch\.json does not describe an erde-nas network"):
        load(weights, toy)
    save_network(make_network(), tmp_path / "other")
    (tmp_path / "arch.json").write_text((tmp_path / "other" / "arch.json").read_text().replace("erde", "gap"))
    with pytest.raises(UserError, match=r"weights\.safetensors does not fit .*arch\.json"):
        load(weights, toy)


def test_a_damaged_program(toy: Dataset, tmp_path: Path) -> None:
    path = tmp_path / "broken.pt2"
    for content in (b"", b"no program", b"PK\x03\x04 no program"):
        path.write_bytes(content)
        with pytest.raises(UserError, match=r"broken\.pt2 is not a program that torch\.export can load"):
            load(path, toy)


def test_a_teacher_of_other_classes(
    make_network: Callable[..., EarlyExitNetwork], toy: Dataset, tmp_path: Path
) -> None:
    save_network(make_network(classes=5), tmp_path)
    with pytest.raises(UserError, match=r"exit 0: toy has 3 classes, .* logits of shape \(3, 3\), but got \(3, 5\)"):
        load(tmp_path / "weights.safetensors", toy)
    message = r"toy has 3 classes, .* logits of shape \(images, 3\), but gives \(images, 5\), \(images, 5\)"
    with pytest.raises(UserError, match=message):
        load(exported(Foreign(classes=5), tmp_path / "five.pt2"), toy)


def test_a_teacher_of_other_images(make_network: Callable[..., EarlyExitNetwork], toy: Dataset, tmp_path: Path) -> None:
    save_network(make_network(channels=3), tmp_path)
    with pytest.raises(UserError, match=r"weights\.safetensors .*takes images of 3×8×8, .*toy's are 1×8×8"):
        load(tmp_path / "weights.safetensors", toy)


def test_a_program_whose_answers_are_no_numbers(toy: Dataset, tmp_path: Path) -> None:
    class Broken(Foreign):
        def forward(self, images: Tensor) -> Tensor:
            return self.late(images.flatten(1)) * torch.inf

    with pytest.raises(UserError, match=r"broken\.pt2, exit 0: .* not finite; its weights are damaged"):
        load(exported(Broken(), tmp_path / "broken.pt2"), toy)


def test_a_network_of_this_project_whose_classes_are_in_another_order(
    make_network: Callable[..., EarlyExitNetwork], toy: Dataset, tmp_path: Path
) -> None:
    network = make_network().eval()
    save_network(network, tmp_path)
    path = str(tmp_path / "weights.safetensors")
    images = torch.from_numpy(toy.test.images)
    own, key = load_checkpoint(TeacherSection(checkpoint=path, classes=("c", "a", "b")), toy, CPU)
    for got, expected in zip(own(images), network(images), strict=True):
        torch.testing.assert_close(got, expected[:, [1, 2, 0]])  # a is output 1, b output 2, c output 0
    same = load_checkpoint(TeacherSection(checkpoint=path, classes=("a", "b", "c")), toy, CPU)[1]
    assert key != same == load(tmp_path / "weights.safetensors", toy).key
    with pytest.raises(UserError, match="is a network of erde-nas, which keeps the normalisation that it was trained"):
        load_checkpoint(TeacherSection(checkpoint=path, normalisation="half"), toy, CPU)

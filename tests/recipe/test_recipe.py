"""What a recipe may say, what is answered otherwise, and that every shipped one can be built from end to end."""

import hashlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml

from erde_nas.data.dataset import Dataset, Split, image_shape
from erde_nas.distil.teachers.teacher import teacher_arch
from erde_nas.errors import UserError
from erde_nas.networks.network import EarlyExitNetwork
from erde_nas.recipe import shipped as resources
from erde_nas.recipe.distil import DistilSection
from erde_nas.recipe.images import DatasetSection, ViewsSection
from erde_nas.recipe.network import StudentSection
from erde_nas.recipe.optimizer import OptimizerSection
from erde_nas.recipe.profile import load_profile
from erde_nas.recipe.recipe import Recipe, load_recipe
from erde_nas.recipe.section import Section
from erde_nas.recipe.teacher import TeacherSection
from erde_nas.space.space import Space

SHAPES = {  # classes, then channels, height and width of what `data/` makes of each data set
    "quickstart": (10, (1, 28, 28)),
    "digits": (10, (1, 16, 16)),
    "fashion-mnist": (10, (1, 28, 28)),
    "cifar10": (10, (3, 32, 32)),
    "cifar10-small": (10, (3, 32, 32)),
    "cifar10-laptop": (10, (3, 32, 32)),
    "cifar100": (100, (3, 32, 32)),
    "cifar100-laptop": (100, (3, 32, 32)),
    "svhn": (10, (3, 32, 32)),
}
SMALLEST: dict[str, Any] = {
    "name": "mine",
    "dataset": {"name": "digits"},
    "space": {"depths": [[1]], "widths": [[8]]},
    "train": {"epochs": 1},
    "finish": {"train": {"epochs": 1}},
    "compress": {"train": {"epochs": 1}},
}
TWO_STAGES = {"space.depths": [[1], [1, 2]], "space.widths": [[8, 16], [16, 24]]}


def load(folder: Path, changes: dict[str, Any]) -> Recipe:
    """The smallest recipe with `changes`, whose keys are paths such as `space.depths`, read from a file."""
    values: dict[str, Any] = yaml.safe_load(yaml.safe_dump(SMALLEST))
    for key, value in changes.items():
        *sections, last = key.split(".")
        inner = values
        for section in sections:
            inner = inner.setdefault(section, {})
        inner[last] = value
    path = folder / "mine.yaml"
    path.write_text(yaml.safe_dump(values))
    return load_recipe(path)


def test_the_smallest_recipe_has_defaults_for_the_rest(tmp_path: Path) -> None:
    recipe = load(tmp_path, {})
    assert recipe.search.objectives == ("error", "latency")
    assert recipe.profiles == ("cpu-1thread",)
    assert recipe.distil.loss == "kd+entropy"
    assert recipe.views.cached_views == 8


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"dataset.name": "folder"}, r"dataset: data set 'folder' needs path: say where the images are"),
        ({"dataset.name": "npz"}, r"dataset: data set 'npz' needs path"),
        ({"dataset.path": "x"}, r"dataset: path belongs to folder and npz, not to 'digits'; use --data-dir"),
        ({"dataset.name": "cifar-10"}, r"dataset\.name: .*\(got \"cifar-10\"\); did you mean 'cifar10'\?"),
        ({"dataset.validation": 1.0}, r"dataset\.validation: should be less than 1 \(got 1\.0\)"),
        ({"dataset.test": 0.0}, r"dataset\.test: should be greater than 0 \(got 0\.0\)"),
        ({"dataset.image_size": 4}, r"dataset\.image_size: .* from 8 to 512, or \[height, width\] \(got 4\)"),
        ({"dataset.train_limit": 0}, r"dataset\.train_limit: .* 1 \(got 0\)"),
        ({"dataset.seed": -1}, r"dataset\.seed: .* 0 \(got -1\)"),
        ({"search.seed": -3}, r"search\.seed: .* 0 \(got -3\)"),
        ({"search.seed": 2**32}, r"search\.seed: .* 4294967296 \(got 4294967296\)"),
        ({"views.cutout": -1}, r"views\.cutout: .* 0 \(got -1\)"),
        ({"views.cached_views": 0}, r"views\.cached_views: .* 1 \(got 0\)"),
        ({"train.epochs": 0}, r"train\.epochs: .* 1 \(got 0\)"),
        ({"train.learning_rate": 0.0}, r"train\.learning_rate: should be greater than 0 \(got 0\.0\)"),
        ({"train.momentum": 1.0}, r"train\.momentum: should be less than 1 \(got 1\.0\)"),
        ({"teacher.depths": [2, 2]}, r"teacher: depths and widths need one number per stage, .* but got 2 and 3"),
        ({"teacher.depths": [], "teacher.widths": []}, r"teacher: .* at least one stage, but got 0 and 0"),
        ({"teacher.stem": 12}, r"teacher\.stem: should be a multiple of 8 \(got 12\)"),
        ({"teacher.family": "vit"}, r"teacher\.family: .*\(got \"vit\"\); choose one of these"),
        ({"space.depths": [[1], [2]]}, r"space: depths and widths need one list of choices per stage, but got 2 and 1"),
        ({"space.depths": [], "space.widths": []}, r"space: .* but got 0 and 0"),
        ({"space.depths": [[]]}, r"space: depths\[0\] must hold at least one choice and none twice, but got \[\]"),
        ({"space.widths": [[8, 16, 8]]}, r"space: widths\[0\] must hold .* but got \[8, 16, 8\]"),
        ({"space.families": []}, r"space: families must hold .* but got \[\]"),
        ({"space.stems": [8, 8]}, r"space: stems must hold .* but got \[8, 8\]"),
        ({"space.kernels": []}, r"space: kernels must hold .* but got \[\]"),
        ({"space.expansions": [2, 2]}, r"space: expansions must hold .* but got \[2, 2\]"),
        ({"space.heads": ["gap", "gap"]}, r"space: heads must hold .* but got \['gap', 'gap'\]"),
        ({"space.kernels": [4]}, r"space\.kernels\[0\]: should be 3, 5 or 7 \(got 4\)"),
        ({"space.widths": [[20]]}, r"space\.widths\[0\]\[0\]: should be a multiple of 8 \(got 20\)"),
        ({"space.max_exits": 0}, r"space\.max_exits: .* 1 \(got 0\)"),
        (
            {**TWO_STAGES, "space.strides": [[1]]},
            r"space: strides needs one list .* per stage, but 1 are for 2",
        ),
        ({**TWO_STAGES, "space.strides": [[1], [3]]}, r"space\.strides\[1\]\[0\]: should be 1 or 2 \(got 3\)"),
        ({**TWO_STAGES, "space.strides": [[1], []]}, r"space: strides\[1\] must hold at least one choice"),
        (
            {**TWO_STAGES, "space.strides": [[1], [1, 2]]},
            r"space: a stage that keeps .* widths\[1\] and widths\[0\] both hold 16; .* belong into depths\[0\]",
        ),
        ({"space.exits": "ends"}, r"space\.exits: should be 'any' or 'stage-ends' \(got \"ends\"\)"),
        (
            {**TWO_STAGES, "space.first_exit_stage": 2},
            r"space: first_exit_stage must be at most 1, .* but is 2",
        ),
        (
            {**TWO_STAGES, "space.first_exit_stage": 1, "space.exits": "stage-ends"},
            r"space: first_exit_stage must be at most 0, .* but is 1; or set max_exits: 1",
        ),
        (
            {**TWO_STAGES, "search.evaluator": "supernet", "space.strides": [[1, 2], [2]]},
            r".*supernet shares weights .* one resolution, but a stage of space\.strides holds \[1, 2\]",
        ),
        ({"distil.temperature": 0}, r"distil\.temperature: should be greater than 0 \(got 0\)"),
        ({"distil.loss": "dkdd"}, r"distil\.loss: .*\(got \"dkdd\"\)"),
        ({"search.objectives": ["error"]}, r"search: objectives must hold error .* but got \['error'\]"),
        ({"search.objectives": ["macs", "latency"]}, r"search: .* but got \['macs', 'latency'\]"),
        ({"search.objectives": ["error", "macs", "macs"]}, r"search: .* but got \['error', 'macs', 'macs'\]"),
        ({"search.objectives": []}, r"search: .* but got \[\]"),
        ({"search.population": 1}, r"search\.population: .* 2 \(got 1\)"),
        ({"search.searcher": "nsga"}, r"search\.searcher: .* did you mean 'nsga[23]'\?"),
        ({"finish.students": 0}, r"finish\.students: .* 1 \(got 0\)"),
        ({"compress.prune": [0.5, 1.0]}, r"compress\.prune\[1\]: should be less than 1 \(got 1\.0\)"),
        ({"compress.prune": [0.501, 0.5]}, r"compress: prune must .* whole per cents, but got \[0\.501, 0\.5\]"),
        ({"search.evaluator": "oneshot"}, r"search\.evaluator: should be 'train' or 'supernet'"),
        ({"supernet.random": -1}, r"supernet\.random: .* 0 \(got -1\)"),
        (
            {"search.evaluator": "supernet", "distil.loss": "fcfd"},
            r".*supernet cannot train with the loss 'fcfd': its term 'fcfd' has weights .*such as kd\+entropy",
        ),
        (
            {"search.evaluator": "supernet", "space.families": ["resnet", "shufflenet"]},
            r".*supernet cannot share the weights of shufflenet.*leave it out of space\.families",
        ),
        ({"profiles": []}, r"profiles: .*at least 1 item.* \(got \[\]\)"),
        ({"views.flips": True}, r"views\.flips: is not a key here; did you mean 'flip'\?"),
    ],
)
def test_a_mistake_is_answered_with_the_values(tmp_path: Path, changes: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=rf"mine\.yaml:\d+: {message}"):
        load(tmp_path, changes)


@pytest.mark.parametrize(
    "changes",
    [
        {"dataset.name": "folder", "dataset.path": "photos", "dataset.image_size": 64},
        {"search.objectives": ["macs", "error"]},
        {"compress.prune": []},
        {"compress.prune": [0.3, 0.5, 0.51]},
        {"search.seed": 2**32 - 1},
        {"profiles": ["a.yaml", "cuda"]},
    ],
)
def test_what_is_at_the_edge_is_taken(tmp_path: Path, changes: dict[str, Any]) -> None:
    assert load(tmp_path, changes).name == "mine"


def test_sections_are_frozen(tmp_path: Path) -> None:
    recipe = load(tmp_path, {})
    with pytest.raises(ValueError, match="frozen"):
        recipe.search.trials = 3  # type: ignore[misc]


def test_the_list_of_shipped_recipes_is_complete() -> None:
    assert set(resources.shipped("search")) == set(SHAPES)


def forward(arch: Any, dataset: Dataset) -> list[tuple[int, ...]]:
    """Build a network and give it two images; the shapes of its answers."""
    with torch.no_grad():
        logits = EarlyExitNetwork(arch, dataset.mean, dataset.std).eval()(torch.from_numpy(dataset.train.images))
    return [tuple(exit_.shape) for exit_ in logits]


@pytest.mark.parametrize("name", SHAPES)
def test_a_shipped_recipe_can_be_built(name: str) -> None:
    classes, shape = SHAPES[name]
    recipe = load_recipe(resources.find("search", name))
    assert recipe.name == name
    two = Split(np.zeros((2, *shape), np.uint8), np.zeros(2, np.int64))
    names = tuple(map(str, range(classes)))
    dataset = Dataset(name, two, two, two, names, (0.5,) * shape[0], (0.2,) * shape[0], "")
    space = Space(recipe.space, image_shape(dataset), classes)
    # The teacher, for estimates a student of middling size, and for limits the smallest ones.
    assert forward(teacher_arch(recipe.teacher, dataset), dataset) == [(2, classes)] * len(recipe.teacher.depths)
    assert forward(space.middle(), dataset) == [(2, classes)] * 2
    smallest = space.smallest()
    assert len(smallest) == len(recipe.space.families) * len(recipe.space.heads)
    for arch in smallest:
        assert forward(arch, dataset) == [(2, classes)] * 2
    assert [load_profile(resources.find("profiles", profile)).name for profile in recipe.profiles] == list(
        recipe.profiles
    )


def test_the_exit_rule_is_one_of_the_registry_and_changes_no_hash_of_earlier_recipes(tmp_path: Path) -> None:
    plain = load(tmp_path, {})
    assert plain.exit_rule == "entropy"
    assert "exit_rule" not in plain.model_dump(mode="json")
    assert load(tmp_path, {"exit_rule": "entropy"}).model_dump() == plain.model_dump()
    other = load(tmp_path, {"exit_rule": "margin"})
    assert other.model_dump(mode="json") == {**plain.model_dump(mode="json"), "exit_rule": "margin"}
    with pytest.raises(
        UserError, match=r"exit_rule: should be 'entropy', 'max-prob', 'margin' or 'learned' \(got \"sure\"\)"
    ):
        load(tmp_path, {"exit_rule": "sure"})


@pytest.mark.parametrize(
    ("section", "digest"),
    [
        (DatasetSection(name="digits"), "53d64777d290"),
        (ViewsSection(), "88cbd3821695"),
        (TeacherSection(), "0eba1ec07c42"),
        (DistilSection(), "208bf37c9f0c"),
        (OptimizerSection(epochs=1), "fc8a832346b1"),
        (StudentSection(), "26798dbc58a6"),
    ],
    ids=lambda value: type(value).__name__,
)
def test_keys_that_came_later_change_no_hash(section: Section, digest: str) -> None:
    """A run is continued, and a teacher found in the cache, by these hashes of version 0.1.0's first runs."""
    assert hashlib.sha256(section.model_dump_json().encode()).hexdigest()[:12] == digest

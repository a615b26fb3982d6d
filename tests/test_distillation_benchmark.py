"""`benchmarks/distillation.py ea-kd` is the setting that EA-KD's paper names: CRD's training, T 4, 0.1 : 0.9."""

import json
import sys
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from types import ModuleType

import pytest

from erde_nas.recipe.preset import expand, expanded
from erde_nas.recipe.published import PAIRS
from erde_nas.recipe.recipe import load_recipe


@pytest.fixture(scope="module")
def benchmark() -> ModuleType:
    spec = spec_from_file_location("distillation", Path(__file__).parents[1] / "benchmarks" / "distillation.py")
    assert spec is not None
    assert spec.loader is not None
    module = sys.modules["distillation"] = module_from_spec(spec)  # where dataclasses look for it
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("pair", list(PAIRS))
def test_the_recipe_is_the_paper_s_setting(pair: tuple[str, str], benchmark: ModuleType, tmp_path: Path) -> None:
    path = tmp_path / "ea-kd.yaml"
    path.write_text(json.dumps(benchmark.published_recipe(pair, "kd")))
    recipe = load_recipe(path)
    assert (recipe.dataset.name, recipe.dataset.validation, recipe.dataset.train_limit) == ("cifar100", 0, None)
    whole, plan = expanded(recipe), expand(recipe, recipe.distil)
    views = whole.views
    assert (views.crop_padding, views.flip, views.cutout, views.cached_views) == (4, True, 0, 240)
    assert (plan.section.temperature, plan.section.ce_weight, plan.section.kd_weight) == (4.0, 0.1, 0.9)
    for training, rate in ((plan.training, 0.01 if "netv2" in pair[1] else 0.05), (recipe.teacher.train, 0.05)):
        assert (training.epochs, training.batch_size, training.learning_rate) == (240, 64, rate)
        assert (training.milestones, training.gamma, training.nesterov) == ((150, 180, 210), 0.1, False)
        assert (training.momentum, training.weight_decay) == (0.9, 5e-4)
    assert (recipe.teacher.exits, recipe.student and recipe.student.exits) == ("last", "last")


def test_its_default_pair_and_losses_are_the_paper_s_first(benchmark: ModuleType) -> None:
    study = benchmark.STUDIES["ea-kd"]
    assert (study.teacher["model"], study.student["model"]) == ("resnet32x4", "resnet8x4")
    assert study.losses == ("kd", "ea-kd", "ce")
    weights = benchmark.published_recipe(("vgg13", "vgg8"), "kd", Path("ckpt_epoch_240.pth"))["teacher"]
    assert weights["checkpoint"].endswith("ckpt_epoch_240.pth")
    assert "train" not in weights

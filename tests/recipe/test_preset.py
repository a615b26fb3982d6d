"""`preset: published` against what the papers' configuration files say, and what a recipe makes of it."""

import re
from pathlib import Path
from typing import Any

import pytest
import torch

from erde_nas.distil.training.schedule import Trained, learning_rates, make_optimizer
from erde_nas.errors import UserError
from erde_nas.recipe.distil import LOSSES
from erde_nas.recipe.optimizer import OptimizerSection
from erde_nas.recipe.preset import expand, expanded
from erde_nas.recipe.published import PAIRS, TABLE_2
from erde_nas.recipe.recipe import Recipe
from tests.recipe.test_recipe import load

STUDENTS = ["resnet8x4", "wrn-16-2", "wrn-40-1", "vgg8", "mobilenetv2", "mobilenetv2", "shufflenetv2"]
TEACHERS = ["resnet32x4", "wrn-28-4", "wrn-40-2", "vgg13", "vgg13", "resnet50", "resnet32x4"]


def recipe(folder: Path, loss: str, pair: tuple[str, str], **changes: Any) -> Recipe:
    keys = {"teacher.model": pair[0], "student": {"model": pair[1]}, "finish": {"train": {}}}
    return load(folder, {**keys, "distil": {"loss": loss, "preset": "published"}, **changes})


def test_the_pairs_are_those_of_ea_kd_s_table_2() -> None:
    assert list(PAIRS) == list(zip(TEACHERS, STUDENTS, strict=True))
    assert {len(row) for row in TABLE_2.values()} == {7}
    # The paper's own averages over the methods and pairs: its last row and column.
    methods = ["kd", "ctkd", "dkd", "mld", "mld+ls", "reviewkd", "fcfd"]
    gains = torch.tensor([[e - b for e, b in zip(TABLE_2[f"ea-{m}"], TABLE_2[m], strict=True)] for m in methods])
    for got, said in zip(gains.mean(1).tolist(), [1.48, 0.63, 0.47, 0.38, 0.16, 0.38, 0.42], strict=True):
        assert got == pytest.approx(said, abs=0.011)
    for got, said in zip(gains.mean(0).tolist(), [0.84, 0.46, 0.37, 0.33, 0.52, 0.76, 0.66], strict=True):
        assert got == pytest.approx(said, abs=0.011)


@pytest.mark.parametrize(("pair", "rate"), list(zip(PAIRS, [0.05] * 4 + [0.01] * 3, strict=True)))
def test_the_training_of_crd(pair: tuple[str, str], rate: float, tmp_path: Path) -> None:
    found = recipe(tmp_path, "ea-kd", pair)
    training = expand(found, found.distil).training
    assert training == OptimizerSection(
        epochs=240, batch_size=64, learning_rate=rate, momentum=0.9, weight_decay=5e-4,
        milestones=(150, 180, 210), gamma=0.1, nesterov=False,
    )  # fmt: skip
    whole = expanded(found)
    assert (whole.views.crop_padding, whole.views.flip, whole.views.cutout) == (4, True, 0)
    assert whole.views.cached_views == 240  # a new view in every epoch
    assert (whole.finish.train, whole.distil.preset) == (training, None)


@pytest.mark.parametrize(
    ("loss", "keys", "values"),
    [
        ("kd", ("temperature", "ce_weight", "kd_weight"), [(4, 0.1, 0.9)] * 7),
        ("ea-kd", ("temperature", "ce_weight", "kd_weight", "ea_temperature"), [(4, 0.1, 0.9, 3)] * 7),
        ("ea-ctkd", ("ce_weight", "kd_weight", "ea_temperature"), [(0.1, 0.9, 3)] * 7),
        (
            "ea-dkd",
            ("temperature", "ce_weight", "kd_weight", "kd_warmup", "dkd_alpha", "dkd_beta"),
            [(4, 1, 1, 20 / 240, 1, beta) for beta in (8, 6, 6, 6, 6, 8, 8)],
        ),
        ("mld", ("ce_weight", "kd_weight"), [(0.2, 0.9)] * 7),
        ("mld+ls", ("ce_weight", "kd_weight"), [(0.2, 9)] * 7),
        ("ea-mld+ls", ("ce_weight", "kd_weight", "ea_temperature"), [(0.2, 4, 3)] * 7),
        ("ea-reviewkd", ("ce_weight", "kd_weight"), [(1, weight) for weight in (5, 5, 5, 5, 5, 5, 8)]),
        (
            "ea-fcfd",
            ("temperature", "feature_weight", "path_weight"),
            [(t, 5, path) for t, path in zip((4, 4, 4, 4, 4, 4, 8), (1, 0.2, 0.2, 1, 1, 1, 1), strict=True)],
        ),
        ("ls", ("temperature", "kd_weight"), [(2, 9), (2, 9), (2, 9), (3, 9), (3, 9), (3, 1), (2, 9)]),
    ],
)
def test_the_weights_of_every_pair(loss: str, keys: tuple[str, ...], values: list[tuple], tmp_path: Path) -> None:
    for pair, expected in zip(PAIRS, values, strict=True):
        found = recipe(tmp_path, loss, pair)
        section = expand(found, found.distil).section
        assert tuple(getattr(section, key) for key in keys) == pytest.approx(expected)


def test_mld_takes_480_epochs_and_fcfd_nesterov_s_momentum(tmp_path: Path) -> None:
    for loss, rates in {
        "ea-mld": [0.025] * 4 + [0.0025] * 2 + [0.01],
        "mld+ls": [0.025] * 4 + [0.01] * 3,
    }.items():
        for pair, rate in zip(PAIRS, rates, strict=True):
            found = recipe(tmp_path, loss, pair)
            training = expand(found, found.distil).training
            assert (training.epochs, training.learning_rate, training.milestones) == (480, rate, (150, 180, 210))
    nesterov = {}
    for loss in ("fcfd", "reviewkd"):
        found = recipe(tmp_path, loss, ("vgg13", "vgg8"))
        nesterov[loss] = expand(found, found.distil).training.nesterov
    assert nesterov == {"fcfd": True, "reviewkd": False}


def test_what_the_recipe_says_itself_stays_and_is_told(tmp_path: Path) -> None:
    changes = {
        "distil": {"loss": "ea-dkd", "preset": "published", "dkd_beta": 2.0},
        "finish.train": {"epochs": 24, "batch_size": 32},
        "views.flip": False,
    }
    found = recipe(tmp_path, "ea-dkd", ("resnet32x4", "resnet8x4"), **changes)
    plan = expand(found, found.distil)
    assert (plan.section.dkd_beta, plan.section.temperature) == (2.0, 4.0)
    training = plan.training
    assert (training.epochs, training.batch_size, training.milestones, training.gamma) == (24, 32, (15, 18, 21), 0.1)
    views = expanded(found).views
    assert (views.crop_padding, views.flip, views.cached_views) == (4, False, 24)
    assert "of the recipe itself: distil.dkd_beta, finish.train.batch_size, finish.train.epochs" in plan.text
    assert "resnet32x4 → resnet8x4, ea-dkd: temperature 4" in plan.text
    assert plan.preset is not None
    assert plan.preset["distil"].keys() >= {"temperature", "kd_warmup"}
    assert plan.preset["train"]["learning_rate"] == 0.05


def test_what_is_borrowed_from_another_pair_is_told(tmp_path: Path) -> None:
    for loss, pair, source in (
        ("ea-dkd", ("wrn-28-4", "wrn-16-2"), "wrn-40-2 → wrn-16-2"),
        ("reviewkd", ("resnet50", "mobilenetv2"), "vgg13 → vgg8"),
    ):
        found = recipe(tmp_path, loss, pair)
        assert f"not published for this pair, taken from {source}" in expand(found, found.distil).text
    found = recipe(tmp_path, "ea-dkd", ("vgg13", "vgg8"))
    assert "not published" not in expand(found, found.distil).text


def test_an_unknown_pair_or_loss_is_refused_with_the_known_ones(tmp_path: Path) -> None:
    known = r"resnet32x4 → resnet8x4, .*resnet50 → mobilenetv2, resnet32x4 → shufflenetv2"
    with pytest.raises(UserError, match=rf"preset: published needs .*{known}\), but got resnet32x4 → vgg8"):
        recipe(tmp_path, "kd", ("resnet32x4", "vgg8"))
    with pytest.raises(UserError, match=r"but got no model → no model"):
        load(tmp_path, {"distil": {"loss": "kd", "preset": "published"}})
    for loss in ("erde", "ea-erde", "kd+entropy", "self", "self-last"):
        assert loss in LOSSES
        said = rf"knows the losses .*kd, ls, ctkd.* but not '{re.escape(loss)}'; .*preset: null"
        with pytest.raises(UserError, match=said):
            recipe(tmp_path, loss, ("vgg13", "vgg8"))
    with pytest.raises(UserError, match=r"distil\.preset: .*'published' \(got \"ours\"\)"):
        load(tmp_path, {"distil": {"preset": "ours"}})


def test_without_a_preset_the_epochs_must_be_said(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"finish\.train\.epochs is missing; add it"):
        load(tmp_path, {"finish": {"train": {"batch_size": 8}}})


@pytest.mark.parametrize(
    ("train", "said"),
    [
        ({"epochs": 5, "milestones": [3, 2]}, r"train: milestones must rise, but got \[3, 2\]"),
        ({"epochs": 5, "milestones": [2, 5]}, r"milestones must lie before the last of 5 epochs, but got \[2, 5\]"),
        ({"epochs": 5, "milestones": [0, 2]}, r"train\.milestones\[0\]: .*1 \(got 0\)"),
        ({"epochs": 5, "gamma": 0.0}, r"train\.gamma: .* 0 \(got 0\.0\)"),
    ],
)
def test_impossible_steps_are_named(train: dict[str, Any], said: str, tmp_path: Path) -> None:
    for key in ("train", "finish.train", "teacher.train"):
        with pytest.raises(UserError, match=said):
            load(tmp_path, {key: train})


def test_steps_are_those_of_torch_s_scheduler() -> None:
    options = OptimizerSection(epochs=12, learning_rate=0.05, milestones=(5, 8, 11), gamma=0.1)
    parameter = torch.nn.Parameter(torch.zeros(1))
    reference = torch.optim.SGD([parameter], lr=0.05)
    scheduler = torch.optim.lr_scheduler.MultiStepLR(reference, [5, 8, 11], 0.1)
    expected = []
    for _ in range(12):
        expected += [reference.param_groups[0]["lr"]] * 7
        reference.step()
        scheduler.step()
    torch.testing.assert_close(learning_rates(options, 12 * 7), torch.tensor(expected))
    constant = OptimizerSection(epochs=3, learning_rate=0.3, milestones=())
    assert learning_rates(constant, 6).tolist() == pytest.approx([0.3] * 6)


@pytest.mark.parametrize("nesterov", [False, True])
def test_momentum_with_and_without_nesterov_by_hand(nesterov: bool) -> None:
    """Gradient 1 throughout, weight 0, rate 1, momentum 0.5: v = 1, 1.5, 1.75; Nesterov goes 1 + 0.5 v, else v."""
    options = OptimizerSection(epochs=1, momentum=0.5, weight_decay=0.0, nesterov=nesterov)
    weight = torch.nn.Parameter(torch.zeros(1))
    optimizer = make_optimizer(Trained([weight]), options, torch.ones(1, 2))
    for _ in range(3):
        weight.grad = torch.ones(1)
        optimizer.step()
    assert float(weight.detach()) == pytest.approx(-(1.5 + 1.75 + 1.875) if nesterov else -(1 + 1.5 + 1.75))


def test_shorter_trainings_keep_the_shares_of_the_milestones() -> None:
    published = OptimizerSection(epochs=240, milestones=(150, 180, 210))
    assert published.lasting(24).milestones == (15, 18, 21)
    assert published.lasting(2).milestones == (1,)  # 1.25, 1.5 and 1.75 round to 1, 2 and 2; 2 is the end
    assert published.lasting(1).milestones == ()
    assert OptimizerSection(epochs=5).lasting(3) == OptimizerSection(epochs=3)


def test_sections_of_before_are_dumped_as_before() -> None:
    """Hashes of these are the keys of cached teachers and of runs that are continued."""
    assert list(OptimizerSection(epochs=3).model_dump()) == [
        "epochs", "batch_size", "learning_rate", "momentum", "weight_decay",
    ]  # fmt: skip
    said = OptimizerSection(epochs=3, milestones=(1,), nesterov=False).model_dump()
    assert (said["milestones"], said["nesterov"]) == ((1,), False)
    assert "gamma" not in said

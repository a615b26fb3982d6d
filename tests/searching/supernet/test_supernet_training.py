"""Training the shared weights: one step by hand, an interrupt, NaN; and the candidates that are cut from them."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from erde_nas.distil.context import TrainingContext
from erde_nas.distil.losses import kd_loss
from erde_nas.distil.objective import Objective
from erde_nas.distil.step import Step
from erde_nas.distil.terms.kd import KD
from erde_nas.errors import UserError
from erde_nas.networks.logits import all_logits
from erde_nas.networks.macs import macs_per_exit
from erde_nas.networks.network import EarlyExitNetwork
from erde_nas.recipe.optimizer import OptimizerSection
from erde_nas.searching.evaluate import train_briefly
from erde_nas.searching.supernet.checkpoint import Checkpoint, load, save, weights_file
from erde_nas.searching.supernet.evaluator import OneShot, candidate_maker
from erde_nas.searching.supernet.norms import reestimate_
from erde_nas.searching.supernet.sandwich import Sandwich
from erde_nas.searching.supernet.subnetworks import Subnetworks
from erde_nas.searching.supernet.train import train_family
from erde_nas.searching.supernet.weights import extract_, shared_names, union
from erde_nas.space.space import Space


def with_training(context: TrainingContext, **changes: object) -> TrainingContext:
    """The same with other values in the recipe's `supernet.train`."""
    section = context.recipe.supernet
    options = OptimizerSection(**{**section.train.model_dump(), **changes})
    return replace(
        context, recipe=context.recipe.model_copy(update={"supernet": section.model_copy(update={"train": options})})
    )


def quiet(done: int, total: int) -> None:
    """Progress that nobody looks at."""


def test_what_a_family_does_not_train_stays(context: TrainingContext, tmp_path: Path) -> None:
    """airbench's filters are those of the images, and its norms keep their scale of 1."""
    section = context.recipe.space.model_copy(update={"families": ("airbench",), "heads": ("max",)})
    family, path = Subnetworks(Space(section, (1, 8, 8), 3), "airbench"), tmp_path / "airbench.safetensors"
    train_family(family, with_training(context, epochs=1), path, quiet)
    weights = load(path).weights
    student = context.build(family.covering()[-1])
    assert torch.equal(weights["stem.0.weight"], student.parts[0].body[1][0].weight)
    assert torch.equal(student.parts[0].body[1][0].weight[1::2], -student.parts[0].body[1][0].weight[::2])
    scales = [tensor for name, tensor in weights.items() if name.endswith("norm.weight")]
    assert all((scale == 1).all() for scale in scales)
    assert scales
    assert weights["block0.0.norm.bias"].abs().max() > 0


def test_a_step_sums_the_losses_of_all_sub_networks(context: TrainingContext, space: Space) -> None:
    """Against ordinary networks with copied weights, each with its own backward pass."""
    family, draws = Subnetworks(space, "resnet"), np.random.default_rng(0)
    archs = [family.largest(draws), *(family.random(draws) for _ in range(2))]
    archs = [
        replace(a, exits=tuple(replace(e, head="gap") for e in a.exits), head_widths=(0,) * len(a.exits)) for a in archs
    ]
    networks = [EarlyExitNetwork(arch, context.dataset.mean, context.dataset.std) for arch in archs]
    weights = union(EarlyExitNetwork(a, context.dataset.mean, context.dataset.std) for a in family.covering())
    chosen = torch.arange(20)
    images, labels = context.views.batch(1, chosen), context.views.labels[chosen]
    largest, sums = None, {name: torch.zeros_like(weight) for name, weight in weights.items()}
    for network in networks:
        extract_(network, weights).train()
        student, macs = torch.stack(network(images)), np.array(macs_per_exit(network))
        teacher_shares = np.array(context.teacher_macs) / context.teacher_macs[-1]
        targets = [next(j for j, t in enumerate(teacher_shares) if t >= share - 0.02) for share in macs / macs[-1]]
        teacher = context.logits[1, chosen][:, targets].transpose(0, 1).float()
        loss = Objective(context.recipe.distil, macs.tolist(), KD(3.0))(Step(student, labels, teacher, 0.5))
        if largest is None:
            largest = macs / macs[-1], student.detach()
        else:
            nearest = [int(np.abs(largest[0] - share).argmin()) for share in macs / macs[-1]]
            loss = loss + context.recipe.supernet.inplace_weight * kd_loss(student, largest[1][nearest], 3.0).mean()
        loss.backward()
        for own, name in shared_names(network).items():
            gradient = network.get_parameter(own).grad
            sums[name][tuple(slice(0, n) for n in gradient.shape)] += gradient
    leaves = {name: weight.clone().requires_grad_() for name, weight in weights.items()}
    sandwich = Sandwich(context, leaves, KD(3.0))
    sandwich.backward(archs, 1, (chosen, images), 0.5, torch.Generator())
    for name, wanted in sums.items():
        found = leaves[name].grad
        torch.testing.assert_close(torch.zeros_like(wanted) if found is None else found, wanted, rtol=1e-3, atol=1e-5)


def test_an_interrupted_training_ends_with_the_same_weights(
    context: TrainingContext, space: Space, tmp_path: Path
) -> None:
    family = Subnetworks(space, "mobilenet")
    whole, parts = tmp_path / "whole.safetensors", tmp_path / "parts.safetensors"
    train_family(family, context, whole, quiet)

    def interrupt(done: int, total: int) -> None:
        if done == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train_family(family, context, parts, interrupt)
    half = load(parts)
    assert half is not None
    assert (half.epochs, bool(half.momenta)) == (2, True)
    heard: list[int] = []
    train_family(family, context, parts, lambda done, total: heard.append(done))
    assert heard == [2, 3]
    one, other = load(whole), load(parts)
    assert one is not None
    assert other is not None
    assert one.weights.keys() == other.weights.keys()
    assert all(torch.equal(one.weights[name], other.weights[name]) for name in one.weights)
    assert not one.momenta
    assert any(not torch.equal(one.weights[name], half.weights[name]) for name in one.weights)


def test_a_trained_supernet_is_left_alone(context: TrainingContext, space: Space, tmp_path: Path) -> None:
    path, family = tmp_path / "w.safetensors", Subnetworks(space, "resnet")
    quick = with_training(context, epochs=1)
    train_family(family, quick, path, quiet)
    before = path.stat().st_mtime_ns
    train_family(family, quick, path, quiet)
    assert path.stat().st_mtime_ns == before


def test_a_loss_that_is_not_finite_ends_the_training(context: TrainingContext, space: Space, tmp_path: Path) -> None:
    path = tmp_path / "w.safetensors"
    with pytest.raises(
        UserError, match=r"resnet could not be trained: .* nan in epoch 1 .*learning_rate \(now 1e\+30\)"
    ):
        train_family(Subnetworks(space, "resnet"), with_training(context, learning_rate=1e30), path, quiet)
    assert not path.exists()


def test_candidates_of_a_trained_supernet_know_the_classes(
    context: TrainingContext, space: Space, tmp_path: Path
) -> None:
    family, path = Subnetworks(space, "resnet"), weights_file(tmp_path, "resnet")
    train_family(family, with_training(context, epochs=10, learning_rate=0.02), path, quiet)
    make, validation = OneShot(tmp_path), context.dataset.validation
    draws = np.random.default_rng(1)
    for arch in (family.smallest(draws), *(family.random(draws) for _ in range(2))):
        network = make(arch, context)
        assert network.arch == arch
        accuracy = (all_logits(network, validation.images).argmax(-1) == validation.labels).mean(1)
        assert accuracy[-1] > 0.6, "a third is chance"


def test_statistics_are_the_means_over_batches(context: TrainingContext, space: Space) -> None:
    arch = Subnetworks(space, "mobilenet").largest(np.random.default_rng(0))
    network = EarlyExitNetwork(arch, context.dataset.mean, context.dataset.std)
    batches = [context.views.view(0)[:40], context.views.view(1)[40:60]]
    seen: dict[nn.BatchNorm2d, list[tuple[torch.Tensor, torch.Tensor]]] = {}

    def note(module: nn.Module, inputs: tuple[torch.Tensor, ...]) -> None:
        flat = inputs[0].transpose(0, 1).flatten(1)
        seen.setdefault(module, []).append((flat.mean(1), flat.var(1)))

    norms = [module for module in network.modules() if isinstance(module, nn.BatchNorm2d)]
    hooks = [module.register_forward_pre_hook(note) for module in norms]
    before = {name: parameter.clone() for name, parameter in network.named_parameters()}
    reestimate_(network, batches)
    for hook in hooks:
        hook.remove()
    for module in norms:
        means, variances = zip(*seen[module], strict=True)
        torch.testing.assert_close(module.running_mean, sum(means) / 2)
        torch.testing.assert_close(module.running_var, sum(variances) / 2)
        assert module.momentum == 0.1
    assert not any(module.training for module in network.modules())
    assert all(torch.equal(parameter, before[name]) for name, parameter in network.named_parameters())


def test_a_checkpoint_comes_back_as_it_was(tmp_path: Path) -> None:
    path = weights_file(tmp_path, "resnet")
    assert load(path) is None
    save(path, Checkpoint({"stem.0.weight": torch.ones(2, 3)}, {"stem.0.weight": torch.zeros(2, 3)}, 7))
    found = load(path)
    assert found is not None
    assert found.epochs == 7
    assert torch.equal(found.weights["stem.0.weight"], torch.ones(2, 3))
    assert torch.equal(found.momenta["stem.0.weight"], torch.zeros(2, 3))
    path.write_bytes(path.read_bytes()[:-3])
    with pytest.raises(UserError, match=r"resnet\.safetensors is damaged .*; delete it to train the supernet again"):
        load(path)


def test_the_recipe_says_how_candidates_are_made(context: TrainingContext, tmp_path: Path) -> None:
    make = candidate_maker(tmp_path, context)
    assert isinstance(make, OneShot)
    with pytest.raises(UserError, match=r"mobilenet\.safetensors is not a trained supernet"):
        make(Space(context.recipe.space, (1, 8, 8), 3).middle(), context)
    search = context.recipe.search.model_copy(update={"evaluator": "train"})
    assert (
        candidate_maker(tmp_path, replace(context, recipe=context.recipe.model_copy(update={"search": search})))
        is train_briefly
    )

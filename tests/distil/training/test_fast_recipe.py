"""The options of airbench's training against loops written by hand, and a training that is continued."""

import math
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from erde_nas.data.views import Views
from erde_nas.distil.objective import cross_entropy_objective
from erde_nas.distil.training.compute import Compute
from erde_nas.distil.training.lookahead import Lookahead
from erde_nas.distil.training.saved import SavedTraining
from erde_nas.distil.training.schedule import Trained, group_rates, make_optimizer, trained_of, triangular
from erde_nas.distil.training.train import Training, train
from erde_nas.networks.network import EarlyExitNetwork
from erde_nas.recipe.optimizer import OptimizerSection

COMPUTE = Compute("fp32", 1, 0.01)
FAST = OptimizerSection(
    epochs=4,
    batch_size=16,
    learning_rate=0.1,
    momentum=0.85,
    weight_decay=0.01,
    schedule="triangular",
    label_smoothing=0.2,
    lookahead=5,
    decay_norms=False,
    bias_rate=4.0,
)
Make = Callable[..., Views]
Build = Callable[..., EarlyExitNetwork]


class Stop(Exception):
    """Raised in the middle of a training."""


def training(network: EarlyExitNetwork, views: Views, options: OptimizerSection = FAST) -> Training:
    return Training(network, views, cross_entropy_objective(2), options, targets=None, seed=0, compute=COMPUTE)


def test_the_triangle_rises_and_falls_in_straight_lines() -> None:
    rates = triangular(2.0, 100)
    expected = [2 * (0.2 + 0.8 * k / 23 if k < 23 else 1 - 0.93 * (k - 23) / 77) for k in range(100)]
    assert rates.tolist() == pytest.approx(expected, rel=1e-6)
    assert int(rates.argmax()) == 23
    assert torch.equal(group_rates(FAST, 7)[:, 1], 4 * group_rates(FAST, 7)[:, 0])


def test_heads_keep_the_rate_of_the_weights(make_network: Build) -> None:
    network = make_network()
    network.parts[0].body[1][0].weight.requires_grad = False  # type: ignore[index]
    found, names = trained_of(network.named_parameters()), {id(p): name for name, p in network.named_parameters()}
    assert all(tensor.ndim > 1 for tensor in found.weights)
    assert "segments.0.body.1.0.weight" not in {names[id(tensor)] for tensor in found.weights}
    assert all(".body." in names[id(tensor)] and names[id(tensor)].endswith("bias") for tensor in found.biases)
    assert {"segments.1.head.classifier.bias", "segments.0.head.features.0.bias"} <= {
        names[id(t)] for t in found.others
    }
    everything = len([*found.weights, *found.biases, *found.others])
    assert everything == len(names) - 1


@pytest.mark.parametrize("decay_norms", [False, True])
def test_one_update_of_each_group_by_hand(decay_norms: bool) -> None:
    """Gradient 1, momentum 0: each tensor moves by its rate times (1 + its decay times its value)."""
    options = FAST.model_copy(update={"momentum": 0.0, "decay_norms": decay_norms})
    tensors = [nn.Parameter(torch.full((1,), 3.0)) for _ in range(3)]
    optimizer = make_optimizer(Trained(*([tensor] for tensor in tensors)), options, torch.tensor([[0.1, 0.4]]))
    for tensor in tensors:
        tensor.grad = torch.ones(1)
    optimizer.step()
    small = 0.01 if decay_norms else 0.0
    moved = [0.1 * (1 + 0.01 * 3), 0.4 * (1 + small / 4 * 3), 0.1 * (1 + small * 3)]
    assert [3 - float(tensor.detach()) for tensor in tensors] == pytest.approx(moved, rel=1e-5)


def test_slow_weights_by_hand() -> None:
    layer = nn.Linear(1, 1)
    nn.init.constant_(layer.weight, 1.0)
    slow = Lookahead(layer, 2, 4)
    for step, trained in enumerate((2.0, 4.0, 6.0, 8.0), 1):
        nn.init.constant_(layer.weight, trained)
        slow.after(step)
        if step == 2:
            second = 1 + (1 - 0.95**2 * 0.5**3) * (4 - 1)
            assert layer.weight.item() == pytest.approx(second)
    assert layer.weight.item() == pytest.approx(second + (1 - 0.95**2) * (8 - second))
    nn.init.constant_(layer.weight, 9.0)
    slow.finish()
    assert layer.weight.item() == pytest.approx(second + (1 - 0.95**2) * (8 - second))
    unchanged = Lookahead(layer, 0, 4)
    nn.init.constant_(layer.weight, 5.0)
    unchanged.after(2)
    unchanged.finish()
    assert layer.weight.item() == 5


def test_a_training_with_all_of_them_is_a_loop_that_anyone_would_write(make_views: Make, make_network: Build) -> None:
    views, network, other = make_views(), make_network(head="gap"), make_network(head="gap")
    last = train(training(network, views))
    named = dict(other.train().to(memory_format=torch.channels_last).named_parameters())  # type: ignore[call-overload]
    biases = [p for n, p in named.items() if n.endswith("bias") and "head" not in n]
    vectors = [p for n, p in named.items() if p.ndim == 1 and not any(p is bias for bias in biases)]
    weights = [p for p in named.values() if p.ndim > 1]
    groups = [
        {"params": weights, "weight_decay": 0.01},
        {"params": biases, "weight_decay": 0.0},
        {"params": vectors, "weight_decay": 0.0},
    ]
    optimizer = torch.optim.SGD(groups, lr=0.1, momentum=0.85, nesterov=True)
    slow = {name: tensor.clone() for name, tensor in other.state_dict().items() if tensor.is_floating_point()}
    step, steps, losses = 0, 4 * 6, []
    for epoch in range(4):
        for chosen in views.order(epoch).split(16):
            done = step / steps
            rate = 0.1 * (0.2 + 0.8 * done / 0.23 if done < 0.23 else 1 - 0.93 * (done - 0.23) / 0.77)
            for group, factor in zip(optimizer.param_groups, (1, 4, 1), strict=True):
                group["lr"] = rate * factor
            optimizer.zero_grad()
            labels = views.labels[chosen]
            loss = sum(F.cross_entropy(out, labels, label_smoothing=0.2) for out in other(views.images[chosen])) / 2
            loss.backward()
            optimizer.step()
            step += 1
            losses.append(loss.item())
            if step % 5 == 0:
                kept = 0.95**5 * (step / steps) ** 3
                for name, tensor in other.state_dict().items():
                    if name in slow:
                        slow[name].lerp_(tensor, 1 - kept)
                        tensor.copy_(slow[name])
    assert last == pytest.approx(sum(losses[-6:]) / 6, rel=1e-3)
    for name, tensor in network.state_dict().items():
        if name in slow:
            torch.testing.assert_close(tensor, slow[name], rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("again", [1, 3])
def test_a_training_that_was_killed_goes_on_to_the_same_weights(
    make_views: Make, make_network: Build, tmp_path: Path, again: int
) -> None:
    """The network has dropout, so the generator's state counts as well."""
    views, whole, saved = make_views(crop_padding=1), make_network(), SavedTraining(tmp_path / "t" / "x", "a key")
    train(training(whole, views))
    heard: list[int] = []

    def stop(done: int, total: int) -> None:
        heard.append(done)
        if done == again:
            raise Stop

    with pytest.raises(Stop):
        train(training(make_network(), views), stop, saved=saved)
    assert saved.begun() == (again, COMPUTE)
    assert SavedTraining(saved.path, "another").begun() is None
    continued = make_network(seed=5)
    train(training(continued, views), lambda done, _: heard.append(done), saved=saved)
    assert heard == [*range(1, again + 1), 1, 2, 3, 4]
    for name, tensor in whole.state_dict().items():
        assert torch.equal(tensor, continued.state_dict()[name]), name
    once_more = make_network(seed=6)
    assert math.isnan(train(training(once_more, views), saved=saved))  # nothing was left to do
    for name, tensor in whole.state_dict().items():
        assert torch.equal(tensor, once_more.state_dict()[name]), name


def test_a_damaged_file_is_no_training(tmp_path: Path) -> None:
    path = tmp_path / "x"
    path.write_bytes(b"damaged")
    assert SavedTraining(path, "a key").begun() is None

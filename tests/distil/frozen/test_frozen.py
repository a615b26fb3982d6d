"""Exits that learn from a frozen network: what is kept of it, how much of it, and that it stays as it is."""

import copy
import threading

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F

from erde_nas.data.dataset import Split
from erde_nas.data.views import Views
from erde_nas.distil.frozen.budget import LEAST_EPOCHS, MOST_EPOCHS, plan_heads
from erde_nas.distil.frozen.features import Backbone, keep_features
from erde_nas.distil.frozen.heads import HeadTraining, kinds_at, make_heads, train_heads
from erde_nas.networks.attached import LastLogits, Place
from erde_nas.networks.network import Normalize
from erde_nas.recipe.distil import DistilSection
from erde_nas.recipe.images import ViewsSection
from erde_nas.recipe.optimizer import OptimizerSection

PLACES = (Place(0, "map", (8, 8, 8)), Place(1, "map", (12, 4, 4)))


def backbone() -> Backbone:
    torch.manual_seed(0)
    pieces = [
        nn.Sequential(nn.Conv2d(1, 8, 3, padding=1), nn.ReLU()),
        nn.Sequential(nn.Conv2d(8, 12, 3, 2, 1), nn.ReLU()),
        nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(12, 3)),
    ]
    return Backbone(PLACES, pieces, Normalize([0.5], [0.25]), LastLogits())


def views(count: int, flip: bool = False) -> Views:
    """Images whose brighter third says their class."""
    generator = np.random.default_rng(0)
    labels = generator.integers(0, 3, count)
    images = generator.integers(0, 100, (count, 1, 8, 8), np.uint8)
    for image, label in zip(images, labels, strict=True):
        image[0, 3 * label : 3 * label + 2] += 120
    return Views(Split(images, labels), ViewsSection(flip=flip), seed=0, device=torch.device("cpu"))


def test_kept_features_are_those_of_the_network() -> None:
    network, data = backbone(), views(300, flip=True)
    chosen = torch.tensor([5, 0, 299, *range(10, 200)])
    kept = keep_features(network, data, chosen, 2)
    assert torch.equal(kept.labels, data.labels[chosen])
    for view in range(2):
        seen, logits = network(data.batch(view, chosen))
        assert torch.allclose(kept.logits[view], logits, atol=1e-6)
        for found, expected in zip(kept.seen, seen, strict=True):
            assert found.dtype == torch.float16
            assert torch.allclose(found[view].float(), expected, atol=1e-2, rtol=1e-3)
    assert sum(found[0, 0].numel() * 2 for found in kept.seen) == network.sample_bytes == 2 * (8 * 64 + 12 * 16)


def test_heads_learn_and_the_network_stays() -> None:
    network, data = backbone(), views(400)
    before = copy.deepcopy(network.state_dict())
    kept = keep_features(network, data, torch.arange(400), 1)
    options = OptimizerSection(epochs=12, batch_size=50, learning_rate=0.1)
    every = [make_heads(place, kinds_at(place), 3, seed=0) for place in PLACES]
    trainings = [HeadTraining(heads, n, kept, DistilSection(), options, 0) for n, heads in enumerate(every)]
    heard: list[int] = []
    train_heads(trainings, 12, heard.append)
    assert heard == [400] * 24
    assert all(torch.equal(before[name], tensor) for name, tensor in network.state_dict().items())
    seen, own = network(data.batch(0, torch.arange(400)))
    labels = data.labels
    for x, heads in zip(seen, every, strict=True):
        for head in heads:
            right = (head.head(x).argmax(1) == labels).float().mean()  # type: ignore[operator, union-attr]
            assert right > 0.8, (head, float(right))
    assert (own.argmax(1) == labels).float().mean() < 0.6  # it was never trained: the heads learnt by themselves


def test_a_head_learns_as_if_it_were_alone() -> None:
    kept = keep_features(backbone(), views(200), torch.arange(200), 1)
    options = OptimizerSection(epochs=2, batch_size=50, learning_rate=0.1)
    found = []
    for kinds in (("gap", "conv"), ("gap",)):
        heads = make_heads(PLACES[0], kinds, 3, seed=0)
        HeadTraining(heads, 0, kept, DistilSection(), options, 0).run(2, lambda images: None, threading.Event())
        found.append([tensor.clone() for tensor in heads[0].parameters()])
    assert all(torch.allclose(one, other, atol=1e-6) for one, other in zip(*found, strict=True))


def test_the_loss_is_kd_with_entropy_of_each_head() -> None:
    """Cross-entropy, KD at T = 3, less a fifth of the entropy where the network is wrong, summed over the heads."""
    kept = keep_features(backbone(), views(60), torch.arange(60), 1)
    heads = make_heads(PLACES[1], ("gap", "linear"), 3, seed=0)
    training = HeadTraining(heads, 1, kept, DistilSection(), OptimizerSection(epochs=1), 0)
    heads.eval()
    loss = training.loss(0, torch.arange(60), 0.0)
    teacher, labels = kept.logits[0], kept.labels
    wrong = teacher.argmax(1) != labels
    expected = torch.zeros(())
    answers = [head.head(kept.seen[1][0].float()) for head in heads]  # type: ignore[operator, union-attr]
    for out in [*answers, teacher]:  # the network's own part is a constant
        log_p = out.log_softmax(1)
        kl = F.kl_div((out / 3).log_softmax(1), (teacher / 3).softmax(1), reduction="none").sum(1)
        entropy = -(log_p.exp() * log_p).sum(1)
        expected = expected + (F.cross_entropy(out, labels, reduction="none") + 9 * kl - 0.2 * entropy * wrong).mean()
    assert loss.item() == pytest.approx(expected.item(), rel=1e-5)


def test_what_is_learnt_from_keeps_time_and_memory() -> None:
    common = {"sample_bytes": 10_000, "free_bytes": 10**9, "seconds": 100.0}
    plenty = plan_heads(1000, 2, feature_s=1e-3, head_s=1e-4, **common)
    assert (plenty.images, plenty.views, plenty.epochs) == (1000, 2, MOST_EPOCHS)
    slow = plan_heads(1000, 2, feature_s=0.1, head_s=1e-3, **common)
    assert (slow.images, slow.views) == (500, 1)  # half of the time for features
    assert slow.feature_s == pytest.approx(50.0)
    assert slow.feature_s + slow.head_s <= 100.0
    large = plan_heads(10**6, 2, feature_s=1e-6, head_s=1e-7, **common)
    assert large.images * large.views * 10_000 <= 0.25 * 10**9
    late = plan_heads(1000, 1, feature_s=1.0, head_s=10.0, **common)
    assert late.images == 50
    assert late.epochs == LEAST_EPOCHS


def test_tokens_have_heads_that_keep_negative_values() -> None:
    assert kinds_at(Place(0, "tokens", (17, 24))) == kinds_at(Place(0, "vector", (24,))) == ("linear", "wide")
    assert kinds_at(Place(0, "map", (8, 8, 8))) == ("gap", "erde", "conv")

"""The early-exit network: shapes, routing against a loop over single images, and what pruning reads off it."""

import numpy as np
import pytest
import torch
from scipy.stats import entropy as scipy_entropy

from erde_nas.networks.arch import Exit
from erde_nas.networks.families import StageChoice, make_arch
from erde_nas.networks.logits import all_logits
from erde_nas.networks.network import EarlyExitNetwork, Normalize, describe, drop_early_exits, entropy, keep_exits
from tests.networks.builders import FAMILIES, build, digits, medians, small_arch

HEADS = ("erde", "gap", "conv", "gap")
IMAGES = digits()[0][:120]


def noise(shape, seed=0):
    return torch.from_numpy(np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8))


@pytest.mark.parametrize("size", [8, 16, 28, 32, 64, 128])
@pytest.mark.parametrize("family", FAMILIES)
def test_every_exit_gives_logits_at_every_image_size(family, size):
    stages = [StageChoice(1, 8), StageChoice(1, 8), StageChoice(1, 8)]
    exits = [Exit(0, "erde"), Exit(1, "gap"), Exit(2, "conv")]
    arch = make_arch(family, image_shape=(3, size, size), classes=7, stem=8, stages=stages, exits=exits)
    network = EarlyExitNetwork(arch, [0.5] * 3, [0.25] * 3)
    for mode in (True, False):
        logits = network.train(mode)(noise((2, 3, size, size)))
        assert [tuple(out.shape) for out in logits] == [(2, 7)] * 3


def test_pixels_are_normalised_per_channel():
    mean, std, pixels = [0.2, 0.5, 0.7], [0.1, 0.2, 0.3], noise((2, 3, 4, 4))
    expected = (pixels.numpy() / 255 - np.reshape(mean, (3, 1, 1))) / np.reshape(std, (3, 1, 1))
    np.testing.assert_allclose(Normalize(mean, std)(pixels).numpy(), expected, atol=1e-5)


def test_entropy_is_that_of_scipy():
    logits = np.random.default_rng(0).normal(0, 5, (3, 20, 6)).astype(np.float32)
    p = np.exp(logits - logits.max(-1, keepdims=True))
    np.testing.assert_allclose(entropy(torch.from_numpy(logits)).numpy(), scipy_entropy(p, axis=-1), atol=1e-5)


@torch.no_grad()
def image_by_image(network, images, thresholds):
    """The exit rule as it is written down: the first exit whose entropy is below its threshold, else the last."""
    answers, taken = [], []
    for image in images:
        logits = [out[0] for out in network(image[None])]
        for number, out in enumerate(logits):
            p = out.double().softmax(0)
            if number == len(logits) - 1 or -(p * p.log()).sum() < thresholds[number]:
                answers.append(out)
                taken.append(number)
                break
    return torch.stack(answers), torch.tensor(taken)


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("exits", [1, 2, 4])
def test_routing_is_that_of_a_loop_over_images(family, exits):
    network, images = build(small_arch(family, HEADS[:exits])), torch.from_numpy(IMAGES)
    thresholds = medians(network, IMAGES)
    logits, taken = network.forward_until_exit(images, thresholds)
    expected_logits, expected = image_by_image(network, images, thresholds)
    assert taken.tolist() == expected.tolist()
    assert set(taken.tolist()) == set(range(exits))
    torch.testing.assert_close(logits, expected_logits, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize(
    ("thresholds", "exit_"),
    [((np.inf, np.inf), 0), ((-1.0, np.inf), 1), ((-1.0, -1.0), 2), ((0.0, 0.0), 2), ((np.log(10) + 1e-3, 0.0), 0)],
)
def test_extreme_thresholds_send_every_image_to_one_exit(thresholds, exit_):
    network, images = build(small_arch("resnet", HEADS[:3])), torch.from_numpy(IMAGES[:20])
    logits, taken = network.forward_until_exit(images, thresholds)
    assert taken.tolist() == [exit_] * 20
    torch.testing.assert_close(logits, network(images)[exit_].detach())


def test_no_images_give_no_answers():
    logits, taken = build(small_arch("resnet", HEADS[:2])).forward_until_exit(torch.empty(0, 1, 8, 8), [1.0])
    assert tuple(logits.shape) == (0, 10)
    assert tuple(taken.shape) == (0,)


@pytest.mark.parametrize("thresholds", [(), (1.0,), (1.0, 1.0, 1.0)])
def test_wrong_number_of_thresholds(thresholds):
    network = build(small_arch("resnet", HEADS[:3]))
    with pytest.raises(ValueError, match=f"need 2 thresholds, but got {len(thresholds)}"):
        network.forward_until_exit(torch.zeros(1, 1, 8, 8), thresholds)


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("exits", [1, 2, 3, 4])
def test_description_of_a_network_is_its_architecture(family, exits):
    arch = small_arch(family, HEADS[:exits], width=16)
    assert describe(build(arch)) == arch


@pytest.mark.parametrize("family", FAMILIES)
def test_without_early_exits_the_last_answers_stay_the_same(family):
    network, images = build(small_arch(family, HEADS)), torch.from_numpy(IMAGES[:16])
    before, whole = network(images), drop_early_exits(network)
    assert len(whole(images)) == 1
    assert torch.equal(whole(images)[0], before[-1])
    assert whole.arch.exits == network.arch.exits[-1:]
    assert describe(whole) == whole.arch
    assert EarlyExitNetwork(whole.arch, [0.0], [1.0]).load_state_dict(whole.state_dict())
    assert all(torch.equal(a, b) for a, b in zip(network(images), before, strict=True))


@pytest.mark.parametrize("kept", [[0], [1], [0, 1], [0, 2], [1, 2]])
@pytest.mark.parametrize("family", FAMILIES)
def test_exits_that_are_kept_answer_as_before(family, kept):
    network, images = build(small_arch(family, HEADS)), torch.from_numpy(IMAGES[:16])
    before, less = network(images), keep_exits(network, kept)
    assert all(torch.equal(ours, before[i]) for ours, i in zip(less(images), kept, strict=True))
    assert describe(less) == less.arch
    assert len(less.arch.blocks) == network.arch.exits[kept[-1]].block + 1  # nothing runs behind the last
    assert EarlyExitNetwork(less.arch, [0.0], [1.0]).load_state_dict(less.state_dict())
    assert len(network.segments) == len(HEADS)


@pytest.mark.parametrize("batch_size", [7, 20, 256])
def test_all_logits_are_those_of_one_batch(batch_size):
    network = build(small_arch("resnet", HEADS[:2])).train()
    logits = all_logits(network, IMAGES[:20], batch_size)
    assert not network.training
    assert logits.dtype == np.float32
    with torch.no_grad():
        expected = torch.stack(network(torch.from_numpy(IMAGES[:20]))).numpy()
    np.testing.assert_allclose(logits, expected, atol=1e-5)

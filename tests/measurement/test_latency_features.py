"""What segments make a runtime do, against counts made by hand."""

from collections import Counter

import pytest

from erde_nas.measurement.latency_features import FEATURES, segment_features
from erde_nas.networks.arch import Exit
from erde_nas.networks.families import StageChoice, make_arch
from erde_nas.networks.network import EarlyExitNetwork


def network(family: str, stages: list[StageChoice], stem: int = 8, head: str = "gap") -> EarlyExitNetwork:
    """One 8×8 channel, 3 classes, an exit after every stage, each of one block."""
    exits = [Exit(number, head) for number in range(len(stages))]
    arch = make_arch(family, image_shape=(1, 8, 8), classes=3, stem=stem, stages=stages, exits=exits)
    return EarlyExitNetwork(arch, (0.5,), (0.2,))


def named(features: list[float]) -> dict[str, float]:
    return {name: value for name, value in zip(FEATURES, features, strict=True) if value}


def test_a_residual_network_counted_by_hand() -> None:
    """64 pixels, then 16; 8 channels count as 16 in MACs; 4 bytes a number."""
    first, second = segment_features(network("resnet", [StageChoice(1, 8), StageChoice(1, 8)])).tolist()
    assert named(first) == {
        "first segments": 1,
        "convolutions": 3,  # the stem's and the block's two
        "convolution MACs": 64 * 9 * 16 * (1 + 8 + 8),
        "linear layers": 1,
        "linear MACs": 8 * 3,
        "norms": 1,  # the head's: every other one follows a convolution
        "norm bytes": 4 * 2 * 8 * 64,
        "poolings": 1,
        "pooling bytes": 4 * 8 * (64 + 1),
        "additions": 1,
        "addition bytes": 4 * 3 * 8 * 64,
        "activation bytes": 4 * 64 * ((1 + 8) + 2 * (8 + 8)),
        "weight bytes": 4 * (9 * (8 + 64 + 64) + 8 * 3),
    }
    assert named(second) == {
        "later segments": 1,
        "convolutions": 2,
        "convolution MACs": 16 * 9 * 16 * (8 + 8),
        "pointwise convolutions": 1,  # the projection
        "pointwise MACs": 16 * 16 * 8,
        "linear layers": 1,
        "linear MACs": 8 * 3,
        "norms": 1,
        "norm bytes": 4 * 2 * 8 * 16,
        "poolings": 1,
        "pooling bytes": 4 * 8 * (16 + 1),
        "additions": 1,
        "addition bytes": 4 * 3 * 8 * 16,
        "activation bytes": 4 * (2 * 8 * (64 + 16) + 2 * 8 * 16),
        "weight bytes": 4 * (9 * (64 + 64) + 64 + 8 * 3),
    }


def test_an_inverted_residual_has_pointwise_and_depthwise_convolutions() -> None:
    (only,) = segment_features(network("mobilenet", [StageChoice(1, 16, kernel=5, expansion=3)])).tolist()
    found = named(only)
    assert (found["convolutions"], found["pointwise convolutions"], found["depthwise convolutions"]) == (1, 2, 1)
    assert found["pointwise MACs"] == 64 * (32 * 8 + 16 * 24)  # 24 channels inside count as 32 where they come out
    assert found["depthwise MACs"] == 64 * 25 * 32
    assert "additions" not in found, "the width changes, so nothing is added"


@pytest.mark.parametrize(
    ("family", "expected"),
    [
        ("wrn", {"norms": 2}),  # the block's first behind an addition, and the head's
        ("shufflenet", {"shuffles": 1}),
        ("vgg", {"convolutions": 1, "poolings": 2}),
    ],
)
def test_other_families(family: str, expected: dict[str, int]) -> None:
    """What the second stage does."""
    found = Counter(named(segment_features(network(family, [StageChoice(1, 8), StageChoice(1, 8)]))[1].tolist()))
    assert {name: found[name] for name in expected} == expected


def test_a_step_of_channels_costs_the_same() -> None:
    """17 and 32 channels are two blocks of 16, in MACs; what is read and written differs."""
    few, many = (named(segment_features(network("vgg", [StageChoice(1, w)]))[0].tolist()) for w in (17, 32))
    assert few["convolution MACs"] == many["convolution MACs"]
    assert few["activation bytes"] < many["activation bytes"]


def test_a_network_in_training_is_left_in_training() -> None:
    one = network("resnet", [StageChoice(1, 8)]).train()
    before = {name: value.clone() for name, value in one.state_dict().items()}
    segment_features(one)
    assert one.training
    assert all((one.state_dict()[name] == value).all() for name, value in before.items())

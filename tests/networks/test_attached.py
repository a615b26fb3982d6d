"""Exits on a network that somebody else trained: what a head sees, what it costs, and that the network stays itself."""

import copy
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from erde_nas.networks.arch import Exit
from erde_nas.networks.attached import (
    AttachedArch,
    AttachedHead,
    AttachedNetwork,
    Condense,
    LastLogits,
    Place,
)
from erde_nas.networks.macs import macs_per_exit
from erde_nas.networks.network import Normalize
from erde_nas.onnx_files.write import check_export, fp32_segments, write_file


def pieces() -> list[nn.Module]:
    """A network on images (1, 8, 8), cut by hand in three."""
    torch.manual_seed(0)
    return [
        nn.Sequential(nn.Conv2d(1, 8, 3, padding=1), nn.BatchNorm2d(8), nn.ReLU()),  # (8, 8, 8)
        nn.Sequential(nn.Conv2d(8, 16, 3, stride=2, padding=1), nn.ReLU()),  # (16, 4, 4)
        nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(16, 10)),
    ]


FIRST, SECOND = Place(0, "map", (8, 8, 8)), Place(1, "map", (16, 4, 4))


def attached(order: list[int] | None = None) -> AttachedNetwork:
    arch = AttachedArch("own.pt2", (1, 8, 8), 10, (Exit(0, "gap"), Exit(1, "conv"), Exit(2, "own")))
    heads = [AttachedHead(FIRST, "gap", 10), AttachedHead(SECOND, "conv", 10)]
    last = LastLogits(None if order is None else torch.tensor(order))
    return AttachedNetwork(arch, pieces(), heads, Normalize([0.5], [0.25]), last).eval()


def images(count: int) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (count, 1, 8, 8), np.uint8)


def test_the_last_exit_is_the_network_bit_for_bit() -> None:
    x = torch.from_numpy(images(9))
    whole = nn.Sequential(Normalize([0.5], [0.25]), *pieces()).eval()
    with torch.no_grad():
        assert torch.equal(attached()(x)[-1], whole(x))
        assert torch.equal(attached([3, 1, 2, 0, *range(4, 10)])(x)[-1], whole(x)[:, [3, 1, 2, 0, *range(4, 10)]])


def test_macs_per_exit_are_those_counted_by_hand() -> None:
    first = 9 * 8 * 64 + 8 * 10  # a convolution of 8 channels at 64 places, and a linear layer on global means
    head = 9 * 16 * 16 * 4 + 16 * 10  # a convolution of stride 2 on 4x4 places, and a linear layer
    second = 9 * 8 * 16 * 16 + head
    assert macs_per_exit(attached()) == (first, first + second, first + second + 16 * 10)


def test_a_file_answers_as_the_network_on_every_image(tmp_path: Path) -> None:
    network, path = attached(), tmp_path / "model.onnx"
    thresholds = [2.25, 2.28]
    write_file(fp32_segments(network, (1, 8, 8)), thresholds, path, {})
    check_export(path, network, images(40), thresholds)


@pytest.mark.parametrize(
    ("place", "condensed"),
    [
        (Place(0, "map", (32, 32, 32)), (32, 8)),  # few channels: a fine grid
        (Place(0, "map", (96, 32, 32)), (96, 4)),
        (Place(0, "map", (96, 7, 7)), (96, 7)),  # means over two places would leave some out
        (Place(0, "map", (96, 2, 2)), (96, 2)),
        (Place(0, "map", (96, 6, 4)), (96, 4)),
        (Place(0, "map", (16, 50)), (16, 1)),
        (Place(0, "tokens", (17, 24)), (48, 1)),
        (Place(0, "tokens", (4, 4, 24)), (24, 1)),
        (Place(0, "vector", (24,)), (24, 1)),
    ],
)
def test_heads_see_a_few_places(place: Place, condensed: tuple[int, int]) -> None:
    channels, side = condensed
    assert place.condensed == condensed
    x = torch.randn(3, *place.shape)
    assert Condense(place)(x).shape == (3, channels, side, side)
    kind = "conv" if side > 1 else "linear"
    assert AttachedHead(place, kind, 5).eval()(x).shape == (3, 5)


def test_tokens_are_seen_by_the_first_and_the_mean() -> None:
    x = torch.randn(2, 5, 3)
    seen = Condense(Place(0, "tokens", (5, 3)))(x).flatten(1)
    assert torch.equal(seen[:, :3], x[:, 0])
    assert torch.allclose(seen[:, 3:], x.sum(1) / 5)


def test_a_copy_of_it_stays_bit_equal() -> None:
    x, network = torch.from_numpy(images(4)), attached()
    with torch.no_grad():
        assert all(torch.equal(a, b) for a, b in zip(network(x), copy.deepcopy(network)(x), strict=True))


@pytest.mark.parametrize(("shape", "places"), [((8, 12, 20), 8), ((8, 5, 40), 5), ((96, 30, 9), 4), ((96, 7, 14), 4)])
def test_a_map_that_is_not_square_keeps_as_many_places_a_row_as_rows(shape: tuple[int, ...], places: int) -> None:
    place = Place(0, "map", shape)
    assert place.condensed == (shape[0], places)
    x = torch.rand(1, *shape, requires_grad=True)
    found = Condense(place)(x)
    assert found.shape == (1, shape[0], places, places)
    found.sum().backward()
    assert x.grad is not None
    assert (x.grad > 0).all(), "a part of the map is never seen"

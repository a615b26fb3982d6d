"""Architectures come back from JSON as they were, and their ids never change."""

import dataclasses
import json

import numpy as np
import pytest

from erde_nas.data.dataset import Split
from erde_nas.networks.arch import Arch, Block, Exit

ARCH = Arch(
    "mobilenet",
    3,
    32,
    10,
    16,
    (Block(16, 32), Block(24, 64, 5, 2, "none")),
    (Exit(0, "erde"), Exit(1, "conv")),
    (0, 24),
)


def through_json(value):
    return json.loads(json.dumps(value))


def test_id_of_an_architecture_is_the_same_in_every_version_and_on_every_machine():
    assert ARCH.id == "ff190411e9"


def test_arch_survives_json():
    again = Arch.from_dict(through_json(ARCH.to_dict()))
    assert again == ARCH
    assert again.id == ARCH.id
    assert hash(again) == hash(ARCH)


def test_a_file_from_before_stems_had_kernels_and_strides_still_means_the_same():
    old = {
        "family": "mobilenet", "in_channels": 3, "image_size": 32, "classes": 10, "stem": 16,
        "blocks": [
            {"width": 16, "hidden": 32, "kernel": 3, "stride": 1, "skip": "identity"},
            {"width": 24, "hidden": 64, "kernel": 5, "stride": 2, "skip": "none"},
        ],
        "exits": [{"block": 0, "head": "erde"}, {"block": 1, "head": "conv"}], "head_widths": [0, 24],
    }  # fmt: skip
    assert Arch.from_dict(old) == ARCH
    assert ARCH.to_dict() == old
    point = dataclasses.replace(ARCH, stem_kernel=1, stem_stride=2)
    assert Arch.from_dict(through_json(point.to_dict())) == point


def test_id_does_not_depend_on_the_order_of_keys():
    shuffled = dict(reversed(ARCH.to_dict().items()))
    shuffled["blocks"] = [dict(reversed(block.items())) for block in shuffled["blocks"]]
    assert Arch.from_dict(shuffled).id == ARCH.id


@pytest.mark.parametrize(
    "changes",
    [
        {"family": "resnet"},
        {"in_channels": 1},
        {"image_size": 28},
        {"classes": 11},
        {"stem": 8},
        {"blocks": (Block(16, 32), Block(24, 64, 3, 2, "none"))},
        {"blocks": (Block(16, 32), Block(24, 56, 5, 2, "none"))},
        {"exits": (Exit(0, "gap"), Exit(1, "conv"))},
        {"head_widths": (0, 16)},
        {"stem_kernel": 1},
        {"stem_stride": 2},
    ],
    ids=str,
)
def test_every_part_of_an_architecture_is_in_its_id(changes):
    assert dataclasses.replace(ARCH, **changes).id != ARCH.id


@pytest.mark.parametrize("data", [{}, {"blocks": []}, {**ARCH.to_dict(), "colour": "red"}, {"blocks": [{"w": 1}]}])
def test_other_dictionaries_are_no_architectures(data):
    with pytest.raises((KeyError, TypeError)):
        Arch.from_dict(data)


def test_records_cannot_be_changed():
    with pytest.raises(dataclasses.FrozenInstanceError):
        ARCH.stem = 32


def test_length_of_a_split_is_its_number_of_images():
    assert len(Split(np.zeros((5, 1, 8, 8), np.uint8), np.zeros(5, np.int64))) == 5

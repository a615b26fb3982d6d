"""Records: what a run folder holds comes back from JSON as it was, and ids never change."""

import dataclasses
import json

import numpy as np
import pytest

from erde_nas.data.dataset import Split
from erde_nas.device.instructions import EXACT_INT8
from erde_nas.front.latency import Latency
from erde_nas.front.point import Point
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
LATENCY = Latency(1.5, 1.4, 2.0, 2.2, 1.45, (0.7, 1.9), "measured", "onnxruntime", "cpu", 1, 1, "fp32", 0.02)
POINT = Point(
    "0123456789", "finished", ARCH.to_dict(), (0.5,), (0.25, 0.75), 0.9, 0.89, (0.88, 0.9), 1e6, (4e5, 1.2e6), 5000,
    20000, {"cpu-1thread": LATENCY}, "students/0123456789/model.onnx", exit_accuracy=(0.8, 0.92),
)  # fmt: skip


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


@pytest.mark.parametrize(
    "point",
    [
        POINT,
        dataclasses.replace(POINT, arch=None, macs=None, macs_per_exit=None, params=None, size_bytes=None, file=None),
        dataclasses.replace(POINT, test_accuracy=None, test_accuracy_ci95=None, exit_accuracy=None, latency_ms={}),
        dataclasses.replace(POINT, stage="quantized", offered=False, reason="int8 is slower here"),
    ],
    ids=["full", "foreign teacher", "searched", "not offered"],
)
def test_point_survives_json(point):
    assert Point.from_dict(through_json(point.to_dict())) == point


def test_records_cannot_be_changed():
    with pytest.raises(dataclasses.FrozenInstanceError):
        ARCH.stem = 32


def test_length_of_a_split_is_its_number_of_images():
    assert len(Split(np.zeros((5, 1, 8, 8), np.uint8), np.zeros(5, np.int64))) == 5


def test_a_point_says_for_which_cpus_its_accuracy_holds_and_an_older_int8_one_has_8_bit_weights():
    seven = dataclasses.replace(POINT, stage="quantized", quantization="static")
    eight = dataclasses.replace(seven, instructions=EXACT_INT8)
    for point in (POINT, seven, eight):
        assert Point.from_dict(through_json(point.to_dict())) == point
    for point, expected in ((POINT, POINT), (seven, eight)):
        old = through_json(point.to_dict())
        del old["instructions"]
        assert Point.from_dict(old) == expected


@pytest.mark.parametrize(
    ("label", "role", "reason", "dominated"),
    [
        ("", "student", "", False),
        ("teacher", "teacher", "", False),
        ("teacher, int8", "teacher", "", False),
        ("teacher with its own exits, bf16, int8", "teacher_with_exits", "", False),
        ("best student without exits", "student_without_exits", "", False),
        ("not faster than fp32: 2 against 1 ms", "student", "not faster than fp32: 2 against 1 ms", False),
        ("dominated: others are cheaper", "student", "dominated: others are cheaper", True),
    ],
)
def test_what_earlier_versions_said_in_one_label(label, role, reason, dominated):
    old = through_json(POINT.to_dict()) | {"label": label}
    for key in ("role", "reason", "dominated"):
        del old[key]
    expected = dataclasses.replace(POINT, role=role, reason=reason, dominated=dominated)
    assert Point.from_dict(old) == expected

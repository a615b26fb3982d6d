"""Points come back from JSON as they were, and those of earlier versions with today's fields."""

import dataclasses
import json

import pytest

from erde_nas.device.instructions import EXACT_INT8
from erde_nas.report_data.json_records import from_json, to_json
from erde_nas.report_data.latency import Latency
from erde_nas.report_data.point import Point

ARCH = {"family": "mobilenet", "exits": [{"block": 0, "head": "erde"}, {"block": 3, "head": "conv"}]}
LATENCY = Latency(1.5, 1.4, 2.0, 2.2, 1.45, (0.7, 1.9), "measured", "onnxruntime", "cpu", 1, 1, "fp32", 0.02)
POINT = Point(
    "0123456789", "finished", ARCH, (0.5,), (0.25, 0.75), 0.9, 0.89, (0.88, 0.9), 1e6, (4e5, 1.2e6), 5000,
    20000, {"cpu-1thread": LATENCY}, "students/0123456789/model.onnx", exit_accuracy=(0.8, 0.92),
)  # fmt: skip


def through_json(point: Point) -> dict:
    return json.loads(json.dumps(to_json(point)))


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
    assert from_json(Point, through_json(point)) == point


def test_a_point_says_for_which_cpus_its_accuracy_holds_and_an_older_int8_one_has_8_bit_weights():
    seven = dataclasses.replace(POINT, stage="quantized", quantization="static")
    eight = dataclasses.replace(seven, instructions=EXACT_INT8)
    for point in (POINT, seven, eight):
        assert from_json(Point, through_json(point)) == point
    for point, expected in ((POINT, POINT), (seven, eight)):
        old = through_json(point)
        del old["instructions"]
        assert from_json(Point, old) == expected


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
    old = through_json(POINT) | {"label": label}
    for key in ("role", "reason", "dominated"):
        del old[key]
    expected = dataclasses.replace(POINT, role=role, reason=reason, dominated=dominated)
    assert from_json(Point, old) == expected

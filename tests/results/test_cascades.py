"""Which pairs become files, what they are called, and which of their points are measured."""

import json
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest
import torch
from safetensors.numpy import load_file
from torch import nn

from erde_nas.compression.int8 import Quantized
from erde_nas.device.exit_rules import ENTROPY
from erde_nas.measurement.failures import LeftOut
from erde_nas.networks.cascade import Cascade, cascade_logits
from erde_nas.networks.logits import all_logits
from erde_nas.networks.macs import macs_per_exit
from erde_nas.networks.operating_points import operating_curve
from erde_nas.networks.weights import load_deployed
from erde_nas.onnx_files.file_kind import FP32, INT8
from erde_nas.onnx_files.quantize import Quantization
from erde_nas.onnx_files.write import check_export, make_segments
from erde_nas.results.cascades import POINTS, cascade_files, cascade_points
from erde_nas.results.network_files import NetworkFile, TrainedNetwork
from tests.networks.builders import build, digits, small_arch
from tests.networks.test_cascade_choice import network as logits_of

IMAGES = digits()[0][:32]
LABELS = logits_of(0, 0)[1]


@pytest.fixture
def made(tmp_path):
    """`made(files, quick)` joins files, each of which was timed as `quick` says."""

    def of(files: dict[str, list[NetworkFile]], wanted: bool = True) -> list[NetworkFile]:
        finish = SimpleNamespace(cascades=wanted)
        context = SimpleNamespace(
            recipe=SimpleNamespace(finish=finish),
            dataset=SimpleNamespace(validation=SimpleNamespace(labels=LABELS)),
            exit_rule=ENTROPY,
        )
        run: Any = SimpleNamespace(context=context, store=SimpleNamespace(student=lambda name: tmp_path / name))
        given = [file for of_one in files.values() for file in of_one]
        quick: Any = {file.key: SimpleNamespace(per_exit=COSTS[file.trained.name]) for file in given}
        left_out = LeftOut()
        found = cascade_files(given, quick, run, left_out)
        assert not left_out
        return found

    return of


COSTS = {"small": (1.0,), "teacher": (8.0,), "own": (8.0,)}


def files(
    folder: Path, name: str, kinds: tuple = (FP32,), role: Any = "student", network: Any = None
) -> list[NetworkFile]:
    """A network's files; its validation logits are drawn, so that the larger one is right more often."""
    width = 8 if name == "small" else 16
    network = network or build(small_arch("resnet", ("gap",), width=width, classes=4))
    macs = tuple(map(float, macs_per_exit(network))) if hasattr(network, "segments") else (9e6,)
    trained = TrainedNetwork(name, network, folder / name, "finished", macs, role=role)
    segments = make_segments(network, kinds, IMAGES)
    found = []
    for kind in kinds:
        form = Quantized(segments[kind], Quantization(), "static") if kind == INT8 else None
        logits, path = (
            logits_of(1 if name == "small" else 2, 0.5 if name == "small" else 3)[0],
            folder / name / f"{kind}.onnx",
        )
        found.append(NetworkFile(trained, kind, path, segments[kind], logits, quantized=form))
    return found


def test_a_student_before_the_teacher_in_every_kind_that_both_have(made, tmp_path):
    given = {
        "small": files(tmp_path, "small", (FP32, INT8)),
        "teacher": files(tmp_path, "teacher", (FP32, INT8), role="teacher"),
    }
    found = made(given)
    assert [(f.trained.name, f.trained.cascade, f.kind, f.path.name) for f in found] == [
        ("small+teacher", ("small", "teacher"), FP32, "model.onnx"),
        ("small+teacher", ("small", "teacher"), INT8, "model.int8.onnx"),
    ]
    for file in found:
        network = file.trained.network
        assert isinstance(network, Cascade)
        assert (file.trained.stage, file.trained.role, file.is_student) == ("finished", "student", True)
        assert file.path.is_file()
        a, b = (of_one[file.kind == INT8] for of_one in given.values())
        np.testing.assert_array_equal(file.val_logits, cascade_logits(a.val_logits, b.val_logits, network.averaged))
        own = cascade_logits(a.segments.logits(IMAGES), b.segments.logits(IMAGES), network.averaged)
        np.testing.assert_allclose(file.segments.logits(IMAGES), own, atol=1e-5)
        assert file.trained.macs_per_exit == tuple(map(float, macs_per_exit(network)))
    assert found[0].quantized is None
    assert found[1].quantized is not None
    weights = load_deployed(tmp_path / "small+teacher" / "weights.safetensors")
    np.testing.assert_array_equal(all_logits(weights, IMAGES), all_logits(found[0].trained.network, IMAGES))


def test_one_that_has_a_kind_alone_is_joined_in_none(made, tmp_path):
    given = {"small": files(tmp_path, "small", (INT8,)), "teacher": files(tmp_path, "teacher", role="teacher")}
    assert made(given) == []


def test_not_where_the_recipe_says_no(made, tmp_path):
    given = {"small": files(tmp_path, "small"), "teacher": files(tmp_path, "teacher", role="teacher")}
    assert made(given)
    assert made(given, wanted=False) == []


def build_own() -> nn.Module:
    """With weights that are the same every time."""
    own = Own().eval()
    with torch.no_grad():
        for parameter in own.parameters():
            values = np.random.default_rng(0).normal(0, 0.01, parameter.shape).astype(np.float32)
            parameter.copy_(torch.from_numpy(values))
    return own


class Own(nn.Module):
    """A network that the user brought."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(64, 4)

    def forward(self, images: Any) -> list[Any]:
        return [self.layer(images.float().flatten(1))]


def test_a_teacher_of_the_users_own_comes_second_and_stays_where_it_is(made, tmp_path):
    own = build_own()
    given = {"small": files(tmp_path, "small"), "own": files(tmp_path, "own", role="teacher", network=own)}
    (file,) = made(given)
    assert file.trained.cascade == ("small", "own")
    expected = all_logits(file.trained.network, IMAGES)
    assert len(expected) == 2
    np.testing.assert_allclose(file.segments.logits(IMAGES), expected, atol=1e-4)
    check_export(file.path, file.trained.network, IMAGES, [0.0], ENTROPY)
    folder = tmp_path / "small+own"
    assert {name.split(".")[0] for name in load_file(folder / "weights.safetensors")} == {"first"}
    assert json.loads((folder / "arch.json").read_text())["cascade"][1] is None
    small = given["small"][0].trained.macs_per_exit[0]
    assert file.trained.macs_per_exit == (small, small + 9e6)


def test_a_few_points_of_a_cascade_are_measured_and_what_a_goal_wants(made, tmp_path):
    given = {"small": files(tmp_path, "small"), "teacher": files(tmp_path, "teacher", role="teacher")}
    file = made(given)[0]
    others = []
    for of_one in given.values():
        curve = operating_curve(of_one[0].val_logits, LABELS, COSTS[of_one[0].trained.name])
        others.append(cast(NetworkFile, SimpleNamespace(kind=FP32, curve=tuple(curve))))
    curve = tuple(operating_curve(file.val_logits, LABELS, (1.0, 9.0)))
    assert len(curve) > POINTS
    chosen = cascade_points(replace(file, curve=curve, wanted=curve[-1:]), others).points
    assert set(chosen) <= set(curve)
    assert curve[-1] in chosen
    assert 1 <= len(chosen) <= POINTS + 1

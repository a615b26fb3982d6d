"""What of a family of files is measured in full: their points, by costs that a brief timing gave."""

from dataclasses import replace
from types import SimpleNamespace
from typing import Any, cast

import pytest

from erde_nas.compression.int8 import Quantized
from erde_nas.device.exit_rules import ENTROPY
from erde_nas.measurement.statistics import Timing
from erde_nas.networks.network import keep_exits
from erde_nas.networks.operating_points import OperatingPoint
from erde_nas.onnx_files.file_kind import FP32, INT8
from erde_nas.onnx_files.quantize import ON_EVERY_CPU
from erde_nas.onnx_files.write import make_segments
from erde_nas.recipe.profile import HardwareProfile
from erde_nas.results.candidates import to_measure
from erde_nas.results.derived import cut_files
from erde_nas.results.network_files import NetworkFile, TrainedNetwork
from erde_nas.results.timings import FinalTimings
from tests.networks.builders import build, digits, small_arch

IMAGES = digits()[0][:16]
EARLY, WHOLE = (0.9, 0.1), (1.0,)


@pytest.fixture(scope="module")
def network():
    return build(small_arch("resnet", ("gap", "gap")))


@pytest.fixture
def family(network, tmp_path):
    """The files of a student with two exits and of its cuts, in fp32 and int8, by key."""
    run = cast(Any, SimpleNamespace(context=SimpleNamespace(exit_rule=ENTROPY)))

    def trained(name, kept=()):
        (tmp_path / name).mkdir(exist_ok=True)
        own = keep_exits(network, kept) if kept else network
        macs = tuple((10.0, 20.0)[number] for number in kept or (0, 1))
        return TrainedNetwork(name, own, tmp_path / name, "finished", macs, cut_of="a" if kept else "", kept_exits=kept)

    files = []
    for kind, segments in make_segments(network, [FP32, INT8], IMAGES).items():
        form = Quantized(segments, ON_EVERY_CPU, "static") if kind == INT8 else None
        path = tmp_path / "a" / f"model{'' if kind == FP32 else '.int8'}.onnx"
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(b"0" * 100)
        files.append(NetworkFile(trained("a"), kind, path, segments, segments.logits(IMAGES), quantized=form))
    left_out: dict[str, str] = {}
    files += cut_files(files, [trained("a-x0", (0,)), trained("a-x1", (1,))], run, left_out)
    assert left_out == {}
    return {file.key: file for file in files}


def chosen(files, costs, accuracies, *, asked=(), unfirm=None, **profile):
    """Files with one operating point each -> keys of those measured, and reasons of the others."""
    pointed = []
    for key, file in files.items():
        shares = WHOLE if len(file.val_logits) == 1 else EARLY
        point = OperatingPoint((0.5,) * (len(shares) - 1), shares, accuracies[key], 1.0)
        pointed.append(replace(file, points=(point,)))
    timings = {key: Timing(tuple(cost), 0.1, ()) for key, cost in costs.items()}
    final = SimpleNamespace(brief=lambda setting: timings)
    profiles = (HardwareProfile.model_validate({"name": "p", "precision": "int8", **profile}),)
    context: Any = SimpleNamespace(profiles=profiles, dataset=SimpleNamespace(validation=range(16)))
    found, screened = to_measure(pointed, context, cast(FinalTimings, final), asked, unfirm or {})
    return {file.key: file for file in found}, {(s.student, s.precision): s.reason for s in screened}


COSTS = {
    "a/model.onnx": (2.0, 4.0), "a/model.int8.onnx": (3.0, 6.0),
    "a-x0/model.onnx": (1.0,), "a-x0/model.int8.onnx": (2.5,),
    "a-x1/model.onnx": (3.5,), "a-x1/model.int8.onnx": (5.5,),
}  # fmt: skip
SAME = dict.fromkeys(COSTS, 0.9)


def test_a_family_whose_first_exit_does_as_well(family):
    assert set(family) == set(COSTS)
    found, reasons = chosen(family, COSTS, SAME)
    assert set(found) == {"a-x0/model.onnx"}
    assert (
        reasons["a", "fp32"]
        == "a-x0 is at least as accurate (90.0% against 90.0%) and cheaper (~1.00 against ~2.20 ms)"
    )
    assert len(reasons) == 5


def test_beside_a_file_with_exits_its_last_exit_alone_is_measured(family):
    found, reasons = chosen(family, COSTS, SAME | {"a/model.onnx": 0.95})
    assert set(found) == {"a/model.onnx", "a-x0/model.onnx", "a-x1/model.onnx"}
    assert found["a/model.onnx"].whole == "a-x1/model.onnx"
    assert ("a-x1", "fp32") not in reasons


def test_int8_that_is_slower_but_more_accurate_is_measured(family):
    found, _ = chosen(family, COSTS, SAME | {"a-x1/model.int8.onnx": 0.95})
    assert set(found) == {"a-x0/model.onnx", "a-x1/model.int8.onnx"}


def test_what_is_asked_for_is_measured(family):
    found, _ = chosen(family, COSTS, SAME, asked=["a-x1"])
    assert set(found) == {"a-x0/model.onnx", "a-x1/model.onnx", "a-x1/model.int8.onnx"}


def test_a_profile_may_measure_everything(family):
    found, reasons = chosen(family, COSTS, SAME, screen=False)
    assert (set(found), reasons) == (set(COSTS), {})


def test_what_cannot_be_offered_rules_out_nothing(family):
    best = family["a-x0/model.onnx"]
    unfirm = {(str(best.path), ()): {"p", "macs"}}
    found, _ = chosen(family, COSTS, SAME, unfirm=unfirm)
    # Of the others the student with exits, 0.9 · 2 + 0.1 · 4 ms, beats all; its last exit alone is measured beside it.
    assert set(found) == {"a-x0/model.onnx", "a/model.onnx", "a-x1/model.onnx"}


def test_what_may_be_beyond_a_limit_rules_out_nothing_and_what_surely_is_is_not_measured(family):
    found, reasons = chosen(family, COSTS, SAME, limits={"latency_ms": 1.0})
    assert set(found) == {"a-x0/model.onnx"}
    assert reasons["a-x1", "fp32"] == "latency_ms at least 3.40 is over p's limit 1"
    small = COSTS | {"a-x1/model.onnx": (1.02,)}
    assert set(chosen(family, small, SAME, limits={"latency_ms": 1.0})[0]) == {"a-x0/model.onnx", "a-x1/model.onnx"}


def test_another_objective(family):
    """The median image leaves at the first exit, the 95th of a hundred at the last."""
    costs = COSTS | {"a-x0/model.onnx": (3.0,)}
    assert "a-x0/model.onnx" in chosen(family, costs, SAME, objective="p95")[0]
    found, reasons = chosen(family, costs, SAME | {"a-x0/model.onnx": 0.8}, objective="p50")
    assert "~2.00 against ~" in reasons["a-x1", "int8"]
    assert "a/model.onnx" in found

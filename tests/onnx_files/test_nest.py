"""One file with real control flow: it answers as PyTorch does, and what comes after a taken exit does not run."""

import json
from functools import cache

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper

from erde_nas.device.runtimes.compaction import Compacting
from erde_nas.device.runtimes.interface import forced
from erde_nas.device.runtimes.onnxruntime import NestedModel, as_segment, run_segments
from erde_nas.networks.logits import all_logits
from erde_nas.networks.operating_points import entropies, exit_indices
from erde_nas.onnx_files.nest import nest, split, thresholds_of
from erde_nas.onnx_files.quantize import quantize_segments
from erde_nas.onnx_files.segments import export_segments
from tests.networks.builders import build, digits, medians, small_arch

HEADS = ("erde", "conv", "gap", "erde")
IMAGES = digits()[0][:120]
CASES = [("resnet", 1), ("resnet", 2), ("mobilenet", 3), ("mobilenet", 4)]


@cache
def student(family, exits):
    """A network and thresholds that let images out at every exit."""
    network = build(small_arch(family, HEADS[:exits]))
    return network, medians(network, IMAGES)


@cache
def exported(family, exits, precision="fp32"):
    """The segments of `student`."""
    segments = export_segments(student(family, exits)[0])
    return quantize_segments(segments, IMAGES) if precision == "int8" else segments


def nested(model):
    return NestedModel(session(model))


def session(model, **options):
    chosen = onnxruntime.SessionOptions()
    chosen.log_severity_level, chosen.intra_op_num_threads = 3, 1
    for name, value in options.items():
        setattr(chosen, name, value)
    return onnxruntime.InferenceSession(model.SerializeToString(), chosen, providers=["CPUExecutionProvider"])


def one_by_one(model, images, thresholds):
    """Logits (n, classes) and exits (n,) of a nested file, image by image."""
    levels = np.array(thresholds, np.float32)
    answers = [model.run(image[None], levels) for image in images]
    return np.concatenate([logits for logits, _ in answers]), np.concatenate([taken for _, taken in answers])


@pytest.mark.parametrize(("family", "exits"), CASES)
def test_file_answers_as_pytorch_does(family, exits):
    network, thresholds = student(family, exits)
    expected = all_logits(network, IMAGES)
    entropy = entropies(expected)
    close = (np.abs(entropy[:-1] - np.reshape(thresholds, (-1, 1))) < 1e-4).any(0)
    wanted = exit_indices(entropy, thresholds)
    logits, taken = one_by_one(nested(nest(exported(family, exits), thresholds)), IMAGES, thresholds)
    assert close.sum() < 10
    assert taken[~close].tolist() == wanted[~close].tolist()
    assert set(taken.tolist()) == set(range(exits))
    np.testing.assert_allclose(logits, expected[taken, np.arange(len(IMAGES))], atol=1e-4)


@pytest.mark.parametrize(("family", "exits"), CASES)
def test_every_exit_can_be_forced(family, exits):
    network, thresholds = student(family, exits)
    model, expected = nested(nest(exported(family, exits), thresholds)), all_logits(network, IMAGES[:10])
    for number in range(exits):
        logits, taken = one_by_one(model, IMAGES[:10], forced(number, exits))
        assert taken.tolist() == [number] * 10
        np.testing.assert_allclose(logits, expected[number], atol=1e-4)


@pytest.mark.parametrize(("family", "exits"), CASES)
def test_split_segments_give_a_batch_the_same_answers(family, exits):
    _, thresholds = student(family, exits)
    file = nest(exported(family, exits), thresholds)
    segments = split(onnx.load_from_string(file.SerializeToString()))
    for segment in segments:
        onnx.checker.check_model(segment, full_check=True)
    batched = Compacting([as_segment(session(segment)) for segment in segments])
    logits, taken = batched.run(IMAGES, np.array(thresholds, np.float32))
    expected_logits, expected = one_by_one(nested(file), IMAGES, thresholds)
    assert taken.tolist() == expected.tolist()
    np.testing.assert_allclose(logits, expected_logits, atol=1e-5)


@pytest.mark.parametrize("exit_", [0, 1, 2])
def test_a_batch_may_leave_all_at_once(exit_):
    network, _ = student("mobilenet", 3)
    segments = [session(segment) for segment in exported("mobilenet", 3)]
    logits, taken = Compacting([as_segment(segment) for segment in segments]).run(IMAGES[:10], forced(exit_, 3))
    assert taken.tolist() == [exit_] * 10
    np.testing.assert_allclose(logits, all_logits(network, IMAGES[:10])[exit_], atol=1e-4)


def test_logits_of_all_exits_from_serialized_segments():
    network, _ = student("resnet", 3)
    segments = [segment.SerializeToString() for segment in exported("resnet", 3)]
    np.testing.assert_allclose(run_segments(segments, IMAGES, 50), all_logits(network, IMAGES), atol=1e-4)


def test_thresholds_have_defaults_that_a_call_can_override():
    thresholds = student("resnet", 3)[1]
    model = session(nest(exported("resnet", 3), thresholds))
    for image in IMAGES[:20]:
        by_default = model.run(None, {"image": image[None]})
        given = model.run(None, {"image": image[None], "thresholds": np.array(thresholds, np.float32)})
        assert by_default[1] == given[1]
        assert np.array_equal(by_default[0], given[0])
        assert model.run(None, {"image": image[None], "thresholds": np.full(2, -1, np.float32)})[1] == 2
        assert model.run(None, {"image": image[None], "thresholds": np.full(2, np.inf, np.float32)})[1] == 0


def test_thresholds_can_be_read_back():
    assert thresholds_of(nest(exported("resnet", 3), [0.25, 1.5])) == (0.25, 1.5)
    assert thresholds_of(nest(exported("resnet", 1), [])) == ()


def test_interface_of_the_file():
    file = session(nest(exported("resnet", 3), [0.5, 0.5]))
    assert [(i.name, i.type, i.shape) for i in file.get_inputs()] == [("image", "tensor(uint8)", [1, 1, 8, 8])]
    assert [(i.name, i.type, i.shape) for i in file.get_overridable_initializers()] == [
        ("thresholds", "tensor(float)", [2])
    ]
    assert [(o.name, o.type, o.shape) for o in file.get_outputs()] == [
        ("logits", "tensor(float)", [1, 10]),
        ("exit_index", "tensor(int64)", [1]),
    ]


def test_each_branch_holds_its_own_weights():
    thresholds = student("resnet", 3)[1]
    graph, levels = nest(exported("resnet", 3), thresholds).graph, []
    while graph is not None:
        levels.append({tensor.name for tensor in graph.initializer if not tensor.name.startswith(("route", "thres"))})
        used = {name for node in graph.node for name in node.input}
        assert levels[-1] <= used
        branches = [a.g for node in graph.node for a in node.attribute if a.name == "else_branch"]
        graph = branches[0] if branches else None
    assert len(levels) == 3
    assert all(levels)


def executed(model, image, thresholds, folder):
    """Names of the segments' convolutions that ONNX Runtime ran, as its own profiler saw them."""
    runner = session(
        model,
        enable_profiling=True,
        profile_file_prefix=str(folder / "profile"),
        graph_optimization_level=onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL,  # nodes keep their names
    )
    NestedModel(runner).run(image[None], np.array(thresholds, np.float32))
    with open(runner.end_profiling()) as file:
        events = [event for event in json.load(file) if event.get("args", {}).get("op_name") == "Conv"]
    return sorted(event["name"].removesuffix("_kernel_time") for event in events if "_kernel_time" in event["name"])


@pytest.mark.parametrize("precision", ["fp32", "int8"])
@pytest.mark.parametrize("exit_", [0, 1, 2])
def test_nothing_after_a_taken_exit_is_executed(exit_, precision, tmp_path):
    segments = exported("mobilenet", 3, precision)
    convolutions = [[node.name for node in s.graph.node if node.op_type == "Conv"] for s in segments]
    assert all(convolutions)
    ran = executed(nest(segments, [0.0, 0.0]), IMAGES[0], forced(exit_, 3), tmp_path)
    assert ran == sorted(name for segment in convolutions[: exit_ + 1] for name in segment)


@pytest.mark.parametrize("thresholds", [[], [1.0], [1.0, 1.0, 1.0]])
def test_wrong_number_of_thresholds(thresholds):
    segments = exported("resnet", 3)
    with pytest.raises(ValueError, match=f"3 segments need 2 thresholds, but got {len(thresholds)}"):
        nest(segments, thresholds)


def foreign_if():
    """Somebody else's file with a decision of its own."""
    scalar = helper.make_tensor_value_info("y", TensorProto.FLOAT, [1])
    branch = helper.make_graph([helper.make_node("Neg", ["x"], ["y"])], "branch", [], [scalar])
    nodes = [
        helper.make_node("ReduceMax", ["x"], ["m"], keepdims=0),
        helper.make_node("Cast", ["m"], ["c"], to=TensorProto.BOOL),
        helper.make_node("If", ["c"], ["y"], then_branch=branch, else_branch=branch),
    ]
    inputs = [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1])]
    return helper.make_model(helper.make_graph(nodes, "foreign", inputs, [scalar]))


@pytest.mark.parametrize("model", [foreign_if(), onnx.ModelProto()], ids=["with a decision", "empty"])
def test_files_of_others_cannot_be_split(model):
    with pytest.raises(ValueError, match="no exit decisions as erde-nas makes them"):
        split(model)


def test_a_single_segment_is_not_a_deployable_file():
    with pytest.raises(ValueError, match="no exit decisions as erde-nas makes them"):
        split(exported("resnet", 2)[0])

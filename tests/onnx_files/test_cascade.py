"""Two networks in one file: it answers as PyTorch does, in every precision and runtime, and skips the second."""

from functools import cache

import numpy as np
import onnx
import pytest

from erde_nas.device import bundle_runner
from erde_nas.device.exit_rules import exit_rule
from erde_nas.device.runtimes import runtime
from erde_nas.device.runtimes.interface import Setting, forced
from erde_nas.device.runtimes.onnxruntime import run_segments
from erde_nas.networks.cascade import Cascade, cascade_logits
from erde_nas.networks.logits import all_logits
from erde_nas.networks.network import drop_early_exits
from erde_nas.networks.operating_points import exit_indices, scores
from erde_nas.networks.weights import load_deployed, save_network
from erde_nas.onnx_files.deployable import DeployableFile
from erde_nas.onnx_files.file_kind import FP32, INT8
from erde_nas.onnx_files.nest import nest, split
from erde_nas.onnx_files.rule_nodes import with_score
from erde_nas.onnx_files.write import ExportMismatch, check_export, joined, make_segments, write_file
from tests.networks.builders import METADATA, build, digits, medians, small_arch
from tests.onnx_files.test_nest import executed

IMAGES = digits()[0][:48]
CASES = pytest.mark.parametrize(("exits", "averaged"), [((1, 1), 0.0), ((1, 1), 0.5), ((2, 2), 0.0), ((2, 3), 0.25)])


@cache
def cascade(exits, averaged):
    """A narrow network before a wide one, of so many exits, and thresholds that let images out everywhere."""
    first = build(small_arch("resnet", ("gap", "erde")[-exits[0] :], width=8))
    second = build(small_arch("mobilenet", ("conv", "gap", "erde")[-exits[1] :], width=16))
    made = Cascade(first, second, averaged).eval()
    return made, medians(made, IMAGES)


@cache
def models(exits, averaged, kind=FP32):
    return make_segments(cascade(exits, averaged)[0], [kind], IMAGES)[kind]


@CASES
def test_a_cascade_is_its_networks(exits, averaged):
    network, _ = cascade(exits, averaged)
    first, second = (all_logits(member, IMAGES) for member in network.members)
    expected = [*first, *((1 - averaged) * logits + averaged * first[-1] for logits in second)]
    np.testing.assert_allclose(all_logits(network, IMAGES), expected, atol=1e-5)
    np.testing.assert_allclose(cascade_logits(first, second, averaged), expected, atol=1e-5)


def test_the_mean_of_logits_is_that_of_log_probabilities():
    """Up to a constant per image: the same classes, the same probabilities after softmax."""
    first, second = (all_logits(member, IMAGES)[-1] for member in cascade((1, 1), 0.5)[0].members)

    def log_p(logits):
        return (
            logits
            - np.log(np.exp(logits - logits.max(-1, keepdims=True)).sum(-1, keepdims=True))
            - logits.max(-1, keepdims=True)
        )

    mean = (log_p(first) + log_p(second)) / 2
    np.testing.assert_allclose(log_p(cascade_logits(first[None], second[None], 0.5)[1]), log_p(mean), atol=1e-5)


@CASES
@pytest.mark.parametrize("rule", ["entropy", "max-prob", "margin"])
def test_one_file_answers_as_pytorch_does(tmp_path, exits, averaged, rule):
    network, _ = cascade(exits, averaged)
    thresholds = medians(network, IMAGES, exit_rule(rule))
    write_file(models(exits, averaged), thresholds, tmp_path / "model.onnx", METADATA, exit_rule(rule))
    check_export(tmp_path / "model.onnx", network, IMAGES, thresholds, exit_rule(rule))
    onnx.checker.check_model(onnx.load(tmp_path / "model.onnx"), full_check=True)


def test_a_file_of_other_networks_is_noticed(tmp_path):
    network, thresholds = cascade((1, 1), 0.5)
    write_file(models((1, 1), 0.0), thresholds, tmp_path / "model.onnx", METADATA)
    with pytest.raises(ExportMismatch):
        check_export(tmp_path / "model.onnx", network, IMAGES, thresholds)


@CASES
@pytest.mark.parametrize("kind", [FP32, INT8], ids=str)
def test_the_segments_of_a_file_are_those_it_was_made_of(exits, averaged, kind):
    made = models(exits, averaged, kind)
    parts = split(nest(made.models, [0.0] * (sum(exits) - 1)))
    assert [[v.name for v in part.graph.input] for part in parts] == [
        [v.name for v in model.graph.input] for model in made.models
    ]
    for part in parts:
        onnx.checker.check_model(part, full_check=True)
    logits = run_segments([part.SerializeToString() for part in parts], IMAGES, 20)
    np.testing.assert_allclose(logits, made.logits(IMAGES), atol=1e-5)


@CASES
def test_int8_of_both_is_int8_of_each(exits, averaged):
    """Joined int8 segments of its networks answer as the cascade's own int8 segments do."""
    network = cascade(exits, averaged)[0]
    own = [make_segments(member, [INT8], IMAGES)[INT8] for member in network.members]
    np.testing.assert_allclose(
        joined(*own, network).logits(IMAGES), models(exits, averaged, INT8).logits(IMAGES), atol=1e-5
    )


RUNTIMES = [
    ("onnxruntime", "fp32", 1),
    ("onnxruntime", "fp32", 16),
    ("onnxruntime", "int8", 1),
    ("onnxruntime", "int8", 16),
    ("torch", "fp32", 1),
    ("torch", "fp32", 16),
    *(
        pytest.param(*case, marks=pytest.mark.extra)
        for case in [
            ("openvino", "fp32", 1),
            ("openvino", "fp32", 16),
            ("openvino", "int8", 1),
            ("executorch", "fp32", 1),
            ("executorch", "fp32", 16),
        ]
    ),
]


@CASES
@pytest.mark.parametrize(("name", "precision", "batch"), RUNTIMES)
def test_runtimes_and_batches(tmp_path, exits, averaged, name, precision, batch):
    used, setting = runtime(name), Setting(precision=precision, batch_size=batch)
    if used.EXTRA:
        pytest.importorskip(used.PACKAGE)
    network, thresholds = cascade(exits, averaged)
    made = models(exits, averaged, INT8 if precision == "int8" else FP32)
    write_file(made, thresholds, tmp_path / "model.onnx", METADATA)
    (tmp_path / "files").mkdir()
    files = used.prepare(DeployableFile(tmp_path / "model.onnx", network), setting, tmp_path / "files")
    runner, wanted = used.load([str(path) for path in files], setting), made.logits(IMAGES)
    count = sum(exits)
    for levels in (thresholds, *(forced(number, count) for number in range(count))):
        score = scores(exit_rule("entropy"), wanted)
        sure = (np.abs(score - np.reshape(levels, (-1, 1))) > (1e-4 if precision == "fp32" else 0.1)).all(0)
        expected = exit_indices(score, levels)
        for start in range(0, 48, batch):
            chosen = np.arange(start, start + batch)
            logits, taken = runner.run(IMAGES[chosen], np.array(levels, np.float32))
            assert np.array_equal(np.asarray(taken)[sure[chosen]], expected[chosen][sure[chosen]])
            size = np.maximum(np.abs(wanted[taken, chosen]).max(-1, keepdims=True), 1)
            assert (np.abs(logits - wanted[taken, chosen]) / size).max() < (1e-3 if precision == "fp32" else 0.1)


@CASES
def test_the_runner_of_a_bundle_takes_batches(exits, averaged):
    network, thresholds = cascade(exits, averaged)
    parts = split(nest(models(exits, averaged).models, thresholds))
    scored = [
        with_score(part, n, exit_rule("entropy")) if n < len(thresholds) else part for n, part in enumerate(parts)
    ]
    sessions = [bundle_runner.open_session(part.SerializeToString()) for part in scored]
    logits, taken = bundle_runner.run_batch(sessions, IMAGES, thresholds)
    expected = all_logits(network, IMAGES)
    assert set(taken.tolist()) == set(range(sum(exits)))
    np.testing.assert_allclose(logits, expected[taken, np.arange(len(IMAGES))], atol=1e-4)


def test_the_second_network_does_not_run_for_what_the_first_answers(tmp_path):
    made = models((1, 1), 0.5).models
    convolutions = [[node.name for node in model.graph.node if node.op_type == "Conv"] for model in made]
    for exit_ in range(2):
        ran = executed(nest(made, [0.0]), IMAGES[0], forced(exit_, 2), tmp_path)
        assert ran == sorted(name for names in convolutions[: exit_ + 1] for name in names)


def test_weights_and_shapes_come_back(tmp_path):
    network, _ = cascade((2, 3), 0.25)
    save_network(network, tmp_path)
    loaded = load_deployed(tmp_path / "weights.safetensors")
    assert loaded.averaged == 0.25
    np.testing.assert_array_equal(all_logits(loaded, IMAGES), all_logits(network, IMAGES))
    alone = drop_early_exits(network.first)
    save_network(alone, tmp_path / "alone")
    np.testing.assert_array_equal(
        all_logits(load_deployed(tmp_path / "alone" / "weights.safetensors"), IMAGES), all_logits(alone, IMAGES)
    )

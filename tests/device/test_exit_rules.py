"""What every exit rule must keep: its numpy score, its ONNX graph and a slow loop agree, in every form of a file."""

import math
from dataclasses import replace
from itertools import pairwise

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from erde_nas.device import bundle_runner
from erde_nas.device.exit_rules import ENTROPY, MAX_PROB, exit_rule
from erde_nas.device.runtimes.compaction import Compacting
from erde_nas.device.runtimes.interface import forced
from erde_nas.device.runtimes.onnxruntime import NestedModel, as_segment, open_session
from erde_nas.errors import UserError
from erde_nas.networks.operating_points import exit_indices, operating_curve, scores
from erde_nas.onnx_files.names import input_name, output_names
from erde_nas.onnx_files.nest import exit_rule_of, nest, split
from erde_nas.onnx_files.rule_nodes import with_score
from erde_nas.registry import EXIT_RULES
from tests.exit_rules import FITTED, SO_FAR

RULES = list(EXIT_RULES)
EXITS, CLASSES = 3, 4


def probabilities(row):
    powers = [math.exp(value - max(row)) for value in row]
    return [power / math.fsum(powers) for power in powers]


BY_HAND = {  # of the likelihoods p
    "entropy": lambda p: -math.fsum(q * math.log(q) for q in p if q),
    "max-prob": lambda p: math.fsum(sorted(p)[:-1]),
    "margin": lambda p: 1 - sorted(p)[-1] + sorted(p)[-2],
    "learned": lambda p: sorted(p)[-2] / (sorted(p)[-1] + sorted(p)[-2]),  # until it is fitted
}


def pixels(seed, count=80):
    """Images whose rows are the logits of the exits, in steps of 0.1: (n, 1, exits, classes) uint8."""
    rng = np.random.default_rng(seed)
    found = rng.integers(0, 60, (count, 1, EXITS, CLASSES))
    found[0] = 0  # nothing is likelier than anything else
    found[1, ..., 0] = 255
    return found.astype(np.uint8)


def logits_of(images):
    return np.moveaxis(images[:, 0].astype(np.float32) * np.float32(0.1), 1, 0)  # (exits, n, classes)


def segments(exits=EXITS):
    """Segments whose logits are the rows of their image."""
    models = []
    for number in range(exits):
        names = output_names(number, exits)
        x = input_name(number) if number else f"s{number}/x"
        nodes = [
            helper.make_node("Gather", [x, f"s{number}/number"], [f"s{number}/row"], axis=2),
            helper.make_node("Mul", [f"s{number}/row", f"s{number}/step"], [f"s{number}/scaled"]),
            helper.make_node("Squeeze", [f"s{number}/scaled", f"s{number}/one"], [names[0]]),
            *[helper.make_node("Identity", [x], [name]) for name in names[1:]],
        ]
        if not number:
            nodes.insert(0, helper.make_node("Cast", ["image"], [x], to=TensorProto.FLOAT))
        values = {"number": np.array(number), "step": np.array(0.1, np.float32), "one": np.array([1])}
        kind, shape = TensorProto.FLOAT if number else TensorProto.UINT8, ["batch", 1, EXITS, CLASSES]
        graph = helper.make_graph(
            nodes,
            f"segment{number}",
            [helper.make_tensor_value_info(input_name(number), kind, shape)],
            [
                helper.make_tensor_value_info(names[0], TensorProto.FLOAT, ["batch", CLASSES]),
                *[helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name in names[1:]],
            ],
            [onnx.numpy_helper.from_array(value, f"s{number}/{name}") for name, value in values.items()],
        )
        models.append(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9))
    return models


def session(model):
    return open_session(model.SerializeToString(), threads=1, device="cpu")


def one_by_one(model, images, thresholds):
    runner, levels = NestedModel(session(model)), np.array(thresholds, np.float32)
    return [int(runner.run(image[None], levels)[1][0]) for image in images]


def thresholds_for(rule, logits, seed):
    """Thresholds between the scores of some images, none nearer to a score than rounding."""
    rng = np.random.default_rng(seed)
    found = []
    for score in scores(rule, logits):
        seen = np.unique(score.round(6))
        wide = [(low + high) / 2 for low, high in pairwise(seen) if high - low > 1e-4]
        found.append(float(rng.choice(wide)))
    return found


@pytest.mark.parametrize("name", BY_HAND)
@pytest.mark.parametrize("scale", [0.1, 1.0, 30.0])
def test_scores_are_those_of_a_slow_loop(name, scale):
    rows = np.random.default_rng(0).normal(0, scale, (200, CLASSES))
    wanted = [BY_HAND[name](probabilities(row)) for row in rows.tolist()]
    np.testing.assert_allclose(exit_rule(name).score([rows]), wanted, atol=1e-12)
    np.testing.assert_allclose(exit_rule(name).score([rows.astype(np.float32)]), wanted, atol=2e-6)


def test_every_rule_of_erde_nas_has_a_slow_loop():
    assert set(BY_HAND) == {name for name in EXIT_RULES if name not in EXIT_RULES.plugins()}


@pytest.mark.parametrize("name", RULES)
@pytest.mark.parametrize("scale", [0.0, 1.0, 1000.0])
def test_scores_are_small_where_sure_and_never_negative(name, scale):
    rule, rows = exit_rule(name), (np.random.default_rng(1).normal(0, 1, (500, CLASSES)) * scale).astype(np.float32)
    found = rule.score([rows])
    assert found.shape == (500,)
    assert found.dtype == np.float32
    assert np.isfinite(found).all()
    assert (found >= 0).all()
    sure, unsure = np.eye(1, CLASSES, dtype=np.float32) * 50, np.zeros((1, CLASSES), np.float32)
    assert rule.score([sure])[0] < 1e-6 < rule.score([unsure])[0]


@pytest.mark.parametrize("rule", [*map(exit_rule, RULES), SO_FAR, FITTED], ids=lambda rule: rule.record)
def test_every_form_of_a_file_decides_as_numpy_does(rule):
    images = pixels(2)
    logits = logits_of(images)
    model = nest(segments(), [0.5, 0.5], rule)
    onnx.checker.check_model(model, full_check=True)
    assert exit_rule_of(onnx.load_from_string(model.SerializeToString())) == rule.record
    parts = split(model)
    batched = Compacting([as_segment(session(part)) for part in parts], rule)
    scored = [session(with_score(part, n, rule) if n < EXITS - 1 else part) for n, part in enumerate(parts)]
    seen = set()
    for seed in range(3):
        levels = thresholds_for(rule, logits, seed)
        wanted = exit_indices(scores(rule, logits), levels).tolist()
        assert one_by_one(model, images, levels) == wanted
        answer, taken = batched.run(images, np.array(levels, np.float32))
        assert taken.tolist() == wanted
        np.testing.assert_array_equal(answer, logits[wanted, np.arange(len(images))])
        answer, taken = bundle_runner.run_batch(scored, images, levels)
        assert taken.tolist() == wanted
        np.testing.assert_array_equal(answer, logits[wanted, np.arange(len(images))])
        seen |= set(wanted)
    assert seen == {0, 1, 2}


@pytest.mark.parametrize("name", RULES)
def test_thresholds_that_nobody_meets_and_everybody(name):
    images, rule = pixels(3, 12), exit_rule(name)
    model = nest(segments(), [0.0, 0.0], rule)
    batched = Compacting([as_segment(session(part)) for part in split(model)], rule)
    for number in range(EXITS):
        levels = forced(number, EXITS)
        assert one_by_one(model, images, levels) == [number] * len(images)
        assert batched.run(images, levels)[1].tolist() == [number] * len(images)


@pytest.mark.parametrize("name", RULES)
def test_an_image_at_its_threshold_stays(name):
    """Equal logits have a score that every precision and library gives, but for those with logarithms in them."""
    rule, image = exit_rule(name), np.zeros((1, 1, EXITS, CLASSES), np.uint8)
    model = nest(segments(), [0.0, 0.0], rule)
    batched = Compacting([as_segment(session(part)) for part in split(model)], rule)
    score = rule.score([logits_of(image)[0]])[0]
    for level, exit_ in ((score, 2), (np.nextafter(score, np.float32(9)), 0)):
        levels = np.array([level, -1], np.float32)
        assert batched.run(image, levels)[1].tolist() == [exit_]
        if name in ("max-prob", "margin"):
            assert score == {"max-prob": 0.75, "margin": 1.0}[name]
            assert one_by_one(model, image, levels) == [exit_]
            assert exit_indices(scores(rule, logits_of(image)), levels.tolist()).tolist() == [exit_]


@pytest.mark.parametrize("name", ["max-prob", "margin"])
def test_sure_images_that_float32_cannot_tell_apart_leave_together(name):
    """The thresholds of a curve, chosen in float64, mean the same in float32; without `resolution` they do not."""
    rng = np.random.default_rng(4)
    logits = rng.normal(0, 12, (2, 400, CLASSES)).astype(np.float32)
    right = exit_rule(name).score([logits[0].astype(float)]) < 1e-10
    labels = np.where(right, logits[0].argmax(-1), logits[1].argmax(-1))  # the surest are right at once

    def moved(rule):
        single, curve = rule.score([logits[0]]), operating_curve(logits, labels, [1.0, 2.0], rule)
        return max(abs((single < point.thresholds[0]).mean() - point.exit_fractions[0]) for point in curve)

    assert moved(exit_rule(name)) < 0.01 < moved(replace(exit_rule(name), resolution=0.0))


@pytest.mark.parametrize(
    ("score", "text"),
    [
        (lambda so_far: -so_far[-1].max(-1), r"must give 80 scores of at least 0 at exit 0, but gives \(80,\) with"),
        (lambda so_far: so_far[-1], r"but gives \(80, 4\)"),
    ],
)
def test_a_rule_whose_scores_cannot_be_used_is_one_error(score, text):
    wrong = replace(MAX_PROB, name="wrong", score=score)
    with pytest.raises(UserError, match=text):
        scores(wrong, logits_of(pixels(5)))


def test_a_plug_in_must_bring_a_rule_of_its_own_name():
    text = r"the exit rule 'mine' must be an ExitRule of that name, but its plug-in brings ExitRule\(name='margin'"
    with EXIT_RULES.registered("mine", "erde_nas.device.exit_rules:MARGIN"), pytest.raises(UserError, match=text):
        exit_rule("mine")
    with pytest.raises(
        UserError, match="unknown exit rule 'entropi': choose one of entropy, max-prob, margin, learned"
    ):
        exit_rule("entropi")


def test_a_file_that_does_not_say_its_rule_means_entropy():
    images = pixels(6, 20)
    old = nest(segments(), [0.5, 0.5])
    assert not [entry for entry in old.metadata_props if entry.key == "exit_rule"]
    assert exit_rule_of(old) == "entropy"
    levels = thresholds_for(ENTROPY, logits_of(images), 0)
    assert one_by_one(old, images, levels) == exit_indices(scores(ENTROPY, logits_of(images)), levels).tolist()

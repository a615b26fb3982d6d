"""Latency in fresh processes: what is run, how the processes' ratios are pooled, and what the record says."""

import numpy as np
import pytest
import torch

from erde_nas.device.agent.job import Answer, Disturbance, Interruptions, StreamTimes, Times
from erde_nas.device.exit_rules import MARGIN
from erde_nas.errors import UserError
from erde_nas.measurement import latency
from erde_nas.measurement.latency import Effort, Workload, latency_record, measure
from erde_nas.measurement.statistics import Stream, Timing
from erde_nas.networks.arch import Exit
from erde_nas.networks.families import StageChoice, make_arch
from erde_nas.networks.logits import all_logits
from erde_nas.networks.macs import macs_per_exit
from erde_nas.onnx_files.deployable import DeployableFile
from erde_nas.recipe.profile import HardwareProfile, MeasureSection
from tests.exit_rules import FITTED
from tests.networks.builders import build, digits, medians, small_arch, write_onnx

IMAGES = digits()[0][:40]
QUICK = MeasureSection(warmup_calls=1, calls_per_block=5, blocks=3, processes=1, stream_images=32)


def profile(**changes):
    return HardwareProfile(name="test", measure=QUICK).model_copy(update=changes)


def routed(network, thresholds, images):
    """The share of images that PyTorch lets out at each exit."""
    _, taken = network.forward_until_exit(torch.from_numpy(images), thresholds)
    return tuple(np.bincount(taken, minlength=len(thresholds) + 1) / len(images))


@pytest.fixture(scope="module")
def student(tmp_path_factory):
    """A small network, its file, and two operating points."""
    network = build(small_arch("mobilenet", ("gap", "erde", "gap")))
    points = (tuple(medians(network, IMAGES)), (0.0, 0.0))
    return network, write_onnx(network, list(points[0]), tmp_path_factory.mktemp("student") / "model.onnx"), points


@pytest.mark.parametrize(("batch_size", "streamed"), [(1, 32), (12, 24)])
def test_stream_leaves_where_pytorch_leaves(student, batch_size, streamed):
    network, path, points = student
    file = Workload("a", DeployableFile(path), 3, points)
    timing = measure([file], profile(batch_size=batch_size), IMAGES, Effort(1, 3))["a"]
    assert len(timing.per_exit) == 3
    assert min(timing.per_exit) > 0
    assert len(timing.streams) == 2
    for stream, thresholds in zip(timing.streams, points, strict=True):
        assert stream.exit_fractions == routed(network, thresholds, IMAGES[:streamed])
        assert 0 < stream.p50 <= stream.p95 <= stream.p99
        assert stream.mean > 0


@pytest.mark.parametrize(("batch_size", "rule"), [(1, MARGIN), (8, MARGIN), (8, FITTED)])
def test_stream_leaves_by_the_rule_that_the_file_names(tmp_path, student, batch_size, rule):
    network = student[0]
    levels = tuple(medians(network, IMAGES[:32], rule))
    _, taken = network.forward_until_exit(torch.from_numpy(IMAGES[:32]), levels, rule)
    wanted = tuple(np.bincount(taken, minlength=3) / 32)
    assert wanted != routed(network, levels, IMAGES[:32])
    assert min(wanted) > 0
    path = write_onnx(network, list(levels), tmp_path / "model.onnx", rule)
    file = Workload("a", DeployableFile(path), 3, (levels,))
    (stream,) = measure([file], profile(batch_size=batch_size), IMAGES, Effort(1, 3))["a"].streams
    assert stream.exit_fractions == wanted


def test_leaving_early_is_faster_and_all_files_of_a_job_are_measured(tmp_path, student):
    stages = [StageChoice(1, 8), StageChoice(4, 64)]
    arch = make_arch(
        "resnet",
        image_shape=(1, 32, 32),
        classes=10,
        stem=8,
        stages=stages,
        exits=[Exit(0, "gap"), Exit(4, "gap")],
    )
    network = build(arch)
    first, last = macs_per_exit(network)
    assert last > 50 * first
    heavy = Workload("heavy", DeployableFile(write_onnx(network, [0.0], tmp_path / "heavy.onnx")), 2)
    images = np.zeros((3, 1, 32, 32), np.uint8)
    done = []
    timings = measure([heavy, Workload("again", heavy.deployable, 2)], profile(), images, Effort(1, 3), done.append)
    for timing in timings.values():
        assert timing.per_exit[0] < timing.per_exit[1]
        assert timing.streams == ()
    assert list(timings) == ["heavy", "again"]
    assert done == [1]


def test_a_file_that_the_runtime_refuses(tmp_path):
    path = tmp_path / "broken.onnx"
    path.write_bytes(b"no model")
    with pytest.raises(UserError, match=r"measuring failed in the runtime: .*broken\.onnx.*erde-nas doctor"):
        measure([Workload("a", DeployableFile(path), 2)], profile(), IMAGES, Effort(1, 3))


def canned(reference_ms, ratios, stream, taken):
    """What one process of the agent reports of a file with two exits."""
    times = Times(ratios, (StreamTimes(stream, taken),), Interruptions(100, 0))
    return Answer({"r": "1"}, Disturbance(2), reference_ms, {"a": times})


def test_ratios_of_processes_are_pooled_by_hand(monkeypatch, student):
    """The reference takes 2 ms in the median; an image is timed by its median over the processes."""
    answers = iter(
        [
            canned([1.0, 2.0], [[1.0, 2.0, 3.0], [5.0, 5.0, 5.0]], [[1.0, 4.0, 2.0, 9.0]], [0, 1, 0, 1]),
            canned([2.0, 8.0], [[2.0, 2.0, 2.0], [5.0, 5.0, 5.0]], [[1.0, 4.0, 4.0, 3.0]], [0, 1, 0, 1]),
            canned([2.0, 2.0], [[2.0, 2.0, 2.0], [6.0, 6.0, 6.0]], [[7.0, 4.0, 3.0, 3.0]], [0, 1, 0, 1]),
        ]
    )
    monkeypatch.setattr(latency, "run_here", lambda profile, job, folder: next(answers))
    done = []
    file = Workload("a", DeployableFile(student[1]), 2, ((0.5,),))
    timing = measure([file], profile(), IMAGES, Effort(3, 3), done.append)["a"]
    assert done == [1, 2, 3]
    assert timing.per_exit == (2.0 * 2.0, 5.0 * 2.0)
    stream = timing.streams[0]
    per_image = [1.0 * 2, 4.0 * 2, 3.0 * 2, 3.0 * 2]
    assert stream.mean == np.mean(per_image)
    assert stream.p50 == 6.0
    assert stream.p99 == pytest.approx(np.percentile(per_image, 99))
    assert stream.exit_fractions == (0.5, 0.5)
    # Images 0 and 2 leave at exit 0 and take 4 / 4 on average, images 1 and 3 at exit 1 and take 7 / 4. A process takes
    # its median over the images of an exit, relative to all processes; a ratio is at most 1.5 lower quartiles (1, 2.5,
    # 3 of images 0, 2 and 3).
    first = [(1 + 2 / 3) / 2, (1 + 3.75 / 3) / 2, (1.5 + 1) / 2]
    last = [(1 + 4.5 / 3) / 2, 1.0, 1.0]
    means = [1.0 * early + 1.75 * late for early, late in zip(first, last, strict=True)]
    low, median, high = np.percentile(means, [25, 50, 75])
    assert stream.iqr_over_median == pytest.approx((high - low) / median)
    assert timing.iqr_over_median == pytest.approx(1 / 5)  # of the last exit, which spreads more


def test_a_batch_takes_its_time_divided_by_its_images(monkeypatch, student):
    monkeypatch.setattr(
        latency, "run_here", lambda profile, job, folder: canned([3.0], [[4.0] * 3, [8.0] * 3], [[4.0]], [0, 1, 1, 1])
    )
    timing = measure(
        [Workload("a", DeployableFile(student[1]), 2, ((0.5,),))], profile(batch_size=4), IMAGES, Effort(1, 3)
    )["a"]
    assert timing.per_exit == (3.0, 6.0)
    assert timing.streams[0].mean == 3.0
    assert timing.streams[0].exit_fractions == (0.25, 0.75)


TIMING = Timing((1.0, 2.0), 0.03, (Stream(1.2, 1.0, 2.0, 2.5, (0.5, 0.5), 0.02),))


def test_record_of_a_measured_stream():
    record = latency_record(TIMING, 0, (0.25, 0.75), profile(precision="int8", batch_size=4, threads=2))
    assert (record.mean, record.p50, record.p95, record.p99) == (1.2, 1.0, 2.0, 2.5)
    assert record.expected_mean == 0.25 * 1.0 + 0.75 * 2.0
    assert (record.source, record.iqr_over_median) == ("measured", 0.02)
    assert (record.runtime, record.device, record.precision) == ("onnxruntime", "cpu", "int8")
    assert (record.batch_size, record.threads, record.per_exit) == (4, 2, (1.0, 2.0))


def test_an_estimate_is_never_called_measured():
    record = latency_record(TIMING, None, (1.0, 0.0), profile())
    assert (record.mean, record.p50, record.p95, record.p99) == (None,) * 4
    assert (record.source, record.expected_mean, record.iqr_over_median) == ("estimated", 1.0, 0.03)


def test_processes_are_added_for_what_is_not_narrow(monkeypatch, student):
    """File a is steady after six processes; b takes until its outlier no longer counts, and is measured alone."""
    asked = []

    def agent(profile, job, folder):
        keys = [model.key for model in job.models]
        asked.append(keys)
        slow = 1.5 if len(asked) == 1 else 1.0

        def found(key):
            mean = slow if key == "b" else 1.0
            stream = StreamTimes([[mean] * 4], [0, 1, 0, 1])
            return Times([[1.0] * 3] * 2, (stream,), Interruptions(100, 0))

        return Answer({"r": "1"}, Disturbance(2), [1.0], {key: found(key) for key in keys})

    monkeypatch.setattr(latency, "run_here", agent)
    files = [Workload(key, DeployableFile(student[1]), 2, ((0.5,),)) for key in "ab"]
    timings = measure(files, profile(), IMAGES, Effort(6, 3, interval=0.02, allowance_s=1e6))
    assert asked == [["a", "b"]] * 6 + [["b"]] * 3  # the second smallest and largest of nine hold the median
    assert not timings["a"].noisy
    assert not timings["b"].noisy
    assert timings["b"].streams[0].interval == (1.0, 1.0)
    asked.clear()
    timings = measure(files, profile(), IMAGES, Effort(6, 3, interval=0.02, allowance_s=0.0))
    assert len(asked) == 6
    assert (timings["a"].noisy, timings["b"].noisy) == (False, True)


def test_a_thorough_measurement_compares_answers_and_reads_memory_once(student):
    network, path, points = student
    expected = all_logits(network, IMAGES)
    right = Workload("right", DeployableFile(path), 3, points, expected=expected)
    wrong = Workload("wrong", DeployableFile(path), 3, points, expected=expected + 1.0)
    timings = measure([right, wrong], profile(), IMAGES, Effort(2, 3, thorough=True))
    assert timings["right"].disagreement == ""
    assert "the runtime's logits differ by up to" in timings["wrong"].disagreement
    assert timings["right"].memory_bytes > 0
    assert timings["right"].versions.startswith("onnxruntime ")

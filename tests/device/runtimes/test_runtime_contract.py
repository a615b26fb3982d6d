"""What every runtime must keep. A runtime joins with one line in CASES; an absent extra skips it with its reason."""

import os
import subprocess
import sys
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import numpy as np
import onnx
import pytest

from erde_nas.device.exit_rules import ENTROPY, exit_rule
from erde_nas.device.runtimes import runtime
from erde_nas.device.runtimes.interface import Setting, forced
from erde_nas.device.runtimes.onnxruntime import run_segments
from erde_nas.errors import UserError
from erde_nas.measurement.agreement import TOLERANCE
from erde_nas.networks.logits import all_logits
from erde_nas.networks.operating_points import entropies, exit_indices, scores
from erde_nas.onnx_files.deployable import DeployableFile
from erde_nas.onnx_files.nest import nest
from erde_nas.onnx_files.quantize import quantize_segments
from erde_nas.onnx_files.segments import export_segments
from erde_nas.registry import RUNTIMES
from tests.exit_rules import FITTED
from tests.networks.builders import build, digits, medians, small_arch

IMAGES = digits()[0][:48]
BATCH = 16
EXITS = 2

slow = pytest.mark.slow  # compiling takes a minute on a busy core
extra = pytest.mark.extra
CASES = [
    pytest.param("onnxruntime", "fp32"),
    pytest.param("onnxruntime", "int8"),
    pytest.param("openvino", "fp32", marks=extra),
    pytest.param("openvino", "bf16", marks=extra),
    pytest.param("openvino", "int8", marks=extra),
    pytest.param("torch", "fp32"),
    pytest.param("torch", "bf16"),
    pytest.param("torch-compile", "fp32", marks=slow),
    pytest.param("executorch", "fp32", marks=extra),
]


@cache
def student():
    """A network, thresholds that let images out at every exit, and its logits (exits, n, classes) in PyTorch."""
    network = build(small_arch("resnet", ("gap", "erde")))
    return network, medians(network, IMAGES), all_logits(network, IMAGES)


@cache
def expected(precision):
    """The logits that a runtime must give: PyTorch's, or for int8 those of the quantized file in ONNX Runtime."""
    if precision != "int8":
        return student()[2]
    segments = quantize_segments(export_segments(student()[0]), IMAGES)
    return run_segments([segment.SerializeToString() for segment in segments], IMAGES)


@pytest.fixture
def load(tmp_path):
    """Prepare the student and load it; skips where the runtime's extra is not installed."""

    def of(name, setting):
        used, folder = installed(name), tmp_path / f"{name}{setting.batch_size}"
        folder.mkdir()
        files = used.prepare(deployable(tmp_path, setting.precision, setting.rule), setting, folder)
        assert all(path.parent == folder and path.is_file() for path in files)
        return used.load([str(path) for path in files], setting)

    return of


def installed(name):
    used = runtime(name)
    try:
        version(used.PACKAGE)
    except PackageNotFoundError:
        pytest.skip(f"the extra {used.EXTRA} is not installed")
    return used


def deployable(folder, precision="fp32", rule=ENTROPY):
    network, thresholds, _ = student()
    segments = export_segments(network)
    segments = quantize_segments(segments, IMAGES) if precision == "int8" else segments
    onnx.save(nest(segments, thresholds, rule), folder / "model.onnx")
    return DeployableFile(folder / "model.onnx", network)


def worst(found, wanted):
    """The largest difference of two logits relative to the largest of the image: (n, classes) each."""
    return (np.abs(found - wanted).max(-1) / np.maximum(np.abs(wanted).max(-1), 1)).max()


@pytest.mark.parametrize(("name", "precision"), CASES)
@pytest.mark.parametrize("batch_size", [1, BATCH])
def test_exits_and_logits_are_those_of_pytorch(load, name, precision, batch_size):
    wanted, thresholds = expected(precision), student()[1]
    runner = load(name, Setting(precision=precision, batch_size=batch_size))
    entropy = entropies(wanted)
    margin = {"fp32": 1e-4}.get(precision, 0.1)  # nats: nearer to the threshold than this, either exit is right
    for levels in (thresholds, *(forced(number, EXITS) for number in range(EXITS))):
        routes = exit_indices(entropy, levels)
        sure = (np.abs(entropy[:-1] - np.reshape(levels, (-1, 1))) > margin).all(0)
        for start in range(0, len(IMAGES), batch_size):
            chosen = np.arange(start, start + batch_size)
            logits, taken = runner.run(IMAGES[chosen], np.array(levels, np.float32))
            assert logits.dtype == np.float32
            assert np.array_equal(np.asarray(taken)[sure[chosen]], routes[chosen][sure[chosen]])
            assert worst(logits, wanted[taken, chosen]) <= TOLERANCE[precision]


@pytest.mark.parametrize("name", [pytest.param(c.values[0], marks=c.marks) for c in CASES if c.values[1] == "fp32"])
@pytest.mark.parametrize(
    ("batch_size", "chosen"), [(1, "margin"), (BATCH, "max-prob"), (1, FITTED.record), (BATCH, FITTED.record)]
)
def test_every_runtime_keeps_the_exit_rule(load, name, batch_size, chosen):
    """Each decides by the rule that the file, or else the setting, names."""
    rule, wanted = exit_rule(chosen), expected("fp32")
    score = scores(rule, wanted)
    levels = [float(np.median(score[0]))]
    routes, sure = exit_indices(score, levels), (np.abs(score[0] - levels[0]) > 1e-4)
    assert (routes[sure] != exit_indices(entropies(wanted), levels)[sure]).any()
    runner = load(name, Setting(batch_size=batch_size, exit_rule=chosen))
    for start in range(0, len(IMAGES), batch_size):
        batch = np.arange(start, start + batch_size)
        _, taken = runner.run(IMAGES[batch], np.array(levels, np.float32))
        assert np.array_equal(np.asarray(taken)[sure[batch]], routes[batch][sure[batch]])


@pytest.mark.parametrize(("name", "precision"), CASES)
def test_an_answer_outlives_the_next_call(load, name, precision):
    runner = load(name, Setting(precision=precision))
    levels = forced(0, EXITS)
    first, _ = runner.run(IMAGES[:1], levels)
    kept = first.copy()
    second, _ = runner.run(IMAGES[1:2], levels)
    assert np.array_equal(first, kept)
    assert not np.array_equal(first, second)


def test_bf16_is_really_another_arithmetic(load):
    runner = load("torch", Setting(precision="bf16"))  # OpenVINO calculates in fp32 where the CPU has no bf16
    logits, _ = runner.run(IMAGES[:1], forced(1, EXITS))
    assert worst(logits, expected("fp32")[1, :1]) > 1e-4


@pytest.mark.parametrize("name", [pytest.param(name, marks=extra if runtime(name).EXTRA else ()) for name in RUNTIMES])
def test_versions_name_the_package(name):
    used = installed(name)
    assert used.versions() == {used.PACKAGE: used.versions()[used.PACKAGE]}
    assert used.versions()[used.PACKAGE].split("+")[0] == version(used.PACKAGE).split("+")[0]


@pytest.mark.parametrize("name", ["torch", "torch-compile", pytest.param("executorch", marks=extra)])
def test_what_starts_from_weights_refuses_a_file_alone(tmp_path, name):
    alone = DeployableFile(deployable(tmp_path).file)
    with pytest.raises(UserError, match=r"starts from a student's weights, but got only model\.onnx"):
        installed(name).prepare(alone, Setting(), tmp_path)


def test_compiling_without_a_compiler_says_so(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("CXX", raising=False)
    with pytest.raises(UserError, match=r"torch\.compile needs a C\+\+ compiler, but found none of g\+\+"):
        runtime("torch-compile").prepare(deployable(tmp_path), Setting(), tmp_path)


ALONE = """
import sys
wanted, folder, precision, *files = sys.argv[1:]
class Only:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in ("torch", "onnx", "scipy", "pydantic"):
            raise ImportError(name)
sys.meta_path.insert(0, Only())
import numpy as np
from erde_nas.device.runtimes import runtime
from erde_nas.device.runtimes.interface import Setting, forced
runner = runtime(wanted).load(files, Setting(precision=precision))
logits, taken = runner.run(np.load(folder), np.array([np.inf], np.float32))
print(taken[0])
"""


@pytest.mark.parametrize("name", ["onnxruntime", pytest.param("openvino", marks=extra)])
def test_the_device_needs_numpy_and_the_runtime_alone(tmp_path, name):
    used, setting = installed(name), Setting()
    (tmp_path / "files").mkdir()
    files = used.prepare(deployable(tmp_path), setting, tmp_path / "files")
    np.save(tmp_path / "image.npy", IMAGES[:1])
    command = [sys.executable, "-c", ALONE, name, str(tmp_path / "image.npy"), "fp32", *map(str, files)]
    root = str(Path(__file__).parents[3])
    done = subprocess.run(
        command, capture_output=True, text=True, env={**os.environ, "PYTHONPATH": root, "HOME": str(tmp_path)}
    )
    assert done.stdout.strip() == "0", done.stderr
    assert not (tmp_path / "intel").exists()  # where OpenVINO's telemetry would leave its identifier


@extra
def test_openvino_runs_in_the_precision_and_threads_asked_for(tmp_path):
    installed("openvino")
    from erde_nas.device.runtimes import openvino as used

    package = used.import_openvino()
    seen = []

    class Core(package.Core):
        def compile_model(self, model, device, options):
            compiled = super().compile_model(model, device, options)
            keys = ("INFERENCE_PRECISION_HINT", "INFERENCE_NUM_THREADS", "NUM_STREAMS")
            seen.append([compiled.get_property(key) for key in keys])
            return compiled

    files = used.prepare(deployable(tmp_path), Setting(), tmp_path)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(package, "Core", Core)
        used.load([str(path) for path in files], Setting(threads=1))
    ((hint, threads, streams),) = seen
    assert (hint.to_string(), threads, streams) == ("f32", 1, 1)


def test_torch_takes_the_threads_asked_for(load):
    import torch

    before = torch.get_num_threads()
    try:
        load("torch", Setting(threads=2))
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(before)

"""A runtime and an exit rule of another package, where students are measured: here, and on a device over SSH."""

import os
import subprocess
import sys

import numpy as np
import pytest

from erde_nas.measurement.agent_file import agent_file
from erde_nas.measurement.detect import describe_machine
from erde_nas.measurement.latency import Effort, Workload, measure
from erde_nas.measurement.target import machine_of
from erde_nas.networks.logits import all_logits
from erde_nas.onnx_files.deployable import DeployableFile
from erde_nas.recipe.profile import HardwareProfile, MeasureSection
from tests.networks.builders import build, digits, medians, small_arch, write_onnx
from tests.plugins import install

IMAGES = digits()[0][:8]
QUICK = MeasureSection(warmup_calls=1, calls_per_block=5, blocks=3, processes=1, stream_images=8, allowance_s=0)
RUNTIME = """
from erde_nas.device.runtimes.onnxruntime import load, prepare

PACKAGE = "onnxruntime"
EXTRA = ""
PRECISIONS = ("fp32",)
DEVICES = ("cpu",)


def versions():
    return {"toy": "7.7"}
"""
RULE = """
from erde_nas.device.exit_rules import MARGIN
from dataclasses import replace

TOY = replace(MARGIN, name="toy-margin")
"""


@pytest.fixture
def plugins(tmp_path, monkeypatch):
    """A package with a runtime `toy`, one with an exit rule `toy-margin`, on the search path of every Python here."""
    made = [
        install(tmp_path / "runtime", "toy_runtime", RUNTIME, {"erde_nas.runtimes": {"toy": "toy_runtime"}}),
        install(tmp_path / "rule", "toy_rule", RULE, {"erde_nas.exit_rules": {"toy-margin": "toy_rule:TOY"}}),
    ]
    for folder in made:
        monkeypatch.syspath_prepend(str(folder))
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([*map(str, made), os.environ.get("PYTHONPATH", "")]))
    return made


@pytest.fixture
def workload(tmp_path):
    network = build(small_arch("resnet", ("gap", "gap")))
    thresholds = medians(network, IMAGES)
    file = DeployableFile(write_onnx(network, thresholds, tmp_path / "model.onnx"), network)
    return Workload("a", file, 2, (tuple(thresholds),), expected=all_logits(network, IMAGES))


def test_a_runtime_of_another_package_measures_here(plugins, workload):
    profile = HardwareProfile(name="here", runtime="toy", measure=QUICK)
    timing = measure([workload], profile, IMAGES, Effort(1, 3, thorough=True))["a"]
    assert (timing.versions, timing.disagreement) == ("toy 7.7", "")
    assert min(timing.per_exit) > 0
    with pytest.raises(ValueError, match="the runtime toy runs fp32, but got precision: int8"):
        HardwareProfile(name="here", runtime="toy", precision="int8")


def test_it_measures_on_a_device_where_it_is_not_installed(plugins, workload, elsewhere):
    far = HardwareProfile(name="far", runtime="toy", target="ssh:device", python=sys.executable, measure=QUICK)
    assert machine_of(far) == describe_machine()
    timing = measure([workload], far, IMAGES, Effort(1, 3, thorough=True))["a"]
    assert (timing.versions, timing.disagreement) == ("toy 7.7", "")


def test_an_exit_rule_of_another_package_is_in_the_agent(plugins, tmp_path):
    """Alone in an empty folder, with nothing but the agent's file to find it in."""
    (tmp_path / "agent.pyz").write_bytes(agent_file())
    code = """
import sys
sys.path.insert(0, "agent.pyz")
import numpy as np
from erde_nas.device.exit_rules import exit_rule
print(*exit_rule("toy-margin").score([np.array([[0.0, 0.0, -50.0], [9.0, -9.0, -9.0]], np.float32)]).round(3))
"""
    words = [sys.executable, "-I", "-c", code]
    done = subprocess.run(words, cwd=tmp_path, env={}, capture_output=True, text=True, check=True)
    assert np.array_equal([float(word) for word in done.stdout.split()], [1, 0])

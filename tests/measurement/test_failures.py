"""Measuring many files of which some fail: a fake measuring that fails as a runtime does, for every file in a job."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from erde_nas.errors import DeviceLost, RuntimeRefused, UserError
from erde_nas.measurement import failures as module
from erde_nas.measurement.failures import LeftOut, leaving_out, measure_each
from erde_nas.measurement.latency import Effort, Workload
from erde_nas.onnx_files.deployable import DeployableFile
from erde_nas.recipe.profile import HardwareProfile, load_profile

IMAGES = np.zeros((1, 1, 8, 8), np.uint8)
EFFORT = Effort(3, 5, interval=0.02, allowance_s=60.0, thorough=True)


@dataclass
class Machine:
    """Fails with the error of the first file that has one, as one process for all does; notes what it was asked."""

    errors: dict[str, Exception]
    asked: list[tuple[list[str], Effort]]

    def measure(self, files, profile, images, effort, progress=None):
        self.asked.append(([file.key for file in files], effort))
        for file in files:
            if file.key in self.errors:
                raise self.errors[file.key]
        return {file.key: f"timing of {file.key}" for file in files}


@pytest.fixture
def profile(tiny) -> HardwareProfile:
    return load_profile(tiny.profile)


def run(monkeypatch, profile, names, errors):
    machine, left = Machine(errors, []), LeftOut()
    monkeypatch.setattr(module, "measure", machine.measure)
    files = [Workload(name, DeployableFile(Path(name)), 1) for name in names]
    return measure_each(files, profile, IMAGES, EFFORT, left), left, machine


def test_where_nothing_fails_nothing_is_measured_twice(monkeypatch, profile):
    timings, left, machine = run(monkeypatch, profile, "abc", {})
    assert (timings, left) == ({key: f"timing of {key}" for key in "abc"}, {})
    assert machine.asked == [(["a", "b", "c"], EFFORT)]


@pytest.mark.parametrize("bad", ["b", "ac"])
def test_the_failing_are_left_out_and_the_others_are_measured_together(bad, monkeypatch, profile):
    errors = {"a": MemoryError(), "b": RuntimeError("no kernel\nmore"), "c": RuntimeRefused("it refuses")}
    timings, left, machine = run(monkeypatch, profile, "abcd", {key: errors[key] for key in bad})
    good = [key for key in "abcd" if key not in bad]
    assert timings == {key: f"timing of {key}" for key in good}
    said = {"a": "quick: MemoryError", "b": "quick: RuntimeError: no kernel", "c": "quick: it refuses"}
    assert left == {key: said[key] for key in bad}
    assert machine.asked[-1] == (good, EFFORT)
    assert all(effort.processes == effort.blocks == 1 for _, effort in machine.asked[1:-1])


def test_where_every_file_fails_the_runtime_is_to_blame(monkeypatch, profile):
    with pytest.raises(RuntimeRefused, match=r"^ValueError: broken$"):
        run(monkeypatch, profile, "ab", dict.fromkeys("ab", ValueError("broken")))
    with pytest.raises(UserError, match=r"^not here$"):
        run(monkeypatch, profile, "a", {"a": UserError("not here")})


def test_a_lost_device_is_no_files_fault(monkeypatch, profile):
    with pytest.raises(DeviceLost, match="cut"):
        run(monkeypatch, profile, "ab", {"b": DeviceLost("cut")})
    with pytest.raises(DeviceLost), leaving_out(left := LeftOut(), "a"):
        raise DeviceLost("cut")
    with pytest.raises(KeyboardInterrupt), leaving_out(left, "a"):
        raise KeyboardInterrupt
    assert left == {}

"""Machines: what is read from them, which profiles they may answer for, and the profile made for them."""

import dataclasses
import os
import platform
import subprocess
import sys

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from erde_nas.device import machine as probe
from erde_nas.device.machine import FEATURES
from erde_nas.measurement.detect import Machine, describe_machine, detect_profile, mismatch
from erde_nas.recipe.profile import HardwareProfile, MatchSection, load_profile

SERVER = Machine(
    system="Linux 6.1",
    architecture="x86_64",
    cpu="Intel(R) Xeon(R) Gold 6430 CPU @ 2.10GHz",
    usable_cores=4,
    physical_cores=2,
    memory_bytes=2**34,
    features=("avx2", "avx512_vnni"),
    accelerators=("NVIDIA H200",),
    runtimes=(("onnxruntime-gpu", "1.20.0"),),
    providers=("CUDAExecutionProvider", "CPUExecutionProvider"),
)
CPUINFO_X86 = """processor\t: 0
model name\t: AMD EPYC 9354
flags\t\t: fpu avx2 avx512f avx512_vnni avx512_bf16

processor\t: 1
model name\t: another
"""
CPUINFO_ARM = """processor\t: 0
Features\t: fp asimd evtstrm crc32 asimddp
CPU implementer\t: 0x41
CPU part\t: 0xd0b

Hardware\t: BCM2712
"""


@pytest.fixture
def fake(monkeypatch):
    """Replace files and commands of the machine; what is not named is absent."""

    def install(files: dict[str, str], commands: dict[str, str]) -> Machine:
        monkeypatch.setattr(probe, "_read", lambda path: files.get(str(path), ""))
        monkeypatch.setattr(probe, "_output", lambda *command: commands.get(" ".join(command), ""))
        return describe_machine()

    return install


def test_this_machine_agrees_with_the_standard_library():
    machine = describe_machine()
    assert machine.architecture == platform.machine()
    assert machine.cpu
    assert 1 <= machine.usable_cores <= os.cpu_count()
    assert machine.physical_cores is None or machine.physical_cores <= machine.usable_cores
    assert set(machine.features) <= set(FEATURES)
    assert "CPUExecutionProvider" in machine.providers


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="the system has no CPU affinity")
def test_usable_cores_follow_the_affinity():
    code = (
        "import os; os.sched_setaffinity(0, {min(os.sched_getaffinity(0))});"
        "from erde_nas.device.machine import describe_machine; print(describe_machine().usable_cores)"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "1\n"


def test_detecting_imports_no_torch():
    detect = "from erde_nas.measurement.detect import describe_machine; describe_machine()"
    code = f"import sys; {detect}; print('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "False\n"


def test_x86_is_read_from_cpuinfo(fake):
    machine = fake({"/proc/cpuinfo": CPUINFO_X86}, {})
    assert machine.cpu == "AMD EPYC 9354"
    assert machine.features == ("avx2", "avx512f", "avx512_bf16", "avx512_vnni")
    assert machine.accelerators == ()


def test_an_arm_board_is_named_by_core_and_board(fake):
    board = {"/proc/cpuinfo": CPUINFO_ARM, "/proc/device-tree/model": "Raspberry Pi 5 Model B\0"}
    lscpu = {"lscpu": "Architecture: aarch64\nModel name: Cortex-A76\n"}
    assert fake(board, lscpu).cpu == "Cortex-A76 (Raspberry Pi 5 Model B)"
    assert fake({"/proc/cpuinfo": CPUINFO_ARM}, {}).cpu == "BCM2712"
    assert fake(board, lscpu).features == ("asimd", "asimddp")


def test_macos_is_read_from_sysctl(fake):
    sysctl = {
        "machdep.cpu.brand_string": "Apple M2",
        "hw.optional.neon": "1",
        "hw.optional.arm.FEAT_DotProd": "1",
        "hw.optional.arm.FEAT_I8MM": "0",
        "hw.physicalcpu": "8",
    }
    machine = fake({}, {f"sysctl -n {key}": value for key, value in sysctl.items()})
    assert (machine.cpu, machine.features, machine.physical_cores) == ("Apple M2", ("neon", "asimddp"), 8)


def test_accelerators_come_from_nvidia_smi(fake):
    machine = fake({}, {"nvidia-smi --query-gpu=name --format=csv,noheader": "NVIDIA H200\nTesla T4"})
    assert machine.accelerators == ("NVIDIA H200", "Tesla T4")


def test_siblings_count_as_one_physical_core(fake, monkeypatch):
    monkeypatch.setattr(probe, "usable_cores", lambda: [0, 1, 2])
    topology = "/sys/devices/system/cpu/cpu{}/topology/thread_siblings_list"
    machine = fake({topology.format(cpu): siblings for cpu, siblings in enumerate(["0,2\n", "1,3\n", "0,2\n"])}, {})
    assert (machine.usable_cores, machine.physical_cores) == (3, 2)


def test_a_command_that_is_absent_or_fails_prints_nothing():
    assert probe._output("no-such-command-here") == ""
    assert probe._output(sys.executable, "-c", "print('x'); raise SystemExit(1)") == ""


def test_a_fitting_machine_may_answer():
    match = MatchSection(architecture=("aarch64", "AMD64"), cpu="xeon(r) gold", accelerator="h200")
    assert mismatch(HardwareProfile(name="p", device="cuda", threads=4, match=match), SERVER) is None
    assert mismatch(HardwareProfile(name="p"), SERVER) is None


@pytest.mark.parametrize(
    ("profile", "machine", "message"),
    [
        ({"match": {"architecture": ("aarch64",)}}, {}, "architecture aarch64, this machine is x86_64"),
        ({"match": {"cpu": "EPYC"}}, {}, "a CPU named 'EPYC', this one is 'Intel(R) Xeon(R) Gold 6430"),
        ({"match": {"accelerator": "A100"}}, {}, "an accelerator named 'A100', here: NVIDIA H200"),
        ({"match": {"accelerator": "A100"}}, {"accelerators": ()}, "named 'A100', here: none"),
        ({"device": "cuda"}, {"accelerators": ()}, "needs a CUDA device, nvidia-smi lists none"),
        (
            {"device": "cuda"},
            {"providers": ("CPUExecutionProvider",)},
            "CUDAExecutionProvider, here: CPUExecutionProvider; pip install 'onnxruntime-gpu' instead",
        ),
        ({}, {"providers": ()}, "needs onnxruntime, which cannot be imported here"),
        ({"threads": 5}, {}, "needs 5 threads, this process may use 4 core(s)"),
    ],
)
def test_a_machine_that_does_not_fit_says_why(profile, machine, message):
    match = MatchSection(**profile.pop("match", {}))
    reason = mismatch(HardwareProfile(name="mine", match=match, **profile), dataclasses.replace(SERVER, **machine))
    assert reason is not None
    assert reason.startswith("profile 'mine': it ")
    assert message in reason


def test_all_reasons_come_together():
    profile = HardwareProfile(name="p", threads=9, match=MatchSection(cpu="EPYC", architecture=("riscv64",)))
    reason = mismatch(profile, SERVER)
    assert reason is not None
    assert reason.count("; ") == 2


@pytest.mark.parametrize(
    ("features", "precision"),
    [
        (("avx512_vnni",), "int8"),
        (("avx_vnni",), "int8"),
        (("asimd", "asimddp"), "int8"),
        (("avx2",), "fp32"),
        ((), "fp32"),
    ],
)
def test_the_profile_takes_int8_where_the_cpu_multiplies_it(tmp_path, features, precision):
    path = tmp_path / "profile.yaml"
    path.write_text(detect_profile(dataclasses.replace(SERVER, features=features)))
    profile = load_profile(path)
    assert profile.precision == precision
    assert profile.name == "intel-xeon-gold-6430-1thread" + ("-int8" if precision == "int8" else "")
    assert (profile.threads, profile.match.cpu) == (1, SERVER.cpu)


@pytest.mark.parametrize(("architecture", "runtime"), [("AMD64", "openvino"), ("aarch64", "onnxruntime")])
def test_the_profile_takes_openvino_where_it_is_installed_on_x86(tmp_path, architecture, runtime):
    machine = dataclasses.replace(SERVER, architecture=architecture, runtimes=(("openvino", "2026.4"),))
    path = tmp_path / "profile.yaml"
    path.write_text(detect_profile(machine))
    profile = load_profile(path)
    assert profile.runtime == runtime
    assert ("openvino" in profile.name) is (runtime == "openvino")
    assert mismatch(profile, machine) is None
    assert "# Runtimes: openvino 2026.4." in path.read_text()
    assert "# Memory: 16 GiB." in path.read_text()


@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(
    cpu=st.text(min_size=1, max_size=30),
    accelerator=st.text(max_size=10),
    architecture=st.sampled_from(["x86_64", "é"]),
)
def test_the_profile_of_any_machine_loads_and_matches_it(tmp_path, fake, cpu, accelerator, architecture):
    printable = {"cpu": probe._printable(cpu), "accelerators": (probe._printable(accelerator),)}
    machine = dataclasses.replace(SERVER, architecture=architecture, **printable)
    path = tmp_path / "profile.yaml"
    path.write_text(detect_profile(machine), encoding="utf-8")
    profile = load_profile(path)
    assert profile.name
    assert mismatch(profile, machine) is None


def test_the_profile_of_this_machine_matches_it(tmp_path):
    machine = describe_machine()
    path = tmp_path / "profile.yaml"
    path.write_text(detect_profile(machine), encoding="utf-8")
    assert mismatch(load_profile(path), machine) is None


def test_int8_is_refused_where_the_runtime_would_not_calculate_in_it():
    on_gpu = HardwareProfile(name="gpu", device="cuda", precision="int8")
    assert "onnxruntime calculates int8 files in floats on cuda; use precision: fp32" in mismatch(on_gpu, SERVER)
    assert mismatch(HardwareProfile(name="cpu", precision="int8"), SERVER) is None


@pytest.mark.parametrize(
    ("profile", "runtimes", "message"),
    [
        ({"runtime": "openvino"}, (), "needs openvino, which is not installed here: pip install 'erde-nas[openvino]'"),
        ({"runtime": "executorch"}, (), "pip install 'erde-nas[executorch]'"),
        ({"runtime": "torch-compile"}, (), "needs torch, which is not installed here: pip install 'torch'"),
        ({"provider": "XnnpackExecutionProvider"}, (), "XnnpackExecutionProvider, here: CUDAExecutionProvider, CPU"),
        ({"runtime": "openvino", "precision": "bf16"}, (("openvino", "1"),), "calculate in fp32 on this CPU"),
    ],
)
def test_what_a_runtime_lacks_is_said(profile, runtimes, message):
    machine = dataclasses.replace(SERVER, runtimes=runtimes)
    reason = mismatch(HardwareProfile(name="p", **profile), machine)
    assert reason is not None
    assert message in reason


def test_runtimes_that_are_there_may_answer():
    machine = dataclasses.replace(SERVER, runtimes=(("openvino", "1"), ("torch", "2")), features=("amx_bf16",))
    for settings_ in ({"runtime": "openvino", "precision": "bf16"}, {"runtime": "torch", "device": "cuda"}):
        assert mismatch(HardwareProfile(name="p", **settings_), machine) is None
    assert mismatch(HardwareProfile(name="p", provider="CUDAExecutionProvider"), SERVER) is None


@pytest.mark.parametrize("features", [("avx2",), ("avx2", "avx512_vnni"), ("asimd", "asimddp"), ()])
@pytest.mark.parametrize("architecture", ["x86_64", "aarch64"])
@pytest.mark.parametrize("openvino", [False, True])
def test_the_runtime_follows_from_the_precision_that_is_written(tmp_path, features, architecture, openvino):
    """OpenVINO for int8 on x86, and never with a reason that the profile does not keep."""
    runtimes = (("openvino", "2026.4"),) if openvino else ()
    machine = dataclasses.replace(SERVER, architecture=architecture, runtimes=runtimes, features=features)
    path = tmp_path / "profile.yaml"
    path.write_text(detect_profile(machine))
    profile = load_profile(path)
    wanted = openvino and architecture == "x86_64" and profile.precision == "int8"
    assert profile.runtime == ("openvino" if wanted else "onnxruntime")
    (line,) = (line for line in path.read_text().splitlines() if line.startswith("runtime:"))
    assert ("int8" in line) <= (profile.precision == "int8")


def test_energy_is_no_objective_where_the_hardware_counts_none(monkeypatch: pytest.MonkeyPatch) -> None:
    profile = HardwareProfile.model_validate({"name": "p", "objective": "energy"})
    monkeypatch.setattr("erde_nas.measurement.detect.energy_counter", lambda device: None)
    assert "objective energy needs RAPL" in (mismatch(profile, SERVER) or "")
    monkeypatch.setattr("erde_nas.measurement.detect.energy_counter", lambda device: lambda: 1.0)
    assert mismatch(profile, SERVER) is None

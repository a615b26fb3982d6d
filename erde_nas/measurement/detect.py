"""Which hardware profiles this machine may answer for, and a profile made for it."""

import json
import re

from erde_nas.device.agent.energy import energy_counter
from erde_nas.device.instructions import FAST_INT8, canonical
from erde_nas.device.machine import Machine, describe_machine
from erde_nas.device.runtimes import runtime, unfit
from erde_nas.device.runtimes.interface import Setting
from erde_nas.recipe.profile import HardwareProfile

__all__ = ["Machine", "describe_machine", "detect_profile", "mismatch"]


def mismatch(profile: HardwareProfile, machine: Machine) -> str | None:
    """Why `machine` may not answer for `profile`, all reasons in one line; None if it may."""
    match, reasons = profile.match, []
    if match.architecture is not None and canonical(machine.architecture) not in map(canonical, match.architecture):
        wanted = " or ".join(match.architecture)
        reasons.append(f"it is for architecture {wanted}, this machine is {machine.architecture}")
    if match.cpu is not None and match.cpu.casefold() not in machine.cpu.casefold():
        reasons.append(f"it is for a CPU named '{match.cpu}', this one is '{machine.cpu}'")
    if match.accelerator is not None and not any(
        match.accelerator.casefold() in name.casefold() for name in machine.accelerators
    ):
        here = ", ".join(machine.accelerators) or "none"
        reasons.append(f"it is for an accelerator named '{match.accelerator}', here: {here}")
    if profile.device == "cuda":
        reasons += _missing_for_cuda(profile, machine)
    reasons += _missing_runtime(profile, machine)
    if profile.objective == "energy" and not profile.elsewhere and energy_counter(profile.device) is None:
        counter = "NVML" if profile.device == "cuda" else "RAPL"
        reasons.append(f"objective energy needs {counter}, which gives nothing here (often root alone may read it)")
    if not reasons and (why := unfit(profile.runtime, Setting(profile.device, precision=profile.precision), machine)):
        reasons.append(why)
    if profile.threads > machine.usable_cores:
        reasons.append(f"it needs {profile.threads} threads, this process may use {machine.usable_cores} core(s)")
    return f"profile '{profile.name}': " + "; ".join(reasons) if reasons else None


def detect_profile(machine: Machine) -> str:
    """A commented profile for `machine` on one CPU thread, as YAML that `load_profile` reads and `mismatch` accepts."""
    precision, why = _precision(machine)
    used, reason = _runtime(machine, precision)
    cpu = re.sub(r"\((r|tm|c)\)|\bcpu\b|@.*", " ", machine.cpu.casefold())
    slug = _slug(cpu) or _slug(canonical(machine.architecture)) or "this-machine"
    accelerators = "".join(
        f"# It also has {name}: copy the profile 'cuda' to measure there.\n" for name in machine.accelerators
    )
    return f"""\
# A profile of this machine: {machine.system}, {machine.usable_cores} usable core(s).
# Instructions: {" ".join(machine.features) or "unknown"}.
# Memory: {f"{machine.memory_bytes / 2**30:.0f} GiB" if machine.memory_bytes else "unknown"}.
# Runtimes: {", ".join(f"{name} {version}" for name, version in machine.runtimes) or "none"}.
{accelerators}name: {slug}{"" if used == "onnxruntime" else f"-{used}"}-1thread{"-int8" if precision == "int8" else ""}
runtime: {used}  # {reason}
device: cpu
threads: 1  # the steadiest number; raise it if the device will serve one image with several cores
precision: {precision}  # {why}
batch_size: 1  # images a call; 1 is one image as it arrives
match:  # only such a machine may give numbers under this name
  architecture: [{json.dumps(machine.architecture, ensure_ascii=False)}]
  cpu: {json.dumps(machine.cpu, ensure_ascii=False)}
# limits:  # a student beyond one of these is not offered
#   latency_ms: 5.0
#   size_bytes: 1_000_000
"""


def _slug(text: str) -> str:
    return re.sub(r"[^a-z0-9]+", "-", text.casefold()).strip("-")


def _runtime(machine: Machine, precision: str) -> tuple[str, str]:
    """The runtime for files of that precision, and why."""
    if precision != "int8" or canonical(machine.architecture) != "x86_64":
        return "onnxruntime", "runs everywhere"
    if "openvino" in dict(machine.runtimes):
        return "openvino", "installed, and the faster one for int8 on x86; onnxruntime runs the same files"
    return "onnxruntime", "runs everywhere; with erde-nas[openvino] installed this CPU runs int8 faster"


def _precision(machine: Machine) -> tuple[str, str]:
    found = [name for name in FAST_INT8 if name in machine.features]
    if found:
        return "int8", f"this CPU multiplies 8-bit numbers in hardware ({', '.join(found)}); fp32 to compare"
    return "fp32", "no 8-bit dot products were found on this CPU, so that int8 may be slower"


def _missing_runtime(profile: HardwareProfile, machine: Machine) -> list[str]:
    """What the profile's runtime lacks on the machine."""
    used, where = runtime(profile.runtime), _where(profile)
    if profile.runtime == "onnxruntime":
        known = ", ".join(machine.providers) or "none"
        if profile.provider is not None and profile.provider not in machine.providers:
            return [f"it needs ONNX Runtime's {profile.provider}, {where}: {known}"]
        if profile.device == "cpu" and "CPUExecutionProvider" not in machine.providers:
            return [f"it needs onnxruntime, which cannot be imported {where}: {_install(profile, 'onnxruntime')}"]
        return []
    if used.PACKAGE in dict(machine.runtimes):
        return []
    package = f"erde-nas[{used.EXTRA}]" if used.EXTRA and not profile.elsewhere else used.PACKAGE
    return [f"it needs {used.PACKAGE}, which is not installed {where}: {_install(profile, package)}"]


def _where(profile: HardwareProfile) -> str:
    """Where the runtime is looked for; a device elsewhere may have several Pythons."""
    return f"for {profile.python} there" if profile.elsewhere else "here"


def _install(profile: HardwareProfile, package: str) -> str:
    """The command that installs a package where the profile measures."""
    return f"`{profile.python} -m pip install {package}` there" if profile.elsewhere else f"pip install '{package}'"


def _missing_for_cuda(profile: HardwareProfile, machine: Machine) -> list[str]:
    reasons = []
    if not machine.accelerators:
        reasons.append("it needs a CUDA device, nvidia-smi lists none")
    if profile.runtime == "onnxruntime" and "CUDAExecutionProvider" not in machine.providers:
        known, where = ", ".join(machine.providers) or "none", _where(profile)
        step = f"{_install(profile, 'onnxruntime-gpu')} instead of onnxruntime"
        reasons.append(f"it needs ONNX Runtime's CUDAExecutionProvider, {where}: {known}; {step}")
    return reasons

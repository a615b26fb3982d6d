"""This machine: its processor, accelerators and runtimes.

Linux is read from /proc and /sys, macOS from sysctl, accelerators from nvidia-smi. Whatever cannot be found out is
empty or None; nothing here fails on a strange machine and nothing imports torch.
"""

import os
import platform
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from erde_nas.device.instructions import ThisCpu
from erde_nas.registry import RUNTIMES

FEATURES = (
    *("avx2", "avx512f", "avx512_bf16", "avx_vnni", "avx512_vnni", "amx_tile", "amx_bf16", "amx_int8"),
    *("neon", "asimd", "asimddp", "i8mm", "bf16", "sve"),
)
OTHER_BUILDS = {"onnxruntime": ("onnxruntime-gpu",)}  # packages that bring the same module


@dataclass(frozen=True)
class Machine:
    """What matters for latency. `usable_cores` are the logical cores that this process may run on."""

    system: str
    architecture: str
    cpu: str
    usable_cores: int
    physical_cores: int | None  # behind the usable ones
    memory_bytes: int | None
    features: tuple[str, ...]  # of FEATURES, in that order
    accelerators: tuple[str, ...]
    runtimes: tuple[tuple[str, str], ...]  # (package, version)
    providers: tuple[str, ...]  # ONNX Runtime's execution providers


def describe_machine() -> Machine:
    """Look at the machine that this runs on."""
    architecture = platform.machine() or "unknown"
    cpuinfo = _cpuinfo()
    accelerators = _output("nvidia-smi", "--query-gpu=name", "--format=csv,noheader").splitlines()
    usable = usable_cores()
    return Machine(
        system=f"{platform.system()} {platform.release()}",
        architecture=architecture,
        cpu=cpu_name(),
        usable_cores=len(usable),
        physical_cores=_physical_cores(usable),
        memory_bytes=_memory_bytes(),
        features=_features(cpuinfo),
        accelerators=tuple(map(_printable, accelerators)),
        runtimes=tuple((name, found) for name in runtime_packages() if (found := _version(name))),
        providers=_providers(),
    )


def runtime_packages() -> list[str]:
    """The packages that runtimes need, each once."""
    from erde_nas.device.runtimes import runtime  # needs numpy, which is not here for sure

    needed = [runtime(name).PACKAGE for name in RUNTIMES]
    return list(dict.fromkeys(build for name in needed for build in (name, *OTHER_BUILDS.get(name, ()))))


def cpu_features() -> tuple[str, ...]:
    """The instructions of FEATURES that this machine's CPU has."""
    return _features(_cpuinfo())


def this_cpu() -> ThisCpu:
    """What the system says of the CPU that this runs on."""
    return ThisCpu(platform.machine(), cpu_features())


def cpu_name() -> str:
    """This machine's CPU, as `describe_machine` names it."""
    return _printable(_cpu_name(_cpuinfo()) or platform.processor() or platform.machine())


def _cpuinfo() -> dict[str, str]:
    return _parse_cpuinfo(_read(Path("/proc/cpuinfo")))


def _parse_cpuinfo(text: str) -> dict[str, str]:
    """The first value of every key of /proc/cpuinfo, keys in lower case."""
    pairs = [line.split(":", 1) for line in text.splitlines() if ":" in line]
    return {key.strip().lower(): value.strip() for key, value in reversed(pairs)}


def _cpu_name(cpuinfo: Mapping[str, str]) -> str:
    """The CPU's model; on ARM boards, whose /proc/cpuinfo lacks it, the core with the board in brackets."""
    if name := cpuinfo.get("model name") or _output("sysctl", "-n", "machdep.cpu.brand_string"):
        return name
    core = _parse_cpuinfo(_output("lscpu")).get("model name", "").strip("-")
    board = _read(Path("/proc/device-tree/model")).strip("\0\n") or cpuinfo.get("hardware", "")
    return f"{core} ({board})" if core and board else core or board


def _features(cpuinfo: Mapping[str, str]) -> tuple[str, ...]:
    flags = cpuinfo.get("flags") or cpuinfo.get("features") or _output("sysctl", "-n", "machdep.cpu.leaf7_features")
    present = set(flags.lower().split())
    apple = {"hw.optional.neon": "neon", "hw.optional.arm.FEAT_DotProd": "asimddp", "hw.optional.arm.FEAT_I8MM": "i8mm"}
    present |= {ours for theirs, ours in apple.items() if not flags and _output("sysctl", "-n", theirs) == "1"}
    return tuple(name for name in FEATURES if name in present)


def usable_cores() -> list[int]:
    """The numbers of the logical cores that this process may run on."""
    if hasattr(os, "sched_getaffinity"):
        return sorted(os.sched_getaffinity(0))
    return list(range(os.cpu_count() or 1))


def _physical_cores(cpus: list[int]) -> int | None:
    siblings = {_read(Path(f"/sys/devices/system/cpu/cpu{cpu}/topology/thread_siblings_list")) for cpu in cpus}
    if "" not in siblings:
        return len(siblings)
    count = _output("sysctl", "-n", "hw.physicalcpu")
    return int(count) if count.isdecimal() else None


def _memory_bytes() -> int | None:
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, ValueError, OSError):  # Windows has no sysconf
        return None


def _providers() -> tuple[str, ...]:
    try:
        from onnxruntime import get_available_providers
    except ImportError:
        return ()
    return tuple(get_available_providers())


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def _printable(text: str) -> str:
    """Firmware may put control characters into names, YAML may not hold them."""
    return "".join(c for c in text if c.isprintable())


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""


def _output(*command: str) -> str:
    """What `command` prints, stripped; nothing if it is absent, fails or takes long."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=20, check=True, errors="replace")
    except (OSError, subprocess.SubprocessError):
        return ""
    return done.stdout.strip()

"""`erde-nas doctor`: what is installed, which devices there are, and what to do about what is missing."""

import os
import platform
import shutil
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, requires, version
from pathlib import Path
from typing import Literal

from packaging.requirements import Requirement
from tabulate import tabulate

from erde_nas.cache import cache_dir
from erde_nas.data.fetch import list_datasets
from erde_nas.device.instructions import BF16, has
from erde_nas.device.machine import OTHER_BUILDS, Machine, describe_machine
from erde_nas.device.runtimes import runtime
from erde_nas.registry import REGISTRIES, RUNTIMES, SEARCHERS

PACKAGE = "erde-nas"
ENOUGH_DISK_BYTES = 5 * 2**30  # a data set as archive and unpacked, the teacher's logits, the students of a search

Status = Literal["ok", "warning", "missing"]


@dataclass(frozen=True)
class Check:
    """One finding. `advice` is empty when there is nothing to do."""

    name: str
    status: Status
    detail: str
    advice: str = ""


def diagnose() -> list[Check]:
    """Look at everything that a search needs. Never raises on what is missing: that is a finding."""
    machine = describe_machine()
    return [
        Check("python", "ok", f"{platform.python_version()} ({sys.executable})"),
        *_dependencies(),
        _torch(machine),
        _onnxruntime(machine),
        *_runtimes(machine),
        _nni(),
        *_plugins(),
        *_disk(),
        _cores(machine),
        _datasets(),
    ]


def render(checks: list[Check]) -> str:
    """The findings as a table, then a line that counts what needs attention."""
    rows = [(check.status, check.name, check.detail, check.advice) for check in checks]
    table = tabulate(rows, headers=("status", "check", "found", "what to do"), maxcolwidths=[None, None, 50, 50])
    missing, warnings = (sum(check.status == status for check in checks) for status in ("missing", "warning"))
    return f"{table}\n\n{len(checks)} checks: {missing} missing, {warnings} warnings"


def _dependencies() -> Iterator[Check]:
    """One check per declared dependency, extras excepted."""
    try:
        declared = [Requirement(text) for text in requires(PACKAGE) or ()]
    except PackageNotFoundError:
        yield Check(PACKAGE, "warning", "a source tree that was never installed", "pip install -c constraints.txt -e .")
        return
    for requirement in sorted(declared, key=lambda r: r.name):
        if requirement.marker is None or requirement.marker.evaluate({"extra": ""}):
            yield _dependency(requirement)


def _dependency(requirement: Requirement) -> Check:
    for name in (requirement.name, *OTHER_BUILDS.get(requirement.name, ())):
        try:
            found = version(name)
        except PackageNotFoundError:
            continue
        if requirement.specifier.contains(found, prereleases=True):
            return Check(name, "ok", found)
        return Check(name, "warning", f"{found}, tested with {requirement.specifier}", f"pip install '{requirement}'")
    return Check(requirement.name, "missing", "not installed", f"pip install '{requirement}'")


def _torch(machine: Machine) -> Check:
    try:
        import torch
    except (ImportError, OSError) as error:  # OSError: a shared library of a broken CUDA installation
        return Check("torch devices", "missing", str(error), "reinstall torch for this machine")
    if torch.cuda.is_available():
        names = [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())]
        bf16 = "with bf16" if torch.cuda.is_bf16_supported(including_emulation=False) else "without bf16"
        return Check("torch devices", "ok", f"CUDA {torch.version.cuda}: {', '.join(names)} ({bf16})")
    bf16 = "bf16 in hardware" if has(BF16, machine.features) else "no bf16 in hardware"
    detail = f"CPU ({torch.backends.cpu.get_cpu_capability()}, {bf16})"
    if machine.accelerators:
        detail = f"{detail}; torch {torch.__version__} cannot use {machine.accelerators[0]}"
        return Check("torch devices", "warning", detail, "to train on it, install a torch built for CUDA")
    return Check("torch devices", "ok", detail)


def _onnxruntime(machine: Machine) -> Check:
    name, providers = "onnxruntime providers", ", ".join(machine.providers)
    if not machine.providers:
        return Check(name, "missing", "onnxruntime cannot be imported", "pip install onnxruntime")
    if machine.accelerators and "CUDAExecutionProvider" not in machine.providers:
        advice = "to measure on the GPU, install onnxruntime-gpu instead of onnxruntime"
        return Check(name, "warning", f"{providers}; not for {machine.accelerators[0]}", advice)
    return Check(name, "ok", providers)


def _runtimes(machine: Machine) -> Iterator[Check]:
    """One check per optional runtime. An absent one is fine: a profile that wants it says so."""
    for name in RUNTIMES:
        used = runtime(name)
        if used.EXTRA:
            found = dict(machine.runtimes).get(used.PACKAGE)
            install = f"for profiles with this runtime: pip install '{PACKAGE}[{used.EXTRA}]'"
            precisions = f"{found} ({', '.join(used.PRECISIONS)})"
            yield Check(f"runtime {name}", "ok", precisions if found else "not installed", "" if found else install)


def _nni() -> Check:
    tuners = [name for name in SEARCHERS.built_in if name.startswith("nni-")]
    try:
        for name in tuners:
            SEARCHERS[name]
    except Exception as error:  # whatever its import raises, the finding is the same
        detail = f"{type(error).__name__}: {error}"
        return Check("nni tuners", "missing", detail, "pip install 'nni>=3.0', or use searcher: nsga2, tpe or random")
    return Check("nni tuners", "ok", ", ".join(tuners))


def _plugins() -> Iterator[Check]:
    """One check per name that another package adds, and one per plug-in that is left out."""
    for registry in REGISTRIES:
        for plugin in registry.plugins().values():
            if plugin.name in registry:
                yield Check(f"{registry.kind} {plugin.name}", "ok", plugin.package)
        for line in registry.left_out():
            yield Check(f"{registry.kind} left out", "warning", line, "update or remove that package")


def _disk() -> Iterator[Check]:
    """Whether the cache of data sets can be written, and the free space there and here."""
    cache = cache_dir()
    there = next(folder for folder in (cache.absolute(), *cache.absolute().parents) if folder.exists())
    writable = there.is_dir() and os.access(there, os.W_OK | os.X_OK)
    advice = "" if writable else "set ERDE_NAS_CACHE to a folder that you may write"
    yield Check("cache folder", "ok" if writable else "warning", str(cache), advice)
    for name, folder in (("disk of the cache", there), ("disk of this folder", Path.cwd())):
        free = shutil.disk_usage(folder).free
        enough = free >= ENOUGH_DISK_BYTES
        advice = "" if enough else f"make room: a search may need {ENOUGH_DISK_BYTES / 2**30:.0f} GiB"
        yield Check(name, "ok" if enough else "warning", f"{free / 2**30:.1f} GiB free", advice)


def _cores(machine: Machine) -> Check:
    here = os.cpu_count() or machine.usable_cores
    detail = f"{machine.usable_cores} of {here} logical cores usable; {machine.cpu}, {machine.architecture}"
    if machine.usable_cores < 2:
        return Check("cores", "warning", detail, "latencies spread on a single core: let nothing else run meanwhile")
    return Check("cores", "ok", detail)


def _datasets() -> Check:
    listings = list_datasets()
    here = "\n".join(f"{listing.name} ({listing.found})" for listing in listings if listing.found)
    absent = ", ".join(listing.name for listing in listings if not listing.found and listing.size_bytes)
    return Check("data sets", "ok", here, f"for {absent}: erde-nas data fetch NAME" if absent else "")

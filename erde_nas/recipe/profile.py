"""profiles/*.yaml -> HardwareProfile: what a latency is measured on, how, and what it may not exceed."""

import re
from functools import cached_property
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, field_validator, model_validator

from erde_nas.device.runtimes import runtime
from erde_nas.recipe.section import Positive, Section, one_of
from erde_nas.registry import RUNTIMES
from erde_nas.report_data.objectives import Objective

HERE = "here"


class MeasureSection(Section):
    """Measuring effort. A process alternates blocks of calls of the model and of a reference model."""

    warmup_calls: Annotated[int, Field(ge=1, le=10**6)] = 30
    """Calls before anything is timed."""
    calls_per_block: Annotated[int, Field(ge=5, le=10**6)] = 10
    """Calls timed in a row, before the reference model has its turn."""
    blocks: Annotated[int, Field(ge=3, le=10**6)] = 10
    """Such blocks in one process."""
    processes: Positive = 6
    """Fresh processes behind a number of the report, at least. The search uses one."""
    stream_images: Annotated[int, Field(ge=1, le=10**6)] = 256
    """Validation images in their natural mix, for mean, p50, p95 and p99."""
    interval: Annotated[float, Field(gt=0, lt=1)] = 0.02
    """Processes are added until the 95 % intervals are within this share of their medians."""
    allowance_s: Annotated[float, Field(ge=0, le=1e6)] = 30
    """Seconds for these additional processes. After them a number is marked as noisy."""
    timeout_s: Annotated[int, Field(ge=1, le=10**6)] = 300
    """Seconds for one file in one process, at most."""


class LimitsSection(Section):
    """A student beyond one of these is not offered."""

    latency_ms: Annotated[float, Field(gt=0)] | None = None
    """Milliseconds of an image, mean over the stream, at most."""
    macs: Annotated[float, Field(gt=0)] | None = None
    """Multiply-adds of an image, expected over the exits, at most."""
    params: Positive | None = None
    """Weights, at most."""
    size_bytes: Positive | None = None
    """Of the file, at most."""


class MatchSection(Section):
    """Which machine may answer for this profile. An absent key matches every machine."""

    architecture: tuple[str, ...] | None = None
    """One of these, as Python's `platform.machine()` says it: `x86_64`, `aarch64`."""
    cpu: str | None = None
    """A text that the CPU's model name holds. `erde-nas doctor` shows the name."""
    accelerator: str | None = None
    """A text that the accelerator's name holds."""


class HardwareProfile(Section):
    """A device, a runtime and a way to measure."""

    later = ("objective", "screen")
    name: str
    """Stands beside every number that is measured under this profile."""
    description: str = ""
    """Shown by `erde-nas profiles list`."""
    target: str = HERE
    """This machine (`here`), or `ssh:HOST` with a host as ssh knows it."""
    python: Annotated[str, Field(min_length=1)] = "python3"
    """Python of a device elsewhere. For this machine it means nothing."""
    runtime: Annotated[str, one_of(RUNTIMES)] = "onnxruntime"
    """What runs the student."""
    device: Literal["cpu", "cuda"] = "cpu"
    """Where the runtime runs it."""
    provider: str | None = None
    """One of ONNX Runtime's, where it is not that of the device."""
    threads: Annotated[int, Field(ge=1, le=4096)] = 1
    """Of the runtime. One gives the steadiest numbers."""
    precision: Literal["fp32", "bf16", "int8"] = "fp32"
    """`int8`: quantized students are made, and the faster file is offered."""
    batch_size: Annotated[int, Field(ge=1, le=65_536)] = 1
    """Images of a call."""
    objective: Objective = "mean"
    """The cost by which students are judged, over the stream of images."""
    channel_multiple: Annotated[int, Field(ge=1, le=4096)] = 8
    """Pruned layers keep multiples of this. Some kernels run best with 16 or 32."""
    screen: bool = True
    """What a brief measurement shows to be dominated is not measured in full."""
    measure: MeasureSection = MeasureSection()
    """How much is measured."""
    limits: LimitsSection = LimitsSection()
    """What a student may cost."""
    match: MatchSection = MatchSection()
    """Which machine may give numbers under this name."""

    @field_validator("name")
    @classmethod
    def _usable_as_key(cls, name: str) -> str:
        """The name becomes a file's and stands beside the cost `macs` in reports."""
        if name == "macs" or not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]*", name):
            raise ValueError(
                f"a profile's name must be letters, digits, '.', '_' and '-', and not macs, but got '{name}'"
            )
        return name

    @model_validator(mode="after")
    def _possible(self) -> "HardwareProfile":
        """What the runtime cannot do at all, on whatever machine."""
        used = runtime(self.runtime)
        if self.precision not in used.PRECISIONS:
            can = ", ".join(used.PRECISIONS)
            raise ValueError(f"the runtime {self.runtime} runs {can}, but got precision: {self.precision}")
        if self.device not in used.DEVICES:
            raise ValueError(f"the runtime {self.runtime} runs on {', '.join(used.DEVICES)}, but got {self.device}")
        if self.provider is not None and self.runtime != "onnxruntime":
            raise ValueError(f"provider is for the runtime onnxruntime, but got {self.provider} for {self.runtime}")
        return self

    @field_validator("target")
    @classmethod
    def _reachable(cls, target: str) -> str:
        """A host that ssh could take for an option is none."""
        host = r"([A-Za-z0-9_][A-Za-z0-9_.-]*@)?[A-Za-z0-9_:\[][A-Za-z0-9_.:%\]-]*"
        if target != HERE and not re.fullmatch(f"ssh:{host}", target):
            raise ValueError(f"target must be {HERE} or ssh:HOST with a host as in ~/.ssh/config, but got '{target}'")
        return target

    @cached_property
    def setting(self) -> str:
        """All that decides how a file is timed. Made once: each candidate asks, and pydantic turns a Ctrl-C that comes
        while it writes into an error of its own."""
        return self.model_dump_json(
            include={"target", "python", "runtime", "device", "provider", "threads", "batch_size", "measure"}
        )

    @property
    def elsewhere(self) -> bool:
        """Whether it is measured on another machine."""
        return self.target != HERE

    @property
    def bytes_per_parameter(self) -> int:
        """Of the smallest file that the profile allows."""
        return 1 if self.precision == "int8" else 4


def load_profile(path: Path) -> HardwareProfile:
    """Read and check a profile file. Raises UserError that lists every problem with file, line and key."""
    from erde_nas.recipe.strict_yaml import load_strict

    return load_strict(path, HardwareProfile)

"""What a runtime does: prepare a deployable's files on this machine, and load and run them where they are measured.

A runtime is a module with the functions of `Runtime`. `prepare` may need PyTorch and onnx; `load` and what it returns
need numpy and the runtime alone, because they run on the device.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import numpy as np

from erde_nas.device.exit_rules import ExitRule, exit_rule
from erde_nas.device.runtimes.feed import Feed

if TYPE_CHECKING:
    from torch import Tensor, nn

ROUTE = "route"  # how the names of the nodes that decide, in a nested file, begin


@dataclass(frozen=True)
class Setting:
    """How a file is run. `precision` is that of the arithmetic: fp32, bf16 or int8; `exit_rule` decides where a
    runtime runs segments by themselves."""

    device: str = "cpu"
    threads: int = 1
    precision: str = "fp32"
    batch_size: int = 1
    provider: str | None = None  # of ONNX Runtime, where it is not that of the device
    exit_rule: str = "entropy"  # a name of registry.EXIT_RULES, with the parameters of a fitted one

    @property
    def rule(self) -> ExitRule:
        """The exit rule that it says."""
        return exit_rule(self.exit_rule)


class Deployable(Protocol):
    """A file to measure or ship, as a runtime prepares it: a nested ONNX file, and what it can be taken apart into.

    This is what runtimes rely on; `erde_nas.onnx_files.deployable` has it. `feed` is for a classifier of other makes,
    whose file is run as it is (see `erde_nas.device.runtimes.feed`).
    """

    @property
    def file(self) -> Path:
        """The nested ONNX file, or that of other makes."""

    @property
    def feed(self) -> Feed | None:
        """How a classifier of other makes is fed; None for a student."""

    def write_segments(self, folder: Path) -> Sequence[Path]:
        """One ONNX file per segment, with a free batch size, written into `folder`."""

    def modules(self, setting: Setting, runtime: str) -> "Sequence[tuple[nn.Module, Tensor | tuple[Tensor, ...]]]":
        """Copies of the segments in eval mode, logits first, each with an input of `batch_size` images.

        Those of a cascade's second network have an attribute `reads`: the names of their inputs, as in
        `erde_nas.device.runtimes.compaction.Segment`; where these are several, so are the inputs.
        Raises UserError, in the name of `runtime`, where only the file is known.
        """

    def place(self, folder: Path, shape: tuple[int, ...] | None = None) -> Sequence[Path]:
        """The file of other makes in `folder`, its external weights with it, and how it is fed.

        `shape` is written into the file as that of its input.
        """


def forced(number: int, exits: int) -> np.ndarray:
    """Thresholds (exits - 1,) with which every image leaves at exit `number`."""
    return np.array([np.inf if i == number else -1.0 for i in range(exits - 1)], np.float32)


class Runner(Protocol):
    """A loaded student."""

    def run(self, images: np.ndarray, thresholds: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Images (n, channels, h, w) uint8, thresholds (exits - 1,) float32 -> logits (n, classes), exits (n,).

        An image leaves at the first exit whose score is below its threshold; nothing after that runs for it.
        """


class Runtime(Protocol):
    """A module of this package, or of a plug-in.

    One that is slow to load may name in `ANSWERS_LIKE` another runtime whose answers are the same. One that calculates
    in another precision than the setting's, on some machines, has `unfit(setting, cpu)`, which says why, or "".
    """

    PACKAGE: str  # that must be installed
    EXTRA: str  # of erde-nas that brings it; empty where the base installation does
    PRECISIONS: tuple[str, ...]
    DEVICES: tuple[str, ...]

    def versions(self) -> dict[str, str]:
        """Name and version of each package that runs the student. Raises ImportError where one is absent."""

    def prepare(self, deployable: Deployable, setting: Setting, folder: Path) -> Sequence[Path]:
        """Write into `folder`, which is empty, what `load` needs. Raises UserError for what the runtime cannot run."""

    def load(self, files: Sequence[str], setting: Setting) -> Runner:
        """Load what `prepare` wrote. Raises RuntimeError where the runtime refuses it."""

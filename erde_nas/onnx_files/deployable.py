"""A file to measure or ship, and what a runtime is prepared from: its segments as ONNX files or as modules.

On the machine that prepares only.
"""

import copy
from dataclasses import dataclass
from pathlib import Path

import onnx
import torch
from google.protobuf.message import DecodeError  # type: ignore[import-untyped]
from torch import Tensor, nn

from erde_nas.device.exit_rules import ENTROPY
from erde_nas.device.runtimes.feed import Feed
from erde_nas.device.runtimes.interface import Setting
from erde_nas.errors import UserError
from erde_nas.onnx_files.foreign import place
from erde_nas.onnx_files.names import input_name, output_names
from erde_nas.onnx_files.nest import exit_rule_of, split
from erde_nas.onnx_files.segments import segment_modules

Inputs = Tensor | tuple[Tensor, ...]


@dataclass(frozen=True)
class DeployableFile:
    """A nested ONNX file, and its network for the runtimes that start from PyTorch.

    `feed` is for a classifier of other makes. This is what `erde_nas.device.runtimes.interface.Deployable` asks for.
    """

    file: Path
    network: nn.Module | None = None
    feed: Feed | None = None

    @property
    def exit_rule(self) -> str:
        """What the file says; of no meaning for a classifier of other makes, nor for a damaged file."""
        try:
            return ENTROPY.name if self.feed else exit_rule_of(onnx.load(self.file, load_external_data=False))
        except DecodeError:  # the runtime says so
            return ENTROPY.name

    def write_segments(self, folder: Path) -> list[Path]:
        """One ONNX file per segment, with a free batch size, written into `folder`."""
        paths = []
        for position, segment in enumerate(split(onnx.load(self.file))):
            paths.append(folder / f"segment{position}.onnx")
            onnx.save(segment, paths[-1])
        return paths

    def modules(self, setting: Setting, runtime: str) -> list[tuple[nn.Module, Inputs]]:
        """Copies of the segments in eval mode, logits first, each with its input, or inputs, for `batch_size` images.

        The shape of images comes from the file. Raises UserError where there is no network.
        """
        if self.network is None:
            raise UserError(
                f"the runtime {runtime} starts from a student's weights, but got only {self.file.name}; measure the "
                "student in its run folder, or take a profile with a runtime of ONNX files, as onnxruntime"
            )
        network = copy.deepcopy(self.network).cpu().eval()
        for parameter in network.parameters():
            parameter.requires_grad_(False)
        known = {input_name(0): torch.zeros(setting.batch_size, *self._image_shape(), dtype=torch.uint8)}
        pairs: list[tuple[nn.Module, Inputs]] = []
        for number, module in enumerate(segment_modules(network)):
            inputs = tuple(known[name] for name in getattr(module, "reads", (input_name(number),)))
            pairs.append((module, inputs if len(inputs) > 1 else inputs[0]))
            with torch.no_grad():
                outputs = module(*inputs)
            found = outputs if isinstance(outputs, tuple) else (outputs,)
            known |= zip(output_names(number, number + 2), found, strict=False)
        return pairs

    def place(self, folder: Path, shape: tuple[int, ...] | None = None) -> list[Path]:
        """The file of other makes in `folder`, its external weights with it, and how it is fed."""
        if self.feed is None:
            raise RuntimeError(f"nothing says how {self.file.name} is fed")
        return place(self.file, self.feed, folder, shape)

    def _image_shape(self) -> tuple[int, ...]:
        image = onnx.load(self.file, load_external_data=False).graph.input[0]
        return tuple(d.dim_value for d in image.type.tensor_type.shape.dim)[1:]

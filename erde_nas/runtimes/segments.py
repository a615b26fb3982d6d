"""The segments of a student that is to be prepared for a runtime: as ONNX files, or as modules with an example input.

On the machine that prepares only: needs onnx, or PyTorch.
"""

from pathlib import Path
from typing import TYPE_CHECKING, Any

from erde_nas.runtimes.interface import Deployable, Setting

if TYPE_CHECKING:
    from torch import Tensor, nn


def write_onnx_segments(file: Path, folder: Path) -> list[Path]:
    """Split the nested `file` into one file per segment, with a free batch size."""
    import onnx

    from erde_nas.export.nest import split

    paths = []
    for position, segment in enumerate(split(onnx.load(file))):
        paths.append(folder / f"segment{position}.onnx")
        onnx.save(segment, paths[-1])
    return paths


def torch_segments(student: Deployable, setting: Setting, runtime: str) -> "list[tuple[nn.Module, Tensor]]":
    """Copies of the student's segments in eval mode, logits first, each with an input of `batch_size` images.

    The shape of images comes from the file. Raises UserError where the student has no network.
    """
    import copy

    import torch

    from erde_nas.errors import UserError  # not at the top: the device has only agent and runtimes
    from erde_nas.export.segments import segment_modules

    if student.network is None:
        raise UserError(
            f"the runtime {runtime} starts from a student's weights, but got only {student.file.name}; measure the "
            "student in its run folder, or take a profile with the runtime onnxruntime or openvino"
        )
    network: Any = copy.deepcopy(student.network).cpu().eval()
    for parameter in network.parameters():
        parameter.requires_grad_(False)
    x = torch.zeros(setting.batch_size, *_image_shape(student.file), dtype=torch.uint8)
    pairs = []
    for module in segment_modules(network):
        pairs.append((module, x))
        with torch.no_grad():
            outputs = module(x)
        x = outputs[-1] if isinstance(outputs, tuple) else x
    return pairs


def _image_shape(file: Path) -> tuple[int, ...]:
    import onnx

    image = onnx.load(file, load_external_data=False).graph.input[0]
    return tuple(d.dim_value for d in image.type.tensor_type.shape.dim)[1:]

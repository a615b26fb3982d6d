"""A file to be measured by itself: a student that erde-nas exported, or any ONNX image classifier as a baseline."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx
from google.protobuf.message import DecodeError  # type: ignore[import-untyped]
from onnx import ModelProto, TensorProto, numpy_helper
from torch import nn

from erde_nas.compress.quantize import WEIGHT_LIMIT
from erde_nas.data.images import list_images, read_image
from erde_nas.errors import UserError
from erde_nas.export.exported import read_exported
from erde_nas.export.foreign import as_deployable, is_quantized
from erde_nas.export.nest import ROUTE, split
from erde_nas.instructions import EXACT_INT8, exact_int8, this_cpu
from erde_nas.measure.latency import Deployed
from erde_nas.runtimes.onnxruntime import run_segments
from erde_nas.students.weights import load_network

CHECKED_IMAGES = 64  # of which the answers are computed here, to compare a runtime with
WEIGHTS = "weights.safetensors"


@dataclass(frozen=True)
class Subject:
    """A deployable file. `image_shape` is (channels, h, w), thresholds are in nats; a baseline has none."""

    name: str
    file: Path
    image_shape: tuple[int, ...]
    thresholds: tuple[float, ...]
    exit_fractions: tuple[float, ...]  # on validation
    precision: str
    network: nn.Module | None = None  # where its weights lie beside it
    instructions: tuple[str, ...] = ()  # one of which a CPU must have for its accuracy; none: any CPU will do

    def deployed(self, precision: str, images: np.ndarray, stream: bool) -> Deployed:
        """How it is measured under a profile of that precision; `stream`: over the images, not each exit alone."""
        segments = [segment.SerializeToString() for segment in split(onnx.load(self.file))]
        expected = run_segments(segments, images[:CHECKED_IMAGES], exact=not exact_int8(this_cpu()))
        return Deployed(
            self.name,
            self.file,
            len(self.exit_fractions),
            (self.thresholds,) if stream else (),
            self.network,
            self.run_in(precision),
            expected,
        )

    def run_in(self, precision: str) -> str:
        """The arithmetic under a profile of that precision: int8 is the file's matter, bf16 the runtime's."""
        return self.precision if self.precision == "int8" or precision == "int8" else precision


def read_subject(path: Path, folder: Path) -> Subject:
    """Read the file; a classifier that erde-nas did not export is made deployable in `folder`.

    Raises UserError for what is missing, damaged or no classifier of images.
    """
    if not path.is_file():
        raise UserError(f"{path} does not exist; give an ONNX file")
    try:
        model = onnx.load(path)
        onnx.checker.check_model(str(path))
    except (DecodeError, onnx.checker.ValidationError, OSError) as error:
        raise UserError(f"{path} is no valid ONNX model: {str(error).splitlines()[0]}") from error
    if any(node.name.startswith(ROUTE) for node in model.graph.node):
        found = read_exported(path)
        weights = path.parent / WEIGHTS
        network = load_network(weights) if weights.is_file() and found.precision == "fp32" else None
        return Subject(
            str(path),
            path,
            found.image_shape,
            found.thresholds,
            found.exit_fractions,
            found.precision,
            network,
            found.instructions,
        )
    return _baseline(path, model, folder)


def _baseline(path: Path, model: ModelProto, folder: Path) -> Subject:
    try:
        wrapped = as_deployable(model)
    except (ValueError, RuntimeError, onnx.checker.ValidationError) as error:
        raise UserError(f"{path} cannot be measured as a baseline: {error}") from error
    file = folder / f"{len(list(folder.iterdir()))}.onnx"
    onnx.save(wrapped, file)
    shape = tuple(d.dim_value for d in wrapped.graph.input[0].type.tensor_type.shape.dim)[1:]
    precision = "int8" if is_quantized(model) else "fp32"
    return Subject(str(path), file, shape, (), (1.0,), precision, instructions=instructions_for(model))


def instructions_for(model: ModelProto) -> tuple[str, ...]:
    """Of which a CPU must have one to run the model as it is meant: any of those exact for 8-bit weights, if it has
    such."""
    weights = [numpy_helper.to_array(t) for t in model.graph.initializer if t.data_type == TensorProto.INT8]
    return EXACT_INT8 if any(np.abs(w.astype(int)).max(initial=0) > WEIGHT_LIMIT[7] for w in weights) else ()


def read_images(folder: Path | None, shape: tuple[int, ...], least: int) -> np.ndarray:
    """The images of a folder, scaled to `shape`, or noise: (n, channels, h, w) uint8; noise in at least `least`."""
    if folder is None:
        generator = np.random.Generator(np.random.Philox(0))
        return generator.integers(0, 256, (max(32, least), *shape), dtype=np.uint8)
    paths = list_images(folder)
    if not paths:
        raise UserError(f"{folder} holds no images; give a folder with image files")
    channels, height, width = shape
    if height != width:
        raise UserError(f"--images are scaled to squares, but the model takes {height}×{width}; leave --images away")
    return np.stack([read_image(path, channels=channels, size=height) for path in paths])

"""A deployable that is given by its path: a student that erde-nas exported, or a classifier of other makes."""

import time
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import onnx
from onnx import ModelProto, TensorProto, numpy_helper

from erde_nas.data.images import list_images, read_image
from erde_nas.device.agent.refusal import short
from erde_nas.device.instructions import EXACT_INT8, exact_int8
from erde_nas.device.machine import this_cpu
from erde_nas.device.runtimes.onnxruntime import FATAL, as_foreign, open_session, run_segments
from erde_nas.errors import UserError
from erde_nas.measurement.image_feed import Size, find_image_feed
from erde_nas.measurement.latency import Workload
from erde_nas.networks.weights import load_network
from erde_nas.onnx_files.deployable import DeployableFile
from erde_nas.onnx_files.foreign import copy_weights, precision_of, weight_files, without_bf16_ends
from erde_nas.onnx_files.metadata import Metadata, made_by_export, read_metadata, what_file, what_folder
from erde_nas.onnx_files.nest import split
from erde_nas.onnx_files.quantize import WEIGHT_LIMIT
from erde_nas.recipe.profile import HardwareProfile

CHECKED_IMAGES = 64  # of which the answers are computed here, to compare a runtime with
CHECK_S = 5.0  # after which a slow classifier's answers are enough
WEIGHTS = "weights.safetensors"


@dataclass(frozen=True)
class GivenFile:
    """A deployable, its network where weights lie beside it, and what is known of it: for files of other makes what
    their graph shows, and what was assumed (`remarks`). `open_size`: the size of images is our choice."""

    name: str
    deployable: DeployableFile
    metadata: Metadata
    open_size: bool = False
    remarks: tuple[str, ...] = ()

    def at(self, thresholds: tuple[float, ...], exit_fractions: tuple[float, ...]) -> "GivenFile":
        """The same file at other thresholds, with the shares of the images that leave at each exit then."""
        return replace(self, metadata=replace(self.metadata, thresholds=thresholds, exit_fractions=exit_fractions))

    def workload(self, profile: HardwareProfile, images: np.ndarray, stream: bool) -> Workload:
        """How it is measured under the profile; `stream`: over the images, not each exit alone.

        Raises UserError where ONNX Runtime does not run it here.
        """
        try:
            expected = self._answers(images[:CHECKED_IMAGES], profile)
        except Exception as error:  # whatever the runtime raises
            raise UserError(f"{self.name}: {short(error)}") from error
        return Workload(
            self.name,
            self.deployable,
            len(self.metadata.exit_fractions),
            (self.metadata.thresholds,) if stream else (),
            self.run_in(profile.precision),
            expected,
        )

    def _answers(self, images: np.ndarray, profile: HardwareProfile) -> np.ndarray | None:
        """What it answers in ONNX Runtime here: (exits, n, classes); None where that cannot be compared."""
        exact, file, feed = not exact_int8(this_cpu()), self.deployable.file, self.deployable.feed
        if feed is None:
            segments = [segment.SerializeToString() for segment in split(onnx.load(file))]
            return run_segments(segments, images, exact=exact)
        threads = profile.threads
        model = as_foreign(open_session(str(file), threads=threads, device="cpu", exact=exact, severity=FATAL), feed)
        size, deadline = profile.batch_size, time.monotonic() + CHECK_S
        first, again = model.answers(images[:size]), model.answers(images[:size])
        if first is None or again is None or not np.array_equal(first, again, equal_nan=True):
            return None  # nothing in numbers, or nothing that repeats
        rows = [first]
        for start in range(size, len(images) - size + 1, size):
            row = model.answers(images[start : start + size])
            if row is None or row.shape[1:] != first.shape[1:]:
                return None
            rows.append(row)
            if time.monotonic() > deadline:
                break
        return np.concatenate(rows)[None]

    def run_in(self, precision: str) -> str:
        """The arithmetic under a profile of that precision: int8 is the file's matter, bf16 the runtime's."""
        own = self.metadata.precision
        if self.deployable.feed is not None and precision == "fp32":
            return own
        return own if own == "int8" or precision == "int8" else precision

    def remarks_for(self, profile: HardwareProfile) -> tuple[str, ...]:
        """What is to be known of the numbers under the profile."""
        feed, wanted = self.deployable.feed, profile.batch_size
        batch = feed.batch if feed else None
        if batch == 1 and wanted > 1:
            return (*self.remarks, f"it takes one image a call: {wanted} images are {wanted} calls")
        if batch and wanted % batch:
            return (*self.remarks, f"it takes {batch} images a call: what is left over costs a whole call")
        return self.remarks


def read_given_file(path: Path, folder: Path, size: Size | None = None) -> GivenFile:
    """Read the file. Where one of other makes leaves the size of images open, `size` (h, w) is taken.

    What must be changed of it is written into `folder`. Raises UserError for what is missing, damaged or refused by
    ONNX Runtime.
    """
    if path.is_dir():
        raise UserError(f"{path} is {what_folder(path)}")
    if not path.is_file():
        raise UserError(f"{path} does not exist; give an ONNX file")
    try:
        model = onnx.load(path, load_external_data=False)
    except Exception as error:  # protobuf's, and others where a file is damaged
        raise UserError(f"{path} is {what_file(path)}") from error
    if not model.HasField("graph"):
        raise UserError(f"{path} is {what_file(path)}")
    if made_by_export(model):
        found = read_metadata(path)
        weights = path.parent / WEIGHTS
        network = load_network(weights) if weights.is_file() and found.precision == "fp32" else None
        return GivenFile(str(path), DeployableFile(path, network), found)
    try:
        weight_files(model)
    except UserError as error:
        raise UserError(f"{path}: {error}") from None
    try:
        return _foreign(path, model, folder, size)
    except UserError:
        raise
    except Exception as error:  # onnx and numpy raise many kinds where sizes and types in it do not fit
        raise UserError(f"{path} is no ONNX file that can be measured: {short(error)}") from error


def instructions_for(model: ModelProto, folder: Path) -> tuple[str, ...]:
    """Of which a CPU must have one to run the model as it is meant: any of those exact for 8-bit weights, if it has
    such. `folder` holds weights that are kept beside the file."""
    kept = (t for t in model.graph.initializer if t.data_type == TensorProto.INT8)
    weights = (numpy_helper.to_array(tensor, str(folder)).astype(int) for tensor in kept)
    return EXACT_INT8 if any(np.abs(w).max(initial=0) > WEIGHT_LIMIT[7] for w in weights) else ()


def _foreign(path: Path, model: ModelProto, folder: Path, size: Size | None) -> GivenFile:
    file, precision = path, precision_of(model)
    if without_bf16_ends(model):
        file = folder / f"{len(list(folder.iterdir()))}" / path.name
        file.parent.mkdir()
        onnx.save(model, file)
        copy_weights(model, path.parent, file.parent)
    found = find_image_feed(file, str(path), size)
    metadata = Metadata((), found.image_shape, (), (1.0,), precision, instructions_for(model, path.parent))
    return GivenFile(str(path), DeployableFile(file, feed=found.feed), metadata, found.open_size, found.remarks)


def read_images(folder: Path | np.ndarray | None, shape: tuple[int, ...], least: int) -> np.ndarray:
    """The images of a folder, scaled to `shape`, those given, or noise: (n, channels, h, w) uint8; noise in at least
    `least`."""
    if isinstance(folder, np.ndarray):
        if folder.dtype != np.uint8 or folder.shape[1:] != shape or not len(folder):
            wanted = ", ".join(map(str, shape))
            raise UserError(
                f"the model takes uint8 images of shape (n, {wanted}), but got {folder.dtype} of shape {folder.shape}"
            )
        return folder
    if folder is None:
        generator = np.random.Generator(np.random.Philox(0))
        return generator.integers(0, 256, (max(32, least), *shape), dtype=np.uint8)
    paths = list_images(folder)
    if not paths:
        raise UserError(f"{folder} holds no images; give a folder with image files")
    channels, height, width = shape
    images = np.stack([read_image(path, channels=channels, size=(height, width)) for path in paths])
    if images.shape[1] != channels:
        raise UserError(
            f"{folder} holds images of {images.shape[1]} channel(s), but the model takes {channels}; give images with "
            f"{channels}, or leave --images away"
        )
    return images

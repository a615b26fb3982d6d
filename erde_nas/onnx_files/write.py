"""Networks -> deployable files: exported, quantized, checked against PyTorch, with their validation logits."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import onnx
import torch
from torch import nn

from erde_nas.device.exit_rules import ENTROPY, ExitRule
from erde_nas.device.instructions import exact_int8
from erde_nas.device.machine import this_cpu
from erde_nas.device.runtimes.interface import Setting
from erde_nas.device.runtimes.onnxruntime import FATAL, NestedModel, open_session, run_segments
from erde_nas.files import Scratch, write_atomic
from erde_nas.networks.cascade import Cascade
from erde_nas.networks.logits import all_logits
from erde_nas.networks.operating_points import exit_indices, scores
from erde_nas.networks.segmented import SegmentedNetwork
from erde_nas.onnx_files.answers import answers
from erde_nas.onnx_files.cascade import joined_segments
from erde_nas.onnx_files.deployable import DeployableFile
from erde_nas.onnx_files.file_kind import FP32, INT8, FileKind
from erde_nas.onnx_files.nest import nest
from erde_nas.onnx_files.quantize import Quantization, quantize_segments
from erde_nas.onnx_files.segments import export_segments, export_whole

BATCH = 64  # images at once, in a runtime of which every exit's logits are wanted
LOGITS_TOLERANCE = 1e-4  # of the largest logit of an image, at least 1
SCORE_TOLERANCE = 1e-4  # of a threshold, at least 1: an image whose score is closer to it may leave at either exit


class ExportMismatch(Exception):
    """The exported file does not answer as the network does."""


@dataclass(frozen=True)
class Segments:
    """A network's segments as ONNX models. For bf16 they are those of fp32, and the kind's runtime rounds."""

    kind: FileKind
    models: Sequence[onnx.ModelProto]
    network: nn.Module | None = None  # what they were exported from

    def logits(self, images: np.ndarray) -> np.ndarray:
        """Images (n, channels, h, w) uint8 -> logits (exits, n, classes), in ONNX Runtime or the kind's own runtime.

        Those of int8 are what the machine that the file is made for answers, also where this one would round.
        """
        if self.kind.precision == "bf16":
            return self._in_bf16(images)
        models = [model.SerializeToString() for model in self.models]
        return run_segments(models, images, exact=not exact_int8(this_cpu()))

    def _in_bf16(self, images: np.ndarray) -> np.ndarray:
        setting = Setting(threads=torch.get_num_threads(), precision="bf16", batch_size=BATCH)
        with Scratch() as folder:
            path = Path(folder) / "model.onnx"
            write_file(self, [0.0] * (len(self.models) - 1), path, {})
            student = DeployableFile(path, self.network)
            return answers(self.kind.runtime, student, setting, images, len(self.models))


def make_segments(
    network: nn.Module, kinds: Sequence[FileKind], calibration: np.ndarray, how: Quantization | None = None
) -> dict[FileKind, Segments]:
    """Export a network once, in every one of `kinds`; int8 is made as `how` says, or as suits this machine.

    A module that has no segments (a teacher of the user's own) counts as one segment.
    """
    models = fp32_segments(network, calibration.shape[1:])
    return {kind: of_kind(models, kind, calibration, how) for kind in kinds}


def fp32_segments(network: nn.Module, image_shape: tuple[int, ...]) -> Segments:
    """A network's segments in fp32. Raises ExportMismatch where a teacher of the user's own cannot be exported."""
    if isinstance(network, Cascade):
        first, second = (fp32_segments(member, image_shape) for member in network.members)
        return joined(first, second, network)
    if isinstance(network, SegmentedNetwork):
        return Segments(FP32, export_segments(network), network)
    return Segments(FP32, [whole_segment(network, image_shape)], network)


def joined(first: Segments, second: Segments, cascade: Cascade) -> Segments:
    """A cascade's segments, of those of its networks in one kind: int8 ones are quantized already."""
    return Segments(first.kind, joined_segments(first.models, second.models, cascade.averaged), cascade)


def of_kind(fp32: Segments, kind: FileKind, calibration: np.ndarray, how: Quantization | None = None) -> Segments:
    """The same segments as another kind."""
    models = quantize_segments(fp32.models, calibration, how) if kind == INT8 else fp32.models
    return replace(fp32, kind=kind, models=models)


def whole_segment(network: nn.Module, image_shape: tuple[int, ...]) -> onnx.ModelProto:
    """The last exit of a network that has no segments as one: for any batch size where that answers as
    PyTorch does, else for one image at a time. Raises ExportMismatch where neither does, or nothing can be exported."""
    images = np.random.default_rng(0).integers(0, 256, (3, *image_shape), np.uint8)
    expected = all_logits(network, images)[-1:]
    batch = getattr(network, "batch", None)  # a program of the user's own says how many images it takes at once
    if batch is not None and batch.least > 1:
        raise ExportMismatch(f"a deployed file takes one image at a time, but the program takes {batch.text()}")
    sizes = {True: (3, 1), False: (1,)}  # of the batches, by whether any will do
    reason = ""
    for free in (True, False):
        try:
            model = export_whole(network, image_shape, free)
            found = [run_segments([model.SerializeToString()], images, size, severity=FATAL) for size in sizes[free]]
        except Exception as error:  # the exporter and the runtime raise many kinds
            reason = reason or " ".join(str(error).split())[:300]
            continue
        if all(_differ(logits, expected) <= LOGITS_TOLERANCE for logits in found):
            return model
        reason = "in ONNX Runtime it answers otherwise than in PyTorch"
    raise ExportMismatch(f"it cannot be written as an ONNX file: {reason}")


def _differ(found: np.ndarray, expected: np.ndarray) -> float:
    """The largest difference of two logits (..., classes), relative to the largest of their row, at least 1."""
    size = np.maximum(np.abs(expected).max(-1, keepdims=True), 1.0)
    return float((np.abs(found - expected) / size).max())


def write_file(
    segments: Segments,
    thresholds: Sequence[float],
    path: Path,
    metadata: dict[str, str],
    rule: ExitRule = ENTROPY,
) -> None:
    """Nest the segments into one file with default `thresholds` and the metadata that `predict` reads."""
    model = nest(segments.models, thresholds, rule)
    onnx.helper.set_model_props(model, {**metadata, **{entry.key: entry.value for entry in model.metadata_props}})
    write_atomic(path, lambda temporary: onnx.save(model, str(temporary)))


def check_export(
    path: Path, network: nn.Module, images: np.ndarray, thresholds: Sequence[float], rule: ExitRule = ENTROPY
) -> None:
    """Run the fp32 file on every image and compare with PyTorch. Raises ExportMismatch.

    The exits must agree for every image whose scores are not within 1e-4 of a threshold, the logits to 1e-4 of the
    largest.
    """
    expected = all_logits(network, images)
    score = scores(rule, expected)
    taken = exit_indices(score, thresholds)
    margins = SCORE_TOLERANCE * np.maximum(1.0, np.abs(np.reshape(thresholds, (-1, 1))))
    close = (np.abs(score - np.reshape(thresholds, (-1, 1))) < margins).any(0)
    model = NestedModel(open_session(str(path), threads=1, device="cpu"))
    levels = np.array(thresholds, np.float32)
    for i in range(len(images)):
        logits, exit_index = model.run(images[i : i + 1], levels)
        number = int(exit_index[0])
        if number != taken[i] and not close[i]:
            raise ExportMismatch(f"{path.name}: image {i} leaves at exit {number}, in PyTorch at exit {taken[i]}")
        difference = float(np.abs(logits[0] - expected[number, i]).max())
        if _differ(logits[0], expected[number, i]) > LOGITS_TOLERANCE:
            raise ExportMismatch(f"{path.name}: image {i}, exit {number}: the logits differ by {difference:.2g}")

"""A student's int8 file: heads quantized where that is faster, and what it takes to keep its accuracy.

First static quantization; where that loses more accuracy than the recipe allows, the most sensitive layers stay in
fp32; where that is not enough, quantization-aware training with the run's distillation loss.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from onnx import ModelProto

from erde_nas.compression.qat import rounded
from erde_nas.data.on_disk import read_pixels
from erde_nas.distil.context import TrainingContext
from erde_nas.distil.training.together import train_together
from erde_nas.errors import TrainingFailed
from erde_nas.networks.network import on_device
from erde_nas.networks.operating_points import best_accuracy
from erde_nas.networks.weights import load_network, save_weights
from erde_nas.onnx_files.file_kind import FP32, INT8
from erde_nas.onnx_files.quantize import Quantization, quantize_segments
from erde_nas.onnx_files.segments import export_segments
from erde_nas.onnx_files.sensitivity import Models, keep_sensitive
from erde_nas.onnx_files.write import Segments

QAT_RATE = 0.1  # of the learning rate of pruned students: the network is trained already
QAT_WEIGHTS = {8: "weights.qat.safetensors", 7: "weights.qat7.safetensors"}  # by the bits that they were rounded to


@dataclass(frozen=True)
class Quantized:
    """int8 segments, how they were made, and in words for the report."""

    segments: Segments
    how: Quantization
    text: str


def calibration_images(context: TrainingContext) -> np.ndarray:
    """Training images for calibration (n, channels, h, w) uint8, evenly spread over the split."""
    train = context.dataset.train
    count = min(context.recipe.compress.calibration_images, len(train))
    return read_pixels(train, np.linspace(0, len(train) - 1, count).round().astype(int))


def quantized(fp32: Models, how: Quantization, images: np.ndarray) -> Quantized:
    """Static quantization, calibrated on `images`."""
    text = "static, heads too" if how.heads else "static"
    return Quantized(Segments(INT8, quantize_segments(fp32, images, how)), how, text)


def accurate(
    static: Quantized, fp32: Models, folder: Path, context: TrainingContext, say: Callable[[str], None]
) -> Quantized:
    """`static`, or what keeps the accuracy on validation within the recipe's `int8_drop` of the fp32 student's.

    Where nothing does, the most accurate. The weights of quantization-aware training are kept in `folder`.
    """
    images, section = calibration_images(context), context.recipe.compress
    floor = _accuracy(Segments(FP32, fp32), context) - section.int8_drop - 1e-9

    def fine(models: Models) -> bool:
        return _accuracy(Segments(INT8, models), context) >= floor

    if fine(static.segments.models):
        return static
    say(f"int8 {folder.name}: static quantization loses more than {section.int8_drop:.1%}; keeping layers in fp32")
    found = keep_sensitive(fp32, images, static.how, fine)
    if found is not None:
        models, kept = found
        layers = "1 layer" if len(kept) == 1 else f"{len(kept)} layers"
        return Quantized(Segments(INT8, models), replace(static.how, kept=kept), f"mixed, {layers} in fp32")
    if not section.qat_epochs:
        return replace(static, text=f"{static.text}, beyond the allowed drop")
    say(f"int8 {folder.name}: fp32 layers are not enough; quantization-aware training")
    aware = _aware(static.how, images, folder, context)
    choices = [static] if aware is None else [Quantized(Segments(INT8, aware), static.how, "qat"), static]
    best = max(choices, key=lambda choice: _accuracy(choice.segments, context))
    return best if fine(best.segments.models) else replace(best, text=f"{best.text}, beyond the allowed drop")


def _aware(how: Quantization, images: np.ndarray, folder: Path, context: TrainingContext) -> list[ModelProto] | None:
    """int8 segments after quantization-aware training, which is done once; None where it failed."""
    weights = folder / QAT_WEIGHTS[how.weight_bits]
    if not weights.is_file():
        section = context.recipe.compress
        options = section.train.lasting(section.qat_epochs)
        options = options.model_copy(update={"learning_rate": QAT_RATE * options.learning_rate})
        trained = on_device(load_network(folder / "weights.safetensors"), context.device)
        training = context.training(trained, options)
        training = replace(
            training, compute=replace(training.compute, precision="fp32")
        )  # bf16 is coarser than the steps
        with rounded(trained, how.weight_bits):
            result = train_together([training], 1)[0]
        if isinstance(result, TrainingFailed):
            return None
        save_weights(trained.cpu(), weights)
    return quantize_segments(export_segments(load_network(weights)), images, how)


def _accuracy(segments: Segments, context: TrainingContext) -> float:
    """On validation, at the most accurate thresholds."""
    validation = context.dataset.validation
    return best_accuracy(segments.logits(validation.images), validation.labels, context.exit_rule)

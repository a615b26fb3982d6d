"""An exported student in OpenVINO: the class of each image, and the exit that answered.

    pip install openvino pillow
    erde-nas export runs/mine --student ID --to shipped --format openvino
    python classify.py shipped photo.png...

Images must have the student's size. It needs numpy, OpenVINO and Pillow, and nothing of erde-nas.
"""

import json
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import openvino
from PIL import Image


def main(bundle: Path, images: Sequence[str]) -> None:
    """Print one line for each image."""
    student = json.loads((bundle / "student.json").read_text(encoding="utf-8"))
    name, entry = next(
        (name, entry)
        for name, entry in student["other_formats"].items()
        if entry["format"] == "openvino-ir" and entry["precision"] == "fp32"
    )
    # Left to itself OpenVINO takes bf16 where the CPU has it.
    model = openvino.Core().compile_model(bundle / name, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    inputs = {}
    if entry["thresholds"]:  # a student with one exit takes none
        inputs["thresholds"] = np.array(entry["thresholds"], np.float32)
    for image in images:
        found = model({"image": pixels(image, student["input"]), **inputs})
        logits = found["logits"][0].astype(np.float64)  # (classes,)
        odds = np.exp(logits - logits.max())
        best = int(odds.argmax())
        print(
            f"{image}: {student['classes'][best]} ({odds[best] / odds.sum():.1%}), exit {int(found['exit_index'][0])}"
        )


def pixels(path: str, wanted: dict) -> np.ndarray:
    """An image as (1, channels, height, width) uint8, from 0 to 255: the normalisation is in the model."""
    channels, size = wanted["channels"], wanted["size"]
    height, width = size if isinstance(size, list) else (size, size)
    with Image.open(path) as file:
        image = np.asarray(file.convert({1: "L", 2: "LA", 3: "RGB", 4: "RGBA"}[channels]))
    if image.shape[:2] != (height, width):
        sys.exit(f"{path}: must have {width}x{height} pixels, but has {image.shape[1]}x{image.shape[0]}; scale it")
    return image.reshape(height, width, channels).transpose(2, 0, 1)[None]


if __name__ == "__main__":
    if len(sys.argv) < 3:
        sys.exit("give the exported folder and at least one image: python classify.py shipped photo.png")
    main(Path(sys.argv[1]), sys.argv[2:])

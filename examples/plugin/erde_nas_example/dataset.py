"""Stripes in four directions, under noise: a data set that is drawn, not downloaded."""

from pathlib import Path

import numpy as np

from erde_nas.data.dataset import Split
from erde_nas.data.kind import DatasetKind
from erde_nas.data.raw import Raw
from erde_nas.recipe.images import DatasetSection

SIDE, PER_CLASS = 16, 100
DIRECTIONS = {"horizontal": (0, 1), "vertical": (1, 0), "rising": (1, 1), "falling": (1, -1)}


def read_stripes(section: DatasetSection, data_dir: Path | None) -> Raw:
    """400 grey images of 16×16 in four classes, the same every time; test and validation are split off by erde-nas."""
    generator = np.random.default_rng(0)
    y, x = np.mgrid[:SIDE, :SIDE]
    images, labels = [], []
    for label, (across, down) in enumerate(DIRECTIONS.values()):
        for _ in range(PER_CLASS):
            wave = np.sin((across * x + down * y) * generator.uniform(0.8, 1.2) + generator.uniform(0, 2 * np.pi))
            images.append(127 + 50 * wave + generator.normal(0, 90, (SIDE, SIDE)))
            labels.append(label)
    pixels = np.clip(np.stack(images), 0, 255).astype(np.uint8)[:, None]  # (n, 1, 16, 16)
    return Raw(Split(pixels, np.array(labels, np.int64)), classes=tuple(DIRECTIONS))


STRIPES = DatasetKind(read_stripes, licence="CC0", origin="drawn by erde-nas-example", found="erde-nas-example")

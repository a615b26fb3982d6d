"""Runs with made-up logits."""

from collections.abc import Callable

import numpy as np
import pytest

from erde_nas.comparison.store import TrainedStudent

CLASSES = 4


@pytest.fixture
def labels() -> tuple[np.ndarray, np.ndarray]:
    """Validation and test labels."""
    generator = np.random.default_rng(0)
    return generator.integers(0, CLASSES, 60), generator.integers(0, CLASSES, 80)


@pytest.fixture
def make_trained(labels: tuple[np.ndarray, np.ndarray]) -> Callable[..., TrainedStudent]:
    """A run whose exits are right more and more often; `signal` says how much."""

    def make(loss: str = "erde", seed: int = 0, signal: float = 1.0, exits: int = 3) -> TrainedStudent:
        generator = np.random.default_rng(seed)

        def logits(truth: np.ndarray) -> np.ndarray:
            strength = signal * np.arange(1, exits + 1)[:, None, None] * np.eye(CLASSES)[truth]
            return (generator.normal(size=(exits, len(truth), CLASSES)) + strength).astype(np.float16)

        macs = tuple(100 * (i + 1) for i in range(exits))
        return TrainedStudent(loss, seed, macs, logits(labels[0]), logits(labels[1]))

    return make

"""Gaussian-process regression with few hyper-parameters.

Rasmussen and Williams 2006, "Gaussian Processes for Machine Learning", chapters 2 and 5: a squared-exponential kernel
whose length and noise are those of a small grid with the greatest marginal likelihood, which also gives its variance.
One eigendecomposition per length serves every noise, and every function of the same points.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
LENGTHS = (0.25, 0.5, 1.0, 2.0)  # in units of the square root of the number of features, each about in [0, 1]
NOISES = (0.01, 0.05, 0.2, 0.5)  # variance of the noise, in units of that of the function
JITTER = 1e-6


@dataclass(frozen=True)
class Basis:
    """The kernel of some points under one length, by its eigenvectors; make it with `bases`."""

    x: Floats  # (n, features)
    length: float
    eigenvalues: Floats  # (n,)
    vectors: Floats  # (n, n)


@dataclass(frozen=True)
class GaussianProcess:
    """A fitted process; make it with `fit`."""

    basis: Basis
    variance: float  # of the function
    spectrum: Floats  # (n,), the kernel's eigenvalues with the noise
    weights: Floats  # (n,), the values in the eigenvectors' basis over the spectrum

    def at(self, x: Floats) -> tuple[Floats, Floats]:
        """Mean and deviation, (k,) each, of the function at the points `x` (k, features); the noise is not in it."""
        projected = kernel(x, self.basis.x, self.basis.length) @ self.basis.vectors  # (k, n)
        left = 1 - (projected**2 / self.spectrum).sum(axis=1)
        return projected @ self.weights, np.sqrt(self.variance * left.clip(JITTER))


def bases(x: Floats) -> list[Basis]:
    """One for each length, of the points `x` (n, features): all that a fit needs to know of them."""
    lengths = np.sqrt(x.shape[1]) * np.array(LENGTHS)
    return [Basis(x, float(length), *np.linalg.eigh(kernel(x, x, length))) for length in lengths]


def fit(points: Sequence[Basis], y: Floats) -> GaussianProcess:
    """The process for values `y` (n,) of mean 0 at points whose `bases` are given."""
    found, best = None, -np.inf
    for basis in points:
        projected = basis.vectors.T @ y
        for noise in NOISES:
            spectrum = basis.eigenvalues.clip(0) + noise
            variance = max(float((projected**2 / spectrum).mean()), JITTER)
            evidence = -len(y) * np.log(variance) - np.log(spectrum).sum()
            if evidence > best:
                best, found = evidence, GaussianProcess(basis, variance, spectrum, projected / spectrum)
    assert found is not None
    return found


def kernel(a: Floats, b: Floats, length: float) -> Floats:
    """Squared-exponential covariance (n, k) of points (n, features) and (k, features)."""
    squared = (a**2).sum(1)[:, None] + (b**2).sum(1) - 2 * a @ b.T
    return np.exp(-squared.clip(0) / (2 * length**2))

"""Fréchet distance between two sets of features, each taken as a Gaussian.

The formula is that of the FID (arXiv 1706.08500); the features are not, so the number is never
called that and compares with nothing outside this project. It is biased upwards for few images:
compare sets of the same size only, and with the distance that as many real images have (the
floor).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Gaussian:
    """Mean [D] and covariance [D, D] of features, in float64."""

    mean: NDArray[np.float64]
    covariance: NDArray[np.float64]
    count: int

    @staticmethod
    def of(features: NDArray[np.floating]) -> Gaussian:
        """Features [N, D], N at least 2."""
        if features.ndim != 2 or len(features) < 2:
            raise ValueError(f"needs features [N, D] of 2 pictures or more, not {features.shape}")
        values = features.astype(np.float64)
        mean = values.mean(axis=0)
        centered = values - mean
        return Gaussian(mean, centered.T @ centered / (len(values) - 1), len(values))


def distance(a: Gaussian, b: Gaussian) -> float:
    """|mu_a - mu_b|^2 + tr(A + B - 2 (A^1/2 B A^1/2)^1/2); 0 for the same Gaussian."""
    root = _square_root(a.covariance)
    eigenvalues = np.linalg.eigvalsh(root @ b.covariance @ root)
    cross = np.sqrt(np.maximum(eigenvalues, 0)).sum()
    means = np.square(a.mean - b.mean).sum()
    return float(means + np.trace(a.covariance) + np.trace(b.covariance) - 2 * cross)


def _square_root(covariance: NDArray[np.float64]) -> NDArray[np.float64]:
    values, vectors = np.linalg.eigh(covariance)
    root: NDArray[np.float64] = (vectors * np.sqrt(np.maximum(values, 0))) @ vectors.T
    return root

"""The normal equations written from the formulas, in plain NumPy: the twin of ``kernels.accumulate``."""

from __future__ import annotations

import numpy as np


def normal_equations(
    times: np.ndarray, rows: np.ndarray, gradient: np.ndarray, mean: np.ndarray, support: np.ndarray, noise: np.ndarray
) -> tuple[np.ndarray, np.ndarray, float]:
    """``J^T Sigma^-1 J``, ``J^T Sigma^-1 r``, ``r^T Sigma^-1 r`` of one neuron in one sample, by inverting Sigma itself."""
    repeats = support.min()
    sigma = noise[0] / repeats * np.outer(gradient, gradient) + np.diag(
        np.full(len(times), noise[1] / repeats + noise[2])
    )
    inverse = np.linalg.inv(sigma)
    residual = mean - times
    return rows.T @ inverse @ rows, rows.T @ inverse @ residual, float(residual @ inverse @ residual)


def pairing(seen: np.ndarray, model: np.ndarray) -> float:
    """Least sum of distances of any order-preserving pairing of as many as can be, by trying all."""
    from itertools import combinations

    short, long = (seen, model) if len(seen) <= len(model) else (model, seen)
    return min(float(np.abs(short - long[list(c)]).sum()) for c in combinations(range(len(long)), len(short)))

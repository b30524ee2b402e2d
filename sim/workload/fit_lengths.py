"""Laws of lengths and times as quantiles, and the joint law of two ranks."""

from __future__ import annotations

import numpy as np

from sim.rng import stream
from sim.spec.traffic import EmpiricalCopula, EmpiricalLengths, EmpiricalSeconds

PROBABILITIES = (
    *np.linspace(0.0, 0.9, 37).round(4).tolist(), 0.91, 0.92, 0.93, 0.94, 0.95, 0.96, 0.97, 0.98, 0.985, 0.99, 0.995,
    0.999, 1.0,
)  # fmt: skip
"""Denser in the tail."""
_COPULA_PARTS = 10


def fit_lengths(tokens: np.ndarray) -> EmpiricalLengths:
    """Quantiles, from the least to the most."""
    values = np.maximum(np.quantile(tokens, PROBABILITIES), 1.0)
    return EmpiricalLengths(probabilities=PROBABILITIES, tokens=tuple(np.maximum.accumulate(values).round(2).tolist()))


def fit_seconds(seconds: np.ndarray) -> EmpiricalSeconds:
    """Quantiles of a time, at least a millisecond."""
    values = np.maximum(np.quantile(seconds, PROBABILITIES), 1e-3)
    return EmpiricalSeconds(probabilities=PROBABILITIES, seconds=tuple(np.maximum.accumulate(values).tolist()))


def fit_copula(inputs: np.ndarray, outputs: np.ndarray) -> EmpiricalCopula:
    """Shares of requests by tenth of input rank and tenth of output rank; ties share their tenths evenly by chance."""
    rng = stream(0, "fit", "ties")
    parts = [
        np.argsort(np.argsort(tokens + rng.uniform(0, 0.5, len(tokens)), kind="stable")) * _COPULA_PARTS // len(tokens)
        for tokens in (inputs, outputs)
    ]
    mass = np.zeros((_COPULA_PARTS, _COPULA_PARTS))
    np.add.at(mass, tuple(part.astype(np.int64) for part in parts), 1.0)
    return EmpiricalCopula(mass=tuple(tuple(row) for row in (mass / mass.sum()).round(5).tolist()))

"""How a trace's lengths drift over time, as exponents of ranks (``LengthDrift``), and whether they do at all.

In a bin with mean length m the exponent e is the one with E[Q(u ** e)] = m, Q being the quantile function of all. Means
of few requests scatter: each is drawn toward the mean of all by the share of its variance that scatter explains (empirical
Bayes), so that lengths which do not drift fit no drift.
"""

from __future__ import annotations

import numpy as np

from sim.spec.prompts import LengthDrift

_REQUESTS_A_BIN = 120
_MOST_BINS = 240
_MIDPOINTS = (np.arange(2000) + 0.5) / 2000
_EXPONENTS = np.geomspace(0.2, 5.0, 161)


def fit_drift(arrival_s: np.ndarray, inputs: np.ndarray, outputs: np.ndarray, duration_s: float) -> LengthDrift | None:
    """The drift of both lengths; None where the trace is too short to tell."""
    bins = int(min(len(arrival_s) / _REQUESTS_A_BIN, _MOST_BINS))
    if bins < 3:
        return None
    bin_s = duration_s / bins
    place = np.minimum((arrival_s / bin_s).astype(np.int64), bins - 1)
    sides = [_exponents(tokens.astype(np.float64), place, bins) for tokens in (inputs, outputs)]
    return LengthDrift(bin_s=bin_s, input_exponents=sides[0], output_exponents=sides[1])


def _exponents(tokens: np.ndarray, place: np.ndarray, bins: int) -> tuple[float, ...]:
    counts = np.bincount(place, minlength=bins).astype(np.float64)
    means = np.bincount(place, weights=tokens, minlength=bins) / np.maximum(counts, 1)
    whole, variance = float(tokens.mean()), float(tokens.var())
    told = counts > 0
    scatter = variance / np.maximum(counts, 1)
    between = max(float(np.average((means[told] - whole) ** 2 - scatter[told], weights=counts[told])), 0.0)
    weight = np.where(told, between / (between + scatter), 0.0) if between > 0 else np.zeros(bins)
    wanted = whole + weight * (means - whole)
    quantiles = np.quantile(tokens, _MIDPOINTS)
    reached = np.array([np.interp(_MIDPOINTS**power, _MIDPOINTS, quantiles).mean() for power in _EXPONENTS])
    # means fall as the exponent grows: both sides reversed for np.interp
    exponents = np.exp(np.interp(wanted, reached[::-1], np.log(_EXPONENTS)[::-1]))
    found: list[float] = np.where(weight > 0, exponents, 1.0).round(4).tolist()
    return tuple(found)

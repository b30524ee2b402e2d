"""Token counts by inverse distribution functions, and the ranks (copulas) that couple input with output.

A length is Q(u), with Q the quantile function of its distribution and u its rank in (0, 1); dependence lives only in
the joint law of the two ranks, so either margin can be changed without touching the other (Sklar).
"""

from __future__ import annotations

import functools

import numpy as np
from scipy.special import ndtr, ndtri

from sim.spec.prompts import LengthDrift
from sim.spec.traffic import (
    ConstantLengths,
    EmpiricalCopula,
    EmpiricalLengths,
    EmpiricalSeconds,
    GaussianCopula,
    IndependentLengths,
    LognormalLengths,
    MixtureLengths,
)


@functools.singledispatch
def lengths_at(spec: object, ranks: np.ndarray) -> np.ndarray:
    """int64 token counts at ``ranks`` in (0, 1)."""
    raise TypeError(f"no length distribution for {type(spec).__name__}")


@lengths_at.register
def _constant(spec: ConstantLengths, ranks: np.ndarray) -> np.ndarray:
    return np.full(len(ranks), spec.tokens, dtype=np.int64)


@lengths_at.register
def _lognormal(spec: LognormalLengths, ranks: np.ndarray) -> np.ndarray:
    # exponent capped well above any legal length: exp would overflow for a far tail
    tokens = np.exp(np.minimum(spec.mu + spec.sigma * ndtri(ranks), 30.0))
    clipped: np.ndarray = np.clip(np.rint(tokens), spec.min_tokens, spec.max_tokens).astype(np.int64)
    return clipped


@lengths_at.register
def _empirical(spec: EmpiricalLengths, ranks: np.ndarray) -> np.ndarray:
    tokens: np.ndarray = np.rint(np.interp(ranks, spec.probabilities, spec.tokens)).astype(np.int64)
    return tokens


@lengths_at.register
def _mixture(spec: MixtureLengths, ranks: np.ndarray) -> np.ndarray:
    # the rank picks the part and, rescaled within the part's share, the quantile of it: one uniform serves both
    edges = np.concatenate([[0.0], np.cumsum(spec.weights) / np.sum(spec.weights)])
    part = np.clip(np.searchsorted(edges, ranks, side="right") - 1, 0, len(spec.parts) - 1)
    tokens = np.empty(len(ranks), dtype=np.int64)
    for index, lognormal in enumerate(spec.parts):
        mine = part == index
        width = edges[index + 1] - edges[index]
        tokens[mine] = _lognormal(lognormal, np.clip((ranks[mine] - edges[index]) / width, 1e-12, 1 - 1e-12))
    return tokens


def seconds_at(spec: EmpiricalSeconds, ranks: np.ndarray) -> np.ndarray:
    """Seconds at ``ranks``, linear in log seconds between the points."""
    seconds: np.ndarray = np.exp(np.interp(ranks, spec.probabilities, np.log(spec.seconds)))
    return seconds


@functools.singledispatch
def draw_ranks(spec: object, n: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """``n`` pairs of ranks (input, output), each uniform on (0, 1), coupled as ``spec`` says."""
    raise TypeError(f"no dependence for {type(spec).__name__}")


@draw_ranks.register
def _independent(spec: IndependentLengths, n: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    return _open(rng.random(n)), _open(rng.random(n))


@draw_ranks.register
def _gaussian(spec: GaussianCopula, n: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    first, second = rng.standard_normal(n), rng.standard_normal(n)
    return _open(ndtr(first)), _open(ndtr(spec.rho * first + np.sqrt(1.0 - spec.rho**2) * second))


@draw_ranks.register
def _from_mass(spec: EmpiricalCopula, n: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    parts = len(spec.mass)
    cumulative = np.cumsum(np.asarray(spec.mass, dtype=np.float64).ravel())
    cell = np.searchsorted(cumulative / cumulative[-1], rng.random(n), side="right")
    inputs = (cell // parts + rng.random(n)) / parts
    outputs = (cell % parts + rng.random(n)) / parts
    return _open(inputs), _open(outputs)


def output_ranks(spec: object, input_ranks: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Output ranks, each uniform on (0, 1), coupled as ``spec`` says with input ranks that are given."""
    n = len(input_ranks)
    if isinstance(spec, GaussianCopula):
        normal = spec.rho * ndtri(_open(input_ranks)) + np.sqrt(1.0 - spec.rho**2) * rng.standard_normal(n)
        return _open(ndtr(normal))
    if not isinstance(spec, EmpiricalCopula):
        return _open(rng.random(n))
    mass = np.asarray(spec.mass, dtype=np.float64)
    cumulative = np.cumsum(mass, axis=1)
    row = np.minimum((input_ranks * len(mass)).astype(np.int64), len(mass) - 1)
    wanted = rng.random(n) * cumulative[row, -1]
    column = np.minimum((cumulative[row] <= wanted[:, None]).sum(axis=1), len(mass) - 1)
    return _open((column + rng.random(n)) / len(mass))


def drifted(
    drift: LengthDrift | None, ranks: tuple[np.ndarray, np.ndarray], arrival_s: np.ndarray
) -> tuple[np.ndarray, ...]:
    """Input and output ranks moved as lengths drift at the time of each."""
    if drift is None:
        return ranks
    place = np.minimum((arrival_s / drift.bin_s).astype(np.int64), len(drift.input_exponents) - 1)
    exponents = (np.asarray(drift.input_exponents), np.asarray(drift.output_exponents))
    return tuple(_open(side ** power[place]) for side, power in zip(ranks, exponents, strict=True))


def _open(ranks: np.ndarray) -> np.ndarray:
    """Off the ends, where quantile functions of unbounded lengths are infinite."""
    inside: np.ndarray = np.clip(ranks, 1e-12, 1.0 - 1e-12)
    return inside

"""Arrival processes: sorted times in [0, duration).

Renewal processes start in equilibrium: the first gap is a uniform part of a length-biased gap, so the rate is constant
from time 0 and no arrival sits at 0 by construction. A rate profile m(t) and flash crowds act by a change of clock: the
process runs in operational time L(t) = integral of m, and each arrival is moved to t = L^-1. That keeps the
burstiness of the process in operational time at every rate, and it stretches the silences of an ON/OFF process where
the rate is low.

Sources: renewal and Markov-modulated processes as in any text on queues; self-exciting: Hawkes 1971 in its cluster
form.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence

import numpy as np
from scipy.special import gamma as gamma_function

from sim.spec.arrivals import (
    FlashCrowd,
    GammaArrivals,
    MarkovModulatedArrivals,
    OnOffArrivals,
    PoissonArrivals,
    RateProfile,
    SelfExcitingArrivals,
    WeibullArrivals,
)

Draw = Callable[[int], np.ndarray]


def draw_arrivals(
    spec: object, duration_s: float, rng: np.random.Generator, profile: RateProfile | None = None,
    flash_crowds: Sequence[FlashCrowd] = (),
) -> np.ndarray:  # fmt: skip
    """Arrival times of the process ``spec`` in [0, ``duration_s``), in seconds."""
    if profile is None and not flash_crowds:
        return draw_process(spec, duration_s, rng)
    times_s, clock_s = operational_clock(duration_s, profile, flash_crowds)
    return inverse_clock(draw_process(spec, float(clock_s[-1]), rng), clock_s, times_s)


def operational_clock(
    duration_s: float, profile: RateProfile | None, flash_crowds: Sequence[FlashCrowd]
) -> tuple[np.ndarray, np.ndarray]:
    """Points (t, L(t)) of the operational clock, linear in between (64 pieces for each ramp of a flash crowd)."""
    points = [np.array([0.0, duration_s])]
    if profile is not None:
        points.append(np.arange(0.0, duration_s, profile.bin_s))
    for crowd in flash_crowds:
        top_s = crowd.start_s + crowd.rise_s
        points += [
            np.linspace(crowd.start_s, top_s, 65),
            np.linspace(top_s + crowd.hold_s, top_s + crowd.hold_s + crowd.fall_s, 65),
        ]
    times_s = np.unique(np.concatenate(points))
    times_s = times_s[times_s <= duration_s]
    middle_s = (times_s[1:] + times_s[:-1]) / 2
    multiplier = np.ones_like(middle_s)
    if profile is not None:
        bins = (middle_s / profile.bin_s).astype(np.int64) % len(profile.multipliers)
        multiplier *= np.asarray(profile.multipliers)[bins]
    for crowd in flash_crowds:
        top_s = crowd.start_s + crowd.rise_s
        corners_s = [crowd.start_s, top_s, top_s + crowd.hold_s, top_s + crowd.hold_s + crowd.fall_s]
        multiplier *= np.interp(middle_s, corners_s, [1.0, crowd.factor, crowd.factor, 1.0])
    return times_s, np.concatenate([[0.0], np.cumsum(multiplier * np.diff(times_s))])


@functools.singledispatch
def draw_process(spec: object, duration_s: float, rng: np.random.Generator) -> np.ndarray:
    """Arrival times of one kind of process at constant conditions."""
    raise TypeError(f"no arrival process for {type(spec).__name__}")


@draw_process.register
def _poisson(spec: PoissonArrivals, duration_s: float, rng: np.random.Generator) -> np.ndarray:
    return np.sort(rng.uniform(0.0, duration_s, rng.poisson(spec.rate_per_s * duration_s)))


@draw_process.register
def _gamma(spec: GammaArrivals, duration_s: float, rng: np.random.Generator) -> np.ndarray:
    shape = 1.0 / spec.cv**2
    scale_s = 1.0 / (spec.rate_per_s * shape)
    first_s = rng.uniform() * rng.gamma(shape + 1.0, scale_s)  # a length-biased Gamma gap has one more shape
    return _renewal(first_s, lambda n: rng.gamma(shape, scale_s, n), spec.rate_per_s, duration_s)


@draw_process.register
def _weibull(spec: WeibullArrivals, duration_s: float, rng: np.random.Generator) -> np.ndarray:
    scale_s = 1.0 / (spec.rate_per_s * float(gamma_function(1.0 + 1.0 / spec.shape)))
    # x**shape of a length-biased Weibull gap is Gamma distributed with shape 1 + 1/shape
    first_s = rng.uniform() * scale_s * rng.gamma(1.0 + 1.0 / spec.shape) ** (1.0 / spec.shape)
    return _renewal(first_s, lambda n: scale_s * rng.weibull(spec.shape, n), spec.rate_per_s, duration_s)


def _renewal(first_s: float, gaps: Draw, rate_per_s: float, duration_s: float) -> np.ndarray:
    times = [np.array([first_s])]
    while times[-1][-1] < duration_s:
        expected = rate_per_s * (duration_s - times[-1][-1])
        n = int(expected + 4.0 * np.sqrt(expected) + 16)
        times.append(times[-1][-1] + np.cumsum(gaps(n)))
    all_times = np.concatenate(times)
    return all_times[all_times < duration_s]


@draw_process.register
def _markov_modulated(spec: MarkovModulatedArrivals, duration_s: float, rng: np.random.Generator) -> np.ndarray:
    sojourn_s, rates = np.asarray(spec.mean_sojourn_s), np.asarray(spec.rates_per_s)
    states_n = len(rates)
    state = int(rng.choice(states_n, p=sojourn_s / sojourn_s.sum()))
    n = int(2.0 * duration_s / sojourn_s.min()) + 16
    steps = np.concatenate([[0], rng.integers(1, states_n, n)])
    states = (state + np.cumsum(steps)) % states_n
    ends_s = np.cumsum(rng.exponential(sojourn_s[states]))
    while ends_s[-1] < duration_s:  # an unlucky run of short sojourns
        more = (states[-1] + np.cumsum(rng.integers(1, states_n, n))) % states_n
        ends_s = np.concatenate([ends_s, ends_s[-1] + np.cumsum(rng.exponential(sojourn_s[more]))])
        states = np.concatenate([states, more])
    times_s = np.concatenate([[0.0], ends_s])
    work = np.concatenate([[0.0], np.cumsum(np.diff(times_s) * rates[states])])
    total = float(np.interp(duration_s, times_s, work))
    arrivals = np.sort(rng.uniform(0.0, total, rng.poisson(total)))
    return inverse_clock(arrivals, work, times_s)


@draw_process.register
def _on_off(spec: OnOffArrivals, duration_s: float, rng: np.random.Generator) -> np.ndarray:
    cycle_s = spec.mean_on_s + spec.mean_off_s
    burn_in_s = 10.0 * cycle_s
    on_s: list[np.ndarray] = []
    off_s: list[np.ndarray] = []
    total_s = 0.0
    while total_s < burn_in_s + duration_s:
        n = int((burn_in_s + duration_s - total_s) / cycle_s) + 16
        on_s.append(_lognormal(spec.mean_on_s, spec.on_cv, n, rng))
        off_s.append(_lognormal(spec.mean_off_s, spec.off_cv, n, rng))
        total_s += float(on_s[-1].sum() + off_s[-1].sum())
    lengths_s = np.stack([np.concatenate(on_s), np.concatenate(off_s)], axis=1).ravel()
    is_on = np.arange(len(lengths_s)) % 2 == 0
    times_s = np.concatenate([[0.0], np.cumsum(lengths_s)]) - burn_in_s
    burst_s = np.concatenate([[0.0], np.cumsum(np.where(is_on, lengths_s, 0.0))])
    arrivals = _gamma_in_bursts(spec, float(burst_s[-1]), rng)
    moved = inverse_clock(arrivals, burst_s, times_s)
    return moved[(moved >= 0) & (moved < duration_s)]


def _gamma_in_bursts(spec: OnOffArrivals, duration_s: float, rng: np.random.Generator) -> np.ndarray:
    return draw_process(GammaArrivals(rate_per_s=spec.on_rate_per_s, cv=spec.gap_cv), duration_s, rng)


def _lognormal(mean: float, cv: float, n: int, rng: np.random.Generator) -> np.ndarray:
    variance = np.log1p(cv**2)
    return rng.lognormal(np.log(mean) - variance / 2, np.sqrt(variance), n)


def inverse_clock(values: np.ndarray, work: np.ndarray, times_s: np.ndarray) -> np.ndarray:
    """Times at which the clock ``work`` (non-decreasing, flat in silences) passes ``values``."""
    piece = np.clip(np.searchsorted(work, values, side="right") - 1, 0, len(work) - 2)
    height = work[piece + 1] - work[piece]
    share = (values - work[piece]) / np.where(height > 0, height, 1.0)
    inverse: np.ndarray = times_s[piece] + share * (times_s[piece + 1] - times_s[piece])
    return inverse


@draw_process.register
def _self_exciting(spec: SelfExcitingArrivals, duration_s: float, rng: np.random.Generator) -> np.ndarray:
    # parents from before time 0 too, so that their offspring make the beginning no quieter than the rest
    before_s = 20.0 * spec.decay_s / (1.0 - spec.branching)
    parents_rate = spec.rate_per_s * (1.0 - spec.branching)
    generation = rng.uniform(-before_s, duration_s, rng.poisson(parents_rate * (duration_s + before_s)))
    everyone = [generation]
    while len(generation):
        children = rng.poisson(spec.branching, len(generation))
        generation = np.repeat(generation, children) + rng.exponential(spec.decay_s, int(children.sum()))
        generation = generation[generation < duration_s]
        everyone.append(generation)
    times_s = np.concatenate(everyone)
    return np.sort(times_s[times_s >= 0])

"""Draws of phase durations."""

from __future__ import annotations

import math

import numpy as np

from sim.spec.coldstart import ConstantTime, LognormalTime, Time, UniformTime


def draw_s(time: Time, rng: np.random.Generator) -> float:
    """Seconds that one occurrence of ``time`` takes."""
    match time:
        case ConstantTime():
            return time.seconds
        case UniformTime():
            return float(rng.uniform(time.low_s, time.high_s))
        case LognormalTime():
            return time.median_s * math.exp(time.sigma * float(rng.standard_normal()))


def lognormal_of(mean: float, median: float) -> tuple[float, float]:
    """``mu, sigma`` of the lognormal with this mean and median (mean >= median > 0)."""
    return math.log(median), math.sqrt(2 * math.log(mean / median))

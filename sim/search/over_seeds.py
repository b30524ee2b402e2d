"""The verdict of a scenario in which something is random: judged over seeds, since one run is one draw.

    holds    the answer's own run, and every fresh one
    claim    all of them hold, and the upper end of the mean tightness (Student t, one-sided) lies within the limits

Fresh seeds are those that no search has seen. Where they disagree the verdict is undecided: how many held is said.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from scipy.special import stdtrit

from sim.search.point import Point


def over_seeds(judged: Mapping[str, Any], fresh: Sequence[Point]) -> dict[str, Any]:
    """``summary["slo"]`` of an answer that holds, as its ``fresh`` runs (at least two) let it stand."""
    held = [point.holds for point in fresh]
    tightness = np.array([point.tightness for point in fresh])
    upper = math.inf
    if np.isfinite(tightness).all():
        half = stdtrit(len(tightness) - 1, judged["confidence"]) * tightness.std(ddof=1) / math.sqrt(len(tightness))
        upper = float(tightness.mean() + half)
    claim = bool(all(held) and upper <= 1) if judged["targets"] and judged["needs_s"] is None else None
    return {
        **judged,
        "verdict": judged["verdict"] if all(held) else "undecided",
        "claim": claim,
        "seeds": [{"seed": point.seed, "holds": point.holds} for point in fresh],
        "worst_ratio_upper": upper,
    }

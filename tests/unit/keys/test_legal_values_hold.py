"""Legal values that a list states are the ones that hold: what lies outside is refused."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from sim.spec.arrivals import MarkovModulatedArrivals, RateProfile
from sim.spec.prompts import LengthDrift, SessionPrompts
from sim.spec.spot import SpotSpec, TimeOfDayHazard
from sim.spec.timeline import RouteMixChange
from sim.spec.traffic import (
    EmpiricalCopula,
    EmpiricalLengths,
    EmpiricalSeconds,
    LognormalLengths,
    MixtureLengths,
    PrefixGroups,
    PrefixTree,
)
from sim.spec.workload import Mix

SECONDS = {"probabilities": (0.0, 1.0), "seconds": (1.0, 2.0)}
PROMPTS: dict[str, Any] = {
    "probabilities": (0.0, 1.0), "first_ranks": (0.0, 1.0), "drop_probability": 0.1, "drop_ratios": (0.0, 1.0),
    "return_probability": 0.5, "below_steps": (-0.5, 0.5), "extend_steps": ((0.0, 0.5),),
}  # fmt: skip
TREE: dict[str, Any] = {"probabilities": (0.0, 1.0), "shared_fraction": ((0.0, 0.5),), "age_s": SECONDS}
PART = LognormalLengths(mu=5.0, sigma=1.0)


@pytest.mark.parametrize(("spec", "legal", "outside"), [
    (RateProfile, {"bin_s": 1.0, "multipliers": (0.0, 1.0)}, {"multipliers": (0.0, 0.0)}),
    (MarkovModulatedArrivals, {"rates_per_s": (0.0, 1.0), "mean_sojourn_s": (1.0, 1.0)}, {"mean_sojourn_s": (1.0, 0.0)}),
    (TimeOfDayHazard, {"mean_life_h": 1.0, "multipliers": (1.0,)}, {"multipliers": (-1.0, 2.0)}),
    (SpotSpec, {"price_usd_per_gpu_hour": ((0.0, 1.0),)}, {"price_usd_per_gpu_hour": ((0.0, -1.0),)}),
    (RouteMixChange, {"at_s": 0.0, "shares": {"chat": 1.0}}, {"shares": {"chat": -1.0, "code": 2.0}}),
    (RouteMixChange, {"at_s": 0.0, "shares": {"chat": 1.0}}, {"shares": {"chat": 0.0}}),
    (Mix, {"label": "route", "shares": {"chat": 1.0}}, {"shares": {"chat": 0.0}}),
    (LognormalLengths, {"mu": 5.0, "sigma": 1.0}, {"mu": 500.0}),
    (EmpiricalLengths, {"probabilities": (0.0, 1.0), "tokens": (1.0, 2.0)}, {"probabilities": (0.0, 0.5)}),
    (EmpiricalLengths, {"probabilities": (0.0, 1.0), "tokens": (1.0, 2.0)}, {"tokens": (0.0, 2.0)}),
    (MixtureLengths, {"weights": (1.0,), "parts": (PART,)}, {"weights": (0.0,)}),
    (EmpiricalCopula, {"mass": ((1.0,),)}, {"mass": ((0.0,),)}),
    (EmpiricalSeconds, {"probabilities": (0.0, 0.5, 1.0), "seconds": (1.0, 2.0, 3.0)}, {"probabilities": (0.0, 2.0, 1.0)}),
    (PrefixGroups, {"weights": (1.0,), "tokens": (10,)}, {"weights": (0.0,)}),
    (PrefixTree, TREE, {"probabilities": (0.5, 0.7)}),
    (PrefixTree, TREE, {"shared_fraction": ((0.0, 1.5),)}),
    (PrefixTree, TREE, {"kept_fraction": ((0.0, 1.0), (-0.5, 1.0))}),
    (SessionPrompts, PROMPTS, {"probabilities": (0.0, 0.9)}),
    (SessionPrompts, PROMPTS, {"first_ranks": (0.0, 2.0)}),
    (SessionPrompts, PROMPTS, {"below_steps": (-2.0, 0.0)}),
    (LengthDrift, {"bin_s": 1.0, "input_exponents": (1.0,), "output_exponents": (1.0,)}, {"input_exponents": (0.0,)}),
])  # fmt: skip
def test_what_lies_outside_is_refused(spec: Any, legal: dict[str, Any], outside: dict[str, Any]) -> None:
    spec(**legal)
    with pytest.raises(ValidationError):
        spec(**legal | outside)

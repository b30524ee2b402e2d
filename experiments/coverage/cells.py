"""The traces of the coverage experiment: six processes on small fleets, at three settings.

One cell is a setting, a process and a length; its traces differ by seed alone. What is kept of a trace is one row a request:
arrival, TTFT, TPOT. ``main`` is what the method was calibrated on; the others ask whether it holds elsewhere: other loads,
burstier and slower processes, more replicas, larger batches.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from sim.cli.compose import composed_scenario
from sim.run import simulate
from sim.spec import Scenario
from sim.spec.arrivals import (
    Arrivals,
    GammaArrivals,
    MarkovModulatedArrivals,
    PoissonArrivals,
    RateProfile,
    SelfExcitingArrivals,
)
from sim.spec.traffic import GeneratorSpec, LognormalLengths

MINUTES = (15, 60)
KNEE_PER_S = 2.1
"""Requests a second at which the two small replicas' waiting has bent upwards."""
Process = tuple[Arrivals, RateProfile | None]


@dataclass(frozen=True)
class Setting:
    """A fleet of 8B on L40S and what arrives."""

    overrides: tuple[str, ...]
    processes: Mapping[str, Process]


def day(amplitude: float, length_s: float) -> RateProfile:
    """A day, squeezed into ``length_s``."""
    hours = np.arange(24)
    return RateProfile(bin_s=length_s / 24, multipliers=tuple(1 + amplitude * np.sin(2 * np.pi * (hours - 6) / 24)))


SETTINGS = {
    "main": Setting(
        ("engine.max_num_seqs=8", "fleet.replicas=2"),
        {
            "poisson_light": (PoissonArrivals(rate_per_s=0.6 * KNEE_PER_S), None),
            "poisson_knee": (PoissonArrivals(rate_per_s=KNEE_PER_S), None),
            "self_exciting": (SelfExcitingArrivals(rate_per_s=0.75 * KNEE_PER_S, branching=0.5, decay_s=10.0), None),
            "gamma_cv3": (GammaArrivals(rate_per_s=0.75 * KNEE_PER_S, cv=3.0), None),
            "mmpp": (
                MarkovModulatedArrivals(rates_per_s=(0.5 * KNEE_PER_S, 1.2 * KNEE_PER_S), mean_sojourn_s=(60.0, 20.0)),
                None,
            ),
            "diurnal": (PoissonArrivals(rate_per_s=0.75 * KNEE_PER_S), day(0.4, 900.0)),
        },
    ),
    "four_small": Setting(
        ("engine.max_num_seqs=8", "fleet.replicas=4"),
        {
            "poisson_light": (PoissonArrivals(rate_per_s=1.8), None),
            "poisson_knee": (PoissonArrivals(rate_per_s=4.0), None),
            "self_exciting": (SelfExcitingArrivals(rate_per_s=2.8, branching=0.7, decay_s=5.0), None),
            "gamma_cv3": (GammaArrivals(rate_per_s=3.4, cv=3.0), None),
            "mmpp": (MarkovModulatedArrivals(rates_per_s=(1.5, 5.5), mean_sojourn_s=(120.0, 20.0)), None),
            "diurnal": (PoissonArrivals(rate_per_s=2.8), day(0.7, 900.0)),
        },
    ),
    "large_batches": Setting(
        ("fleet.replicas=2",),
        {
            "poisson_light": (PoissonArrivals(rate_per_s=3.5), None),
            "poisson_knee": (PoissonArrivals(rate_per_s=6.6), None),
            "self_exciting": (SelfExcitingArrivals(rate_per_s=4.5, branching=0.6, decay_s=20.0), None),
            "gamma_cv3": (GammaArrivals(rate_per_s=5.0, cv=3.0), None),
            "mmpp": (MarkovModulatedArrivals(rates_per_s=(3.0, 7.5), mean_sojourn_s=(90.0, 30.0)), None),
            "diurnal": (PoissonArrivals(rate_per_s=4.5), day(0.5, 3600.0)),
        },
    ),
}


def scenario_of(setting: Setting, process: str, minutes: int) -> Scenario:
    """The setting's fleet under ``process``."""
    arrivals, profile = setting.processes[process]
    generator = GeneratorSpec(
        duration_s=60.0 * minutes, arrivals=arrivals, profile=profile,
        input_tokens=LognormalLengths(mu=6.4, sigma=1.0, max_tokens=6000),
        output_tokens=LognormalLengths(mu=5.0, sigma=0.7, max_tokens=1500),
    )  # fmt: skip
    scenario = composed_scenario([*setting.overrides, "output.timeseries=false"])
    workload = replace(scenario.workload, generator=generator, packaged=None, rate_scale=1.0)
    return replace(scenario, workload=workload)


def traces(setting: Setting, process: str, minutes: int, count: int, folder: Path) -> list[np.ndarray]:
    """``count`` traces of a cell, each an array of (arrival_s, ttft_s, tpot_s) rows; kept in ``folder`` for the next run."""
    scenario = scenario_of(setting, process, minutes)
    found = []
    for seed in range(count):
        path = folder / f"{process}_{minutes}_{seed}.npy"
        if not path.is_file():
            folder.mkdir(parents=True, exist_ok=True)
            requests = simulate(replace(scenario, seed=seed)).requests
            np.save(path, requests[["arrival_s", "ttft_s", "tpot_s"]].to_numpy(dtype=float))
        found.append(np.load(path))
    return found

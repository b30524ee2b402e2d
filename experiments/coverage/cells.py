"""The traces of the coverage experiment: six processes, each simulated on the same two small replicas.

One cell is a process and a length; its traces differ by seed alone. What is kept of a trace is one row a request: arrival,
TTFT, TPOT. The replicas are small (``max_num_seqs=8``) so that an hour near the knee is 5,000 requests and a cell of 400
traces takes minutes of one core.
"""

from __future__ import annotations

from dataclasses import replace
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
"""Requests a second at which the two replicas' waiting has bent upwards."""
DAY_S = 900.0
"""The diurnal process squeezes a day into this, so that every trace holds whole days."""

PROCESSES: dict[str, tuple[Arrivals, RateProfile | None]] = {
    "poisson_light": (PoissonArrivals(rate_per_s=0.6 * KNEE_PER_S), None),
    "poisson_knee": (PoissonArrivals(rate_per_s=KNEE_PER_S), None),
    "self_exciting": (SelfExcitingArrivals(rate_per_s=0.75 * KNEE_PER_S, branching=0.5, decay_s=10.0), None),
    "gamma_cv3": (GammaArrivals(rate_per_s=0.75 * KNEE_PER_S, cv=3.0), None),
    "mmpp": (
        MarkovModulatedArrivals(rates_per_s=(0.5 * KNEE_PER_S, 1.2 * KNEE_PER_S), mean_sojourn_s=(60.0, 20.0)),
        None,
    ),
    "diurnal": (
        PoissonArrivals(rate_per_s=0.75 * KNEE_PER_S),
        RateProfile(bin_s=DAY_S / 24, multipliers=tuple(1 + 0.4 * np.sin(2 * np.pi * (np.arange(24) - 6) / 24))),
    ),
}


def scenario_of(process: str, minutes: int) -> Scenario:
    """Two replicas of 8B on L40S under ``process``."""
    arrivals, profile = PROCESSES[process]
    generator = GeneratorSpec(
        duration_s=60.0 * minutes, arrivals=arrivals, profile=profile,
        input_tokens=LognormalLengths(mu=6.4, sigma=1.0, max_tokens=6000),
        output_tokens=LognormalLengths(mu=5.0, sigma=0.7, max_tokens=1500),
    )  # fmt: skip
    scenario = composed_scenario(["engine.max_num_seqs=8", "fleet.replicas=2", "output.timeseries=false"])
    workload = replace(scenario.workload, generator=generator, packaged=None, rate_scale=1.0)
    return replace(scenario, workload=workload)


def traces(process: str, minutes: int, count: int, folder: Path) -> list[np.ndarray]:
    """``count`` traces of a cell, each an array of (arrival_s, ttft_s, tpot_s) rows; kept in ``folder`` for the next run."""
    scenario = scenario_of(process, minutes)
    found = []
    for seed in range(count):
        path = folder / f"{process}_{minutes}_{seed}.npy"
        if not path.is_file():
            folder.mkdir(parents=True, exist_ok=True)
            requests = simulate(replace(scenario, seed=seed)).requests
            np.save(path, requests[["arrival_s", "ttft_s", "tpot_s"]].to_numpy(dtype=float))
        found.append(np.load(path))
    return found

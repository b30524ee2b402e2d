"""How far apart are known servers? The spread of each multiplier over the measured ones, their presets taken as they are.

    python experiments/validation/multiplier_spread.py ../shared/measured

Each server's errors of mean TTFT and TPOT (logarithms) are taken as what multipliers of its own would do, to first order:

    errors = slopes x multipliers' logarithms + noise,    multipliers' logarithms ~ normal(0, spread of each)

The slopes are differences over 10 % of each multiplier. The spreads are those under which the errors of all servers are
likeliest; one that was off by much alone widens them. Noise is what two runs of one server differ by (2 %). Of runs past the
knee TPOT alone counts, and runs that a multiplier would tip over it are left out: a queue multiplies what they are off.
Prints the spreads that ``sim.trust.known_servers`` states.
"""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
from scipy.optimize import minimize

from sim.trust.cases import MeasuredCase, read_case
from sim.trust.validate import predict

NAMES = ("compute", "memory", "host", "front_end")
STEP = 0.1
NOISE = 0.02
ONE_OF_20 = 3.84
"""Of twice the log likelihood."""
OVER = ("overloaded", "KV-bound, overloaded")
STEEPEST = 2.5
"""Slope of a run that is not about to tip over."""


def means(case: MeasuredCase, multipliers: dict[str, float]) -> tuple[np.ndarray, str]:
    """Logs of mean TTFT and TPOT, milliseconds, and the regime."""
    found = predict(replace(case, gpu=replace(case.gpu, step_time_scale=multipliers)))
    return np.log([1e3 * np.nanmean(found.ttft_s), 1e3 * np.nanmean(found.tpot_s)]), found.regime


def server(folder: Path) -> tuple[np.ndarray, np.ndarray] | None:
    """Errors of mean TTFT and TPOT and their slopes in each multiplier; None where the run tells neither."""
    case = read_case(folder)
    if case.grid or not {"ttft", "tpot"} <= set(case.measured) or case.failures:
        return None
    truth = np.log([case.measured["ttft"]["mean"], case.measured["tpot"]["mean"]])
    plain, regime = means(case, {})
    names = NAMES[:3] if case.latency_point == "server" else NAMES
    slopes = [(means(case, {name: 1 + STEP})[0] - plain) / np.log(1 + STEP) for name in names]
    columns = np.stack([*slopes, *[np.zeros(2)] * (len(NAMES) - len(names))], axis=1)
    print(folder.name, regime, np.round(plain - truth, 3), np.round(columns, 2).tolist(), flush=True)
    rows = slice(1, None) if regime in OVER else slice(None)
    return None if np.abs(columns[rows]).max() > STEEPEST else ((truth - plain)[rows], columns[rows])


def unlikeliness(log_spread: np.ndarray, servers: list[tuple[np.ndarray, np.ndarray]]) -> float:
    total = 0.0
    for errors, slopes in servers:
        covariance = slopes @ np.diag(np.exp(2 * log_spread)) @ slopes.T + NOISE**2 * np.eye(len(errors))
        total += float(errors @ np.linalg.solve(covariance, errors) + np.linalg.slogdet(covariance)[1])
    return total


def profile(i: int, spread: float, start: np.ndarray, servers: list[tuple[np.ndarray, np.ndarray]]) -> float:
    """The least unlikeliness with spread number ``i`` held."""

    def others(rest: np.ndarray) -> float:
        return unlikeliness(np.insert(rest, i, np.log(spread)), servers)

    return float(minimize(others, np.delete(start, i), method="Nelder-Mead").fun)


def main(folders: list[Path]) -> None:
    cases = sorted({file.parent for folder in folders for file in folder.rglob("measured.json")})
    servers = [found for found in map(server, cases) if found is not None]
    best = minimize(unlikeliness, np.full(len(NAMES), np.log(0.1)), args=(servers,), method="Nelder-Mead")
    print(f"{len(servers)} servers")
    for i, (name, spread) in enumerate(zip(NAMES, np.exp(best.x), strict=True)):
        allowed = [at for at in np.geomspace(0.005, 1.0, 40) if profile(i, float(at), best.x, servers) < best.fun + ONE_OF_20]
        print(f"{name:<10} spread {100 * spread:.1f} %, 95 % {100 * min(allowed):.1f} to {100 * max(allowed):.1f} %")


if __name__ == "__main__":
    main([Path(argument) for argument in sys.argv[1:]])

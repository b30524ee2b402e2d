"""``fit_multipliers``: fits a few physical multipliers to measurements of one's own server.

    compute, memory, host, front_end      multiply the shares of the step time and the time before the engine

The measured arrivals are replayed through the engine; multipliers minimise the relative errors of every request's
TTFT and TPOT (least squares on logarithms, soft in the tails). Uncertainty: 95 % intervals from the curvature and
the scatter of twenty blocks of neighbouring requests, because requests that ran together err together. A file may be
a part of a longer run, its last requests then having had company that it does not name: both readings are fitted,
silence after the last arrival and the same load going on, and the one that explains the data better is kept.

Two multipliers that the data cannot tell apart (their estimates are correlated beyond 0.99) are refused, not
guessed: one load level cannot separate reading weights from the CPU's share. Hold one with ``--fix host=1``, or
measure idle and busy, short and long prompts. One that hardly shows in the data at all (a front end behind a queue
of minutes) stays at 1. Reports of means that cannot tell the multipliers apart give an anchor instead
(``sim.trust.anchor``).

Leaves out: the scheduler's own parameters, prefix sharing that the file does not name, drift during the run.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from scipy.optimize import least_squares

from sim.errors import ConfigError
from sim.perf import resolve_engine
from sim.perf.choose import SCALES
from sim.spec import EngineSpec, GpuSpec, ModelSpec
from sim.trust.anchor import fit_anchor
from sim.trust.bench import HIGHEST, LOWEST, Bench, Calibration
from sim.trust.measured_run import Observations
from sim.watch import watch_of_this_job

_BLOCKS = 20
_OFFSET = 10.0
"""Added to the logarithms, so that the solver's relative steps are a share of the multiplier wherever it stands."""
_STEPS = (0.5, 0.2, 0.1, 0.05)
"""Differences are taken coarsely first: one request that falls into another step makes a discrete simulation rough
from near by. On made servers of known multipliers this leaves a sixth of the error that (0.05, 0.01) leaves."""
_TOO_CORRELATED = 0.99
_CLEARLY_BETTER = 0.8
"""The load is taken to have gone on only where that leaves at most this share of the silent reading's error."""
_SLIVER = 0.05
_UNSEEN = 0.005
"""A multiplier whose doubling moves latencies by less than half a per cent is not in the data: it stays at 1."""


def fit_multipliers(
    runs: list[Observations],
    model: ModelSpec,
    gpu: GpuSpec,
    engine: EngineSpec,
    fixed: Mapping[str, float] | None = None,
) -> Calibration:
    """The multipliers that explain ``runs``.

    Raises:
        ConfigError: the data cannot tell two of them apart.
    """
    resolved = resolve_engine(engine, model, gpu)
    held = dict(fixed or {})
    told = sum(len(run.known_means) for run in runs if run.point is not None)
    only_means = all(run.point is not None for run in runs)
    if only_means and told <= len(SCALES) - len(held):
        return fit_anchor(Bench(runs, model, gpu, resolved, held))
    readings = []
    for goes_on in (False, True):
        if goes_on and not any(_end_matters(run) for run in runs):
            continue
        bench = Bench(runs, model, gpu, resolved, dict(held), goes_on)
        try:
            readings.append(_fit_reading(bench, dict(held)))
        except ConfigError as refusal:
            refused = refusal
    if not readings and only_means:
        return fit_anchor(Bench(runs, model, gpu, resolved, held))
    if not readings:
        raise refused
    silent, busy = readings[0], readings[-1]
    return busy[0] if busy[1] < _CLEARLY_BETTER * silent[1] else silent[0]


def _end_matters(run: Observations) -> bool:
    """Whether what happened after the last arrival concerns more than a sliver of the run."""
    return run.point is None and float(np.nanmax(run.e2e_s)) > _SLIVER * run.trace.duration_s


def _fit_reading(bench: Bench, held: dict[str, float]) -> tuple[Calibration, float]:
    """The fit under one reading of the file, and what it leaves unexplained."""
    free = [name for name in SCALES if name not in held]
    start = bench.coarse_start(free)
    found, errors, unseen = _minimise(bench, free, start)
    if unseen:  # nothing in the data moves with it, so nothing is lost by leaving it where it was
        bench.held.update(dict.fromkeys(unseen, 1.0))
        held.update(bench.held)
        free = [name for name in free if name not in unseen]
        found, errors, unseen = _minimise(bench, free, {name: found[name] for name in free})
    if unseen or not free:
        raise ConfigError(_refusal(unseen or list(SCALES), "leaves no trace in these data"))
    calibration = Calibration(
        multipliers={name: held.get(name, found.get(name, 1.0)) for name in SCALES},
        interval_95={n: (found[n] * np.exp(-1.96 * e), found[n] * np.exp(1.96 * e)) for n, e in errors.items()},
        errors_before=bench.mean_errors(dict.fromkeys(free, 1.0)),
        errors_after=bench.mean_errors(found),
        requests=sum(len(run.trace) for run in bench.runs),
        load_goes_on=bench.goes_on,
    )
    return calibration, float(np.mean(np.abs(bench.residuals(found))))


def _minimise(
    bench: Bench, free: list[str], start: Mapping[str, float]
) -> tuple[dict[str, float], dict[str, float], list[str]]:
    """``(multipliers, standard errors of their logarithms, names that the data do not show)``."""

    watch = watch_of_this_job()

    def residuals(x: np.ndarray) -> np.ndarray:
        watch.points += 1
        return bench.residuals(dict(zip(free, np.exp(x - _OFFSET), strict=True)))

    x = np.log([start[name] for name in free]) + _OFFSET
    for step in _STEPS:
        best = least_squares(
            residuals,
            x,
            bounds=(np.log(LOWEST) + _OFFSET - 1e-9, np.log(HIGHEST) + _OFFSET),
            loss="soft_l1",
            f_scale=0.2,
            diff_step=step / _OFFSET,
            x_scale="jac",
            max_nfev=25,
        )
        x = best.x
    found = {name: float(value) for name, value in zip(free, np.exp(best.x - _OFFSET), strict=True)}
    errors, unseen = _standard_errors(best.jac, best.fun, free, found)
    return found, errors, unseen


def _standard_errors(
    jacobian: np.ndarray, residuals: np.ndarray, names: list[str], found: Mapping[str, float]
) -> tuple[dict[str, float], list[str]]:
    """Standard error of each log multiplier, scattered by block; and the names that no residual depends on.

    A multiplier at its lower bound is 'not there' (a server-side clock sees no front end); it has no error.
    """
    size = np.sqrt((jacobian**2).mean(axis=0))
    live = [i for i, name in enumerate(names) if found[name] > 1.5 * LOWEST]
    unseen = [names[i] for i in live if size[i] < _UNSEEN]
    if unseen or not live:
        return {}, unseen
    j = jacobian[:, live]
    curvature = j.T @ j
    inverse = np.linalg.pinv(curvature, rcond=1e-12)
    spread = np.sqrt(np.maximum(np.diag(inverse), 1e-300))
    correlation = inverse / np.outer(spread, spread)
    for a in range(len(live)):
        for b in range(a):
            if abs(correlation[a, b]) > _TOO_CORRELATED:
                pair = [names[live[b]], names[live[a]]]
                raise ConfigError(_refusal(pair, f"cannot be told apart (correlation {correlation[a, b]:+.3f})"))
    scores = np.array([
        block.sum(axis=0) for block in np.array_split(j * residuals[:, None], min(_BLOCKS, len(residuals)))
    ])  # fmt: skip
    covariance = inverse @ (scores.T @ scores) @ inverse
    errors = {names[i]: float(np.sqrt(covariance[k, k])) for k, i in enumerate(live)}
    # not known within a factor of e, and not because another one stands in for it: the data hardly contain it
    vague = [name for name, error in errors.items() if error > 1.0]
    return errors, vague


def _refusal(names: list[str], why: str) -> str:
    return (
        f"calibrate: {' and '.join(names)} {why}. Measure at two load levels or more (idle and busy, short and long "
        f"prompts), or hold one: --fix {names[-1]}=1"
    )

"""An anchor: the simulator brought to one measured operating point.

A report of means has two numbers where the step time has four multipliers. Instead of refusing it, the whole step
(compute, memory and host alike) is multiplied by the one number that makes the simulated TPOT the measured one (E2E
where TPOT is not reported, else TTFT); of several points the mean of their logarithms is brought to 0. What-if
questions near the anchor's load then start from what was measured; far from it the shares of the step time, which the
anchor does not tell, decide, and the page says so.
"""

from __future__ import annotations

import math

import numpy as np

from sim.errors import ConfigError
from sim.trust.bench import HIGHEST, LOWEST, Bench, mean_ratios, scales_of
from sim.trust.calibration import Calibration

_STEP_SHARES = ("compute", "memory", "host")
_ROUNDS = 20
_CLOSE = 1e-3
"""Of the logarithm: a thousandth, far below what two runs of one server differ by."""


def fit_anchor(bench: Bench) -> Calibration:
    """One multiplier for the shares of the step time that are not held.

    Raises:
        ConfigError: all are held, or no multiplier brings the point about.
    """
    free = [name for name in _STEP_SHARES if name not in bench.held]
    if not free:
        raise ConfigError(f"calibrate: --fix holds {', '.join(_STEP_SHARES)}; one must be free")
    bench.held.setdefault("front_end", 1.0)
    found = 1.0
    for _ in range(_ROUNDS):
        miss = _log_miss(bench, dict.fromkeys(free, found))
        if abs(miss) < _CLOSE:
            break
        found *= math.exp(-miss)
        if not LOWEST < found < HIGHEST:
            raise ConfigError(
                f"calibrate: the measured times would need steps {found:.3g} times as long as the preset's; are model, GPU "
                "and tensor parallel size those that were measured?"
            )
    return Calibration(
        multipliers={name: bench.held.get(name, found if name in free else 1.0) for name in scales_of(bench.engine)},
        interval_95={},
        errors_before=bench.test({}).mean_errors,
        errors_after=bench.test(dict.fromkeys(free, found)).mean_errors,
        requests=sum(run.point.requests if run.point is not None else len(run.trace) for run in bench.runs),
        load_goes_on=False,
        anchored=True,
    )


def _log_miss(bench: Bench, multipliers: dict[str, float]) -> float:
    """Mean logarithm of predicted / measured over the points, each by the figure that tells most of its steps."""
    guesses = bench.predict(multipliers)
    return float(np.mean([
        math.log(next(iter(mean_ratios(run, guess).values()))) for run, guess in zip(bench.runs, guesses, strict=True)
    ]))  # fmt: skip

"""What a fit is made on: the measured runs, replayed under given multipliers and compared."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np

from sim.engine.policies import make_scheduler
from sim.errors import ConfigError
from sim.fleet.blueprint import Blueprint
from sim.perf import FrontEnd, step_time_model
from sim.spec import EngineSpec, GpuSpec, ModelSpec
from sim.trust.measured_run import Observations
from sim.trust.replay import Replay, closed_loop, replay
from sim.workload.trace import Trace

LOWEST, HIGHEST = 0.01, 1e6
"""Multipliers looked at."""
_MOST_COPIES = 3
_COARSE = (1.0, 10.0, 100.0, 1e3, 1e4)
"""Multiples tried for ``compute`` before the fit: on a CPU or an unknown device the preset may be far off."""


@dataclass(frozen=True)
class Calibration:
    """Fitted multipliers, how well they are known, and what they explain."""

    multipliers: dict[str, float]
    interval_95: dict[str, tuple[float, float]]
    """Of the fitted ones; those held fixed are not listed."""
    errors_before: dict[str, float]
    """Predicted / measured - 1 of mean TTFT, TPOT and E2E with every multiplier 1."""
    errors_after: dict[str, float]
    requests: int
    load_goes_on: bool
    """Whether the data are explained better if the load went on after the last request of the file."""
    anchored: bool = False
    """One multiplier for the whole step: the data say how fast the server is at their load, not why."""


class Bench:
    """Replays the runs under given multipliers."""

    def __init__(
        self, runs: list[Observations], model: ModelSpec, gpu: GpuSpec, engine: EngineSpec, held: dict[str, float],
        goes_on: bool = False,
    ) -> None:  # fmt: skip
        server = Blueprint("calibrate", model, gpu, engine)
        self.runs, self.model, self.gpu, self.engine, self.held = runs, model, gpu, server.engine, held
        self.goes_on = goes_on
        self.traces = [continued(run) if goes_on else run.trace for run in runs]
        self.num_gpu_blocks, self.groups = server.blocks, server.groups
        self._check_fit()

    def _check_fit(self) -> None:
        """A closed loop waits for every answer: one that cannot be given would end it."""
        scheduler = make_scheduler(self.engine, self.num_gpu_blocks, "bench", lambda: 0.0, groups=self.groups)
        for run in self.runs:
            if run.concurrency is None:
                continue
            for prompt, output in set(zip(run.trace.input_tokens.tolist(), run.trace.output_tokens.tolist(), strict=True)):
                refusal = scheduler.refusal(prompt, output)
                if refusal is not None:
                    raise ConfigError(
                        f"{run.source}: a request of {prompt} + {output} tokens does not fit the engine ({refusal}); raise "
                        "engine.max_model_len, or take the model and GPU that were measured"
                    )

    def predict(self, multipliers: Mapping[str, float]) -> list[Replay]:
        """Every run under ``multipliers``."""
        gpu = replace(self.gpu, step_time_scale={**multipliers, **self.held})
        time = step_time_model(self.model, gpu, self.engine)
        out = []
        for run, trace in zip(self.runs, self.traces, strict=True):
            if run.concurrency is None:
                whole = replay(trace, self.engine, self.num_gpu_blocks, time, FrontEnd(gpu), self.groups)
                out.append(whole.first(len(run.trace)))
            else:
                lengths = list(zip(trace.input_tokens.tolist(), trace.output_tokens.tolist(), strict=True))
                out.append(closed_loop(
                    lengths, run.concurrency, self.engine, self.num_gpu_blocks, time, FrontEnd(gpu), self.groups
                ))  # fmt: skip
        return out

    def residuals(self, multipliers: Mapping[str, float]) -> np.ndarray:
        """Log ratio predicted / measured of each TTFT and TPOT; 0 where a side is undefined."""
        parts = []
        for run, guess in zip(self.runs, self.predict(multipliers), strict=True):
            if run.point is not None:
                parts.append(np.array([np.log(miss) for miss in mean_ratios(run, guess).values()]))
                continue
            for predicted, measured in ((guess.ttft_s, run.ttft_s), (guess.tpot_s, run.tpot_s)):
                with np.errstate(divide="ignore", invalid="ignore"):
                    ratio = np.log(predicted / measured)
                parts.append(np.where(np.isfinite(ratio), ratio, 0.0))
        return np.concatenate(parts)

    def coarse_start(self, free: list[str]) -> dict[str, float]:
        """All multipliers at the median TPOT ratio, and ``compute`` at the multiple of it that fits best."""
        guesses = self.predict(dict.fromkeys(free, 1.0))
        pairs = zip(self.runs, guesses, strict=True)
        ratio = np.nanmedian(np.concatenate([run.tpot_s / guess.tpot_s for run, guess in pairs]))
        level = float(np.clip(ratio if np.isfinite(ratio) else 1.0, 2 * LOWEST, HIGHEST / 1e5))
        start = dict.fromkeys(free, level)
        if "front_end" in start:
            start["front_end"] = 1.0
        if "compute" not in start:
            return start
        costs = [float(np.mean(np.abs(self.residuals({**start, "compute": level * k})))) for k in _COARSE]
        return {**start, "compute": level * _COARSE[int(np.argmin(costs))]}

    def mean_errors(self, multipliers: Mapping[str, float]) -> dict[str, float]:
        """Predicted / measured - 1 of mean TTFT, TPOT and E2E over all runs that tell them."""
        guesses = self.predict(multipliers)
        out = {}
        for metric in ("ttft_s", "tpot_s", "e2e_s"):
            pairs = [(getattr(run, metric), getattr(guess, metric)) for run, guess in zip(self.runs, guesses, strict=True)]
            told = [(measured, predicted) for measured, predicted in pairs if np.isfinite(measured).any()]
            if told:
                measured, predicted = (np.concatenate(side) for side in zip(*told, strict=True))
                out[metric.removesuffix("_s")] = float(np.nanmean(predicted) / np.nanmean(measured) - 1.0)
        return out


def mean_ratios(run: Observations, guess: Replay) -> dict[str, float]:
    """Predicted / measured of the means that a run of means reports: TTFT and TPOT, E2E where it has neither.

    Raises:
        ConfigError: the engine as configured answers none of its requests.
    """
    if not np.isfinite(guess.ttft_s).any():
        raise ConfigError(f"{run.source}: the engine as configured answers none of its requests; raise engine.max_model_len")
    return {
        name: float(np.nanmean(getattr(guess, name))) / float(getattr(run, name)[0])
        for name in run.known_means
        if np.isfinite(getattr(guess, name)).any()
    }


def continued(run: Observations) -> Trace:
    """The run's trace, repeated until its slowest request is answered; the copies share no prompt with anybody."""
    trace = run.trace
    period = trace.duration_s * (1 + 1 / max(1, len(trace)))
    slowest = float(np.nanmax(run.e2e_s))
    copies = 1 + min(_MOST_COPIES, int(np.ceil(slowest / period)) if period > 0 else 0)
    blank = {"prefix_tokens": -1}
    return Trace(
        arrival_s=np.concatenate([trace.arrival_s + period * k for k in range(copies)]),
        input_tokens=np.tile(trace.input_tokens, copies),
        output_tokens=np.tile(trace.output_tokens, copies),
        labels={
            name: np.concatenate([column, np.full(len(trace) * (copies - 1), blank.get(name, ""), dtype=column.dtype)])
            for name, column in trace.labels.items()
        },
    )

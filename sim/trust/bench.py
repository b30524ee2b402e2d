"""What a fit is made on: the measured runs, replayed under given multipliers and compared."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import partial

import numpy as np

from sim.engine.policies import make_scheduler
from sim.errors import ConfigError
from sim.fleet.blueprint import Blueprint
from sim.perf import FrontEnd, step_time_model
from sim.perf.choose import SCALES
from sim.perf.step_time import StepTimeModel
from sim.spec import EngineSpec, GpuSpec, ModelSpec
from sim.trust.company import Company, choose, left_out, with_company
from sim.trust.measured_run import Observations
from sim.trust.replay import Replay, closed_loop, replay
from sim.watch import watch_of_this_job

LOWEST, HIGHEST = 0.01, 1e6
"""Multipliers looked at."""
_BLOCKS = 20
"""Of neighbouring requests in a run, at most: what ran together errs together."""
_FEWEST_IN_BLOCK = 5


def scales_of(engine: EngineSpec) -> list[str]:
    """The multipliers that this engine's step time depends on; without tensor parallelism no link shows."""
    return [name for name in SCALES if name != "link" or engine.tensor_parallel_size > 1]


NEVER_FREE = "launch"
"""No data of requests tell it from ``host``: it follows ``host``, or an explanation of its own sets it."""


@dataclass(frozen=True)
class Tried:
    """The runs under one set of multipliers."""

    multipliers: dict[str, float]
    """Every one of ``scales_of``, held ones included."""
    logs: np.ndarray
    """Log of predicted / measured of each TTFT and TPOT in the order of ``Bench.block``; 0 where a side is undefined."""
    mean_errors: dict[str, float]
    """Predicted / measured - 1 of mean TTFT, TPOT and E2E over all runs that tell them."""


class Bench:
    """Replays the runs under given multipliers, and keeps what it tried.

    Args:
        runs: measured runs.
        model: what was served.
        gpu: on what.
        engine: resolved.
        held: multipliers that are not fitted.
    """

    def __init__(
        self,
        runs: list[Observations],
        model: ModelSpec,
        gpu: GpuSpec,
        engine: EngineSpec,
        held: Mapping[str, float],
    ) -> None:
        server = Blueprint("calibrate", model, gpu, engine)
        self.runs, self.model, self.gpu, self.engine, self.held = runs, model, gpu, server.engine, dict(held)
        self.num_gpu_blocks, self.groups = server.blocks, server.groups
        self.kv_tokens = server.kv_tokens
        self.free = [name for name in scales_of(self.engine) if name not in (*self.held, NEVER_FREE)]
        self.tried: list[Tried] = []
        self.replays = 0
        self._time: tuple[dict[str, float], StepTimeModel] | None = None
        self._companies = [Company()] * len(runs)
        self._left_out: list[dict[str, np.ndarray]] = [{} for _ in runs]
        self._traces = [with_company(run, Company()) for run in runs]
        self._check_fit()
        sizes = [size for run in runs for size in _columns(run).values()]
        self.columns = [name for run in runs for name in _columns(run)]
        """The metric of each column."""
        self.column = np.repeat(np.arange(len(sizes)), sizes)
        """Which run's which metric each entry of ``Tried.logs`` is."""
        self.block = np.concatenate([np.arange(size) * _blocks(size) // size for size in sizes])
        """Which block of its column each entry is in."""

    @property
    def companies(self) -> list[Company]:
        """What is taken to have run beside each run."""
        return list(self._companies)

    def choose_companies(self, multipliers: Mapping[str, float]) -> None:
        """Read each run as its ends say under ``multipliers``; what was tried before is forgotten."""
        for number, run in enumerate(self.runs):
            ask = partial(self._tpot_logs, number, multipliers)
            self._left_out[number] = left_out(run, ask(choose(run, ask)))
        self.tried.clear()

    def hold(self, name: str, value: float) -> None:
        """Keep a multiplier from now on; what was tried before is forgotten."""
        self.held[name] = value
        self.free = [each for each in self.free if each != name]
        self.tried.clear()

    def _tpot_logs(self, number: int, multipliers: Mapping[str, float], reading: Company) -> np.ndarray:
        self._keep(number, reading)
        guess = self._predict(number, multipliers)
        with np.errstate(divide="ignore", invalid="ignore"):
            return np.asarray(np.log(guess.tpot_s / self.runs[number].tpot_s))

    def _keep(self, number: int, company: Company) -> None:
        self._companies[number] = company
        self._traces[number] = with_company(self.runs[number], company)

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
        return [self._predict(number, multipliers) for number in range(len(self.runs))]

    def _predict(self, number: int, multipliers: Mapping[str, float]) -> Replay:
        gpu = replace(self.gpu, step_time_scale={**multipliers, **self.held})
        if self._time is None or self._time[0] != gpu.step_time_scale:
            self._time = gpu.step_time_scale, step_time_model(self.model, gpu, self.engine)
        time, run, (trace, own) = self._time[1], self.runs[number], self._traces[number]
        self.replays += 1
        watch_of_this_job().points += 1
        if run.concurrency is None:
            return replay(trace, self.engine, self.num_gpu_blocks, time, FrontEnd(gpu), self.groups).part(own)
        lengths = list(zip(trace.input_tokens.tolist(), trace.output_tokens.tolist(), strict=True))
        return closed_loop(
            lengths, run.concurrency, self.engine, self.num_gpu_blocks, time, FrontEnd(gpu), self.groups
        )  # fmt: skip

    def test(self, multipliers: Mapping[str, float]) -> Tried:
        """The runs under ``multipliers``, 1 where one is not named."""
        guesses = self.predict(multipliers)
        named = {name: self.held.get(name, multipliers.get(name, 1.0)) for name in scales_of(self.engine)}
        pairs = zip(self.runs, guesses, self._left_out, strict=True)
        logs = np.concatenate([column for run, guess, out in pairs for column in _logs(run, guess, out)])
        tried = Tried(named, logs, self._mean_errors(guesses))
        self.tried.append(tried)
        return tried

    def _mean_errors(self, guesses: list[Replay]) -> dict[str, float]:
        out = {}
        for metric in ("ttft_s", "tpot_s", "e2e_s"):
            told = []
            for run, guess, unknown in zip(self.runs, guesses, self._left_out, strict=True):
                measured, predicted = getattr(run, metric), getattr(guess, metric)
                if np.isfinite(measured).any():
                    rows = slice(None) if run.point is not None or not unknown else ~unknown.get(metric, unknown["tpot_s"])
                    told.append((measured[rows], predicted[rows]))
            if told:
                measured, predicted = (np.concatenate(side) for side in zip(*told, strict=True))
                out[metric.removesuffix("_s")] = float(np.nanmean(predicted) / np.nanmean(measured) - 1.0)
        return out


def _blocks(figures: int) -> int:
    return max(1, min(_BLOCKS, figures // _FEWEST_IN_BLOCK))


def _columns(run: Observations) -> dict[str, int]:
    """Metric -> how many figures of it are compared."""
    if run.point is not None:
        return dict.fromkeys(run.known_means, 1)
    return dict.fromkeys(("ttft_s", "tpot_s"), len(run.trace))


def _logs(run: Observations, guess: Replay, out: dict[str, np.ndarray]) -> list[np.ndarray]:
    """Log of predicted / measured: of the means that a run of means reports, else of every TTFT and every TPOT; 0 of the
    rows ``out``."""
    if run.point is not None:
        ratios = mean_ratios(run, guess)
        return [np.array([np.log(ratios.get(name, 1.0))]) for name in run.known_means]
    found = []
    for name in ("ttft_s", "tpot_s"):
        with np.errstate(divide="ignore", invalid="ignore"):
            ratio = np.log(getattr(guess, name) / getattr(run, name))
        found.append(np.where(np.isfinite(ratio) & ~out.get(name, np.zeros(len(ratio), dtype=bool)), ratio, 0.0))
    return found


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

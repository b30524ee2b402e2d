"""``calibrate``: fit a few physical multipliers to measurements of one's own server.

    compute, memory, host, front_end      multiply the shares of the step time and the time before the engine

The measured arrivals are replayed through the engine; multipliers minimise the relative errors of every request's
TTFT and TPOT (least squares on logarithms, soft in the tails). Uncertainty: 95 % intervals from the curvature and
the scatter of twenty blocks of neighbouring requests, because requests that ran together err together. A file may be
a part of a longer run, its last requests then having had company that it does not name: both readings are fitted,
silence after the last arrival and the same load going on, and the one that explains the data better is kept.

Two multipliers that the data cannot tell apart (their estimates are correlated beyond 0.99) are refused, not
guessed: one load level cannot separate reading weights from the CPU's share. Hold one with ``--fix host=1``, or
measure idle and busy, short and long prompts. One that hardly shows in the data at all (a front end behind a queue
of minutes) stays at 1.

Leaves out: the scheduler's own parameters, prefix sharing that the file does not name, drift during the run.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import sys
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np
import yaml
from scipy.optimize import least_squares

from sim.errors import ConfigError, OutputError, SimError
from sim.perf import FrontEnd, memory_plan, resolve_engine, step_time_model
from sim.perf.choose import SCALES
from sim.spec import EngineSpec, GpuSpec, ModelSpec
from sim.trust.observations import Observations, read_observations
from sim.trust.plain_overrides import parse_overrides
from sim.trust.replay import Replay, closed_loop, replay
from sim.workload.trace import Trace

_LOWEST, _HIGHEST = 0.01, 1e6
_BLOCKS = 20
_OFFSET = 10.0
"""Added to the logarithms, so that the solver's relative steps are a share of the multiplier wherever it stands."""
_STEPS = (0.5, 0.2, 0.1, 0.05)
"""Differences are taken coarsely first: one request that falls into another step makes a discrete simulation rough
from near by. On made servers of known multipliers this leaves a sixth of the error that (0.05, 0.01) leaves."""
_TOO_CORRELATED = 0.99
_CLEARLY_BETTER = 0.8
"""The load is taken to have gone on only where that leaves at most this share of the silent reading's error."""
_MOST_COPIES = 3
_SLIVER = 0.05
_UNSEEN = 0.005
"""A multiplier whose doubling moves latencies by less than half a per cent is not in the data: it stays at 1."""
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
    readings = []
    for goes_on in (False, True):
        if goes_on and not any(_end_matters(run) for run in runs):
            continue
        bench = _Bench(runs, model, gpu, resolved, dict(fixed or {}), goes_on)
        try:
            readings.append(_fit_reading(bench, dict(fixed or {})))
        except ConfigError as refusal:
            refused = refusal
    if not readings:
        raise refused
    silent, busy = readings[0], readings[-1]
    return busy[0] if busy[1] < _CLEARLY_BETTER * silent[1] else silent[0]


def _end_matters(run: Observations) -> bool:
    """Whether what happened after the last arrival concerns more than a sliver of the run."""
    return run.concurrency is None and float(np.nanmax(run.e2e_s)) > _SLIVER * run.trace.duration_s


def _fit_reading(bench: _Bench, held: dict[str, float]) -> tuple[Calibration, float]:
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


def calibrate(
    path: str | Path,
    model: ModelSpec,
    gpu: GpuSpec,
    engine: EngineSpec,
    out_dir: str | Path,
    *,
    fixed: Mapping[str, float] | None = None,
    name: str = "mine",
) -> Calibration:
    """Fit ``path`` and write ``OUT/gpu/NAME.yaml``, which ``--config-dir OUT gpu=NAME`` selects.

    Raises:
        TraceError: the measurements cannot be read.
        ConfigError: the data cannot tell two multipliers apart.
        OutputError: the folder cannot be written.
    """
    result = fit_multipliers(read_observations(path), model, gpu, engine, fixed)
    folder = Path(out_dir) / "gpu"
    text = _as_yaml(result, gpu, model, Path(path))
    try:
        folder.mkdir(parents=True, exist_ok=True)
        draft = folder / f".{name}.yaml.part"
        draft.write_text(text, encoding="utf-8")
        draft.replace(folder / f"{name}.yaml")
    except OSError as error:
        raise OutputError(f"--out: {folder} cannot be written ({error.strerror})") from None
    return result


def _minimise(
    bench: _Bench, free: list[str], start: Mapping[str, float]
) -> tuple[dict[str, float], dict[str, float], list[str]]:
    """``(multipliers, standard errors of their logarithms, names that the data do not show)``."""

    def residuals(x: np.ndarray) -> np.ndarray:
        return bench.residuals(dict(zip(free, np.exp(x - _OFFSET), strict=True)))

    x = np.log([start[name] for name in free]) + _OFFSET
    for step in _STEPS:
        best = least_squares(
            residuals,
            x,
            bounds=(np.log(_LOWEST) + _OFFSET - 1e-9, np.log(_HIGHEST) + _OFFSET),
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


class _Bench:
    """Replays the runs under given multipliers."""

    def __init__(
        self, runs: list[Observations], model: ModelSpec, gpu: GpuSpec, engine: EngineSpec, held: dict[str, float],
        goes_on: bool = False,
    ) -> None:  # fmt: skip
        self.runs, self.model, self.gpu, self.engine, self.held = runs, model, gpu, engine, held
        self.goes_on = goes_on
        self.traces = [continued(run) if goes_on else run.trace for run in runs]
        self.num_gpu_blocks = memory_plan(model, gpu, engine).num_gpu_blocks

    def predict(self, multipliers: Mapping[str, float]) -> list[Replay]:
        gpu = replace(self.gpu, step_time_scale={**multipliers, **self.held})
        time = step_time_model(self.model, gpu, self.engine)
        out = []
        for run, trace in zip(self.runs, self.traces, strict=True):
            if run.concurrency is None:
                whole = replay(trace, self.engine, self.num_gpu_blocks, time, FrontEnd(gpu))
                out.append(whole.first(len(run.trace)))
            else:
                lengths = list(zip(trace.input_tokens.tolist(), trace.output_tokens.tolist(), strict=True))
                out.append(closed_loop(lengths, run.concurrency, self.engine, self.num_gpu_blocks, time, FrontEnd(gpu)))
        return out

    def residuals(self, multipliers: Mapping[str, float]) -> np.ndarray:
        """Log ratio predicted / measured of each TTFT and TPOT; 0 where a side is undefined."""
        parts = []
        for run, guess in zip(self.runs, self.predict(multipliers), strict=True):
            for predicted, measured in ((guess.ttft_s, run.ttft_s), (guess.tpot_s, run.tpot_s)):
                if run.concurrency is not None:  # only means are known
                    parts.append(np.log([np.nanmean(predicted) / np.nanmean(measured)]))
                else:
                    with np.errstate(divide="ignore", invalid="ignore"):
                        ratio = np.log(predicted / measured)
                    parts.append(np.where(np.isfinite(ratio), ratio, 0.0))
        return np.concatenate(parts)

    def coarse_start(self, free: list[str]) -> dict[str, float]:
        """All multipliers at the median TPOT ratio, and ``compute`` at the multiple of it that fits best."""
        guesses = self.predict(dict.fromkeys(free, 1.0))
        pairs = zip(self.runs, guesses, strict=True)
        ratio = np.nanmedian(np.concatenate([run.tpot_s / guess.tpot_s for run, guess in pairs]))
        level = float(np.clip(ratio if np.isfinite(ratio) else 1.0, 2 * _LOWEST, _HIGHEST / 1e5))
        start = dict.fromkeys(free, level)
        if "front_end" in start:
            start["front_end"] = 1.0
        if "compute" not in start:
            return start
        costs = [float(np.mean(np.abs(self.residuals({**start, "compute": level * k})))) for k in _COARSE]
        return {**start, "compute": level * _COARSE[int(np.argmin(costs))]}

    def mean_errors(self, multipliers: Mapping[str, float]) -> dict[str, float]:
        guesses = self.predict(multipliers)
        out = {}
        for metric in ("ttft_s", "tpot_s", "e2e_s"):
            measured = np.concatenate([getattr(run, metric) for run in self.runs])
            predicted = np.concatenate([getattr(guess, metric) for guess in guesses])
            out[metric.removesuffix("_s")] = float(np.nanmean(predicted) / np.nanmean(measured) - 1.0)
        return out


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


def _standard_errors(
    jacobian: np.ndarray, residuals: np.ndarray, names: list[str], found: Mapping[str, float]
) -> tuple[dict[str, float], list[str]]:
    """Standard error of each log multiplier, scattered by block; and the names that no residual depends on.

    A multiplier at its lower bound is 'not there' (a server-side clock sees no front end); it has no error.
    """
    size = np.sqrt((jacobian**2).mean(axis=0))
    live = [i for i, name in enumerate(names) if found[name] > 1.5 * _LOWEST]
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


def _as_yaml(result: Calibration, gpu: GpuSpec, model: ModelSpec, path: Path) -> str:
    data = asdict(gpu)
    data["step_time_scale"] = {name: float(f"{value:.5g}") for name, value in result.multipliers.items()}
    digest = hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else "(a folder)"
    data["source"] = f"{gpu.source}; calibrated on {path.name}"
    lines = [
        f"# {gpu.name} as measured on one's own server: `servecap calibrate`, {result.requests} requests of {path.name}",
        f"# sha256 {digest}; model {model.name} {model.weight_dtype}",
        *(f"# {n}: 95 % between {low:.4g} and {high:.4g}" for n, (low, high) in result.interval_95.items()),
        *(f"# mean {n}: off by {100 * result.errors_before[n]:+.1f} % before, {100 * e:+.1f} % after"
          for n, e in result.errors_after.items()),
    ]  # fmt: skip
    return "\n".join(lines) + "\n" + yaml.safe_dump(data, sort_keys=False, allow_unicode=True)


def main(argv: Iterable[str]) -> int:
    """``servecap calibrate PATH --out DIR model=... gpu=... [engine.*=...]``; the process's exit code."""
    parser = argparse.ArgumentParser(
        prog="servecap calibrate",
        description="Fit step-time multipliers to a benchmark, request log or /metrics dump of your own server.",
        epilog="Then: servecap --config-dir DIR gpu=mine model=...",
    )
    parser.add_argument("path", metavar="PATH", help="result file, or a folder with one file a load level")
    parser.add_argument(
        "overrides", nargs="*", help="model=PRESET gpu=PRESET engine.max_num_seqs=128 model.hf_config=FILE ..."
    )
    parser.add_argument("--out", default="calibrated", metavar="DIR", help="config folder to write (default: calibrated)")
    parser.add_argument("--name", default="mine", help="name of the GPU configuration (default: mine)")
    parser.add_argument("--fix", action="append", default=[], metavar="NAME=X", help="hold a multiplier, e.g. host=1")
    parser.add_argument("--json", action="store_true", help="print the result as JSON")
    options = parser.parse_intermixed_args(list(argv))
    try:
        model, gpu, engine = parse_overrides(options.overrides)
        fixed = dict(_fixed(text) for text in options.fix)
        result = calibrate(options.path, model, gpu, engine, options.out, fixed=fixed, name=options.name)
    except SimError as error:
        print(f"servecap: {error}", file=sys.stderr)
        return error.exit_code
    if options.json:
        print(json.dumps(asdict(result), indent=1))
        return 0
    for name, value in result.multipliers.items():
        low, high = result.interval_95.get(name, (value, value))
        known = f"95 % {low:.3g} to {high:.3g}" if name in result.interval_95 else "held"
        print(f"{name:<10} x {value:8.4g}   {known}")
    for name, after in result.errors_after.items():
        print(f"mean {name.upper():<5} off by {100 * result.errors_before[name]:+.1f} % before, {100 * after:+.1f} % after")
    print(f"{options.out}/gpu/{options.name}.yaml: select it with --config-dir {options.out} gpu={options.name}")
    return 0


def _fixed(text: str) -> tuple[str, float]:
    name, _, value = text.partition("=")
    try:
        number = float(value)
    except ValueError:
        number = float("nan")
    if name not in SCALES or not number > 0:
        raise ConfigError(f"--fix: one of {', '.join(SCALES)}, = and a number above 0, but got {text!r}")
    return name, number

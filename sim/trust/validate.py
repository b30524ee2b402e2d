"""``validate``: predict measured runs, and say by how much the prediction is off.

A folder is searched for cases (``measured.json``), closed-loop tables (``closed_loop*.csv``) and
``kv_capacity.csv``. Each case runs through ``sim.run.simulate``, with its arrivals, its repeated prompts, its engine
flags, our own memory arithmetic unless it states its blocks, and the latency definition of its source (server spans have
no front end). A closed loop is run as one; recorded steps (``steps.jsonl.gz``) are compared as well, grids of steps so
only (``sim.trust.step_rows``). Nothing is fitted here.

    error = predicted / measured - 1       of mean, p50, p90, p95, p99 of TTFT, TPOT, E2E, and of output tokens a second

Regimes: ``overloaded`` (requests failed, or the median wait exceeds a second), ``KV-bound`` (preemptions), ``idle``
(at most two requests in flight on average), ``busy`` (the rest), each of the whole case as simulated. Beside it stands the
load of each stage as a share of what the server sustains (``sim.trust.knee``).
"""

from __future__ import annotations

import argparse
import json
import math
import sys
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np

from sim.errors import ConfigError, SimError
from sim.perf import FrontEnd, memory_plan, step_time_model
from sim.perf.rank_step import RankStepTime
from sim.perf.tabulated import TabulatedStepTime
from sim.run import simulate
from sim.spec import GatewaySpec, OutputSpec, Scenario, WorkloadSpec
from sim.spec.gateway.users import OpenLoop
from sim.trust.cases import MeasuredCase, read_case
from sim.trust.closed_points import read_closed_points
from sim.trust.knee import load_share
from sim.trust.kv_rows import kv_rows
from sim.trust.step_rows import step_rows
from sim.trust.validation_table import ErrorRow, as_text
from sim.watch import watch_of_this_job

STDOUT = "-"

_NO_FRONT_END = 1e-9
"""Multiplier for sources that measure inside the server."""


@dataclass(frozen=True)
class Prediction:
    """Simulated latencies of one case, seconds, one entry a request; NaN = not answered."""

    ttft_s: np.ndarray
    tpot_s: np.ndarray
    e2e_s: np.ndarray
    output_tokens: np.ndarray
    arrival_s: np.ndarray
    """When each was sent: the recorded times, in a closed loop those of the simulation."""
    computed_tokens: np.ndarray
    """Of each prompt: what no prefix cache held."""
    failed: int
    regime: str
    step_time: TabulatedStepTime | RankStepTime


def validate(folder: str | Path, json_path: str | Path | None = None, refused: list[str] | None = None) -> list[ErrorRow]:
    """Predict every measured case under ``folder``.

    Args:
        folder: one case, or a folder of cases and tables.
        json_path: where to write the rows as JSON.
        refused: takes one message for each case or table that cannot be read or run, and the others go on; without it
            the first one is raised.

    Raises:
        ConfigError: nothing to validate there.
        SimError: a case cannot be read or run (only without ``refused``).
    """
    root = Path(folder)
    rows: list[ErrorRow] = []
    cases = sorted({path.parent for path in [*root.glob("measured.json"), *root.glob("*/measured.json")]})
    for number, path in enumerate(cases, start=1):
        watch_of_this_job().part = f"case {number} of {len(cases)}, {path.name}"
        rows += _rows_of(_case, path, refused)
    for path in sorted(root.glob("closed_loop*.csv")):
        rows += _rows_of(closed_rows, path, refused)
    for path in sorted(root.glob("kv_capacity.csv")):
        rows += _rows_of(kv_rows, path, refused)
    if not rows and not refused:
        nothing = "measured.json states no figure" if cases else "no measured.json, closed_loop*.csv or kv_capacity.csv"
        raise ConfigError(f"validate: {root}: {nothing}")
    if json_path is not None:
        Path(json_path).write_text(as_json(rows) + "\n", encoding="utf-8")
    return rows


def as_json(rows: list[ErrorRow]) -> str:
    """The rows as JSON; what is undefined is null."""
    plain = [
        {key: None if isinstance(value, float) and math.isnan(value) else value for key, value in asdict(row).items()}
        for row in rows
    ]
    return json.dumps(plain, indent=1)


def _case(path: Path) -> list[ErrorRow]:
    case = read_case(path)
    for note in case.notes:
        print(f"    {note}", file=sys.stderr)
    return case_rows(case)


def _rows_of(read: Callable[[Path], list[ErrorRow]], path: Path, refused: list[str] | None) -> list[ErrorRow]:
    try:
        return read(path)
    except (SimError, OSError) as error:
        if refused is None:
            raise
        refused.append(f"{path.name}: {error}")
        return []


def predict(case: MeasuredCase) -> Prediction:
    """Run ``case`` through the simulator."""
    gpu = case.gpu
    if case.latency_point == "server":
        gpu = replace(gpu, step_time_scale={**gpu.step_time_scale, "front_end": _NO_FRONT_END})
    scenario = Scenario(
        model=case.model,
        gpu=gpu,
        engine=case.engine,
        workload=WorkloadSpec(name=case.name, path="measured"),
        gateway=GatewaySpec(client_timeout_s=case.client_timeout_s, users=case.users or OpenLoop()),
        output=OutputSpec(requests=False, timeseries=False, report=False),
    )
    result = simulate(scenario, case.trace)
    requests = result.requests
    answered = requests["outcome"].astype(str) == "completed"
    wait = requests["queue_s"].to_numpy(dtype=float)
    e2e = requests["e2e_s"].to_numpy(dtype=float)
    in_flight = np.nansum(e2e) / max(result.end_s, 1e-9)
    failed = int((~answered).sum())
    if failed or case.failures or np.nanmedian(wait) > 1.0:
        regime = "overloaded"
    elif int(requests["preemptions"].sum()):
        regime = "KV-bound"
    else:
        regime = "idle" if in_flight <= 2 else "busy"
    if regime == "overloaded" and int(requests["preemptions"].sum()):
        regime = "KV-bound, overloaded"
    return Prediction(
        ttft_s=requests["ttft_s"].to_numpy(dtype=float),
        tpot_s=requests["tpot_s"].to_numpy(dtype=float),
        e2e_s=e2e,
        output_tokens=np.where(answered, case.trace.output_tokens, 0),
        arrival_s=requests["arrival_s"].to_numpy(dtype=float),
        computed_tokens=(requests["input_tokens"] - requests["cached_tokens"]).to_numpy(dtype=float),
        failed=failed,
        regime=regime,
        step_time=step_time_model(case.model, gpu, case.engine),
    )


def case_rows(case: MeasuredCase) -> list[ErrorRow]:
    """Errors of the whole case and of each of its load stages; of a grid of steps, of its steps alone."""
    steps = step_rows(case)
    if case.grid:
        return steps
    found = predict(case)
    everything = np.arange(len(case.trace))
    rows = _stage_rows(case, found, "all", everything, case.measured)
    for number, measured in enumerate(case.stages):
        at = np.flatnonzero(case.stage == number)
        if len(at) and len(case.stages) > 1:
            rows += _stage_rows(case, found, str(number), at, measured)
    return rows + steps


def closed_rows(path: Path) -> list[ErrorRow]:
    """Errors of mean TTFT and TPOT of every closed-loop point in ``path``."""
    rows = []
    for point in read_closed_points(path):
        step_time = step_time_model(point.model, point.gpu, point.engine)
        result = point.run(step_time, FrontEnd())
        for metric, values, measured in (
            ("ttft", result.ttft_s, point.ttft_s),
            ("tpot", result.tpot_s, point.tpot_s),
        ):
            rows.append(ErrorRow(
                case=point.name, group="closed loop", model=point.model.name, gpu=point.gpu.name,
                gpus=point.engine.tensor_parallel_size, stage="all",
                regime="KV-bound" if result.preemptions else "busy", step_time=step_time.regime,
                metric=metric, statistic="mean", unit="ms", measured=1e3 * measured,
                predicted=1e3 * float(np.nanmean(values)),
            ))  # fmt: skip
    return rows


def _stage_rows(
    case: MeasuredCase, found: Prediction, stage: str, at: np.ndarray, measured: dict[str, dict[str, float]]
) -> list[ErrorRow]:
    load = _load(case, found, at)

    def row(metric: str, statistic: str, unit: str, truth: float, guess: float) -> ErrorRow:
        return ErrorRow(
            case=case.name, group="per request" if case.level == "per_request" else "aggregate", model=case.model.name,
            gpu=case.gpu.name, gpus=case.engine.tensor_parallel_size, stage=stage, regime=found.regime,
            step_time=found.step_time.regime, metric=metric, statistic=statistic, unit=unit, measured=truth,
            predicted=guess, load=load,
        )  # fmt: skip

    rows = []
    for metric, values in (("ttft", found.ttft_s), ("tpot", found.tpot_s), ("e2e", found.e2e_s)):
        for statistic in ("mean", "p50", "p90", "p95", "p99"):
            truth = measured.get(metric, {}).get(statistic)
            if truth is not None:
                rows.append(row(metric, statistic, "ms", truth, 1e3 * _statistic(values[at], statistic)))
    if stage == "all":
        truth = _throughput(case)
        if truth is not None:
            span = float(np.nanmax(found.arrival_s + found.e2e_s) - found.arrival_s[0])
            rows.append(row("throughput", "mean", "output tok/s", truth, float(found.output_tokens.sum()) / span))
        if case.failures or found.failed:
            rows.append(row("failures", "count", "requests", case.failures, found.failed))
    return rows


def _load(case: MeasuredCase, found: Prediction, at: np.ndarray) -> float:
    """The load of the requests ``at``, a share of what the server sustains."""
    arrived = found.arrival_s[at]
    span_s = float(arrived[-1] - arrived[0])
    if not span_s > 0:
        return float("nan")
    plan = memory_plan(case.model, case.gpu, case.engine)
    return load_share(
        found.step_time, case.engine, plan.kv_tokens if case.groups else plan.one_group_tokens, (len(at) - 1) / span_s,
        float(found.computed_tokens[at].mean()), float(case.trace.output_tokens[at].mean()),
    )  # fmt: skip


def _throughput(case: MeasuredCase) -> float | None:
    """Output tokens per second from the first arrival to the last token, where per-request times are known."""
    data = case.per_request
    if not data:
        return None
    span = float(np.nanmax(data["arrival_s"] + data["e2e_s"]) - data["arrival_s"][0])
    return float(np.nansum(data["output_tokens"])) / span


def _statistic(values: np.ndarray, name: str) -> float:
    values = values[np.isfinite(values)]
    if not len(values):
        return float("nan")
    return float(values.mean() if name == "mean" else np.percentile(values, float(name[1:])))


def main(argv: Iterable[str]) -> int:
    """``servecap validate DIR [--json FILE]``; the process's exit code."""
    parser = argparse.ArgumentParser(
        prog="servecap validate", description="Predict measured cases; print the error by case, metric and regime."
    )
    parser.add_argument("--quiet", "-q", action="store_true", help="no progress on standard error")
    parser.add_argument("folder", metavar="DIR", help="one case (with measured.json), or a folder of cases")
    parser.add_argument(
        "--json", metavar="FILE", nargs="?", const=STDOUT, help="also write every row to FILE; without one, print them"
    )
    options = parser.parse_args(list(argv))
    refused: list[str] = []
    try:
        rows = validate(options.folder, None if options.json == STDOUT else options.json, refused)
    except SimError as error:
        print(error, file=sys.stderr)
        return error.exit_code
    except OSError as error:
        print(f"--json: {options.json} cannot be written ({error.strerror})", file=sys.stderr)
        return 2
    if options.json == STDOUT:
        print(as_json(rows))
    elif rows:
        print(as_text(rows))
    for message in refused:
        print(f"not run: {message}", file=sys.stderr)
    return 2 if refused else 0

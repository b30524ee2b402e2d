"""Calibrate on one part of the measurements, predict another; write ``calibration.csv``.

    python experiments/validation/calibration.py ../shared/measured

Per-request runs: the first half of the requests is fitted, the whole run predicted, the second half compared. CPU engine
(vLLM 0.32, tiny model): three load levels are fitted, two other workloads predicted; the GPU preset it starts from is
arbitrary.
"""

from __future__ import annotations

import json
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd

from sim.perf import FrontEnd, memory_plan, model_from_hf_config, resolve_engine, step_time_model
from sim.presets.read import preset_gpu
from sim.spec import EngineSpec, GpuSpec, ModelSpec
from sim.trust.calibrate import Calibration, fit_multipliers
from sim.trust.cases import read_case
from sim.trust.observations import Observations, read_observations
from sim.trust.replay import Replay, replay
from sim.workload.trace import Trace

RUNS = (
    "blis-h100-llama2-7b-tp1-mixed-mbt4096", "blis-h100-codellama34b-tp1-prefill-mbt4096",
    "lss-rtx4090-llama31-8b-tp1-mns256", "lss-rtxpro6000-llama31-8b-tp1", "v026/h100-llama31-8b-open30",
    "v026/h100-llama31-8b-open85",
)  # fmt: skip
CPU_FITTED, CPU_PREDICTED = ("fit_a_low.1", "fit_a_high.1", "fit_a_long.1"), ("fit_a_mid.1", "fit_a_tpl.1")
CPU_ENGINE = EngineSpec(
    block_size=32, max_num_seqs=64, max_num_batched_tokens=512, max_model_len=2048, async_scheduling=False,
    enforce_eager=True, num_gpu_blocks_override=16384,
)  # fmt: skip


def predict(trace: Trace, model: ModelSpec, gpu: GpuSpec, engine: EngineSpec, found: Calibration) -> Replay:
    card = replace(gpu, step_time_scale=found.multipliers)
    engine = resolve_engine(engine, model, card)
    blocks = memory_plan(model, card, engine).num_gpu_blocks
    return replay(trace, engine, blocks, step_time_model(model, card, engine), FrontEnd(card))


def errors(measured: Observations, predicted: Replay, rows: slice) -> dict[str, float]:
    """Predicted / measured - 1, per cent, of mean, p50 and p95."""
    out = {}
    for metric in ("ttft", "tpot", "e2e"):
        truth, guess = getattr(measured, f"{metric}_s")[rows], getattr(predicted, f"{metric}_s")[rows]
        for name, of in (("mean", np.nanmean), ("p50", np.nanmedian), ("p95", lambda v: np.nanpercentile(v, 95))):
            out[f"{metric} {name}"] = round(100 * float(of(guess) / of(truth) - 1), 1)
    return out


def second_halves(folder: Path) -> Iterator[dict[str, object]]:
    for name in RUNS:
        case = read_case(folder / name)
        data = case.per_request
        whole = Observations(name, case.trace, data["ttft_s"], data["e2e_s"])
        n = len(case.trace) // 2
        first = Observations(name, case.trace.take(np.arange(n)), whole.ttft_s[:n], whole.e2e_s[:n])
        found = fit_multipliers([first], case.model, case.gpu, case.engine)
        guess = predict(case.trace, case.model, case.gpu, case.engine, found)
        yield {"fitted on": f"first half of {name}", "predicted": "second half", **errors(whole, guess, slice(n, None))}


def cpu_engine(folder: Path) -> Iterator[dict[str, object]]:
    runs = folder / "vllm_cpu"
    meta = json.loads((runs / CPU_FITTED[0] / "meta.json").read_text())
    with tempfile.TemporaryDirectory() as temporary:
        config = Path(temporary) / "config.json"
        config.write_text(json.dumps(meta["model"]))
        model = model_from_hf_config(config)
    fitted = [read_observations(runs / name / "requests.jsonl")[0] for name in CPU_FITTED]
    found = fit_multipliers(fitted, model, preset_gpu("l4"), CPU_ENGINE)
    for name in CPU_PREDICTED:
        (run,) = read_observations(runs / name / "requests.jsonl")
        guess = predict(run.trace, model, preset_gpu("l4"), CPU_ENGINE, found)
        yield {"fitted on": "CPU engine: low, high, long", "predicted": name, **errors(run, guess, slice(None))}


def main(folder: Path) -> None:
    table = pd.DataFrame([*second_halves(folder), *cpu_engine(folder)])
    table.to_csv(Path(__file__).parent / "calibration.csv", index=False)
    print(table.to_string())


if __name__ == "__main__":
    main(Path(sys.argv[1]))

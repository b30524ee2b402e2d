"""Fit watts and check decode times by batch, on servers of the ML.ENERGY leaderboard: H100 and B200, vLLM 0.11.1.

    python experiments/step_time_fit/fit_power.py ../shared/measured/batch_energy.csv     # power_errors.csv, and figures

Assumed, since the rows do not say it: prompts of 130 tokens (chat), 250 (questions of GPQA), 500 (code to fill in); top-p
sampling, for which this release sorts the logits (``engine.top_p_sampling``). Rows with expert parallelism and those of Qwen3-8B and Nemotron on B200 with GPQA (four times as slow
as the same models with other prompts) are left out. A share of time is fitted, so a row counts by its error in watts.
"""

from __future__ import annotations

import math
import sys
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd
from presets import load_gpu, load_model
from scipy.optimize import nnls

from sim.perf import model_from_data, power, resolve_engine, step_time_model
from sim.perf.power import Work, joules, steps_work
from sim.spec import EngineSpec, GpuSpec, ModelSpec

PROMPT_TOKENS = {"lm-arena-chat": 130, "gpqa": 250, "sourcegraph-fim": 500}
NANO_9B = {
    "model_type": "nemotron_h", "hidden_size": 4480, "intermediate_size": 15680, "vocab_size": 131072,
    "num_hidden_layers": 56, "hybrid_override_pattern": "M-M-M-MM-M-M-M*-M-M-M*-M-M-M-M*-M-M-M-M*-M-MM-M-M-M-M-M-",
    "num_attention_heads": 40, "num_key_value_heads": 8, "head_dim": 128, "mamba_num_heads": 128, "mamba_head_dim": 80,
    "ssm_state_size": 128, "n_groups": 8, "conv_kernel": 4, "max_position_embeddings": 131072,
}  # fmt: skip
LLAMA_405B = {
    "name": "llama3_405b", "hidden_size": 16384, "vocab_size": 128256, "max_context": 131072, "weight_dtype": "fp8",
    "stack": [{"count": 126, "attention": {"heads": 128, "kv_heads": 8, "head_dim": 128}, "feed_forward": {"width": 53248},
               "weights": {"attention": {"dtype": "bf16"}}}],
}  # fmt: skip
"""Meta's FP8 checkpoint: attention stays in 16 bits."""
PRESETS = {
    "Qwen3-8B": "qwen3_8b", "gpt-oss-20b": "gpt_oss_20b", "Qwen3-30B-A3B-Instruct-2507": "qwen3_30b_a3b",
    "Qwen3-Coder-30B-A3B-Instruct": "qwen3_30b_a3b", "gemma-3-12b-it": "gemma3_12b", "Llama-3.1-70B-Instruct": "llama3_70b",
}  # fmt: skip


@dataclass(frozen=True)
class Point:
    """One server at one batch."""

    model: str
    gpu: GpuSpec
    gpus: int
    batch: float
    itl_s: float
    step_s: float
    """Mean, from the tokens a second."""
    watts: float
    joules_per_token: float
    guess_itl_s: float
    guess_step_s: float
    work: Work
    """Of one GPU in one mean step, as long as it was measured."""


def model_of(name: str) -> ModelSpec:
    if name == "NVIDIA-Nemotron-Nano-9B-v2":
        return model_from_data({"name": "nemotron_nano_9b", "hf_config": NANO_9B})
    return model_from_data(LLAMA_405B) if "405B" in name else load_model(PRESETS[name])


def left_out(row: object) -> bool:
    odd = row.gpu_model == "B200" and row.task == "gpqa" and "gpt-oss" not in row.model_id
    return row.expert_parallel > 1 or odd


def point(row: object) -> Point:
    name, gpu = row.model_id.split("/")[1], load_gpu(row.gpu_model.lower())
    model = model_of(name)
    engine = resolve_engine(
        EngineSpec(
            version="0.11", top_p_sampling=True, tensor_parallel_size=row.tensor_parallel, max_num_seqs=row.max_num_seqs,
            max_model_len=16384,
        ),
        model, gpu,
    )  # fmt: skip
    time, batch, prompt = step_time_model(model, gpu, engine), row.avg_batch_size, PROMPT_TOKENS[row.task]
    context, n = prompt + row.avg_output_len / 2, max(1, round(batch))
    prompts = batch / row.avg_output_len  # a step
    chunks = max(1, round(prompts))
    decode_s = time.step((), n, round(n * context))
    mixed_s = time.step([(prompt, 0)] * chunks, n, round(n * context))
    share = prompts if prompts >= 1 else 1 - math.exp(-prompts)
    step_s = batch / row.output_throughput_tokens_per_sec
    memory_s, compute_s = steps_work(
        model, gpu, engine, steps=1, tokens=batch + prompts * prompt, seqs=batch, context=context
    )  # fmt: skip
    return Point(
        name, gpu, row.num_gpus, batch, row.median_itl_ms / 1e3, step_s, row.avg_power_watts, row.energy_per_token_joules,
        decode_s if share < 0.5 else mixed_s, decode_s + prompts / chunks * (mixed_s - decode_s),
        Work(step_s, step_s, memory_s, compute_s),
    )  # fmt: skip


def fit(points: list[Point]) -> tuple[float, float, float]:
    """BUSY, MEMORY and COMPUTE."""
    rows = np.array([[p.work.busy_s, p.work.memory_s, p.work.compute_s] for p in points])
    rows /= np.array([[p.step_s] for p in points])
    target = np.array([p.watts / p.gpus / p.gpu.tdp_w for p in points])
    weight = 1.0 / target
    shares, _ = nnls(rows * weight[:, None], (target - power.IDLE) * weight)
    return float(shares[0]), float(shares[1]), float(shares[2])


def joules_per_token(p: Point, shares: tuple[float, float, float]) -> float:
    """Predicted from end to end: our own step time and our own watts."""
    power.BUSY, power.MEMORY, power.COMPUTE = shares
    work = replace(p.work, powered_s=p.guess_step_s, busy_s=p.guess_step_s)
    return p.gpus * joules(p.gpu, work) / p.batch


def held_out(points: list[Point], part: str) -> list[dict[str, object]]:
    """Errors of each ``model`` or ``gpu`` under what the others fit."""

    def name_of(p: Point) -> str:
        return p.model if part == "model" else p.gpu.name

    rows = []
    for name in sorted({name_of(p) for p in points}):
        mine = [p for p in points if name_of(p) == name]
        shares = fit([p for p in points if p not in mine])
        for p in mine:
            rows.append({
                "left_out": part, "name": name, "gpu": p.gpu.name, "batch": round(p.batch, 1),
                "joules_error": joules_per_token(p, shares) / p.joules_per_token - 1,
                "itl_error": p.guess_itl_s / p.itl_s - 1, "step_error": p.guess_step_s / p.step_s - 1,
            })  # fmt: skip
    return rows


def main(path: Path) -> None:
    points = [point(row) for row in pd.read_csv(path).itertuples() if not left_out(row)]
    shares = fit(points)
    print(f"{len(points)} points; all: BUSY {shares[0]:.3f} MEMORY {shares[1]:.3f} COMPUTE {shares[2]:.3f}")
    models = sorted({p.model for p in points})
    for half, other in ((models[::2], models[1::2]), (models[1::2], models[::2])):
        found = fit([p for p in points if p.model in half])
        errors = [abs(joules_per_token(p, found) / p.joules_per_token - 1) for p in points if p.model in other]
        print(f"fitted on {', '.join(half)}: J/token of the others, median |error| {np.median(errors):.1%}")
    table = pd.DataFrame(held_out(points, "model") + held_out(points, "gpu"))
    table.round(4).to_csv(Path(__file__).parent / "power_errors.csv", index=False)
    errors = table.assign(**{c: table[c].abs() for c in ("joules_error", "itl_error", "step_error")})
    print(errors.groupby("left_out")[["joules_error", "itl_error", "step_error"]].median().round(3).to_string())
    print(errors.groupby(["left_out", "name", "gpu"])[["joules_error", "itl_error"]].median().round(3).to_string())


if __name__ == "__main__":
    main(Path(sys.argv[1]))

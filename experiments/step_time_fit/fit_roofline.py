"""Fit the roofline's efficiencies to the shipped tables; report the error with one model and one GPU left out.

    python experiments/step_time_fit/fit_roofline.py            # writes sim/perf/roofline_fit.json, errors.csv,
    README's table

Every configuration of ``sim/perf/step_tables.json`` gives points of N (token counts), D (sequences x context) and C
(chunk length). Per GPU generation: the share of peak bandwidth and FLOPS; over all of them: the rest. Least squares on
logarithms, so that every point counts by its relative error. The pooled entry (used on generations not seen) is the
fit with every generation sharing one set.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from presets import load_gpu, load_model
from scipy.optimize import least_squares

from sim.perf import roofline
from sim.perf.attention import pair_works
from sim.perf.roofline import Efficiencies
from sim.perf.served_kernels import served
from sim.perf.table import kernel_tables
from sim.spec import EngineSpec, GpuSpec, ModelSpec

ROOT = Path(__file__).parents[2]
OUT = ROOT / "sim" / "perf" / "roofline_fit.json"
PER_ARCH = (
    "memory", "tflops_per_w", "tflops_8bit_per_w", "kv", "pair", "layer_s", "knee", "tile", "half_tokens",
    "row_slope",
)  # fmt: skip
START = {
    "memory": 0.85, "tflops_per_w": 0.7, "tflops_8bit_per_w": 1.3, "row_slope": 0.03, "half_tokens": 8.0,
    "tile": 0.3, "knee": 1.8,
    "layer_s": 3e-5, "quantise_layer_s": 1e-5, "elementwise_passes": 16.0, "expert_s": 5e-7, "expert_layer_s": 3e-5,
    "allreduce_latency_s": 8e-6, "link": 0.6, "kv": 0.75, "kv_ramp_s": 3e-6, "pair": 0.5, "pair_half_tokens": 10.0,
}  # fmt: skip
FOUR_BIT_SHARE = 2.4
"""No table has 4-bit products. Their rate over the 8-bit one: 70B on 8 B200 served 98,443 tokens/s (MLPerf Inference 5.0,
2025-04-02, Llama-2-70B server), which is 3,450 TFLOP/s a GPU over all time, attention and gaps between kernels included."""
CAPS = {"memory": 0.95, "link": 0.9, "kv": 0.95, "pair": 0.9, "tile": 1.0, "knee": 6.0}


@dataclass
class Config:
    gpu: GpuSpec
    model: ModelSpec
    engine: EngineSpec
    entry: dict

    @property
    def arch(self) -> str:
        return "Blackwell GDDR" if self.gpu.arch == "Blackwell" and self.gpu.link == "pcie" else self.gpu.arch


def configs() -> list[Config]:
    out = []
    for entry in json.loads((ROOT / "sim" / "perf" / "step_tables.json").read_text())["entries"]:
        engine = EngineSpec(
            tensor_parallel_size=entry["tensor_parallel"],
            kv_cache_dtype="fp8" if entry["kv_dtype"] == "fp8" else "auto",
        )
        model = load_model(entry["model"], weight_dtype=entry["weight_dtype"])
        out.append(Config(load_gpu(entry["gpu"]), model, engine, entry))
    return out


def predict(c: Config, eff: Efficiencies) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    tokens = np.array(c.entry["tokens"], float)
    n = roofline.nonattention_s(c.model, c.gpu, c.engine.tensor_parallel_size, tokens, eff)
    contexts = np.array(c.entry["decode_context_tokens"][1:], float)
    d = np.array([
        roofline.decode_attention_s(c.model, c.gpu, c.engine, b, contexts, eff) for b in c.entry["decode_seqs"]
    ])  # fmt: skip
    chunks = np.array(c.entry["prefill_tokens"][4:], float)
    p = sum(
        work.layers * roofline.pair_s(work, c.gpu, c.engine, chunks, eff) for work in pair_works(c.model)
    )
    return n * 1e3, d * 1e3, p * 1e12


def logs(c: Config, eff: Efficiencies) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Log ratio predicted / table of N, D (where D matters: over 2 % of the step) and C."""
    n, d, p = predict(c, eff)
    n_t = 1e3 * np.array(served(kernel_tables(c.entry), c.model.weight_dtype).nonattention_s)
    d_t = np.array(c.entry["decode_attention_ms"])[:, 1:]
    p_t = np.maximum(np.array(c.entry["prefill_pair_ps"][4:]), 1e-3)
    at_b = np.interp(c.entry["decode_seqs"], c.entry["tokens"], n_t)
    # the error that counts is that of the step: D's share of it
    d_log = np.log((at_b[:, None] + d) / (at_b[:, None] + d_t))
    return np.log(n / n_t), d_log, np.log(p / p_t)


def unpack(x: np.ndarray, names: list[str], arch: str) -> Efficiencies:
    values = {}
    for value, name in zip(np.exp(x), names, strict=True):
        base, _, of = name.partition("@")
        if not of or of == arch:
            cap = CAPS.get(base, np.inf)
            values[base] = min(value, cap)
    return Efficiencies(**values, tflops_4bit_per_w=FOUR_BIT_SHARE * values["tflops_8bit_per_w"])


def fit(train: list[Config], per_arch: bool) -> dict[str, Efficiencies]:
    archs = sorted({c.arch for c in train})
    names, start, low, high = [], [], [], []
    for base, value in START.items():
        for name in [f"{base}@{a}" for a in archs] if per_arch and base in PER_ARCH else [base]:
            names.append(name)
            start.append(np.log(value))
            cap = CAPS.get(base)
            low.append(np.log(value) - 3.0)
            high.append(np.log(cap) if cap else np.log(value) + 2.0)

    def residuals(x: np.ndarray) -> np.ndarray:
        parts = []
        for c in train:
            eff = unpack(x, names, c.arch)
            n, d, p = logs(c, eff)
            parts += [n / np.sqrt(n.size), d.ravel() / np.sqrt(d.size), 0.5 * p / np.sqrt(p.size)]
        # a weak pull towards the start keeps what the data do not determine
        parts.append(0.02 * (x - np.array(start)))
        return np.concatenate(parts)

    best = least_squares(residuals, start, bounds=(low, high), loss="soft_l1", f_scale=0.1, max_nfev=25)
    return {a: unpack(best.x, names, a) for a in archs} if per_arch else {"pooled": unpack(best.x, names, "")}


def errors(c: Config, eff: Efficiencies) -> dict[str, object]:
    n, d, p = logs(c, eff)
    tokens = np.array(c.entry["tokens"])
    small, middle = tokens <= 64, (tokens > 64) & (tokens <= 512)
    pct = lambda v: round(float(100 * np.median(np.abs(np.expm1(v)))), 1)  # noqa: E731
    return {
        "gpu": c.gpu.name, "model": c.model.name, "tp": c.engine.tensor_parallel_size, "dtype": c.model.weight_dtype,
        "kv": c.entry["kv_dtype"], "decode_1_64": pct(n[small]), "tokens_65_512": pct(n[middle]),
        "tokens_over_512": pct(n[tokens > 512]), "decode_with_attention": pct(d.ravel()), "prefill_attention": pct(p),
    }  # fmt: skip


def main() -> None:
    every = configs()
    pooled = fit(every, per_arch=False)["pooled"]
    by_arch = fit(every, per_arch=True)
    shares = {arch: asdict(eff) for arch, eff in [*by_arch.items(), ("pooled", pooled)]}
    shares = {arch: {k: float(f"{v:.4g}") for k, v in values.items()} for arch, values in shares.items()}
    source = "experiments/step_time_fit/fit_roofline.py on sim/perf/step_tables.json"
    OUT.write_text(json.dumps({"source": source, "by_arch": shares}, indent=1) + "\n")
    rows = [{"left_out": "nothing", **errors(c, by_arch[c.arch])} for c in every]
    for model in sorted({c.model.name for c in every}):
        fitted = fit([c for c in every if c.model.name != model], per_arch=True)
        rows += [{"left_out": "model", **errors(c, fitted.get(c.arch, pooled))} for c in every if c.model.name == model]
    for gpu in sorted({c.gpu.name for c in every}):
        rest = [c for c in every if c.gpu.name != gpu]
        fitted, all_rest = fit(rest, per_arch=True), fit(rest, per_arch=False)["pooled"]
        rows += [{"left_out": "gpu", **errors(c, fitted.get(c.arch, all_rest))} for c in every if c.gpu.name == gpu]
    table = pd.DataFrame(rows)
    table.to_csv(Path(__file__).parent / "roofline_errors.csv", index=False)
    print(table.drop(columns="tp").groupby("left_out").median(numeric_only=True).to_string())


if __name__ == "__main__":
    main()

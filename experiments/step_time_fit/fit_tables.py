"""Derive servecap's step-time tables from a grid of forward-pass times.

    python experiments/step_time_fit/fit_tables.py ../shared/steptime

Input: ``aic_steptime_grid.csv`` (aiconfigurator-core 0.12.0, sums of measured kernel times, no host overhead).
Output: ``sim/perf/step_tables.json``. Method, per (GPU, model, TP, dtype), vLLM rows only:

1. decode attention: the line through the two shortest contexts gives ``N`` at batch B (context 0); what lies above it
   is ``D(B, context)``, made non-decreasing in context;
2. prefill: two differences over the cached prefix give seconds per (query, key) pair at each chunk length; the pairs of
   the chunk itself are subtracted, and ``N`` at its tokens remains;
3. mixed rows give ``N`` at the token counts between: time - D - C;
4. levels more than 10 % above a later one are dropped (known-bad kernels), the rest is averaged per token count and
   made non-decreasing (isotonic regression on logarithms).
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import pandas as pd
from scipy.optimize import isotonic_regression

GPUS = {
    "a100_sxm": "a100_80", "b200_sxm": "b200", "h100_sxm": "h100", "h200_sxm": "h200", "l40s": "l40s",
    "rtx_pro_6000_server": "rtx_pro_6000",
}  # fmt: skip
MODELS = {
    "meta-llama/Meta-Llama-3.1-8B": "llama3_8b", "meta-llama/Meta-Llama-3.1-70B": "llama3_70b",
    "Qwen/Qwen3-32B": "qwen3_32b", "Qwen/Qwen3-30B-A3B": "qwen3_30b_a3b",
}  # fmt: skip
DTYPES = {"bf16": ("bf16", "bf16"), "fp8": ("fp8", "bf16"), "fp8-kvfp8": ("fp8", "fp8")}
OUT = Path(__file__).parents[2] / "sim" / "perf" / "step_tables.json"


def known_bad(system: str, tp: int) -> bool:
    """L40S at TP >= 4 was measured on a machine without peer-to-peer: 1-3 GB/s all-reduce."""
    return system == "l40s" and tp >= 4


def digits(values: object) -> list[float]:
    return [float(f"{v:.5g}") for v in np.asarray(values, dtype=float)]


def fit(rows: pd.DataFrame) -> dict[str, object]:
    """The tables of one configuration, milliseconds (pairs: picoseconds)."""
    decode = rows[rows.phase == "decode"].pivot_table(index="batch", columns="kv_len", values="latency_ms")
    batches, contexts = decode.index.to_numpy(), decode.columns.to_numpy(dtype=float)
    time = decode.to_numpy()
    at_zero = time[:, 0] - contexts[0] * np.clip((time[:, 1] - time[:, 0]) / (contexts[1] - contexts[0]), 0, None)
    attention = np.maximum.accumulate(time - at_zero[:, None], axis=1)

    prefill = rows[rows.phase == "prefill"].pivot_table(index="new_tokens", columns="prefix_len", values="latency_ms")
    chunks = prefill.index.to_numpy(dtype=float)
    prefixes = prefill.columns.to_numpy(dtype=float)
    extra = prefill.to_numpy()[:, 1:] - prefill.to_numpy()[:, :1]
    pairs = chunks[:, None] * prefixes[None, 1:]
    pair_ms = np.clip((extra * pairs).sum(1) / (pairs**2).sum(1), 0, None)
    own = pair_ms * chunks * (chunks + 1) / 2

    levels = [(int(b), t) for b, t in zip(batches, at_zero, strict=True)]
    levels += [(int(s), t - o) for s, t, o in zip(chunks, prefill[0].to_numpy(), own, strict=True)]
    for row in rows[rows.phase == "mixed"].itertuples():
        d = np.interp(row.kv_len, np.r_[0, contexts], np.r_[0, _row(batches, attention, row.batch)])
        pair = np.interp(np.log(row.new_tokens), np.log(chunks), pair_ms)
        c = pair * row.new_tokens * (row.prefix_len + (row.new_tokens + 1) / 2)
        levels.append((int(row.new_tokens + row.batch), row.latency_ms - d - c))
    mean = pd.DataFrame(levels, columns=["tokens", "ms"]).groupby("tokens").ms.median()
    later = mean[::-1].cummin()[::-1]
    mean = mean[mean <= 1.10 * later]
    smooth = np.exp(isotonic_regression(np.log(mean.to_numpy())).x)
    return {
        "tokens": [int(t) for t in mean.index],
        "nonattention_ms": digits(smooth),
        "decode_seqs": [int(b) for b in batches],
        "decode_context_tokens": [int(c) for c in contexts],
        "decode_attention_ms": [digits(line) for line in attention],
        "prefill_tokens": [int(s) for s in chunks],
        "prefill_pair_ps": digits(pair_ms * 1e9),
    }


def _row(batches: np.ndarray, attention: np.ndarray, batch: int) -> np.ndarray:
    return attention[int(np.searchsorted(batches, batch))]


def main(folder: Path) -> None:
    grid = pd.read_csv(folder / "aic_steptime_grid.csv")
    grid = grid[(grid.backend == "vllm") & grid.model.isin(list(MODELS)) & grid.dtype.isin(list(DTYPES))]
    entries = []
    for (system, model, tp, dtype, version), rows in grid.groupby(["system", "model", "tp", "dtype", "version"]):
        if known_bad(system, tp):
            continue
        weight_dtype, kv_dtype = DTYPES[dtype]
        key = {
            "gpu": GPUS[system], "model": MODELS[model], "tensor_parallel": int(tp),
            "weight_dtype": weight_dtype, "kv_dtype": kv_dtype, "vllm": version,
        }  # fmt: skip
        entries.append({**key, **fit(rows)})
    head = {
        "source": "fitted by experiments/step_time_fit/fit_tables.py to forward-pass times predicted by "
        "aiconfigurator-core 0.12.0 (NVIDIA, Apache-2.0) from measured kernels; no host overhead",
        "date": "2026-11-23",
    }
    lines = ",\n".join(json.dumps(entry, separators=(",", ":")) for entry in entries)
    OUT.write_text('{"head": ' + json.dumps(head) + ',\n"entries": [\n' + lines + "\n]}\n")
    print(f"{len(entries)} configurations -> {OUT.name}, {OUT.stat().st_size:,} bytes")


if __name__ == "__main__":
    main(Path(sys.argv[1]))

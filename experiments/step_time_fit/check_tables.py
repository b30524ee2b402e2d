"""How far the shipped tables are from points that were not fitted.

    python experiments/step_time_fit/check_tables.py ../shared/steptime

The same source's finer table (``aic_step_lut.jsonl``: 52 token counts, 13 batch sizes, 9 contexts; itself within 1 % of
the source) is read at random decode, prefill and mixed steps and compared with ``sim.perf``'s tables, without CPU time
and graph padding.
Writes ``table_errors.csv``.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import pandas as pd
from fit_tables import DTYPES, GPUS, MODELS, known_bad

from sim.perf.host import HostOverhead
from sim.perf.table import kernel_tables
from sim.perf.tabulated import TabulatedStepTime

ROOT = Path(__file__).parents[2]
STEPS = 150


def bilinear(x: np.ndarray, y: np.ndarray, z: np.ndarray, at_x: float, at_y: float) -> float:
    rows = np.array([np.interp(at_y, y, row) for row in z])
    return float(np.interp(at_x, x, rows))


def truth_ms(lut: dict, chunk: tuple[int, int] | None, batch: int, context: int) -> float:
    tokens = (chunk[0] if chunk else 0) + batch
    if chunk:
        time = float(np.interp(tokens, lut["T"], lut["nonattn_ms"]))
        s_knots, p_knots = np.array(lut["S"], float), np.array(lut["P"], float)
        time += bilinear(np.log2(s_knots), p_knots, np.array(lut["ctx_attn_ms"]), np.log2(chunk[0]), chunk[1])
    else:
        time = float(np.interp(np.log2(batch), np.log2(lut["B"]), lut["dec_nonattn_ms"]))
    if batch:
        time += bilinear(
            np.log2(lut["B"]), np.array(lut["KV"], float), np.array(lut["dec_attn_ms"]), np.log2(batch), context
        )
    return time


def main(folder: Path) -> None:
    draw = np.random.default_rng(0)
    rows = []
    entries = {
        (e["gpu"], e["model"], e["tensor_parallel"], e["weight_dtype"], e["kv_dtype"]): e
        for e in json.loads((ROOT / "sim" / "perf" / "step_tables.json").read_text())["entries"]
    }
    for line in (folder / "aic_step_lut.jsonl").read_text().splitlines():
        lut = json.loads(line)
        tp, dtype = int(lut["tp"]), lut["dtype"]
        if lut["backend"] != "vllm" or lut["model"] not in MODELS or dtype not in DTYPES or known_bad(lut["system"], tp):
            continue
        weights, kv = DTYPES[dtype]
        name, gpu = MODELS[lut["model"]], GPUS[lut["system"]]
        time = TabulatedStepTime(kernel_tables(entries[gpu, name, tp, weights, kv]), HostOverhead())
        for kind in ("decode", "prefill", "mixed"):
            errors = []
            for _ in range(STEPS):
                batch = int(2 ** draw.uniform(0, 8)) if kind != "prefill" else 0
                context = int(2 ** draw.uniform(7, 14))
                chunk = (int(2 ** draw.uniform(5, 13)), int(draw.integers(0, 8192))) if kind != "decode" else None
                guess = 1e3 * time.step([chunk] if chunk else [], batch, batch * context)
                errors.append(guess / truth_ms(lut, chunk, batch, context) - 1)
            absolute = np.abs(errors)
            rows.append({
                "gpu": gpu, "model": name, "tp": tp, "dtype": dtype, "step": kind,
                "median_pct": round(100 * float(np.median(absolute)), 1),
                "p95_pct": round(100 * float(np.quantile(absolute, 0.95)), 1),
            })  # fmt: skip
    table = pd.DataFrame(rows)
    table.to_csv(Path(__file__).parent / "table_errors.csv", index=False)
    print(table.groupby("step")[["median_pct", "p95_pct"]].median().to_string())
    print(table[table.tp == 1][table.model == "llama3_8b"].to_string())


if __name__ == "__main__":
    main(Path(sys.argv[1]))

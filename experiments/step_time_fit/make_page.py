"""Write this folder's README.md and picture from the errors that the other scripts left.

python experiments/step_time_fit/make_page.py
"""

from __future__ import annotations

import math
from pathlib import Path

import pandas as pd
from presets import load_gpu, load_model

from sim.perf import resolve_engine, step_time_model
from sim.spec import EngineSpec

HERE = Path(__file__).parent
SHOWN = [
    ("llama3_8b", "l40s", 1, "bf16"),
    ("llama3_8b", "h100", 1, "bf16"),
    ("llama3_70b", "h100", 4, "fp8"),
    ("qwen3_32b", "a100_80", 2, "bf16"),
]
WIDTH, HEIGHT, MARGIN = 330, 260, 44


def markdown(table: pd.DataFrame) -> str:
    head = "| " + " | ".join(table.columns) + " |\n|" + " --- |" * len(table.columns)
    return "\n".join([head, *("| " + " | ".join(map(str, row)) + " |" for row in table.itertuples(index=False))])


def panel(name: str, device: str, tensor: int, dtype: str) -> str:
    """Everything but attention against new tokens: table (line), roofline (dashes), on logarithmic axes."""
    model, gpu = load_model(name, weight_dtype=dtype), load_gpu(device)
    curves = []
    for kind in ("table", "roofline"):
        spec = EngineSpec(tensor_parallel_size=tensor, step_time=kind, enforce_eager=True)
        tables = step_time_model(model, gpu, resolve_engine(spec, model, gpu)).tables
        curves.append([(t, 1e3 * s) for t, s in zip(tables.tokens, tables.nonattention_s, strict=True) if t <= 16384])
    low, high = (
        math.log10(min(ms for c in curves for _, ms in c)) - 0.05,
        math.log10(max(ms for c in curves for _, ms in c)) + 0.05,
    )

    def at(tokens: float, ms: float) -> str:
        x = MARGIN + (WIDTH - MARGIN - 10) * math.log2(tokens) / 14
        y = HEIGHT - MARGIN - (HEIGHT - MARGIN - 30) * (math.log10(ms) - low) / (high - low)
        return f"{x:.1f},{y:.1f}"

    style = ('stroke="#2f6690" stroke-width="2"', 'stroke="#d17a22" stroke-width="2" stroke-dasharray="5 3"')
    lines = [
        f'<polyline fill="none" {s} points="{" ".join(at(*p) for p in c)}"/>' for s, c in zip(style, curves, strict=True)
    ]
    ticks = [(1, "1"), (16, "16"), (256, "256"), (4096, "4096")]
    labels = [
        f'<text x="{at(t, 10**low).split(",")[0]}" y="{HEIGHT - MARGIN + 16}" text-anchor="middle">{text}</text>'
        for t, text in ticks
    ]
    values = [10.0**p * k for p in range(-1, 5) for k in (1, 3) if low <= math.log10(10.0**p * k) <= high]
    labels += [
        f'<text x="{MARGIN - 5}" y="{float(at(1, v).split(",")[1]) + 4}" text-anchor="end">{v:g}</text>' for v in values
    ]
    title = f"{name} on {tensor} x {device}, {dtype}"
    return f'<text x="{WIDTH / 2}" y="18" text-anchor="middle" font-weight="bold">{title}</text>' + "".join(lines + labels)


def main() -> None:
    panels = "".join(
        f'<g transform="translate({WIDTH * (i % 2)},{HEIGHT * (i // 2)})">{panel(*shown)}</g>'
        for i, shown in enumerate(SHOWN)
    )
    caption = "milliseconds against new tokens of a step, attention apart: table (line), roofline (dashes)"
    key = f'<text x="{WIDTH}" y="{2 * HEIGHT + 8}" text-anchor="middle">{caption}</text>'
    box = f'viewBox="0 0 {2 * WIDTH} {2 * HEIGHT + 20}" font-family="sans-serif" font-size="11"'
    (HERE / "roofline.svg").write_text(
        f'<svg xmlns="http://www.w3.org/2000/svg" {box}><rect width="100%" height="100%" fill="white"/>{panels}{key}</svg>\n'
    )
    tables = (
        pd.read_csv(HERE / "table_errors.csv").groupby("step", as_index=False)[["median_pct", "p95_pct"]].median().round(1)
    )
    roof = pd.read_csv(HERE / "roofline_errors.csv")
    columns = ["decode_1_64", "tokens_65_512", "tokens_over_512", "decode_with_attention", "prefill_attention"]
    held = roof.groupby("left_out", as_index=False)[columns].median().round(1)
    by_gpu = roof[roof.left_out == "gpu"].groupby("gpu", as_index=False)[columns].median().round(1)
    by_model = roof[roof.left_out == "model"].groupby("model", as_index=False)[columns].median().round(1)
    host = pd.read_csv(HERE / "host_errors.csv")
    host["TTFT"] = (100 * host.ttft_error.where(host.ttft_counts).abs()).round(1)
    host["TPOT"] = (100 * host.tpot_error.abs()).round(1)
    host["E2E"] = (100 * host.e2e_error.abs()).round(1)
    left = host.groupby("left_out", as_index=False)[["TTFT", "TPOT", "E2E"]].median().round(1)
    share = pd.read_csv(HERE / "front_end_share.csv")
    steps = pd.read_csv(HERE / "step_errors.csv")
    order = steps.steps.drop_duplicates().tolist()
    wide = steps.assign(case=steps.case.str.rsplit("-", n=1).str[-1]).pivot_table(index="steps", columns="case", values="error_pct")
    wide = wide.reindex([*(name for name in order if name != "all"), "all"]).reset_index().astype(object).where(lambda t: t.notna(), "")
    drawn = pd.read_csv(HERE / "power_errors.csv")
    for column in ("joules_error", "itl_error", "step_error"):
        drawn[column] = 100 * drawn[column].abs()
    drawn = drawn.groupby(["left_out", "name", "gpu"], as_index=False)[["joules_error", "itl_error", "step_error"]].median().round(1)
    text = (HERE / "page.md").read_text()
    for name, table in (
        ("TABLES", tables), ("ROOFLINE", held), ("GPUS", by_gpu), ("MODELS", by_model), ("HOST", left), ("SHARE", share),
        ("STEPS", wide), ("POWER", drawn),
    ):  # fmt: skip
        text = text.replace(f"<!-- {name} -->", markdown(table))
    (HERE / "README.md").write_text(text)


if __name__ == "__main__":
    main()

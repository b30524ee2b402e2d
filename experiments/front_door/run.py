"""What stands in front: dedupe, a response cache, budget caps, attribution, the small model first.

    python experiments/front_door/run.py (about two minutes)
"""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE.parent))

import numpy as np  # noqa: E402
from fleet_run import scenario_of  # noqa: E402
from results import leave  # noqa: E402

from sim.analysis import price, summarize  # noqa: E402
from sim.analysis.by_label import by_label  # noqa: E402
from sim.analysis.intervals import mean_interval  # noqa: E402
from sim.report.chart import Chart, Series  # noqa: E402
from sim.rng import stream  # noqa: E402
from sim.run import simulate  # noqa: E402
from sim.spec import scenario_to_dict  # noqa: E402
from sim.workload import Trace  # noqa: E402

SEEDS = (0, 1, 2, 3)
DURATION_S, RATE_PER_S = 900.0, 14.0
SHARES = {"search": 0.5, "chat": 0.4, "report": 0.1}
INPUT_LOG, OUTPUT_LOG = {"search": 6.0, "chat": 6.6, "report": 8.0}, {"search": 4.0, "chat": 5.0, "report": 6.3}
REPEATED, POPULAR = 0.2, 500
"""Share of the requests whose prompt is one of so many popular ones (Zipf), each asked word for word."""


LARGE = ("all to the 70B", "small model first")


def traffic(seed: int) -> Trace:
    """Three features of one product, two tenants; a fifth of the prompts is repeated word for word."""
    rng = stream(seed, "experiment", "front_door")
    n = int(DURATION_S * RATE_PER_S)
    arrival = np.sort(rng.uniform(0, DURATION_S, n))
    feature = rng.choice(list(SHARES), n, p=list(SHARES.values()))
    prompt = np.array([np.clip(rng.lognormal(INPUT_LOG[f], 0.7), 8, 12000) for f in feature]).astype(np.int64)
    answer = np.array([np.clip(rng.lognormal(OUTPUT_LOG[f], 0.6), 4, 2000) for f in feature]).astype(np.int64)
    rank = rng.zipf(1.2, n) % POPULAR
    popular = rng.random(n) < REPEATED
    first = {r: int(np.flatnonzero(popular & (rank == r))[0]) for r in set(rank[popular].tolist())}
    like = np.array([first[r] if p else i for i, (r, p) in enumerate(zip(rank.tolist(), popular.tolist(), strict=True))])
    prompt_id = np.array([f"popular-{r}" if p else f"own-{i}" for i, (r, p) in enumerate(zip(rank, popular, strict=True))])
    labels = {
        "prompt_id": prompt_id, "feature": feature[like], "route": feature[like],
        "tenant": np.where(rng.random(n) < 0.3, "batch team", "product"),
    }  # fmt: skip
    return Trace(arrival, prompt[like], answer[like], labels=labels)


def main() -> None:
    large = scenario_to_dict(scenario_of(["model=llama3_70b", "gpu=h100", "engine.tensor_parallel_size=4"]))
    pools = {
        "large": {"replicas": 2, **{key: large[key] for key in ("model", "gpu", "engine")}},
        "small": {"replicas": 4},
    }
    uncertain = {"larger_pool": "large", "uncertain_fraction": 0.25, "after_failure": False}
    cases: dict[str, dict[str, Any]] = {
        "nothing": {},
        "dedupe": {"gateway": {"dedupe": True}},
        "response cache": {"gateway": {"dedupe": True, "cache": {"ttl_s": 3600.0}}},
        "budget cap on one tenant": {
            "gateway": {"admission": [{"kind": "tenant_budget", "usd": {"batch team": 0.05}, "period_s": 900.0}]}
        },
        "all to the 70B": {"fleet": {"pools": {"large": {**pools["large"], "replicas": 4}}}},
        "small model first": {"fleet": {"pools": pools}, "gateway": {"pools": ["small"], "hybrid": uncertain}},
    }
    rows, shares = [], {}
    used: dict[str, np.ndarray] = {}
    for name, changes in cases.items():
        found = []
        for seed in SEEDS:
            scenario = scenario_of([], None, **{"fleet": {"replicas": 4}, **changes})
            result = simulate(replace(scenario, seed=seed), traffic(seed))
            summary, tree = summarize(result), price(result)
            node = tree.find("compute", "busy")
            latency, counts = summary["latency"], summary["requests"]
            found.append({
                "usd": tree.usd, "busy_usd": node.usd if node else float("nan"), "ttft_p95_s": latency["ttft_s"]["p95"],
                "tpot_p95_s": latency["tpot_s"]["p95"], "refused_pct": 100 * counts["shed"] / counts["offered"],
                "sampled_tokens_m": float(result.replicas["output_tokens"].sum()) / 1e6,
            })  # fmt: skip
            if name == "nothing":
                for label, one in by_label(result, "feature", tree).items():
                    shares.setdefault(label, []).append(one["usd"])
        measure = "busy_usd" if name in LARGE else "sampled_tokens_m"
        used[name] = np.array([one[measure] for one in found])
        against = LARGE[0] if name in LARGE else "nothing"
        saved = mean_interval((100 * (1 - used[name] / used[against])).tolist())
        rows.append({
            "case": name, **{key: float(np.mean([one[key] for one in found])) for key in found[0]},
            "saved_pct": saved.value, "saved_low": saved.low, "saved_high": saved.high,
        })  # fmt: skip
        print(rows[-1], flush=True)
    total = sum(float(np.mean(usd)) for usd in shares.values())
    for name, usd in shares.items():
        share = mean_interval([100 * u / total for u in usd])
        empty = dict.fromkeys(rows[0], "–")
        rows.append({**empty, "case": f"feature {name}: {SHARES[name]:.0%} of the requests", "busy_usd": float(np.mean(usd)),
                     "saved_pct": share.value, "saved_low": share.low, "saved_high": share.high})  # fmt: skip
    shown = [row for row in rows if row["case"] in cases and row["saved_pct"]]
    dots = [
        Series(row["case"], [place], [row["saved_pct"]], "dots", place, [f"{row['saved_pct']:.0f} %"])
        for place, row in enumerate(shown)
    ]
    chart = Chart(
        "Saved of the work in front of it", "in the order above", "%", dots,
        "Tokens that need not be produced; for the small model first, busy dollars against everything on the 70B.",
        x_ticks=[float(place) for place in range(len(shown))],
    )  # fmt: skip
    leave(HERE, rows, {"picture": chart})


if __name__ == "__main__":
    main()

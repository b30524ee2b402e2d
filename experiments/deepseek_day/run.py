"""DeepSeek's production day on H800, without and with its own drafts: ``python experiments/deepseek_day/run.py``."""

from __future__ import annotations

import sys
from itertools import pairwise
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE.parent))

from results import leave  # noqa: E402

from sim.cli.compose import composed_scenario  # noqa: E402
from sim.record import Result  # noqa: E402
from sim.report.chart import Chart, Series  # noqa: E402
from sim.run import simulate  # noqa: E402

INPUT_TOKENS_A_DAY, OUTPUT_TOKENS_A_DAY = 608e9, 168e9
NODES, USD_A_DAY = 226.75, 87_072.0
"""Published: machines on average, and the bill at $2 a GPU-hour."""
USER_TOKENS_PER_S = 21.0
"""Published: 20 to 22 for each user."""
TTFT_P95_S = (3.0, 5.0, 7.0)
"""Not published: the middle one is assumed."""
PREFILL_MACHINES, DECODE_MACHINES = 4, 18
WARM_UP_S = 40.0
ACCEPTED = 0.875
"""Of the second token; as ``configs/speculative/mtp_deepseek_v3.yaml``."""
DECODE_RATES = {0: (205, 230, 255), 1: (190, 215, 240, 265)}


def drafting(drafts: int) -> list[str]:
    """Both pools with so many drafts of the model's own prediction layer; twice the seats, which would bind before a user's
    pace does."""
    if not drafts:
        return []
    pools = [f"fleet.pools.{pool}.engine.speculative" for pool in ("prefill", "decode")]
    return [
        "fleet.pools.decode.engine.max_num_seqs=256",
        *(f"{pool}.method=mtp" for pool in pools),
        *(f"{pool}.num_speculative_tokens={drafts}" for pool in pools),
        *(f"{pool}.acceptance.rates=[{ACCEPTED}]" for pool in pools),
    ]


def run(prefill: int, rate_per_s: float, duration_s: float, drafts: int) -> Result:
    """A decode unit and ``prefill`` prefill units under ``rate_per_s`` requests a second."""
    return simulate(
        composed_scenario(
            [
                "experiment=deepseek_day", "output.timeseries=false", f"fleet.pools.prefill.replicas={prefill}",
                f"workload.generator.arrivals.rate_per_s={rate_per_s}", f"workload.generator.duration_s={duration_s}",
                *drafting(drafts),
            ]
        )
    )  # fmt: skip


def measured(pool: str, rate_per_s: float, drafts: int) -> dict[str, float]:
    """A unit of ``pool`` at ``rate_per_s``, the other pool large enough."""
    duration_s = 100.0 if pool == "prefill" else 220.0
    result = run(1 if pool == "prefill" else 6, rate_per_s, duration_s, drafts)
    requests = result.requests
    seen = requests[(requests["arrival_s"] > WARM_UP_S) & (requests["arrival_s"] < duration_s - WARM_UP_S)]
    found: dict[str, Any] = {
        "rate_per_s": rate_per_s,
        "prompt": requests["input_tokens"].mean(),
        "answer": requests["output_tokens"].mean(),
        "cached": requests["cached_tokens"].sum() / requests["input_tokens"].sum(),
        "ttft_p95_s": seen["ttft_s"].quantile(0.95),
        "user_s": 1 / (1 / seen["tpot_s"]).mean(),
    }
    found = {name: float(value) for name, value in found.items()}
    print(pool, drafts, found, flush=True)
    return found


def rate_at(points: list[dict[str, float]], name: str, limit: float) -> float:
    """The rate at which the rising ``name`` meets ``limit``, between two points."""
    for low, high in pairwise(points):
        if low[name] <= limit <= high[name]:
            share = (limit - low[name]) / (high[name] - low[name])
            return low["rate_per_s"] + share * (high["rate_per_s"] - low["rate_per_s"])
    raise SystemExit(f"{name} = {limit} is not between {points[0]} and {points[-1]}")


def day(drafts: int) -> tuple[list[dict[str, Any]], list[dict[str, float]], list[dict[str, float]]]:
    """Machines for each TTFT limit, and what they follow from: prefill and decode units at one rate after another."""
    prefill = [measured("prefill", rate, drafts) for rate in (25, 40, 55, 70, 85)]
    decode = [measured("decode", rate, drafts) for rate in DECODE_RATES[drafts]]
    prompt, answer = prefill[1]["prompt"], decode[1]["answer"]
    decoded = rate_at(decode, "user_s", 1 / USER_TOKENS_PER_S) * answer / DECODE_MACHINES
    rows: list[dict[str, Any]] = []
    for limit in TTFT_P95_S:
        read = rate_at(prefill, "ttft_p95_s", limit) * prompt / PREFILL_MACHINES
        machines = INPUT_TOKENS_A_DAY / 86_400 / read, OUTPUT_TOKENS_A_DAY / 86_400 / decoded
        rows.append(
            {
                "drafts": drafts,
                "ttft_p95_s": limit,
                "input_tokens_per_s_a_machine": read,
                "output_tokens_per_s_a_machine": decoded,
                "prefill_machines": machines[0],
                "decode_machines": machines[1],
                "machines": sum(machines),
                "published_machines": NODES,
                "off_pct": 100 * (sum(machines) / NODES - 1),
                "usd_a_day": sum(machines) * 8 * 24 * 2.0,
            }
        )
    return rows, prefill, decode


def main() -> None:
    days = {drafts: day(drafts) for drafts in DECODE_RATES}
    _, prefill, decode = days[0]
    chart = Chart(
        "A decode unit of 144 H800: tokens a second that a user sees",
        "requests a second",
        "tokens/s",
        [
            Series(
                "one draft" if drafts else "no drafts",
                [p["rate_per_s"] for p in points],
                [1 / p["user_s"] for p in points],
                colour=drafts,
            )
            for drafts, (_, _, points) in days.items()
        ],
        f"Published: 20 to 22. Prompts of {prefill[1]['prompt']:,.0f} tokens, {prefill[1]['cached']:.0%} cached; answers of "
        f"{decode[1]['answer']:,.0f}.",
    )
    leave(HERE, [row for rows, _, _ in days.values() for row in rows], {"picture": chart})


if __name__ == "__main__":
    main()

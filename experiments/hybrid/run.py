"""Hybrid: ``python experiments/hybrid/run.py`` (two minutes); writes results.csv, picture.svg, README's table."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE.parent))

from results import leave  # noqa: E402

from sim.analysis import price, summarize  # noqa: E402
from sim.cli.compose import composed_scenario  # noqa: E402
from sim.report.chart import Chart, Series  # noqa: E402
from sim.run import simulate  # noqa: E402
from sim.units import TOKENS_PER_MILLION  # noqa: E402
from sim.workload import load_workload  # noqa: E402

RATES_PER_S = (0.5, 2.0, 8.0, 24.0)
LEAVING = (0.2, 0.4)
APIS = ("gpt_4o_mini", "gpt_5_mini", "gpt_4o")
MOST_REPLICAS = 16


def blended(rate: float, api: str | None, leaving: float) -> dict[str, Any]:
    """The cheapest fleet that meets the SLO when a share ``leaving`` of the requests goes to ``api``."""
    overrides = [
        "experiment=retry_storm", "output.timeseries=false", "gateway.retries=null", "gateway.client_timeout_s=null",
        "workload.generator.profile=null", "workload.generator.duration_s=300",
        f"workload.generator.arrivals.rate_per_s={rate}",
    ]  # fmt: skip
    if api is not None:
        rule = "api_first: true" if leaving == 1.0 else f"uncertain_fraction: {leaving}"
        overrides += [f"api={api}", f"gateway.hybrid={{{rule}}}"]
    trace = None
    for replicas in range(1, MOST_REPLICAS + 1):
        scenario = composed_scenario([*overrides, f"fleet.replicas={replicas}"])
        trace = trace or load_workload(scenario.workload, scenario.seed)
        result = simulate(scenario, trace)
        tree = price(result)
        summary = summarize(result, cost=tree)
        if leaving == 1.0 or summary["slo"]["holds"]:
            break
    api_node = tree.find("api")
    api_usd = api_node.usd if api_node is not None else 0.0
    # the bill of the window in which requests arrive: the last answers' stragglers would count idle machines
    local_usd = 0.0 if leaving == 1.0 else (tree.usd - api_usd) * trace.duration_s / result.end_s
    tokens = summary["tokens"]["output"]
    return {
        "requests_per_s": rate,
        "api": api or "none",
        "local_pct": 100 * (1 - leaving),
        "replicas": 0 if leaving == 1.0 else replicas,
        "usd_per_1m_output_tokens": (local_usd + api_usd) * TOKENS_PER_MILLION / tokens,
        "of_it_api_usd": api_usd * TOKENS_PER_MILLION / tokens,
        "ttft_p95_s": summary["latency"]["ttft_s"]["p95"],
    }


def main() -> None:
    rows = []
    for rate in RATES_PER_S:
        local = blended(rate, None, 0.0)
        rows.append({**local, "against_all_api_pct": float("nan")})
        for api in APIS:
            bought = blended(rate, api, 1.0)
            for case in (*(blended(rate, api, share) for share in LEAVING), bought):
                saved = 100 * (case["usd_per_1m_output_tokens"] / bought["usd_per_1m_output_tokens"] - 1)
                rows.append({**case, "against_all_api_pct": saved})
                print(rows[-1], flush=True)
    lines = [
        Series(
            f"{api}, 80 % local", list(RATES_PER_S),
            [row["against_all_api_pct"] for row in rows if row["api"] == api and row["local_pct"] == 80], colour=number,
        )
        for number, api in enumerate(APIS)
    ]  # fmt: skip
    chart = Chart(
        "Hybrid (80 % local) against all-API: blended dollars per 1M output tokens", "requests/s", "change, %", lines,
        "Below zero the hybrid is cheaper. It never pays against a cheap API at low volume.",
        x_log=True, x_ticks=RATES_PER_S, y_zero=False, limits=[(0.0, "all-API")],
    )  # fmt: skip
    leave(HERE, rows, {"picture": chart})


if __name__ == "__main__":
    main()

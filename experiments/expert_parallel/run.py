"""How many GPUs a large mixture needs: ``python experiments/expert_parallel/run.py`` (a minute of CPU)."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE.parent))

from results import leave  # noqa: E402

from sim.cli.compose import composed_scenario  # noqa: E402
from sim.errors import DoesNotFitError  # noqa: E402
from sim.perf import memory_plan, resolve_engine  # noqa: E402
from sim.perf.verification import mean_step_time  # noqa: E402
from sim.report.chart import Chart, Series  # noqa: E402
from sim.search.evaluator import ScenarioEvaluator  # noqa: E402
from sim.search.load import highest_load  # noqa: E402
from sim.spec import Scenario  # noqa: E402

CONTEXT_TOKENS = 4989
STEP_S = 0.05
"""A decode server's limit: 20 tokens a second for each user."""
ALONE = {
    "TP 8": ["engine.tensor_parallel_size=8", "engine.data_parallel_size=1", "engine.enable_expert_parallel=false"],
    "8 ranks": [],
    "8 ranks, prompts every 4th round": ["engine.prefill_schedule_interval=4"],
    "8 ranks, prompts every 4th round, one draft": ["engine.prefill_schedule_interval=4", "speculative=mtp_deepseek_v3"],
    "16 ranks, 2 machines": ["engine.data_parallel_size=16", "engine.all2all_backend=deepep_high_throughput"],
    "32 ranks, 4 machines": ["engine.data_parallel_size=32", "engine.all2all_backend=deepep_high_throughput"],
}
"""Servers that do all of a chat, prompts and answers."""
DECODERS = (8, 16, 32, 64, 96, 144, 160, 320)
"""GPUs of servers that only decode, on 1 to 40 machines."""
STEPS_S = (STEP_S, 0.02)
"""With drafts also 20 ms, 50 tokens a second for each user."""


def scenario_of(*overrides: str) -> Scenario:
    return composed_scenario(["experiment=expert_parallel", *overrides])


def whole_chat(name: str, overrides: list[str]) -> dict[str, Any]:
    """The load that a server holds within the chat objective, all phases in one."""
    scenario = scenario_of(*overrides, "output.timeseries=false", "workload.limit=3000")
    gpus = scenario.engine.gpus
    answer = highest_load(ScenarioEvaluator(scenario), replicas=1, start=gpus / 8, tolerance=0.05)
    assert answer.best is not None, name
    point = answer.best
    return {
        "server": name, "gpus": gpus, "phase": "prompts and answers",
        "output_tokens_per_s_a_gpu": point.output_tokens_per_s / gpus, "usd_per_1m_output_tokens": point.usd_per_1m_output_tokens,
    }  # fmt: skip


def decoding(gpus: int, step_s: float = STEP_S, drafts: bool = False) -> dict[str, Any] | None:
    """The decode tokens of a server within ``step_s`` a token, from its step time alone (with ``drafts`` at the mean
    acceptance); None = the weights do not fit, or no step is that short."""
    copies = 32 + -(256 + 32) % gpus
    scenario = scenario_of(
        *(["speculative=mtp_deepseek_v3"] if drafts else []),
        f"engine.data_parallel_size={gpus}", "engine.all2all_backend=deepep_low_latency", "engine.enable_eplb=true",
        f"engine.num_redundant_experts={copies}", "engine.max_num_batched_tokens=512", "engine.max_num_seqs=512",
        f"engine.enable_dbo={str(gpus >= 64).lower()}",
    )  # fmt: skip
    try:
        engine = resolve_engine(scenario.engine, scenario.model, scenario.gpu)
        plan = memory_plan(scenario.model, scenario.gpu, engine)
    except DoesNotFitError:
        return None
    steps = mean_step_time(scenario.model, scenario.gpu, engine)
    fits = min(plan.streams(CONTEXT_TOKENS), 512)
    within = [n for n in range(1, fits + 1) if steps.step((), n, n * CONTEXT_TOKENS) <= step_s]
    if not within:
        return None
    tokens_per_s = within[-1] / steps.step((), within[-1], within[-1] * CONTEXT_TOKENS)
    usd = scenario.gpu.price.on_demand_usd_per_hour or float("nan")
    what = ", overlap" if engine.enable_dbo else ""
    return {
        "server": f"{gpus} ranks, {-(-gpus // 8)} machine(s), {copies} copies{what}{', one draft' if drafts else ''}",
        "gpus": gpus, "phase": f"answers alone, {1e3 * step_s:.0f} ms", "sequences_a_gpu": within[-1], "sequences_that_fit": fits,
        "output_tokens_per_s_a_gpu": tokens_per_s, "usd_per_1m_output_tokens": usd / 3600 / tokens_per_s * 1e6,
    }  # fmt: skip


def main() -> None:
    rows = [whole_chat(name, overrides) for name, overrides in ALONE.items()]
    decoders = [decoding(gpus) for gpus in DECODERS]
    decoders += [decoding(gpus, step_s, drafts) for gpus in (8, 64, 144) for step_s in STEPS_S for drafts in (False, True)
                 if drafts or step_s < STEP_S]  # fmt: skip
    rows += [row for row in decoders if row is not None]
    columns = list(dict.fromkeys(name for row in rows for name in row))
    rows = [{name: row.get(name, "") for name in columns} for row in rows]
    found = [row for row in rows if row["phase"] == "answers alone, 50 ms" and "draft" not in row["server"]]
    chart = Chart(
        "Decode tokens a second and GPU within 50 ms a token, DeepSeek-V3 on H200",
        "GPUs that share the experts",
        "tokens/s",
        [Series("answers alone", [row["gpus"] for row in found], [row["output_tokens_per_s_a_gpu"] for row in found], colour=0)],
        f"Caches of {CONTEXT_TOKENS:,} tokens; DeepEP's low-latency kernels, experts placed by load.",
    )
    leave(HERE, rows, {"picture": chart})


if __name__ == "__main__":
    main()

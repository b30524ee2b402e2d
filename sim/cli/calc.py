"""``servecap calc``: the closed formula and the memory arithmetic of one configuration, without a simulation.

    servecap calc --usd-per-hour 1.5 --tokens-per-s 1500 [--overhead 0.3]
    servecap calc model=llama2_7b gpu=a100_80 --context-tokens 8192 --json

The overrides are those of a run. Dollars need ``--tokens-per-s``, the number that a spreadsheet has to assume; the hourly
price is the replica's own unless ``--usd-per-hour`` says otherwise.
"""

from __future__ import annotations

import argparse
import json
import math
from collections.abc import Sequence
from typing import Any

from sim.cli.compose import composed_scenario
from sim.cost import cost_per_1m_usd, pool_usd_per_hour
from sim.errors import ConfigError, DoesNotFitError
from sim.perf import MemoryPlan, kv_bytes_per_token, memory_plan, parameter_count, resolve_engine
from sim.perf.geometry import (
    active_parameter_count,
    kv_bytes_at,
    kv_bytes_per_token_beyond_window,
    state_bytes_per_sequence,
)
from sim.perf.machines import machines
from sim.perf.rank_step import RankStepTime
from sim.spec import EngineSpec, GpuSpec, ModelSpec, Scenario
from sim.spec.in_vain import stated_in_vain
from sim.spec.serve_line import serve_line


def main(argv: Sequence[str]) -> int:
    """The verb; prints a table, or one JSON object with ``--json``."""
    parser = argparse.ArgumentParser(prog="servecap calc", description="The closed formula; no simulation.")
    parser.add_argument("overrides", nargs="*", help="as for a run: model=... gpu=... engine.KEY=... cost=...")
    parser.add_argument("--usd-per-hour", type=float, help="of all machines together (default: the replica's price)")
    parser.add_argument("--tokens-per-s", type=float, help="effective output tokens per second of all machines together")
    parser.add_argument("--overhead", type=float, help="software, storage, operations, safety as a share of compute")
    parser.add_argument("--context-tokens", type=int, default=8192, help="context of one stream for the KV arithmetic")
    parser.add_argument("--config-dir", action="append", default=[], help="a folder of your own presets")
    parser.add_argument("--json", action="store_true", help="one JSON object")
    options = parser.parse_intermixed_args(list(argv))
    if options.context_tokens < 1:
        raise ConfigError(f"--context-tokens must be at least 1, but got {options.context_tokens}")
    answer = calculate(
        composed_scenario([*options.overrides, *(f"--config-dir={folder}" for folder in options.config_dir)]),
        options.usd_per_hour,
        options.tokens_per_s,
        options.overhead,
        options.context_tokens,
    )
    if options.json:
        print(json.dumps({key: None if _undefined(value) else value for key, value in answer.items()}, indent=2))
        return 0
    width = max(map(len, answer))
    for key, value in answer.items():
        if key != "memory":
            shown = "-" if _undefined(value) else f"{value:,.4f}" if isinstance(value, float) else f"{value}"
            print(f" {key:{width}}  {shown}".rstrip())
    if answer["memory"]:
        print(answer["memory"])
    return 0


def calculate(
    scenario: Scenario,
    usd_per_hour: float | None = None,
    tokens_per_s: float | None = None,
    overhead_fraction: float | None = None,
    context_tokens: int = 8192,
) -> dict[str, Any]:
    """What the formulas say of ``scenario``'s model, GPU and engine; NaN where nothing was assumed or nothing fits."""
    model, gpu, engine = scenario.model, scenario.gpu, scenario.engine
    gpus = engine.gpus
    overhead = scenario.cost.overhead_fraction if overhead_fraction is None else overhead_fraction
    if usd_per_hour is None and gpu.price.known:
        usd_per_hour = pool_usd_per_hour(gpu, gpus, 1, scenario.fleet.market, scenario.cost)
    elif usd_per_hour is None:
        usd_per_hour = math.nan  # the memory arithmetic needs no price
    kv_bytes = kv_bytes_per_token(model, engine.kv_cache_dtype)
    answer: dict[str, Any] = {
        "model": model.name,
        "gpu": gpu.name,
        "gpus_per_replica": gpus,
        "usd_per_hour": usd_per_hour,
        "tokens_per_s": math.nan if tokens_per_s is None else tokens_per_s,
        "usd_per_1m_output_tokens": math.nan if tokens_per_s is None else cost_per_1m_usd(usd_per_hour, tokens_per_s),
        "overhead_fraction": overhead,
        "usd_per_1m_output_tokens_with_overhead": (
            math.nan if tokens_per_s is None else cost_per_1m_usd(usd_per_hour, tokens_per_s, overhead)
        ),
        "parameters": parameter_count(model),
        "active_parameters": active_parameter_count(model),
        "kv_bytes_per_token": kv_bytes,
        "kv_bytes_per_token_beyond_window": kv_bytes_per_token_beyond_window(model, engine.kv_cache_dtype),
        "state_bytes_per_sequence": state_bytes_per_sequence(model),
        "context_tokens": context_tokens,
        "kv_bytes_at_context": kv_bytes_at(model, context_tokens, engine.kv_cache_dtype),
        "max_model_len": math.nan,
        "num_gpu_blocks": math.nan,
        "kv_tokens": math.nan,
        "streams_at_context": math.nan,
        "max_concurrency": math.nan,
        "vllm_log": "",
        "memory": "",
        "server": serve_line(model, engine),
        "notes": "; ".join([*model.notes, *stated_in_vain(scenario)]),
        "does_not_fit": "",
    }
    try:
        resolved = resolve_engine(engine, model, gpu)
        plan = memory_plan(model, gpu, resolved)
    except DoesNotFitError as error:
        return {**answer, "does_not_fit": str(error)}
    return {
        **answer,
        "max_model_len": plan.max_model_len,
        "num_gpu_blocks": plan.num_gpu_blocks,
        "kv_tokens": plan.kv_tokens,
        "streams_at_context": plan.streams(context_tokens),
        "max_concurrency": plan.concurrency,
        "vllm_log": plan.vllm_line,
        "memory": plan.explain(),
        **_of_ranks(resolved, model, gpu, plan, context_tokens),
    }


def _of_ranks(engine: EngineSpec, model: ModelSpec, gpu: GpuSpec, plan: MemoryPlan, context_tokens: int) -> dict[str, Any]:
    """What a server of several ranks holds in all, and what its decode step with full ranks is made of."""
    if engine.data_parallel_size == 1:
        return {}
    from sim.perf import step_time_model  # needs numpy, which all the rest does without

    streams = min(plan.streams(context_tokens), engine.max_num_seqs or 1)
    answer: dict[str, Any] = {
        "ranks": engine.data_parallel_size,
        "machines": machines(engine.gpus, gpu),
        "kv_tokens_of_all_ranks": engine.data_parallel_size * plan.kv_tokens,
        "streams_of_all_ranks": engine.data_parallel_size * streams,
    }
    steps = step_time_model(model, gpu, engine)
    if not isinstance(steps, RankStepTime) or not streams:
        return answer
    parts = steps.parts(streams, streams * context_tokens)
    return answer | {
        "expert_imbalance": steps.experts.imbalance,
        "decode_step_ms": 1e3 * parts.step_s,
        "decode_step_parts_ms": {
            "attention": round(1e3 * parts.attention_s, 3), "rest": round(1e3 * parts.rest_s, 3),
            "experts": round(1e3 * parts.experts_s, 3), "all_to_all": round(1e3 * parts.all_to_all_s, 3),
        },
        "output_tokens_per_s_per_gpu": streams / parts.step_s / engine.gpus * engine.data_parallel_size,
    }  # fmt: skip


def _undefined(value: Any) -> bool:
    return isinstance(value, float) and math.isnan(value)

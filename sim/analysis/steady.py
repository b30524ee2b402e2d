"""What one replica sustains in the steady state, in closed form: a fluid model of continuous batching.

With mean prompt ``I`` and mean answer ``O`` tokens, a batch of ``B`` sequences finishes ``B / O`` requests a step and
admits as many prompts, so that a step takes

    t(B) = decode(B, B (I + O/2)) + (B / O) (prefill(I) - decode(1, 0))        seconds
    rate = (B / O) / t(B)                                                      requests a second

``B`` is the largest batch within the cap, the KV pool and the TPOT target. A request of ``i`` and ``o`` tokens then takes
``o decode / B + i prefill / I`` seconds of a replica, which is 1 / rate for the mean one.

Searches start from it, and the perfect fleet is sized by it; no verdict rests on it. Both derate it to ``POOLED``: p95 of
the waiting time is spent before the engine is full (read off the default sweep). Leaves out prefix hits, burstiness and the
spread of lengths.
"""

from __future__ import annotations

import math
from typing import NamedTuple

from sim.perf import StepTimeModel, memory_plan, resolve_engine, step_time_model
from sim.spec import Scenario

POOLED = 0.8


class SteadyReplica(NamedTuple):
    """One replica at its largest batch: seconds of a replica for a token of an answer, and for a token of a prompt."""

    batch: int
    rate_per_s: float
    s_per_output_token: float
    s_per_input_token: float


def steady_replica(scenario: Scenario, prompt: float, answer: float) -> SteadyReplica:
    """The replica of ``scenario`` (its own model, GPU and engine) on mean ``prompt`` and ``answer`` tokens."""
    model, gpu = scenario.model, scenario.gpu
    engine = resolve_engine(scenario.engine, model, gpu)
    kv_tokens = memory_plan(model, gpu, engine).kv_tokens
    cap = min(engine.max_num_seqs or 1, max(1, int(kv_tokens / (prompt + answer / 2))))
    targets = scenario.slo.targets()
    tpot_limit_s = min((limit for name, limit in targets.items() if name.startswith("tpot")), default=math.inf)
    steps = step_time_model(model, gpu, engine)
    prefill_s = max(steps.step([(round(prompt), 0)], 0, 0) - steps.step((), 1, 0), 0.0)

    def step_s(batch: int) -> float:
        return _decode_s(steps, batch, prompt, answer) + batch / answer * prefill_s

    low, high = 1, cap  # a bigger batch is a slower step
    while low < high:
        middle = (low + high + 1) // 2
        if step_s(middle) <= tpot_limit_s:
            low = middle
        else:
            high = middle - 1
    decode_s = _decode_s(steps, low, prompt, answer)
    return SteadyReplica(low, (low / answer) / step_s(low), decode_s / low, prefill_s / prompt)


def _decode_s(steps: StepTimeModel, batch: int, prompt: float, answer: float) -> float:
    return steps.step((), batch, round(batch * (prompt + answer / 2)))

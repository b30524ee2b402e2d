"""A closed-form guess of what one replica sustains, to start searches near their answer.

With mean prompt ``I`` and mean answer ``O`` tokens, a batch of ``B`` sequences finishes ``B / O`` requests a step and
admits as many prompts, so that in the steady state a step takes

    t(B) = decode(B, B (I + O/2)) + (B / O) (prefill(I) - decode(1, 0))        seconds
    rate = (B / O) / t(B)                                                      requests a second

``B`` is the largest batch within the cap, the KV pool and the TPOT target. The rate is then derated to ``POOLED``: p95
of the waiting time is spent before the engine is full. A replica on its own has nobody to share a burst with and
sustains less, ``ALONE`` of that again. Leaves out prefix hits, burstiness and the spread of lengths, hence a guess
only: no verdict rests on it. (Both shares were read off the default sweep; they only decide how many runs are needed.)
"""

from __future__ import annotations

import math

from sim.perf import StepTimeModel, memory_plan, resolve_engine, step_time_model
from sim.spec import Scenario
from sim.workload import Trace

POOLED = 0.8
ALONE = 0.78


def pooled_rate_per_s(scenario: Scenario, trace: Trace) -> float:
    """About how many of ``trace``'s requests a second each replica of a fleet serves within the TPOT target."""
    model, gpu = scenario.model, scenario.gpu
    engine = resolve_engine(scenario.engine, model, gpu)
    prompt = float(trace.input_tokens.mean())
    answer = float(trace.output_tokens.mean())
    kv_tokens = memory_plan(model, gpu, engine).kv_tokens
    cap = min(engine.max_num_seqs or 1, max(1, int(kv_tokens / (prompt + answer / 2))))
    targets = scenario.slo.targets()
    tpot_limit_s = min((limit for name, limit in targets.items() if name.startswith("tpot")), default=math.inf)
    steps = step_time_model(model, gpu, engine)

    def step_s(batch: int) -> float:
        return _steady_step_s(steps, batch, prompt, answer)

    low, high = 1, cap  # a bigger batch is a slower step
    while low < high:
        middle = (low + high + 1) // 2
        if step_s(middle) <= tpot_limit_s:
            low = middle
        else:
            high = middle - 1
    return POOLED * (low / answer) / step_s(low)


def _steady_step_s(steps: StepTimeModel, batch: int, prompt: float, answer: float) -> float:
    decode_s = steps.step((), batch, round(batch * (prompt + answer / 2)))
    prefill_s = steps.step([(round(prompt), 0)], 0, 0) - steps.step((), 1, 0)
    return decode_s + batch / answer * max(prefill_s, 0.0)

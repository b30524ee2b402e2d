"""Random conformance cases: small engines under pressure, with shared prefixes, turns and ties."""

from __future__ import annotations

from random import Random
from typing import Any


def random_case(seed: int) -> dict[str, Any]:
    """A case of the recordings' form; the same for the same ``seed``."""
    rng = Random(seed)
    pick = rng.choice
    seats = rng.randint(1, 10)
    size = pick([1, 2, 3, 4, 8, 16])
    engine: dict[str, Any] = {
        "max_num_seqs": seats,
        "max_num_active_seqs": pick([None, None, None, max(1, seats - 2)]),
        "max_num_batched_tokens": max(seats, pick([12, 30, 64, 200])),
        "max_num_scheduled_tokens": pick([None, None, None, 5, 11]),
        "block_size": size,
        "num_gpu_blocks": 1 + max(4, pick([50, 80, 120, 400]) // size),
        "max_model_len": pick([50, 90, 400]),
        "enable_prefix_caching": rng.random() < 0.75,
        "enable_chunked_prefill": rng.random() < 0.85,
        "long_prefill_token_threshold": pick([0, 0, 0, 5, 13]),
        "long_prefill_token_threshold_adaptive": rng.random() < 0.5,
        "policy": pick(["fcfs", "priority"]),
        "watermark": pick([0.0, 0.0, 0.05, 0.2]),
        "scheduler_reserve_full_isl": rng.random() < 0.7,
        "prefill_schedule_interval": pick([1, 1, 1, 2, 4]),
        "async_scheduling": rng.random() < 0.5,
    }
    budget = engine["max_num_scheduled_tokens"] or engine["max_num_batched_tokens"]
    fits = rng.random() < 0.97
    usable = (engine["num_gpu_blocks"] - 1) * size
    by_step = rng.random() < 0.1
    spread = pick([0, 20, 60, 200])
    requests: list[dict[str, Any]] = []
    for number in range(rng.randint(2, 16)):
        prompt = [[pick("abc"), pick([size, 2 * size, 17, 24])] for _ in range(pick([0, 0, 1, 2]))]
        if requests and rng.random() < 0.35:  # a later turn, or the same prompt again
            before = pick(requests)
            prompt = [list(piece) for piece in before["prompt"]]
            if rng.random() < 0.7:
                prompt.append([f"out:{before['id']}", rng.randint(1, before["output_len"])])
        if not prompt or rng.random() < 0.6:
            prompt.append([pick([f"u{number}", "a", "b"]), rng.randint(1, 40)])
        output = pick([1, 2, rng.randint(1, 20), rng.randint(1, 60)])
        length = sum(tokens for _, tokens in prompt)
        if fits and -(-min(length + output, engine["max_model_len"]) // size) > usable // size:
            continue
        if not engine["enable_chunked_prefill"] and fits and min(length + output, engine["max_model_len"]) > budget:
            continue
        arrival = rng.randint(0, spread)
        request = {"id": f"r{number:04d}", "prompt": prompt, "output_len": output, "priority": rng.randint(0, 2)}
        request |= {"arrival_step": arrival} if by_step else {"arrival_ns": arrival * 500}
        requests.append(request)
    requests.sort(key=lambda r: r["arrival_step" if by_step else "arrival_ns"])
    step_time = {"base_ns": 1000, "per_new_token_ns": 50, "per_context_token_ns": 1, "per_seq_ns": 25}
    return {"name": f"random {seed}", "engine": engine, "step_time": step_time, "requests": requests}

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
    by_step = rng.random() < 0.1 and engine["policy"] == "fcfs"  # an arrival by step has no time that priority could go by
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


def random_features(seed: int) -> dict[str, Any]:
    """A ``random_case`` with drafts, adapters, and external KV, pins or a CPU tier on top, mixed."""
    case = random_case(seed)
    rng = Random(f"features {seed}")
    pick, maybe = rng.choice, rng.random
    engine, requests = case["engine"], [r for r in case["requests"] if "arrival_ns" in r]
    case["requests"] = requests
    size = engine["block_size"]
    engine["scheduler_reserve_full_isl"] = True  # else a request that cannot fit may be preempted for ever
    if maybe() < 0.45:
        method = pick(["ngram", "eagle", "mtp", "draft_model"])
        drafts = rng.randint(1, 4)
        engine["speculative"] = {"method": method, "num_speculative_tokens": drafts}
        if method == "mtp":
            engine["speculative"]["num_nextn_predict_layers"] = pick([1, 2, 3])
        if maybe() < 0.25:
            engine["speculative"]["num_speculative_tokens_per_batch_size"] = [[1, 2, drafts], [3, 99, rng.randint(0, drafts)]]
        for request in requests:
            request["accept"] = [rng.randint(0, drafts) for _ in range(rng.randint(1, 4))]
            if maybe() < 0.3 and not engine["async_scheduling"]:
                request["draft_len"] = [rng.randint(0, drafts) for _ in range(rng.randint(1, 3))]
        more = 2 * drafts + 2
        usable = (engine["num_gpu_blocks"] - 1) * size
        lengths = [sum(n for _, n in r["prompt"]) + r["output_len"] for r in requests]
        longest = [min(n, engine["max_model_len"]) + more for n in lengths]
        case["requests"] = requests = [r for r, n in zip(requests, longest, strict=True) if n + size <= usable]
        engine["max_num_batched_tokens"] = max(engine["max_num_batched_tokens"], 2 * more)
        if engine["max_num_scheduled_tokens"]:
            engine["max_num_scheduled_tokens"] = max(engine["max_num_scheduled_tokens"], more)
    if maybe() < 0.25:
        engine["max_loras"] = rng.randint(1, 2)
        for request in requests:
            request["lora"] = rng.randint(0, 3)
    kind = pick(["none", "load", "load", "load", "pin", "both", "tier", "tier", "tier"])
    if kind == "tier":
        engine["kv_offload"] = {
            "cpu_chunks": pick([4, 12, 40, 400]), "eviction_policy": pick(["lru", "lru", "arc"]),
            "store_threshold": pick([0, 0, 2]), "offload_prompt_only": maybe() < 0.25,
            "store_ns_per_block": pick([10, 200, 3000]), "load_ns_per_block": pick([10, 200, 3000]),
            "transfer_base_ns": pick([0, 70, 900]),
        }  # fmt: skip
    elif kind != "none":
        role = {"load": "kv_consumer", "pin": "kv_producer", "both": "kv_both"}[kind]
        engine["kv_connector"] = {"kv_role": role, "kv_load_failure_policy": pick(["fail", "recompute"])}
        plain = not engine["async_scheduling"] and "speculative" not in engine
        for request in requests:
            length = sum(n for _, n in request["prompt"])
            if kind != "pin" and maybe() < 0.7:
                mode = pick(["async", "async", "sync"])
                external = {"tokens": pick([length, length, rng.randint(1, length)]), "mode": mode}
                if mode == "sync":
                    external["tokens"] = min(external["tokens"], length - 1)  # a step computes something
                external |= {"load_ns": rng.randint(1, 9000), "once": maybe() < 0.7}
                if maybe() < 0.2:
                    external["unknown_until_ns"] = request["arrival_ns"] + rng.randint(1, 20000)
                if maybe() < 0.3 and (mode == "async" or plain):
                    external["valid_tokens"] = rng.randint(0, length)
                request["external"] = external
            if kind != "load" and maybe() < 0.6:
                request["pin_ns"] = rng.randint(1, 40000)
    case["name"] = f"features {seed}"
    return case
